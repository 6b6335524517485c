"""Wild matches go, good ones stay, in simulations with known truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from anatomark.correspondence import Matches
from anatomark.errors import AnatomarkWarning, UsageError
from anatomark.geometry import Grid
from anatomark.maps import Affine
from anatomark.matching.known import draw_affine, draw_elastic
from anatomark.matching.outliers import reject

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


def test_matches_that_all_contradict_each_other_are_said_to():
    rng = np.random.default_rng(0)
    fixed, moving = rng.uniform(0, 200, (100, 2)), rng.uniform(0, 200, (100, 2))
    with pytest.warns(AnatomarkWarning, match="contradict each other"):
        reject(Matches(fixed, moving))
    reject(Matches(fixed, fixed + 3))  # without a warning
