"""Fixtures that write synthetic image and DICOM files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

ROOT = "1.2.826.0.1.3680043.8.498"  # pydicom's own root, so that the UIDs are legal


def _dataset(array: NDArray[Any], tags: dict[str, Any]) -> Dataset:
    """A CT-like dataset around stored values ``(y, x)``, ``(frames, y, x)`` or ``(y, x, 3)``."""
    colour = array.ndim == 3 and array.shape[-1] == 3
    frames = array.shape[0] if array.ndim == 3 and not colour else None
    bits = 8 * array.dtype.itemsize
    pixels = {
        "Rows": array.shape[-3 if colour else -2],
        "Columns": array.shape[-2 if colour else -1],
        "SamplesPerPixel": 3 if colour else 1,
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        "BitsAllocated": bits,
        "BitsStored": tags.get("BitsStored", bits),
        "HighBit": tags.get("BitsStored", bits) - 1,
        "PixelRepresentation": int(array.dtype.kind == "i"),
    }
    pixels |= {"PlanarConfiguration": 0} if colour else {}
    pixels |= {"NumberOfFrames": frames} if frames else {}
    dataset = Dataset()
    for name, value in {**_IDENTITY, **pixels, **tags}.items():
        if value is not None:
            setattr(dataset, name, value)
    dataset.PixelData = array.tobytes()
    return dataset


_IDENTITY = {
    "SOPClassUID": CTImageStorage,
    "SOPInstanceUID": f"{ROOT}.1",
    "StudyInstanceUID": f"{ROOT}.2",
    "SeriesInstanceUID": f"{ROOT}.3",
    "FrameOfReferenceUID": f"{ROOT}.4",
    "Modality": "CT",
    "SeriesNumber": 1,
    "PatientName": "Doe^Jane",
    "PatientID": "secret-7",
}


def _write(
    path: Path, array: NDArray[Any], *, syntax: str = ExplicitVRLittleEndian, **tags: Any
) -> Path:
    dataset = _dataset(array, tags)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture(scope="session")
def write_dicom() -> Callable[..., Path]:
    """Write one DICOM file: ``write_dicom(path, stored_values, Tag=value, …)``."""
    return _write


def _write_series(
    folder: Path,
    volume: NDArray[Any],
    *,
    origin: tuple[float, ...] = (-20.0, 30.0, 100.0),
    axes: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    step: tuple[float, ...] = (0.0, 0.0, 2.0),
    at: list[float] | None = None,
    series: int = 3,
    **tags: Any,
) -> Path:
    """One file a slice: slice i lies at ``origin + at[i] * step``; files are in no useful order."""
    places = list(range(len(volume))) if at is None else at
    for i, (place, slice_) in enumerate(zip(places, volume, strict=True)):
        position = [round(o + place * s, 6) for o, s in zip(origin, step, strict=True)]
        own = {
            "SOPInstanceUID": f"{ROOT}.{series}.{i + 1}",
            "SeriesInstanceUID": f"{ROOT}.{series}",
            "SeriesNumber": series,
            "InstanceNumber": i + 1,
            "ImagePositionPatient": position,
            "ImageOrientationPatient": list(axes),
            "PixelSpacing": [0.75, 0.5],
        }
        _write(folder / f"{(7 * i) % 1009:04d}-{series}.dcm", slice_, **{**own, **tags})
    return folder


@pytest.fixture(scope="session")
def write_series() -> Callable[..., Path]:
    """Write a DICOM series: ``write_series(folder, volume, origin=…, step=…, at=…, Tag=…)``."""
    return _write_series


@pytest.fixture
def stored_volume() -> NDArray[Any]:
    """A small volume ``(z, y, x)`` = (5, 6, 7) without symmetry, 12-bit values."""
    values = np.random.default_rng(5).integers(0, 4096, (5, 6, 7))
    return values.astype(np.uint16)
