"""Numbers that describe errors: mean ± SD, quartiles, success rates, bootstrap intervals.

SD has ``ddof = 1``. A success detection rate (SDR) is the percentage of errors ``<=`` the
threshold, over the points that truth and prediction both have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from anatomark.errors import UsageError
from anatomark.geometry import FloatArray
from anatomark.metrics.errors import ErrorTable, Presence

THRESHOLDS = (2.0, 2.5, 3.0, 4.0)
NAN2 = (float("nan"), float("nan"))
# An error of 2 mm is within 2 mm also when its coordinates 819.6 and 821.6 are binary numbers.
_ROUNDING = 1e-9
_DRAWS_AT_ONCE = 200  # bounds the memory for cohorts of many thousands


@dataclass(frozen=True)
class Summary:
    """What a set of errors comes to, in the unit of the errors; NaN where there is none.

    ``within`` holds the SDR in percent for each of ``thresholds``. ``mean_ci`` and ``within_ci``
    are 95 % bootstrap intervals over cases, NaN where there are fewer than two cases.
    """

    count: int
    mean: float
    sd: float
    median: float
    q1: float
    q3: float
    largest: float
    thresholds: tuple[float, ...]
    within: tuple[float, ...]
    mean_ci: tuple[float, float] = NAN2
    within_ci: tuple[tuple[float, float], ...] = ()

    @property
    def iqr(self) -> float:
        """Distance between the quartiles."""
        return self.q3 - self.q1


@dataclass(frozen=True)
class Group:
    """A row of a table: some points under a name, their errors and their presence."""

    name: str
    summary: Summary
    presence: Presence


def check_thresholds(thresholds: Sequence[float]) -> tuple[float, ...]:
    """Sorted, each once; raises unless all are positive and finite."""
    if not thresholds or any(not 0 < t < float("inf") for t in thresholds):
        listed = ", ".join(f"{t:g}" for t in thresholds)
        raise UsageError(f"thresholds must be positive, not {listed!r}", fix="as 2,2.5,3,4")
    return tuple(sorted({float(t) for t in thresholds}))


def is_within(errors: ArrayLike, threshold: float) -> FloatArray:
    """1 where the error is at most the threshold, else 0 (also where there is no error)."""
    return (np.asarray(errors, np.float64) <= threshold + _ROUNDING).astype(np.float64)


def summarise(
    errors: ArrayLike, thresholds: Sequence[float] = THRESHOLDS, *, draws: int = 0, seed: int = 0
) -> Summary:
    """Summarise errors ``(N,)`` or ``(N, L)`` (first axis: cases), leaving out NaN.

    ``draws`` bootstrap samples of the cases give the intervals; 0 gives none.
    """
    table = np.asarray(errors, np.float64)
    table = table.reshape(len(table), -1)
    known = table[np.isfinite(table)]
    if not known.size:
        return _nothing(tuple(thresholds))
    q1, median, q3 = (float(q) for q in np.percentile(known, [25, 50, 75]))
    hits = np.stack([is_within(table, t).sum(axis=1) for t in thresholds], axis=1)
    sums = np.column_stack([np.nansum(table, axis=1), 100 * hits])
    counts = np.isfinite(table).sum(axis=1).astype(np.float64)
    intervals = bootstrap(sums, counts, draws=draws, seed=seed) if draws else ()
    return Summary(
        count=known.size,
        mean=float(known.mean()),
        sd=float(known.std(ddof=1)) if known.size > 1 else float("nan"),
        median=median,
        q1=q1,
        q3=q3,
        largest=float(known.max()),
        thresholds=tuple(thresholds),
        within=tuple(float(w) for w in 100 * hits.sum(axis=0) / known.size),
        mean_ci=intervals[0] if intervals else NAN2,
        within_ci=tuple(intervals[1:]) or (NAN2,) * len(thresholds),
    )


def _nothing(thresholds: tuple[float, ...]) -> Summary:
    nan, many = float("nan"), len(thresholds)
    return Summary(0, nan, nan, nan, nan, nan, nan, thresholds, (nan,) * many, NAN2, (NAN2,) * many)


def bootstrap(
    sums: FloatArray, counts: FloatArray, *, draws: int = 2000, seed: int = 0, level: float = 0.95
) -> list[tuple[float, float]]:
    """Percentile intervals of ``sums.sum(0) / counts.sum()`` when cases are drawn anew.

    ``sums`` is ``(N, K)``, ``counts`` ``(N,)``. Points of one case are not independent, so whole
    cases are drawn. Fewer than two cases with data have no interval.
    """
    held = counts > 0
    if held.sum() < 2:
        return [NAN2] * sums.shape[1]
    sums, counts = sums[held], counts[held]
    means = np.concatenate(
        [(w @ sums) / (w @ counts)[:, None] for w in _weights(len(counts), draws, seed)]
    )
    low, high = np.percentile(means, [50 * (1 - level), 50 * (1 + level)], axis=0)
    return [(float(a), float(b)) for a, b in zip(low, high, strict=True)]


def _weights(cases: int, draws: int, seed: int) -> Iterator[FloatArray]:
    """How often each case is drawn, ``(some draws, cases)`` at a time."""
    rng = np.random.default_rng(seed)
    for start in range(0, draws, _DRAWS_AT_ONCE):
        size = min(_DRAWS_AT_ONCE, draws - start)
        drawn = rng.integers(0, cases, (size, cases)) + cases * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * cases)
        yield counts.reshape(size, cases).astype(np.float64)


# -- tables of groups ----------------------------------------------------------------------------


def pooled(
    table: ErrorTable, thresholds: Sequence[float], *, draws: int = 2000, seed: int = 0
) -> Group:
    """All points together."""
    summary = summarise(table.errors, thresholds, draws=draws, seed=seed)
    return Group("all", summary, table.presence())


def per_landmark(
    table: ErrorTable, thresholds: Sequence[float], *, draws: int = 2000, seed: int = 0
) -> list[Group]:
    """One group a landmark, over the cases."""
    return [
        Group(
            name,
            summarise(table.errors[:, k], thresholds, draws=draws, seed=seed),
            table.presence(landmarks=[k]),
        )
        for k, name in enumerate(table.names)
    ]


def per_case(table: ErrorTable, thresholds: Sequence[float]) -> list[Group]:
    """One group a case, over its landmarks."""
    return [
        Group(case, summarise(table.errors[[i]], thresholds), table.presence(cases=[i]))
        for i, case in enumerate(table.cases)
    ]


def per_domain(
    table: ErrorTable, thresholds: Sequence[float], *, draws: int = 2000, seed: int = 0
) -> list[Group]:
    """One group a domain (body part or modality), in order of appearance."""
    groups = []
    for domain in dict.fromkeys(table.domains):
        rows = [i for i, d in enumerate(table.domains) if d == domain]
        summary = summarise(table.errors[rows], thresholds, draws=draws, seed=seed)
        groups.append(Group(domain, summary, table.presence(cases=rows)))
    return groups
