"""The B-spline map against ITK's own transform, and against its derivative."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given
from hypothesis import strategies as st

from anatomark.errors import TransformError
from anatomark.geometry import Grid
from anatomark.maps import BSpline


def itk_spline(seed, dimension, order):
    """A bent ITK B-spline on an oblique, anisotropic domain."""
    rng = np.random.default_rng(seed)
    direction, _ = np.linalg.qr(rng.normal(size=(dimension, dimension)))
    spline = sitk.BSplineTransform(dimension, order)
    spline.SetTransformDomainDirection(direction.ravel().tolist())
    spline.SetTransformDomainOrigin(rng.normal(0, 50, dimension).tolist())
    spline.SetTransformDomainPhysicalDimensions(rng.uniform(20, 90, dimension).tolist())
    spline.SetTransformDomainMeshSize(rng.integers(1, 5, dimension).tolist())
    spline.SetParameters(rng.normal(0, 3, spline.GetNumberOfParameters()).tolist())
    return spline


def as_map(spline):
    dim = spline.GetDimension()
    fixed = np.array(spline.GetFixedParameters())
    grid = Grid(
        shape=fixed[:dim].astype(int)[::-1].tolist(),
        origin=fixed[dim : 2 * dim],
        spacing=fixed[2 * dim : 3 * dim],
        direction=fixed[3 * dim :].reshape(dim, dim),
    )
    coefficients = [sitk.GetArrayFromImage(c) for c in spline.GetCoefficientImages()]
    return BSpline(grid, np.stack(coefficients), spline.GetOrder())


def domain_points(spline, fractions):
    """World points at fractions (0…1 is inside) of the domain along its own axes."""
    direction = np.array(spline.GetTransformDomainDirection()).reshape(2 * (fractions.shape[1],))
    steps = fractions * np.array(spline.GetTransformDomainPhysicalDimensions())
    return np.array(spline.GetTransformDomainOrigin()) + steps @ direction.T


@given(st.integers(0, 10**6), st.sampled_from([2, 3]), st.sampled_from([1, 2, 3]))
def test_moves_points_as_itk_does_inside_and_outside(seed, dimension, order):
    spline = itk_spline(seed, dimension, order)
    fractions = np.random.default_rng(seed).uniform(-0.2, 1.2, (100, dimension))
    points = domain_points(spline, fractions)
    expected = [spline.TransformPoint(p.tolist()) for p in points]
    np.testing.assert_allclose(as_map(spline)(points), expected, atol=1e-9)


def test_outside_its_domain_points_stay_where_they_are():
    spline = itk_spline(1, 3, 3)
    outside = domain_points(spline, np.array([[-0.01, 0.5, 0.5], [0.5, 0.5, 1.01]]))
    np.testing.assert_array_equal(as_map(spline)(outside), outside)


def test_the_edge_belongs_to_the_domain():
    # Numbers without rounding: a few units in the last place further out ITK leaves the point.
    spline = sitk.BSplineTransform(2, 3)
    spline.SetTransformDomainPhysicalDimensions([64.0, 32.0])
    spline.SetTransformDomainMeshSize([4, 2])
    spline.SetParameters([3.0] * spline.GetNumberOfParameters())
    edge = domain_points(spline, np.array([[0.0, 0.0], [1.0, 1.0], [0.3, 1.0]]))
    expected = [spline.TransformPoint(p.tolist()) for p in edge]
    np.testing.assert_allclose(as_map(spline)(edge), expected, atol=1e-6)
    np.testing.assert_allclose(as_map(spline)(edge), edge + 3)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_derivative_agrees_with_differences(order):
    warp = as_map(itk_spline(3, 3, order))
    points = torch.from_numpy(domain_points(itk_spline(3, 3, order), np.full((2, 3), 0.43)))
    assert torch.autograd.gradcheck(warp, points.requires_grad_(), eps=1e-5, atol=1e-5)


def test_the_inverse_brings_points_back():
    spline = itk_spline(4, 3, 3)
    spline.SetParameters([p / 4 for p in spline.GetParameters()])
    points = domain_points(spline, np.random.default_rng(0).uniform(0.3, 0.7, (50, 3)))
    warp = as_map(spline)
    np.testing.assert_allclose(warp.inverse()(warp(points)), points, atol=1e-5)


def test_a_point_that_is_not_a_number_stays_one():
    assert np.isnan(as_map(itk_spline(5, 2, 3))(np.array([[np.nan, 1.0]]))).any()


@pytest.mark.parametrize(
    ("shape", "values", "order", "problem"),
    [
        ((4, 4), np.zeros((2, 4, 5)), 3, "coefficients"),
        ((4, 4), np.full((2, 4, 4), np.nan), 3, "not finite"),
        ((4, 4), np.zeros((2, 4, 4)), 0, "order"),
        ((4, 3), np.zeros((2, 4, 3)), 3, "4 control points"),
    ],
)
def test_a_spline_that_cannot_be_is_refused(shape, values, order, problem):
    with pytest.raises(TransformError, match=problem):
        BSpline(Grid(shape, spacing=(1, 1)), values, order)
