"""Files in and out. RAS becomes LPS here and nowhere else."""
