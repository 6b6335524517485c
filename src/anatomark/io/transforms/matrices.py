"""Affine maps as the numbers of a homogeneous matrix in a text file."""

from __future__ import annotations

from typing import Literal

import numpy as np

from anatomark.errors import TransformError
from anatomark.geometry import FloatArray
from anatomark.maps import Affine

Frame = Literal["LPS", "RAS"]

_SHAPES = {9: (3, 3), 16: (4, 4)}


def parse_matrix(text: str, *, frame: Frame) -> Affine:
    """Affine map on LPS points, from a 4×4 (2D: 3×3) matrix on points of ``frame``.

    Numbers are separated by blanks or commas, a row a line; lines with ``#`` in front are skipped.
    """
    rows = [
        line.replace(",", " ").split()
        for line in text.splitlines()
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if rows and rows[0][0].startswith("("):
        raise TransformError(
            "looks like an elastix parameter file, not a matrix",
            fix='let elastix write an ITK transform: (ITKTransformOutputFileNameExtension "tfm")',
        )
    matrix = _numbers(rows)
    mirror = frame_mirror(len(matrix) - 1, frame)
    return Affine.from_homogeneous(mirror @ matrix @ mirror)


def _numbers(rows: list[list[str]]) -> FloatArray:
    try:
        values = np.array([float(word) for row in rows for word in row])
    except ValueError:
        raise TransformError(
            "is not a matrix: it holds something not a number",
            fix="give a 4×4 (in 2D a 3×3) matrix, a row a line",
        ) from None
    shape = _SHAPES.get(len(values))
    if shape is None or {len(row) for row in rows} != {shape[1]}:
        raise TransformError(
            f"is not a 4×4 (in 2D a 3×3) matrix: its rows have {[len(r) for r in rows[:6]]} numbers"
        )
    if not np.isfinite(values).all():
        raise TransformError("holds a number that is not finite")
    return values.reshape(shape)


def matrix_text(affine: Affine, *, frame: Frame, note: str, separator: str) -> str:
    """Text of the homogeneous matrix that acts on points of ``frame``, below the line ``note``."""
    mirror = frame_mirror(affine.dimension, frame)
    matrix: list[list[float]] = (mirror @ affine.homogeneous @ mirror + 0.0).tolist()
    lines = [separator.join(map(repr, row)) for row in matrix]
    return "\n".join([note, *lines]) + "\n"


def frame_mirror(dimension: int, frame: Frame) -> FloatArray:
    """Homogeneous matrix between LPS and ``frame``: RAS has x and y the other way round."""
    signs = np.ones(dimension + 1)
    if frame == "RAS":
        signs[:2] = -1
    return np.diag(signs)
