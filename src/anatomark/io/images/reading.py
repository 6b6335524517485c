"""Images in and out: NIfTI, NRRD, MetaImage, PNG, JPEG, TIFF, BMP and DICOM.

Arrays are ``z, y, x`` with channels first, grids are LPS millimetres, or pixels where the file has
no physical spacing. What is read, what is refused and why is told in ``docs/images.md``.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anatomark.data import Image
from anatomark.errors import ImageError, ImageWarning, UsageError
from anatomark.geometry import FloatArray, Grid
from anatomark.io.dicom.reading import DICOM_SUFFIXES, is_dicom, read_dicom, read_dicom_grid
from anatomark.io.files import check_readable
from anatomark.io.images.colour import has_colours, to_grey
from anatomark.io.images.headers import Facts
from anatomark.io.images.itk import Header, read_array, read_header
from anatomark.io.images.kinds import FILE_SUFFIXES, kind_of
from anatomark.io.images.rasters import JPEG_ROUNDING
from anatomark.io.images.writing import write_image

__all__ = ["IMAGE_SUFFIXES", "Spacing", "read_grid", "read_image", "read_mask", "write_image"]

IMAGE_SUFFIXES: tuple[str, ...] = (*FILE_SUFFIXES, *DICOM_SUFFIXES)
Spacing = Sequence[float] | float | None
AnyPath = str | os.PathLike[str]
_SAME_SPACING = 1e-3
_LARGEST_LABEL = 65535


def read_image(
    path: AnyPath,
    *,
    spacing: Spacing = None,
    series: str | None = None,
    grey: bool = False,
    colour: bool = False,
    nonfinite: float | None = None,
    constant_ok: bool = False,
) -> Image:
    """Read an image file, a DICOM file or a folder with one DICOM series.

    ``spacing`` (mm; one number, or x, y(, z)) is for files that have none. ``series`` chooses
    among several: a series UID, the start of one, or a series number. ``grey`` reduces colours to
    luminance; without it only equal channels become one, and true colours are an error unless
    ``colour`` says to keep them as ``(C, y, x)``. ``nonfinite`` replaces NaN and infinite
    voxels, which are an error otherwise, as is an image of one value unless ``constant_ok``.
    """
    file = Path(path)
    loaded = _load(file, spacing, series)
    image = loaded.image
    keep = colour and not grey and has_colours(image.array, loaded.tolerance)
    if (loaded.colour and not keep) or (grey and image.channels is not None):
        array = to_grey(image.array, file, forced=grey, tolerance=loaded.tolerance)
        image = image.with_array(array)
    return image.with_array(_checked(image.array, file, nonfinite, constant_ok))


def read_mask(path: AnyPath, *, spacing: Spacing = None) -> Image:
    """Read a mask or label map: whole numbers from 0, kept as they are, uint8 where they fit."""
    file = Path(path)
    loaded = _load(file, spacing, None)
    image = loaded.image
    if loaded.tolerance:
        raise ImageError(
            "a mask cannot be a JPEG: its values are not exact", path=file, fix="save it as PNG"
        )
    if loaded.colour:
        image = image.with_array(to_grey(image.array, file, forced=False))
    if image.channels is not None:
        raise ImageError(
            f"a mask has one channel, this one has {image.channels}",
            path=file,
            fix="export one label map (segments that overlap, each by itself)",
        )
    array = image.array
    if loaded.bits < 8 and array.dtype == np.uint8:
        array = array // np.uint8(255 // (2**loaded.bits - 1))  # labels, not brightness
    return image.with_array(_labels(array, file))


def read_grid(path: AnyPath, *, spacing: Spacing = None, series: str | None = None) -> Grid:
    """Read only where the voxels are: the header, not the voxels."""
    file = Path(path)
    if _is_dicom_source(file, series):
        return _with_spacing(read_dicom_grid(file, series=series), spacing, file)
    kind = kind_of(file)
    facts = kind.inspect(file, whole=False)
    return _grid(file, read_header(file, kind.reader), facts, spacing)


# -- loading ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Loaded:
    """An image as stored; whether its channels are colours, and how far grey ones lie apart."""

    image: Image
    colour: bool
    tolerance: int = 0
    bits: int = 8


def _load(file: Path, spacing: Spacing, series: str | None) -> _Loaded:
    if _is_dicom_source(file, series):
        image = read_dicom(file, series=series)
        image = replace(image, grid=_with_spacing(image.grid, spacing, file))
        lossy = bool(image.meta.get("lossy"))
        return _Loaded(image, image.channels is not None, JPEG_ROUNDING if lossy else 0)
    kind = kind_of(file)
    facts = kind.inspect(file)
    header = read_header(file, kind.reader)
    if "complex" in header.voxel:
        raise ImageError("has complex voxels", path=file, fix="save their magnitude")
    grid = _grid(file, header, facts, spacing)
    array = kind.voxels(file, grid.shape)
    if array is None:
        array = read_array(file, kind.reader, grid.shape, header.channels)
    if facts.inverted and header.channels == 1:
        array = _upright_grey(array, file)
    image = Image(array, grid, {"source_files": (str(file),)})
    return _Loaded(image, facts.colour and header.channels > 1, facts.grey_tolerance, facts.bits)


def _is_dicom_source(file: Path, series: str | None) -> bool:
    """Tell whether ``file`` is a folder or a DICOM file; raise where it cannot be read at all."""
    try:
        folder = file.is_dir()
    except OSError:
        folder = False  # the next line says why it cannot be read
    if folder or is_dicom(check_readable(file, ImageError)):
        return True
    if series is not None:
        raise UsageError(
            "a series was asked for, but this is not DICOM", path=file, fix="leave it out"
        )
    return False


# -- grids -----------------------------------------------------------------------------------------


def _grid(file: Path, header: Header, facts: Facts, spacing: Spacing) -> Grid:
    """The grid in mm; in pixels where neither the file nor ``spacing`` says how large they are."""
    stated = header.grid(file)  # checks the number of axes, too
    grid = facts.grid or stated
    if facts.scale_mm != 1:
        grid = replace(
            grid, spacing=grid.spacing * facts.scale_mm, origin=grid.origin * facts.scale_mm
        )
    if facts.physical:
        return _with_spacing(grid, spacing, file)
    if spacing is None:
        return Grid(grid.shape, unit="px")
    return replace(grid, spacing=_spacing_vector(spacing, grid.dimension, file))


def _with_spacing(grid: Grid, spacing: Spacing, file: Path) -> Grid:
    """The grid with the spacing that the user gave, and a warning where the file's differs."""
    if spacing is None:
        return grid
    wanted = _spacing_vector(spacing, grid.dimension, file)
    if grid.unit == "mm":
        if np.allclose(wanted, grid.spacing, rtol=_SAME_SPACING, atol=0):
            return grid
        warnings.warn(
            ImageWarning(
                f"{file}: the spacing {wanted.tolist()} was given, "
                f"the file says {grid.spacing.tolist()}, which is not used"
            ),
            stacklevel=3,
        )
    return replace(grid, spacing=wanted, unit="mm")


def _spacing_vector(spacing: Sequence[float] | float, dimension: int, file: Path) -> FloatArray:
    try:
        given = np.asarray(spacing, np.float64)
        wanted = np.broadcast_to(given, (dimension,)) if given.size == 1 else given
    except (TypeError, ValueError):
        wanted = np.full(dimension, np.nan)
    if wanted.shape != (dimension,) or not (np.isfinite(wanted).all() and (wanted > 0).all()):
        raise UsageError(
            f"the spacing {spacing!r} does not fit an image of {dimension} axes",
            path=file,
            fix=f"give one positive number or {dimension}, in mm, in the order x, y(, z)",
        )
    return wanted


# -- values ----------------------------------------------------------------------------------------


def _checked(
    array: NDArray[Any], file: Path, nonfinite: float | None, constant_ok: bool
) -> NDArray[Any]:
    """The voxels, finite and not all the same, or an error."""
    if array.dtype.kind == "f":
        array = _finite(array, file, nonfinite)
    if not constant_ok and array.min() == array.max():
        raise ImageError(
            f"every voxel is {array.flat[0]}",
            path=file,
            fix="check the export (in Python, constant_ok=True allows it)",
        )
    return array


def _finite(array: NDArray[Any], file: Path, nonfinite: float | None) -> NDArray[Any]:
    bad = ~np.isfinite(array)
    count = int(np.count_nonzero(bad))
    if not count:
        return array
    if nonfinite is None:
        raise ImageError(
            f"{count} of {array.size} voxels are NaN or infinite",
            path=file,
            fix="replace them with nonfinite=0, say",
        )
    if not np.isfinite(nonfinite):
        raise UsageError(f"nonfinite is {nonfinite}", path=file, fix="give a finite number")
    return np.where(bad, array.dtype.type(nonfinite), array)


def _upright_grey(array: NDArray[Any], file: Path) -> NDArray[Any]:
    """The negative of a picture that is stored as one, so that bigger is brighter."""
    if array.dtype.kind != "u":
        raise ImageError("is stored as a negative", path=file, fix="save it as a positive")
    return np.asarray(np.iinfo(array.dtype).max - array)


def _labels(array: NDArray[Any], file: Path) -> NDArray[Any]:
    low, high = array.min(), array.max()
    if not (low >= 0 and high <= _LARGEST_LABEL) or (
        array.dtype.kind == "f" and (array != np.rint(array)).any()
    ):
        raise ImageError(
            f"a mask holds whole numbers from 0 to {_LARGEST_LABEL}, this one {low:g} to {high:g}",
            path=file,
            fix="threshold it, or export it as a label map",
        )
    return array.astype(np.uint8 if high <= 255 else np.uint16)
