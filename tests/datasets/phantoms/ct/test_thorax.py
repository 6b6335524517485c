"""The thorax phantom: landmarks lie on what is drawn, and nothing gives them away."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from anatomark.data import Sample
from anatomark.datasets.phantoms.ct.thorax import THORAX_LANDMARKS, thorax_ct, thorax_layout
from anatomark.errors import UsageError

SMALL = (48, 68, 68)
WORST_PUBLISHED_MEDIAN_MM = 2.48  # Noothout et al. 2020, Table I, proposed ML


@pytest.fixture(scope="module")
def clean() -> list[Sample]:
    return [thorax_ct(seed, artefacts=False) for seed in (0, 2)]


@pytest.fixture(scope="module")
def spoilt() -> Sample:
    return thorax_ct(0)


def hu_at(sample: Sample, points_mm: Any) -> np.ndarray:
    """Interpolated HU at world points, by scipy; the index is worked out from the header here."""
    grid = sample.image.grid
    step = grid.direction * grid.spacing
    index = np.linalg.solve(step, (np.atleast_2d(points_mm) - grid.origin).T)
    return map_coordinates(sample.image.array.astype(float), index[::-1], order=1, mode="nearest")


def outwards(sample: Sample, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The root's axis, and the direction away from it at a landmark; from the landmarks alone."""
    points = sample.landmarks.points_mm
    top, bottom = points[:3].mean(axis=0), points[3:6].mean(axis=0)
    axis = (top - bottom) / np.linalg.norm(top - bottom)
    away = sample.landmarks[name] - bottom
    away = away - (away @ axis) * axis
    return axis, away / np.linalg.norm(away)


# -- what it is ----------------------------------------------------------------------------------


def test_it_is_a_volume_in_hu_with_the_eight_points_of_the_paper(spoilt: Sample) -> None:
    assert spoilt.image.array.shape == (96, 136, 136)
    assert spoilt.image.array.dtype == np.int16
    np.testing.assert_allclose(spoilt.image.grid.spacing, 1.5)
    assert spoilt.image.grid.unit == "mm"
    assert spoilt.landmarks.names == THORAX_LANDMARKS
    assert THORAX_LANDMARKS == (
        "commissure_noncoronary_right",
        "commissure_noncoronary_left",
        "commissure_left_right",
        "hinge_left",
        "hinge_noncoronary",
        "hinge_right",
        "ostium_right",
        "ostium_left",
    )


def test_its_values_are_those_of_tissue(clean: list[Sample]) -> None:
    for sample in clean:
        values = sample.image.array
        assert values.min() >= -1024
        assert values.max() <= 3071
        lung, fat = (values < -700).mean(), ((values > -130) & (values < -70)).mean()
        blood, bone = ((values > 200) & (values < 620)).mean(), (values > 300).mean()
        assert 0.15 < lung < 0.8
        assert 0.05 < fat < 0.5
        assert 0.03 < blood < 0.4
        assert bone > 0.01


def test_the_same_seed_gives_the_same_bits(spoilt: Sample) -> None:
    again = thorax_ct(0)
    assert np.array_equal(again.image.array, spoilt.image.array)
    assert again.image.grid == spoilt.image.grid
    assert np.array_equal(again.landmarks.points_mm, spoilt.landmarks.points_mm)


def test_another_seed_is_another_patient() -> None:
    one, two = thorax_ct(3, shape=SMALL), thorax_ct(4, shape=SMALL)
    assert np.corrcoef(one.image.array.ravel(), two.image.array.ravel())[0, 1] < 0.9
    shape_one = one.landmarks.points_mm - one.landmarks.points_mm.mean(axis=0)
    shape_two = two.landmarks.points_mm - two.landmarks.points_mm.mean(axis=0)
    assert np.abs(shape_one - shape_two).max() > 1.0


# -- the landmarks are on the anatomy --------------------------------------------------------------


@pytest.mark.parametrize("name", THORAX_LANDMARKS[:6])
def test_the_wall_of_the_root_ends_at_commissures_and_hinges(
    clean: list[Sample], name: str
) -> None:
    for sample in clean:
        axis, away = outwards(sample, name)
        point = sample.landmarks[name]
        # Off the leaflet that starts here: above it blood on the inside, no blood on the outside.
        inside = hu_at(sample, point - 4.5 * away + np.outer([0, 1.5, 3, 4.5], axis)).max()
        outside = hu_at(sample, point + np.outer([1.5, 2.5, 3.5], away)).min()
        assert inside > 250
        assert outside < 0.6 * inside


@pytest.mark.parametrize("name", THORAX_LANDMARKS[6:])
def test_a_vessel_leaves_the_root_at_an_ostium(clean: list[Sample], name: str) -> None:
    for sample in clean:
        axis, away = outwards(sample, name)
        point = sample.landmarks[name]
        blood = hu_at(sample, point - 5 * away)[0]
        assert blood > 250
        assert hu_at(sample, point + np.outer([0.0, 1.5, 3.0], away)).min() > 0.6 * blood
        # Around the mouth the wall is closed.
        aside = np.cross(axis, away)
        turns = np.linspace(0, 2 * np.pi, 12, endpoint=False)
        ring = np.outer(np.cos(turns), axis) + np.outer(np.sin(turns), aside)
        assert np.median(hu_at(sample, point + 3.5 * away + 5.5 * ring)) < 0.6 * blood


def test_hinges_lie_below_ostia_and_those_below_commissures_or_level(clean: list[Sample]) -> None:
    for sample in clean:
        axis, _ = outwards(sample, "hinge_left")
        height = sample.landmarks.points_mm @ axis
        assert height[3:6].max() < height[6:].min() - 2
        assert height[6:].max() < height[:3].max() + 2


# -- the same at every resolution ------------------------------------------------------------------


def test_the_landmarks_do_not_depend_on_the_number_of_voxels() -> None:
    for seed in range(10):
        grid, large = thorax_layout(seed)
        coarse, little = thorax_layout(seed, shape=(24, 40, 32))
        assert np.array_equal(large.points_mm, little.points_mm)
        np.testing.assert_allclose(coarse.extent, grid.extent)
        np.testing.assert_allclose(coarse.centre, grid.centre)


def test_a_smaller_volume_shows_the_same_anatomy(clean: list[Sample]) -> None:
    small = thorax_ct(2, shape=SMALL, artefacts=False).image.array.astype(float)
    large = clean[1].image.array.astype(float)
    averaged = large.reshape(48, 2, 68, 2, 68, 2).mean(axis=(1, 3, 5))
    assert np.corrcoef(averaged.ravel(), small.ravel())[0, 1] > 0.985
    assert abs((averaged - small).mean()) < 10


# -- hard enough -----------------------------------------------------------------------------------


def test_guessing_the_mean_place_is_several_times_worse_than_published() -> None:
    others = [thorax_layout(seed) for seed in range(1000, 1100)]
    prior = np.mean([grid.to_normalised(marks.points_mm) for grid, marks in others], axis=0)
    errors = []
    for seed in range(60):
        grid, marks = thorax_layout(seed)
        errors.append(np.linalg.norm(grid.from_normalised(prior) - marks.points_mm, axis=1))
    per_landmark = np.median(errors, axis=0)
    assert (per_landmark > 10).all()
    assert (per_landmark > 4 * WORST_PUBLISHED_MEDIAN_MM).all()


def test_knowing_the_mean_shape_and_its_place_is_not_enough_either() -> None:
    """A rigid template, put at the true middle of the points, still misses by more than 2.5 mm."""
    points = np.array([thorax_layout(seed)[1].points_mm for seed in range(100)])
    centred = points - points.mean(axis=1, keepdims=True)
    errors = np.linalg.norm(centred - centred.mean(axis=0), axis=2)
    assert np.median(errors) > 2.5


def test_worlds_differ_in_origin_and_direction() -> None:
    grids = [thorax_layout(seed)[0] for seed in range(60)]
    kinds = {grid.orientation for grid in grids}
    straight = [np.array_equal(np.abs(grid.direction), np.eye(3)) for grid in grids]
    assert kinds == {"LPS", "RAS"}
    assert 0.05 < 1 - np.mean(straight) < 0.4
    assert np.std([grid.origin for grid in grids], axis=0).min() > 10
    for grid in grids:
        np.testing.assert_allclose(grid.direction.T @ grid.direction, np.eye(3), atol=1e-12)


def test_noise_is_real_and_can_be_left_out(clean: list[Sample], spoilt: Sample) -> None:
    noise = spoilt.image.array.astype(float) - clean[0].image.array
    assert spoilt.info["noise_hu"] == pytest.approx(np.median(np.abs(noise)) * 1.4826, rel=0.25)
    # The kernel leaves its grain: neighbours resemble each other.
    assert np.corrcoef(noise[:, :, 1:].ravel(), noise[:, :, :-1].ravel())[0, 1] > 0.05


# -- outside the picture -------------------------------------------------------------------------


def test_by_default_every_landmark_is_in_the_picture() -> None:
    for seed in range(60):
        grid, marks = thorax_layout(seed)
        assert marks.present.all()
        assert grid.contains(marks.points_mm).all()


def test_a_landmark_outside_the_picture_is_absent() -> None:
    for seed in range(30):
        whole = thorax_layout(seed)[1].points_mm
        grid, marks = thorax_layout(seed, absent_probability=1.0)
        assert 1 <= (~marks.present).sum() <= 7
        assert np.array_equal(marks.present, grid.contains(whole))
        assert np.array_equal(marks.points_mm[marks.present], whole[marks.present])
        assert np.isnan(marks.points_mm[~marks.present]).all()


def test_about_as_many_as_asked_for_are_cut() -> None:
    cut = [not thorax_layout(s, absent_probability=0.3)[1].present.all() for s in range(100)]
    assert 0.15 < np.mean(cut) < 0.45


def test_a_cut_picture_still_shows_what_is_left() -> None:
    sample = thorax_ct(1, shape=(24, 34, 34), absent_probability=1.0)
    assert sample.image.grid.contains(sample.landmarks.points_mm[sample.landmarks.present]).all()


def test_a_wider_field_shows_the_whole_chest() -> None:
    sample = thorax_ct(0, shape=(20, 60, 60), field_mm=(420, 380, 120), artefacts=False)
    np.testing.assert_allclose(sample.image.grid.extent, (420, 380, 120))
    edge = sample.image.array[:, :, [0, -1]]
    assert (edge < -900).mean() > 0.9
    assert np.array_equal(sample.landmarks.points_mm, thorax_layout(0)[1].points_mm)


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"seed": -1},
        {"seed": 1.5},
        {"shape": (4, 64, 64)},
        {"shape": (64, 64)},
        {"field_mm": (200, 200)},
        {"field_mm": (200, float("nan"), 200)},
        {"field_mm": (200, 0, 200)},
        {"absent_probability": 1.5},
        {"absent_probability": float("nan")},
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        thorax_ct(**{"seed": 0, **options})
