"""Landmark files: the table of ``formats``, and one file for each."""
