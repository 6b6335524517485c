"""Seeded building blocks: random streams, smooth fields, noise, soft edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anatomark.datasets.phantoms.texture import blur, rician, smooth_noise, soft_inside, stream
from anatomark.errors import UsageError


def test_streams_of_one_seed_and_name_are_the_same_and_others_differ() -> None:
    first = stream(3, "gland").random(8)
    assert np.array_equal(first, stream(3, "gland").random(8))
    assert not np.array_equal(first, stream(4, "gland").random(8))
    assert not np.array_equal(first, stream(3, "noise").random(8))
    assert not np.array_equal(stream(3, "a", "b").random(8), stream(3, "b", "a").random(8))


def test_a_numpy_integer_is_the_same_seed() -> None:
    index = np.arange(8)[7]
    assert stream(index, "x").random() == stream(7, "x").random()


@pytest.mark.parametrize("seed", [-1, 1.5, "3", None, True])
def test_a_seed_that_is_no_whole_number_is_refused(seed: object) -> None:
    with pytest.raises(UsageError, match="seed"):
        stream(seed, "x")  # type: ignore[arg-type]


@given(
    shape=st.lists(st.integers(3, 24), min_size=1, max_size=3),
    scale=st.floats(0.3, 30),
    seed=st.integers(0, 1000),
)
def test_smooth_noise_has_mean_0_and_deviation_1_on_any_shape(
    shape: list[int], scale: float, seed: int
) -> None:
    field = smooth_noise(shape, scale_voxels=scale, rng=np.random.default_rng(seed))
    assert field.shape == tuple(shape)
    assert field.dtype == np.float32
    assert abs(float(field.mean(dtype=np.float64))) < 1e-4
    assert float(field.std(dtype=np.float64)) == pytest.approx(1, abs=1e-3)


def test_smooth_noise_is_smooth_on_its_scale_and_unrelated_beyond() -> None:
    field = smooth_noise((6000,), scale_voxels=10, rng=np.random.default_rng(0))
    correlation = [float(np.mean(field[:-lag] * field[lag:])) for lag in (1, 9, 40)]
    assert correlation[0] > 0.97
    assert correlation[1] == pytest.approx(0.5, abs=0.08)
    assert abs(correlation[2]) < 0.15


def test_smooth_noise_is_as_strong_between_the_lattice_nodes_as_at_them() -> None:
    rng = np.random.default_rng(1)
    field = smooth_noise((80_000,), scale_voxels=8, rng=rng)
    by_place_in_a_step = field.reshape(-1, 8).std(axis=0)
    assert np.ptp(by_place_in_a_step) < 0.05


def test_a_scale_below_a_voxel_is_white_along_that_axis_only() -> None:
    field = smooth_noise((200, 200), scale_voxels=(0.5, 8), rng=np.random.default_rng(2))
    assert abs(float(np.mean(field[1:] * field[:-1]))) < 0.05
    assert float(np.mean(field[:, 1:] * field[:, :-1])) > 0.9


def test_the_same_field_is_only_sampled_more_finely_on_a_finer_grid() -> None:
    coarse = smooth_noise((16, 16), scale_voxels=4, rng=np.random.default_rng(3))
    fine = smooth_noise((32, 32), scale_voxels=8, rng=np.random.default_rng(3))
    averaged = fine.reshape(16, 2, 16, 2).mean(axis=(1, 3))
    assert np.abs(averaged - coarse).max() < 0.1


def test_a_scale_that_is_not_positive_is_refused() -> None:
    with pytest.raises(UsageError, match="positive"):
        smooth_noise((4, 4), scale_voxels=0, rng=np.random.default_rng(0))


def test_a_field_of_one_voxel_is_0() -> None:
    assert smooth_noise((1, 1), scale_voxels=3, rng=np.random.default_rng(0)) == 0


def test_rician_noise_on_nothing_is_rayleigh_and_on_a_strong_signal_gaussian() -> None:
    # Gudbjartsson and Patz 1995: mean sigma * sqrt(pi / 2); about sqrt(A² + sigma²).
    rng = np.random.default_rng(4)
    nothing = rician(np.zeros(200_000), 2.0, rng)
    assert float(nothing.mean()) == pytest.approx(2.0 * np.sqrt(np.pi / 2), rel=0.01)
    strong = rician(np.full(200_000, 100.0), 2.0, rng)
    assert float(strong.mean()) == pytest.approx(np.sqrt(100**2 + 2**2), rel=1e-3)
    assert float(strong.std()) == pytest.approx(2.0, rel=0.02)


def test_rician_leaves_its_input_alone() -> None:
    signal = np.ones(10, np.float32)
    rician(signal, 1.0, np.random.default_rng(0))
    assert (signal == 1).all()


def test_blur_keeps_the_sum_and_the_place_of_a_bright_voxel() -> None:
    image = np.zeros((31, 31))
    image[12, 17] = 1
    blurred = blur(image, 2.0)
    assert float(blurred.sum()) == pytest.approx(1, abs=1e-4)
    rows, columns = np.indices(blurred.shape)
    assert float((rows * blurred).sum()) == pytest.approx(12, abs=1e-3)
    assert float((columns * blurred).sum()) == pytest.approx(17, abs=1e-3)


def test_a_soft_edge_is_half_at_the_surface_and_linear_about_it() -> None:
    distance = np.array([-5, -1, -0.5, 0, 0.5, 1, 5], np.float32)
    assert soft_inside(distance, 2.0) == pytest.approx([1, 1, 0.75, 0.5, 0.25, 0, 0])
    assert distance[0] == -5
