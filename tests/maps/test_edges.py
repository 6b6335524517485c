"""Maps that end somewhere: their inverse, and the side that a reflection puts things on."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

from anatomark import Affine, Chain, Displacement, Grid, Image, Landmarks, ThinPlate, resample
from anatomark.errors import NotConvergedError, TransformError
from anatomark.maps import BSpline

GRID = Grid((50, 50), [1.0, 1.0])


def shift(by):
    field = np.zeros((2, 50, 50))
    field[0] = by
    return Displacement(GRID, field)


@pytest.mark.parametrize("x", [20.0, 44.0, 46.0, 48.0])
def test_a_point_that_was_pushed_out_of_the_field_is_found_within(x):
    warp = shift(5)
    pushed = warp(np.array([[x, 20.0]]))
    np.testing.assert_allclose(pushed, [[x + 5, 20]])
    np.testing.assert_allclose(warp.inverse()(pushed), [[x, 20]], atol=1e-6)


def test_the_same_of_a_spline():
    warp = BSpline(
        Grid((10, 14), [3.0, 3.0]), np.stack([np.full((10, 14), 4.0), np.zeros((10, 14))])
    )
    points = np.array([[5.0, 10.0], [28.0, 10.0], [35.0, 10.0]])
    np.testing.assert_allclose(warp.inverse()(warp(points)), points, atol=1e-6)


def test_far_outside_nothing_moves():
    far = np.array([[400.0, 20.0], [-300.0, -300.0]])
    np.testing.assert_allclose(shift(5).inverse()(far), far, atol=1e-9)


def test_a_voxel_to_which_nothing_is_pushed_is_empty_in_an_image_and_an_error_for_a_point():
    image = Image(np.random.default_rng(0).normal(size=(50, 50)), GRID)
    seen = resample(image, GRID, push=shift(5), fill=-7)
    np.testing.assert_allclose(seen.array[:, 6:], image.array[:, 1:-5], atol=1e-9)
    assert (seen.array[:, :4] == -7).all()
    again = resample(image, GRID, push=Chain([Affine.identity(2), shift(5)]), fill=-7)
    np.testing.assert_array_equal(again.array, seen.array)
    with pytest.raises(NotConvergedError):
        shift(5).inverse()(np.array([[2.0, 20.0]]))


def reflections():
    rng = np.random.default_rng(1)
    grid = Grid((12, 12, 12), [10.0, 10.0, 10.0])
    mirror = Affine(np.diag([-1.0, 1, 1]), [100.0, 0, 0])
    source = rng.uniform(0, 100, (12, 3))
    lattice = Grid((8, 8, 8), [20.0] * 3, [-20.0] * 3)
    index = np.stack(np.meshgrid(*[np.arange(8)] * 3, indexing="ij"), -1)[..., ::-1]
    world = lattice.to_world(index.astype(float))
    spline = BSpline(lattice, np.moveaxis(mirror(world) - world, -1, 0))
    return {
        "affine": mirror,
        "thin plate": ThinPlate(source, mirror(source)),
        "field": Displacement.of(mirror, grid),
        "spline": spline,
    }


@pytest.mark.parametrize("kind", reflections())
def test_every_map_that_mirrors_swaps_left_and_right(kind):
    warp = reflections()[kind]
    marks = Landmarks(["left", "right"], [[30.0, 50, 50], [70, 50, 50]], pairs=[("left", "right")])
    assert warp.mirrors
    assert warp.inverse().mirrors
    np.testing.assert_allclose(marks.moved(warp)["left"], [30, 50, 50], atol=1e-6)
    assert not Chain([warp, warp]).mirrors


def test_a_bend_is_no_mirror():
    rng = np.random.default_rng(2)
    source = rng.uniform(0, 100, (12, 3))
    assert not ThinPlate(source, source + rng.normal(size=(12, 3)) * 5).mirrors
    field = rng.normal(size=(2, 50, 50))
    assert not Displacement(GRID, field).mirrors


def test_autocast_does_not_touch_coordinates():
    grid = Grid((40, 50, 60), [0.7, 0.9, 1.1], [-310.0, 280, 190])
    points = torch.rand(100, 3) * 50
    source = np.random.default_rng(3).uniform(0, 60, (9, 3))
    warp = ThinPlate(source, source + 1.5)
    plain = grid.to_world(points), grid.to_index(points), warp(points)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = grid.to_world(points), grid.to_index(points), warp(points)
    for a, b in zip(plain, cast, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))])
def test_copies_are_as_frozen_as_the_original(copied):
    marks = Landmarks(["a"], [[1.0, 2.0]])
    image = Image(np.zeros((50, 50)), GRID)
    for value, names in (
        (GRID, ("spacing", "origin", "direction")), (marks, ("points_mm", "present")),
        (Affine.identity(2), ("matrix", "offset")), (image, ("array",)),
        (shift(1), ("field_mm",)),
    ):  # fmt: skip
        again = copied(value)
        for name in names:
            assert not getattr(again, name).flags.writeable, name
    assert copied(GRID) == GRID


def test_errors_leave_a_process_whole():
    error = NotConvergedError("x", residual_mm=1.5, fix="y")
    again = pickle.loads(pickle.dumps(error))
    assert (again.residual_mm, str(again)) == (1.5, str(error))


def test_smoothing_is_finite():
    with pytest.raises(TransformError, match="smoothing"):
        ThinPlate(np.eye(3)[:, :2], np.eye(3)[:, :2] + 1, smoothing=np.inf)
