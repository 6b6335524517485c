"""Solids of the CT phantoms: the surface lies where it is said to lie."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anatomark.datasets.phantoms.ct.solids import (
    Block,
    Capsule,
    Column,
    Cut,
    Ellipsoid,
    frame_along,
    smooth_path,
    tube,
    turned,
)

AXES = frame_along([1.0, -2.0, 0.5])
SOLIDS = {
    "ellipsoid": Ellipsoid(np.array([3.0, -4, 8]), np.array([12.0, 7, 5]), AXES),
    "capsule": Capsule(np.array([-5.0, 2, 0]), np.array([6.0, 3, 9]), 5.0, 2.5),
    "block": Block(np.array([1.0, 1, 1]), np.array([9.0, 5, 12]), 2.0, AXES),
    "cut column": Cut(Column(np.array([0.0, 2]), np.array([9.0, 6]), 0.5), between=(-5.0, 7.0)),
    "cut": Cut(
        Ellipsoid(np.zeros(3), np.array([10.0, 9, 8])),
        minus=(Ellipsoid(np.array([6.0, 0, 0]), np.full(3, 5.0)),),
        within=(Column(np.zeros(2), np.array([7.0, 7])),),
    ),
}


def at(solid: Any, points: np.ndarray) -> np.ndarray:
    return solid.distance(np.ascontiguousarray(points.T, np.float32))


def cloud(seed: int, count: int = 4000) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-20, 20, (count, 3))


@pytest.mark.parametrize("solid", SOLIDS.values(), ids=SOLIDS)
def test_the_box_holds_the_solid(solid: Any) -> None:
    points = cloud(0)
    inside = points[at(solid, points) < 0]
    low, high = solid.box()
    assert len(inside) > 50
    assert (inside >= low[:3] - 1e-4).all()
    assert (inside <= high[:3] + 1e-4).all()


@pytest.mark.parametrize("solid", SOLIDS.values(), ids=SOLIDS)
def test_the_distance_is_in_mm_near_the_surface(solid: Any) -> None:
    """One step of the length it tells, along its gradient, ends on the surface."""
    points = cloud(1, 20_000)
    points = points[np.abs(at(solid, points)) < 0.3]
    step = 0.02
    slope = np.stack(
        [(at(solid, points + d) - at(solid, points - d)) / (2 * step) for d in step * np.eye(3)], 1
    )
    steepness = np.linalg.norm(slope, axis=1)
    assert len(points) > 30
    assert 0.9 < np.median(steepness) < 1.1
    assert np.percentile(steepness, 95) < 1.3


@given(st.integers(0, 10_000))
def test_a_capsule_is_what_is_near_a_line(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(-9, 9, (2, 3))
    points = rng.uniform(-15, 15, (50, 3))
    line = a + np.linspace(0, 1, 4001)[:, None] * (b - a)
    nearest = np.linalg.norm(points[:, None] - line, axis=2).min(axis=1)
    np.testing.assert_allclose(at(Capsule(a, b, 2.0, 2.0), points), nearest - 2, atol=0.01)


@given(st.integers(0, 10_000))
def test_an_ellipsoid_has_its_radii_along_its_axes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    axes = frame_along(rng.normal(size=3))
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    centre, radii = rng.uniform(-9, 9, 3), rng.uniform(2, 12, 3)
    solid = Ellipsoid(centre, radii, axes)
    tips = np.concatenate([centre + radii[:, None] * axes, centre - radii[:, None] * axes])
    np.testing.assert_allclose(at(solid, tips), 0, atol=2e-3)


def test_a_plane_figure_is_turned_from_x_towards_y() -> None:
    solid = Ellipsoid(np.zeros(2), np.array([10.0, 2.0]), turned(30.0))
    tip = 10 * np.array([[np.cos(np.pi / 6), np.sin(np.pi / 6)]])
    assert abs(at(solid, tip)[0]) < 1e-3


def test_a_tube_follows_its_path_and_its_radii() -> None:
    knots = np.array([[0.0, 0, 0], [10, 5, 0], [20, 0, 8]])
    path = smooth_path(knots, step_mm=1.0)
    np.testing.assert_allclose(path[[0, -1]], knots[[0, -1]], atol=1e-9)
    assert np.linalg.norm(path - knots[1], axis=1).min() < 1.0
    assert np.linalg.norm(np.diff(path, axis=0), axis=1).max() < 2.0
    pieces = tube(path, [3.0, 1.0])
    assert pieces[0].radius == 3.0
    assert pieces[-1].end_radius == 1.0
    assert all(a.end_radius == b.radius for a, b in pairwise(pieces))
