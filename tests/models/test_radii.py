"""Radii hold what they promise, and confidence becomes a probability."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from anatomark.models.radii import (
    Radii,
    Trust,
    cases_needed,
    conformal_radius,
    learn_trust,
    radii_of,
)


@pytest.mark.parametrize(("level", "needed"), [(0.95, 19), (0.9, 9), (0.5, 1), (0.99, 99)])
def test_the_fewest_cases(level, needed):
    assert cases_needed(level) == needed
    assert conformal_radius(np.arange(needed), level) == needed - 1
    assert conformal_radius(np.arange(needed - 1), level) == np.inf


def test_the_rank_by_hand():
    # 39 errors 1…39 at 95 %: ⌈40 · 0.95⌉ = 38th smallest.
    errors = np.random.default_rng(0).permutation(np.arange(1.0, 40))
    assert conformal_radius(errors, 0.95) == 38
    assert conformal_radius([*errors, np.nan], 0.95) == 38
    assert conformal_radius([], 0.95) == np.inf


@given(st.integers(19, 60), st.sampled_from([0.8, 0.9, 0.95]))
def test_coverage_is_at_least_the_level(n, level):
    """Exactly ⌈(n+1)·level⌉/(n+1) for continuous errors: counted over a uniform order statistic."""
    rank = np.ceil((n + 1) * level - 1e-9)
    assert rank / (n + 1) >= level - 1e-9
    assert conformal_radius(np.arange(1, n + 1), level) == (rank if rank <= n else np.inf)


def test_coverage_of_fresh_errors():
    rng = np.random.default_rng(1)
    held = []
    for _ in range(2000):
        errors = rng.lognormal(size=41)
        held.append(errors[-1] <= conformal_radius(errors[:-1], 0.9))
    assert abs(np.mean(held) - 37 / 41) < 4 * np.sqrt(0.09 / 2000)  # ⌈41·0.9⌉/41


def test_a_landmark_with_too_few_cases_takes_the_radius_of_all():
    errors = np.full((20, 2), 1.0)
    errors[:, 0] = np.arange(20)
    errors[5:, 1] = np.nan
    radii = radii_of(errors)
    assert radii.each == (19.0, np.inf)
    assert radii.of(1) == radii.all == conformal_radius(errors)
    assert Radii.from_record(radii.to_record()) == radii


def test_trust_is_the_logistic_regression():
    rng = np.random.default_rng(2)
    raw = rng.uniform(0.05, 0.95, (200, 3))
    score = np.log(raw / (1 - raw))
    errors = np.where(rng.random(raw.shape) < 1 / (1 + np.exp(-(0.3 + 0.7 * score))), 1.0, 3.0)
    trust = learn_trust(raw, errors, 2.0)

    def loss(v):
        p = 1 / (1 + np.exp(-(v[0] + v[1] * score)))
        return -np.where(errors <= 2, np.log(p), np.log(1 - p)).sum() + (v**2).sum() / 200

    other = minimize(loss, [0, 0], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9}).x
    np.testing.assert_allclose([trust.intercept, trust.slope], other, atol=1e-3)
    assert trust(0.9) > trust(0.5)
    assert np.isnan(trust(np.nan))
    assert Trust.from_record(trust.to_record()) == trust


@pytest.mark.parametrize("side", [1.0, 3.0])
def test_errors_on_one_side_stay_finite(side):
    trust = learn_trust(np.full(20, 0.5), np.full(20, side), 2.0)
    assert (trust(0.5) > 0.8) == (side < 2)
    assert 0 < trust(0.5) < 1


def test_more_raw_confidence_is_never_less_trust():
    raw = np.linspace(0.1, 0.9, 50)
    assert learn_trust(raw, raw * 4, 2.0).slope == 0
