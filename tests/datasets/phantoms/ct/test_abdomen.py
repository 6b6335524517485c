"""The abdomen phantom: slices rich in small structures, the same at every resolution."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, maximum_filter, minimum_filter

from anatomark.data import Sample
from anatomark.datasets.phantoms.ct.abdomen import abdomen_slice
from anatomark.errors import UsageError


@pytest.fixture(scope="module")
def slices() -> list[Sample]:
    return [abdomen_slice(seed) for seed in range(6)]


def test_it_is_a_slice_in_hu_with_a_mask_and_no_landmarks(slices: list[Sample]) -> None:
    for sample in slices:
        assert sample.image.array.shape == (512, 512)
        assert sample.image.array.dtype == np.int16
        assert sample.image.array.min() >= -1024
        assert sample.image.array.max() <= 3071
        assert sample.landmarks is None
        assert sample.mask.array.dtype == np.uint8
        assert set(np.unique(sample.mask.array)) == {0, 1}
        assert sample.mask.grid == sample.image.grid


def test_the_mask_is_the_body(slices: list[Sample]) -> None:
    for sample in slices:
        inside = sample.image.array[sample.mask.array == 1]
        outside = sample.image.array[sample.mask.array == 0]
        assert 0.15 < sample.mask.array.mean() < 0.6
        assert np.median(inside) > -130
        assert np.median(outside) < -950
        assert (inside < -400).mean() < 0.2  # gas in the bowel, no more
        assert (outside > -150).mean() < 0.05  # the table


def test_every_kind_of_tissue_is_there(slices: list[Sample]) -> None:
    for sample in slices:
        inside = sample.image.array[sample.mask.array == 1]
        assert ((inside > -140) & (inside < -60)).mean() > 0.1, "fat"
        assert ((inside > 20) & (inside < 110)).mean() > 0.15, "muscle and organs"
        assert (inside > 350).mean() > 0.003, "bone"


def test_the_same_seed_gives_the_same_bits(slices: list[Sample]) -> None:
    again = abdomen_slice(2)
    assert np.array_equal(again.image.array, slices[2].image.array)
    assert np.array_equal(again.mask.array, slices[2].mask.array)
    assert again.image.grid == slices[2].image.grid


def test_other_seeds_are_other_patients_at_other_levels(slices: list[Sample]) -> None:
    flat = [sample.image.array.ravel().astype(float) for sample in slices]
    likeness = np.corrcoef(flat)[np.triu_indices(len(flat), 1)]
    assert likeness.max() < 0.95
    inside = [np.where(s.mask.array == 1, s.image.array.clip(-200, 300), 0).ravel() for s in slices]
    assert np.corrcoef(inside)[np.triu_indices(len(inside), 1)].max() < 0.8
    assert np.ptp([sample.info["level"] for sample in slices]) > 0.3


def test_without_spacing_a_smaller_picture_shows_the_same(slices: list[Sample]) -> None:
    whole = abdomen_slice(3, artefacts=False).image
    half = abdomen_slice(3, shape=(256, 256), artefacts=False).image
    assert half.grid.same_as(whole.grid.resized((256, 256)))
    averaged = whole.array.reshape(256, 2, 256, 2).mean(axis=(1, 3))
    assert np.corrcoef(averaged.ravel(), half.array.ravel())[0, 1] > 0.985
    assert abs((averaged - half.array).mean()) < 10


def test_with_spacing_a_smaller_picture_shows_less(slices: list[Sample]) -> None:
    part = abdomen_slice(3, shape=(256, 192), spacing=480 / 512, artefacts=False).image
    whole = abdomen_slice(3, artefacts=False).image
    np.testing.assert_allclose(part.grid.spacing, 480 / 512)
    np.testing.assert_allclose(part.grid.centre, whole.grid.centre)
    middle = whole.array[128:384, 160:352].clip(-300, 600)
    assert np.corrcoef(middle.ravel(), part.array.clip(-300, 600).ravel())[0, 1] > 0.95


def test_pixels_may_be_oblong() -> None:
    grid = abdomen_slice(0, shape=(64, 96), spacing=(3.0, 5.0)).image.grid
    np.testing.assert_allclose(grid.spacing, (3.0, 5.0))
    np.testing.assert_allclose(grid.extent, (288, 320))
    assert not np.allclose(grid.origin, 0)


def test_the_anatomy_alone_offers_many_places_to_recognise() -> None:
    """Blobs of 2 mm and more, found as extremes of a difference of Gaussians, without any noise."""
    for seed in range(4):
        sample = abdomen_slice(seed, shape=(480, 480), artefacts=False)
        picture = sample.image.array.clip(-200, 300).astype(float)
        blobs = gaussian_filter(picture, 2.0) - gaussian_filter(picture, 3.2)
        extreme = (blobs == maximum_filter(blobs, 5)) | (blobs == minimum_filter(blobs, 5))
        found = extreme & (np.abs(blobs) > 8) & (sample.mask.array == 1)
        assert found.sum() > 400
        # Spread over the body, not heaped up in one corner of it.
        rows, columns = np.nonzero(found)
        body = np.argwhere(sample.mask.array == 1)
        assert (np.std([rows, columns], axis=1) > 0.7 * body.std(axis=0)).all()


def test_the_level_says_what_is_seen() -> None:
    """The hips are the widest bones: dense far from the middle at level 1, not at level 0.2."""

    def bone_far_out(level: float) -> float:
        sample = abdomen_slice(1, shape=(240, 240), level=level, artefacts=False)
        columns = np.nonzero(sample.mask.array.any(axis=0))[0]
        away = np.abs(np.arange(240) - columns.mean()) > 0.22 * np.ptp(columns)
        return float((sample.image.array[:, away] > 350).mean())

    assert bone_far_out(1.0) > 10 * bone_far_out(0.2)
    assert abdomen_slice(1, shape=(32, 32), level=0.2).info["level"] == 0.2


def test_noise_can_be_left_out(slices: list[Sample]) -> None:
    clean = abdomen_slice(0, artefacts=False)
    noise = slices[0].image.array.astype(float) - clean.image.array
    inside = noise[slices[0].mask.array == 1]
    assert 3 < np.median(np.abs(inside)) * 1.4826 < 35


@pytest.mark.parametrize(
    "options",
    [
        {"seed": -1},
        {"seed": "1"},
        {"shape": (512,)},
        {"shape": (0, 512)},
        {"level": 1.2},
        {"level": float("nan")},
        {"spacing": 0.0},
        {"spacing": (1.0, float("nan"))},
        {"spacing": (1.0, 1.0, 1.0)},
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        abdomen_slice(**{"seed": 0, **options})
