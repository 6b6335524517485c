"""How far off a point may be: split-conformal radii, and confidences that are probabilities.

Of n errors on cases that were not trained on, the ⌈(n + 1)·level⌉-th smallest bounds the error of
a fresh case with a probability of at least ``level``, whatever the distribution of errors, as long
as the fresh case comes from the same source (Vovk, Gammerman and Shafer 2005).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit

from anatomark.errors import UsageError
from anatomark.geometry import FloatArray
from anatomark.metrics.statistics import is_within

LEVEL = 0.95
# (n + 1)·level may come out as 19.000000000000004: that is still the 19th.
_ROUNDING = 1e-9
_LEAST_SPREAD = 1e-6
_EDGE = 1e-6  # raw confidences of 0 and 1 have no finite logit
_PRIOR_SD = 2.5
_STEPS = 100


def needed(level: float = LEVEL) -> int:
    """The fewest errors from which a finite radius follows: 19 for a level of 0.95."""
    return math.ceil(_checked(level) / (1 - level) - _ROUNDING)


def conformal_radius(errors: ArrayLike, level: float = LEVEL) -> float:
    """Radius that holds a fresh error with a probability of at least ``level``.

    ``errors`` ``(N,)``, NaN where there is none; infinity (a point that was not found) counts.
    Infinite if there are fewer errors than ``needed(level)``.
    """
    known = np.asarray(errors, np.float64).ravel()
    known = np.sort(known[~np.isnan(known)])
    rank = math.ceil((len(known) + 1) * _checked(level) - _ROUNDING)
    return float(known[rank - 1]) if rank <= len(known) else math.inf


def conformal_radii(errors: ArrayLike, level: float = LEVEL) -> FloatArray:
    """Radii ``(L,)`` of each landmark from errors ``(N, L)``, NaN where there is none."""
    table = np.asarray(errors, np.float64)
    if table.ndim != 2:
        raise UsageError(
            f"errors of shape {table.shape} are no table", fix="give cases × landmarks, (N, L)"
        )
    return np.array([conformal_radius(column, level) for column in table.T], np.float64)


def _checked(level: float) -> float:
    if not 0 < level < 1:
        raise UsageError(f"a level of {level!r} is no probability", fix="as 0.95")
    return level


@dataclass(frozen=True)
class Radii:
    """Conformal radii per landmark, infinite where there were too few ``cases``.

    ``each`` hold for any case, in the unit of the errors (mm, or px). ``all`` treats the points of
    all landmarks as one sample: it says what share of points is that close, not what one landmark
    does. ``factors`` are for points that come with a predicted spread: the radius is
    ``factor · spread``. Each and factors hold their level; the smaller of the two, picked case by
    case, does not.
    """

    level: float
    each: tuple[float, ...]
    all: float
    factors: tuple[float, ...]
    cases: tuple[int, ...]

    def of(self, spread: ArrayLike | None = None) -> FloatArray:
        """Radii ``(L,)``: each landmark's own, or that of all where it has too few cases.

        With spreads ``(..., L)`` scaled by them, infinite where there were too few cases.
        """
        if spread is None:
            own = np.array(self.each, np.float64)
            return np.where(np.isfinite(own), own, self.all)
        return np.array(self.factors, np.float64) * _spread(spread)

    def to_record(self) -> dict[str, Any]:
        """Plain JSON; infinity is null."""
        return {
            "level": self.level,
            "each": [_plain(r) for r in self.each],
            "all": _plain(self.all),
            "factors": [_plain(f) for f in self.factors],
            "cases": list(self.cases),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The inverse."""
        return cls(
            level=float(record["level"]),
            each=_floats(record["each"]),
            all=_floats([record["all"]])[0],
            factors=_floats(record["factors"]),
            cases=tuple(int(n) for n in record["cases"]),
        )


def fit_radii(errors: ArrayLike, spread: ArrayLike | None = None, *, level: float = LEVEL) -> Radii:
    """Radii from errors ``(N, L)`` and, where the method predicts one, spreads ``(N, L)``.

    Both in one unit, which is that of the radii. NaN is no error, or no spread; without spreads
    all factors are infinite.
    """
    table = np.asarray(errors, np.float64)
    each = conformal_radii(table, level)
    factors = np.full(len(each), np.inf)
    if spread is not None:
        factors = conformal_radii(table / _spread(spread), level)
    counts = (~np.isnan(table)).sum(axis=0)
    return Radii(
        level=level,
        each=tuple(each.tolist()),
        all=conformal_radius(table, level),
        factors=tuple(factors.tolist()),
        cases=tuple(counts.tolist()),
    )


def _spread(spread: ArrayLike) -> FloatArray:
    """Spreads that may be divided by; NaN stays NaN."""
    return np.maximum(np.asarray(spread, np.float64), _LEAST_SPREAD)


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _floats(values: Sequence[float | None]) -> tuple[float, ...]:
    return tuple(math.inf if v is None else float(v) for v in values)


# -- confidence ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class ConfidenceMap:
    """Raw confidence → probability that a point is at most ``tolerance_mm`` off.

    ``expit(intercept + slope · logit(raw))`` with a slope of 0 or more. NaN where nothing was
    there to learn from.
    """

    tolerance_mm: float
    slope: float
    intercept: float

    def __call__(self, raw: ArrayLike) -> FloatArray:
        """Probabilities of raw confidences (any shape, 0…1); NaN stays NaN."""
        return np.asarray(expit(self.intercept + self.slope * _logit(raw)), np.float64)

    def to_record(self) -> dict[str, float | None]:
        """Plain JSON; NaN is null."""
        return {name: _plain(value) for name, value in vars(self).items()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The inverse."""
        found = {k: record[k] for k in ("tolerance_mm", "slope", "intercept")}
        return cls(**{k: math.nan if v is None else float(v) for k, v in found.items()})


def fit_confidence(raw: ArrayLike, errors_mm: ArrayLike, tolerance_mm: float) -> ConfidenceMap:
    """Logistic regression of ``error <= tolerance`` on the logit of the raw confidence.

    ``raw`` in 0…1 and ``errors_mm`` have one shape; NaN in either is left out, an infinite error
    is outside the tolerance. The prior (normal with SD 2.5 on the intercept and the slope of the
    standardised logit) is worth about one case: it keeps both finite where all errors are on one
    side. A negative slope would make more confidence less; then the slope is 0.
    """
    if not tolerance_mm > 0:
        raise UsageError(f"a tolerance of {tolerance_mm!r} mm is not positive", fix="as 2")
    x, errors = _logit(raw).ravel(), np.asarray(errors_mm, np.float64).ravel()
    known = ~np.isnan(x) & ~np.isnan(errors)
    x, good = x[known], is_within(errors[known], tolerance_mm)
    if not len(x):
        return ConfidenceMap(float(tolerance_mm), math.nan, math.nan)
    middle, width = float(x.mean()), float(x.std())
    level = np.ones((len(x), 1))
    if width > _ROUNDING:
        base, slope = _regression(np.column_stack([level, (x - middle) / width]), good)
        if slope > 0:
            slope /= width
            return ConfidenceMap(float(tolerance_mm), slope, base - slope * middle)
    # The loss is convex: where its minimum lies beyond 0, the best allowed slope is 0.
    return ConfidenceMap(float(tolerance_mm), 0.0, _regression(level, good)[0])


def _regression(features: FloatArray, good: FloatArray) -> list[float]:
    """Coefficients that minimise the penalised logistic loss: Newton, halved where too bold."""
    penalty = np.eye(features.shape[1]) / _PRIOR_SD**2

    def loss(at: FloatArray) -> float:
        score = features @ at
        return float((np.logaddexp(0, score) - good * score).sum() + at @ penalty @ at / 2)

    at = np.zeros(features.shape[1])
    for _ in range(_STEPS):
        chance = expit(features @ at)
        slope = features.T @ (chance - good) + penalty @ at
        bend = (features * (chance * (1 - chance))[:, None]).T @ features + penalty
        step = np.linalg.solve(bend, slope)
        while loss(at - step) > loss(at) and np.abs(step).max() > _ROUNDING:
            step = step / 2
        at = at - step
        if np.abs(step).max() < _ROUNDING:
            break
    return [float(a) for a in at]


def _logit(raw: ArrayLike) -> FloatArray:
    clipped = np.clip(np.asarray(raw, np.float64), _EDGE, 1 - _EDGE)
    return np.asarray(logit(clipped), np.float64)
