"""Bumps against a loop, and back through their inverse."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from anatomark.errors import TransformError
from anatomark.maps import Gaussians


def bumps(dimension: int, seed: int = 0, count: int = 7) -> Gaussians:
    rng = np.random.default_rng(seed)
    centres = rng.uniform(-40, 90, (count, dimension))
    return Gaussians(centres, rng.normal(0, 3, (count, dimension)), 18.0)


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_point_moves_by_the_sum_of_the_bumps(dimension):
    warp = bumps(dimension)
    points = np.random.default_rng(1).uniform(-60, 120, (30_000, dimension))
    moved = warp(points)  # more points than are pushed at once
    for row in (0, 17, 29_999):
        expected = points[row].copy()
        for centre, shift in zip(warp.centres_mm, warp.shifts_mm, strict=True):
            squared = sum((a - b) ** 2 for a, b in zip(points[row], centre, strict=True))
            expected += shift * math.exp(-squared / (2 * 18.0**2))
        np.testing.assert_allclose(moved[row], expected, atol=1e-10)


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_inverse_brings_points_back(dimension):
    points = np.random.default_rng(2).uniform(-60, 120, (50, dimension))
    warp = bumps(dimension)
    np.testing.assert_allclose(warp.inverse()(warp(points)), points, atol=1e-5)
    assert warp.inverse().inverse() is warp


def test_gradients_pass_through_the_points():
    points = torch.rand(4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(bumps(2), points)


@pytest.mark.parametrize(
    ("centres", "shifts", "sigma"),
    [
        ([[0, 0]], [[0, 0, 0]], 1),
        ([[0, np.nan]], [[0, 0]], 1),
        ([[0, 0]], [[0, 0]], 0),
    ],
)
def test_what_is_no_bump_is_refused(centres, shifts, sigma):
    with pytest.raises(TransformError):
        Gaussians(centres, shifts, sigma)
