"""Known pairs: images and points go the same way, nothing folds, the strengths are those stated."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from anatomark.data import Image
from anatomark.errors import UsageError
from anatomark.geometry import Grid
from anatomark.io.images.reading import read_image
from anatomark.matching.body import body_of
from anatomark.matching.known import KINDS, KnownPair, known_pair

OBLIQUE = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]])
GRIDS = {
    2: Grid((90, 120), (1.5, 1.0), (-30, 400), [[0.6, -0.8], [0.8, 0.6]]),
    3: Grid((30, 44, 40), (1.2, 1.0, 2.0), (5, -80, 33), OBLIQUE),
}


def smooth(dimension: int, dtype=np.float32) -> Image:
    """Slow waves about 500, so that interpolation costs nothing."""
    grid = GRIDS[dimension]
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"))
    waves = sum(np.sin(axis * (0.11 + 0.03 * k)) for k, axis in enumerate(index))
    return Image((500 + 100 * waves).astype(dtype), grid)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("kind", ["affine", "elastic"])
def test_the_moving_image_shows_at_the_pushed_point_what_was_at_the_point(dimension, kind):
    """scipy reads both images at the two ends of the map."""
    pair = known_pair(smooth(dimension), kind, seed=3)
    grid = pair.fixed.grid
    index = np.random.default_rng(0).uniform(8, np.array(grid.size_xyz) - 9, (300, dimension))
    pushed = grid.to_index(pair.to_moving(grid.to_world(index)))
    inside = ((pushed > 1) & (pushed < np.array(grid.size_xyz) - 2)).all(axis=1)
    assert inside.sum() > 100
    before, after = (
        map_coordinates(image.array, at[inside, ::-1].T, order=1)
        for image, at in ((pair.fixed, index), (pair.moving, pushed))
    )
    assert np.abs(pushed - index)[inside].max() > 1
    np.testing.assert_allclose(after, before, atol=2.5)  # of some 400 between dark and bright


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_the_inverse_is_good_to_a_hundredth_of_a_pixel(dimension, kind):
    pair = known_pair(smooth(dimension), kind, seed=1)
    grid = pair.fixed.grid
    points = grid.to_world(
        np.random.default_rng(0).uniform(0, np.array(grid.size_xyz) - 1, (200, dimension))
    )
    there = pair.to_moving(points)
    back = pair.to_moving.inverse()(there)
    assert np.linalg.norm(back - points, axis=1).max() < 0.01 * grid.spacing.min()


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_elastic_maps_do_not_fold(dimension, seed):
    """The determinant by differences of neighbouring points, all over the image."""
    pair = known_pair(smooth(dimension), "elastic", seed=seed)
    grid, pull, step = pair.fixed.grid, pair.to_moving.inverse(), 1e-3
    count = 40 if dimension == 2 else 14
    index = np.stack(np.meshgrid(*[np.linspace(0, n - 1, count) for n in grid.size_xyz]), -1)
    points = grid.to_world(index.reshape(-1, dimension))
    columns = [
        (pull(points + step * axis) - pull(points - step * axis)) / (2 * step)
        for axis in np.eye(dimension)
    ]
    assert np.linalg.det(np.stack(columns, -1)).min() > 0.05


def test_what_was_not_in_the_fixed_image_is_background_and_not_seen():
    image = smooth(2, np.int16)
    pair = known_pair(image, "affine", seed=2)
    grid = image.grid
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), -1)[..., ::-1]
    origin = grid.to_index(pair.to_moving.inverse()(grid.to_world(index.astype(float))))
    outside = (origin < -0.5).any(-1) | (origin > np.array(grid.size_xyz) - 0.5).any(-1)
    assert 0.02 < outside.mean() < 0.6
    np.testing.assert_array_equal(pair.seen, ~outside)
    assert (pair.moving.array[outside] == image.array.min()).all()
    assert pair.moving.array.dtype == np.int16


@pytest.mark.parametrize("seed", range(5))
def test_intensities_change_linearly_and_by_a_fifth_at_most(seed):
    image = smooth(2, np.uint16)
    pair = known_pair(image, "intensity", seed=seed)
    slope, offset = np.polyfit(image.array.ravel(), pair.moving.array.ravel(), 1)
    np.testing.assert_allclose(pair.moving.array, slope * image.array + offset, rtol=1e-3)
    assert 0.8 <= slope <= 1.2
    span, mean = float(np.ptp(image.array)), image.array.mean()
    assert abs(slope * mean + offset - mean) <= 0.2 * span * 1.001
    assert pair.seen.all()
    assert pair.displacement_mm.max() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_is_a_pair(kind):
    image = smooth(2)
    first, again, other = (known_pair(image, kind, seed=s) for s in (5, 5, 6))
    np.testing.assert_array_equal(first.moving.array, again.moving.array)
    assert np.abs(first.moving.array - other.moving.array).max() > 1


def test_displacements_are_those_of_body_pixels():
    """A disk of radius 20 about the centre, turned and stretched: the map itself is the judge."""
    grid = Grid((101, 101), (1.0, 1.0))
    y, x = np.mgrid[-50:51, -50:51]
    disk = x**2 + y**2 <= 20**2
    pair = known_pair(Image(np.where(disk, 1000, 0).astype(np.uint16), grid), "affine", seed=0)
    points = np.stack([x[disk], y[disk]], -1) + 50.0
    moved = points @ pair.to_moving.matrix.T + pair.to_moving.offset
    expected = np.linalg.norm(moved - points, axis=1)
    assert len(pair.displacement_mm) == pytest.approx(len(expected), rel=0.05)
    assert np.median(pair.displacement_mm) == pytest.approx(np.median(expected), rel=0.03)


def test_the_body_is_without_specks_and_table_but_with_its_holes():
    array = np.zeros((100, 120), np.int16)
    array[20:70, 30:90] = 1000
    array[40:50, 50:60] = 0  # lungs belong to the body
    array[80:82, 10:110] = 900  # a table is thin
    array[5:9, 5:9] = 1000  # a speck is small
    expected = np.zeros_like(array, bool)
    expected[20:70, 30:90] = True
    found = body_of(Image(array, Grid(array.shape, (1.0, 1.0))))
    assert (found != expected).sum() <= 16  # corners may be rounded
    assert body_of(Image(np.zeros((9, 9)), Grid((9, 9), (1.0, 1.0)))).all()


def test_an_unknown_kind_is_refused():
    with pytest.raises(UsageError, match="intensity, affine, elastic"):
        known_pair(smooth(2), "projective", seed=0)  # type: ignore[arg-type]


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("kind", "median", "low", "high"), [("affine", 29, 14, 51), ("elastic", 12, 9, 15)]
)
def test_real_slices_move_as_the_paper_says(real_data, kind, median, low, high):
    # One map a slice: of few slices the quartiles say little. Elastic ones take their time.
    files = sorted((real_data / "ct_slices").glob("*.png"))[:: 1 if kind == "affine" else 8]
    pairs: list[KnownPair] = [
        known_pair(read_image(f, spacing=1.0), kind, seed=n) for n, f in enumerate(files)
    ]
    found = np.percentile(np.concatenate([p.displacement_mm for p in pairs]), [25, 50, 75])
    np.testing.assert_allclose(found, [low, median, high], rtol=0.35)
