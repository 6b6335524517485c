"""Solids that are evaluated in place, and the windows in which they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anatomark.datasets.phantoms.ct.solids import Ellipsoid, Solid
from anatomark.datasets.phantoms.prostate.blocks import blocks, local_points
from anatomark.datasets.phantoms.prostate.ovals import Oval, Stem
from anatomark.datasets.phantoms.prostate.pose import turned
from anatomark.datasets.phantoms.prostate.windows import Hulls, windows

seeds = st.integers(0, 10_000)


def _oval(rng: np.random.Generator) -> Oval:
    axes = turned(rng.normal(size=3)).T
    return Oval(rng.normal(0, 10, 3), rng.uniform(1, 15, 3), axes)


def _stem(rng: np.random.Generator) -> Stem:
    heights = np.linspace(-15, 12, 5)
    bend = rng.normal(0, 0.01, 2)
    path = np.stack([2 + bend[0] * heights**2, 0.2 * heights, heights], axis=1)
    return Stem.through(path, rng.uniform(2, 4, 1).repeat(5).tolist())


@given(seeds)
def test_an_oval_is_the_ellipsoid_with_the_same_numbers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    oval = _oval(rng)
    points = rng.uniform(-30, 30, (3, 500)).astype(np.float32)
    plain = Ellipsoid(oval.centre, oval.radii, oval.axes).distance(points)
    assert np.abs(oval.distance(points) - plain).max() < 2e-3


def test_the_distance_to_a_ball_is_known() -> None:
    ball = Oval(np.array([1.0, 2.0, 3.0]), np.array([5.0, 5.0, 5.0]))
    points = np.array([[1, 1, 1, 9], [2, 2, 2, 2], [3.5, 8, 13, 3]], np.float32)
    assert ball.distance(points) == pytest.approx([-4.5, 0, 5, 3], abs=0.03)


@given(seeds)
def test_a_stem_is_as_far_as_its_nearest_ring_of_axis_points(seed: int) -> None:
    stem = _stem(np.random.default_rng(seed))
    points = np.random.default_rng(seed + 1).uniform(-14, 11, (3, 200)).astype(np.float32)
    z = points[2].astype(float)
    x = stem.x @ [z**0, z, z**2]
    y = stem.y @ [z**0, z, z**2]
    expected = np.hypot(points[0] - x, points[1] - y) - stem.radius @ [z**0, z, z**2]
    expected = np.maximum(expected, np.maximum(stem.low - z, z - stem.high))
    assert stem.distance(points) == pytest.approx(expected, abs=1e-3)
    assert stem.thickness == pytest.approx(2 * stem.radius[0], rel=0.2)


@given(seeds)
def test_no_voxel_that_a_solid_touches_is_left_out_of_its_window(seed: int) -> None:
    rng = np.random.default_rng(seed)
    solids: list[Solid] = [_oval(rng), _stem(rng), _oval(rng)]
    steps = [np.arange(-20, 20, 2.0, dtype=np.float32)] * 3
    block = (slice(3, 17), slice(0, 14), slice(2, 20))
    local = local_points(steps, block)
    points = np.tensordot(turned(rng.normal(size=3)).astype(np.float32), local, axes=1)
    points += 1.5 * np.sin(points[::-1] / 15)  # bent, as tissue is
    found = dict(windows(points, Hulls.of([(s, 0.5) for s in solids]), 1.0))
    for row, solid in enumerate(solids):
        touched = solid.distance(np.ascontiguousarray(points)) < 1.0
        inside = np.zeros(touched.shape, bool)
        if row in found:
            inside[found[row]] = True
        assert not (touched & ~inside).any()


def test_windows_are_much_smaller_than_the_block() -> None:
    steps = [np.arange(-32, 32, 1.0, dtype=np.float32)] * 3
    points = local_points(steps, (slice(None),) * 3)
    ball = Oval(np.array([5.0, -3.0, 9.0]), np.array([4.0, 4.0, 4.0]))
    ((row, window),) = windows(points, Hulls.of([(ball, 0.0)]), 1.0)
    assert row == 0
    size = [s.stop - s.start for s in window]
    assert max(size) <= 12
    assert [s.start + n / 2 - 32 for s, n in zip(window, size, strict=True)] == pytest.approx(
        [9, -3, 5], abs=1
    )


def test_a_block_of_one_voxel_looks_at_everything() -> None:
    points = np.zeros((3, 1, 1, 5), np.float32)
    ball = Oval(np.full(3, 90.0), np.ones(3))
    assert [row for row, _ in windows(points, Hulls.of([(ball, 0.0)]), 1.0)] == [0]


@given(st.tuples(*[st.integers(1, 150)] * 3))
def test_blocks_cover_every_voxel_once(shape: tuple[int, int, int]) -> None:
    count = np.zeros(shape, np.uint8)
    for block in blocks(shape):
        count[block] += 1
    assert (count == 1).all()
