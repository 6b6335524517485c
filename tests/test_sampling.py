"""Resampling: images pull, points push, and they meet; SimpleITK and scipy are the judges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import center_of_mass
from scipy.spatial.transform import Rotation

from anatomark import sampling
from anatomark.data import Image, Landmarks
from anatomark.errors import GeometryError, UsageError
from anatomark.geometry import Grid
from anatomark.maps import Affine, Chain, Displacement, ThinPlate
from anatomark.sampling import resample

seeds = st.integers(0, 10_000)
dimensions = st.sampled_from([2, 3])


def small_turn(seed: int, centre: np.ndarray) -> Affine:
    rng = np.random.default_rng(seed)
    dim = len(centre)
    full = Rotation.from_rotvec(rng.normal(0, 0.2, 3) if dim == 3 else [0, 0, rng.normal(0, 0.3)])
    return Affine.about(centre, full.as_matrix()[:dim, :dim] * 1.1, rng.normal(0, 1, dim))


def blob(grid: Grid, at: np.ndarray, sigma: float) -> Image:
    """A Gaussian about a world point, computed voxel by voxel from its definition."""
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), -1)[..., ::-1]
    apart = grid.to_world(index.reshape(-1, grid.dimension).astype(float)) - at
    values = np.exp(-0.5 * (apart**2).sum(-1) / sigma**2)
    return Image(values.reshape(grid.shape), grid)


def peak(image: Image) -> np.ndarray:
    """World point of the maximum, by a paraboloid fitted to the logarithm of the bright part.

    Unlike the centroid, the maximum is where a nonlinear map sends it.
    """
    near = np.argwhere(image.array > 0.6)
    middle = image.grid.to_world(near[:, ::-1].astype(float)).mean(axis=0)
    points = image.grid.to_world(near[:, ::-1].astype(float)) - middle
    values = np.log(image.array[tuple(near.T)])
    dim = points.shape[1]
    upper = np.triu_indices(dim)
    squares = (points[:, :, None] * points[:, None])[:, upper[0], upper[1]]
    design = np.hstack([np.ones((len(points), 1)), points, squares])
    fit = np.linalg.lstsq(design, values, rcond=None)[0]
    curvature = np.zeros((dim, dim))
    curvature[upper] = fit[dim + 1 :]
    return middle - np.linalg.solve(curvature + curvature.T, fit[1 : dim + 1])


def centroid(image: Image) -> np.ndarray:
    return image.grid.to_world(np.array(center_of_mass(image.array))[::-1])


@given(
    seeds,
    dimensions,
    st.sampled_from(["linear", "nearest"]),
    st.sampled_from(["f4", "u1", "i2", "f8"]),
)
def test_affine_resampling_agrees_with_simpleitk(make_grid, to_sitk, seed, dimension, how, dtype):
    sitk = pytest.importorskip("SimpleITK")
    rng = np.random.default_rng(seed)
    grid, target = make_grid(seed, dimension), make_grid(seed + 1, dimension)
    target = Grid(
        target.shape, target.spacing, grid.centre - target.centre + target.origin, target.direction
    )
    array = (rng.uniform(0, 200, grid.shape)).astype(dtype)
    pull = small_turn(seed, grid.centre)
    ours = resample(Image(array, grid), target, pull=pull, interpolation=how, fill=7)
    judge = sitk.AffineTransform(dimension)
    judge.SetMatrix(pull.matrix.ravel().tolist())
    judge.SetTranslation(pull.offset.tolist())
    kind = sitk.sitkLinear if how == "linear" else sitk.sitkNearestNeighbor
    # In real numbers: where ITK cuts the decimals of integers off, we round.
    source, reference = (
        Image(a.astype(float), g) for a, g in ((array, grid), (ours.array, target))
    )
    theirs = sitk.Resample(to_sitk(source), to_sitk(reference), judge, kind, 7.0)
    expected = sitk.GetArrayFromImage(theirs)
    assert ours.array.dtype == np.dtype(dtype)
    tolerance = 0.5 + 1e-4 if dtype in {"u1", "i2"} else 2e-3
    np.testing.assert_allclose(ours.array, expected, atol=tolerance)


@given(seeds, dimensions)
def test_displaced_resampling_agrees_with_simpleitk(make_grid, to_sitk, seed, dimension):
    sitk = pytest.importorskip("SimpleITK")
    rng = np.random.default_rng(seed)
    grid = make_grid(seed, dimension)
    field = rng.normal(0, 1, (dimension, *grid.shape))
    image = Image(rng.normal(size=grid.shape).astype(np.float32), grid)
    ours = resample(image, grid, pull=Displacement(grid, field), fill=-3)
    picture = sitk.GetImageFromArray(np.moveaxis(field, 0, -1).copy(), isVector=True)
    picture.CopyInformation(to_sitk(image))
    theirs = sitk.Resample(
        to_sitk(image),
        to_sitk(image),
        sitk.DisplacementFieldTransform(picture),
        sitk.sitkLinear,
        -3.0,
    )
    np.testing.assert_allclose(ours.array, sitk.GetArrayFromImage(theirs), atol=1e-4)


@given(seeds, dimensions)
def test_impulse_and_landmark_coincide_after_every_transform(seed, dimension):
    """A bright spot and its landmark move together through push, on hard grids."""
    rng = np.random.default_rng(seed)
    direction, _ = np.linalg.qr(rng.normal(size=(dimension,) * 2))
    size = 72 if dimension == 2 else 34
    grid = Grid(
        [size, *[size - 3] * (dimension - 1)],
        rng.uniform(0.8, 1.25, dimension),
        rng.normal(0, 50, dimension),
        direction,
    )
    at = grid.centre + rng.uniform(-2, 2, dimension)
    # Control points away from the spot: the 3D spline has a kink at each.
    sources = grid.centre + np.vstack([40 * np.eye(dimension), -40 * np.eye(dimension)])
    spline = ThinPlate(sources, sources + rng.normal(0, 2, sources.shape))
    turn = small_turn(seed, grid.centre)
    wide = grid.pad([12] * dimension, [12] * dimension)
    field = Displacement.of(spline, wide.resized([20] * dimension))
    axes = rng.permutation(dimension).tolist()
    target = grid.with_spacing(0.9).permute(axes).flip(0)
    image, marks = blob(grid, at, 3.0), Landmarks(["spot"], [at])
    for push in (Affine.identity(dimension), turn, spline, field, Chain((turn, spline))):
        shown, moved = resample(image, target, push=push), marks.moved(push)
        assert np.linalg.norm(peak(shown) - moved["spot"]) < 0.1


@given(seeds, dimensions, st.sampled_from([2.0, 0.5]))
def test_half_a_voxel_resizing_keeps_the_centroid(seed, dimension, factor):
    rng = np.random.default_rng(seed)
    grid = Grid([24] * dimension, rng.uniform(0.5, 2, dimension), rng.normal(0, 9, dimension))
    at = grid.centre + rng.uniform(-1, 1, dimension)
    image = blob(grid, at, 2.5 * grid.spacing.max())
    resized = resample(image, grid.resized([int(n * factor) for n in grid.shape]))
    assert np.abs(centroid(resized) - centroid(image)).max() < 0.02 * grid.spacing.max()


def test_push_and_pull_are_opposite_and_not_both():
    grid = Grid((9, 9), (1, 1))
    array = np.zeros((9, 9))
    array[4, 4] = 1
    image, right = Image(array, grid), Affine(np.eye(2), [2, 0])
    assert np.argwhere(resample(image, grid, push=right).array == 1).tolist() == [[4, 6]]
    assert np.argwhere(resample(image, grid, pull=right).array == 1).tolist() == [[4, 2]]
    with pytest.raises(UsageError, match="not both"):
        resample(image, grid, push=right, pull=right)


def test_the_same_grid_gives_the_same_values_for_every_type():
    rng = np.random.default_rng(0)
    for dtype in ("u1", "i1", "u2", "i2", "i4", "u4", "f4", "f8", "?"):
        array = rng.integers(0, 2 if dtype == "?" else 100, (5, 6, 7)).astype(dtype)
        grid = Grid((5, 6, 7), (1, 2, 3), (4, 5, 6))
        for how in ("linear", "nearest"):
            same = resample(Image(array, grid), grid, interpolation=how)
            # Real numbers go through float32 coordinates: a 10 000th of a voxel, not a bit.
            np.testing.assert_allclose(same.array, array, atol=1e-4 if dtype == "f4" else 1e-9)
            assert same.array.dtype == array.dtype
    big = np.array([[2**31 - 1, 2**30 + 1], [5, 7]], np.int32)
    np.testing.assert_array_equal(
        resample(Image(big, Grid((2, 2), (1, 1))), Grid((2, 2), (1, 1))).array, big
    )


def test_reversed_and_read_only_arrays_are_fine():
    grid = Grid((4, 5), (1, 1))
    image = Image(np.arange(20.0).reshape(4, 5), grid).flip(0)
    image.array.setflags(write=False)
    np.testing.assert_allclose(resample(image, grid).array, np.arange(20.0).reshape(4, 5))


def test_channels_are_resampled_alike():
    grid = Grid((4, 5), (1, 1))
    array = np.random.default_rng(0).normal(size=(3, 4, 5))
    target = grid.resized((7, 9))
    both = resample(Image(array, grid), target).array
    for c in range(3):
        np.testing.assert_allclose(both[c], resample(Image(array[c], grid), target).array)


def test_slabs_do_not_change_the_result(monkeypatch):
    rng = np.random.default_rng(0)
    grid = Grid((9, 10, 11), (1, 1.5, 2))
    image = Image(rng.normal(size=grid.shape).astype(np.float32), grid)
    spline_points = rng.uniform(-5, 25, (8, 3))
    pull = ThinPlate(spline_points, spline_points + rng.normal(0, 1, (8, 3)))
    whole = resample(image, grid, pull=pull)
    monkeypatch.setattr(sampling, "_VOXELS_AT_ONCE", 200)
    np.testing.assert_array_equal(resample(image, grid, pull=pull).array, whole.array)


def test_what_does_not_fit_is_refused():
    image = Image(np.zeros((4, 5)), Grid((4, 5), (1, 1)))
    with pytest.raises(GeometryError, match="2D, 3D"):
        resample(image, Grid((2, 2, 2), (1, 1, 1)))
    with pytest.raises(GeometryError, match="give the image its spacing"):
        resample(Image(np.zeros((4, 5)), Grid((4, 5), unit="px")), image.grid)
    for dtype, fill in (("u1", -1000), ("i2", np.nan), ("i2", 1e6)):
        with pytest.raises(UsageError, match="cannot hold the fill value"):
            resample(Image(image.array.astype(dtype), image.grid), image.grid, fill=fill)
    with pytest.raises(UsageError, match="complex128 cannot be resampled"):
        resample(Image(image.array.astype(complex), image.grid), image.grid)
    with pytest.raises(UsageError, match="interpolation"):
        resample(image, image.grid, interpolation="cubic")


def test_values_keep_their_gradient():
    volume = torch.randn(1, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    where = torch.rand(7, 3, dtype=torch.float64) * 1.6 - 0.8
    where.requires_grad_()
    assert torch.autograd.gradcheck(sampling.sample_at, (volume, where))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_gpu_gives_what_the_cpu_gives():
    rng = np.random.default_rng(0)
    grid = Grid((20, 30, 40), (1, 1.5, 2))
    image = Image(rng.normal(size=grid.shape).astype(np.float32), grid)
    pull = small_turn(3, grid.centre)
    on_cpu = resample(image, grid, pull=pull).array
    np.testing.assert_allclose(
        resample(image, grid, pull=pull, device="cuda").array, on_cpu, atol=1e-4
    )


def test_long_images_keep_their_values():
    """In float32 a coordinate near 20 000 is off by a 1000th of a voxel, or 59 grey levels here."""
    array = (np.arange(20000) % 2 * 60000).astype(np.uint16)[None].repeat(2, 0)
    image = Image(array, Grid(array.shape, [0.1, 0.1]))
    np.testing.assert_array_equal(resample(image, image.grid).array, array)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_hole_stays_as_small_as_it_is(value):
    array = np.random.default_rng(0).normal(size=(9, 9, 9)).astype(np.float32)
    array[4, 4, 4] = value
    seen = resample(Image(array, Grid((9, 9, 9), [1, 1, 1])), Grid((9, 9, 9), [1, 1, 1])).array
    assert np.argwhere(~np.isfinite(seen)).tolist() == [[4, 4, 4]]
    moved = resample(
        Image(array, Grid((9, 9, 9), [1, 1, 1])), Grid((9, 9, 9), [1, 1, 1], [0.5, 0, 0])
    )
    assert np.isnan(moved.array).sum() == 2


def test_integers_that_float64_cannot_hold_are_refused():
    grid = Grid((4, 4), [1, 1])
    with pytest.raises(UsageError, match="too large to be resampled exactly"):
        resample(Image(np.full((4, 4), 2**60), grid), grid)
    with pytest.raises(UsageError, match="cannot be resampled"):
        resample(Image(np.ones((4, 4), np.longdouble), grid), grid)
    small = Image(np.full((4, 4), 2**50 + 1), grid)
    np.testing.assert_array_equal(resample(small, grid, interpolation="nearest").array, small.array)
