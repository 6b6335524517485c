"""Spread against error: rank correlation and coverage, on points made to measure."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from anatomark import Landmarks
from anatomark.metrics.errors import measure
from anatomark.metrics.sureness import sureness

NAMES = ("a", "b", "c", "d")


def drawn(cases, *, factor=1.0, seed=0, dimension=3):
    """Predictions whose errors are drawn from the covariances that they carry."""
    rng = np.random.default_rng(seed)
    truth, found = {}, {}
    for case in range(cases):
        root = rng.normal(size=(4, dimension, dimension)) * rng.uniform(0.5, 4, (4, 1, 1))
        covariance = root @ root.transpose(0, 2, 1) + 0.05 * np.eye(dimension)
        points = rng.normal(size=(4, dimension)) * 50
        noise = np.array([rng.multivariate_normal(np.zeros(dimension), c) for c in covariance])
        truth[f"case{case}"] = Landmarks(NAMES, points)
        found[f"case{case}"] = Landmarks(NAMES, points + noise, covariance_mm2=covariance * factor)
    return truth, found


@pytest.mark.parametrize("dimension", [2, 3])
def test_honest_points_lie_in_their_ellipse_as_often_as_it_says(dimension):
    truth, found = drawn(300, dimension=dimension)
    said = sureness(measure(truth, found), found)
    assert said.count == 1200
    assert said.within == pytest.approx(95, abs=2)
    spreads = [np.sqrt(np.trace(c)) for m in found.values() for c in m.covariance_mm2]
    errors = [
        float(np.linalg.norm(e)) for case in truth
        for e in found[case].points_mm - truth[case].points_mm
    ]  # fmt: skip
    assert said.spearman == pytest.approx(stats.spearmanr(spreads, errors).statistic)
    assert said.spearman > 0.5
    proud = drawn(300, factor=0.1, dimension=dimension)
    assert sureness(measure(*proud), proud[1]).within < 60


def test_without_covariances_nothing_is_said():
    truth, found = drawn(3)
    plain = {case: Landmarks(NAMES, marks.points_mm) for case, marks in found.items()}
    assert sureness(measure(truth, plain), plain) is None


def test_all_equally_sure_have_no_rank():
    truth, found = drawn(5)
    same = {
        case: Landmarks(NAMES, m.points_mm, covariance_mm2=np.tile(np.eye(3), (4, 1, 1)))
        for case, m in found.items()
    }
    said = sureness(measure(truth, same), same)
    assert np.isnan(said.spearman)
    assert said.to_record()["spearman"] is None
    assert "correlation none" in said.sentence()
