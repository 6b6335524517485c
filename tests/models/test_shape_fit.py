"""The fit to the shapes: against the closed formula, and what it must never do."""

from __future__ import annotations

import numpy as np
import pytest

from anatomark.models.shape_fit import fit_to_shape
from anatomark.models.shape_model import invariants, lay
from anatomark.models.shapes import fit_shapes

RNG = np.random.default_rng(0)
BASE = {2: RNG.normal(size=(8, 2)) * 30, 3: RNG.normal(size=(8, 3)) * 30}


def prior(dim, sd=0.5, scale=False):
    rng = np.random.default_rng(dim)
    base = BASE[dim]
    return fit_shapes(base + rng.normal(size=(50, *base.shape)) * sd, scale=scale)


def turned(dim, seed=0):
    q = np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))[0]
    q[:, 0] *= np.sign(np.linalg.det(q))
    return q


@pytest.mark.parametrize("dim", [2, 3])
def test_it_is_the_mean_weighted_by_precisions(dim):
    """Small errors, no turn: in the invariant directions, Bayes' rule for two Gaussians."""
    shapes = prior(dim, sd=0.02)
    rng = np.random.default_rng(7)
    points = shapes.mean_mm + rng.normal(size=shapes.mean_mm.shape) * 0.03
    own = np.broadcast_to(0.03**2 * np.eye(dim), (8, dim, dim)).copy()
    found, _ = fit_to_shape(shapes, points, own)
    laid = lay(points, shapes.mean_mm, np.ones(8), scale=False)
    free = invariants(shapes.mean_mm, scale=False)
    least = 1e-6 * (shapes.mean_mm**2).sum() / 8
    error = (0.03**2 + least) * np.eye(free.shape[1])
    inner = free.T @ shapes.covariance_mm2 @ free
    off = free.T @ (laid(points) - shapes.mean_mm).ravel()
    expected = free @ (inner @ np.linalg.solve(inner + error, off))
    result = laid(found) - shapes.mean_mm
    np.testing.assert_allclose(result.ravel(), expected, atol=2e-4)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("scale", [False, True])
def test_a_pose_moves_the_answer_along(dim, scale):
    shapes = prior(dim, scale=scale)
    rng = np.random.default_rng(3)
    points = BASE[dim] + rng.normal(size=BASE[dim].shape) * 2
    factors = rng.uniform(1, 4, (8, dim))
    own = np.stack([np.diag(f) for f in factors])
    found, spread = fit_to_shape(shapes, points, own)
    turn, shift = turned(dim), rng.normal(size=dim) * 100
    moved, spread_moved = fit_to_shape(shapes, points @ turn.T + shift, turn @ own @ turn.T)
    np.testing.assert_allclose(moved, found @ turn.T + shift, atol=1e-6)
    np.testing.assert_allclose(spread_moved, turn @ spread @ turn.T, atol=1e-6)


def test_errors_shrink_and_are_as_large_as_said():
    shapes, dim = prior(3), 3
    rng = np.random.default_rng(5)
    before, after, said = [], [], []
    for _ in range(200):
        true = BASE[3] + rng.normal(size=BASE[3].shape) * 0.5
        own = np.broadcast_to(9 * np.eye(dim), (8, dim, dim)).copy()
        points = true + rng.normal(size=true.shape) * 3
        found, spread = fit_to_shape(shapes, points, own)
        before.append(((points - true) ** 2).sum(-1).mean())
        after.append(((found - true) ** 2).sum(-1).mean())
        said.append(np.trace(spread, axis1=1, axis2=2).mean())
    assert np.mean(after) < 0.45 * np.mean(before)
    # A pose of 6 freedoms among 24 numbers cannot be averaged away: 9 · 6 / 8 mm² are left.
    assert np.mean(after) == pytest.approx(9 * 6 / 8 + 3 * 0.25 * 18 / 24, rel=0.15)
    assert np.mean(said) == pytest.approx(np.mean(after), rel=0.15)


def test_a_sure_point_stays_and_an_unsure_one_goes():
    shapes = prior(3)
    points = BASE[3].copy()
    points[2] += [20, 0, 0]
    own = np.broadcast_to(0.01 * np.eye(3), (8, 3, 3)).copy()
    own[2] = 1e4 * np.eye(3)
    found, _ = fit_to_shape(shapes, points, own)
    assert np.linalg.norm(found[2] - BASE[3][2]) < 1.5
    assert np.linalg.norm(np.delete(found - points, 2, axis=0), axis=1).max() < 0.2


def test_absent_points_are_not_invented_and_too_few_are_left_alone():
    shapes = prior(3)
    points = BASE[3] + 1.0
    points[5] = np.nan
    own = np.broadcast_to(np.eye(3), (8, 3, 3)).copy()
    found, spread = fit_to_shape(shapes, points, own)
    assert np.isnan(found[5]).all()
    np.testing.assert_array_equal(spread[5], np.eye(3))
    assert np.isfinite(np.delete(found, 5, axis=0)).all()
    few = np.full_like(points, np.nan)
    few[:2] = BASE[3][:2]
    np.testing.assert_array_equal(fit_to_shape(shapes, few, own)[0], few)
