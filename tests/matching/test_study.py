"""Matchers on the same known pairs, and matchers by name."""

from __future__ import annotations

import numpy as np
import pytest

from anatomark.correspondence import Matches
from anatomark.data import Image
from anatomark.errors import UsageError
from anatomark.geometry import Grid
from anatomark.matching.known import KINDS, known_pair
from anatomark.matching.named import matcher_named
from anatomark.matching.sift import SiftMatcher
from anatomark.matching.study import compare_matchers


def picture(seed=0):
    rng = np.random.default_rng(seed)
    array = np.zeros((60, 80), np.float32)
    array[10:50, 10:70] = 100 + 20 * rng.normal(size=(40, 60))
    return Image(array, Grid((60, 80), (1.0, 1.0)))


class Oracle:
    """Knows the map of the pair at hand, but is off by a known shift."""

    def __init__(self, shift):
        self.shift = np.asarray(shift, np.float64)
        self.left = []

    def match(self, fixed, moving):
        points = np.array([[20.0, 20.0], [40.0, 30.0], [55.0, 44.0]])
        pair = next(p for p in self.left if np.array_equal(p.moving.array, moving.array))
        assert np.array_equal(pair.fixed.array, fixed.array)
        return Matches(points + self.shift, pair.to_moving(points), unit=fixed.grid.unit)


def test_all_matchers_see_the_same_pairs_and_are_judged_by_the_known_map():
    images = [picture(0), picture(1)]
    exact, off = Oracle([0, 0]), Oracle([3, 4])
    exact.left = off.left = [
        known_pair(image, kind, seed=7 + row) for row, image in enumerate(images) for kind in KINDS
    ]
    study = compare_matchers({"exact": exact, "off": off}, images, seed=7)
    for kind in KINDS:
        assert [len(e) for e in study.errors[kind]["exact"]] == [3, 3]
        assert np.concatenate(study.errors[kind]["exact"]).max() < 0.01
        assert np.allclose(np.concatenate(study.errors[kind]["off"]), 5.0, atol=0.01)
        assert study.summaries(kind)["off"].within == (0.0, 0.0, 0.0, 100.0)
    assert study.moved["intensity"].max() == 0
    assert study.moved["affine"].max() > 1


def test_names():
    assert matcher_named("sift-ratio") == SiftMatcher("sift-ratio")
    with pytest.raises(UsageError, match="does not match two"):
        matcher_named("universal/head")
    with pytest.raises(UsageError, match="did you mean"):
        matcher_named("ct-slice")
