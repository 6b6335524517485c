"""The older point files of 3D Slicer, ``.fcsv``: 3D points in mm, LPS or RAS as the file says."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from anatomark.data import Landmarks
from anatomark.errors import LandmarkError, NoPointsError
from anatomark.io.files import read_text, write_text
from anatomark.io.landmarks.parsing import (
    Frame,
    Reading,
    csv_text,
    described,
    descriptions_of,
    frame_of,
    number,
)
from anatomark.io.landmarks.slicer import ABSENT, STATUSES, in_space, label_of

_COLUMNS = "id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"


def read_fcsv(path: Path) -> Reading:
    """Read an ``.fcsv`` of Slicer 4 or 5: the header says which column is what, and the frame."""
    header, lines = _lines(read_text(path, LandmarkError))
    if not {"columns", "markups fiducial file version"} & set(header):
        raise LandmarkError(
            "has no header of a markups fiducial file", fix="save it again from Slicer 4 or 5"
        )
    columns = [c.strip() for c in header.get("columns", _COLUMNS).split(",")]
    missing = [c for c in ("x", "y", "z", "label") if c not in columns]
    if missing:
        raise LandmarkError(f"has no column {', '.join(missing)}; it has {', '.join(columns)}")
    if not lines:
        raise NoPointsError("the file has no points")
    names, points, descriptions = [], [], {}
    for where, line in lines:
        cells = _cells(line, columns, where)
        names.append(label_of(cells["label"], where))
        points.append(_point(cells, where))
        if cells.get("desc"):
            descriptions[names[-1]] = cells["desc"]
    code = header.get("coordinatesystem")
    landmarks = Landmarks(tuple(names), np.array(points), meta=described(descriptions))
    return landmarks, None if code is None else frame_of(code)


def _lines(text: str) -> tuple[dict[str, str], list[tuple[str, str]]]:
    header: dict[str, str] = {}
    lines = []
    for place, line in enumerate(text.split("\n"), 1):
        if line.startswith("#"):
            key, _, value = line[1:].partition("=")
            header[key.strip().lower()] = value.strip()
        elif line.strip():
            lines.append((f"line {place}", line))
    return header, lines


def _cells(line: str, columns: Sequence[str], where: str) -> dict[str, str]:
    try:
        cells = next(csv.reader([line]))
    except csv.Error as fault:
        raise LandmarkError(f"{where}: {fault}") from None
    extra = cells[len(columns) :]
    # Slicer 5 adds two columns that its header does not name: the status and "auto created".
    status_follows = len(extra) == 2 and extra[0] in {"0", "1", "2", "3"}
    too_few = len(cells) <= max(columns.index(c) for c in ("x", "y", "z", "label"))
    # Extra cells, be they empty, mean a comma in the label: its end would pass for a description.
    if too_few or (extra and not status_follows):
        raise LandmarkError(
            f"{where} has {len(cells)} cells, the header has {len(columns)}",
            fix="put a label with a comma in double quotes",
        )
    cells += [""] * (len(columns) - len(cells))
    named = dict(zip(columns, cells, strict=False))
    return named | ({"positionStatus": extra[0]} if status_follows else {})


def _point(cells: Mapping[str, str], where: str) -> list[float]:
    if cells.get("positionStatus", "2") != str(STATUSES.index("defined")):
        return ABSENT
    return [number(cells[axis], f"{where}, column {axis!r}") for axis in "xyz"]


def write_fcsv(landmarks: Landmarks, path: Path, *, frame: Frame) -> None:
    """Write an ``.fcsv`` with the points that are present.

    Only Slicer 5 could be told that a point is absent: every other program would find it at the
    origin. The frame is the number that all versions know; Slicer 4.10 takes any word for RAS.
    """
    descriptions = descriptions_of(landmarks)
    head = f"# Markups fiducial file version = 4.10\n# CoordinateSystem = {int(frame == 'LPS')}\n"
    points = zip(landmarks.names, in_space(landmarks), landmarks.present, strict=True)
    here = [(name, point.tolist()) for name, point, present in points if present]
    rows = [
        [place, *point, 0, 0, 0, 1, 1, 1, 0, name, descriptions.get(name, ""), ""]
        for place, (name, point) in enumerate(here, 1)
    ]
    write_text(path, f"{head}# columns = {_COLUMNS}\n{csv_text(rows)}")
