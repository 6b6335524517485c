"""Statistics against hand-computed numbers, the standard library and scipy."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from anatomark.data import Landmarks
from anatomark.errors import UsageError
from anatomark.metrics.errors import measure
from anatomark.metrics.statistics import (
    bootstrap,
    check_thresholds,
    per_case,
    per_domain,
    per_landmark,
    pooled,
    summarise,
)

NAN = math.nan


def test_by_hand():
    s = summarise([1.0, 2.0, 3.0, 4.0, NAN], (2, 2.5, 3, 4))
    assert (s.count, s.mean, s.median, s.q1, s.q3, s.iqr, s.largest) == (
        4, 2.5, 2.5, 1.75, 3.25, 1.5, 4.0,
    )  # fmt: skip
    assert s.sd == pytest.approx(math.sqrt(5 / 3))  # ddof 1
    assert s.within == (50.0, 50.0, 75.0, 100.0)  # an error of exactly 2 is within 2


def test_rounding_does_not_push_an_error_over_its_threshold():
    error = abs(819.6 - 821.7) - 0.1  # 2.0000000000000004 or so
    assert error != 2.0
    assert summarise([error], (2,)).within == (100.0,)
    assert summarise([2.000001], (2,)).within == (0.0,)


def test_nothing_gives_no_number():
    s = summarise([[NAN, NAN]], (2,))
    assert s.count == 0
    assert math.isnan(s.mean)
    assert math.isnan(s.within[0])
    one = summarise([3.0], (2,), draws=50)
    assert one.mean == 3.0
    assert math.isnan(one.sd)
    assert math.isnan(one.mean_ci[0])  # one case says nothing about other cases


@given(st.lists(st.floats(0, 100), min_size=2, max_size=40), st.floats(0.1, 50))
def test_against_the_standard_library(errors, threshold):
    s = summarise(errors, (threshold,))
    assert s.mean == pytest.approx(statistics.fmean(errors), abs=1e-9)
    assert s.sd == pytest.approx(statistics.stdev(errors), abs=1e-7)
    assert s.median == pytest.approx(statistics.median(errors))
    clear = [e for e in errors if abs(e - threshold) > 1e-6]
    if len(clear) == len(errors):
        assert s.within[0] == pytest.approx(100 * sum(e <= threshold for e in errors) / len(errors))
    quarters = statistics.quantiles(errors, n=4, method="inclusive")
    assert (s.q1, s.q3) == pytest.approx((quarters[0], quarters[2]))


def test_the_bootstrap_is_that_of_a_naive_loop():
    """The same cases drawn, one by one."""
    rng = np.random.default_rng(3)
    errors = rng.gamma(2, 1, (9, 4))
    errors[rng.random((9, 4)) < 0.2] = NAN
    sums, counts = np.nansum(errors, axis=1, keepdims=True), np.isfinite(errors).sum(axis=1) * 1.0
    [(low, high)] = bootstrap(sums, counts, draws=350, seed=7)
    again = np.random.default_rng(7)
    means = []
    for size in (200, 150):
        for cases in again.integers(0, 9, (size, 9)):
            drawn = [e for i in cases for e in errors[i]]
            means.append(statistics.fmean([e for e in drawn if not math.isnan(e)]))
    assert (low, high) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])), rel=1e-12)


def test_the_bootstrap_agrees_with_scipy():
    errors = np.random.default_rng(0).gamma(2, 1, 60)
    ours = summarise(errors, (2,), draws=6000).mean_ci
    theirs = stats.bootstrap(
        (errors,), np.mean, n_resamples=6000, method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.03)


def test_the_bootstrap_draws_cases_not_points():
    """Points of a case that are all alike say no more than one of them."""
    one = np.random.default_rng(0).gamma(2, 1, (20, 1))
    single, repeated = (summarise(np.repeat(one, n, axis=1), (2,), draws=500) for n in (1, 30))
    assert repeated.mean_ci == pytest.approx(single.mean_ci)
    assert repeated.within_ci == single.within_ci


def test_a_seed_gives_the_same_interval():
    errors = np.random.default_rng(0).gamma(2, 1, (20, 3))
    first, again, other = (summarise(errors, (2,), draws=400, seed=s) for s in (1, 1, 2))
    assert first == again
    assert first.mean_ci != other.mean_ci
    assert first.mean_ci[0] < first.mean < first.mean_ci[1]


def table_of_two_domains():
    truth = {
        "a": Landmarks(["x", "y"], [[0, 0], [0, 0]]),
        "b": Landmarks(["x", "y"], [[0, 0], [NAN, NAN]]),
        "c": Landmarks(["z"], [[0, 0]]),
    }
    found = {
        "a": Landmarks(["x", "y"], [[0, 1], [0, 2]]),
        "b": Landmarks(["x", "y"], [[0, 4], [9, 9]]),
        "c": Landmarks(["z"], [[0, 7]]),
    }
    return measure(truth, found, domains={"a": "one", "b": "one", "c": "two"})


def test_groups():
    table = table_of_two_domains()
    assert pooled(table, (2,)).summary.mean == 14 / 4
    assert [(g.name, g.summary.mean) for g in per_landmark(table, (2,))] == [
        ("x", 2.5), ("y", 2.0), ("z", 7.0),
    ]  # fmt: skip
    assert [(g.name, g.summary.mean) for g in per_case(table, (2,))] == [
        ("a", 1.5), ("b", 4.0), ("c", 7.0),
    ]  # fmt: skip
    domains = per_domain(table, (2,))
    assert [(g.name, g.summary.count) for g in domains] == [("one", 3), ("two", 1)]
    assert domains[0].summary.mean == pytest.approx(7 / 3)
    assert domains[0].presence.specificity == 0.0
    assert math.isnan(domains[1].presence.specificity)


def test_thresholds():
    assert check_thresholds([4, 2, 2.5, 2]) == (2.0, 2.5, 4.0)
    for wrong in ([], [0], [-1, 2], [NAN], [math.inf]):
        with pytest.raises(UsageError, match="must be positive"):
            check_thresholds(wrong)
