"""Dice on different grids, and errors of rigid maps, against counts and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from tests.registration.test_surfaces import ellipsoid, oblique

from anatomark.data import Image
from anatomark.errors import GeometryError, RegistrationError
from anatomark.geometry import Grid
from anatomark.maps import Affine
from anatomark.registration.overlap import dice, residual_turn_degrees, surface_registration_error


def box(first, size, shape=(20, 20, 20), **kwargs):
    array = np.zeros(shape, np.uint8)
    array[tuple(slice(a, a + n) for a, n in zip(first, size, strict=True))] = 3
    return Image(array, Grid(shape, kwargs.pop("spacing", [1.0, 1.0, 1.0]), **kwargs))


def test_boxes_by_hand():
    one, other = box((2, 2, 2), (10, 10, 10)), box((2, 2, 7), (10, 10, 10))
    assert dice(one, one) == 1
    assert dice(one, other) == pytest.approx(0.5)
    push = Affine(np.eye(3), [-5.0, 0.0, 0.0])
    assert dice(one, other, push=push) == pytest.approx(1)
    assert dice(one, other, push=push.inverse()) == 0


def test_what_leaves_the_fixed_image_counts():
    fixed = box((0, 0, 10), (20, 20, 10))  # reaches to the border at x = 19.5
    push = Affine(np.eye(3), [10.0, 0.0, 0.0])
    assert dice(fixed, fixed, push=push) == 0
    push = Affine(np.eye(3), [5.0, 0.0, 0.0])
    assert dice(fixed, fixed, push=push) == pytest.approx(0.5)


def test_grids_may_differ():
    """Spheres of radius 16 whose centres are 8 mm apart, on three grids: volumes by formula."""
    grid = oblique(3, mirrored=True)
    fixed = ellipsoid(oblique(3), 16.0)
    moving = ellipsoid(grid, 16.0)
    shift = fixed.grid.centre - grid.centre + np.array([0.0, 8.0, 0.0])
    lens = np.pi * (4 * 16 + 8) * (2 * 16 - 8) ** 2 / 12
    found = dice(fixed, moving, push=Affine(np.eye(3), shift))
    assert found == pytest.approx(lens / (4 / 3 * np.pi * 16**3), abs=0.01)


def test_masks_must_hold_something_in_the_same_unit():
    full, empty = box((2, 2, 2), (3, 3, 3)), box((2, 2, 2), (0, 0, 0))
    with pytest.raises(RegistrationError, match="the moving mask is empty"):
        dice(full, empty)
    with pytest.raises(RegistrationError, match="the fixed mask is empty"):
        dice(empty, full)
    with pytest.raises(GeometryError, match="masks are in mm and px"):
        dice(full, box((2, 2, 2), (3, 3, 3), unit="px"))


def test_surface_registration_error_is_equation_6():
    points = np.array([[0.0, 0.0, 0.0], [10.0, 0.0, 0.0]])
    quarter = Affine([[0, -1, 0], [1, 0, 0], [0, 0, 1]], np.zeros(3))
    # (10, 0, 0) goes to (0, 10, 0): √200 apart; the origin stays.
    found = surface_registration_error(points, Affine.identity(3), quarter)
    assert found == pytest.approx(np.sqrt(200) / 2)


def test_the_turn_that_is_left():
    vectors = np.radians([[0.0, 0.0, 30.0], [0.0, 0.0, 18.0]])
    truth, found = (Affine(Rotation.from_rotvec(v).as_matrix(), np.ones(3)) for v in vectors)
    assert residual_turn_degrees(truth, found) == pytest.approx(12)
    c, s = np.cos(0.2), np.sin(0.2)
    flat = Affine([[c, -s], [s, c]], np.zeros(2))
    assert residual_turn_degrees(flat, Affine.identity(2)) == pytest.approx(np.degrees(0.2))
