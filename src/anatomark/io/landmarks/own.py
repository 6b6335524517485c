"""anatomark's own landmark file, ``.json``: holds everything that ``Landmarks`` holds, bit for bit.

The schema is in ``docs/landmark-files.md``; a change to it is a new ``version``.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anatomark.data import Landmarks
from anatomark.errors import LandmarkError
from anatomark.geometry import FloatArray
from anatomark.io.landmarks.parsing import (
    Frame,
    Reading,
    frame_of,
    objects,
    read_object,
    vector,
    write_object,
)

_FORMAT = "anatomark-landmarks"
_VERSION = 1


def read_own(path: Path) -> Reading:
    """Read a file that ``write_own`` wrote, or one by hand that follows the schema."""
    data = read_object(path)
    _check_kind(data)
    dimension = data.get("dimension")
    if not isinstance(dimension, int) or dimension not in {2, 3}:
        raise LandmarkError(f"'dimension' is 2 or 3, not {reprlib.repr(dimension)}")
    rows = objects(data.get("landmarks"), "'landmarks'")
    landmarks = Landmarks(
        names=tuple(_name(row) for row in rows),
        points_mm=np.array([_point(row, dimension) for row in rows], np.float64),
        covariance_mm2=_column(rows, "covariance", (dimension, dimension)),
        confidence=_column(rows, "confidence", ()),
        pairs=_pairs(data.get("pairs", [])),
        unit=_one_of(data, "unit", ("mm", "px")),
        meta=_meta(data.get("meta", {})),
    )
    frame = data.get("frame")
    return landmarks, None if frame is None else frame_of(frame)


def _check_kind(data: Mapping[str, Any]) -> None:
    if data.get("format") != _FORMAT:
        raise LandmarkError(
            f'does not say "format": "{_FORMAT}"',
            fix="check that it is a landmark file; Slicer's has the extension .mrk.json",
        )
    if data.get("version") != _VERSION:
        raise LandmarkError(
            f"has version {reprlib.repr(data.get('version'))}, this anatomark reads {_VERSION}",
            fix="update anatomark",
        )


def _one_of(data: Mapping[str, Any], key: str, known: Sequence[str]) -> Any:
    if data.get(key) not in known:
        raise LandmarkError(
            f"{key!r} is one of {', '.join(known)}, not {reprlib.repr(data.get(key))}"
        )
    return data[key]


def _name(row: Mapping[str, Any]) -> str:
    if not isinstance(row.get("name"), str):
        raise LandmarkError(f"a landmark's name is a text, not {reprlib.repr(row.get('name'))}")
    return str(row["name"])


def _point(row: Mapping[str, Any], dimension: int) -> list[float]:
    if "point" not in row:
        raise LandmarkError(f"{_of('point', row)} is missing", fix='say "point": null if absent')
    point = row["point"]
    return [np.nan] * dimension if point is None else vector(point, dimension, _of("point", row))


def _column(
    rows: Sequence[Mapping[str, Any]], key: str, shape: tuple[int, ...]
) -> FloatArray | None:
    """One value a landmark, each a number or nested list in which null is NaN."""
    if not any(key in row for row in rows):
        return None
    values = np.full((len(rows), *shape), np.nan)
    for place, row in enumerate(rows):
        if row.get(key) is not None:
            values[place] = _array(row[key], shape, _of(key, row))
    return values


def _array(value: object, shape: tuple[int, ...], where: str) -> FloatArray | float:
    if not shape:
        return vector([value], 1, where)[0]
    if not isinstance(value, list) or len(value) != shape[0]:
        raise LandmarkError(f"{where} must be {'×'.join(map(str, shape))} numbers")
    rest = [np.full(shape[1:], np.nan) if v is None else _array(v, shape[1:], where) for v in value]
    return np.array(rest)


def _of(key: str, row: Mapping[str, Any]) -> str:
    return f"the {key} of {reprlib.repr(row.get('name'))}"


def _pairs(value: Any) -> tuple[tuple[str, str], ...]:
    pairs = value if isinstance(value, list) else [value]
    if not all(
        isinstance(p, list) and len(p) == 2 and all(isinstance(n, str) for n in p) for p in pairs
    ):
        raise LandmarkError(f"'pairs' is a list of two names each, not {reprlib.repr(value)}")
    return tuple((a, b) for a, b in pairs)


def _meta(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise LandmarkError(f"'meta' is an object, not {reprlib.repr(value)}")
    return value


def write_own(landmarks: Landmarks, path: Path, *, frame: Frame) -> None:
    """Write everything; the metadata must consist of what JSON knows."""
    data = {
        "format": _FORMAT,
        "version": _VERSION,
        "frame": frame,
        "unit": landmarks.unit,
        "dimension": landmarks.dimension,
        "landmarks": [_row(landmarks, i) for i in range(len(landmarks))],
        "pairs": [list(pair) for pair in landmarks.pairs],
        "meta": dict(landmarks.meta),
    }
    write_object(path, data)


def _row(landmarks: Landmarks, place: int) -> dict[str, Any]:
    row: dict[str, Any] = {"name": landmarks.names[place], "point": None}
    if landmarks.present[place]:
        row["point"] = landmarks.points_mm[place].tolist()
    for key, values in (
        ("confidence", landmarks.confidence),
        ("covariance", landmarks.covariance_mm2),
    ):
        if values is not None:
            cells = np.array(values[place], object)
            cells[np.isnan(values[place])] = None
            row[key] = cells.tolist()
    return row
