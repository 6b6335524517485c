"""Coronal T2-weighted MR of the olfactory bulbs. See ``docs/phantoms-olfactory.md``."""
