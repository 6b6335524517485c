"""Pixels, frames and dimension: compared with the definition, one point at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from anatomark.data import Landmarks
from anatomark.errors import LandmarkError
from anatomark.geometry import Grid
from anatomark.io.landmarks.placing import flip, of_dimension, place, to_indices, to_lps


def _landmarks(dimension: int, unit: str = "mm", seed: int = 0) -> Landmarks:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(4, dimension, dimension))
    return Landmarks(
        ("a", "b", "c", "d"),
        rng.normal(0, 50, (4, dimension)),
        present=[True, True, False, True],
        covariance_mm2=root @ root.transpose(0, 2, 1),
        unit=unit,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("dimension", [2, 3])
def test_pixels_go_through_the_grid(make_grid: Callable[..., Grid], dimension: int) -> None:
    grid = make_grid(3, dimension)
    pixels = _landmarks(dimension, "px")
    placed = place(pixels, grid)
    assert placed.unit == "mm"
    matrix = grid.direction @ np.diag(grid.spacing)
    for row in (0, 1, 3):
        expected = grid.origin + matrix @ pixels.points_mm[row]
        np.testing.assert_allclose(placed.points_mm[row], expected, atol=1e-9)
        spread = matrix @ pixels.covariance_mm2[row] @ matrix.T
        np.testing.assert_allclose(placed.covariance_mm2[row], spread, atol=1e-9)
    assert not placed.present[2]


@pytest.mark.parametrize("dimension", [2, 3])
def test_indices_undo_placing(make_grid: Callable[..., Grid], dimension: int) -> None:
    grid, world = make_grid(4, dimension), _landmarks(dimension)
    back = place(to_indices(world, grid), grid)
    np.testing.assert_allclose(back.points_mm, world.points_mm, atol=1e-9)
    np.testing.assert_allclose(back.covariance_mm2, world.covariance_mm2, atol=1e-9)


def test_counting_from_the_corner_of_the_first_pixel() -> None:
    """A pixel of 0.3 mm: its centre is 0.5 px, or 0.15 mm, from its corner."""
    grid = Grid((9, 9), (0.3, 0.5), origin=(10.0, 20.0))
    pixels = Landmarks(("a",), np.array([[0.5, 0.5]]), unit="px")
    np.testing.assert_allclose(place(pixels, grid, pixel_origin="corner").points_mm, [[10, 20]])
    millimetres = Landmarks(("a",), np.array([[0.15, 0.75]]))
    placed = place(millimetres, grid, pixel_origin="corner").points_mm
    np.testing.assert_allclose(placed, [[10, 20.5]])


def test_spread_in_millimetres_is_only_turned_with_the_image() -> None:
    grid = Grid((9, 9), (0.3, 0.5), direction=[[0, -1], [1, 0]])
    spread = Landmarks(("a",), [[1, 1]], covariance_mm2=[[[4, 1], [1, 9]]])
    placed = place(spread, grid, pixel_origin="corner").covariance_mm2
    np.testing.assert_allclose(placed, [[[9, -1], [-1, 4]]])


def test_millimetres_are_in_the_world_already(make_grid: Callable[..., Grid]) -> None:
    landmarks = _landmarks(3)
    assert place(landmarks, make_grid(1, 3)) is landmarks


def test_what_does_not_fit_is_refused(make_grid: Callable[..., Grid]) -> None:
    with pytest.raises(LandmarkError, match="2D, the image is 3D"):
        place(_landmarks(2), make_grid(0, 3))
    with pytest.raises(LandmarkError, match="2D, the image is 3D"):
        to_indices(_landmarks(2), make_grid(0, 3))
    with pytest.raises(LandmarkError, match="in mm, the image is in pixels"):
        place(_landmarks(2), Grid((4, 4), unit="px"))


def test_a_point_too_far_away_to_be_a_number() -> None:
    far = Landmarks(("a",), [[1e308, 0]], unit="px")
    with pytest.raises(LandmarkError, match="without finite coordinates: a"):
        place(far, Grid((4, 4), (99, 99)))
    with pytest.raises(LandmarkError, match="without finite coordinates: a"):
        to_indices(Landmarks(("a",), [[1e308, 0]]), Grid((4, 4), (0.01, 0.01)))


def test_ras_has_the_signs_of_x_and_y_reversed() -> None:
    landmarks = _landmarks(3)
    other = flip(landmarks)
    np.testing.assert_array_equal(other.points_mm, landmarks.points_mm * [-1, -1, 1])
    turn = np.diag([-1.0, -1.0, 1.0])
    for mine, theirs in zip(landmarks.covariance_mm2, other.covariance_mm2, strict=True):
        np.testing.assert_array_equal(theirs, turn @ mine @ turn)
    np.testing.assert_array_equal(flip(_landmarks(2)).points_mm, -_landmarks(2).points_mm)


def test_only_ras_millimetres_are_turned() -> None:
    landmarks, pixels = _landmarks(3), _landmarks(3, "px")
    assert to_lps(landmarks, "LPS") is landmarks
    assert to_lps(pixels, "RAS") is pixels
    np.testing.assert_array_equal(to_lps(landmarks, "RAS").points_mm, flip(landmarks).points_mm)
    with pytest.raises(LandmarkError, match="LPS or RAS"):
        to_lps(landmarks, None)


def test_flat_points_may_lose_z() -> None:
    points = [[1, 2, 0], [3, 4, 5e-7], [np.nan] * 3]
    flat = of_dimension(Landmarks(("a", "b", "c"), points, covariance_mm2=np.ones((3, 3, 3))), 2)
    np.testing.assert_array_equal(flat.points_mm, [[1, 2], [3, 4], [np.nan] * 2])
    assert flat.covariance_mm2.shape == (3, 2, 2)
    with pytest.raises(LandmarkError, match=r"z reaches 0.01"):
        of_dimension(Landmarks(("a",), [[1, 2, -0.01]]), 2)
    with pytest.raises(LandmarkError, match="2D, 3D ones are needed"):
        of_dimension(_landmarks(2), 3)
