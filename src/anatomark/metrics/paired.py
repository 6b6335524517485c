"""Is one run better than another? Wilcoxon signed-rank tests with Holm's correction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from anatomark.geometry import FloatArray

LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """A paired comparison of run ``second`` with run ``first`` (places in the list of runs).

    ``difference`` is the median of second minus first, ``p`` two-sided, ``p_holm`` corrected for
    all comparisons of the table; ``pairs`` counts the pairs, those without a difference included.
    """

    first: int
    second: int
    pairs: int
    difference: float
    p: float
    p_holm: float

    @property
    def significant(self) -> bool:
        """Whether the corrected p is below 0.05."""
        return self.p_holm < LEVEL


def wilcoxon(first: ArrayLike, second: ArrayLike) -> float:
    """Two-sided p of the signed-rank test on pairs; NaN pairs and zero differences are left out.

    Where no difference is left the two cannot be told apart: p is 1.
    """
    from scipy import stats

    apart = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    # Differences in the last binary digits are none, and must not break ties by chance.
    apart = np.round(apart[np.isfinite(apart)], 9)
    apart = apart[apart != 0]
    if not apart.size:
        return 1.0
    ties = len(np.unique(np.abs(apart))) < apart.size
    method = "exact" if apart.size <= 50 and not ties else "asymptotic"
    return float(stats.wilcoxon(apart, method=method).pvalue)


def holm(p_values: ArrayLike) -> FloatArray:
    """Holm's step-down correction of p values ``(K,)``, in their order; never above 1."""
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(steps, 1.0)
    return corrected


def compare_runs(values: Sequence[ArrayLike]) -> list[Comparison]:
    """Compare each run with the first, and each later one with the second, on paired values.

    ``values`` holds one ``(N,)`` array a run, the same cases in the same order. All tests are one
    family for Holm's correction.
    """
    runs = [np.asarray(v, np.float64) for v in values]
    pairs = [(0, k) for k in range(1, len(runs))] + [(1, k) for k in range(2, len(runs))]
    raw = [wilcoxon(runs[a], runs[b]) for a, b in pairs]
    tests = []
    for (a, b), p, corrected in zip(pairs, raw, holm(raw), strict=True):
        apart = runs[b] - runs[a]
        apart = apart[np.isfinite(apart)]
        median = float(np.median(apart)) if apart.size else float("nan")
        tests.append(Comparison(a, b, int(apart.size), median, p, float(corrected)))
    return tests


def marks_of(run: int, tests: Sequence[Comparison], signs: tuple[str, str] = ("*", "†")) -> str:
    """``*`` where a run differs from the first, ``†`` where it differs from the second."""
    return "".join(
        signs[t.first] for t in tests if t.second == run and t.significant and t.first < 2
    )
