"""The gland's shape and its three landmarks, in the body frame."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anatomark.datasets.phantoms.prostate.gland import LANDMARK_NAMES, Gland, draw_gland
from anatomark.geometry import FloatArray


def _gland(seed: int) -> Gland:
    return draw_gland(np.random.default_rng(seed))


def _inner_grid(gland: Gland, count: int = 36) -> tuple[FloatArray, FloatArray]:
    """Points ``(N, 3)`` on a fine grid that lie in the gland, and the grid's spacing."""
    low, high = gland.box()
    axes = [np.linspace(a, b, count) for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    return points[gland.level(points.T) < 1], (high - low) / (count - 1)


glands = st.integers(0, 10_000).map(_gland)


@settings(max_examples=15)
@given(glands)
def test_the_landmarks_lie_on_the_surface(gland: Gland) -> None:
    assert gland.landmarks.shape == (len(LANDMARK_NAMES), 3)
    assert gland.level(gland.landmarks.T) == pytest.approx(1, abs=1e-9)
    assert np.abs(gland.distance(gland.landmarks.T)).max() < 1e-7


@settings(max_examples=15)
@given(glands)
def test_the_apex_is_the_lowest_point_of_the_gland(gland: Gland) -> None:
    points, spacing = _inner_grid(gland)
    apex, lowest = gland.landmarks[0], points[:, 2].min()
    assert apex[2] <= lowest <= apex[2] + 2 * spacing[2]
    tip = points[points[:, 2] == lowest].mean(axis=0)
    assert np.linalg.norm(tip[:2] - apex[:2]) < 2.5


@settings(max_examples=15)
@given(glands)
def test_the_bladder_neck_is_where_the_urethra_enters_near_the_top(gland: Gland) -> None:
    points, spacing = _inner_grid(gland)
    neck = gland.landmarks[1]
    assert neck[2] > 0.85 * points[:, 2].max()
    x, y = gland.urethra(neck[2] / gland.half[2])
    assert np.allclose(neck[:2], [x, y], atol=1e-6)
    # in front of the middle of the base
    base = points[points[:, 2] > neck[2] - 2 * spacing[2]]
    assert neck[1] < base[:, 1].mean() + spacing[1]


@settings(max_examples=15)
@given(glands)
def test_the_posterior_median_is_the_last_point_on_the_midline_half_way_up(gland: Gland) -> None:
    point = gland.landmarks[2]
    x, y = gland.axis(0.0)
    assert point[0] == pytest.approx(x)
    assert point[2] == 0
    behind = np.linspace(point[1] + 0.01, point[1] + 40, 200)
    before = np.linspace(y, point[1] - 0.01, 200)
    line = np.stack([np.full(200, x), behind, np.zeros(200)])
    assert (gland.level(line) > 1).all()
    line[1] = before
    assert (gland.level(line) < 1).all()


@settings(max_examples=15)
@given(glands)
def test_the_box_holds_the_gland(gland: Gland) -> None:
    low, high = gland.box()
    rng = np.random.default_rng(0)
    around = rng.uniform(low - 30, high + 30, (4000, 3))
    outside = ((around < low) | (around > high)).any(axis=1)
    assert (gland.level(around[outside].T) > 1).all()


@settings(max_examples=15)
@given(glands)
def test_distances_are_in_mm_at_the_surface(gland: Gland) -> None:
    rng = np.random.default_rng(1)
    points = gland.inner_points(rng, 400).T
    near = np.abs(gland.distance(points)) < 1.5
    step = 1e-4
    slope = np.stack(
        [
            (gland.distance(points + delta[:, None]) - gland.distance(points - delta[:, None]))
            / (2 * step)
            for delta in step * np.eye(3)
        ]
    )
    steepness = np.linalg.norm(slope[:, near], axis=0)
    assert np.median(steepness) == pytest.approx(1, abs=0.2)


def test_glands_differ_in_size_as_patients_do() -> None:
    volumes = []
    for seed in range(60):
        points, spacing = _inner_grid(_gland(seed))
        volumes.append(len(points) * float(np.prod(spacing)) / 1000)
    # Biopsy patients: about 40 ml, from under 20 to over 80.
    assert 30 < np.median(volumes) < 50
    assert min(volumes) > 8
    assert max(volumes) < 180
    assert np.std(np.log(volumes)) > 0.3


def test_inner_points_are_inside() -> None:
    gland = _gland(5)
    points = gland.inner_points(np.random.default_rng(0), 500)
    assert points.shape == (500, 3)
    assert (gland.level(points.T) < 1).all()


def test_single_precision_finds_the_same_surface() -> None:
    gland = _gland(6)
    points = np.random.default_rng(0).uniform(*gland.box(), (2000, 3)).T
    low = gland.distance(points.astype(np.float32))
    assert low.dtype == np.float32
    assert np.abs(low - gland.distance(points)).max() < 1e-3
