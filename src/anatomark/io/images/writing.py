"""Writing images: whole or not at all, exact or not at all, and no loss without a word."""

from __future__ import annotations

import errno
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anatomark.data import Image
from anatomark.errors import ImageError, LossWarning, UsageError
from anatomark.geometry import Grid
from anatomark.io.files import pick_format, suffix_of, writing
from anatomark.io.images.itk import write_file
from anatomark.io.images.kinds import named_kind

_INTEGERS = frozenset(f"{sign}int{bits}" for sign in ("u", "") for bits in (8, 16, 32, 64))
_NUMBERS = _INTEGERS | {"float32", "float64"}
_PARTS = {".mhd": ".mha", ".nhdr": ".nrrd"}
_LARGEST_NIFTI = 32767
_SHEAR = 1e-4


@dataclass(frozen=True)
class _Format:
    """What a format can hold; ``channels`` is empty where any number will do."""

    dtypes: frozenset[str]
    channels: frozenset[int] = frozenset()
    dimensions: frozenset[int] = frozenset({2, 3})
    physical: bool = True
    lossy: bool = False


_VOLUME = _Format(_NUMBERS)
_JPEG = _Format(frozenset({"uint8"}), frozenset({1, 3}), frozenset({2}), False, True)
_TIFF = _Format(_INTEGERS - {"int64", "uint64"} | {"float32"}, frozenset({1, 3, 4}), physical=False)
_FORMATS = {
    ".nii": _VOLUME,
    ".nii.gz": _VOLUME,
    ".nrrd": _VOLUME,
    ".seg.nrrd": _Format(_INTEGERS, frozenset({1})),
    ".mha": _VOLUME,
    ".png": _Format(
        frozenset({"uint8", "uint16"}), frozenset({1, 3, 4}), frozenset({2}), physical=False
    ),
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".bmp": _Format(frozenset({"uint8"}), frozenset({1, 3}), frozenset({2}), physical=False),
}
_FIX = "write .nii.gz, .nrrd or .mha"


def write_image(image: Image, path: str | os.PathLike[str]) -> None:
    """Write an image in the format of the extension; voxels are never cast or rounded.

    bool becomes uint8 and float16 becomes float32, which loses nothing. What a format cannot hold
    is an error (a voxel type, a sheared direction) or a ``LossWarning`` (spacing, origin).
    """
    file = Path(path)
    if suffix_of(file) in _PARTS:
        raise UsageError(
            "is a format of two files, which cannot be replaced together",
            path=file,
            fix=f"write {_PARTS[suffix_of(file)]}, the same in one file",
        )
    form: _Format = pick_format(_FORMATS, file, what="an image")
    array = _storable(image, form, file)
    if suffix_of(file).startswith(".nii"):
        _check_nifti(image, file)
    _warn_of_loss(image.grid, form, file)
    with writing(file) as temporary:
        grid = image.grid if form.physical else Grid(image.grid.shape, unit="px")
        write_file(array, grid, temporary)
        _check_written(temporary)


def _storable(image: Image, form: _Format, file: Path) -> NDArray[Any]:
    """The voxels in a type that the format holds exactly, or an error that says what to do."""
    array, kind = image.array, file.suffix
    if image.grid.dimension not in form.dimensions:
        raise UsageError(f"a {kind} file holds one 2D picture, not a volume", path=file, fix=_FIX)
    channels = 1 if image.channels is None else image.channels
    if form.channels and channels not in form.channels:
        raise UsageError(f"a {kind} file cannot hold {channels} channels", path=file, fix=_FIX)
    wider = {"bool": np.uint8, "float16": np.float32}.get(array.dtype.name)
    array = array.astype(wider or array.dtype.newbyteorder("="), copy=False)
    if array.dtype.name not in form.dtypes:
        raise UsageError(
            f"a {kind} file cannot hold {array.dtype.name} voxels",
            path=file,
            fix=f"{_FIX}, or scale and cast the voxels to {' or '.join(sorted(form.dtypes)[:3])}",
        )
    return array


def _check_nifti(image: Image, file: Path) -> None:
    grid, columns = image.grid, image.grid.direction
    if image.channels and grid.dimension == 3 and grid.shape[0] == 1:
        raise UsageError(
            "NIfTI cannot tell one slice with channels from a 2D image",
            path=file,
            fix="write .nrrd or .mha",
        )
    if np.abs(columns.T @ columns - np.eye(grid.dimension)).max() > _SHEAR:
        raise UsageError(
            "NIfTI cannot hold a sheared grid in a way that other programs read",
            path=file,
            fix="write .nrrd or .mha, or resample to a grid without shear",
        )
    with np.errstate(over="ignore", under="ignore"):
        stored = np.array([*grid.spacing, *grid.origin], np.float32)
    if not np.isfinite(stored).all() or not stored[: grid.dimension].all():
        raise UsageError(
            "NIfTI keeps spacing and origin as float32, which cannot hold these", path=file,
            fix="write .nrrd or .mha",
        )  # fmt: skip
    if max(grid.shape) > _LARGEST_NIFTI:
        raise UsageError(
            f"NIfTI holds at most {_LARGEST_NIFTI} voxels along an axis",
            path=file,
            fix="write .nrrd or .mha",
        )


def _warn_of_loss(grid: Grid, form: _Format, file: Path) -> None:
    lost = []
    if form.physical and grid.unit == "px":
        lost.append("cannot say that its unit is pixels: it will be read as 1 mm a pixel")
    if not form.physical and grid != Grid(grid.shape, unit="px"):
        lost.append(
            f"cannot hold where the pixels are (spacing {grid.spacing.tolist()} {grid.unit}, "
            f"origin {grid.origin.tolist()}, orientation)"
        )
    if form.lossy:
        lost.append("changes the values a little (JPEG)")
    for what in lost:
        warnings.warn(LossWarning(f"{file}: the format {what}"), stacklevel=3)


def _check_written(temporary: Path) -> None:
    """Look whether all arrived: the libraries say nothing of it when a disk is full."""
    try:
        named_kind(temporary).inspect(temporary)
    except (ImageError, OSError, ValueError):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
