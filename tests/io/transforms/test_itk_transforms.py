"""Maps and SimpleITK transforms move points alike, in both directions of the conversion."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from anatomark.errors import (
    GeometryError,
    LossWarning,
    NotConvergedError,
    TransformError,
    UsageError,
)
from anatomark.geometry import Grid
from anatomark.io.transforms.itk_transforms import from_sitk, sampled, simplified, to_sitk
from anatomark.maps import Affine, Chain, Displacement, Inverse, ThinPlate

seeds = st.integers(0, 10**6)
dimensions = st.sampled_from([2, 3])


def by_itk(transform, points):
    return np.array([transform.TransformPoint(p.tolist()) for p in points])


def some_points(seed, dimension, n=40):
    return np.random.default_rng(seed).normal(0, 60, (n, dimension))


def affine(seed, dimension):
    rng = np.random.default_rng(seed)
    return Affine(
        np.eye(dimension) + rng.normal(0, 0.3, (dimension,) * 2), rng.normal(0, 30, dimension)
    )


def field(seed, grid):
    return Displacement(
        grid, np.random.default_rng(seed).normal(0, 2, (grid.dimension, *grid.shape))
    )


def in_and_around(grid, seed):
    """Points of which about half lie in the grid."""
    fractions = np.random.default_rng(seed).uniform(-1.25, 1.25, (80, grid.dimension))
    return grid.from_normalised(fractions)


LINEAR = {
    "TranslationTransform": 3,
    "ScaleTransform": 3,
    "Euler3DTransform": 6,
    "VersorTransform": 3,
    "VersorRigid3DTransform": 6,
    "Similarity3DTransform": 7,
    "ScaleVersor3DTransform": 9,
    "ScaleSkewVersor3DTransform": 15,
    "ComposeScaleSkewVersor3DTransform": 12,
    "AffineTransform": 12,
    "Euler2DTransform": 3,
    "Similarity2DTransform": 4,
}


@pytest.mark.parametrize("name", LINEAR)
@given(seeds)
def test_every_linear_transform_about_any_centre_becomes_an_affine_map(name, seed):
    rng = np.random.default_rng(seed)
    kind = getattr(sitk, name)
    transform = (
        kind(3) if name in {"TranslationTransform", "ScaleTransform", "AffineTransform"} else kind()
    )
    dim = transform.GetDimension()
    if hasattr(transform, "SetCenter"):
        transform.SetCenter(rng.normal(0, 100, dim).tolist())
    transform.SetParameters(rng.uniform(0.1, 0.5, LINEAR[name]).tolist())
    points = some_points(seed, dim)
    warp = from_sitk(transform)
    assert isinstance(warp, Affine)
    np.testing.assert_allclose(warp(points), by_itk(transform, points), atol=1e-9)


@given(seeds, dimensions)
def test_an_affine_map_becomes_a_transform_that_moves_points_alike(seed, dimension):
    points = some_points(seed, dimension)
    warp = affine(seed, dimension)
    np.testing.assert_allclose(by_itk(to_sitk(warp), points), warp(points), atol=1e-9)


@given(seeds, dimensions)
def test_a_displacement_field_agrees_with_itk_inside_and_outside(make_grid, seed, dimension):
    grid = make_grid(seed, dimension)
    warp, points = field(seed, grid), in_and_around(grid, seed)
    transform = to_sitk(warp)
    np.testing.assert_allclose(by_itk(transform, points), warp(points), atol=1e-6)
    np.testing.assert_allclose(from_sitk(transform)(points), warp(points), atol=1e-9)


def test_outside_the_field_itk_and_the_map_both_leave_points(make_grid):
    grid = make_grid(0, 3)
    far = grid.from_normalised(np.array([[1.05, 0, 0], [0, -1.05, 0], [9, 9, 9]]))
    np.testing.assert_array_equal(by_itk(to_sitk(field(0, grid)), far), far)
    np.testing.assert_array_equal(field(0, grid)(far), far)


def test_itk_applies_the_transform_added_last_first():
    stretch, shift = Affine(np.diag([2.0, 1, 1]), np.zeros(3)), Affine(np.eye(3), [10, 0, 0])
    composite = sitk.CompositeTransform(3)
    composite.AddTransform(to_sitk(stretch))
    composite.AddTransform(to_sitk(shift))
    # Shift first: (1 + 10) * 2.
    np.testing.assert_array_equal(from_sitk(composite)(np.array([[1.0, 0, 0]])), [[22, 0, 0]])
    assert by_itk(to_sitk(Chain((shift, stretch))), np.array([[1.0, 0, 0]]))[0, 0] == 22


@given(seeds, dimensions)
def test_nested_composites_keep_their_order(make_grid, seed, dimension):
    grid = make_grid(seed, dimension)
    inner = sitk.CompositeTransform(dimension)
    inner.AddTransform(to_sitk(affine(seed, dimension)))
    inner.AddTransform(to_sitk(field(seed, grid)))
    outer = sitk.CompositeTransform(dimension)
    outer.AddTransform(to_sitk(affine(seed + 1, dimension)))
    outer.AddTransform(inner)
    points = in_and_around(grid, seed)
    warp = from_sitk(outer)
    np.testing.assert_allclose(warp(points), by_itk(outer, points), atol=1e-6)
    np.testing.assert_allclose(by_itk(to_sitk(warp), points), warp(points), atol=1e-6)


def test_chains_are_flattened_and_affine_neighbours_become_one(make_grid):
    one, two, three = (affine(s, 3) for s in range(3))
    bent = field(0, make_grid(0, 3))
    nested = Chain((one, Chain((two, bent)), Inverse(three)))
    plain = simplified(nested)
    assert [type(m) for m in plain.maps] == [Affine, Displacement, Affine]
    points = some_points(0, 3)
    np.testing.assert_allclose(plain(points), nested(points), atol=1e-5)


# -- maps without a counterpart in ITK -------------------------------------------------------------

BOX = Grid((24, 25, 26), spacing=(2, 2, 2), origin=(-25, -24, -23))


def bend():
    corners = BOX.corners()
    return ThinPlate(corners, corners + np.random.default_rng(0).normal(0, 2, corners.shape))


def test_a_thin_plate_spline_needs_a_grid():
    with pytest.raises(UsageError, match=r"sampled on a grid.*give the grid"):
        to_sitk(bend())


def test_a_sampled_spline_is_the_spline_at_the_voxels_and_warns_of_its_error_between():
    with pytest.warns(LossWarning, match=r"off by up to 0\.\d+ mm"):
        transform = to_sitk(bend(), grid=BOX)
    at_voxels = BOX.to_world(np.array([[0, 0, 0], [25, 24, 23], [7, 8, 9]]))
    np.testing.assert_allclose(by_itk(transform, at_voxels), bend()(at_voxels), atol=1e-9)


def test_the_error_that_the_warning_states_is_the_error_that_itk_makes():
    with pytest.warns(LossWarning) as caught:
        transform = to_sitk(bend(), grid=BOX)
    stated = float(str(caught[0].message).split("off by up to ")[1].split()[0])
    index = np.random.default_rng(1).uniform(0, 1, (4000, 3)) * (np.array(BOX.size_xyz) - 1)
    points = BOX.to_world(index)
    found = np.linalg.norm(by_itk(transform, points) - bend()(points), axis=1).max()
    assert 0.5 * found <= stated <= 2 * found


def test_a_field_that_is_good_enough_is_written_without_a_warning():
    shift = Inverse(Chain((Affine(np.eye(3), [1, 2, 3]), field_of_zeros())))
    np.testing.assert_allclose(
        by_itk(to_sitk(shift, grid=BOX), BOX.centre[None]), BOX.centre[None] - [[1, 2, 3]]
    )


def field_of_zeros():
    return Displacement(BOX, np.zeros((3, *BOX.shape)))


def test_the_grid_must_have_the_dimension_of_the_map():
    with pytest.raises(UsageError, match="3D map cannot be sampled on a 2D grid"):
        sampled(bend(), Grid((4, 4), spacing=(1, 1)))


def test_a_map_that_cannot_be_inverted_on_the_grid_says_so():
    small = Grid((3, 4, 5), spacing=(2, 2, 2))
    fold = np.zeros((3, *small.shape))
    fold[0] = -6 * np.arange(5)
    with pytest.raises(NotConvergedError, match=r"not found.*grid inside the region"):
        to_sitk(Inverse(Displacement(small, fold)), grid=small)


# -- transforms that no map can be made of ---------------------------------------------------------


def test_an_empty_composite_is_refused():
    with pytest.raises(TransformError, match="empty"):
        from_sitk(sitk.CompositeTransform(3))


def test_a_transform_that_is_not_finite_is_refused():
    with pytest.raises(TransformError, match="not finite"):
        from_sitk(sitk.TranslationTransform(3, (float("nan"), 0, 0)))


def test_a_sheared_field_grid_is_still_right():
    values = np.random.default_rng(0).normal(size=(4, 5, 6, 3))
    image = sitk.GetImageFromArray(values, isVector=True)
    shear = np.array([[1, 0.6, 0], [0, 0.8, 0], [0, 0, 1]])
    image.SetDirection(shear.ravel().tolist())
    transform = sitk.DisplacementFieldTransform(sitk.Image(image))
    points = np.random.default_rng(1).uniform(0, 4, (20, 3))
    np.testing.assert_allclose(from_sitk(transform)(points), by_itk(transform, points), atol=1e-9)


def test_a_field_grid_that_cannot_be_is_refused():
    image = sitk.GetImageFromArray(np.zeros((4, 5, 6, 3)), isVector=True)
    image.SetDirection((2.0, 0, 0, 0, 1, 0, 0, 0, 1))
    with pytest.raises(GeometryError, match="length 1"):
        from_sitk(sitk.DisplacementFieldTransform(image))
