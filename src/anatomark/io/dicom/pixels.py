"""Values of DICOM pixels: decoded, rescaled and with bigger meaning denser or brighter.

Decoding and arithmetic are kept apart, because GDCM (below SimpleITK) applies one rescale to all
frames: stored values come from GDCM where they are JPEG of any kind, else from pydicom.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anatomark.errors import ImageError
from anatomark.geometry import FloatArray
from anatomark.io.dicom.headers import Plane, dicom_errors, text
from anatomark.io.images.headers import RESEND
from anatomark.io.images.itk import read_array
from anatomark.io.images.rasters import JPEG_MAGIC, jpeg_segments

_JPEG_SIZES = {0xC0, 0xC1, 0xC2, 0xC3, 0xF7}  # baseline to lossless, JPEG-LS
_JPEG_END = 0xD9
_GREY = ("MONOCHROME1", "MONOCHROME2")
# Their values are physical quantities, so an inverted display does not invert them.
_QUANTITIES = {"CT", "PT"}
_NEEDED = [
    "Rows", "Columns", "SamplesPerPixel", "PlanarConfiguration", "NumberOfFrames", "BitsAllocated",
    "BitsStored", "HighBit", "PixelRepresentation", "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor", "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData", "PixelData", "SOPInstanceUID",
]  # fmt: skip


def read_values(planes: Sequence[Plane]) -> NDArray[Any]:
    """Values of planes of one size: ``(n, y, x)``, or ``(3, n, y, x)`` where they are in colour."""
    kind = _value_type(planes)
    values: NDArray[Any] | None = None
    for path in dict.fromkeys(plane.path for plane in planes):
        stored, dataset = read_stored(path)
        for row, plane in enumerate(planes):
            if plane.path != path:
                continue
            frame = _frame(stored, plane)
            value = frame if frame.ndim == 3 else _scaled(frame, plane, dataset, kind)
            if values is None:
                values = np.empty((len(planes), *value.shape), value.dtype)
            values[row] = value
    if values is None:
        raise ImageError("has no frames")
    return values if values.ndim == 3 else np.ascontiguousarray(np.moveaxis(values, -1, 0))


def _frame(stored: NDArray[Any], plane: Plane) -> NDArray[Any]:
    if plane.frame >= len(stored) or stored.shape[1:3] != plane.shape:
        raise ImageError("has fewer pixels than its header says", path=plane.path, fix=RESEND)
    frame: NDArray[Any] = stored[plane.frame]
    return frame


# -- decoding --------------------------------------------------------------------------------------


def read_stored(path: Path) -> tuple[NDArray[Any], Any]:
    """Stored values ``(frames, y, x)`` or ``(frames, y, x, 3)`` and the whole dataset."""
    from pydicom import dcmread

    with dicom_errors(path):
        dataset = dcmread(path, force=True)
        if not any(f"{kind}PixelData" in dataset for kind in ("", "Float", "DoubleFloat")):
            raise ImageError("holds no pixels, or is cut off before them", fix=RESEND)
        _ensure_syntax(dataset)
        if text(dataset, "Modality") == "SEG":
            raise ImageError("is a DICOM segmentation", fix="convert it to .nrrd or .nii.gz")
        shape = (_frames(dataset), int(dataset.Rows), int(dataset.Columns))
        stored = None if _needs_gdcm(dataset) else _native(dataset)
    if stored is None:
        stored = _decode(dataset, path, shape)
    with dicom_errors(path):
        colour = (3,) if stored.size == 3 * np.prod(shape) else ()
        return stored.reshape(*shape, *colour), dataset


def _needs_gdcm(dataset: Any) -> bool:
    """JPEG of all kinds; run lengths do not, and 16-bit colours of them it reads wrong."""
    from pydicom.uid import RLELossless

    syntax = dataset.file_meta.TransferSyntaxUID
    return bool(syntax.is_encapsulated) and syntax != RLELossless


def _frames(dataset: Any) -> int:
    return int(dataset.get("NumberOfFrames", None) or 1)


def _ensure_syntax(dataset: Any) -> None:
    """State the transfer syntax that pydicom found out, where the file itself does not."""
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if not dataset.file_meta.get("TransferSyntaxUID", None):
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit


def _native(dataset: Any) -> NDArray[Any]:
    """Plain or run-length pixels; bits that hold no value (old overlays) are cleared."""
    from pydicom.pixels.processing import apply_color_lut

    array: NDArray[Any] = dataset.pixel_array
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        return np.asarray(apply_color_lut(array, dataset))
    if array.dtype.kind not in "ui" or dataset.PhotometricInterpretation not in _GREY:
        return array
    allocated, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
    high = int(dataset.get("HighBit", stored - 1))
    if not 0 < stored <= high + 1 <= allocated:
        raise ImageError(f"{stored} bits with high bit {high} do not fit {allocated}", fix=RESEND)
    if high != stored - 1:
        # pydicom has cut the bits above ``stored`` away already.
        raise ImageError(
            f"keeps its {stored} bits elsewhere than at the low end (high bit {high})",
            fix="convert it with another program, such as gdcmconv",
        )
    # Left then right: the arithmetic shift of a signed type restores the sign.
    return (array << (allocated - stored)) >> (allocated - stored)


def _decode(dataset: Any, path: Path, shape: tuple[int, ...]) -> NDArray[Any]:
    """Compressed pixels by GDCM, from a copy that says nothing of rescaling or inversion."""
    with dicom_errors(path):
        grey = dataset.PhotometricInterpretation in _GREY
        _check_streams(dataset)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pixels.dcm"
        with dicom_errors(path):
            _bare_copy(dataset, grey).save_as(file, enforce_file_format=True)
        try:
            array = read_array(file, "GDCMImageIO", shape, 1 if grey else 3, about=path)
        except ImageError as fault:
            name = dataset.file_meta.TransferSyntaxUID.name
            raise ImageError(
                f"its pixels ({name}) cannot be decoded: {fault.problem}", path=path, fix=RESEND
            ) from None
    return array if grey else np.moveaxis(array, 0, -1)


def _check_streams(dataset: Any) -> None:
    """Compare each JPEG with the header: where they differ, GDCM writes past its memory."""
    from pydicom.encaps import generate_frames

    shape = int(dataset.Rows), int(dataset.Columns), int(dataset.SamplesPerPixel)
    for stream in generate_frames(dataset.PixelData, number_of_frames=_frames(dataset)):
        if not stream.startswith(JPEG_MAGIC):
            continue  # JPEG 2000, whose decoder checks for itself
        segments = list(jpeg_segments(stream))
        sizes = [body for marker, body in segments if marker in _JPEG_SIZES and len(body) >= 6]
        if len(sizes) != 1 or struct.unpack(">HHB", sizes[0][1:6]) != shape:
            raise ImageError("its JPEG has another size than the header says", fix=RESEND)
        if sizes[0][0] > int(dataset.BitsAllocated) or segments[-1][0] != _JPEG_END:
            raise ImageError("its JPEG is damaged or cut off", fix=RESEND)


def _bare_copy(dataset: Any, grey: bool) -> Any:
    """Only what describes the stored pixels, as a secondary capture."""
    from pydicom.dataset import Dataset
    from pydicom.uid import SecondaryCaptureImageStorage

    copy = Dataset()
    for name in _NEEDED:
        if name in dataset:
            copy[name] = dataset[name]
    copy.SOPClassUID = SecondaryCaptureImageStorage
    copy.PhotometricInterpretation = _GREY[1] if grey else dataset.PhotometricInterpretation
    copy.file_meta = dataset.file_meta
    copy.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    return copy


# -- values ----------------------------------------------------------------------------------------


def _stored_range(plane: Plane) -> tuple[int, int]:
    bits = int(plane.header.BitsStored)
    signed = int(plane.header.get("PixelRepresentation", 0) or 0) == 1
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)


def _inverted(plane: Plane) -> bool:
    header = plane.header
    quantity = text(header, "Modality") in _QUANTITIES or text(header, "RescaleType") == "HU"
    return text(header, "PhotometricInterpretation") == _GREY[0] and not quantity


def _value_type(planes: Sequence[Plane]) -> np.dtype[Any]:
    """The smallest type, the same for all planes, that holds every possible value exactly."""
    ends: list[float] = []
    for plane in planes:
        if "BitsStored" not in plane.header:
            return np.dtype(np.float32)
        ends += [plane.slope * v + plane.intercept for v in _stored_range(plane)]
    if not all(p.slope.is_integer() and p.intercept.is_integer() for p in planes):
        return np.dtype(np.float32)
    return smallest_integer(ends)


def smallest_integer(values: Iterable[float]) -> np.dtype[Any]:
    """Smallest integer type for these values; float64 where there is none."""
    low, high = min(values := list(values)), max(values)
    for kind in (np.uint8, np.int8, np.uint16, np.int16, np.int32, np.uint32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return np.dtype(kind)
    return np.dtype(np.float64)


def _scaled(frame: NDArray[Any], plane: Plane, dataset: Any, kind: np.dtype[Any]) -> NDArray[Any]:
    """Stored values of one grey frame as the header says they are to be understood."""
    if dataset.get("ModalityLUTSequence", None):
        return _looked_up(frame, plane, dataset)
    if frame.dtype.kind == "f":
        return frame
    if (plane.slope, plane.intercept) == (1.0, 0.0) and not _inverted(plane):
        return frame.astype(kind)
    values: FloatArray = frame.astype(np.float64)
    if _inverted(plane):
        values = sum(_stored_range(plane)) - values
    return (values * plane.slope + plane.intercept).astype(kind)


def _looked_up(frame: NDArray[Any], plane: Plane, dataset: Any) -> NDArray[Any]:
    """Values by a table in the header, which stands in place of slope and intercept."""
    from pydicom.pixels.processing import apply_modality_lut

    with dicom_errors(plane.path):
        values = np.asarray(apply_modality_lut(frame, dataset))
        bits = int(dataset.ModalityLUTSequence[0].LUTDescriptor[2])
    return (1 << bits) - 1 - values if _inverted(plane) else values
