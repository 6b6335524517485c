"""Cohorts on disk: ``files`` reads and writes, ``cases`` opens, ``checks`` finds all problems."""
