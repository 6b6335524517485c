"""The annotation files of the ISBI 2015 challenge: 19 lines ``x,y`` in pixels, then classes.

The file names nothing: a point is known by its line. Numbers count from the outer corner of the
first pixel: a tenth of them are millimetres in the challenge's own tables.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from anatomark.data import Landmarks
from anatomark.errors import LandmarkError
from anatomark.io.files import read_text, write_text
from anatomark.io.landmarks.parsing import Frame, Reading, number

ISBI_NAMES = (
    "sella",
    "nasion",
    "orbitale",
    "porion",
    "subspinale",
    "supramentale",
    "pogonion",
    "menton",
    "gnathion",
    "gonion",
    "lower_incisal_incision",
    "upper_incisal_incision",
    "upper_lip",
    "lower_lip",
    "subnasale",
    "soft_tissue_pogonion",
    "posterior_nasal_spine",
    "anterior_nasal_spine",
    "articulare",
)


def read_isbi(path: Path) -> Reading:
    """Read 19 points in pixels; the class lines are kept in ``meta['classes']``."""
    lines = [line.strip() for line in read_text(path, LandmarkError).split("\n") if line.strip()]
    count = len(ISBI_NAMES)
    points = [_point(line, place) for place, line in enumerate(lines[:count], 1)]
    classes = lines[count:]
    if len(points) < count or any("," in line for line in classes):
        found = sum("," in line for line in lines)
        raise LandmarkError(
            f"has {found} lines 'x,y', an ISBI 2015 file has {count}",
            fix="store other points as .csv",
        )
    meta = {"classes": classes} if classes else {}
    return Landmarks(ISBI_NAMES, np.array(points), unit="px", meta=meta), "LPS"


def _point(line: str, place: int) -> list[float]:
    cells = line.split(",")
    if len(cells) != 2:
        raise LandmarkError(
            f"line {place} is not 'x,y', so this is no ISBI 2015 file",
            fix="store other points as .csv",
        )
    return [number(cell, f"line {place}") for cell in cells]


def write_isbi(landmarks: Landmarks, path: Path, *, frame: Frame) -> None:  # noqa: ARG001
    """Write 2D points in pixels in the order of the challenge, with all their decimals."""
    if set(landmarks.names) != set(ISBI_NAMES) or landmarks.dimension != 2:
        raise LandmarkError(
            "an ISBI 2015 file holds exactly the 19 landmarks of the challenge, in 2D",
            fix=f"use .csv, or rename them: {', '.join(ISBI_NAMES)}",
        )
    if not landmarks.present.all():
        absent = [n for n, here in zip(landmarks.names, landmarks.present, strict=True) if not here]
        raise LandmarkError(
            f"an ISBI 2015 file cannot say that a landmark is absent: {', '.join(absent)}",
            fix="use .csv",
        )
    points = landmarks.select(ISBI_NAMES).points_mm
    lines = [f"{x!r},{y!r}" for x, y in points.tolist()]
    classes = landmarks.meta.get("classes")
    lines += [" ".join(str(c).split()) for c in classes] if isinstance(classes, list) else []
    write_text(path, "\n".join(lines) + "\n")
