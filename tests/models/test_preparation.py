"""An image on a network's grid: its landmarks stay with what they mark."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from anatomark import Grid, Image, Landmarks
from anatomark.errors import ImageError
from anatomark.models.preparation import (
    averaged,
    network_grid,
    normalise,
    prepare,
    to_network,
    turn,
)
from anatomark.models.recipe import GridRecipe, IntensityRecipe

NONE = IntensityRecipe(kind="none")


def blob(grid, point, sigma):
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), -1)[..., ::-1]
    world = grid.to_world(index.astype(float))
    return np.exp(-((world - point) ** 2).sum(-1) / (2 * sigma**2)).astype(np.float32)


def centroid(array, grid):
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), -1)[..., ::-1]
    world = grid.to_world(index.astype(float)).reshape(-1, grid.dimension)
    weight = array.ravel().astype(float)
    return (world * weight[:, None]).sum(0) / weight.sum()


def oblique(dim, shape, spacing, seed=0, mirrored=False):
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))
    q[:, 0] *= np.sign(np.linalg.det(q)) * (-1 if mirrored else 1)
    return Grid(shape, spacing, np.arange(dim) * 17.0 - 40, q)


RECIPES = {
    "pad": {"fit": "pad"},
    "stretch": {"fit": "stretch"},
    "spacing": {"spacing": 1.7},
    "finer": {"spacing": 0.6},
    "as stored": {"fit": "pad", "orientation": "as stored"},
}


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("kind", RECIPES)
def test_a_blob_and_its_landmark_stay_together(kind, dim, mirrored):
    shape = {2: (70, 50), 3: (30, 44, 38)}[dim]
    spacing = {2: (0.5, 0.8), 3: (0.7, 0.6, 1.3)}[dim]
    grid = oblique(dim, shape, spacing, mirrored=mirrored)
    point = grid.centre + np.array([2.1, -3.3, 1.7])[:dim]
    image = Image(blob(grid, point, 2.5), grid)
    recipe = GridRecipe(size=(24, 32, 20)[:dim], **RECIPES[kind])
    ready = prepare(image, recipe, NONE)
    assert ready.array.shape[1:] == ready.grid.shape
    assert np.linalg.norm(centroid(ready.array[0], ready.grid) - point) < 0.08
    points, present = to_network(Landmarks(["a"], [point]), ready.grid)
    assert present.all()
    back = ready.grid.from_normalised(points.astype(np.float64))[0]
    np.testing.assert_allclose(back, point, atol=1e-4)


def test_the_whole_image_is_shown_with_its_proportions():
    grid = Grid((40, 100), [1.0, 1.0])
    seen = network_grid(grid, GridRecipe(size=(50, 50)))
    np.testing.assert_allclose(seen.spacing, [2, 2])
    np.testing.assert_allclose(seen.centre, grid.centre)
    ready = prepare(Image(np.ones(grid.shape, "f4") + 4, grid), GridRecipe(size=(50, 50)), NONE)
    assert ready.inside.sum() == 20 * 50
    assert ready.inside[15:35].all()
    stretched = network_grid(grid, GridRecipe(size=(50, 50), fit="stretch"))
    np.testing.assert_allclose(stretched.corners(), grid.corners())


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("flipped", [(), (0,), (1, 2), (0, 1, 2)])
def test_turned_axes_run_to_l_p_and_s_and_nothing_moves(axes, flipped):
    array = np.arange(24.0).reshape(2, 3, 4)
    image = Image(array, Grid((2, 3, 4), [1, 2, 3], [5, 6, 7])).permute(axes)
    for axis in flipped:
        image = image.flip(axis)
    turned = turn(image)
    assert turned.grid.orientation == "LPS"
    assert np.array_equal(turned.array, array)
    np.testing.assert_allclose(turned.grid.origin, [5, 6, 7])


def test_coarser_voxels_are_means():
    rng = np.random.default_rng(0)
    array = rng.normal(size=(1, 6, 9)).astype("f4")
    image = Image(array, Grid((6, 9), [1.0, 1.0], [10, 20]))
    coarse = averaged(image, np.array([3.2, 2.0]))
    expected = array.reshape(1, 3, 2, 3, 3).mean((2, 4))
    np.testing.assert_allclose(coarse.array, expected, atol=1e-6)
    np.testing.assert_allclose(coarse.grid.origin, [11, 20.5])
    np.testing.assert_allclose(coarse.grid.spacing, [3, 2])


def test_downsampling_does_not_alias():
    """A chequered image becomes grey, not black or white."""
    array = (np.indices((64, 64)).sum(0) % 2).astype("f4")
    ready = prepare(Image(array, Grid((64, 64), [1, 1])), GridRecipe(size=(16, 16)), NONE)
    assert np.abs(ready.array - 0.5).max() < 1e-6
    smooth = gaussian_filter(np.random.default_rng(0).normal(size=(64, 64)), 8).astype("f4")
    ready = prepare(Image(smooth, Grid((64, 64), [1, 1])), GridRecipe(size=(16, 16)), NONE)
    direct = smooth.reshape(16, 4, 16, 4).mean((1, 3))
    np.testing.assert_allclose(ready.array[0], direct, atol=1e-5)


def test_grey_values():
    rng = np.random.default_rng(1)
    array = rng.normal(100, 20, (2, 10, 10)).astype("f4")
    inside = np.ones((10, 10), bool)
    inside[:5] = False
    z = normalise(array, inside, IntensityRecipe(kind="zscore"))
    np.testing.assert_allclose(z[:, 5:].mean((1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(z[:, 5:].std((1, 2)), 1, atol=1e-5)
    w = normalise(array, inside, IntensityRecipe(kind="window", low=80, high=120))
    np.testing.assert_allclose(w, np.clip((array - 80) / 40, 0, 1), atol=1e-6)
    p = normalise(array, inside, IntensityRecipe(kind="percentiles", low=5, high=95))
    low, high = np.percentile(array[0, 5:], (5, 95))
    np.testing.assert_allclose(p[0], np.clip((array[0] - low) / (high - low), 0, 1), atol=1e-5)
    e = normalise(array, inside, IntensityRecipe(kind="equalise"))
    below = [(array[1, 5:] <= v).mean() for v in array[1, 5:].ravel()]
    np.testing.assert_allclose(e[1, 5:].ravel(), below, atol=0.061)  # a bin of few
    hot = array.copy()
    hot[1, 9, 9] = 1e7  # one wild pixel changes no other
    h = normalise(hot, inside, IntensityRecipe(kind="equalise"))
    np.testing.assert_allclose(h[1, 5:9], e[1, 5:9], atol=0.05)
    assert e.min() >= 0
    assert e.max() <= 1
    flat = normalise(np.full((1, 4, 4), 7, "f4"), np.ones((4, 4), bool), IntensityRecipe())
    assert np.isfinite(flat).all()


def test_another_dimension_or_number_of_channels_is_refused():
    flat = Image(np.zeros((8, 8), "f4"), Grid((8, 8), [1, 1]))
    with pytest.raises(ImageError, match="the image is 2D, the model is for 3D"):
        prepare(flat, GridRecipe(size=(8, 8, 8)), NONE)
    colours = Image(np.zeros((3, 8, 8), "f4"), Grid((8, 8), [1, 1]))
    with pytest.raises(ImageError, match="has 3 channels, the model is for 1"):
        prepare(colours, GridRecipe(size=(8, 8)), NONE)


def test_a_point_beside_the_image_is_absent():
    marks = Landmarks(["in", "out", "gone"], [[3, 3], [30, 3], [np.nan, np.nan]])
    points, present = to_network(marks, Grid((8, 8), [1, 1]))
    assert present.tolist() == [True, False, False]
    assert np.isfinite(points).all()
