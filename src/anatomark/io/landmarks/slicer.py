"""The markups files of 3D Slicer, ``.mrk.json``: 3D points, in LPS or RAS as the file says.

A 2D point is written with z = 0.
"""

from __future__ import annotations

import re
import reprlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from anatomark.data import Landmarks
from anatomark.errors import LandmarkError, LossWarning, UsageError
from anatomark.geometry import FloatArray
from anatomark.io.landmarks.parsing import (
    Frame,
    Reading,
    described,
    descriptions_of,
    flipped,
    frame_of,
    objects,
    read_object,
    vector,
    write_object,
)

# Slicer compares this with a pattern and does not fetch it; all its versions accept this spelling.
_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/"
    "Resources/Schema/markups-schema-v1.0.3.json#"
)
_MILLIMETRES = {"nm": 1e-6, "um": 1e-3, "µm": 1e-3, "mm": 1.0, "cm": 10.0, "m": 1000.0}
STATUSES = ("undefined", "preview", "defined", "missing")  # their number is their code in .fcsv
ABSENT = [np.nan] * 3


def read_markups(path: Path, *, node: str | None = None) -> Reading:
    """Read the point lists of a markups file; ``node`` picks one by its name or number from 1.

    Without ``node`` all point lists are read, and markups of another type (lines, curves, regions)
    are left out with a warning. A point that Slicer calls undefined or missing is absent.
    """
    data = read_object(path)
    _check_schema(data.get("@schema"))
    markups = objects(data.get("markups"), "'markups'")
    chosen = _choose(markups, node, path)
    parts = [_node_points(markup) for markup in chosen]
    frame = parts[0][1]
    if any((part[1] is None) != (frame is None) for part in parts):
        raise LandmarkError(
            "some of its markups nodes have no coordinateSystem",
            fix='add "coordinateSystem": "LPS" (or "RAS") to every node',
        )
    joined = _join([p if f == frame else _flip(p) for p, f in parts])
    name = chosen[0].get("name")
    if len(chosen) == 1 and isinstance(name, str) and name:
        joined = replace(joined, meta={**joined.meta, "node": name})
    return joined, frame


def _check_schema(schema: object) -> None:
    version = (
        re.search(r"markups-schema-v(\d+)", schema.lower()) if isinstance(schema, str) else None
    )
    if version is not None and version[1] != "1":
        raise LandmarkError(
            f"follows version {version[1]} of Slicer's markups schema, version 1 is known",
            fix="update anatomark, or save it from Slicer as .fcsv",
        )


def _choose(
    markups: Sequence[dict[str, Any]], node: str | None, path: Path
) -> list[dict[str, Any]]:
    titles = ", ".join(_title(i, m) for i, m in enumerate(markups, 1))
    if node is not None:
        chosen = [m for m in markups if m.get("name") == node]
        chosen = chosen or [m for i, m in enumerate(markups, 1) if str(i) == node]
        if len(chosen) != 1:
            raise UsageError(f"there is no single node {node!r}", fix=f"its nodes are: {titles}")
        return chosen
    chosen = [m for m in markups if m.get("type") == "Fiducial"]
    if not chosen:
        raise LandmarkError(
            f"holds no point list but {titles}", fix="say node=… to read the points of one of them"
        )
    others = [(i, m) for i, m in enumerate(markups, 1) if m.get("type") != "Fiducial"]
    if others:
        left = ", ".join(_title(i, m) for i, m in others)
        text = f"{path}: markups that are no point lists are left out: {left}"
        warnings.warn(LossWarning(text), stacklevel=2)
    return chosen


def _title(place: int, markup: Mapping[str, Any]) -> str:
    words = [reprlib.repr(markup[key]) for key in ("type", "name") if markup.get(key)]
    return f"{place} ({' '.join(words)})"


def _node_points(markup: Mapping[str, Any]) -> Reading:
    scale = _scale(markup.get("coordinateUnits", "mm"))
    code = markup.get("coordinateSystem")
    names, points, present, descriptions = [], [], [], {}
    for place, control in enumerate(objects(markup.get("controlPoints"), "'controlPoints'"), 1):
        name = label_of(control.get("label"), f"control point {place}")
        names.append(name)
        position = _position(control, f"the position of {name!r}")
        points.append([coordinate * scale for coordinate in position])
        present.append(position is not ABSENT)
        text = control.get("description")
        if isinstance(text, str) and text:
            descriptions[name] = text
    landmarks = Landmarks(
        tuple(names), np.array(points), present=np.array(present), meta=described(descriptions)
    )
    return landmarks, None if code is None else frame_of(code)


def _scale(units: object) -> float:
    """Millimetres of one unit: a UCUM code, or a list of code, scheme and meaning."""
    code, scheme = units, "UCUM"
    if isinstance(units, list) and len(units) >= 2:
        code, scheme = units[:2]
    if not isinstance(code, str) or scheme != "UCUM" or code not in _MILLIMETRES:
        raise LandmarkError(
            f"the coordinate unit {reprlib.repr(units)} is not known",
            fix=f"use one of {', '.join(_MILLIMETRES)}",
        )
    return _MILLIMETRES[code]


def label_of(label: object, where: str) -> str:
    """Check that a point has a label."""
    if not isinstance(label, str) or not label.strip():
        raise LandmarkError(f"{where} has no label", fix="give every point its own label in Slicer")
    return label


def _position(control: Mapping[str, Any], where: str) -> list[float]:
    status, position = control.get("positionStatus", "defined"), control.get("position")
    if status not in STATUSES:
        raise LandmarkError(f"{where} has the unknown status {reprlib.repr(status)}")
    # Slicer writes an empty text, not a list, where there is no position.
    if status != "defined" or position is None or position == "":
        return ABSENT
    return vector(position, 3, where)


def _join(parts: Sequence[Landmarks]) -> Landmarks:
    names = [n for part in parts for n in part.names]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise LandmarkError(
            f"labels that occur in more than one markups node: {', '.join(twice)}",
            fix="read one of the nodes with node=…",
        )
    descriptions = {n: d for part in parts for n, d in descriptions_of(part).items()}
    points = np.concatenate([part.points_mm for part in parts])
    return Landmarks(tuple(names), points, meta=described(descriptions))


def _flip(landmarks: Landmarks) -> Landmarks:
    return replace(landmarks, points_mm=flipped(landmarks.points_mm))


def write_markups(landmarks: Landmarks, path: Path, *, frame: Frame) -> None:
    """Write one point list; an absent landmark keeps its label and has the status missing."""
    descriptions = descriptions_of(landmarks)
    controls = [
        _control(str(i), name, descriptions.get(name, ""), point)
        for i, (name, point) in enumerate(zip(landmarks.names, in_space(landmarks), strict=True), 1)
    ]
    node = {
        "type": "Fiducial",
        "coordinateSystem": frame,
        "coordinateUnits": "mm",
        "locked": False,
        "fixedNumberOfControlPoints": False,
        "labelFormat": "%N-%d",
        "lastUsedControlPointNumber": len(controls),
        "controlPoints": controls,
        "measurements": [],
        "display": {"visibility": True, "opacity": 1.0, "pointLabelsVisibility": True},
    }
    name = landmarks.meta.get("node")
    named = {"name": str(name)} if name else {}
    write_object(path, {"@schema": _SCHEMA, "markups": [named | node]})


def _control(key: str, label: str, description: str, point: FloatArray) -> dict[str, Any]:
    present = bool(np.isfinite(point).all())
    return {
        "id": key,
        "label": label,
        "description": description,
        "associatedNodeID": "",
        "position": point.tolist() if present else "",
        "orientation": [-1.0, -0.0, -0.0, -0.0, -1.0, -0.0, 0.0, 0.0, 1.0],
        "selected": True,
        "locked": False,
        "visibility": True,
        "positionStatus": "defined" if present else "missing",
    }


def in_space(landmarks: Landmarks) -> FloatArray:
    """Points ``(L, 3)``: a 2D point gets z = 0."""
    return np.pad(landmarks.points_mm, ((0, 0), (0, 3 - landmarks.dimension)))
