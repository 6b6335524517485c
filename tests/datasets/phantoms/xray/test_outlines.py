"""Outlines and strokes: depth against formulas that need no code of ours."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anatomark.datasets.phantoms.xray.outlines import (
    Outline,
    Stroke,
    Union,
    ellipse,
    rotation,
    smooth,
)
from anatomark.datasets.phantoms.xray.raster import Raster

FILM = Raster((80, 120), (60.0, 40.0))  # pixels of 0.5 mm
ODD = Raster((61, 97), (60.0, 40.0))  # pixels that are not square


def centres(raster: Raster) -> tuple[np.ndarray, np.ndarray]:
    """x and y in mm of all pixel centres, written out from the definition."""
    rows, columns = raster.shape
    width, height = raster.film_mm
    x = (np.arange(columns) + 0.5) * width / columns
    y = (np.arange(rows) + 0.5) * height / rows
    return np.meshgrid(x, y)


def whole(raster: Raster, found: tuple | None) -> np.ndarray:
    picture = np.full(raster.shape, -np.inf)
    if found is not None:
        picture[found[0]] = found[1]
    return picture


@pytest.mark.parametrize("raster", [FILM, ODD], ids=["square", "anisotropic"])
def test_the_depth_in_a_circle_is_its_radius_minus_the_distance(raster):
    x, y = centres(raster)
    true = 11 - np.hypot(x - 30.3, y - 19.7)
    found = whole(raster, Outline(ellipse((30.3, 19.7), 11, 11)).depth(raster))
    near = (np.abs(true) < 8) & np.isfinite(found)
    assert np.abs(found - true)[near].max() < 0.06
    assert (np.isfinite(found) | (true < 0)).all()


def test_the_depth_in_a_rectangle_is_the_distance_to_the_nearest_side():
    corners = np.array([(10.0, 8.0), (50.0, 8.0), (50.0, 30.0), (10.0, 30.0)])
    x, y = centres(FILM)
    true = np.minimum.reduce([x - 10, 50 - x, y - 8, 30 - y])
    found = whole(FILM, Outline(corners).depth(FILM))
    by_hand = (true > 0) & (true < 9)
    ridges = np.sort([x - 10, 50 - x, y - 8, 30 - y], axis=0)
    clear = by_hand & (ridges[1] - ridges[0] > 3)  # cubic sampling rounds off the ridges
    assert np.abs(found - true)[clear].max() < 0.1
    assert (found[(true < -0.5)] < 0).all()


def test_a_hole_where_an_outline_crosses_itself_is_outside():
    bow = np.array([(10.0, 10.0), (50.0, 30.0), (50.0, 10.0), (10.0, 30.0)])
    depth = Outline(bow).distance(np.array([15.0, 30.0, 45.0]), np.array([12.0, 20.0]))
    assert (depth[1, [0, 2]] > 0).all()
    assert (depth[0] < 0).all()


@pytest.mark.parametrize("raster", [FILM, ODD], ids=["square", "anisotropic"])
def test_the_depth_in_a_stroke_is_its_half_width_minus_the_distance(raster):
    line = np.array([(12.0, 30.0), (40.0, 9.0)])
    x, y = centres(raster)
    true = np.full(raster.shape, -np.inf)
    for u in np.linspace(0, 1, 500):  # a tapered stroke is all the discs along its line
        disc = 2 + 3 * u - np.hypot(x - 12 - 28 * u, y - 30 + 21 * u)
        true = np.maximum(true, disc)
    found = whole(raster, Stroke.of(line, (2.0, 5.0)).depth(raster))
    inside = true > 0.05
    np.testing.assert_allclose(found[inside], true[inside], atol=0.03)
    assert (found[true < 0] <= 0).all()


def test_crossing_strokes_drawn_as_one_keep_the_larger_depth():
    first = Stroke.of([(10, 10), (50, 30)], 3.0)
    second = Stroke.of([(10, 30), (50, 10), (50, 12)], (1.0, 2.0, 2.0))
    together = whole(FILM, Stroke.joined([first, second]).depth(FILM))
    apart = np.maximum(whole(FILM, first.depth(FILM)), whole(FILM, second.depth(FILM)))
    inside = apart > 0
    np.testing.assert_allclose(together[inside], apart[inside], atol=2e-3)
    assert (together[~inside] <= 0).all()


def test_what_is_off_the_film_draws_nothing_and_what_is_partly_off_draws_its_part():
    assert Outline(ellipse((-30, 20), 5, 5)).depth(FILM) is None
    assert Stroke.of([(70, 5), (90, 5)], 2.0).depth(FILM) is None
    x, y = centres(FILM)
    for shape in (Outline(ellipse((0, 20), 9, 9)), Stroke.of([(-5, 20), (0, 20)], 9.0)):
        found = whole(FILM, shape.depth(FILM))
        assert found[:, 0].max() > 8
        assert (found[np.hypot(x, y - 20) > 9.1] < 0).all()


def test_melted_shapes_are_one_and_deeper_than_either_where_they_meet():
    left, right = Stroke.of([(10, 20), (28, 20)], 4.0), Stroke.of([(32, 20), (50, 20)], 4.0)
    melted = whole(FILM, Union((left, right), 2.0).depth(FILM))
    apart = np.maximum(whole(FILM, left.depth(FILM)), whole(FILM, right.depth(FILM)))
    rim = (apart > 0) & (apart < 2)
    assert (melted[rim] >= apart[rim] - 0.05).all()
    x, y = centres(FILM)
    between = (np.abs(x - 30) < 0.4) & (np.abs(y - 20) < 0.4)
    assert (apart[between] < 2.3).all()
    assert (melted[between] > 3).all()


# -- curves --------------------------------------------------------------------------------------

knots = st.lists(
    st.tuples(st.integers(-40, 40), st.integers(-40, 40)), min_size=3, max_size=9, unique=True
)


@given(knots, st.booleans(), st.integers(1, 9))
def test_a_smooth_curve_goes_through_its_knots(points, closed, per_knot):
    curve = smooth(points, closed=closed, per_knot=per_knot)
    np.testing.assert_allclose(curve[::per_knot][: len(points)], points, atol=1e-9)
    assert len(curve) == (len(points) if closed else len(points) - 1) * per_knot + (not closed)


@given(knots, st.floats(-180, 180))
def test_a_turned_curve_is_the_curve_through_turned_knots(points, degrees):
    turn = rotation(degrees)
    before = smooth(points, closed=True) @ turn.T
    np.testing.assert_allclose(smooth(np.array(points) @ turn.T, closed=True), before, atol=1e-9)


def test_a_curve_through_points_of_a_circle_is_nearly_that_circle():
    angles = np.arange(12) * np.pi / 6
    curve = smooth(10 * np.stack([np.cos(angles), np.sin(angles)], axis=1), closed=True)
    assert np.abs(np.hypot(*curve.T) - 10).max() < 0.02


def test_turning_by_ninety_degrees_takes_right_to_down():
    np.testing.assert_allclose(rotation(90) @ (1, 0), (0, 1), atol=1e-12)
