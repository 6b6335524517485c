"""Noise, grain and streaks of the CT phantoms."""

from __future__ import annotations

import numpy as np
import pytest

from anatomark.datasets.phantoms.ct.hounsfield import (
    add_streaks,
    check_shape,
    scanner_noise,
    stored,
    texture,
)
from anatomark.errors import UsageError
from anatomark.geometry import Grid


def grid(size: int, dimension: int = 3) -> Grid:
    return Grid((size,) * dimension, np.full(dimension, 96 / size))


def noise(size: int, kernel_mm: float = 0.8) -> np.ndarray:
    rng = np.random.default_rng(0)
    return scanner_noise(grid(size), rng, sd_hu=20.0, kernel_mm=kernel_mm, voxel_mm=1.5)


def test_noise_is_as_strong_as_asked_in_the_voxels_it_is_stated_for() -> None:
    assert noise(64).std() == pytest.approx(20, rel=1e-3)


def test_larger_voxels_have_less_noise() -> None:
    assert noise(16).std() < 0.5 * noise(64).std()
    assert noise(96).std() > noise(64).std()


def test_a_soft_kernel_makes_coarser_grain_than_a_sharp_one() -> None:
    def likeness(field: np.ndarray) -> float:
        return float(np.corrcoef(field[:, :, 1:].ravel(), field[:, :, :-1].ravel())[0, 1])

    assert likeness(noise(96, 1.2)) > likeness(noise(96, 0.5)) + 0.1


def test_grain_is_the_same_at_every_resolution() -> None:
    fine = texture(grid(96), 6.0, np.random.default_rng(3))
    coarse = texture(grid(48), 6.0, np.random.default_rng(3))
    averaged = fine.reshape(48, 2, 48, 2, 48, 2).mean(axis=(1, 3, 5))
    assert np.corrcoef(averaged.ravel(), coarse.ravel())[0, 1] > 0.97
    assert fine.std() == pytest.approx(1, rel=1e-3)


def test_grain_finer_than_the_voxels_averages_out() -> None:
    assert texture(grid(12), 2.0, np.random.default_rng(0)).std() < 0.2


@pytest.mark.parametrize("dimension", [2, 3])
def test_streaks_are_rays_that_fade_away(dimension: int) -> None:
    where = grid(64, dimension)
    values = np.zeros(where.shape, np.float32)
    rng = np.random.default_rng(0)
    add_streaks(values, where, where.centre, rng, strength_hu=100.0, reach_mm=15.0)
    offset = np.stack(np.meshgrid(*map(np.arange, where.shape), indexing="ij")) - 31.5
    radius = np.hypot(offset[-1], offset[-2]) * 1.5
    middle = values if dimension == 2 else values[32]
    radius = radius if dimension == 2 else radius[32]
    near, far = (radius > 4) & (radius < 12), radius > 40
    assert middle[near].std() > 10 * middle[far].std() > 0
    assert abs(middle[near].mean()) < middle[near].std()
    if dimension == 3:
        assert np.abs(values[0]).max() < 0.1 * np.abs(values[32]).max()


def test_stored_values_are_whole_and_within_twelve_bits() -> None:
    kept = stored(np.array([-5000.0, -1000.4, 0.6, 9000.0], np.float32))
    assert kept.dtype == np.int16
    assert kept.tolist() == [-1024, -1000, 1, 3071]


@pytest.mark.parametrize("shape", [(4, 64), (64,), (64, 64, 64), (0, 0)])
def test_a_shape_that_makes_no_sense_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="shape"):
        check_shape(shape, 2)
