"""DICOM images in: single files, multi-frame volumes and folders with series.

An image that knows its place in the patient is a volume, if only of one slice; any other (an
X-ray, a screen shot) is 2D. What identifies the patient is not read.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anatomark.data import Image
from anatomark.errors import ImageError, ImageWarning
from anatomark.geometry import Grid
from anatomark.io.dicom.headers import DICOM_SUFFIXES, Plane, has_magic, read_header, text
from anatomark.io.dicom.pixels import read_values
from anatomark.io.dicom.series import Series, choose_series, list_series
from anatomark.io.dicom.stack import Stack, fill_gaps, stack_planes

__all__ = [
    "DICOM_SUFFIXES", "Series", "is_dicom", "list_series", "read_dicom", "read_dicom_grid",
]  # fmt: skip

_META = {
    "modality": "Modality",
    "body_part": "BodyPartExamined",
    "view": "ViewPosition",
    "patient_orientation": "PatientOrientation",
    "patient_position": "PatientPosition",
    "series_description": "SeriesDescription",
    "series_number": "SeriesNumber",
    "study_uid": "StudyInstanceUID",
    "series_uid": "SeriesInstanceUID",
    "frame_of_reference_uid": "FrameOfReferenceUID",
    "sop_class_uid": "SOPClassUID",
}


def is_dicom(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file is DICOM: by its mark, its name, or its content if it has no suffix."""
    file = Path(path)
    if has_magic(file) or file.suffix.lower() in DICOM_SUFFIXES:
        return True
    return not file.suffix and read_header(file) is not None


def read_dicom(path: str | os.PathLike[str], *, series: str | None = None) -> Image:
    """Read a DICOM file or the series of a folder; ``series`` chooses among several.

    The array is ``(z, y, x)`` or ``(y, x)``, in front of it 3 channels if the image is in colour.
    ``meta`` holds what later files refer to: modality, body part, UIDs per slice, source files.
    """
    source = Path(path)
    planes = choose_series(source, series).planes
    if not _is_volume(planes, source):
        plane = planes[0]
        values = read_values(planes)
        return Image(values[..., 0, :, :], _flat_grid(plane, source), _meta(plane, [plane]))
    stack = stack_planes(planes, source)
    values = read_values([plane for plane in stack.slices if plane is not None])
    return Image(fill_gaps(values, stack), stack.grid, _volume_meta(stack))


def read_dicom_grid(path: str | os.PathLike[str], *, series: str | None = None) -> Grid:
    """Read only where the voxels are, from the headers."""
    source = Path(path)
    planes = choose_series(source, series).planes
    if _is_volume(planes, source):
        return stack_planes(planes, source).grid
    return _flat_grid(planes[0], source)


def _is_volume(planes: Sequence[Plane], source: Path) -> bool:
    """Tell a volume from a single picture; several pictures without a place are neither."""
    if all(plane.in_patient for plane in planes):
        return True
    if len(planes) > 1:
        raise ImageError(
            f"has {len(planes)} frames that do not say where they lie: a film, not a volume",
            path=source,
            fix="export the one frame that you need",
        )
    return False


def _flat_grid(plane: Plane, source: Path) -> Grid:
    """The grid of a projection or screen shot: x to the right, y down, from the first pixel."""
    measured = plane.measured
    if measured.doubt:
        warnings.warn(ImageWarning(f"{source}: {measured.doubt}"), stacklevel=3)
    if not measured.spacing:
        return Grid(plane.shape, unit="px")
    import numpy as np

    return Grid(plane.shape, spacing=np.array(measured.spacing))


# -- meta ------------------------------------------------------------------------------------------


def _volume_meta(stack: Stack) -> dict[str, Any]:
    known = [plane for plane in stack.slices if plane is not None]
    meta = _meta(known[0], stack.slices)
    return {**meta, "missing_slices": tuple(stack.missing)} if stack.missing else meta


def _meta(first: Plane, slices: Sequence[Plane | None]) -> dict[str, Any]:
    header = first.header
    found = {name: _joined(header, tag) for name, tag in _META.items()}
    found["laterality"] = text(header, "ImageLaterality") or text(header, "Laterality")
    known = [plane for plane in slices if plane is not None]
    return {
        **{name: value for name, value in found.items() if value},
        "spacing_from": first.measured.source,
        "lossy": text(header, "LossyImageCompression") == "01",
        "sop_instance_uids": tuple("" if plane is None else plane.uid for plane in slices),
        "source_files": tuple(dict.fromkeys(str(plane.path) for plane in known)),
    }


def _joined(header: Any, tag: str) -> str:
    value = header.get(tag, None)
    several = isinstance(value, Sequence) and not isinstance(value, str)
    return "\\".join(map(str, value)) if several else text(header, tag)
