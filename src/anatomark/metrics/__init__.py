"""Evaluation: errors of predicted landmarks, statistics, tables, figures, reports."""
