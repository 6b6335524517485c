"""The olfactory phantom: landmarks are the centres of what is painted, absence included."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, map_coordinates

from anatomark.data import Sample
from anatomark.datasets.phantoms.ct.canvas import Canvas
from anatomark.datasets.phantoms.olfactory.bulbs import bulb_labels
from anatomark.datasets.phantoms.olfactory.head import draw_head
from anatomark.datasets.phantoms.olfactory.mr import (
    OLFACTORY_LANDMARKS,
    OLFACTORY_PAIRS,
    olfactory_layout,
    olfactory_mr,
)
from anatomark.errors import UsageError
from anatomark.geometry import Grid

TINY = (10, 40, 44)
SMALL = (14, 64, 64)
PUBLISHED_MEDIAN_MM = 0.90  # Noothout et al. 2020, Table IV, proposed ML, both bulbs
EVERY_BULB = {"absent_probability": 0.0}


@pytest.fixture(scope="module")
def clean() -> Sample:
    return olfactory_mr(1, artefacts=False, **EVERY_BULB)


def centroid(labels: np.ndarray, number: int, grid: Grid) -> np.ndarray:
    """World centroid of a label, worked out from the header alone."""
    index = np.argwhere(labels == number).mean(axis=0)[::-1]
    return grid.origin + grid.direction @ (grid.spacing * index)


def around(seed: int, point_mm: np.ndarray, *, step_mm: float) -> tuple[Grid, np.ndarray]:
    """Bulbs painted on a fine grid about a point, as the picture's own code paints them."""
    shape = tuple(round(n / step_mm) for n in (18, 10, 10))  # longest along the slices
    direction = olfactory_layout(seed, shape=TINY)[0].direction
    half = direction @ ((np.array(shape[::-1]) - 1) / 2 * step_mm)
    grid = Grid(shape, (step_mm,) * 3, point_mm - half, direction)
    head = draw_head(seed, **EVERY_BULB)
    canvas = Canvas(grid, head.frame, background=0, blur_mm=0.5)
    return grid, bulb_labels(canvas, head.bulbs)


# -- what it is ----------------------------------------------------------------------------------


def test_it_is_a_coronal_stack_like_those_of_the_paper(clean: Sample) -> None:
    grid = clean.image.grid
    assert clean.image.array.shape == (28, 256, 256)
    assert clean.image.array.dtype == np.int16
    np.testing.assert_allclose(grid.spacing, (120 / 256, 120 / 256, 1.0))
    assert grid.orientation == "LIP"  # columns to the left, rows downwards, slices backwards
    assert clean.landmarks.names == OLFACTORY_LANDMARKS == ("right_bulb", "left_bulb")
    assert clean.landmarks.pairs == OLFACTORY_PAIRS == (("left_bulb", "right_bulb"),)


def test_stacks_are_oblique_and_lie_elsewhere() -> None:
    grids = [olfactory_layout(seed, shape=TINY)[0] for seed in range(40)]
    for grid in grids:
        np.testing.assert_allclose(grid.direction.T @ grid.direction, np.eye(3), atol=1e-12)
        assert np.linalg.det(grid.direction) > 0
    tilts = [np.degrees(np.arccos(grid.direction[1, 2])) for grid in grids]
    assert np.median(tilts) > 3
    assert max(tilts) < 35
    assert np.std([grid.origin for grid in grids], axis=0).min() > 10


def test_the_same_seed_gives_the_same_bits() -> None:
    one, again, other = (olfactory_mr(seed, shape=SMALL) for seed in (3, 3, 4))
    assert np.array_equal(one.image.array, again.image.array)
    assert one.image.grid == again.image.grid
    assert np.array_equal(one.landmarks.points_mm, again.landmarks.points_mm)
    assert np.corrcoef(one.image.array.ravel(), other.image.array.ravel())[0, 1] < 0.9


# -- the landmarks are the centres of the bulbs ----------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("number", [1, 2])
def test_a_landmark_is_the_centroid_of_what_is_painted(seed: int, number: int) -> None:
    point = olfactory_layout(seed, shape=TINY, **EVERY_BULB)[1].points_mm[number - 1]
    grid, labels = around(seed, point + 0.03, step_mm=0.125)
    assert (labels[[0, -1]] != number).all()
    np.testing.assert_allclose(centroid(labels, number, grid), point, atol=0.01)


def test_the_centroids_of_the_mask_are_the_landmarks_to_a_part_of_a_voxel() -> None:
    misses = []
    for seed in range(12):
        grid, marks = olfactory_layout(seed, **EVERY_BULB)
        head = draw_head(seed, **EVERY_BULB)
        canvas = Canvas(grid, head.frame, background=0, blur_mm=0.5)
        labels = bulb_labels(canvas, head.bulbs)
        misses += [centroid(labels, n, grid) - marks.points_mm[n - 1] for n in (1, 2)]
    assert np.abs(misses).max() < 0.2
    assert np.abs(np.mean(misses, axis=0)).max() < 0.03


def test_the_mask_of_a_sample_is_that_of_its_landmarks(clean: Sample) -> None:
    assert clean.mask.grid == clean.image.grid
    for number, point in enumerate(clean.landmarks.points_mm, 1):
        found = centroid(clean.mask.array, number, clean.image.grid)
        np.testing.assert_allclose(found, point, atol=0.2)


def test_bulbs_are_dark_in_bright_fluid(clean: Sample) -> None:
    values = clean.image.array.astype(float)
    for number in (1, 2):
        bulb = clean.mask.array == number
        beside = binary_dilation(bulb, np.ones((1, 3, 3)), iterations=4) & ~bulb
        fluid = np.percentile(values[beside], 95)
        assert values[bulb].mean() < 0.7 * fluid
        at = np.argwhere(bulb).mean(axis=0)
        centre = map_coordinates(values, at[:, None], order=1)[0]
        assert centre < 0.6 * fluid


def test_right_is_on_the_patients_right() -> None:
    for seed in range(10):
        grid, marks = olfactory_layout(seed, shape=TINY, **EVERY_BULB)
        right, left = marks.points_mm
        assert left[0] > right[0] + 4  # LPS: x grows to the left
        assert grid.to_index(left)[0] > grid.to_index(right)[0]
        assert 6 < np.linalg.norm(left - right) < 18


def test_bulbs_are_as_large_as_those_of_the_paper() -> None:
    for seed in range(8):
        point = olfactory_layout(seed, shape=TINY, **EVERY_BULB)[1].points_mm[0]
        labels = around(seed, point, step_mm=0.2)[1] == 1
        slices = np.flatnonzero(labels.any(axis=(1, 2)))
        assert 5.0 <= 0.2 * len(slices) <= 13.0
        middle = labels[slices[len(slices) // 2]]
        for axis in (0, 1):
            assert 1.2 <= 0.2 * middle.any(axis=axis).sum() <= 5.4


# -- absence -------------------------------------------------------------------------------------


def test_about_one_bulb_in_twenty_is_absent() -> None:
    present = np.array([olfactory_layout(s, shape=TINY)[1].present for s in range(400)])
    assert (np.abs((~present).mean(axis=0) - 0.05) < 0.03).all()


def test_an_absent_bulb_leaves_its_groove_empty(clean: Sample) -> None:
    without = olfactory_mr(1, artefacts=False, absent_probability=1.0)
    assert not without.landmarks.present.any()
    assert np.isnan(without.landmarks.points_mm).all()
    assert not without.mask.array.any()
    assert without.image.grid == clean.image.grid
    changed = without.image.array != clean.image.array
    assert changed[clean.mask.array > 0].mean() > 0.95
    assert changed.mean() < 0.003
    bulbs = clean.mask.array > 0
    assert without.image.array[bulbs].mean() > 1.5 * clean.image.array[bulbs].mean()


# -- the same at every resolution ------------------------------------------------------------------


def test_the_landmarks_do_not_depend_on_the_number_of_voxels() -> None:
    for seed in range(10):
        grid, large = olfactory_layout(seed)
        coarse, little = olfactory_layout(seed, shape=TINY)
        assert np.array_equal(large.points_mm, little.points_mm, equal_nan=True)
        np.testing.assert_allclose(coarse.extent, grid.extent)
        np.testing.assert_allclose(coarse.centre, grid.centre)


def test_a_smaller_volume_shows_the_same_anatomy(clean: Sample) -> None:
    small = olfactory_mr(1, shape=(14, 128, 128), artefacts=False, **EVERY_BULB)
    averaged = clean.image.array.reshape(14, 2, 128, 2, 128, 2).mean(axis=(1, 3, 5))
    assert np.corrcoef(averaged.ravel(), small.image.array.ravel())[0, 1] > 0.97


# -- hard enough -----------------------------------------------------------------------------------


def test_guessing_the_mean_place_is_several_times_worse_than_published() -> None:
    places = [olfactory_layout(seed, shape=TINY, **EVERY_BULB) for seed in range(120)]
    inside = [grid.to_normalised(marks.points_mm) for grid, marks in places]
    prior = np.mean(inside[60:], axis=0)
    errors = [
        np.linalg.norm(grid.from_normalised(prior) - marks.points_mm, axis=1)
        for grid, marks in places[:60]
    ]
    assert (np.median(errors, axis=0) > 6 * PUBLISHED_MEDIAN_MM).all()


def test_every_bulb_is_in_the_picture() -> None:
    for seed in range(100):
        grid, marks = olfactory_layout(seed, shape=TINY)
        assert grid.contains(marks.points_mm[marks.present], margin=-4).all()


def test_grey_values_alone_do_not_find_the_bulbs(clean: Sample) -> None:
    """No band of grey values has more than a few percent of overlap with the bulbs."""
    bulbs = clean.mask.array > 0
    steps = np.arange(0, clean.image.array.max(), 20)
    inside = np.histogram(clean.image.array[bulbs], steps)[0].cumsum()
    everywhere = np.histogram(clean.image.array, steps)[0].cumsum()
    hit, found = (np.subtract.outer(n, n) for n in (inside, everywhere))
    assert (2 * hit / np.maximum(found + bulbs.sum(), 1)).max() < 0.05


def test_noise_can_be_left_out() -> None:
    noisy, clean = (olfactory_mr(2, shape=SMALL, artefacts=on) for on in (True, False))
    assert noisy.image.grid == clean.image.grid
    assert not np.array_equal(noisy.image.array, clean.image.array)
    assert np.corrcoef(noisy.image.array.ravel(), clean.image.array.ravel())[0, 1] > 0.9


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"seed": -1},
        {"seed": 1.5},
        {"shape": (4, 64, 64)},
        {"shape": (64, 64)},
        {"absent_probability": 1.5},
        {"absent_probability": float("nan")},
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        olfactory_mr(**{"seed": 0, **options})
