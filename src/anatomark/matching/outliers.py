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
from anatomark.registration.checks import least_pairs
from anatomark.registration.closed import Kind, fit_closed
from anatomark.registration.robust import consensus

Mask = NDArray[np.bool_]
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
    model: Kind = "affine",
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
        good = _ransac(fixed, moving, model, tolerance_mm, trials, seed)
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
    fixed: FloatArray, moving: FloatArray, model: Kind, tolerance: float, trials: int, seed: int
) -> Mask:
    even = np.ones(len(fixed))
    good = consensus(fixed, moving, even, model, threshold_mm=tolerance, draws=trials, seed=seed)
    for _ in range(_ROUNDS):  # all that follow say better what the map is than the few drawn
        if good.sum() < least_pairs(model, fixed.shape[1]):
            break
        found = Affine(*fit_closed(fixed[good], moving[good], even[good], model))
        again = np.linalg.norm(found(fixed) - moving, axis=1) <= tolerance
        if (again == good).all():
            break
        good = again
    return np.asarray(good, bool)


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
