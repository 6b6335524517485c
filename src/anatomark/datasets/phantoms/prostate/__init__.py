"""Prostate: one pelvis, seen by an MR scanner and by an ultrasound probe."""
