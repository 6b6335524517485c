"""What a model knows of itself: learnt from the right numbers, and it travels."""

from __future__ import annotations

import json

import numpy as np
import pytest

from anatomark.errors import ModelError
from anatomark.models.checks import Checks, grown, growth, learn_checks
from anatomark.models.conformal import fit_confidence, fit_radii
from anatomark.models.shapes import fit_shapes

RNG = np.random.default_rng(0)
ERRORS = RNG.gamma(2, 1, (30, 4))
ERRORS[3, 1] = np.nan
CONFIDENCE = np.where(np.isnan(ERRORS), np.nan, RNG.uniform(0.1, 0.9, (30, 4)))
SHAPES = RNG.normal(size=(4, 3)) * 30 + RNG.normal(size=(20, 4, 3))
STATISTICS = [{"noise": x, "view": 1.0} for x in RNG.uniform(0.1, 0.2, 20).tolist()]


def learnt(**changed):
    given = {
        "errors": ERRORS, "confidence": CONFIDENCE, "variance": np.full((30, 4), 4.0),
        "shape": fit_shapes(SHAPES), "statistics": STATISTICS,
    }  # fmt: skip
    return learn_checks(**(given | changed))


def test_each_part_is_learnt_from_its_cases():
    checks, known = learnt(), ERRORS[~np.isnan(ERRORS)]
    assert checks.radii == fit_radii(ERRORS, np.full((30, 4), 2.0))
    assert checks.trust == fit_confidence(CONFIDENCE, ERRORS, float(np.median(known)))
    common = (known**2).mean() / 4
    for row, factor in enumerate(checks.spread):
        own = ERRORS[~np.isnan(ERRORS[:, row]), row]
        # Ten cases of the common factor are added to those of the landmark.
        pseudo = (own**2).sum() + 10 * 4 * common
        assert factor == pytest.approx(pseudo / (4 * (len(own) + 10)))
    assert checks.shape.cases == 20
    assert checks.quality.cases == 20


def test_a_landmark_that_is_worse_than_it_says_gets_a_factor_of_its_own():
    rng = np.random.default_rng(1)
    errors = np.abs(rng.normal(size=(400, 2))) * [1.0, 3.0]
    factors = growth(np.ones((400, 2)), errors)
    assert factors == pytest.approx((errors**2).mean(0), rel=0.15)
    covariance = np.stack([np.eye(2), 2 * np.eye(2)])
    np.testing.assert_allclose(grown(covariance, factors)[1], 2 * factors[1] * np.eye(2))
    assert Checks.from_record({"spread": 2.5}).spread == (2.5,)  # as older models have it
    np.testing.assert_allclose(grown(covariance, (2.5,)), 2.5 * covariance)


def test_the_usual_spread_holds_all_but_one_in_a_hundred():
    rng = np.random.default_rng(2)
    variance = rng.gamma(4, 1, (500, 3)) * [1.0, 4.0, 9.0]
    checks = learn_checks(
        errors=np.sqrt(variance), confidence=None, variance=variance, shape=None, statistics=[]
    )
    spread = np.sqrt(variance * np.array(checks.spread))
    assert (spread > checks.usual).mean() == pytest.approx(0.01, abs=0.003)
    assert (spread > checks.usual).mean(0).max() < 0.03  # of no landmark much more
    few = learn_checks(
        errors=ERRORS[:5], confidence=None, variance=np.ones((5, 4)), shape=None, statistics=[]
    )
    assert few.usual is None


def test_without_anything_to_learn_from():
    nothing = learnt(errors=np.full((3, 4), np.nan), shape=None, statistics=STATISTICS[:5])
    assert nothing.to_record() == {}
    plain = learnt(confidence=None, variance=None)
    assert (plain.trust, plain.spread) == (None, None)
    assert learnt(errors=ERRORS * 0).trust is None  # no tolerance of nothing


def test_records_travel_and_foreign_ones_are_refused():
    record = json.loads(json.dumps(learnt().to_record(), allow_nan=False))
    again = Checks.from_record(record)
    assert again.to_record() == record
    assert (again.radii, again.trust, again.quality) == (
        learnt().radii, learnt().trust, learnt().quality,
    )  # fmt: skip
    for foreign in ({"likeness": {}}, record | {"radii": {"level": 0.95}}, {"shape": 3}):
        with pytest.raises(ModelError, match="train it again"):
            Checks.from_record(foreign)
