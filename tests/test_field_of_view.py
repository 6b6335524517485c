"""What an image shows: sectors and discs in padding; and how much of a ball lies in that."""

from __future__ import annotations

from time import perf_counter

import numpy as np
import pytest

from anatomark.datasets.phantoms.prostate.pair import prostate_pair
from anatomark.field_of_view import field_of_view, view_check

SMALL = {"mr_shape": (32, 64, 64), "us_shape": (64, 64, 64)}


@pytest.fixture(scope="module")
def mr():
    pairs = (prostate_pair(seed, modalities=("mr",), **SMALL) for seed in range(8))
    return [np.asarray(p.mr.image.array)[None] for p in pairs]


@pytest.fixture(scope="module")
def us():
    return [prostate_pair(seed, modalities=("us",), **SMALL) for seed in range(50, 54)]


# -- field of view -------------------------------------------------------------------------------


def test_the_sector_is_what_the_probe_sees(us):
    for pair in us:
        seen = field_of_view(pair.us.image.array)
        truth = pair.field_of_view.array > 0
        assert (seen & truth).sum() / (seen | truth).sum() > 0.95


def test_mr_has_no_background(mr):
    assert all(field_of_view(m[0]).all() for m in mr)


@pytest.mark.parametrize("dim", [2, 3])
def test_a_disc_in_padding(dim):
    """CT: constant outside the circle; air of the same value inside it belongs to the view."""
    axes = np.meshgrid(*[np.linspace(-1, 1, 48)] * dim, indexing="ij")
    disc = sum(a**2 for a in axes) < 0.8
    image = np.where(disc, np.random.default_rng(6).integers(-900, 900, disc.shape), -2000)
    hole = sum(a**2 for a in axes) < 0.1
    image[hole] = -2000
    seen = field_of_view(image)
    np.testing.assert_array_equal(seen, disc)
    assert seen[hole].all()


def test_noise_is_no_background():
    rng = np.random.default_rng(7)
    assert field_of_view(rng.integers(0, 2, (40, 40, 40))).all()  # half the voxels are equal
    assert field_of_view(rng.integers(0, 3, (64, 64))).all()
    assert field_of_view(rng.normal(size=(30, 30)) * 1e-6).all()
    black_corner = rng.integers(1, 255, (64, 64))
    black_corner[:4, :4] = 0
    assert field_of_view(black_corner).all()


def test_blank_and_not_finite():
    assert not field_of_view(np.zeros((5, 5))).any()
    assert not field_of_view(np.full((5, 5), np.nan)).any()
    image = np.random.default_rng(8).normal(size=(20, 20))
    image[:, :8] = np.nan
    np.testing.assert_array_equal(field_of_view(image), np.isfinite(image))


def test_it_is_fast():
    image = np.zeros((128, 128, 128), np.int16)
    image[20:-20, 20:-20, 20:-20] = np.random.default_rng(9).integers(0, 99, (88, 88, 88))
    start = perf_counter()
    field_of_view(image)
    assert perf_counter() - start < 3  # 0.3 s on an idle machine


# -- how much of a point's place is shown --------------------------------------------------------


def naive_part(point, mask, radius, spacing, steps=16):
    """Sub-voxels of a ball, one by one."""
    held = total = 0
    ticks = [(k + 0.5) / steps * 2 - 1 for k in range(steps)]
    for offset in np.array(np.meshgrid(*[ticks] * len(point))).reshape(len(point), -1).T:
        if sum(o * o for o in offset) > 1:
            continue
        total += 1
        index = [round(p + o * radius / s) for p, o, s in zip(point, offset, spacing, strict=True)]
        if all(0 <= i < n for i, n in zip(index, mask.shape[::-1], strict=True)):
            held += bool(mask[tuple(index[::-1])])
    return held / total


@pytest.mark.parametrize("dim", [2, 3])
def test_against_a_naive_loop(dim):
    rng = np.random.default_rng(10)
    mask = rng.random((7, 9, 12)[-dim:]) < 0.6
    points = rng.uniform(-2, 12, (12, dim))
    spacing, radii = np.array([0.7, 1.3, 2.0])[:dim], rng.uniform(0.2, 6, 12)
    found = view_check(points, mask, radius_mm=radii, spacing_mm=spacing)
    naive = [naive_part(p, mask, r, spacing) for p, r in zip(points, radii, strict=True)]
    np.testing.assert_allclose(found, naive, atol=1e-12)


def test_parts_by_hand():
    mask = np.ones((40, 50, 60), bool)
    points = [[30, 25, 20], [-0.5, 25, 20], [-0.5, -0.5, -0.5], [-9, 25, 20], [np.nan] * 3]
    parts = view_check(points, mask, radius_mm=4.0, spacing_mm=(0.5, 1.0, 2.0))
    assert parts[:4].tolist() == [1.0, 0.5, 0.125, 0.0]
    assert np.isnan(parts[4])
    radii = [np.inf, 0.0, 0.0, 0.0, 1.0]
    assert view_check(points, mask, radius_mm=radii, spacing_mm=(1, 1, 1))[1:4].tolist() == [
        1,
        1,
        0,
    ]
    mask[:, :, 30:] = False  # x from 30
    [edge] = view_check([[29.5, 25, 20]], mask, radius_mm=[5.0], spacing_mm=(1, 1, 1))
    assert edge == 0.5
