"""B-spline lattices against scipy, and the bounds that keep them from folding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import BSpline

from anatomark.augment.elastic import (
    STEEPEST,
    at_points,
    basis,
    bounds,
    fitted,
    on_grid,
    refined,
    undo,
)

seeds = st.integers(0, 10_000)
dimensions = st.sampled_from([2, 3])


def lattice(seed: int, dimension: int, intervals: int, components: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (2, components, *[intervals + 3] * dimension)
    return torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize("intervals", [1, 4, 7])
def test_the_basis_is_that_of_scipy(intervals):
    at = np.linspace(-1, 1, 41)
    knots = np.arange(-3, intervals + 4)
    inside = np.clip((at + 1) / 2 * intervals, 0, intervals - 1e-12)  # scipy: half-open at the end
    truth = BSpline.design_matrix(inside, knots.astype(float), 3).toarray()
    np.testing.assert_allclose(basis(torch.tensor(at), intervals).numpy(), truth, atol=1e-9)
    beyond = basis(torch.tensor([-1.5, 7.0]), intervals)
    torch.testing.assert_close(beyond, basis(torch.tensor([-1.0, 1.0]), intervals))


@given(seeds, dimensions)
def test_grid_and_points_are_one_function(seed, dimension):
    controls = lattice(seed, dimension, 3, dimension)
    axes = [torch.rand(2, n, dtype=torch.float64) * 2 - 1 for n in (4, 5, 6)[:dimension]]
    grid = on_grid(controls, axes)
    assert grid.shape == (2, *[a.shape[1] for a in axes[::-1]], dimension)
    for b in range(2):
        for where in np.ndindex(*grid.shape[1:-1]):
            point = torch.stack([axes[d][b, i] for d, i in enumerate(where[::-1])])
            one = at_points(controls[b : b + 1], point[None, None])
            torch.testing.assert_close(grid[b][where], one[0, 0])


@given(seeds, dimensions, st.sampled_from([1, 4]))
def test_a_refined_lattice_is_the_same_function(seed, dimension, intervals):
    controls = lattice(seed, dimension, intervals, 2)
    points = torch.rand(2, 20, dimension, dtype=torch.float64) * 2 - 1
    finer = refined(controls)
    assert finer.shape[-1] - 3 == 2 * intervals
    torch.testing.assert_close(at_points(finer, points), at_points(controls, points))


@given(seeds, dimensions)
def test_bounds_hold_and_are_near(seed, dimension):
    extent = torch.tensor([[30.0, 50.0, 80.0][:dimension]] * 2, dtype=torch.float64)
    controls = lattice(seed, dimension, 4, dimension)
    reach, slope = bounds(controls, extent)
    step = torch.linspace(-1, 1, 41 if dimension == 3 else 161, dtype=torch.float64)
    field = on_grid(controls, [step.expand(2, -1)] * dimension)
    sizes = field.abs().flatten(1).amax(1)
    assert (sizes <= reach).all()
    assert (sizes > 0.8 * reach).all()
    rows = torch.zeros_like(field)
    for axis in range(dimension):
        step_mm = extent[0, axis] * (step[1] - step[0]) / 2
        rows += (field.roll(-1, dimension - axis) - field).abs() / step_mm
    inside = rows[(slice(None), *[slice(0, -1)] * dimension)]  # what rolled over is left out
    assert (inside.flatten(1).amax(1) <= slope + 1e-9).all()


@given(seeds, dimensions, st.sampled_from([0.3, 5.0, 1000.0]))
def test_fitted_lattices_keep_to_both_limits(seed, dimension, largest):
    extent = torch.tensor([[30.0, 50.0, 80.0][:dimension]] * 2, dtype=torch.float64)
    wanted = torch.tensor([largest, 0.0], dtype=torch.float64)
    reach, slope = bounds(fitted(lattice(seed, dimension, 4, dimension), extent, wanted), extent)
    assert (reach <= wanted + 1e-9).all()
    assert (slope <= STEEPEST + 1e-9).all()
    assert reach[0] > wanted[0] - 1e-9 or slope[0] > STEEPEST - 1e-9


@given(seeds, dimensions)
def test_undo_finds_the_points_far_outside_too(seed, dimension):
    extent = torch.tensor([[30.0, 50.0, 80.0][:dimension]] * 2, dtype=torch.float64)
    wanted = torch.full((2,), 1000.0, dtype=torch.float64)
    controls = fitted(lattice(seed, dimension, 4, dimension), extent, wanted)
    points = (torch.rand(2, 30, dimension, dtype=torch.float64) * 3 - 1.5) * extent[:, None] / 2
    target = points + at_points(controls, points / (extent[:, None] / 2))
    found = undo(controls, extent, target)
    torch.testing.assert_close(found, points, atol=1e-4, rtol=0)
