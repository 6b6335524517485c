"""Wilcoxon against scipy, enumeration and tables; Holm against worked examples."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from anatomark.metrics.paired import compare_runs, holm, marks_of, wilcoxon


def test_holm_by_hand():
    # Sorted: 0.01·4, 0.02·3, 0.03·2 -> 0.06, 0.04·1 raised to 0.06
    assert holm([0.01, 0.04, 0.03, 0.02]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert holm([0.6, 0.5]) == pytest.approx([1.0, 1.0])
    assert holm([0.02]) == pytest.approx([0.02])
    assert holm([]).shape == (0,)
    # Step 2 never undercuts step 1: 0.01·3 = 0.03, 0.011·2 = 0.022 -> 0.03
    assert holm([0.01, 0.011, 0.9]) == pytest.approx([0.03, 0.03, 0.9])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_the_raw_p_and_bonferroni(p):
    corrected = holm(p)
    assert (corrected >= np.array(p) - 1e-15).all()
    assert (corrected <= np.minimum(np.array(p) * len(p), 1) + 1e-15).all()
    order = np.argsort(p, kind="stable")
    assert (np.diff(corrected[order]) >= 0).all()


def test_wilcoxon_by_enumeration():
    """All sign patterns of the ranks, counted: the definition of the exact test."""
    apart = np.array([0.5, 1.5, -0.7, 2.0, 3.0, -0.1, 4.0])
    ranks = stats.rankdata(np.abs(apart))
    seen = min(ranks[apart > 0].sum(), ranks[apart < 0].sum())
    patterns = itertools.product([0, 1], repeat=len(apart))
    sums = [sum(r for r, s in zip(ranks, signs, strict=True) if s) for signs in patterns]
    p = min(1.0, 2 * np.mean([s <= seen for s in sums]))
    assert wilcoxon(np.zeros(7), apart) == pytest.approx(p)


def test_wilcoxon_from_a_textbook():
    """Six pairs that all move the same way: p = 2 / 2**6."""
    assert wilcoxon(np.zeros(6), np.arange(1.0, 7)) == pytest.approx(2 / 64)


@pytest.mark.parametrize("seed", range(3))
def test_wilcoxon_is_scipys(seed):
    rng = np.random.default_rng(seed)
    first = rng.normal(size=80)
    second = first + rng.normal(0.2, 1, 80)
    assert wilcoxon(first, second) == pytest.approx(stats.wilcoxon(first, second).pvalue)


def test_zeros_ties_and_gaps():
    assert wilcoxon([1, 2, 3], [1, 2, 3]) == 1.0
    assert wilcoxon([0.1 + 0.2], [0.3]) == 1.0  # a binary rounding is no difference
    assert wilcoxon([np.nan, 1], [1, np.nan]) == 1.0
    assert wilcoxon([], []) == 1.0
    apart = np.array([0, 0, 1, 1, -1, 2, 2, 2, 3.0])
    theirs = stats.wilcoxon(apart[apart != 0], method="asymptotic").pvalue
    assert wilcoxon(np.zeros(9), apart) == pytest.approx(theirs)
    gaps = np.array([np.nan, *apart])
    assert wilcoxon(np.zeros(10), gaps) == pytest.approx(theirs)


@given(st.integers(0, 10_000))
def test_wilcoxon_is_symmetric(seed):
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(2, 12)).round(1)
    assert wilcoxon(first, second) == pytest.approx(wilcoxon(second, first))


def test_marks_as_in_the_paper():
    rng = np.random.default_rng(0)
    base = rng.gamma(2, 1, 60)
    better = base - 0.5 + rng.normal(0, 0.05, 60)
    best = better - 0.5 + rng.normal(0, 0.05, 60)
    tests = compare_runs([base, better, best, base])
    assert [(t.first, t.second) for t in tests] == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3)]
    assert [marks_of(k, tests) for k in range(4)] == ["", "*", "*†", "†"]
    assert tests[0].difference == pytest.approx(float(np.median(better - base)))
    assert tests[2].p == tests[2].p_holm == 1.0
    assert tests[0].pairs == 60
