"""Images pull and points push through one map; scipy, a naive loop and bright spots judge."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import BSpline
from scipy.ndimage import map_coordinates

from anatomark.augment import AugmentConfig, Drawn, apply, apply_to_masks, draw, pull_points
from anatomark.augment.spatial import Spatial, sampling_grid
from anatomark.errors import NotConvergedError

seeds = st.integers(0, 10_000)
SHAPES = {2: (84, 72), 3: (38, 34, 44)}  # array order
EXTENTS = {2: [60.0, 95.0], 3: [50.0, 30.0, 60.0]}  # x, y(, z): no voxel is a cube

AFFINE = {"rotation_deg": 25, "scale": 0.15, "stretch": 0.1, "shear": 0.1, "translate": 0.05}
ELASTIC = {"elastic": 0.05, "elastic_probability": 1}
FLIP = {"flip_axes": (0, 1), "mirror_without_pairs": True}
CROP = {"crop": 0.7, "crop_probability": 1}
PARTS = {
    "affine": AFFINE,
    "elastic": ELASTIC,
    "flip": {**FLIP, "flip_probability": 1, "flip_axes": (0,)},
    "crop": CROP,
    "all": {**AFFINE, **ELASTIC, **FLIP, **CROP},
}


def drawn(dimension: int, seed: int = 0, batch: int = 2, **settings) -> Drawn:
    config = AugmentConfig(**settings)
    generator = torch.Generator().manual_seed(seed)
    extent = EXTENTS[dimension]
    return draw(config, batch, dimension, extent_mm=extent, generator=generator)


def spots(shape: tuple[int, ...], points: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussians about normalised points (B, D), from the definition of normalised coordinates."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)[..., ::-1]
    place = ((points + 1) * shape[::-1] - 1) / 2
    apart = index - place.reshape(-1, *[1] * len(shape), len(shape))
    return np.exp(-0.5 * (apart**2).sum(-1) / sigma**2)


def peak(image: np.ndarray) -> np.ndarray:
    """Index x, y(, z) of the maximum, by a paraboloid fitted to the logarithm about it.

    Unlike the centroid, the maximum is where a nonlinear map sends it.
    """
    near = np.argwhere(image > 0.6 * image.max())[:, ::-1].astype(float)
    values = np.log(image[tuple(near[:, ::-1].astype(int).T)])
    middle, dim = near.mean(0), near.shape[1]
    x = near - middle
    upper = np.triu_indices(dim)
    squares = (x[:, :, None] * x[:, None])[:, upper[0], upper[1]]
    fit = np.linalg.lstsq(np.hstack([np.ones((len(x), 1)), x, squares]), values, rcond=None)[0]
    curve = np.zeros((dim, dim))
    curve[upper] = fit[dim + 1 :]
    return middle - np.linalg.solve(curve + curve.T, fit[1 : dim + 1])


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_bright_spot_and_its_landmark_move_together(part, dimension, seed):
    shape = SHAPES[dimension]
    points = np.random.default_rng(seed).uniform(-0.25, 0.25, (2, dimension))
    images = torch.tensor(spots(shape, points, 2.5 if dimension == 2 else 2.0))[:, None]
    done = apply(
        drawn(dimension, seed, outside="zeros", **PARTS[part]),
        images.float(),
        torch.tensor(points)[:, None],
    )
    assert done.present.all()
    moved = ((done.points[:, 0].numpy() + 1) * shape[::-1] - 1) / 2
    for image, at in zip(done.images[:, 0].double().numpy(), moved, strict=True):
        assert np.linalg.norm(peak(image) - at) < 0.1
    before = ((points + 1) * shape[::-1] - 1) / 2
    assert np.linalg.norm(moved - before, axis=-1).max() > 0.1  # something did move


def naive_source(spatial: Spatial, sample: int, out: np.ndarray) -> np.ndarray:
    """Where one normalised output point comes from, by the definitions; scipy has the spline."""
    one = {name: getattr(spatial, name)[sample].numpy() for name in spatial.__dataclass_fields__}
    half = one["extent_mm"] / 2
    seen = np.where(one["flips"], -1, 1) * (one["zoom"] * out + one["shift"])
    controls = one["controls_mm"]
    count, displacement = controls.shape[-1], np.zeros(len(out))
    cubic = BSpline.basis_element(np.arange(-2, 3), extrapolate=False)
    place = (seen + 1) / 2 * (count - 3)
    for k in itertools.product(range(count), repeat=len(out)):  # k in x, y(, z) order
        apart = place - (np.array(k) - 1)
        if (np.abs(apart) < 2).all():
            displacement += cubic(apart).prod() * controls[(slice(None), *k[::-1])]
    moved = seen * half + displacement
    return np.linalg.inv(one["matrix"]) @ (moved - one["offset_mm"]) / half


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize(("outside", "mode"), [("border", "nearest"), ("zeros", "grid-constant")])
def test_the_whole_image_agrees_with_a_naive_loop_and_scipy(dimension, outside, mode):
    shape = (9, 7) if dimension == 2 else (4, 6, 5)
    change = drawn(dimension, 3, outside=outside, **PARTS["all"], elastic_knots=3)
    images = torch.rand(2, 3, *shape, dtype=torch.float64)
    done = apply(change, images, torch.zeros(2, 0, dimension)).images.numpy()
    labels = torch.randint(0, 2**40, (2, 1, *shape))
    moved_labels = apply_to_masks(change, labels).numpy()
    for sample in range(2):
        where = np.empty((dimension, *shape))
        for voxel in np.ndindex(*shape):
            out = (2 * np.array(voxel[::-1]) + 1) / shape[::-1] - 1
            source = naive_source(change.spatial, sample, out)
            where[(slice(None), *voxel)] = (((source + 1) * shape[::-1] - 1) / 2)[::-1]
        for channel in range(3):
            truth = map_coordinates(images[sample, channel].numpy(), where, order=1, mode=mode)
            np.testing.assert_allclose(done[sample, channel], truth, atol=1e-9)
        truth = map_coordinates(labels[sample, 0].numpy(), where, order=0, mode="grid-constant")
        away = (np.abs(where % 1 - 0.5) > 1e-6).all(0)
        np.testing.assert_array_equal(moved_labels[sample, 0][away], truth[away])


@given(seeds, st.sampled_from([2, 3]))
def test_points_and_the_sampling_grid_go_through_one_map(seed, dimension):
    change = drawn(dimension, seed, **PARTS["all"])
    shape = (7, 9, 8)[:dimension]
    grid = sampling_grid(change.spatial, shape, torch.zeros(1))
    assert grid.dtype == torch.float32
    axes = [(2 * torch.arange(n).double() + 1) / n - 1 for n in shape]
    out = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1).reshape(1, -1, dimension)
    out = out.expand(2, -1, -1)
    torch.testing.assert_close(
        pull_points(change, out), grid.double().flatten(1, -2), atol=2e-6, rtol=0
    )
    # And back: each voxel centre, brought to the input, is pushed to where it was.
    sources = pull_points(change, out)
    pushed = apply(change, torch.zeros(2, 1, *shape), sources)
    assert pushed.present.all()
    torch.testing.assert_close(pushed.points, out, atol=1e-5, rtol=0)


@given(seeds, st.sampled_from([2, 3]))
def test_the_strongest_elastic_change_does_not_fold(seed, dimension):
    change = drawn(dimension, seed, elastic=0.25, elastic_probability=1, elastic_knots=8, batch=1)
    points = (2.2 * torch.rand(200, dimension, dtype=torch.float64) - 1.1).requires_grad_()
    source = pull_points(change, points[None])[0]
    rows = [
        torch.autograd.grad(source[:, d].sum(), points, retain_graph=True)[0]
        for d in range(dimension)
    ]
    assert (torch.linalg.det(torch.stack(rows, 1)) > 0).all()


def test_rotations_stay_rotations_in_millimetres():
    """Distances in mm do not change, on voxels that are not cubes; in normalised units they do."""
    change = drawn(3, 5, rotation_deg=90, batch=4)
    points = torch.rand(4, 6, 3, dtype=torch.float64) * 0.2 - 0.1
    moved = apply(change, torch.zeros(4, 1, 5, 6, 7), points).points
    half = torch.tensor(EXTENTS[3], dtype=torch.float64) / 2
    torch.testing.assert_close(
        torch.cdist(moved * half, moved * half), torch.cdist(points * half, points * half)
    )
    assert (torch.cdist(moved, moved) - torch.cdist(points, points)).abs().max() > 0.01


def test_a_quarter_turn_is_that_of_torch():
    """In 2D on a square image: x turns towards y, as positive angles do."""
    change = drawn(2, batch=1)
    turn = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]], dtype=torch.float64)
    spatial = Spatial(
        **{**change.spatial.__dict__, "matrix": turn, "extent_mm": torch.full((1, 2), 9.0).double()}
    )
    change = Drawn(spatial, change.intensity, (), "border")
    image = torch.rand(1, 2, 9, 9)
    done = apply(change, image, torch.tensor([[[0.5, 0.0]]]))
    torch.testing.assert_close(done.images, image.rot90(-1, (2, 3)), atol=1e-5, rtol=0)
    torch.testing.assert_close(done.points, torch.tensor([[[0.0, 0.5]]]))


def test_a_crop_lies_in_the_image_and_does_not_stretch():
    change = drawn(3, 1, batch=64, crop=0.5, crop_probability=1)
    corners = pull_points(change, torch.tensor([[[-1.0] * 3, [1.0] * 3]]).expand(64, -1, -1))
    assert (corners.abs() <= 1 + 1e-12).all()
    sides = (corners[:, 1] - corners[:, 0]) / 2
    torch.testing.assert_close(sides, sides[:, :1].expand(-1, 3))
    assert sides.min() >= 0.5 - 1e-9
    assert sides.std() > 0.05


def test_a_warp_that_is_not_undone_is_an_error():
    change = drawn(2, batch=1, **ELASTIC)
    spatial = Spatial(**{**change.spatial.__dict__, "controls_mm": change.spatial.controls_mm * 60})
    with pytest.raises(NotConvergedError, match="not undone"):
        apply(
            Drawn(spatial, change.intensity, (), "border"),
            torch.zeros(1, 1, 4, 5),
            torch.rand(1, 50, 2),
        )
