"""Transform files in and out, with the direction of their numbers stated, never guessed.

A ``Map`` pushes points. The numbers in a file have one of two senses, and no format says which:

* ``direction="points"``: the file pushes points as the map does, from the moving image to the
  fixed one;
* ``direction="image"``: the file resamples the moving image, so it takes points of the fixed image
  to the moving one. This is what registration with ITK, elastix or ANTs and what 3D Slicer writes.

So ``read_transform(path, direction="image")`` returns the inverse of what the file holds, and the
map that comes back pushes points of the moving image onto the fixed one in either case.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from anatomark.errors import AnatomarkError, TransformError, UsageError, WriteError
from anatomark.geometry import Grid
from anatomark.io.files import check_readable, pick_format, read_text, write_text, writing
from anatomark.io.native import captured, named_for_itk, simpleitk
from anatomark.io.transforms import itk_files
from anatomark.io.transforms.itk_transforms import (
    field_image,
    field_of,
    from_sitk,
    sampled,
    simplified,
    to_sitk,
)
from anatomark.io.transforms.matrices import Frame, matrix_text, parse_matrix
from anatomark.maps import Affine, Chain, Displacement, Map

Direction = Literal["points", "image"]

_NOTE = re.compile(r"^# anatomark transform; frame (\w+); direction (\w+); unit mm\s*$", re.M)


@dataclass(frozen=True)
class _Stated:
    """What the caller says about the numbers in a file."""

    direction: Direction
    frame: Frame | None

    @property
    def note(self) -> str:
        return (
            f"# anatomark transform; frame {self.frame or 'LPS'}; "
            f"direction {self.direction}; unit mm"
        )


def read_transform(
    path: str | os.PathLike[str], *, direction: Direction, frame: Frame | None = None
) -> Map:
    """Map that pushes points ``(N, D)`` LPS mm of the moving image onto the fixed one.

    ``direction`` says which sense the numbers in the file have: ``points`` or ``image`` (see the
    top of this module). ``frame`` is for matrices in text: the frame the matrix acts in, LPS where
    neither the caller nor the file says otherwise.
    """
    stated = _stated(direction, frame)
    reader = pick_format(_READERS, path, what="a transform to read")
    try:
        found = simplified(reader(check_readable(path, TransformError), stated))
        _check_invertible(found)
        return found if direction == "points" else found.inverse()
    except AnatomarkError as fault:
        fault.at(path)
        raise


def write_transform(
    warp: Map,
    path: str | os.PathLike[str],
    *,
    direction: Direction,
    grid: Grid | None = None,
    frame: Frame | None = None,
) -> None:
    """Write a map that pushes points of the moving image onto the fixed one.

    ``direction`` says which sense the file's numbers get. A map that the format has no form for is
    sampled on ``grid``: with ``image`` the grid of the fixed, with ``points`` of the moving image.
    ``frame`` (LPS by default) is that of a matrix in text; all other formats are LPS.
    """
    stated = _stated(direction, frame)
    writer = pick_format(_WRITERS, path, what="a transform to write")
    try:
        stored = simplified(warp)
        _check_invertible(stored)
        stored = stored if direction == "points" else simplified(stored.inverse())
        writer(stored, Path(path), stated, grid)
    except AnatomarkError as fault:
        fault.at(path)
        raise


def _stated(direction: Direction, frame: Frame | None) -> _Stated:
    if direction not in get_args(Direction):
        raise UsageError(
            f"the direction of a transform file must be stated, it is {direction!r}",
            fix="say 'points' if it pushes points of the moving image, 'image' if it resamples "
            "that image (ITK, elastix, ANTs, 3D Slicer)",
        )
    if frame is not None and frame not in get_args(Frame):
        raise UsageError(f"the frame of a matrix is 'LPS' or 'RAS', not {frame!r}")
    return _Stated(direction, frame)


def _check_invertible(warp: Map) -> None:
    for part in warp.maps if isinstance(warp, Chain) else (warp,):
        if isinstance(part, Affine):
            part.inverse()


# -- readers ---------------------------------------------------------------------------------------


def _read_tfm(path: Path, stated: _Stated) -> Map:
    return _itk_text(path, read_text(path, TransformError), stated)


def _read_txt(path: Path, stated: _Stated) -> Map:
    """Read either ITK text, which its first line tells, or a matrix."""
    text = read_text(path, TransformError)
    if text.startswith(itk_files.ITK_TEXT):
        return _itk_text(path, text, stated)
    return _matrix(text, stated)


def _read_csv(path: Path, stated: _Stated) -> Map:
    return _matrix(read_text(path, TransformError), stated)


def _itk_text(path: Path, text: str, stated: _Stated) -> Map:
    _lps_only(stated)
    _check_note(text, stated)
    return from_sitk(itk_files.read_itk_text(path, text))


def _matrix(text: str, stated: _Stated) -> Map:
    return parse_matrix(text, frame=_check_note(text, stated))


def _read_hdf5(path: Path, stated: _Stated) -> Map:
    _lps_only(stated)
    return from_sitk(itk_files.read_itk_hdf5(path))


def _read_matlab(path: Path, stated: _Stated) -> Map:
    _lps_only(stated)
    return from_sitk(itk_files.read_itk_matlab(path))


def _read_field(path: Path, stated: _Stated) -> Map:
    """Read a displacement field that is stored as an image of vectors, as ANTs does."""
    sitk = simpleitk()

    _lps_only(stated)
    with named_for_itk(path) as name, captured(2):
        try:
            image = sitk.ReadImage(name, sitk.sitkVectorFloat64)
        except RuntimeError:
            image = None
    if image is None:
        raise TransformError("is not a whole image file", fix="copy or export it again")
    return field_of(image)


def _lps_only(stated: _Stated) -> None:
    if stated.frame == "RAS":
        raise UsageError(
            "only a matrix in text can be in RAS: files of this kind are always LPS",
            fix="leave out the frame",
        )


def _check_note(text: str, stated: _Stated) -> Frame:
    """Frame of the numbers; raises where the file's own note contradicts the caller."""
    note = _NOTE.search(text)
    if note is None:
        return stated.frame or "LPS"
    frame, direction = note.groups()
    if frame not in get_args(Frame) or direction not in get_args(Direction):
        raise TransformError(f"its note is not understood: {note[0]}", fix="export it again")
    said = (("direction", direction, stated.direction), ("frame", frame, stated.frame or frame))
    for what, in_file, by_caller in said:
        if in_file != by_caller:
            raise UsageError(
                f"the file says its {what} is {in_file!r}, the caller says {by_caller!r}",
                fix=f"use {what} {in_file!r}",
            )
    return "RAS" if frame == "RAS" else "LPS"


# -- writers ---------------------------------------------------------------------------------------


def _write_tfm(warp: Map, path: Path, stated: _Stated, grid: Grid | None) -> None:
    _lps_only(stated)
    write_text(path, itk_files.itk_text(to_sitk(warp, grid=grid), stated.note))


def _write_hdf5(warp: Map, path: Path, stated: _Stated, grid: Grid | None) -> None:
    _lps_only(stated)
    transform = to_sitk(warp, grid=grid)
    with writing(path) as temporary:
        itk_files.write_itk_hdf5(transform, temporary)


def _write_matrix(warp: Map, path: Path, stated: _Stated, _grid: Grid | None) -> None:
    if not isinstance(warp, Affine):
        raise TransformError(
            "a matrix can only hold an affine map", fix="write .tfm or .h5, or an image of vectors"
        )
    separator = "," if path.suffix.lower() == ".csv" else " "
    frame = stated.frame or "LPS"
    write_text(path, matrix_text(warp, frame=frame, note=stated.note, separator=separator))


def _write_field(warp: Map, path: Path, stated: _Stated, grid: Grid | None) -> None:
    sitk = simpleitk()

    _lps_only(stated)
    field = warp if isinstance(warp, Displacement) else sampled(warp, grid)
    image = field_image(field)
    with writing(path) as temporary, captured(2):
        try:
            sitk.WriteImage(image, str(temporary))
            back = sitk.ReadImage(str(temporary))
            whole = np.array_equal(*map(sitk.GetArrayViewFromImage, (back, image)))
        except RuntimeError:
            whole = False
        if not whole:
            raise WriteError("could not be written as a whole", path=path, fix="free some space")


_READERS: dict[str, Callable[[Path, _Stated], Map]] = {
    ".tfm": _read_tfm,
    ".txt": _read_txt,
    ".csv": _read_csv,
    ".h5": _read_hdf5,
    ".hdf5": _read_hdf5,
    ".mat": _read_matlab,
    ".nii": _read_field,
    ".nii.gz": _read_field,
    ".nrrd": _read_field,
    ".mha": _read_field,
}
_WRITERS: dict[str, Callable[[Map, Path, _Stated, Grid | None], None]] = {
    ".tfm": _write_tfm,
    ".txt": _write_matrix,
    ".csv": _write_matrix,
    ".h5": _write_hdf5,
    ".hdf5": _write_hdf5,
    ".nii": _write_field,
    ".nii.gz": _write_field,
    ".nrrd": _write_field,
    ".mha": _write_field,
}
TRANSFORM_SUFFIXES: tuple[str, ...] = tuple(_READERS)
