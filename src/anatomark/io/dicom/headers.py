"""DICOM headers: which files are images, and what each of their frames says of itself."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from anatomark.errors import AnatomarkError, ImageError, ImageWarning
from anatomark.geometry import FloatArray
from anatomark.io.dicom.spacing import Measured, frame_spacing, image_spacing, numbers
from anatomark.io.images.headers import RESEND

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
_MAGIC, _MAGIC_AT = b"DICM", 128
# Tags by which repeated positions of one series are told apart, and their names for people.
REPEATS = {
    "EchoNumbers": "echo",
    "TemporalPositionIdentifier": "time",
    "DiffusionBValue": "b-value",
    "TriggerTime": "heart phase",
    "AcquisitionNumber": "acquisition",
    "ImageType": "kind of image",
}
_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID",
    "FrameOfReferenceUID", "SeriesNumber", "SeriesDescription", "Modality", "BodyPartExamined",
    "Laterality", "ImageLaterality", "ViewPosition", "PatientOrientation", "PatientPosition",
    "Rows", "Columns", "NumberOfFrames", "BitsAllocated", "BitsStored", "PixelRepresentation",
    "SamplesPerPixel", "PhotometricInterpretation", "LossyImageCompression", "PixelSpacing",
    "PixelSpacingCalibrationType", "ImagerPixelSpacing", "NominalScannedPixelSpacing",
    "EstimatedRadiographicMagnificationFactor",
    "PixelAspectRatio", "SequenceOfUltrasoundRegions", "ImagePositionPatient",
    "ImageOrientationPatient", "SpacingBetweenSlices", "SliceThickness", "RescaleSlope",
    "RescaleIntercept", "RescaleType", "ModalityLUTSequence", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", *REPEATS,
]  # fmt: skip


@dataclass(frozen=True)
class Plane:
    """One frame of one file: where it lies in the patient and how its values are scaled.

    ``spacing`` is x, y in mm, ``position`` the centre of the first pixel in LPS mm, the columns of
    ``axes (3, 2)`` the directions of the x and y index; both are NaN where they are not stated.
    """

    path: Path
    frame: int
    header: Any
    measured: Measured
    position: FloatArray
    axes: FloatArray
    slope: float = 1.0
    intercept: float = 0.0
    repeats: Mapping[str, str] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.header.Rows), int(self.header.Columns)

    @property
    def in_patient(self) -> bool:
        """Whether the header says where in the patient the plane lies."""
        known = bool(np.isfinite(self.position).all() and np.isfinite(self.axes).all())
        return known and bool(self.measured.spacing)

    @property
    def uid(self) -> str:
        """SOP instance UID of the file."""
        return text(self.header, "SOPInstanceUID")


def text(header: Any, name: str) -> str:
    """Value of a tag as text; empty where it is missing or empty."""
    value = header.get(name, None)
    return "" if value is None else str(value).strip()


def has_magic(path: Path) -> bool:
    """Tell whether the file has the mark of a DICOM file behind its preamble."""
    try:
        with path.open("rb") as stream:
            stream.seek(_MAGIC_AT)
            return stream.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def may_be_dicom(path: Path) -> bool:
    """Tell from mark or name whether it is worth while to try; names may end in a UID."""
    suffix = path.suffix.lower()
    return suffix in {"", *DICOM_SUFFIXES} or suffix[1:].isdigit() or has_magic(path)


@contextmanager
def dicom_errors(path: Path) -> Iterator[None]:
    """Whatever pydicom raises on a damaged file becomes one clear error; its warnings are kept in.

    pydicom parses a value when it is asked for, so nearly any exception may come from anywhere.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except AnatomarkError as fault:
            raise fault.at(path) from None
        except OSError as fault:
            raise ImageError(f"cannot be read: {fault.strerror or fault}", path=path) from None
        except Exception as fault:
            raise ImageError(
                f"the DICOM file is damaged: {_reason(fault)}", path=path, fix=RESEND
            ) from None


def _reason(fault: Exception) -> str:
    """Start of pydicom's message: what follows may quote bytes, and with them the patient."""
    return re.split(r"b['\"]| - |\. ", str(fault))[0][:150] or type(fault).__name__


def read_header(path: Path) -> Any | None:
    """Header of a DICOM image; ``None`` where the file is no DICOM or holds no image."""
    from pydicom import dcmread

    marked = has_magic(path)
    try:
        with dicom_errors(path):
            header = dcmread(path, stop_before_pixels=True, specific_tags=_TAGS, force=not marked)
            for _ in header.iterall():  # parse every value here, where faults are caught
                pass
            _check_cut_off(header, path)
            holds_image = "SOPClassUID" in header and "Rows" in header and "Columns" in header
            return header if holds_image else None
    except ImageError:
        if marked:
            raise
        return None


def _check_cut_off(header: Any, path: Path) -> None:
    """Raise where the file says that it is an image but ends before the image is described."""
    from pydicom.uid import UID

    kind = UID(str(header.file_meta.get("MediaStorageSOPClassUID", "")) or "0")
    if "Image Storage" in kind.name and "Columns" not in header:
        raise ImageError("ends before its image is described", path=path, fix=RESEND)


def find_headers(folder: Path) -> list[tuple[Path, Any]]:
    """Paths and headers of all DICOM images below a folder, in order of their paths."""
    files = sorted(Path(root) / name for root, _, names in os.walk(folder) for name in names)
    pairs = [(file, read_header(file)) for file in files if may_be_dicom(file)]
    images = {_manner(file) for file, header in pairs if header is not None}
    for file, header in pairs:
        named_so = file.suffix.lower() in DICOM_SUFFIXES or _manner(file) in images
        if header is None and named_so and not has_magic(file):
            warnings.warn(
                ImageWarning(f"{file}: is damaged or no DICOM file, and is left out"), stacklevel=2
            )
    return [(file, header) for file, header in pairs if header is not None]


def _manner(file: Path) -> tuple[Path, str]:
    """How a file is named: ``IM00012`` and ``IM00345`` of one folder are named alike."""
    return file.parent, re.sub(r"\d+", "0", file.name)


# -- frames ----------------------------------------------------------------------------------------


def planes_of(path: Path, header: Any) -> list[Plane]:
    """Every frame of a file, in stored order."""
    with dicom_errors(path):
        shape = int(header.Rows), int(header.Columns)
        if min(shape) < 1:
            raise ImageError(f"the header gives the image size {list(shape)}", fix=RESEND)
        _check_bits(header)
        count = int(header.get("NumberOfFrames", None) or 1)
        groups = list(header.get("PerFrameFunctionalGroupsSequence", None) or ())
        if not groups:
            return _plain_planes(path, header, count)
        if len(groups) != count:
            raise ImageError(f"describes {len(groups)} frames but has {count}", fix=RESEND)
        shared = next(iter(header.get("SharedFunctionalGroupsSequence", None) or [None]))
        return [_enhanced_plane(path, i, header, g, shared) for i, g in enumerate(groups)]


def _check_bits(header: Any) -> None:
    if "BitsStored" in header:
        stored, allocated = int(header.BitsStored), int(header.BitsAllocated)
        if not 1 <= stored <= allocated <= 64 or header.get("PixelRepresentation", 0) not in {0, 1}:
            raise ImageError(f"has {stored} bits in {allocated}, which cannot be", fix=RESEND)


def _plain_planes(path: Path, header: Any, count: int) -> list[Plane]:
    measured = image_spacing(header)
    slope, intercept = _rescale(header)
    located = count == 1  # one position says nothing of further frames
    plane = Plane(
        path=path,
        frame=0,
        header=header,
        measured=measured,
        position=_vector(header if located else {}, "ImagePositionPatient", 3),
        axes=_axes(header if located else {}),
        slope=slope,
        intercept=intercept,
        repeats={name: text(header, name) for name in REPEATS},
    )
    return [replace(plane, frame=i) for i in range(count)]


def _enhanced_plane(path: Path, frame: int, header: Any, own: Any, shared: Any) -> Plane:
    """One frame of an enhanced multi-frame file; its own groups come before the shared ones."""

    def group(name: str) -> Any:
        for holder in (own, shared):
            items = None if holder is None else holder.get(name, None)
            if items:
                return items[0]
        return {}

    slope, intercept = _rescale(group("PixelValueTransformationSequence") or header)
    content = group("FrameContentSequence")
    return Plane(
        path=path,
        frame=frame,
        header=header,
        measured=frame_spacing(group("PixelMeasuresSequence"), header),
        position=_vector(group("PlanePositionSequence"), "ImagePositionPatient", 3),
        axes=_axes(group("PlaneOrientationSequence")),
        slope=slope,
        intercept=intercept,
        repeats={"TemporalPositionIdentifier": text(content, "TemporalPositionIndex")},
    )


def _rescale(holder: Any) -> tuple[float, float]:
    slope, intercept = (text(holder, name) for name in ("RescaleSlope", "RescaleIntercept"))
    values = float(slope or 1), float(intercept or 0)
    if not all(map(math.isfinite, values)) or values[0] == 0:
        raise ImageError(f"its rescale slope is {slope} and intercept {intercept}", fix=RESEND)
    return values


def _vector(holder: Any, name: str, length: int) -> FloatArray:
    values = numbers(holder, name)
    if not values:
        return np.full(length, np.nan)
    if len(values) != length or not all(map(math.isfinite, values)):
        raise ImageError(f"{name} is not {length} finite numbers: {values}", fix=RESEND)
    return np.array(values)


def _axes(holder: Any) -> FloatArray:
    values = _vector(holder, "ImageOrientationPatient", 6)
    axes = values.reshape(2, 3).T
    lengths = np.linalg.norm(axes, axis=0)
    if np.abs(lengths - 1).max() > 1e-2 or abs(axes[:, 0] @ axes[:, 1]) > 1e-2:
        raise ImageError(f"its image orientation is not one: {values.tolist()}", fix=RESEND)
    scaled: FloatArray = axes / lengths  # the text of DICOM numbers rounds them
    return scaled
