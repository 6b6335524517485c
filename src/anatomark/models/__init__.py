"""Trained models: how they are kept, run, and how far their answers can be trusted."""
