"""Distances between observers, worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from anatomark.data import Landmarks
from anatomark.errors import UsageError
from anatomark.metrics.observers import reference_lines

NAMES = ("tip", "base")


def reading(tip, base=(0.0, 0.0)):
    return Landmarks(NAMES, [tip, base])


def test_two_observers():
    case = {"anna": reading([0, 0]), "bert": reading([3, 4], [0, 1])}
    lines = reference_lines([case], NAMES)
    assert lines["inter"].per_landmark == {"tip": 5.0, "base": 1.0}
    assert lines["inter"].mean == 3.0
    assert lines["mean"].mean == 1.5  # each is half way from the mean of two
    assert "intra" not in lines


def test_three_observers_are_three_pairs():
    case = {"a": reading([0, 0]), "b": reading([3, 0]), "c": reading([0, 4])}
    lines = reference_lines([case], NAMES)
    assert lines["inter"].per_landmark["tip"] == pytest.approx((3 + 4 + 5) / 3)
    centre = np.array([1, 4 / 3])
    expected = np.mean([math.dist(p, centre) for p in ((0, 0), (3, 0), (0, 4))])
    assert lines["mean"].per_landmark["tip"] == pytest.approx(expected)


def test_one_person_twice_is_intra_and_not_inter():
    case = {"a": reading([0, 0]), "a_again": reading([0, 2]), "b": reading([6, 0])}
    lines = reference_lines([case], NAMES, repeats=[("a", "a_again")])
    assert lines["intra"].per_landmark["tip"] == 2.0
    assert lines["inter"].per_landmark["tip"] == 6.0
    with pytest.raises(UsageError, match="no observer 'eve'; there is a, a_again, b"):
        reference_lines([case], NAMES, repeats=[("a", "eve")])


def test_a_point_that_one_did_not_see_has_no_distance():
    case = {"a": reading([0, 0]), "b": reading([math.nan] * 2, [0, 1])}
    line = reference_lines([case], NAMES)["inter"]
    assert math.isnan(line.per_landmark["tip"])
    assert line.mean == 1.0
    assert reference_lines([{}, {"a": reading([0, 0])}], NAMES) == {}
