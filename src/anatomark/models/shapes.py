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
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anatomark.errors import LandmarkError
from anatomark.geometry import FloatArray

MIN_CASES = 10
ALPHA = 0.01
_FOLDS = 20
_ROUNDS = 5
_SUSPECTS = 6  # landmarks that are tried as the one that is wrong
_CLEAR = 0.1  # of two landmarks that may both be wrong, one must be that much less likely
_TURN = 4.0  # the others fix a turn if they reach this many SD away from its axis
_LEAST_SD = 1e-3  # of the size of the shape: nothing in anatomy varies less
_POOL = 5.0  # cases that the common scale of all landmarks is worth, for the scale of one
_FREEDOMS = (3.0, 4.0, 5.0, 7.0, 10.0, 15.0, 25.0, 50.0, 100.0, 1000.0)


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
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The inverse."""
        values = dict(record)
        for name in ("mean_mm", "covariance_mm2", "inflation"):
            values[name] = np.array(values[name], np.float64)  # None becomes NaN
        return cls(**values)


@dataclass(frozen=True, eq=False)
class ShapeCheck:
    """What the shape prior says of points, in the frame of the points, mm.

    ``p_value`` ``(L,)``: probability of lying as far as it does from where the others, without the
    culprit, suggest it; ``expected_mm`` ``(L, D)`` with ``expected_covariance_mm2`` ``(L, D, D)``
    is that place, also of an absent point, and ``apart_mm`` ``(L,)`` the distance to it.
    ``p_whole`` is that of the set, culprit included. ``culprit`` is the row of the one landmark
    without which an implausible set is plausible; ``None`` if there is none, or if several might
    be. NaN where nothing can be said.
    """

    p_value: FloatArray
    expected_mm: FloatArray
    expected_covariance_mm2: FloatArray
    apart_mm: FloatArray
    p_whole: float
    culprit: int | None = None

    def to_record(self) -> dict[str, Any]:
        """Plain JSON; NaN is null."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_plain(v) for v in value.tolist()]
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# -- use -----------------------------------------------------------------------------------------


def check_shape(
    prior: ShapePrior,
    points_mm: ArrayLike,
    covariance_mm2: ArrayLike | None = None,
    *,
    alpha: float = ALPHA,
) -> ShapeCheck:
    """Compare points ``(L, D)``, NaN where absent, with the prior.

    ``covariance_mm2`` ``(L, D, D)``, in the frame of the points, is their own uncertainty: a point
    that admits it is excused, and tells less about the others. A set is implausible if its
    ``p_whole`` is below ``alpha``; then the culprit is looked for by leaving out the suspects.
    """
    points = np.array(points_mm, np.float64)
    if points.shape != prior.mean_mm.shape:
        raise LandmarkError(
            f"points of shape {points.shape} do not fit a prior of {prior.mean_mm.shape}",
            fix="give all landmarks in their order, NaN where absent",
        )
    own = np.zeros((*points.shape, points.shape[1]))
    if covariance_mm2 is not None:
        own = np.nan_to_num(np.asarray(covariance_mm2, np.float64), posinf=0.0)
    present = np.isfinite(points).all(axis=1) & np.isfinite(prior.mean_mm).all(axis=1)
    points[~present] = np.nan
    check = _judge(prior, points, own)
    if not check.p_whole < alpha:
        return check
    culprit = _culprit(prior, points, own, check, alpha)
    return check if culprit is None else _without(prior, points, own, check, culprit)


def implausible(check: ShapeCheck, alpha: float = ALPHA) -> NDArray[np.bool_]:
    """Rows ``(L,)`` that are unlikely, among so many that were looked at (Holm)."""
    flags = np.zeros(len(check.p_value), bool)
    known = np.flatnonzero(np.isfinite(check.p_value))
    for k, row in enumerate(known[np.argsort(check.p_value[known])]):
        if check.p_value[row] >= alpha / (len(known) - k):
            break
        flags[row] = True
    return flags


def repair(points_mm: ArrayLike, check: ShapeCheck) -> tuple[FloatArray, int] | None:
    """Points with the culprit where it is expected, and its row; ``None`` if that is unknown."""
    if check.culprit is None or not np.isfinite(check.expected_mm[check.culprit]).all():
        return None
    points = np.array(points_mm, np.float64)
    points[check.culprit] = check.expected_mm[check.culprit]
    return points, check.culprit


def _culprit(
    prior: ShapePrior, points: FloatArray, own: FloatArray, check: ShapeCheck, alpha: float
) -> int | None:
    """The one row without which the rest is plausible, if it can be told."""
    order = np.argsort(np.nan_to_num(check.p_value, nan=2.0))[:_SUSPECTS]
    found = []
    for row in (r for r in order if np.isfinite(check.p_value[r])):
        rest = points.copy()
        rest[row] = np.nan
        if _judge(prior, rest, own).p_whole >= alpha:
            found.append(int(row))
    if not found or check.p_value[found[0]] >= alpha:
        return None  # a set that is odd as a whole, with no point that stands out
    unclear = found[1:] and check.p_value[found[0]] > _CLEAR * check.p_value[found[1]]
    return None if unclear else found[0]


def _without(
    prior: ShapePrior, points: FloatArray, own: FloatArray, check: ShapeCheck, row: int
) -> ShapeCheck:
    """One wrong point must not make the others look wrong: they are judged without it."""
    rest = points.copy()
    rest[row] = np.nan
    clean = _judge(prior, rest, own)
    for name in ("p_value", "apart_mm"):
        getattr(clean, name)[row] = getattr(check, name)[row]
    return replace(clean, p_whole=check.p_whole, culprit=row)


# -- judging -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Pose:
    """Lays points onto the mean shape: ``size · points @ turn + shift``, also of many shapes."""

    turn: FloatArray
    size: FloatArray
    shift: FloatArray

    def __call__(self, points: FloatArray) -> FloatArray:
        return np.asarray(self.size[..., None, None] * points @ self.turn + self.shift)

    def back(self, points: FloatArray) -> FloatArray:
        moved = (points - self.shift) / self.size[..., None, None]
        return np.asarray(moved @ np.swapaxes(self.turn, -1, -2))


def _pose(points: FloatArray, mean: FloatArray, weights: FloatArray, scale: bool) -> _Pose:
    """Weighted Kabsch without mirrors: points ``(..., L, D)``, weights ``(..., L)``, 0 if absent."""
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
    return _Pose(turn, size, b - size[..., None, None] * (a @ turn))


def _invariants(mean: FloatArray, scale: bool) -> FloatArray:
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


def _precision(
    prior: ShapePrior, rows: NDArray[np.intp], own: FloatArray
) -> tuple[FloatArray, int]:
    """Precision ``(m, D, m, D)`` of the invariants of some rows, and their number.

    ``own`` ``(m, D, D)`` is the covariance of the points themselves, laid onto the mean.
    """
    dim = prior.mean_mm.shape[1]
    basis = _invariants(prior.mean_mm[rows], prior.scale)
    flat = (rows[:, None] * dim + np.arange(dim)).ravel()
    total = prior.covariance_mm2[np.ix_(flat, flat)].reshape((len(rows), dim) * 2)
    each = np.arange(len(rows))
    total[each, :, each, :] += own
    inner = basis.T @ total.reshape(len(flat), -1) @ basis
    precision = basis @ np.linalg.inv(inner) @ basis.T
    return precision.reshape((len(rows), dim) * 2), basis.shape[1]


@dataclass(frozen=True, eq=False)
class _Apart:
    """A point's squared distance per degree of freedom, and where it was expected."""

    ratio: float
    freedoms: int
    expected: FloatArray
    covariance: FloatArray


def _apart(
    prior: ShapePrior,
    points: FloatArray,
    rows: NDArray[np.intp],
    k: int,
    own: FloatArray,
    precision: FloatArray,
) -> _Apart:
    """The ``k``-th of ``rows`` against the others; it may be absent."""
    mean, absent = prior.mean_mm[rows], bool(np.isnan(points[rows[k]]).any())
    fixed = _fixed(prior, np.delete(mean, k, axis=0))
    weights = np.ones(len(rows))
    # Where a turn is free, the point itself chooses the place on its ring.
    weights[k] = 0.0 if fixed or absent else 0.01
    pose = _pose(points[rows], mean, weights, prior.scale)
    off = pose(points[rows]) - mean
    off[k] = 0.0 if absent else off[k]
    values, vectors = np.linalg.eigh(precision[k, :, k, :])
    kept = values > 1e-9 * max(float(values[-1]), 1e-30)
    pull = vectors.T @ np.einsum("amd,md->a", precision[k], off)
    ratio = float((pull[kept] ** 2 / values[kept]).sum()) / max(int(kept.sum()), 1)
    dim = mean.shape[1]
    if not (fixed and kept.all()):
        return _Apart(ratio, int(kept.sum()), np.full(dim, np.nan), np.full((dim, dim), np.nan))
    expected = pose.back((mean[k] + off[k] - vectors @ (pull / values))[None])[0]
    spread = (vectors / values) @ vectors.T - own[k]
    spread = pose.turn @ spread @ pose.turn.T * prior.inflation[rows[k]] / pose.size**2
    return _Apart(ratio, dim, expected, spread)


def _fixed(prior: ShapePrior, others: FloatArray) -> bool:
    """Whether points ``(m, D)`` reach far enough from any axis to fix a pose."""
    dim = others.shape[1]
    if len(others) < dim:
        return False
    reach = np.linalg.svd(others - others.mean(axis=0), compute_uv=False)[dim - 2]
    sd = math.sqrt(np.trace(prior.covariance_mm2) / np.isfinite(prior.mean_mm).sum())
    return bool(reach > _TURN * sd)


def _judge(prior: ShapePrior, points: FloatArray, own: FloatArray) -> ShapeCheck:
    """All landmarks and the whole set, without looking for a culprit."""
    count, dim = points.shape
    check = ShapeCheck(
        np.full(count, np.nan), np.full((count, dim), np.nan),
        np.full((count, dim, dim), np.nan), np.full(count, np.nan), math.nan,
    )  # fmt: skip
    present = np.isfinite(points).all(axis=1)
    if present.sum() < 2:
        return check
    ratios, whole = _ratios(prior, points, own, check)
    for row, (ratio, freedoms) in ratios.items():
        if freedoms:
            check.p_value[row] = _tail(ratio / prior.inflation[row], freedoms, prior.freedom)
    check.apart_mm[:] = np.linalg.norm(points - check.expected_mm, axis=1)
    if not whole[1]:
        return check
    p = _tail(whole[0] / prior.whole_inflation, whole[1], prior.whole_freedom)
    worst = np.nanmin(check.p_value) * np.isfinite(check.p_value).sum()
    # Two looks at one set: one feels many small deviations, the other a single large one.
    return replace(check, p_whole=float(min(2 * min(p, worst), 1.0)))


def _ratios(
    prior: ShapePrior, points: FloatArray, own: FloatArray, check: ShapeCheck | None = None
) -> tuple[dict[int, tuple[float, int]], tuple[float, int]]:
    """Squared distances per freedom with the freedoms, of each present row and of all of them.

    Expected places are written into ``check``, also those of absent rows.
    """
    present = np.isfinite(points).all(axis=1)
    known = np.isfinite(prior.mean_mm).all(axis=1)
    rows = np.flatnonzero(present)
    mean = prior.mean_mm[rows]
    pose = _pose(points[rows], mean, np.ones(len(rows)), prior.scale)
    laid = pose.size**2 * (pose.turn.T @ own @ pose.turn)
    laid[~present] = 0.0
    precision, freedoms = _precision(prior, rows, laid[rows])
    off = pose(points[rows]) - mean
    square = float(np.einsum("md,mdne,ne->", off, precision, off))
    ratios = {}
    for k, row in enumerate(rows):
        apart = _apart(prior, points, rows, k, laid[rows], precision)
        ratios[int(row)] = (apart.ratio, apart.freedoms)
        if check is not None:
            check.expected_mm[row] = apart.expected
            check.expected_covariance_mm2[row] = apart.covariance
    for row in np.flatnonzero(known & ~present) if check is not None else ():
        more = np.append(rows, row)
        precision, _ = _precision(prior, more, laid[more])
        apart = _apart(prior, points, more, len(rows), laid[more], precision)
        if check is not None:
            check.expected_mm[row] = apart.expected
            check.expected_covariance_mm2[row] = apart.covariance
    return ratios, (square / max(freedoms, 1), freedoms)


def _tail(ratio: float, freedoms: int, freedom: float) -> float:
    from scipy.special import fdtrc

    return float(fdtrc(freedoms, freedom, ratio))
