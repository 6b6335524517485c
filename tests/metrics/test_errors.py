"""Radial errors and presence against hand-computed numbers and naive loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anatomark.data import Landmarks
from anatomark.errors import LandmarkError, UsageError
from anatomark.metrics.errors import ErrorTable, digest, measure

NAN = math.nan


def marks(unit="mm", **points):
    size = max(len(p) for p in points.values() if p is not None)
    rows = [[NAN] * size if p is None else p for p in points.values()]
    return Landmarks(points, rows, unit=unit)


def test_a_triangle_of_3_4_5():
    table = measure({"k": marks(tip=[1, 1], base=[0, 0])}, {"k": marks(base=[0, 2], tip=[4, 5])})
    assert table.names == ("tip", "base")
    assert table.errors.tolist() == [[5.0, 2.0]]
    assert table.offsets.tolist() == [[[3.0, 4.0], [0.0, 2.0]]]
    assert table.unit == "mm"


def test_absent_points_have_no_error_and_are_counted():
    truth = {"k": marks(a=[0, 0], b=[1, 1], c=None, d=None)}
    found = {"k": marks(a=[0, 0], b=None, c=[2, 2], d=None)}
    table = measure(truth, found)
    np.testing.assert_array_equal(table.errors, [[0.0, NAN, NAN, NAN]])
    assert table.states() == [["both", "missed", "invented", "absent"]]
    presence = table.presence()
    assert (presence.both, presence.missed, presence.invented, presence.absent) == (1, 1, 1, 1)
    assert presence.sensitivity == presence.specificity == 0.5
    assert table.presence(landmarks=[0]).sensitivity == 1.0
    assert math.isnan(table.presence(landmarks=[0]).specificity)


def test_a_name_that_the_prediction_lacks_is_missed():
    table = measure({"k": marks(a=[0, 0], b=[1, 1])}, {"k": marks(b=[1, 1], alien=[5, 5])})
    assert table.states() == [["missed", "both"]]
    assert table.names == ("a", "b")


def test_domains_do_not_ask_for_each_others_landmarks():
    truth = {"h": marks(nose=[0, 0]), "c": marks(lung=[0, 0], shared=[1, 1])}
    table = measure(truth, truth, domains={"h": "head", "c": "chest"})
    assert table.states() == [["both", "", ""], ["", "both", "both"]]
    assert table.domains == ("head", "chest")
    assert table.presence().absent == 0


@given(st.integers(0, 2**32 - 1), st.integers(2, 3))
def test_against_a_naive_loop(seed, dimension):
    rng = np.random.default_rng(seed)
    names = [f"p{k}" for k in range(5)]

    def some():
        points = rng.normal(size=(5, dimension))
        points[rng.random(5) < 0.3] = NAN
        return Landmarks(names, points)

    truth, found = ({f"c{i}": some() for i in range(4)} for _ in range(2))
    table = measure(truth, found)
    counts = {"both": 0, "missed": 0, "invented": 0, "absent": 0}
    for i, case in enumerate(truth):
        for k, name in enumerate(names):
            a, b = truth[case][name].tolist(), found[case][name].tolist()
            here, there = not math.isnan(a[0]), not math.isnan(b[0])
            counts[{(1, 1): "both", (1, 0): "missed", (0, 1): "invented", (0, 0): "absent"}[
                here, there]] += 1  # fmt: skip
            if here and there:
                assert table.errors[i, k] == pytest.approx(math.dist(a, b), rel=1e-12)
            else:
                assert math.isnan(table.errors[i, k])
    presence = table.presence()
    assert counts == {key: getattr(presence, key) for key in counts}


def test_select_and_digest():
    truth = {"a": marks(x=[0, 0], y=[1, 0]), "b": marks(x=[2, 0], y=None)}
    found = {"a": marks(x=[0, 1], y=[1, 2]), "b": marks(x=[2, 3], y=None)}
    table = measure(truth, found).select([1, 0], [1, 0])
    assert table.cases == ("b", "a")
    np.testing.assert_array_equal(table.errors, [[NAN, 3.0], [2.0, 1.0]])
    assert table.digests == (digest(truth["b"]), digest(truth["a"]))
    assert digest(marks(x=[0, 0], y=[1, 0])) == digest(marks(y=[1, 0], x=[-0.0, 1e-9]))
    assert digest(marks(x=[0, 0])) != digest(marks(x=[0, 0.001]))


@pytest.mark.parametrize(
    ("found", "error", "words"),
    [
        ({"other": marks(a=[0, 0])}, UsageError, "no case of the prediction"),
        ({"k": marks(a=[0, 0], unit="px")}, LandmarkError, "truth is in mm, the prediction in px"),
        ({"k": marks(z=[0, 0])}, LandmarkError, "no name is in both"),
        ({"k": marks(a=[0, 0, 0])}, LandmarkError, "truth is 2D, the prediction 3D"),
    ],
)
def test_what_cannot_be_measured(found, error, words):
    with pytest.raises(error, match=words):
        measure({"k": marks(a=[0, 0])}, found)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (marks(x=[0, 0], unit="px"), "in mm for some cases and in px"),
        (marks(x=[0, 0, 0]), "mixes 2D and 3D"),
    ],
)
def test_truth_that_does_not_fit_together(other, words):
    both = {"a": marks(x=[0, 0]), "b": other}
    with pytest.raises(LandmarkError, match=words):
        measure(both, both)


def test_a_table_checks_its_shape():
    flags = np.ones((1, 2), bool)
    with pytest.raises(ValueError, match="do not fit"):
        ErrorTable(("a",), ("x",), ("",), "mm", np.zeros((1, 1, 2)), flags, flags, flags)
