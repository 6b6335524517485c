"""Is this set of points a plausible anatomy? A Gaussian of shapes, whatever their pose.

The model: points are a mean shape plus a normal deviation, moved by an unknown rotation and
translation (and scale). Only what no pose can explain is judged: points are laid onto the mean
shape (no mirror), and the directions in which a small change of pose moves them have infinite
variance. So any subset of the landmarks can be judged, down to two, whose only invariant is their
distance, and a landmark is judged against the others by the conditional Gaussian. Where the others
leave a turn free (two points in space, or points along a line), its place is a ring: it is judged
across the ring, and no position is expected. Three points in space, or any that lie in a plane,
are congruent with their mirror image: of that nothing can be said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc

from anatomark.geometry import FloatArray
from anatomark.io.json_files import plain

_TURN = 4.0  # the others fix a turn if they reach this many SD away from its axis


@dataclass(frozen=True, eq=False)
class ShapePrior:
    """Mean shape ``(L, D)`` and covariance ``(L·D, L·D)`` about it, row by row, of ``cases``.

    NaN rows of the mean are landmarks that too few cases had. ``scale``: size is part of the pose.
    A fresh squared distance per degree of freedom follows ``inflation`` ``(L,)`` times F with
    ``freedom``, that of all points together ``whole_inflation`` times F with ``whole_freedom``:
    learnt by leaving cases out. No case is kept.
    """

    mean_mm: FloatArray
    covariance_mm2: FloatArray
    cases: int
    scale: bool
    inflation: FloatArray
    freedom: float = 1e3
    whole_inflation: float = 1.0
    whole_freedom: float = 1e3

    def to_record(self) -> dict[str, Any]:
        """Plain JSON; NaN is null."""
        return {f.name: plain(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The inverse."""
        values = dict(record)
        for name in ("mean_mm", "covariance_mm2", "inflation"):
            values[name] = np.array(values[name], np.float64)  # None becomes NaN
        return cls(**values)


def present(points: FloatArray) -> NDArray[np.bool_]:
    """Which points ``(..., D)`` are there."""
    return np.asarray(np.isfinite(points).all(axis=-1))


# -- pose ----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Pose:
    """Lays points onto the mean shape: ``size · points @ turn + shift``, also of many shapes."""

    turn: FloatArray
    size: FloatArray
    shift: FloatArray

    def __call__(self, points: FloatArray) -> FloatArray:
        """Points ``(..., L, D)`` in the frame of the mean shape."""
        return np.asarray(self.size[..., None, None] * points @ self.turn + self.shift)

    def back(self, points: FloatArray) -> FloatArray:
        """The inverse."""
        moved = (points - self.shift) / self.size[..., None, None]
        return np.asarray(moved @ np.swapaxes(self.turn, -1, -2))


def lay(points: FloatArray, mean: FloatArray, weights: FloatArray, scale: bool) -> Pose:
    """Weighted Kabsch, no mirrors: points ``(..., L, D)``, weights ``(..., L)``, 0 if absent."""
    points = np.where(weights[..., None] > 0, points, 0.0)
    parts = (weights / weights.sum(axis=-1, keepdims=True))[..., None]
    a, b = (parts * points).sum(-2, keepdims=True), (parts * mean).sum(-2, keepdims=True)
    u, s, vt = np.linalg.svd(np.swapaxes(parts * (points - a), -1, -2) @ (mean - b))
    sign = np.ones(s.shape)
    sign[..., -1] = np.where(np.linalg.det(u @ vt) < 0, -1.0, 1.0)
    turn = (u * sign[..., None, :]) @ vt
    size = np.ones(s.shape[:-1])
    if scale:
        spread = (parts * (points - a) ** 2).sum((-1, -2))
        size = np.maximum((s * sign).sum(-1) / np.maximum(spread, 1e-30), 1e-6)
    return Pose(turn, size, b - size[..., None, None] * (a @ turn))


def invariants(mean: FloatArray, scale: bool) -> FloatArray:
    """Orthonormal directions ``(L·D, K)`` in which no small change of pose moves a shape."""
    centred, dim = mean - mean.mean(axis=0), mean.shape[1]
    moves = [np.broadcast_to(axis, mean.shape) for axis in np.eye(dim)]
    for a in range(dim):
        for b in range(a):
            turned = np.zeros_like(mean)
            turned[:, a], turned[:, b] = centred[:, b], -centred[:, a]
            moves.append(turned)
    if scale:
        moves.append(centred)
    units = np.array([m.ravel() / max(float(np.linalg.norm(m)), 1e-30) for m in moves]).T
    u, s, _ = np.linalg.svd(units, full_matrices=True)
    return np.asarray(u[:, int((s > 1e-9 * s[0]).sum()) :])


def joint_precision(prior: ShapePrior, rows: NDArray[np.intp] | None = None) -> FloatArray:
    """Precision ``(m, D, m, D)`` of the invariants of some rows of the prior, or of all."""
    count, dim = prior.mean_mm.shape
    rows = np.arange(count) if rows is None else rows
    return _precision(prior, rows, np.zeros((len(rows), dim, dim)))[0]


def _precision(
    prior: ShapePrior, rows: NDArray[np.intp], own: FloatArray
) -> tuple[FloatArray, int]:
    """Precision ``(m, D, m, D)`` of the invariants of some rows, and their number.

    ``own`` ``(m, D, D)`` is the covariance of the points themselves, laid onto the mean.
    """
    dim = prior.mean_mm.shape[1]
    basis = invariants(prior.mean_mm[rows], prior.scale)
    flat = (rows[:, None] * dim + np.arange(dim)).ravel()
    total = prior.covariance_mm2[np.ix_(flat, flat)].reshape((len(rows), dim) * 2)
    each = np.arange(len(rows))
    total[each, :, each, :] += own
    inner = basis.T @ total.reshape(len(flat), -1) @ basis
    precision = basis @ np.linalg.inv(inner) @ basis.T
    return precision.reshape((len(rows), dim) * 2), basis.shape[1]


@dataclass(frozen=True, eq=False)
class Apart:
    """A point's squared distance per degree of freedom, and where it was expected."""

    ratio: float
    freedoms: int
    expected: FloatArray
    covariance: FloatArray


def apart(
    prior: ShapePrior,
    points: FloatArray,
    rows: NDArray[np.intp],
    k: int,
    own: FloatArray,
    precision: FloatArray,
) -> Apart:
    """The ``k``-th of ``rows`` against the others; it may be absent."""
    mean, absent = prior.mean_mm[rows], bool(np.isnan(points[rows[k]]).any())
    fixed = fixes_pose(prior, np.delete(mean, k, axis=0))
    weights = np.ones(len(rows))
    # Where a turn is free, the point itself chooses the place on its ring.
    weights[k] = 0.0 if fixed or absent else 0.01
    pose = lay(points[rows], mean, weights, prior.scale)
    off = pose(points[rows]) - mean
    off[k] = 0.0 if absent else off[k]
    values, vectors = np.linalg.eigh(precision[k, :, k, :])
    kept = values > 1e-9 * max(float(values[-1]), 1e-30)
    pull = vectors.T @ np.einsum("amd,md->a", precision[k], off)
    ratio = float((pull[kept] ** 2 / values[kept]).sum()) / max(int(kept.sum()), 1)
    dim = mean.shape[1]
    if not (fixed and kept.all()):
        return Apart(ratio, int(kept.sum()), np.full(dim, np.nan), np.full((dim, dim), np.nan))
    expected = pose.back((mean[k] + off[k] - vectors @ (pull / values))[None])[0]
    spread = (vectors / values) @ vectors.T - own[k]
    spread = pose.turn @ spread @ pose.turn.T * prior.inflation[rows[k]] / pose.size**2
    return Apart(ratio, dim, expected, spread)


def fixes_pose(prior: ShapePrior, others: FloatArray) -> bool:
    """Whether points ``(m, D)`` reach far enough from any axis to fix a pose."""
    dim = others.shape[1]
    if len(others) < dim:
        return False
    reach = np.linalg.svd(others - others.mean(axis=0), compute_uv=False)[dim - 2]
    sd = math.sqrt(np.trace(prior.covariance_mm2) / np.isfinite(prior.mean_mm).sum())
    return bool(reach > _TURN * sd)


@dataclass(frozen=True, eq=False)
class Distances:
    """What the prior says of points ``(L, D)``: each row against the others, and all together."""

    each: dict[int, Apart]
    whole: float
    freedoms: int


def distances(
    prior: ShapePrior,
    points: FloatArray,
    own: FloatArray,
    *,
    rows_absent: bool = True,
) -> Distances:
    """Of points ``(L, D)``, at least two of them there.

    ``own`` ``(L, D, D)`` is the covariance of the points. Without ``rows_absent`` nothing is said
    of points that are not there.
    """
    there = present(points)
    rows = np.flatnonzero(there)
    mean = prior.mean_mm[rows]
    pose = lay(points[rows], mean, np.ones(len(rows)), prior.scale)
    laid = pose.size**2 * (pose.turn.T @ own @ pose.turn)
    laid[~there] = 0.0
    precision, freedoms = _precision(prior, rows, laid[rows])
    off = pose(points[rows]) - mean
    square = float(np.einsum("md,mdne,ne->", off, precision, off))
    each = {
        int(row): apart(prior, points, rows, k, laid[rows], precision) for k, row in enumerate(rows)
    }
    hidden = ~there & present(prior.mean_mm) & rows_absent
    for row in np.flatnonzero(hidden):
        more = np.append(rows, row)
        precision, _ = _precision(prior, more, laid[more])
        each[int(row)] = apart(prior, points, more, len(rows), laid[more], precision)
    return Distances(each, square / max(freedoms, 1), freedoms)


def tail(ratio: float, freedoms: int, freedom: float) -> float:
    """Probability that F with these freedoms is larger."""
    return float(fdtrc(freedoms, freedom, ratio))
