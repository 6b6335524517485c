"""Closed-form fits of many sets of points at once (Arun 1987, Umeyama 1991).

Arrays are ``(..., N, D)`` with weights ``(..., N)``; what is returned has the same leading axes.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from anatomark.geometry import FloatArray

Kind = Literal["rigid", "similarity", "affine"]


def fit_closed(
    source: FloatArray, target: FloatArray, weights: FloatArray, kind: Kind
) -> tuple[FloatArray, FloatArray]:
    """Matrices ``(..., D, D)`` and offsets ``(..., D)``: ``target ≈ matrix @ source + offset``.

    The weighted sum of squared distances is least; a rigid or similarity map is never a mirror.
    """
    share = weights[..., None] / weights.sum(-1)[..., None, None]
    middle, centre = (source * share).sum(-2), (target * share).sum(-2)
    p, q = source - middle[..., None, :], target - centre[..., None, :]
    if kind == "affine":
        matrix = _linear(p, q, np.sqrt(share))
    else:
        matrix = _turn(p, q * share, (p**2 * share).sum((-1, -2)), kind)
    return matrix, centre - (matrix @ middle[..., None])[..., 0]


def _linear(p: FloatArray, q: FloatArray, root: FloatArray) -> FloatArray:
    # Not by the normal equations, which square the condition: points may be nearly in a plane.
    columns = np.linalg.pinv(p * root) @ (q * root)
    return np.asarray(np.swapaxes(columns, -1, -2))


def _turn(p: FloatArray, weighted: FloatArray, spread: FloatArray, kind: Kind) -> FloatArray:
    u, sizes, vt = np.linalg.svd(np.swapaxes(weighted, -1, -2) @ p)
    # Where the best orthogonal matrix is a mirror, the best rotation turns its weakest axis.
    signs = np.ones_like(sizes)
    signs[..., -1] = np.sign(np.linalg.det(u) * np.linalg.det(vt))
    matrix: FloatArray = (u * signs[..., None, :]) @ vt
    if kind == "rigid":
        return matrix
    size = (sizes * signs).sum(-1) / np.maximum(spread, np.finfo(float).tiny)
    return np.asarray(matrix * size[..., None, None])
