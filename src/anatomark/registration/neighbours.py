"""What the pairs around a point say of where it goes: affine maps through the nearest of them.

For images that differ by any smooth map. Positions are ``(N, D)``, in mm or in voxels. And whether
what one map for all leaves over is alike among neighbours: then it is no error of points.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anatomark.geometry import FloatArray

Mask = NDArray[np.bool_]
_TO_SIGMA = 1.4826  # a median of absolute values, as the sigma of a normal distribution
_ROUNDS = 10
_STIFF = 0.01  # neighbours in a line, or all on one side, say little about slopes


class Foretold(NamedTuple):
    """Where points go ``(N, D)``, and how what is around them turns and stretches ``(N, D, D)``."""

    points: FloatArray
    slopes: FloatArray


def foretell(
    points: FloatArray,
    fixed: FloatArray,
    moving: FloatArray,
    *,
    own: NDArray[np.intp] | None = None,
    count: int = 12,
) -> Foretold:
    """Where ``points`` go by the ``count`` nearest of the pairs ``fixed`` → ``moving``.

    ``own`` ``(N,)`` is the pair that a point is itself, or -1: it is left out.
    """
    near = _nearest(points, fixed, own, count)
    local = fixed[near] - points[:, None]
    reach = np.maximum(np.linalg.norm(local, axis=-1).mean(axis=1), 1e-9)[:, None, None]
    terms = np.concatenate([np.ones((*near.shape, 1)), local / reach], axis=-1)
    dimension = points.shape[1]
    stiff = np.diag([0.0, *[_STIFF * near.shape[1]] * dimension])
    turned = terms.transpose(0, 2, 1)
    solved = np.linalg.solve(turned @ terms + stiff, turned @ (moving - fixed)[near])
    slopes = np.eye(dimension) + (solved[:, 1:] / reach).transpose(0, 2, 1)
    return Foretold(points + solved[:, 0], slopes)


def agreeing(
    fixed: FloatArray, moving: FloatArray, *, floor: float, factor: float = 5.0, count: int = 12
) -> Mask:
    """Which pairs ``(N,)`` go where their neighbours say they go.

    A pair is off if it is farther away than ``factor`` times the usual distance (MAD), and than
    ``floor``. First roughly, by medians that wild neighbours cannot move; then by affine maps.
    """
    shift = moving - fixed
    near = _nearest(fixed, fixed, np.arange(len(fixed)), count)
    off = np.linalg.norm(shift - np.median(shift[near], axis=1), axis=1)
    good = off <= max(floor, factor * _TO_SIGMA * float(np.median(off)))
    for _ in range(_ROUNDS):
        if good.sum() < fixed.shape[1] + 3:
            break
        # All are judged again, by those that are good now: the rough look may have been wrong.
        own = np.where(good, good.cumsum() - 1, -1)
        said = foretell(fixed, fixed[good], moving[good], own=own, count=count)
        off = np.linalg.norm(said.points - moving, axis=1)
        again = off <= max(floor, factor * _TO_SIGMA * float(np.median(off[good])))
        if (again == good).all():
            break
        good = again
    return np.asarray(good, bool)


class Likeness(NamedTuple):
    """How much vectors are like those of their neighbours, and how much chance would make of it.

    ``part`` is Σ rᵢ·mᵢ / Σ rᵢ·rᵢ of vectors r and the means m of their nearest ones: near 1 where
    they change slowly from place to place, near 0 or less where each is on its own. ``deviations``
    counts the standard deviations that chance has: those of the sum if each vector had its sign at
    random, which asks nothing of their lengths, nor that all directions are alike.
    """

    part: float
    deviations: float


def likeness(points: FloatArray, vectors: FloatArray, *, count: int = 4) -> Likeness:
    """How much ``vectors`` ``(N, D)`` at different ``points`` are like the ``count`` nearest ones.

    It is 0 where all vectors are.
    """
    near = _nearest(points, points, np.arange(len(points)), count)
    ends = np.stack([np.repeat(np.arange(len(points)), near.shape[1]), near.ravel()], axis=1)
    # Two that are each other's neighbours have one sign between them: such a pair counts twice.
    pairs, times = np.unique(np.sort(ends, axis=1), axis=0, return_counts=True)
    shared = times / near.shape[1] * (vectors[pairs[:, 0]] * vectors[pairs[:, 1]]).sum(axis=1)
    total, chance = float((vectors**2).sum()), float(np.sqrt((shared**2).sum()))
    if not total > 0 or not chance > 0:
        return Likeness(0.0, 0.0)
    return Likeness(float(shared.sum()) / total, float(shared.sum()) / chance)


def _nearest(
    points: FloatArray, fixed: FloatArray, own: NDArray[np.intp] | None, count: int
) -> NDArray[np.intp]:
    """Rows ``(N, K)`` of the nearest of ``fixed``; the one that a point is itself is left out."""
    from scipy.spatial import cKDTree

    spare = own is not None
    wanted = min(count, len(fixed) - spare)
    near = np.asarray(cKDTree(fixed).query(points, k=wanted + spare)[1]).reshape(len(points), -1)
    if own is not None:
        # Itself goes to the end, and is cut off; where it is not among them, the farthest is.
        order = np.argsort(near == own[:, None], axis=1, kind="stable")
        near = np.take_along_axis(near, order, axis=1)[:, :wanted]
    return near
