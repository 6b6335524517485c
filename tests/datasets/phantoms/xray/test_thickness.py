"""Thickness maps: profiles against geometry, drawing, carving, texture."""

from __future__ import annotations

import numpy as np
import pytest

from anatomark.datasets.phantoms.xray.outlines import Outline, ellipse
from anatomark.datasets.phantoms.xray.raster import Raster, resize
from anatomark.datasets.phantoms.xray.thickness import Projection, chord, dome, plate, shell

DEPTHS = np.linspace(-2, 30, 400).astype(np.float32)


def test_a_chord_is_the_path_through_a_cylinder():
    away = 10 - np.clip(DEPTHS, 0, 10)  # distance of the ray from the axis
    np.testing.assert_allclose(chord(10)(DEPTHS), 2 * np.sqrt(100 - away**2), atol=2e-3)


def test_a_shell_is_two_cylinders_apart_and_brightest_at_its_inner_wall():
    away = 10 - np.clip(DEPTHS, 0, 10)
    inside = 2 * np.sqrt(np.clip(64 - away**2, 0, None))
    true = 2 * np.sqrt(100 - away**2) - 0.75 * inside
    np.testing.assert_allclose(shell(10, 2, 0.25)(DEPTHS), true, atol=5e-3)
    assert DEPTHS[shell(10, 2)(DEPTHS).argmax()] == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("profile", [chord(4), shell(4, 1), plate(3, 2), dome(9, 5)])
def test_nothing_is_drawn_outside_an_outline(profile):
    assert (profile(DEPTHS[DEPTHS <= 0]) == 0).all()
    assert (profile(DEPTHS[DEPTHS > 0]) > 0).all()


def test_a_plate_and_a_dome_reach_their_thickness():
    np.testing.assert_allclose(plate(7, 2)(np.float32([1, 2, 5])), [3.5, 7, 7])
    np.testing.assert_allclose(
        dome(7, 2)(np.float32([2, 40])), [7 * (1 - np.exp(-1)), 7], rtol=1e-5
    )


def test_drawing_adds_and_carving_takes_a_part_away():
    view = Projection(Raster((60, 60), (60.0, 60.0)))
    disc = Outline(ellipse((30, 30), 20, 20))
    view.add("bone", disc, plate(4, 1))
    view.add("bone", disc, plate(4, 1), 0.5)
    assert view.maps["bone"][30, 30] == pytest.approx(6)
    view.carve(("bone",), Outline(ellipse((30, 30), 8, 8)), 0.25, 1.0)
    assert view.maps["bone"][30, 30] == pytest.approx(4.5)
    assert view.maps["bone"][30, 45] == pytest.approx(6)
    assert view.maps["bone"][2, 2] == 0
    assert not view.maps["soft"].any()


def test_the_area_drawn_is_that_of_the_shape_to_a_part_of_a_pixel():
    view = Projection(Raster((61, 75), (60.0, 60.0)))
    view.add("soft", Outline(ellipse((30.2, 29.7), 17, 11)), plate(1, 0.001))
    pixel = (60 / 61) * (60 / 75)
    assert view.maps["soft"].sum() * pixel == pytest.approx(np.pi * 17 * 11, rel=0.02)


def test_texture_is_the_same_tissue_at_every_number_of_pixels():
    fine = Projection(Raster((200, 150), (60.0, 80.0))).texture(6, np.random.default_rng(3))
    coarse = Projection(Raster((80, 60), (60.0, 80.0))).texture(6, np.random.default_rng(3))
    assert fine.std() == pytest.approx(1, abs=0.15)
    assert np.corrcoef(resize(fine, (80, 60)).ravel(), coarse.ravel())[0, 1] > 0.98


def test_an_uneven_tissue_is_as_thick_as_its_texture_says():
    view = Projection(Raster((40, 40), (40.0, 40.0)))
    field = np.full((40, 40), 0.5, np.float32)
    field[:, 20:] = -2  # thinner than nothing is nothing
    view.add("soft", Outline(ellipse((20, 20), 15, 15)), plate(2, 1), texture=field)
    assert view.maps["soft"][20, 12] == pytest.approx(3)
    assert view.maps["soft"][20, 28] == 0
