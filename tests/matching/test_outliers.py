"""Wild matches go, good ones stay, in simulations with known truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from anatomark.correspondence import Matches
from anatomark.errors import AnatomarkWarning, LandmarkError, UsageError
from anatomark.geometry import Grid
from anatomark.maps import Affine
from anatomark.matching.known import draw_affine, draw_elastic
from anatomark.matching.outliers import fit, fitted, reject
from anatomark.matching.splines import thin_plate

SIZE = {2: 400.0, 3: 200.0}


def simulated(dimension: int, seed: int, *, elastic: bool, wild: float = 0.2, count: int = 400):
    """Matches under a map, 1 mm of noise, and which are wild: anywhere in the moving image."""
    rng = np.random.default_rng(seed)
    grid = Grid((100,) * dimension, (SIZE[dimension] / 100,) * dimension)
    warp = (draw_elastic if elastic else draw_affine)(grid, rng)
    fixed = rng.uniform(0, SIZE[dimension], (count, dimension))
    moving = warp(fixed) + rng.normal(0, 0.5, fixed.shape)
    off = np.arange(count) < wild * count
    moving[off] = rng.uniform(0, SIZE[dimension], (int(off.sum()), dimension))
    far = np.linalg.norm(moving - warp(fixed), axis=1) > 10
    return Matches(fixed, moving), off & far


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("elastic", [False, True], ids=["affine", "elastic"])
@pytest.mark.parametrize("seed", range(3))
def test_smooth_kills_wild_matches_and_spares_good_ones(dimension, elastic, seed):
    matches, wild = simulated(dimension, seed, elastic=elastic)
    found = reject(matches, how="smooth")
    assert (~found.good)[wild].mean() >= 0.95
    assert found.good[np.arange(400) >= 80].mean() >= 0.98
    assert found.rejected == 400 - len(found.kept)
    np.testing.assert_array_equal(found.kept.fixed_mm, matches.fixed_mm[found.good])


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("wild", [0.2, 0.6])
def test_ransac_finds_the_affine_map_among_many_wild_matches(dimension, wild):
    matches, off = simulated(dimension, 5, elastic=False, wild=wild)
    found = reject(matches, how="ransac", tolerance_mm=5)
    assert (~found.good)[off].mean() >= 0.95
    assert found.good[np.arange(400) >= wild * 400].mean() >= 0.99
    again = reject(matches, how="ransac", tolerance_mm=5)
    np.testing.assert_array_equal(again.good, found.good)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("model", ["rigid", "similarity", "affine"])
def test_fits_recover_the_map(dimension, model):
    rng = np.random.default_rng(0)
    turn = Rotation.from_rotvec([0, 0, 0.7] if dimension == 2 else [0.3, -0.5, 0.7]).as_matrix()
    matrix = turn[:dimension, :dimension] * (1 if model == "rigid" else 1.3)
    if model == "affine":
        matrix = matrix @ np.diag([1.2, 0.8, 1.1][:dimension])
    points = rng.normal(0, 50, (9, dimension))
    matches = Matches(points, points @ matrix.T + 7)
    found = fit(matches, model)
    np.testing.assert_allclose(found.matrix, matrix, atol=1e-9)
    np.testing.assert_allclose(found.offset, 7, atol=1e-7)


def test_a_rigid_fit_is_that_of_scipy_and_never_mirrors():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 8, 3))
    expected, _ = Rotation.align_vectors(b - b.mean(0), a - a.mean(0))
    matrix, _ = fitted(a[None], b[None], "rigid")
    np.testing.assert_allclose(matrix[0], expected.as_matrix(), atol=1e-9)
    mirrored, _ = fitted(a[None], a[None] * [-1, 1, 1], "rigid")
    assert np.linalg.det(mirrored[0]) == pytest.approx(1)


@pytest.mark.parametrize("model", ["rigid", "similarity"])
def test_ransac_with_other_models(model):
    rng = np.random.default_rng(2)
    turn = Rotation.from_rotvec([0.1, 0.4, -0.3]).as_matrix() * (1 if model == "rigid" else 0.8)
    points = rng.uniform(0, 100, (60, 3))
    moved = Affine(turn, [3, 4, 5])(points)
    moved[:20] = rng.uniform(0, 100, (20, 3))
    found = reject(Matches(points, moved), how="ransac", model=model, tolerance_mm=2)
    np.testing.assert_array_equal(found.good[20:], True)
    assert found.good[:20].sum() <= 1


@pytest.mark.parametrize("how", ["smooth", "ransac"])
@pytest.mark.parametrize("count", [0, 1, 4])
def test_too_few_are_kept_with_a_warning(how, count):
    points = np.random.default_rng(0).normal(size=(count, 2))
    with pytest.warns(AnatomarkWarning, match="too few"):
        found = reject(Matches(points, points), how=how)
    assert (len(found.kept), found.rejected) == (count, 0)


@pytest.mark.parametrize("how", ["smooth", "ransac"])
def test_points_in_a_line_or_at_one_place_are_no_trouble(how):
    line = np.outer(np.arange(30.0), [1.0, 2.0])
    moved = line + 5
    moved[7] += 60
    found = reject(Matches(line, moved), how=how)
    assert np.flatnonzero(~found.good).tolist() == [7]
    same = reject(Matches(np.zeros((9, 2)), np.ones((9, 2))), how=how)
    assert same.rejected == 0


def test_wrong_options_are_told():
    matches = Matches(np.zeros((9, 2)), np.zeros((9, 2)))
    for options in ({"how": "magic"}, {"model": "spline"}, {"tolerance_mm": 0.0}):
        with pytest.raises(UsageError):
            reject(matches, **options)


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_spline_goes_through_the_matches(dimension):
    matches, _ = simulated(dimension, 0, elastic=True, wild=0, count=60)
    spline = thin_plate(matches)
    np.testing.assert_allclose(spline(matches.fixed_mm), matches.moving_mm, atol=1e-6)
    flat = thin_plate(matches, smoothing=1e-2)
    off = np.linalg.norm(flat(matches.fixed_mm) - matches.moving_mm, axis=1)
    assert 0.01 < off.mean() < 10


def test_places_that_coincide_become_one():
    square = np.array([[0.0, 0], [10, 0], [0, 10], [10, 10]])
    fixed = np.vstack([square, square[:1]])
    moving = np.vstack([square, [[2.0, 4.0]]])
    spline = thin_plate(Matches(fixed, moving))
    np.testing.assert_allclose(spline(np.zeros((1, 2))), [[1, 2]], atol=1e-9)


def test_too_few_places_for_a_spline_are_told():
    with pytest.raises(LandmarkError, match="2 places"):
        thin_plate(Matches([[0, 0], [0, 0], [1, 1]], [[0, 0], [0, 0], [1, 1]]))
