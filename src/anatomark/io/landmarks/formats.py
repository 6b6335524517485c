"""Landmark files in and out: one table of formats, one way into LPS, one warning about losses.

A reader returns what stands in the file; here, and nowhere else, it becomes LPS, gets its
dimension and leaves pixels for millimetres. The formats are described in
``docs/landmark-files.md``.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anatomark.data import Landmarks
from anatomark.errors import AnatomarkError, LandmarkError, LossWarning, UsageError, listed
from anatomark.geometry import Grid, Unit
from anatomark.io.files import pick_format
from anatomark.io.landmarks.fcsv import read_fcsv, write_fcsv
from anatomark.io.landmarks.isbi import read_isbi, write_isbi
from anatomark.io.landmarks.own import read_own, write_own
from anatomark.io.landmarks.parsing import Frame, Reading, read_object
from anatomark.io.landmarks.placing import (
    PixelOrigin,
    counted_from,
    flip,
    of_dimension,
    place,
    to_indices,
    to_lps,
)
from anatomark.io.landmarks.slicer import read_markups, write_markups
from anatomark.io.landmarks.tables import read_csv, read_groups, write_long, write_wide


@dataclass(frozen=True)
class Format:
    """A kind of file: how it is read and written, and what it can hold.

    ``holds`` are those of absence, covariance, confidence, pairs and metadata that survive
    writing (``meta.KEY`` for one entry of the metadata); ``units`` those it can be written in;
    ``options`` what its reader can be told; ``origin`` where its pixels are counted from.
    """

    read: Callable[..., Reading]
    write: Callable[..., None]
    holds: frozenset[str]
    units: frozenset[Unit]
    options: frozenset[str] = frozenset()
    on_image: bool = False
    origin: PixelOrigin = "centre"


def _all(*words: Any) -> frozenset[Any]:
    return frozenset(words)


FORMATS: Mapping[str, Format] = {
    "mrk.json": Format(
        read_markups,
        write_markups,
        holds=_all("absence", "meta.descriptions", "meta.node"),
        units=_all("mm"),
        options=_all("node"),
    ),
    "fcsv": Format(read_fcsv, write_fcsv, holds=_all("meta.descriptions"), units=_all("mm")),
    "csv": Format(
        read_csv,
        write_long,
        holds=_all("absence", "covariance", "confidence", "meta.descriptions"),
        units=_all("mm", "px"),
        options=_all("case", "unit"),
        on_image=True,
    ),
    "csv-wide": Format(
        read_csv,
        write_wide,
        holds=_all("absence"),
        units=_all("mm", "px"),
        options=_all("case", "unit"),
        on_image=True,
    ),
    "json": Format(
        read_own,
        write_own,
        holds=_all("absence", "covariance", "confidence", "pairs", "meta"),
        units=_all("mm", "px"),
    ),
    "isbi": Format(
        read_isbi,
        write_isbi,
        holds=_all("meta.classes"),
        units=_all("px"),
        on_image=True,
        origin="corner",
    ),
}
EXTENSIONS: Mapping[str, str] = {
    ".mrk.json": "mrk.json",
    ".fcsv": "fcsv",
    ".csv": "csv",
    ".json": "json",
    ".txt": "isbi",
}
LANDMARK_SUFFIXES = tuple(EXTENSIONS)


# -- reading -------------------------------------------------------------------------------------


def read_landmarks(
    path: str | os.PathLike[str],
    *,
    grid: Grid | None = None,
    spacing: Sequence[float] | float | None = None,
    dimension: int | None = None,
    format: str | None = None,  # noqa: A002
    frame: Frame | None = None,
    case: str | None = None,
    node: str | None = None,
    unit: Unit | None = None,
    default_unit: Unit | None = None,
    pixel_origin: PixelOrigin | None = None,
) -> Landmarks:
    """Read the landmarks of one image, in LPS millimetres.

    A file in pixels needs the image's ``grid``, or the ``spacing`` (x, y(, z), mm) of an image
    whose first pixel has its centre at 0; without them the landmarks stay in pixels.
    ``dimension`` is that of ``grid`` unless given; 3D points become 2D if all have z = 0.
    ``frame``, ``unit``: of a file that does not say; one that says another is refused.
    ``default_unit``: where neither says. ``case``: which one of a table; ``node``: which one of a
    Slicer file. ``pixel_origin`` says where a table counts from: the centre (its
    default) or the outer corner (that of ISBI files) of the first pixel. ``format`` overrules the
    extension.
    """
    file = Path(path)
    try:
        name = _format_name(file, format, reading=True)
        _check_told(name, {"case": case, "node": node}, pixel_origin)
        origin = pixel_origin or FORMATS[name].origin
        wanted = _Wanted(grid, spacing, dimension, frame, origin, unit, default_unit)
        options = {"case": case, "node": node}
        if "unit" in FORMATS[name].options:
            options["unit"] = wanted.unit_unsaid
        given = {k: v for k, v in options.items() if v is not None}
        return wanted.finish(FORMATS[name].read(file, **given), on_image=FORMATS[name].on_image)
    except AnatomarkError as error:
        error.at(file)
        raise


def read_landmark_table(
    path: str | os.PathLike[str],
    *,
    by: str | Sequence[str] | None = None,
    names: str | Sequence[str] | None = None,
    grid: Grid | None = None,
    spacing: Sequence[float] | float | None = None,
    dimension: int | None = None,
    frame: Frame | None = None,
    unit: Unit | None = None,
    default_unit: Unit | None = None,
    pixel_origin: PixelOrigin = "centre",
) -> dict[str, Landmarks]:
    """Read all cases of a CSV table, in LPS millimetres as ``read_landmarks`` does.

    ``by`` are the columns that tell cases apart (without it ``case``, ``image`` or ``filename``),
    and the keys are their texts, joined with ``/``. ``names`` are the columns that name a
    landmark in a long table, joined with ``_``. ``meta`` has the columns about the whole case.
    """
    file = Path(path)
    wanted = _Wanted(grid, spacing, dimension, frame, pixel_origin, unit, default_unit)
    try:
        cases, stated = read_groups(file, by=by, names=names, unit=wanted.unit_unsaid)
        return {case: wanted.finish((found, stated)) for case, found in cases.items()}
    except AnatomarkError as error:
        error.at(file)
        raise


@dataclass(frozen=True)
class _Wanted:
    """What the caller says about the image and the file; ``finish`` applies it to a reading."""

    grid: Grid | None
    spacing: Sequence[float] | float | None
    dimension: int | None
    frame: Frame | None
    pixel_origin: PixelOrigin
    unit: Unit | None = None
    default_unit: Unit | None = None

    @property
    def unit_unsaid(self) -> Unit | None:
        """The unit of a file that says none: pixels, where nothing else makes sense of the rest."""
        in_pixels = self.spacing is not None or (self.grid is not None and self.grid.unit == "px")
        return self.unit or ("px" if in_pixels else self.default_unit)

    def finish(self, reading: Reading, *, on_image: bool = True) -> Landmarks:
        landmarks, stated = reading
        if self.unit not in {None, landmarks.unit}:
            raise UsageError(
                f"its points are in {landmarks.unit}, not in {self.unit}", fix="leave the unit out"
            )
        if stated is not None and self.frame not in {None, stated}:
            raise UsageError(
                f"its coordinates are {stated}, not {self.frame}", fix="leave the frame out"
            )
        landmarks = to_lps(landmarks, stated or self.frame)
        landmarks = of_dimension(landmarks, self._dimension())
        grid = self._grid_for(landmarks)
        if grid is None or (grid.unit == landmarks.unit == "px" and not on_image):
            return landmarks
        return place(landmarks, grid, pixel_origin=self.pixel_origin)

    def _dimension(self) -> int | None:
        if self.dimension is None and self.grid is not None:
            return self.grid.dimension
        return self.dimension

    def _grid_for(self, landmarks: Landmarks) -> Grid | None:
        """The grid given, or one whose first pixel has its centre at 0."""
        shape = (1,) * landmarks.dimension
        if self.grid is not None and self.spacing is not None:
            raise UsageError("both a grid and a spacing are given", fix="leave the spacing out")
        if self.spacing is not None:
            spacing = np.asarray(self.spacing, np.float64)
            if spacing.shape not in {(), (len(shape),)}:
                raise UsageError(
                    f"the spacing has {spacing.size} values, the points are {len(shape)}D"
                )
            return Grid(shape, np.broadcast_to(spacing, len(shape)))
        if self.grid is None and self.pixel_origin == "corner":
            if landmarks.unit == "mm":
                raise UsageError(
                    "points in mm from the corner of a pixel need its size", fix="give spacing=…"
                )
            return Grid(shape, unit="px")
        return self.grid


def _format_name(file: Path, asked: str | None, *, reading: bool) -> str:
    if asked is not None:
        if asked not in FORMATS:
            raise UsageError(
                f"there is no landmark format {asked!r}", fix=f"use one of {', '.join(FORMATS)}"
            )
        return asked
    name: str = pick_format(EXTENSIONS, file, what="a landmark file")
    # Slicer opens its markups under the plain extension too.
    slicers = reading and name == "json" and "markups" in read_object(file)
    return "mrk.json" if slicers else name


def _check_told(name: str, told: Mapping[str, str | None], origin: PixelOrigin | None) -> None:
    alien = [k for k, v in told.items() if v is not None and k not in FORMATS[name].options]
    if origin == "corner" and not FORMATS[name].on_image:
        alien.append("pixel_origin")
    if alien:
        raise UsageError(f"{', '.join(alien)} means nothing in a {name} file", fix="leave it out")


# -- writing -------------------------------------------------------------------------------------


def write_landmarks(
    landmarks: Landmarks,
    path: str | os.PathLike[str],
    *,
    grid: Grid | None = None,
    format: str | None = None,  # noqa: A002
    frame: Frame = "LPS",
) -> None:
    """Write landmarks in the format of the extension, or in ``format``.

    What the format cannot hold is left out with a ``LossWarning``. ``grid`` is the image's: it
    turns landmarks in pixels into millimetres, or the other way round for a format in pixels.
    ``frame`` is that of the coordinates in the file.
    """
    file = Path(path)
    try:
        name = _format_name(file, format, reading=False)
        kind = FORMATS[name]
        ready = _in_unit_of(kind, name, landmarks, grid)
        if frame == "RAS" and ready.unit == "px":
            raise UsageError("points in pixels are neither LPS nor RAS", fix="leave frame out")
        kind.write(flip(ready) if frame == "RAS" else ready, file, frame=frame)
    except AnatomarkError as error:
        error.at(file)
        raise
    except UnicodeEncodeError:
        raise LandmarkError(
            "a name or text is not valid Unicode", path=file, fix="rename the landmarks"
        ) from None
    lost = [text for what, text in _contents(landmarks).items() if not _holds(kind, what)]
    if lost:
        text = f"{file}: a {name} file cannot hold {'; '.join(lost)}"
        warnings.warn(LossWarning(text), stacklevel=2)


def _in_unit_of(kind: Format, name: str, landmarks: Landmarks, grid: Grid | None) -> Landmarks:
    """The landmarks as the file states them: in mm where it can, else as indices of the image."""
    in_mm = landmarks.unit == "mm" or (grid is not None and grid.unit == "mm")
    target: Unit = "mm" if in_mm and "mm" in kind.units else "px"
    if target not in kind.units:
        raise LandmarkError(
            f"the landmarks are in pixels, a {name} file is in mm", fix="give the image's spacing"
        )
    if target == "mm":
        return landmarks if grid is None or landmarks.unit == "mm" else place(landmarks, grid)
    if grid is not None and grid.unit == landmarks.unit and kind.on_image:
        return counted_from(to_indices(landmarks, grid), kind.origin)
    if landmarks.unit == "mm":
        raise LandmarkError(
            f"the landmarks are in mm, a {name} file is in pixels", fix="give the image (grid=…)"
        )
    return counted_from(landmarks, kind.origin)


def _contents(landmarks: Landmarks) -> dict[str, str]:
    """What there is beside names and points, as ``Format.holds`` calls it, and in words."""
    names = [n for n, here in zip(landmarks.names, landmarks.present, strict=True) if not here]
    found = {"absence": f"{len(names)} absent landmarks ({listed(names, 8)})"} if names else {}
    for what, values in (
        ("covariance", landmarks.covariance_mm2),
        ("confidence", landmarks.confidence),
    ):
        if values is not None:
            known = np.isfinite(values.reshape(len(landmarks), -1)).all(axis=1).sum()
            found[what] = f"the {what} of {known} landmarks"
    if landmarks.pairs:
        found["pairs"] = f"{len(landmarks.pairs)} left/right pairs"
    return found | {f"meta.{key}": f"the metadata {key!r}" for key in landmarks.meta}


def _holds(kind: Format, what: str) -> bool:
    return what in kind.holds or ("meta" in kind.holds and what.startswith("meta."))
