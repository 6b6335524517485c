"""Is this set of points a plausible anatomy? Checks, the one wrong point, and its repair.

The model and what it can and cannot see: ``shape_model``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anatomark.errors import LandmarkError
from anatomark.geometry import FloatArray
from anatomark.io.json_files import plain
from anatomark.models.shape_model import (
    ShapePrior,
    distances,
    fixes_pose,
    invariants,
    joint_precision,
    lay,
    present,
    tail,
)

MIN_CASES = 10
ALPHA = 0.01
_FOLDS = 20
_ROUNDS = 5
_FILLINGS = 3  # rounds in which absent points are filled in
_SUSPECTS = 6  # landmarks that are tried as the one that is wrong
_MANY = 8  # points that can outvote several wrong ones
_CLEAR = 0.1  # without another landmark, the rest must be that much less plausible
_LEAST_SD = 1e-3  # of the size of the shape: nothing in anatomy varies less
_POOL = 5.0  # cases that the common scale of all landmarks is worth, for the scale of one
_FREEDOMS = (3.0, 4.0, 5.0, 7.0, 10.0, 15.0, 25.0, 50.0, 100.0, 1000.0)


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
        return {f.name: plain(getattr(self, f.name)) for f in fields(self)}


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
    points[~(present(points) & present(prior.mean_mm))] = np.nan
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


def several_wrong(
    prior: ShapePrior, points_mm: ArrayLike, *, alpha: float = ALPHA
) -> tuple[list[int], FloatArray] | None:
    """Rows without which a set of many points is plausible, and all points with them put back.

    They are taken out one after the other, each time the one without which the rest is most
    plausible. ``None`` if nothing is wrong, if a third of the points does not explain it, or where
    fewer than eight are there: of few points any could be the wrong ones.
    """
    points = np.array(points_mm, np.float64)
    points[~(present(points) & present(prior.mean_mm))] = np.nan
    rows: list[int] = []
    rest, own = points.copy(), np.zeros((*points.shape, points.shape[1]))
    count = int(present(points).sum())
    check = _judge(prior, rest, own)
    while check.p_whole < alpha:
        if count < _MANY or len(rows) == count // 3:
            return None
        order = np.argsort(np.nan_to_num(check.p_value, nan=2.0))[:_SUSPECTS].tolist()
        tried = {row: _judge(prior, _but(rest, row), own) for row in order}
        row = max(tried, key=lambda r: tried[r].p_whole)
        rest, check = _but(rest, row), tried[row]
        rows.append(int(row))
    if not rows or not np.isfinite(check.expected_mm[rows]).all():
        return None
    points[rows] = check.expected_mm[rows]
    return rows, points


def _but(points: FloatArray, row: int) -> FloatArray:
    rest = points.copy()
    rest[row] = np.nan
    return rest


def _culprit(
    prior: ShapePrior, points: FloatArray, own: FloatArray, check: ShapeCheck, alpha: float
) -> int | None:
    """The one row without which the rest is plausible, if it can be told."""
    order = np.argsort(np.nan_to_num(check.p_value, nan=2.0))[:_SUSPECTS].tolist()
    left = {}  # suspects, most unlikely first, and how plausible the others are without them
    for row in (r for r in order if check.p_value[r] < alpha):
        p = _judge(prior, _but(points, row), own).p_whole
        if p >= alpha:
            left[int(row)] = p
    if not left:
        return None  # several are wrong, or the set is odd with no point that stands out
    first, *others = left
    # Of three points two are left, whose distance is rarely odd: then it could be any of them.
    clear = all(left[row] < _CLEAR * left[first] for row in others)
    return first if clear else None


def _without(
    prior: ShapePrior, points: FloatArray, own: FloatArray, check: ShapeCheck, row: int
) -> ShapeCheck:
    """One wrong point must not make the others look wrong: they are judged without it."""
    clean = _judge(prior, _but(points, row), own)
    for name in ("p_value", "apart_mm"):
        getattr(clean, name)[row] = getattr(check, name)[row]
    return replace(clean, p_whole=check.p_whole, culprit=row)


def _judge(prior: ShapePrior, points: FloatArray, own: FloatArray) -> ShapeCheck:
    """All landmarks and the whole set, without looking for a culprit."""
    count, dim = points.shape
    p, expected = np.full(count, np.nan), np.full((count, dim), np.nan)
    covariance, p_whole = np.full((count, dim, dim), np.nan), math.nan
    there = present(points)
    if there.sum() >= 2:
        found = distances(prior, points, own)
        for row, one in found.each.items():
            expected[row], covariance[row] = one.expected, one.covariance
            if there[row] and one.freedoms:
                p[row] = tail(one.ratio / prior.inflation[row], one.freedoms, prior.freedom)
        p_whole = _together(prior, p, found.whole, found.freedoms)
    off = np.linalg.norm(points - expected, axis=1)
    return ShapeCheck(p, expected, covariance, off, p_whole)


def _together(prior: ShapePrior, p: FloatArray, ratio: float, freedoms: int) -> float:
    """Two looks at one set: for a single large deviation, the common fault, and many small ones.

    The first is given four fifths of the false alarms (Bonferroni, weighted).
    """
    if not freedoms or np.isnan(p).all():
        return math.nan
    diffuse = tail(ratio / prior.whole_inflation, freedoms, prior.whole_freedom)
    single = float(np.nanmin(p)) * int(np.isfinite(p).sum())
    return min(single / 0.8, diffuse / 0.2, 1.0)


# -- learning ------------------------------------------------------------------------------------


def fit_shapes(points_mm: ArrayLike, *, scale: bool = False) -> ShapePrior | None:
    """Learn from cases ``(N, L, D)``, NaN where absent; D is 2 or 3, any pose, mm.

    A case is used if it has at least half of the landmarks, and D + 1 where there are as many; a
    landmark if at least ten used cases have it. ``None`` below ten cases or two landmarks. With
    ``scale`` size is part of the pose, so it is never implausible.

    With fewer cases than coordinates the covariance is shrunk towards equal spread in all
    directions (Ledoit and Wolf 2004); what that misses is made up for by leaving out cases.
    Absent points are filled in by expectation and maximisation.
    """
    shapes = np.array(points_mm, np.float64)
    there = present(shapes)
    rows, cases = _usable(there, shapes.shape[2])
    if len(rows) < 2 or len(cases) < MIN_CASES:
        return None
    shapes = np.where(there[..., None], shapes, np.nan)[cases][:, rows]
    prior = _fitted(shapes, scale)
    prior = replace(prior, **_calibrated(shapes, prior))
    return _spread_out(prior, rows, there.shape[1])


def _usable(there: NDArray[np.bool_], dim: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Landmarks and cases that there is enough of."""
    rows, cases = np.arange(there.shape[1]), np.arange(len(there))
    for _ in range(_ROUNDS):
        least = max(min(len(rows), dim + 1), (len(rows) + 1) // 2, 2)
        cases = np.flatnonzero(there[:, rows].sum(axis=1) >= least)
        rows = rows[there[np.ix_(cases, rows)].sum(axis=0) >= MIN_CASES]
    return rows, cases


def _spread_out(prior: ShapePrior, rows: NDArray[np.intp], count: int) -> ShapePrior:
    """The prior of some rows among ``count``, NaN and 0 for the others."""
    dim = prior.mean_mm.shape[1]
    mean, inflation = np.full((count, dim), np.nan), np.full(count, np.nan)
    mean[rows], inflation[rows] = prior.mean_mm, prior.inflation
    flat = (rows[:, None] * dim + np.arange(dim)).ravel()
    covariance = np.zeros((count * dim, count * dim))
    covariance[np.ix_(flat, flat)] = prior.covariance_mm2
    return replace(prior, mean_mm=mean, covariance_mm2=covariance, inflation=inflation)


def _fitted(shapes: FloatArray, scale: bool) -> ShapePrior:
    """Mean and covariance of ``(N, L, D)``; absent points are filled in, then it is done again."""
    there = present(shapes)
    mean = _mean_shape(shapes, there, scale)
    back = lay(shapes, mean, there.astype(np.float64), scale).back(mean)
    whole = np.where(there[..., None], shapes, back)
    unsure = np.zeros((*shapes.shape, shapes.shape[2]))
    prior = _gaussian(whole, unsure, mean, scale)
    for _ in range(0 if there.all() else _FILLINGS):
        precision = joint_precision(prior)
        for i in np.flatnonzero(~there.all(axis=1)):
            _fill(prior, precision, shapes[i], whole[i], unsure[i])
        mean = _mean_shape(whole, np.ones_like(there), scale)
        prior = _gaussian(whole, unsure, mean, scale)
    return prior


def _fill(
    prior: ShapePrior,
    precision: FloatArray,
    shape: FloatArray,
    whole: FloatArray,
    unsure: FloatArray,
) -> None:
    """Write the expected places of absent points, with their covariance, mean's frame."""
    there = present(shape)
    if not fixes_pose(prior, prior.mean_mm[there]):
        return
    hidden, dim = np.flatnonzero(~there), shape.shape[1]
    pose = lay(shape, prior.mean_mm, there.astype(np.float64), prior.scale)
    off = (pose(shape) - prior.mean_mm)[there]
    inner = precision[hidden][:, :, hidden].reshape((len(hidden) * dim,) * 2)
    joint = np.linalg.inv(inner)
    pull = np.einsum("hdme,me->hd", precision[hidden][:, :, there], off)
    moved = prior.mean_mm[hidden] - (joint @ pull.ravel()).reshape(-1, dim)
    whole[hidden] = pose.back(moved)
    each = np.arange(len(hidden))
    unsure[hidden] = joint.reshape((len(hidden), dim) * 2)[each, :, each, :]


def _mean_shape(shapes: FloatArray, there: NDArray[np.bool_], scale: bool) -> FloatArray:
    """Generalised Procrustes mean ``(L, D)``, centred; as large as the shapes are on average."""
    weights = there.astype(np.float64)
    mean = np.nan_to_num(shapes[there.sum(axis=1).argmax()])
    seen = there[there.sum(axis=1).argmax()].astype(np.float64)
    for _ in range(_ROUNDS):
        pose = lay(shapes, mean, weights * seen, scale)
        laid = np.where(there[..., None], pose(shapes), 0.0)
        mean = laid.sum(axis=0) / weights.sum(axis=0)[:, None] / np.mean(pose.size)
        mean = mean - mean.mean(axis=0)
        seen = np.ones(len(seen))
    return np.asarray(mean)


def _gaussian(whole: FloatArray, unsure: FloatArray, mean: FloatArray, scale: bool) -> ShapePrior:
    """Shrunk covariance of complete shapes, within the directions that are no change of pose."""
    count, landmarks, dim = whole.shape
    laid = lay(whole, mean, np.ones((count, landmarks)), scale)(whole)
    basis = invariants(mean, scale)
    extra = np.zeros((landmarks, dim) * 2)
    each = np.arange(landmarks)
    extra[each, :, each, :] = unsure.mean(axis=0)
    flat = landmarks * dim
    size = float(np.sqrt((mean**2).sum() / landmarks))
    inner = _shrunk((laid - mean).reshape(count, flat) @ basis, (_LEAST_SD * size) ** 2)
    inner = inner + basis.T @ extra.reshape(flat, flat) @ basis
    return ShapePrior(mean, basis @ inner @ basis.T, count, scale, np.ones(landmarks))


def _shrunk(deviations: FloatArray, least: float) -> FloatArray:
    """Covariance of ``(N, K)``, shrunk towards a multiple of the identity."""
    n, k = deviations.shape
    deviations = deviations - deviations.mean(axis=0)
    sample = deviations.T @ deviations / n
    level = max(float(np.trace(sample)) / max(k, 1), least)
    apart = float(((sample - level * np.eye(k)) ** 2).sum())
    noise = float(((deviations**2).T @ (deviations**2) / n - sample**2).sum()) / n
    part = min(max(noise / apart, 1e-3), 1.0) if apart > 0 else 1.0
    return np.asarray(((1 - part) * sample + part * level * np.eye(k)) * (n / (n - 1)))


# -- what a covariance of few cases misses -------------------------------------------------------


def _calibrated(shapes: FloatArray, prior: ShapePrior) -> dict[str, Any]:
    """Inflations and freedoms from cases that are left out, a twentieth of them at a time."""
    none = np.zeros((*shapes.shape[1:], shapes.shape[2]))
    each, whole = [], []
    for fold in range(min(_FOLDS, len(shapes))):
        others = _fitted(np.delete(shapes, np.s_[fold::_FOLDS], axis=0), prior.scale)
        for shape in shapes[fold::_FOLDS]:
            found = distances(others, shape, none, rows_absent=False)
            each.append([_ratio(found.each.get(row)) for row in range(shapes.shape[1])])
            whole.append([(found.whole, found.freedoms)])
    inflation, freedom = _f_scale(np.array(each, np.float64))
    whole_inflation, whole_freedom = _f_scale(np.array(whole, np.float64))
    return {
        "inflation": inflation,
        "freedom": freedom,
        "whole_inflation": float(whole_inflation[0]),
        "whole_freedom": whole_freedom,
    }


def _ratio(one: Any) -> tuple[float, int]:
    return (math.nan, 1) if one is None or not one.freedoms else (one.ratio, one.freedoms)


def _f_scale(table: FloatArray) -> tuple[FloatArray, float]:
    """Scales ``(L,)`` and freedom of the F that ratios follow; ``(N, L, 2)``: ratio, freedoms.

    Of the freedoms that are about as likely the smallest is taken: with few cases, rather a fault
    missed than alarms that nobody heeds.
    """
    from scipy.stats import f

    x, d = table[..., 0], table[..., 1]
    known = np.isfinite(x)
    found = []
    for freedom in _FREEDOMS:
        scale = np.full(x.shape[1], max(float(np.nanmean(x)), 1e-9))
        for _ in range(20):
            # Of the likelihood; large ratios weigh less where the tail is heavy.
            weighed = np.where(known, (d + freedom) * x / (freedom + d * x / scale), 0.0)
            common = weighed.sum() / known.sum()
            scale = (weighed.sum(axis=0) + _POOL * common) / (known.sum(axis=0) + _POOL)
        likely = f.logpdf(x / scale, d, freedom) - np.log(scale)
        found.append((float(likely[known].sum()), freedom, scale))
    best = max(score for score, _, _ in found)
    _, freedom, scale = next(entry for entry in found if entry[0] > best - 2)
    return np.asarray(scale), freedom
