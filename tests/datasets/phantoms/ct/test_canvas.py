"""The canvas of the CT phantoms: shortcuts change nothing, and places stay exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anatomark.datasets.phantoms.ct.canvas import (
    BodyFrame,
    Canvas,
    Coat,
    Ripple,
    draw_ripple,
    spread,
)
from anatomark.datasets.phantoms.ct.solids import Capsule, Ellipsoid, Solid, frame_along
from anatomark.geometry import Grid

STILL = Ripple(np.zeros((1, 3)), np.zeros(1), np.zeros((1, 3)))


def hard_frame(seed: int, dimension: int = 3) -> BodyFrame:
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(dimension, dimension)))
    ripple = draw_ripple(rng, dimension=dimension, amplitude_mm=3.0, wavelengths_mm=(80.0, 160.0))
    return BodyFrame(rng.uniform(-90, 90, dimension), turn / rng.uniform(0.85, 1.15), ripple)


def hard_grid(seed: int, frame: BodyFrame, shape: tuple[int, int, int] = (26, 34, 30)) -> Grid:
    rng = np.random.default_rng(seed + 1)
    direction, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    spacing = rng.uniform(1.5, 4.0, 3)
    middle = (np.array(shape[::-1]) - 1) / 2
    return Grid(shape, spacing, frame.origin - direction @ (spacing * middle), direction)


@given(st.integers(0, 1000), st.sampled_from([2, 3]))
def test_body_coordinates_come_back_as_world_points(seed: int, dimension: int) -> None:
    frame = hard_frame(seed, dimension)
    points = np.random.default_rng(seed).uniform(-150, 150, (40, dimension))
    np.testing.assert_allclose(frame.to_world(frame.to_body(points)), points, atol=1e-6)
    np.testing.assert_allclose(frame.to_body(frame.to_world(points)), points, atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_every_voxel_knows_where_it_is_in_the_body(seed: int) -> None:
    frame = hard_frame(seed)
    grid = hard_grid(seed, frame)
    canvas = Canvas(grid, frame, background=0.0, blur_mm=1.0)
    index = np.random.default_rng(seed).integers(0, grid.size_xyz, (300, 3))
    world = grid.origin + (index * grid.spacing) @ grid.direction.T
    drawn_with = canvas.xyz[:, index[:, 2], index[:, 1], index[:, 0]].T
    # Between the points of its coarse lattice the canvas is a little off.
    np.testing.assert_allclose(drawn_with, frame.to_body(world), atol=0.35)
    assert np.abs(drawn_with - frame.to_body(world)).mean() < 0.08


def solids(seed: int) -> list[Solid]:
    rng = np.random.default_rng(seed)
    found: list[Solid] = []
    for _ in range(25):
        centre = rng.uniform(-55, 55, 3)
        found.append(Ellipsoid(centre, rng.uniform(9, 25, 3), frame_along(rng.normal(size=3))))
        found.append(Capsule(centre, centre + rng.normal(0, 12, 3), 4.0, 1.0))
        found.append(Capsule(centre, centre + rng.normal(0, 3, 3), 2.0, 2.0))
    return found


@pytest.mark.parametrize("seed", range(6))
def test_looking_only_where_a_solid_can_be_misses_nothing(seed: int) -> None:
    """Each solid, painted by itself, fills the same voxels as if all voxels had been looked at."""
    frame = hard_frame(seed)
    canvas = Canvas(hard_grid(seed, frame), frame, background=0.0, blur_mm=1.0)
    seen = 0
    for solid in solids(seed):
        for grow in (0.0, 2.5):
            canvas.values[:] = 0
            canvas.paint(solid, 100.0, grow=grow)
            distance = solid.distance(canvas.xyz) - grow
            part = np.clip(0.5 - distance / canvas.edge_mm, 0, 1)
            part *= min((solid.thickness + 2 * grow) / canvas.edge_mm, 1)
            np.testing.assert_allclose(canvas.values, 100 * part, atol=0.05)
            seen += int(part.any())
    assert seen > 30


def test_coats_go_on_in_order_over_the_union() -> None:
    frame = BodyFrame(np.zeros(3), np.eye(3), STILL)
    grid = Grid((40, 40, 40), np.ones(3), np.full(3, -19.5))
    canvas = Canvas(grid, frame, background=0.0, blur_mm=1.0)
    balls = [Ellipsoid(np.array([x, 0.0, 0.0]), np.full(3, 8.0)) for x in (-5.0, 5.0)]
    canvas.coat(balls, Coat(50.0, grow=3.0), Coat(200.0))
    radius = np.minimum(*[np.linalg.norm(canvas.xyz.T - ball.centre, axis=-1).T for ball in balls])
    assert (canvas.values[radius < 7.4] == 200).all()
    assert (canvas.values[(radius > 8.6) & (radius < 10.4)] == 50).all()
    assert (canvas.values[radius > 11.6] == 0).all()


def test_the_edge_of_a_solid_is_where_it_is_to_a_part_of_a_voxel() -> None:
    """The volume of a ball, summed over partly filled voxels, is that of the ball."""
    frame = BodyFrame(np.zeros(3), np.eye(3), STILL)
    for radius in (6.0, 6.3, 6.7):
        canvas = Canvas(
            Grid((20, 20, 20), np.ones(3), np.full(3, -9.5)), frame, background=0.0, blur_mm=0.5
        )
        canvas.paint(Ellipsoid(np.array([0.2, -0.3, 0.1]), np.full(3, radius)), 1.0)
        assert canvas.values.sum() == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.02)


def test_grain_and_limits_are_kept() -> None:
    frame = BodyFrame(np.zeros(3), np.eye(3), STILL)
    grid = Grid((12, 12, 12), np.ones(3), np.full(3, -5.5))
    canvas = Canvas(grid, frame, background=-7.0, blur_mm=1.0)
    grain = np.random.default_rng(0).normal(size=grid.shape).astype(np.float32)
    left = canvas.xyz[0].copy()  # negative where x < 0
    canvas.paint(Ellipsoid(np.zeros(3), np.full(3, 99.0)), 40.0, grain=(grain, 5.0), within=left)
    np.testing.assert_allclose(canvas.values[:, :, :5], 40 + 5 * grain[:, :, :5], atol=1e-3)
    assert (canvas.values[:, :, 7:] == -7).all()


def test_spreading_a_plane_keeps_it_a_plane() -> None:
    shape, fine = (5, 4, 6), (17, 20, 31)

    def plane(counts: tuple[int, ...]) -> np.ndarray:
        z, y, x = np.meshgrid(*[(np.arange(n) + 0.5) / n for n in counts], indexing="ij")
        return (3 * z - 2 * y + 5 * x).astype(np.float32)

    np.testing.assert_allclose(spread(plane(shape), fine), plane(fine), atol=1e-5)
