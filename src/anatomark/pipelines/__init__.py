"""Whole ways from files to results, each a few steps of the layers below."""
