"""Is this set of points a possible anatomy? A Gaussian of shapes, whatever their pose.

Each landmark is compared with where the others suggest it: the others are laid onto the mean shape
(rotation and translation, no mirror), and the Gaussian of all coordinates is conditioned on them.
Where fewer others than axes are left, a turn about them remains free; then the distances to them
are compared instead, and no position is suggested. Only mean and covariance are kept, no case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import combinations
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from anatomark.geometry import FloatArray

MIN_CASES = 10
ALPHA = 0.01
_ROUNDS = 5
_SUSPECTS = 5
_FREEDOMS = (3.0, 4.0, 5.0, 7.0, 10.0, 15.0, 25.0, 50.0, 100.0, 1000.0)


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Mean shape ``(L, D)``, covariance ``(L·D, L·D)`` about it, of ``cases`` shapes.

    ``distances`` are mean ``(P,)`` and covariance ``(P, P)`` of the logarithms of all distances
    between pairs, kept where there are as few landmarks as axes. ``inflation`` ``(L,)`` and
    ``freedom`` make up for what a covariance of few cases misses, learnt by leaving out one case
    at a time.
    """

    mean: FloatArray
    covariance: FloatArray
    cases: int
    inflation: FloatArray
    freedom: float
    distance_mean: FloatArray
    distance_covariance: FloatArray

    @cached_property
    def precision(self) -> FloatArray:
        """Inverse of the covariance."""
        return np.asarray(np.linalg.inv(self.covariance))

    def to_record(self) -> dict[str, Any]:
        """Plain JSON."""
        held = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            k: v if isinstance(v, int | float) else np.round(v, 6).tolist() for k, v in held.items()
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The inverse."""
        values: dict[str, Any] = {
            k: v if k in {"cases", "freedom"} else np.asarray(v, np.float64)
            for k, v in record.items()
        }
        return cls(**values)


@dataclass(frozen=True, eq=False)
class Suggestion:
    """Where the other landmarks suggest each one.

    ``expected`` ``(L, D)`` in the frame of the points, NaN where it is not determined;
    ``p`` ``(L,)``: probability of being as far from it as it is, NaN where nothing can be said.
    ``culprit`` is the row of the one landmark without which the rest is plausible.
    """

    expected: FloatArray
    p: FloatArray
    culprit: int | None = None

    def implausible(self, alpha: float = ALPHA) -> NDArray[np.bool_]:
        """Rows that are unlikely, among so many that are looked at (Bonferroni)."""
        count = max(int(np.isfinite(self.p).sum()), 1)
        return np.asarray(np.nan_to_num(self.p, nan=1.0) < alpha / count)


def learn_anatomy(shapes: FloatArray) -> Anatomy | None:
    """From shapes ``(N, L, D)``, NaN where absent; ``None`` if too few are complete."""
    whole = shapes[np.isfinite(shapes).all((1, 2))]
    if len(whole) < MIN_CASES or whole.shape[1] < 3:
        return None
    ones = np.ones(whole.shape[1])
    ratios = []
    for left_out in range(len(whole)):
        others = _fitted(np.delete(whole, left_out, axis=0), ones)
        ratios.append([_apart(others, whole[left_out], i)[1] for i in range(whole.shape[1])])
    return replace(_fitted(whole, ones), **_tails(np.asarray(ratios), whole.shape[2]))


def _tails(ratios: FloatArray, dimension: int) -> dict[str, Any]:
    """Scale per landmark and freedom of the F distribution that ratios ``(N, L)`` follow.

    Of the freedoms that are about as likely the smallest is taken, and means are raised by their
    standard error: with few cases, rather a fault missed than alarms that nobody heeds.
    """
    from scipy.stats import f

    means = np.maximum(ratios.mean(0), 1e-9)

    def likelihood(freedom: float) -> float:
        scale = freedom / (freedom - 2)  # the mean of F
        density = f.logpdf(ratios / means * scale, dimension, freedom)
        return float(density.sum() + ratios.size * np.log(scale))

    scores = {freedom: likelihood(freedom) for freedom in _FREEDOMS}
    freedom = min(k for k, score in scores.items() if score > max(scores.values()) - 2)
    raised = means * (1 + 1 / np.sqrt(len(ratios)))
    return {"inflation": raised * (freedom - 2) / freedom, "freedom": freedom}


def _fitted(shapes: FloatArray, inflation: FloatArray) -> Anatomy:
    mean = shapes[0] - shapes[0].mean(0)
    for _ in range(_ROUNDS):
        laid = np.array([_lay(s, mean, slice(None)) for s in shapes])
        mean = laid.mean(0) - laid.mean((0, 1))
    flat = (laid - mean).reshape(len(shapes), -1)
    logs = np.array([_log_distances(s) for s in shapes])
    few = shapes.shape[1] <= shapes.shape[2]
    return Anatomy(
        mean, _shrunk(flat), len(shapes), inflation, 1e3,
        logs.mean(0) if few else np.zeros(0),
        _shrunk(logs - logs.mean(0)) if few else np.zeros((0, 0)),
    )  # fmt: skip


def _shrunk(deviations: FloatArray) -> FloatArray:
    """Covariance, shrunk towards a multiple of the identity (Ledoit and Wolf 2004)."""
    n, p = deviations.shape
    sample = deviations.T @ deviations / n
    level = np.trace(sample) / p
    spread = ((sample - level * np.eye(p)) ** 2).sum()
    squares = (deviations**2).T @ (deviations**2) / n - sample**2
    part = min(float(squares.sum()) / n / spread, 1.0) if spread > 0 else 1.0
    part = max(part, 1e-3)
    return np.asarray(((1 - part) * sample + part * level * np.eye(p)) * n / (n - 1))


def _pose(points: FloatArray, mean: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Rotation and translation that lay points onto a mean shape (Kabsch, no mirror)."""
    a, b = points.mean(0), mean.mean(0)
    u, _, vt = np.linalg.svd((points - a).T @ (mean - b))
    sign = np.ones(len(vt))
    sign[-1] = np.sign(np.linalg.det(u @ vt)) or 1.0
    turn = (u * sign) @ vt
    return np.asarray(turn), np.asarray(b - a @ turn)


def _lay(shape: FloatArray, mean: FloatArray, rows: Any) -> FloatArray:
    turn, shift = _pose(shape[rows], mean[rows])
    return np.asarray(shape @ turn + shift)


def _log_distances(shape: FloatArray) -> FloatArray:
    pairs = combinations(range(len(shape)), 2)
    return np.log([max(float(np.linalg.norm(shape[a] - shape[b])), 1e-9) for a, b in pairs])


# -- one landmark, given the others ----------------------------------------------------------------


def _apart(
    anatomy: Anatomy, points: FloatArray, row: int, spread: FloatArray | None = None
) -> tuple[FloatArray, float, int]:
    """Suggested position, squared distance per expected one, and its degrees of freedom."""
    there = np.asarray(np.isfinite(points).all(axis=1))
    others = np.array([i for i in np.flatnonzero(there) if i != row], int)
    dim = points.shape[1]
    if len(others) >= dim:
        return _by_position(anatomy, points, row, others, spread)
    if len(points) > dim or len(others) < 2 or not there[row]:
        return np.full(dim, np.nan), np.nan, 0
    return _by_distance(anatomy, points, row, spread)


def _by_position(
    anatomy: Anatomy, points: FloatArray, row: int, others: NDArray[Any], spread: FloatArray | None
) -> tuple[FloatArray, float, int]:
    """Position in the frame of the mean shape, given the others there."""
    dim = points.shape[1]
    hidden = np.setdiff1d(np.arange(len(points)), others)
    a, b = _flat(hidden, dim), _flat(others, dim)
    precision = anatomy.precision
    rest = np.linalg.inv(precision[np.ix_(a, a)])
    gain = -rest @ precision[np.ix_(a, b)]
    laid = points.copy()
    turn, shift = _pose(points[others], anatomy.mean[others])
    for _ in range(_ROUNDS):
        # The Gaussian was learnt of whole shapes, laid as wholes: so the rest is filled in.
        laid[others] = points[others] @ turn + shift
        seen = (laid - anatomy.mean)[others].ravel()
        laid[hidden] = anatomy.mean[hidden] + (gain @ seen).reshape(-1, dim)
        more, step = _pose(laid, anatomy.mean)
        turn, shift = turn @ more, shift @ more + step
    at = int(np.flatnonzero(hidden == row)[0]) * dim
    own = rest[at : at + dim, at : at + dim] * anatomy.inflation[row]
    if spread is not None and np.isfinite(spread).all():
        own = own + turn.T @ spread @ turn
    suggestion = (laid[row] - shift) @ turn.T
    if not np.isfinite(points[row]).all():
        return suggestion, np.nan, dim
    apart = points[row] @ turn + shift - laid[row]
    return suggestion, float(apart @ np.linalg.solve(own, apart)) / dim, dim


def _flat(rows: NDArray[Any], dim: int) -> NDArray[Any]:
    return np.asarray((rows[:, None] * dim + np.arange(dim)).ravel())


def _by_distance(
    anatomy: Anatomy, points: FloatArray, row: int, spread: FloatArray | None
) -> tuple[FloatArray, float, int]:
    """Distances to the others, given the distances among them."""
    pairs = list(combinations(range(len(points)), 2))
    a = np.array([k for k, pair in enumerate(pairs) if row in pair], int)
    b = np.array([k for k, pair in enumerate(pairs) if row not in pair], int)
    apart = _log_distances(points) - anatomy.distance_mean
    cov = anatomy.distance_covariance
    gain = np.linalg.solve(cov[np.ix_(b, b)], cov[np.ix_(b, a)]).T
    rest = (cov[np.ix_(a, a)] - gain @ cov[np.ix_(b, a)]) * anatomy.inflation[row]
    if spread is not None and np.isfinite(spread).all():
        lengths = np.exp(_log_distances(points))[a]
        rest = rest + np.diag(np.trace(spread) / len(spread) / lengths**2)
    miss = apart[a] - gain @ apart[b]
    ratio = float(miss @ np.linalg.solve(rest, miss)) / len(a)
    return np.full(points.shape[1], np.nan), ratio, len(a)


def suggest(
    anatomy: Anatomy, points: FloatArray, covariance: FloatArray | None = None
) -> Suggestion:
    """Compare points ``(L, D)`` (NaN where absent) with what each other suggest.

    ``covariance`` ``(L, D, D)`` of the points themselves excuses what they admit.
    """
    looked = _looked(anatomy, points, covariance)
    if not looked.implausible().any():
        return looked
    best, culprit = ALPHA, None
    # One wrong point makes others look wrong too, but none more than itself by far.
    for row in np.argsort(np.nan_to_num(looked.p, nan=1.0))[:_SUSPECTS]:
        without = points.copy()
        without[row] = np.nan
        rest = _looked(anatomy, without, covariance)
        known = rest.p[np.isfinite(rest.p)]
        # Without anything left to compare, nothing tells one from the other.
        if len(known) and float(known.min()) * len(known) > best:
            best, culprit = float(known.min()) * len(known), int(row)
    return Suggestion(looked.expected, looked.p, culprit)


def _looked(anatomy: Anatomy, points: FloatArray, covariance: FloatArray | None) -> Suggestion:
    from scipy.stats import f

    expected = np.full(points.shape, np.nan)
    p = np.full(len(points), np.nan)
    for row in range(len(points)):
        spread = None if covariance is None else covariance[row]
        expected[row], ratio, freedom = _apart(anatomy, points, row, spread)
        if freedom:
            p[row] = f.sf(ratio, freedom, anatomy.freedom)
    return Suggestion(expected, p)
