"""Matches in files: one CSV table, or two Slicer point lists in which equal names are a pair.

The table has one row a pair and the columns ``fixed_x_mm, fixed_y_mm(, fixed_z_mm), moving_x_mm, …,
confidence, frame``; in pixels they end with ``_px``, and there is no frame.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from anatomark.correspondence import Matches
from anatomark.data import Landmarks
from anatomark.errors import LandmarkError
from anatomark.geometry import FloatArray, Unit
from anatomark.io.files import read_text, write_text
from anatomark.io.landmarks.formats import write_landmarks
from anatomark.io.landmarks.parsing import csv_text, flipped, frame_of, number

AnyPath = str | os.PathLike[str]
_SIDES = ("fixed", "moving")
_WANTED = "fixed_x_mm, fixed_y_mm, moving_x_mm, moving_y_mm (or _px)"


def write_matches(matches: Matches, path: AnyPath) -> None:
    """Write one row a pair, LPS, every bit of the numbers; whole or not at all."""
    columns: dict[str, Sequence[object]] = {}
    for side, points in zip(_SIDES, (matches.fixed_mm, matches.moving_mm), strict=True):
        for axis, values in zip("xyz", points.T, strict=False):
            columns[f"{side}_{axis}_{matches.unit}"] = [repr(v) for v in values.tolist()]
    columns["confidence"] = [repr(v) for v in matches.confidence.tolist()]
    if matches.unit == "mm":
        columns["frame"] = ["LPS"] * len(matches)
    write_text(path, csv_text([columns, *zip(*columns.values(), strict=True)]))


def read_matches(path: AnyPath) -> Matches:
    """Read a table of pairs, in LPS; one without a column ``confidence`` has confidence 1.

    A table of 3D points in mm must say its frame; one in RAS is converted. No rows are no pairs.
    """
    file = Path(path)
    try:
        return _parsed(read_text(file, LandmarkError))
    except LandmarkError as fault:
        raise fault.at(file) from None


def write_pair_landmarks(matches: Matches, fixed_path: AnyPath, moving_path: AnyPath) -> None:
    """Write the two ends as landmark files (``.mrk.json`` for Slicer); equal names are a pair."""
    # Slicer's files cannot hold a confidence; the table is the place for it.
    for landmarks, path in zip(matches.landmarks(), (fixed_path, moving_path), strict=True):
        write_landmarks(_plain(landmarks), path)


def _plain(landmarks: Landmarks) -> Landmarks:
    return Landmarks(landmarks.names, landmarks.points_mm, unit=landmarks.unit)


def _parsed(text: str) -> Matches:
    reader = csv.reader(io.StringIO(text))
    try:
        lines = [(reader.line_num, row) for row in reader if any(c.strip() for c in row)]
    except csv.Error as fault:
        raise LandmarkError(f"is not a CSV table: {fault}", fix="export it again") from None
    if not lines:
        raise LandmarkError("the table is empty", fix="export it again")
    header = {name.strip().lower(): place for place, name in enumerate(lines[0][1])}
    if len(header) < len(lines[0][1]):
        raise LandmarkError("has two columns of one name", fix="keep one of them")
    unit, places = _layout(header)
    rows = lines[1:]
    for line, cells in rows:
        if len(cells) != len(lines[0][1]):
            raise LandmarkError(
                f"line {line} has {len(cells)} cells, the header has {len(lines[0][1])}",
                fix="export it again",
            )
    points = _numbers(rows, places, tuple(header)).reshape(len(rows), 2, len(places) // 2)
    sure = _confidence(rows, header)
    if _is_ras(rows, header, needed=unit == "mm" and len(places) == 6):
        points = flipped(points)
    return Matches(points[:, 0], points[:, 1], confidence=sure, unit=unit)


def _layout(header: Mapping[str, int]) -> tuple[Unit, list[int]]:
    """The unit, and the columns of both points: fixed x, y(, z), moving x, y(, z)."""
    units = [u for u in ("mm", "px") if f"fixed_x_{u}" in header]
    if len(units) != 1:
        found = ", ".join([*header][:8])
        raise LandmarkError(f"has no columns {_WANTED}", fix=f"its columns are {found}")
    unit = units[0]
    axes = "xyz" if any(f"{side}_z_{unit}" in header for side in _SIDES) else "xy"
    names = [f"{side}_{axis}_{unit}" for side in _SIDES for axis in axes]
    missing = [name for name in names if name not in header]
    if missing:
        raise LandmarkError(f"has no column {missing[0]!r}", fix="both points need all coordinates")
    return cast("Unit", unit), [header[name] for name in names]


def _numbers(
    rows: Sequence[tuple[int, list[str]]], places: Sequence[int], names: Sequence[str]
) -> FloatArray:
    values = [
        [number(cells[p].strip(), f"line {line}, column {names[p]!r}") for p in places]
        for line, cells in rows
    ]
    return np.array(values, np.float64).reshape(len(rows), len(places))


def _confidence(
    rows: Sequence[tuple[int, list[str]]], header: Mapping[str, int]
) -> FloatArray | None:
    place = header.get("confidence")
    if place is None:
        return None
    values = _numbers(rows, [place], tuple(header))[:, 0]
    for (line, _), value in zip(rows, values, strict=True):
        if not 0 <= value <= 1:
            raise LandmarkError(f"line {line}: the confidence {value:g} is not in 0…1")
    return values


def _is_ras(
    rows: Sequence[tuple[int, list[str]]], header: Mapping[str, int], *, needed: bool
) -> bool:
    place = header.get("frame")
    if place is None:
        if needed and rows:
            raise LandmarkError(
                "does not say whether its points are LPS or RAS", fix="add a column 'frame'"
            )
        return False
    frames = {frame_of(cells[place]) for _, cells in rows}
    if len(frames) > 1:
        raise LandmarkError("mixes LPS and RAS in its column 'frame'", fix="use one of them")
    return frames == {"RAS"}
