"""How far off a point may be: split-conformal radii, and confidence that means a probability.

Split-conformal prediction (Vovk 2005): of n errors on cases that were not trained on, the
⌈(n + 1)·level⌉-th smallest bounds the error of a fresh case with probability of at least ``level``,
whatever the distribution, as long as fresh cases come from the same source.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anatomark.geometry import FloatArray

LEVEL = 0.95
_EDGE = 1e-6


def cases_needed(level: float) -> int:
    """The fewest errors from which a finite radius follows: 19 for 95 %."""
    return math.ceil(level / (1 - level) - 1e-9)


def conformal_radius(errors: ArrayLike, level: float = LEVEL) -> float:
    """Radius that holds a fresh error with probability ``level``; infinite if there are too few."""
    known = np.sort(np.asarray(errors, np.float64).ravel())
    known = known[~np.isnan(known)]
    rank = math.ceil((len(known) + 1) * level - 1e-9)
    return float(known[rank - 1]) if rank <= len(known) else math.inf


@dataclass(frozen=True)
class Radii:
    """Radii per landmark in the unit of the model, infinite where too few cases were there.

    ``all`` treats the points of all landmarks as one sample: it says what share of points is
    that close, not what one landmark does.
    """

    level: float
    each: tuple[float, ...]
    all: float
    cases: int

    def of(self, row: int) -> float:
        """The landmark's own radius, or that of all where it has none."""
        return self.each[row] if math.isfinite(self.each[row]) else self.all

    def to_record(self) -> dict[str, Any]:
        """Plain JSON; infinity is null."""
        return {
            "level": self.level, "each": [_null(r) for r in self.each], "all": _null(self.all),
            "cases": self.cases,
        }  # fmt: skip

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The inverse."""
        return cls(
            float(record["level"]), tuple(map(_inf, record["each"])), _inf(record["all"]),
            int(record["cases"]),
        )  # fmt: skip


def _null(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _inf(value: float | None) -> float:
    return math.inf if value is None else float(value)


def radii_of(errors: FloatArray, level: float = LEVEL) -> Radii:
    """From errors ``(N, L)`` of N cases, NaN where there is none."""
    each = tuple(conformal_radius(column, level) for column in errors.T)
    return Radii(level, each, conformal_radius(errors, level), len(errors))


@dataclass(frozen=True)
class Trust:
    """Raw confidence → probability that the error is at most ``tolerance``."""

    tolerance: float
    slope: float
    intercept: float

    def __call__(self, raw: ArrayLike) -> FloatArray:
        """Probabilities of raw confidences in 0…1; NaN stays NaN."""
        return np.asarray(_sigmoid(self.intercept + self.slope * _logit(raw)))

    def to_record(self) -> dict[str, float]:
        """Plain JSON."""
        return dict(vars(self))

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The inverse."""
        return cls(**{k: float(record[k]) for k in ("tolerance", "slope", "intercept")})


def learn_trust(raw: ArrayLike, errors: ArrayLike, tolerance: float) -> Trust:
    """Logistic regression of ``error <= tolerance`` on the logit of the raw confidence.

    The slope is never negative: more raw confidence is never less trust. A weak prior (slope and
    intercept normal about 0 with SD 10) keeps it finite where all errors are on one side.
    """
    from scipy.optimize import minimize

    x, e = _logit(raw).ravel(), np.asarray(errors, np.float64).ravel()
    known = np.isfinite(x) & np.isfinite(e)
    x, good = x[known], e[known] <= tolerance

    def loss(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        score = values[0] + values[1] * x
        cost = np.logaddexp(0, np.where(good, -score, score)).sum() + (values**2).sum() / 200
        miss = _sigmoid(score) - good
        slope = np.array([miss.sum(), (miss * x).sum()]) + values / 100
        return float(cost), slope

    found = minimize(loss, np.array([0.0, 1.0]), jac=True, bounds=[(None, None), (0, None)])
    return Trust(float(tolerance), slope=float(found.x[1]), intercept=float(found.x[0]))


def _logit(raw: ArrayLike) -> FloatArray:
    p = np.clip(np.asarray(raw, np.float64), _EDGE, 1 - _EDGE)
    return np.asarray(np.log(p / (1 - p)))


def _sigmoid(x: FloatArray) -> FloatArray:
    from scipy.special import expit

    return np.asarray(expit(x))
