"""CSV files of landmarks: long (one row a point) and wide (one row a case).

The header says what is what: ``x_mm, y_mm, z_mm`` or ``x_px, y_px`` in a long table,
``<name>_x_mm, <name>_y_mm`` … in a wide one. A column ``frame`` says LPS or RAS.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from anatomark.data import Landmarks
from anatomark.errors import LandmarkError, UsageError, listed
from anatomark.geometry import FloatArray, Unit
from anatomark.io.files import read_text, stem_of, write_text
from anatomark.io.landmarks.parsing import (
    Frame,
    Reading,
    csv_text,
    described,
    descriptions_of,
    frame_of,
    number,
)

_COORDINATE = re.compile(r"(?:(?P<name>.+)_)?(?P<axis>[xyz])(?:_(?P<unit>mm|px))?", re.I | re.S)
_SLICER_AXES = {"l": "x", "p": "y", "s": "z"}, {"r": "x", "a": "y", "s": "z"}
_NAMES = ("name", "landmark", "label", "point", "index", "")
_CASES = ("case", "image", "filename")
_PRESENT = ("present", "defined")
_DISPLAY = ("selected", "visible", "locked")  # how Slicer showed a point: nothing about the case
_ABSENT = {"", "nan", "na"}

_Row = tuple[str, tuple[str, ...]]  # where it is, for messages, and its cells


@dataclass(frozen=True)
class _Table:
    """The cells of a file."""

    header: tuple[str, ...]
    rows: tuple[_Row, ...]
    decimal_comma: bool

    def find(self, *names: str) -> int | None:
        """Column of the first of these names that the header has, whatever the case."""
        known = [h.lower() for h in self.header]
        return next((known.index(n.lower()) for n in names if n.lower() in known), None)

    def column(self, name: str) -> int:
        """Column of a name that must be there."""
        place = self.find(name)
        if place is None:
            raise LandmarkError(f"has no column {name!r}", fix=_columns_are(self.header))
        return place

    def number(self, where: str, cells: Sequence[str], place: int) -> float:
        """A cell's number; NaN where it is empty."""
        cell = cells[place].strip()
        if cell.lower() in _ABSENT:
            return np.nan
        cell = cell.replace(",", ".") if self.decimal_comma else cell
        return number(cell, f"{where}, column {self.header[place]!r}")


@dataclass(frozen=True)
class _Layout:
    """Which columns hold the coordinates of which landmark (``""`` where the table is long)."""

    columns: Mapping[str, tuple[int, ...]]
    unit: Unit
    frame: Frame | None

    @property
    def wide(self) -> bool:
        return "" not in self.columns

    @property
    def axes(self) -> str:
        return "xyz"[: len(next(iter(self.columns.values())))]


# -- reading -------------------------------------------------------------------------------------


def read_csv(path: Path, *, case: str | None = None, unit: Unit | None = None) -> Reading:
    """Read one case of a long or wide table: the only one, or the one that ``case`` names."""
    groups, frame = read_groups(path, unit=unit)
    if case is None and len(groups) == 1:
        case = next(iter(groups))
    if case not in groups:
        known = listed(groups, 8)
        problem = f"holds {len(groups)} cases" if case is None else f"has no case {case!r}"
        raise UsageError(problem, fix=f"say case=…, one of {known}")
    landmarks = groups[case]
    return replace(landmarks, meta=_without(landmarks.meta, _CASES)), frame


def read_groups(
    path: Path,
    *,
    by: str | Sequence[str] | None = None,
    names: str | Sequence[str] | None = None,
    unit: Unit | None = None,
) -> tuple[dict[str, Landmarks], Frame | None]:
    """Read every case of a table, with the frame that the table states.

    ``by`` are the columns that tell cases apart, ``names`` those that name a landmark in a long
    table; several are joined with ``/`` and ``_``. ``unit`` is that of columns that do not say.
    Other columns that are the same all over a case go to ``meta``.
    """
    table = _read_table(path)
    layout = _layout(table, unit)
    case = table.find(*_CASES)
    by = (() if case is None else (table.header[case],)) if by is None else by
    keys = [table.column(b) for b in ((by,) if isinstance(by, str) else by)]
    groups: dict[str, list[_Row]] = {}
    parts: dict[str, tuple[str, ...]] = {}
    for place, row in enumerate(table.rows, 1):
        alone = str(place) if layout.wide else ""
        key = "/".join(row[1][k].strip() for k in keys) if keys else alone
        groups.setdefault(key, []).append(row)
        cells = tuple(row[1][k].strip() for k in keys)
        if parts.setdefault(key, cells) != cells:
            raise LandmarkError(
                f"{row[0]}: the case {key!r} is written in two ways", fix="take / out of the names"
            )
    label = [] if layout.wide else _name_columns(table, names)
    read = {
        key: _wide(table, layout, rows) if layout.wide else _long(table, layout, rows, label)
        for key, rows in groups.items()
    }
    return read, layout.frame


def _read_table(path: Path) -> _Table:
    text = read_text(path, LandmarkError)
    try:
        # The delimiter is the one that makes most sense of the header.
        tables = [_split(text, delimiter) for delimiter in ",;\t"]
    except csv.Error as fault:
        raise LandmarkError(f"is not a CSV table: {fault}", fix="export it again") from None
    table = max(tables, key=lambda t: (len(list(_coordinates(t.header))), len(t.header)))
    if not table.rows:
        raise LandmarkError("the table has no rows", fix="export it again")
    for where, cells in table.rows:
        if len(cells) != len(table.header):
            raise LandmarkError(
                f"{where} has {len(cells)} cells, the header has {len(table.header)}",
                fix="put text with a comma in double quotes; decimal commas need ; between cells",
            )
    return table


def _split(text: str, delimiter: str) -> _Table:
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    rows = [(f"line {reader.line_num}", tuple(r)) for r in reader if any(c.strip() for c in r)]
    header = tuple(cell.strip() for cell in rows[0][1]) if rows else ()
    return _Table(header, tuple(rows[1:]), decimal_comma=delimiter != ",")


def _coordinates(header: Sequence[str]) -> Iterator[tuple[int, str, str, str]]:
    """Columns that hold coordinates: place, landmark (``""`` in a long table), axis, unit."""
    known = {h.lower(): i for i, h in enumerate(header)}
    found = [(i, m) for i, h in enumerate(header) if (m := _COORDINATE.fullmatch(h))]
    long = any(m["name"] is None for _, m in found)
    for place, match in found:
        if not (long and match["name"]):
            yield place, match["name"] or "", match["axis"].lower(), (match["unit"] or "").lower()
    for axes in () if found else _SLICER_AXES:
        if set(axes) <= set(known):
            yield from ((known[letter], "", axis, "mm") for letter, axis in axes.items())


def _layout(table: _Table, unit: Unit | None) -> _Layout:
    found: dict[str, dict[str, int]] = {}
    units = set()
    for place, name, axis, suffix in _coordinates(table.header):
        if axis in found.setdefault(name, {}):
            raise LandmarkError(f"has two columns for {axis} of {name or 'the landmarks'}")
        found[name][axis] = place
        units.add(suffix)
    if not found:
        raise LandmarkError(
            "has no columns x and y, nor <name>_x and <name>_y", fix=_columns_are(table.header)
        )
    axes = "xyz" if any("z" in columns for columns in found.values()) else "xy"
    for name, columns in found.items():
        for axis in axes:
            if axis not in columns:
                wanted = f"{name}_{axis}" if name else axis
                raise LandmarkError(f"has no column {wanted!r}", fix=_columns_are(table.header))
    if len(units) > 1:
        raise LandmarkError("mixes units in its columns", fix="give all columns one of _mm and _px")
    known_unit = units.pop() or unit
    if known_unit is None:
        first = next(iter(found.values()))
        raise _no_unit([table.header[place] for place in first.values()], more=len(found) > 1)
    places = {name: tuple(columns[axis] for axis in axes) for name, columns in found.items()}
    return _Layout(places, cast("Unit", known_unit), _stated_frame(table, axes, known_unit))


def _no_unit(columns: Sequence[str], *, more: bool) -> LandmarkError:
    """``columns`` are those of the first landmark, and of all in a long table."""
    rest = ", …" if more else ""
    named = [", ".join(f"{column}_{unit}" for column in columns) + rest for unit in ("px", "mm")]
    return LandmarkError(
        f"does not say the unit of its columns {', '.join(columns)}{rest}",
        fix=f"name them {' or '.join(named)}, or say unit=…",
    )


def _stated_frame(table: _Table, axes: str, unit: str) -> Frame | None:
    place = table.find("frame")
    if place is not None:
        frames = {frame_of(cells[place]) for _, cells in table.rows}
        if len(frames) > 1:
            raise LandmarkError("mixes LPS and RAS in its column 'frame'", fix="use one of them")
        return frames.pop()
    known = {h.lower() for h in table.header}
    if unit == "mm" and axes == "xyz" and not any(_COORDINATE.fullmatch(h) for h in known):
        return "LPS" if {"l", "p", "s"} <= known else "RAS"
    # Only a point in space has a left, a front and a top to disagree about.
    return None if unit == "mm" and axes == "xyz" else "LPS"


def _name_columns(table: _Table, names: str | Sequence[str] | None) -> list[int]:
    if names is not None:
        return [table.column(n) for n in ((names,) if isinstance(names, str) else names)]
    place = table.find(*_NAMES)
    if place is None:
        raise LandmarkError("has no column 'name' or 'landmark'", fix=_columns_are(table.header))
    return [place]


def _columns_are(header: Sequence[str]) -> str:
    return f"its columns are {listed(header, 12)}"


def _point(table: _Table, where: str, cells: Sequence[str], columns: Sequence[int]) -> list[float]:
    """The coordinates of one landmark, all NaN where it is absent."""
    point = [table.number(where, cells, place) for place in columns]
    if 0 < np.isnan(point).sum() < len(point):
        named = ", ".join(table.header[place] for place in columns)
        raise LandmarkError(
            f"{where}: some of {named} are empty", fix="fill all of them, or none if absent"
        )
    return point


def _wide(table: _Table, layout: _Layout, rows: Sequence[_Row]) -> Landmarks:
    if len(rows) > 1:
        raise LandmarkError(
            f"{rows[1][0]} repeats a case", fix="name the columns that tell cases apart with by=…"
        )
    where, cells = rows[0]
    points = [_point(table, where, cells, columns) for columns in layout.columns.values()]
    used = {place for columns in layout.columns.values() for place in columns}
    meta = _constants(table, rows, used)
    return Landmarks(tuple(layout.columns), np.array(points), unit=layout.unit, meta=meta)


def _long(
    table: _Table,
    layout: _Layout,
    rows: Sequence[_Row],
    label: Sequence[int],
) -> Landmarks:
    names, points, descriptions = [], [], {}
    text, shown = table.find("description"), table.find(*_PRESENT)
    for where, cells in rows:
        name = "_".join(cells[place] for place in label)
        if name in names:
            raise LandmarkError(
                f"{where} repeats the landmark {name!r}",
                fix="name the columns that tell cases (by=…) or landmarks (names=…) apart",
            )
        point = _point(table, where, cells, layout.columns[""])
        gone = shown is not None and not _is_shown(cells[shown], where)
        names.append(name)
        points.append([np.nan] * len(point) if gone else point)
        if text is not None and cells[text]:
            descriptions[name] = cells[text]
    covariance = [table.find(c) for c in _covariance_columns(layout.axes)]
    confidence = table.find("confidence")
    used = {*layout.columns[""], *label, *covariance, confidence, text, shown}
    return Landmarks(
        tuple(names),
        np.array(points),
        covariance_mm2=_covariance(table, layout, rows, covariance),
        confidence=None
        if confidence is None
        else np.array([table.number(where, cells, confidence) for where, cells in rows]),
        unit=layout.unit,
        meta=_constants(table, rows, used) | described(descriptions),
    )


def _is_shown(cell: str, where: str) -> bool:
    """A flag as people and programs write it; pandas makes 1.0 of 1 where a cell is empty."""
    word = cell.strip().lower()
    if word in {"1", "1.0", "true", "t", "yes", "y"}:
        return True
    if word in {"0", "0.0", "false", "f", "no", "n"}:
        return False
    raise LandmarkError(f"{where}: {cell!r} does not say whether it is present", fix="1 or 0")


def _covariance_columns(axes: str) -> list[str]:
    """Upper triangle, row by row: cov_xx, cov_xy, and so on."""
    return [f"cov_{a}{b}" for i, a in enumerate(axes) for b in axes[i:]]


def _covariance(
    table: _Table,
    layout: _Layout,
    rows: Sequence[_Row],
    columns: Sequence[int | None],
) -> FloatArray | None:
    if all(place is None for place in columns):
        return None
    places = [table.column(name) for name in _covariance_columns(layout.axes)]
    dim = len(layout.axes)
    upper = np.triu_indices(dim)
    values = np.empty((len(rows), dim, dim))
    for matrix, (where, cells) in zip(values, rows, strict=True):
        matrix[upper] = [table.number(where, cells, place) for place in places]
        matrix.T[upper] = matrix[upper]
    return values


def _constants(
    table: _Table, rows: Sequence[_Row], used: set[int] | set[int | None]
) -> dict[str, Any]:
    """Columns about the whole case: those with one text all over it."""
    found = {}
    for place, name in enumerate(table.header):
        texts = {cells[place].strip() for _, cells in rows}
        if len(texts) == 1 and texts != {""} and place not in used and name:
            found[name] = texts.pop()
    return _without(found, (*_DISPLAY, "frame"))


def _without(meta: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {k: v for k, v in meta.items() if k.lower() not in names}


# -- writing -------------------------------------------------------------------------------------


def write_long(landmarks: Landmarks, path: Path, *, frame: Frame) -> None:
    """Write one row a landmark; the cells of an absent one are empty."""
    axes = "xyz"[: landmarks.dimension]
    columns: dict[str, Sequence[Any]] = {"name": landmarks.names}
    for axis, values in zip(axes, landmarks.points_mm.T, strict=True):
        columns[f"{axis}_{landmarks.unit}"] = _cells(values)
    if landmarks.unit == "mm":
        columns["frame"] = [frame] * len(landmarks)
    if landmarks.confidence is not None:
        columns["confidence"] = _cells(landmarks.confidence)
    if landmarks.covariance_mm2 is not None:
        upper = landmarks.covariance_mm2[:, *np.triu_indices(landmarks.dimension)]
        for name, values in zip(_covariance_columns(axes), upper.T, strict=True):
            columns[name] = _cells(values)
    descriptions = descriptions_of(landmarks)
    if descriptions:
        columns["description"] = [descriptions.get(n, "") for n in landmarks.names]
    write_text(path, csv_text([columns, *zip(*columns.values(), strict=True)]))


def write_wide(landmarks: Landmarks, path: Path, *, frame: Frame) -> None:
    """Write the one row of a table with one row a case; the case has the name of the file."""
    padded = [n for n in landmarks.names if n != n.strip()]
    if padded:
        raise LandmarkError(
            f"a column cannot be named with spaces at its ends: {padded[0]!r}", fix="rename it"
        )
    row = {"case": stem_of(path)} | ({"frame": frame} if landmarks.unit == "mm" else {})
    for name, point in zip(landmarks.names, landmarks.points_mm, strict=True):
        for axis, cell in zip("xyz", _cells(point), strict=False):
            row[f"{name}_{axis}_{landmarks.unit}"] = cell
    write_text(path, csv_text([row, row.values()]))


def _cells(values: FloatArray) -> list[str]:
    return ["" if np.isnan(v) else repr(v) for v in values.tolist()]
