"""Errors of matches against a loop and numbers by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from anatomark.correspondence import Matches
from anatomark.maps import Affine, Gaussians
from anatomark.matching.errors import error_rows, match_errors, percent_within, summarise


def test_errors_are_measured_in_the_fixed_image():
    """A map that doubles: 3 mm beside the place in the moving image are 1.5 mm in the fixed one."""
    double = Affine(2 * np.eye(2), [10.0, 0.0])
    matches = Matches([[1.0, 2.0], [5.0, 5.0]], [[12.0, 4.0], [20.0, 13.0]])
    np.testing.assert_allclose(match_errors(matches, double), [0.0, 1.5])


@pytest.mark.parametrize("dimension", [2, 3])
def test_errors_against_a_loop(dimension):
    rng = np.random.default_rng(0)
    pull = Gaussians(rng.uniform(0, 50, (4, dimension)), rng.normal(size=(4, dimension)), 12.0)
    fixed, moving = rng.uniform(0, 50, (2, 30, dimension))
    found = match_errors(Matches(fixed, moving), pull.inverse())
    for row in range(30):
        back = [moving[row][d] for d in range(dimension)]
        for centre, shift in zip(pull.centres_mm, pull.shifts_mm, strict=True):
            weight = math.exp(-sum((moving[row] - centre) ** 2) / (2 * 12.0**2))
            back = [b + s * weight for b, s in zip(back, shift, strict=True)]
        assert found[row] == pytest.approx(math.dist(back, fixed[row]), abs=1e-9)


def test_a_summary_by_hand():
    errors = [np.array([0.0, 1.0, 2.0]), np.zeros(0), np.array([4.0, 65.0])]
    summary = summarise(errors)
    assert (summary.pairs, summary.count) == (3, 5)
    assert summary.matches == (2, 1, 2.5)  # of 3, 0 and 2
    assert summary.errors == (2, 1, 4)
    assert summary.within == (40, 60, 80, 80)  # the limits belong to it
    assert summary.wild == pytest.approx(20)
    heads, rows = error_rows({"sift": summary})
    assert heads == [
        "matcher", "pairs", "matches a pair", "error (mm)", "≤ 1 mm (%)", "≤ 2 mm (%)",
        "≤ 4 mm (%)", "≤ 8 mm (%)", "> 64 mm (%)",
    ]  # fmt: skip
    assert rows == [
        ["sift", "3", "2 (1–2)", "2.00 (1.00–4.00)", "40.0", "60.0", "80.0", "80.0", "20.0"]
    ]


def test_no_matches_at_all_are_no_numbers():
    summary = summarise([np.zeros(0)], unit="px")
    assert summary.matches == (0, 0, 0)
    assert np.isnan([*summary.errors, *summary.within, summary.wild]).all()
    assert error_rows({"none": summary})[1][0][3:] == ["–"] * 6
    assert error_rows({}) == (["matcher"], [])


def test_a_cumulative_curve_against_counting():
    errors = np.random.default_rng(0).exponential(3, 101)
    at = np.array([0.5, 1.0, 3.0, float(errors[7])])
    by_hand = [100 * sum(1 for e in errors if e <= x) / 101 for x in at]
    np.testing.assert_allclose(percent_within(errors, at), by_hand)
