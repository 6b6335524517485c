"""Wild matches, told by what all others, or those nearby, say."""

from __future__ import annotations

import warnings
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anatomark.correspondence import Matches
from anatomark.errors import AnatomarkWarning, UsageError
from anatomark.geometry import FloatArray
from anatomark.maps import Affine

Mask = NDArray[np.bool_]
Model = Literal["rigid", "similarity", "affine"]
_AT_ONCE = 1 << 17  # residuals held at once: they fit into the cache
_TO_SIGMA = 1.4826  # a median of absolute values, as the sigma of a normal distribution
_ROUNDS = 10


class Rejection(NamedTuple):
    """What is left, and for every match that was given whether it was kept ``(N,)``."""

    kept: Matches
    good: Mask

    @property
    def rejected(self) -> int:
        """How many matches were rejected."""
        return int((~self.good).sum())


def reject(
    matches: Matches,
    *,
    how: Literal["smooth", "ransac"] = "smooth",
    model: Model = "affine",
    tolerance_mm: float = 10.0,
    trials: int = 2000,
    seed: int = 0,
    neighbours: int = 12,
    floor_mm: float = 3.0,
    factor: float = 5.0,
) -> Rejection:
    """Leave out matches that contradict the others; 2D and 3D, lengths in the unit of the matches.

    ``smooth`` is for images that differ by any smooth map: a match goes if it lies farther than a
    threshold from where an affine map of its ``neighbours`` sends it. The threshold is ``factor``
    times the usual distance (MAD), and at least ``floor_mm``.

    ``ransac`` is for images that differ by one ``model``: of ``trials`` maps through few matches
    that were drawn with ``seed``, the one that most follow to ``tolerance_mm``.

    Matches too few to judge are kept, and a warning says so.
    """
    _check(how, model, tolerance_mm, floor_mm, factor)
    fixed, moving, dim = matches.fixed_mm, matches.moving_mm, matches.dimension
    least = dim + 3
    if len(matches) < least:
        text = f"{len(matches)} matches are too few to tell wild ones: all are kept"
        warnings.warn(AnatomarkWarning(text), stacklevel=2)
        good = np.ones(len(matches), bool)
    elif how == "ransac":
        rng = np.random.default_rng(seed)
        good = _ransac(fixed, moving, model, tolerance_mm, trials, rng)
    else:
        good = _smooth(fixed, moving, neighbours, floor_mm, factor)
    return Rejection(matches.select(good), good)


def _check(how: str, model: str, *lengths: float) -> None:
    if how not in {"smooth", "ransac"}:
        raise UsageError(f"how is 'smooth' or 'ransac', not {how!r}")
    if model not in {"rigid", "similarity", "affine"}:
        raise UsageError(f"model is 'rigid', 'similarity' or 'affine', not {model!r}")
    if not all(np.isfinite(length) and length > 0 for length in lengths):
        raise UsageError("tolerance_mm, floor_mm and factor must be positive")


# -- one map for all -------------------------------------------------------------------------------


def _ransac(
    fixed: FloatArray,
    moving: FloatArray,
    model: Model,
    tolerance: float,
    trials: int,
    rng: np.random.Generator,
) -> Mask:
    count, dim = fixed.shape
    few = dim + 1 if model == "affine" else dim
    drawn = rng.random((trials, count)).argpartition(few - 1, axis=1)[:, :few]
    matrix, offset = fitted(fixed[drawn], moving[drawn], model)
    best = int(np.argmin(_costs(fixed, moving, matrix, offset, tolerance)))
    good = _apart(fixed, moving, matrix[best], offset[best]) <= tolerance
    for _ in range(_ROUNDS):  # all that follow say better what the map is than the few drawn
        if good.sum() < few:
            break
        one = fitted(fixed[good][None], moving[good][None], model)
        again = _apart(fixed, moving, one[0][0], one[1][0]) <= tolerance
        if (again == good).all():
            break
        good = again
    return np.asarray(good, bool)


def _apart(
    fixed: FloatArray, moving: FloatArray, matrix: FloatArray, offset: FloatArray
) -> FloatArray:
    return np.asarray(np.linalg.norm(fixed @ matrix.T + offset - moving, axis=1))


def _costs(
    fixed: FloatArray,
    moving: FloatArray,
    matrix: FloatArray,
    offset: FloatArray,
    tolerance: float,
) -> FloatArray:
    """Of each map ``(T,)``: sum of squared distances, each at most that of the tolerance."""
    step = max(_AT_ONCE // fixed.size, 1)
    parts = []
    for start in range(0, len(matrix), step):
        some = slice(start, start + step)
        there = fixed @ matrix[some].transpose(0, 2, 1) + offset[some, None]
        squared = ((there - moving) ** 2).sum(-1)
        parts.append(np.minimum(squared, tolerance**2).sum(1))
    costs = np.concatenate(parts)
    return np.asarray(np.where(np.isfinite(costs), costs, np.inf))


def fitted(fixed: FloatArray, moving: FloatArray, model: Model) -> tuple[FloatArray, FloatArray]:
    """Least squares maps of ``(T, N, D)`` points: matrices ``(T, D, D)``, offsets ``(T, D)``.

    Rigid and similarity maps never mirror (Umeyama 1991).
    """
    centre, target = fixed.mean(axis=1), moving.mean(axis=1)
    one, other = fixed - centre[:, None], moving - target[:, None]
    if model == "affine":
        matrix = np.linalg.pinv(one) @ other
        matrix = matrix.transpose(0, 2, 1)
    else:
        left, size, right = np.linalg.svd(other.transpose(0, 2, 1) @ one)
        sign = np.ones_like(size)
        sign[:, -1] = np.sign(np.linalg.det(left @ right))
        matrix = (left * sign[:, None]) @ right
        if model == "similarity":
            spread = np.maximum((one**2).sum((1, 2)), 1e-300)
            matrix = matrix * ((size * sign).sum(1) / spread)[:, None, None]
    return matrix, target - np.einsum("tij,tj->ti", matrix, centre)


def fit(matches: Matches, model: Model = "affine") -> Affine:
    """The map of all matches, fixed to moving, in the sense of least squares."""
    matrix, offset = fitted(matches.fixed_mm[None], matches.moving_mm[None], model)
    return Affine(matrix[0], offset[0])


# -- neighbours ------------------------------------------------------------------------------------


def _smooth(
    fixed: FloatArray, moving: FloatArray, neighbours: int, floor: float, factor: float
) -> Mask:
    """First roughly, by medians that wild neighbours cannot move; then by local affine maps."""
    shift = moving - fixed
    near = _near(fixed, np.ones(len(fixed), bool), neighbours)
    off = np.linalg.norm(shift - np.median(shift[near], axis=1), axis=1)
    good = off <= max(floor, factor * _TO_SIGMA * float(np.median(off)))
    for _ in range(_ROUNDS):
        if good.sum() < fixed.shape[1] + 3:
            break
        # All are judged again, by those that are good now: the rough look may have been wrong.
        near = _near(fixed, good, neighbours)
        off = np.linalg.norm(shift - _predicted(fixed, shift, near), axis=1)
        again = off <= max(floor, factor * _TO_SIGMA * float(np.median(off[good])))
        if (again == good).all():
            break
        good = again
    return np.asarray(good, bool)


def _near(points: FloatArray, good: Mask, count: int) -> NDArray[np.intp]:
    """Rows ``(N, K)`` of the nearest good matches of every match, itself left out."""
    from scipy.spatial import cKDTree

    rows = np.flatnonzero(good)
    wanted = min(count, len(rows) - 1)
    found = rows[cKDTree(points[rows]).query(points, k=wanted + 1)[1]]
    # Itself goes to the end, and is cut off; where it is not among them, the farthest is.
    own = found == np.arange(len(points))[:, None]
    order = np.argsort(own, axis=1, kind="stable")
    return np.asarray(np.take_along_axis(found, order, axis=1)[:, :wanted])


def _predicted(points: FloatArray, shift: FloatArray, near: NDArray[np.intp]) -> FloatArray:
    """Displacements ``(N, D)`` that affine maps through the neighbours give."""
    local = points[near] - points[:, None]
    reach = np.maximum(np.linalg.norm(local, axis=-1).mean(axis=1), 1e-9)
    terms = np.concatenate([np.ones((*near.shape, 1)), local / reach[:, None, None]], axis=-1)
    # A little stiffness: neighbours in a line, or all on one side, say little about slopes.
    stiff = np.diag([0.0, *[0.01 * near.shape[1]] * points.shape[1]])
    system = terms.transpose(0, 2, 1) @ terms + stiff
    solved = np.linalg.solve(system, terms.transpose(0, 2, 1) @ shift[near])
    return np.asarray(solved[:, 0])
