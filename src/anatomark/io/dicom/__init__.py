"""DICOM files and series: ``reading`` on top; headers, pixels, spacing and stacking below."""
