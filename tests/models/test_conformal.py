"""Radii hold what they promise on fresh cases; a calibrated confidence is a frequency."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.optimize import minimize

from anatomark.errors import UsageError
from anatomark.models.conformal import (
    ConfidenceMap,
    Radii,
    conformal_radii,
    conformal_radius,
    fit_confidence,
    fit_radii,
    needed,
)

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(("level", "count"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99)])
def test_the_fewest_cases_by_hand(level, count):
    """With n errors the largest one holds a fresh error with probability n / (n + 1)."""
    assert needed(level) == count
    assert conformal_radius(np.arange(count), level) == count - 1
    assert conformal_radius(np.arange(count - 1), level) == INF


def test_the_rank_by_hand():
    errors = np.random.default_rng(0).permutation(np.arange(1.0, 40))  # n = 39: ⌈40·0.95⌉ = 38
    assert conformal_radius(errors) == 38
    assert conformal_radius(np.append(errors, [NAN, NAN])) == 38
    assert conformal_radius(np.append(errors[:-2], [INF, INF])) == INF
    assert conformal_radius([], 0.5) == INF


def test_ties():
    assert conformal_radius([1.0] * 30 + [2.0] * 30, 0.5) == 2.0  # the 31st of 61·0.5 = 30.5
    assert conformal_radius([3.0] * 25) == 3.0


def test_each_landmark_has_its_own():
    table = np.column_stack([np.arange(20.0), np.full(20, NAN), np.arange(20.0) * 2])
    table[3:6, 2] = NAN
    assert conformal_radii(table, 0.9).tolist() == [18.0, INF, 38.0]  # 19th of 20; 17th of 17
    with pytest.raises(UsageError, match="no table"):
        conformal_radii(np.arange(20.0))
    for level in (0, 1, 95, NAN):
        with pytest.raises(UsageError, match="no probability"):
            conformal_radius([1.0], level)


@pytest.mark.parametrize(("n", "level"), [(19, 0.95), (24, 0.9), (40, 0.8), (99, 0.95)])
def test_coverage_of_fresh_errors(n, level):
    """The exact probability is ⌈(n + 1)·level⌉ / (n + 1) for errors without ties."""
    rng, draws = np.random.default_rng(n), 4000
    errors = rng.gamma(1.5, 2.0, (draws, n + 1)) * rng.lognormal(0, 1, (draws, 1))
    held = [e[-1] <= conformal_radius(e[:-1], level) for e in errors]
    exact = math.ceil((n + 1) * level - 1e-9) / (n + 1)
    assert exact >= level
    assert abs(np.mean(held) - exact) < 4 * math.sqrt(exact * (1 - exact) / draws)


def test_coverage_with_ties_is_never_lower():
    rng = np.random.default_rng(5)
    errors = np.round(rng.gamma(2, 1, (3000, 31)))
    held = np.mean([e[-1] <= conformal_radius(e[:-1], 0.9) for e in errors])
    assert held >= 0.9


def test_scaled_radii_follow_the_spread():
    rng, draws = np.random.default_rng(6), 1500
    held, tight, sizes = [], [], []
    for _ in range(draws):
        spread = rng.lognormal(0, 0.8, (41, 2))
        errors = spread * np.abs(rng.normal(size=(41, 2))) * 1.7
        radii = fit_radii(errors[:-1], spread[:-1], level=0.9)
        held.append(errors[-1] <= radii.of(spread[-1]))
        tight.append(errors[-1] <= radii.of())
        sizes.append([radii.of(spread[-1]).mean(), radii.of().mean()])
    for hits in (held, tight):
        assert abs(np.mean(hits) - 37 / 41) < 4 * math.sqrt(0.09 / draws)
    scaled, absolute = np.mean(sizes, axis=0)
    assert scaled < absolute  # a spread that says something makes smaller radii


def test_a_spread_of_zero_or_none_is_survived():
    errors = np.ones((20, 3))
    spread = np.column_stack([np.zeros(20), np.full(20, NAN), np.full(20, 2.0)])
    radii = fit_radii(errors, spread)
    assert radii.of([1.0, 1.0, 1.0]).tolist() == [1e6, INF, 0.5]
    assert radii.each == (1.0, 1.0, 1.0)
    assert fit_radii(errors).factors == (INF, INF, INF)
    assert fit_radii(errors).cases == (20, 20, 20)


def test_a_landmark_with_too_few_cases_takes_the_radius_of_all():
    errors = np.full((30, 2), 1.0)
    errors[:, 0] = np.arange(30)
    errors[10:, 1] = NAN
    radii = fit_radii(errors)
    assert radii.each == (29.0, INF)
    assert radii.cases == (30, 10)
    assert radii.all == 28.0  # the 39th (⌈41 · 0.95⌉) of 0…29 and ten ones
    assert radii.of().tolist() == [29.0, 28.0]
    few = fit_radii(errors[:5])
    assert few.of().tolist() == [INF, INF]  # 10 errors are too few even together


def test_records_are_plain_json():
    radii = Radii(0.95, (1.5, INF), INF, (INF, 2.0), (20, 3))
    written = json.dumps(radii.to_record(), allow_nan=False)
    assert Radii.from_record(json.loads(written)) == radii
    trust = ConfidenceMap(2.0, 0.5, -1.0)
    assert ConfidenceMap.from_record(json.loads(json.dumps(trust.to_record()))) == trust
    nothing = fit_confidence([NAN], [1.0], 2.0)
    assert nothing.to_record() == {"tolerance_mm": 2.0, "slope": None, "intercept": None}
    assert np.isnan(ConfidenceMap.from_record(nothing.to_record())([0.1, 0.9])).all()


# -- confidence ----------------------------------------------------------------------------------


def drawn(count, rng, slope=0.6, intercept=0.8):
    """Raw confidences that are overconfident in a known way, and errors about 2 mm."""
    raw = rng.beta(4, 1.5, count)
    chance = 1 / (1 + np.exp(-(intercept + slope * np.log(raw / (1 - raw)))))
    errors = np.where(rng.random(count) < chance, rng.uniform(0, 2, count), 5.0)
    return raw, errors, chance


def test_against_the_plain_likelihood():
    """The prior is weak: of 4000 cases nothing of it can be seen."""
    raw, errors, _ = drawn(4000, np.random.default_rng(0))
    x, good = np.log(raw / (1 - raw)), errors <= 2

    def loss(v):
        p = 1 / (1 + np.exp(-(v[0] + v[1] * x)))
        return -np.where(good, np.log(p), np.log(1 - p)).sum()

    plain = minimize(loss, [0, 0], method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-9})
    fitted = fit_confidence(raw, errors, 2.0)
    assert (fitted.intercept, fitted.slope) == pytest.approx(plain.x, abs=2e-3)


def test_against_the_penalised_likelihood():
    """Few cases: the minimum of likelihood and prior, found by another optimiser."""
    raw, errors, _ = drawn(25, np.random.default_rng(1))
    x, good = np.log(raw / (1 - raw)), errors <= 2
    z = (x - x.mean()) / x.std()

    def loss(v):
        p = 1 / (1 + np.exp(-(v[0] + v[1] * z)))
        return -np.where(good, np.log(p), np.log(1 - p)).sum() + (v**2).sum() / (2 * 2.5**2)

    best = minimize(loss, [0, 0], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-11}).x
    expected = 1 / (1 + np.exp(-(best[0] + best[1] * z)))
    np.testing.assert_allclose(fit_confidence(raw, errors, 2.0)(raw), expected, atol=1e-6)


def test_a_calibrated_confidence_is_a_frequency():
    rng = np.random.default_rng(2)
    raw, errors, _ = drawn(600, rng)
    fitted = fit_confidence(raw, errors, 2.0)
    fresh, errors, chance = drawn(20000, rng)
    said = fitted(fresh)
    assert np.abs(said - chance).max() < 0.12
    for low in np.arange(0.4, 1.0, 0.1):
        bin_ = (said >= low) & (said < low + 0.1)
        if bin_.sum() > 300:
            assert abs((errors[bin_] <= 2).mean() - said[bin_].mean()) < 0.06


@pytest.mark.parametrize("error", [0.5, 9.0, INF])
@pytest.mark.parametrize("count", [1, 5, 40])
def test_all_on_one_side(error, count):
    """The more cases, the surer; never certain."""
    raw = np.linspace(0.2, 0.99, count)
    said = fit_confidence(raw, np.full(count, error), 2.0)(raw)
    side = said if error < 2 else 1 - said
    assert (side > 0.5).all() or count == 1
    assert (side < 1).all()
    if count == 40:
        assert side.mean() > 0.95


def test_more_raw_confidence_is_never_less():
    raw = np.linspace(0.05, 0.95, 60)
    fitted = fit_confidence(raw, raw * 4, 2.0)  # the surer, the worse
    assert fitted.slope == 0
    assert fitted(0.3) == pytest.approx(0.52, abs=0.03)  # the base rate
    rng = np.random.default_rng(3)
    for _ in range(30):
        fitted = fit_confidence(rng.random(12), rng.gamma(2, 1, 12), 2.0)
        assert (np.diff(fitted(np.linspace(0, 1, 50))) >= 0).all()


def test_edges_and_gaps():
    raw = np.array([0.0, 1.0, NAN, 0.5, 0.7])
    errors = np.array([9.0, 1.0, 1.0, NAN, 2.0])
    fitted = fit_confidence(raw, errors, 2.0)
    assert fitted == fit_confidence(raw[[0, 1, 4]], errors[[0, 1, 4]], 2.0)
    assert np.isfinite(fitted([0.0, 1.0])).all()
    assert np.isnan(fitted(NAN))
    assert fitted(np.full((2, 3), 0.5)).shape == (2, 3)
    same = fit_confidence(np.full(30, 0.9), np.r_[np.zeros(20), np.full(10, 9.0)], 2.0)
    assert same(0.9) == pytest.approx(2 / 3, abs=0.01)
    assert fit_confidence([0.5, 0.6], [819.6 - 817.6, 2.0], 2.0)(0.5) > 0.5  # 2.0000000000000001
    with pytest.raises(UsageError, match="not positive"):
        fit_confidence([0.5], [1.0], 0.0)
