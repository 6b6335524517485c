"""Training: cases and recipe in, a run folder with a model out."""
