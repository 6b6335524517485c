"""Pixels on a film: where they are, and resampling between numbers of pixels."""

from __future__ import annotations

import numpy as np
import pytest

from anatomark.datasets.phantoms.xray.raster import Raster, check_shape, resize
from anatomark.errors import UsageError
from anatomark.geometry import Grid


def test_normalised_coordinates_are_those_of_the_grid():
    raster = Raster((50, 80), (160.0, 100.0))
    grid = Grid((50, 80), [2.0, 2.0], [1.0, 1.0])  # the film's corner is the world's origin
    points = np.array([(0.0, 0.0), (1.0, 1.0), (123.4, 56.7)])
    np.testing.assert_allclose(raster.normalised(points), grid.to_normalised(points), atol=1e-12)


@pytest.mark.parametrize("shape", [(37, 53), (64, 90), (200, 90)])
def test_a_linear_ramp_stays_where_it_is_at_any_number_of_pixels(shape):
    def ramp(rows: int, columns: int) -> np.ndarray:
        y, x = (np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns
        return (3 * x + 5 * y[:, None]).astype(np.float32)

    resized = resize(ramp(64, 90), shape)
    edge = max(2, max(shape) // 20)  # at the edge of the film the ramp has to end
    inner = (slice(edge, -edge), slice(edge, -edge))
    np.testing.assert_allclose(resized[inner], ramp(*shape)[inner], atol=0.02)


def test_fewer_pixels_average_what_they_cover():
    noise = np.random.default_rng(0).normal(size=(200, 200)).astype(np.float32)
    small = resize(noise, (20, 20))
    blocks = noise.reshape(20, 10, 20, 10).mean(axis=(1, 3))
    assert small.std() < 0.2
    assert np.corrcoef(small.ravel(), blocks.ravel())[0, 1] > 0.8


def test_sampling_coarsely_reproduces_a_smooth_function():
    raster = Raster((90, 120), (60.0, 45.0))

    def wave(xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
        return (np.sin(xs / 6) * np.cos(ys[:, None] / 5)).astype(np.float32)

    window = (slice(7, 80), slice(11, 111))
    coarse = raster.sample(wave, window, step_px=np.array([3.7, 5.0]))
    exact = wave((np.arange(11, 111) + 0.5) * 0.5, (np.arange(7, 80) + 0.5) * 0.5)
    np.testing.assert_allclose(coarse, exact, atol=0.01)


def test_a_shift_is_changed_only_as_far_as_the_points_need_it():
    raster = Raster((10, 10), (100.0, 50.0))
    points = np.array([(-10.0, -5.0), (20.0, 5.0)])
    np.testing.assert_allclose(raster.keep(points, np.array([50, 25]), margin=0.1), [50, 25])
    np.testing.assert_allclose(raster.keep(points, np.array([5, 48]), margin=0.1), [20, 40])


@pytest.mark.parametrize("shape", [(64,), (64, 64, 64), (64, 8), (0, 64)])
def test_a_shape_that_shows_nothing_is_refused(shape):
    with pytest.raises(UsageError, match="at least 32"):
        check_shape(shape)
