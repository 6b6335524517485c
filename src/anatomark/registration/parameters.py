"""Small changes of a map: what they do to points, and how they are made.

Parameters are, in order: the shift (D); for rigid and similarity maps the turn (1 or 3, radians,
about the middle of the source points, in the target's axes) and the logarithm of the size; for
affine maps all of the matrix (D², row by row), added to it.
"""

from __future__ import annotations

import numpy as np

from anatomark.geometry import FloatArray
from anatomark.maps import Affine
from anatomark.registration.closed import Kind


def parameters(kind: Kind, dimension: int) -> int:
    """How many there are."""
    turns = 1 if dimension == 2 else 3
    return {
        "rigid": dimension + turns, "similarity": dimension + turns + 1,
        "affine": dimension + dimension**2,
    }[kind]  # fmt: skip


def change(kind: Kind, matrix: FloatArray, away: FloatArray) -> FloatArray:
    """What a small change of each parameter does to mapped points, ``(N, D, parameters)``.

    ``away`` ``(N, D)`` are source points from the middle that the change is about.
    """
    (count, dimension), turned = away.shape, away @ matrix.T
    slope = np.zeros((count, dimension, parameters(kind, dimension)))
    slope[:, :, :dimension] = np.eye(dimension)
    if kind == "affine":
        for row in range(dimension):
            begin = dimension + row * dimension
            slope[:, row, begin : begin + dimension] = away
        return slope
    if dimension == 2:
        slope[:, :, 2] = turned[:, ::-1] * [-1.0, 1.0]
    else:
        # A small turn w moves a point by w × p.
        for axis, (this, other) in enumerate(((1, 2), (2, 0), (0, 1))):
            slope[:, this, 3 + axis] = -turned[:, other]
            slope[:, other, 3 + axis] = turned[:, this]
    if kind == "similarity":
        slope[:, :, -1] = turned
    return slope


def adapt(kind: Kind, found: Affine, step: FloatArray, centre: FloatArray) -> Affine:
    """The map after a change by ``step``, about the source point ``centre``."""
    from scipy.spatial.transform import Rotation

    dim = found.dimension
    middle = found(centre[None])[0] + step[:dim]
    if kind == "affine":
        matrix = found.matrix + step[dim:].reshape(dim, dim)
    elif dim == 2:
        turn = step[2]
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        matrix = rotation @ found.matrix
    else:
        matrix = Rotation.from_rotvec(step[3:6]).as_matrix() @ found.matrix
    if kind == "similarity":
        matrix = matrix * np.exp(step[-1])
    return Affine(matrix, middle - matrix @ centre)


def flat(slope: FloatArray) -> FloatArray:
    """Slopes ``(N, D, P)`` of all coordinates as one matrix ``(N·D, P)``."""
    return slope.reshape(-1, slope.shape[-1])


def normal(slope: FloatArray, weights: FloatArray) -> FloatArray:
    """Weighted sum ``(P, P)`` over points of ``slopeᵀ @ slope``: how firmly they hold a map."""
    return np.asarray(flat(slope).T @ flat(slope * weights[:, None, None]))


def pseudo_inverse(normal_matrix: FloatArray) -> FloatArray:
    """Covariance ``(P, P)`` of parameters that are held so firmly.

    Millimetres and radians are brought to like size first, so that small numbers are not noise.
    """
    size = 1 / np.sqrt(np.maximum(np.diag(normal_matrix), np.finfo(np.float64).tiny))
    alike = normal_matrix * size * size[:, None]
    try:
        scaled = np.linalg.inv(alike)  # a third of the time of the other
    except np.linalg.LinAlgError:
        scaled = np.linalg.pinv(alike, hermitian=True)
    return np.asarray(scaled * size * size[:, None], np.float64)
