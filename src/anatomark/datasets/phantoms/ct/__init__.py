"""Thorax CT and abdomen slices, painted in Hounsfield units."""
