"""Images unlike those of training are named, with why; views are those that the images have."""

from __future__ import annotations

import json
import math
from time import perf_counter

import numpy as np
import pytest

from anatomark.datasets.phantoms.prostate.pair import prostate_pair
from anatomark.errors import ImageError, UsageError
from anatomark.models.quality import (
    QualityRange,
    check_quality,
    field_of_view,
    fit_quality,
    image_statistics,
    view_check,
)

SMALL = {"mr_shape": (32, 64, 64), "us_shape": (64, 64, 64)}


@pytest.fixture(scope="module")
def mr():
    pairs = (prostate_pair(seed, modalities=("mr",), **SMALL) for seed in range(34))
    return [np.asarray(p.mr.image.array)[None] for p in pairs]


@pytest.fixture(scope="module")
def us():
    return [prostate_pair(seed, modalities=("us",), **SMALL) for seed in range(50, 54)]


@pytest.fixture(scope="module")
def training(mr):
    return fit_quality([image_statistics(m) for m in mr[:24]])


def odd(training, image):
    return check_quality(training, image_statistics(image))


def test_fresh_images_are_rarely_flagged(training, mr):
    checks = [odd(training, m) for m in mr[24:]]
    assert np.mean([c.p_value < 0.01 for c in checks]) <= 0.1
    assert all((c.sentence == "") == (c.p_value >= 0.01) for c in checks)


def test_another_modality_is_flagged(training, us):
    for pair in us:
        check = odd(training, np.asarray(pair.us.image.array)[None])
        assert check.p_value < 1e-3
        assert "training images" in check.sentence


def test_spoilt_images_are_flagged_and_named(training, mr):
    rng = np.random.default_rng(0)
    for image in (m.astype(np.float64) for m in mr[24:29]):
        low, high = np.percentile(image, (5, 95))
        noisy = odd(training, image + rng.normal(size=image.shape) * 0.3 * (high - low))
        assert noisy.p_value < 1e-3
        assert "noise" in noisy.sentence
        half = image.copy()
        half[..., :32] = 0
        assert odd(training, half).sentence.startswith("the part that shows anything 0.5")
        blank = odd(training, np.full_like(image, 7))
        assert blank.p_value < 1e-3
        assert odd(training, np.minimum(image, np.percentile(image, 70))).p_value < 0.01
        assert odd(training, rng.normal(size=image.shape)).p_value < 1e-3
    inverted = [odd(training, m.max() - m.astype(np.float64)) for m in mr[24:]]
    assert np.mean([c.p_value < 0.01 for c in inverted]) >= 0.9


def test_a_factor_and_an_offset_change_nothing(mr):
    image = mr[0].astype(np.float64)
    a, b = image_statistics(image), image_statistics(image * 3.7 + 900)
    assert a == pytest.approx(b, rel=1e-6, abs=1e-9)


def test_absolute_levels_feel_the_offset(mr):
    image = mr[0].astype(np.float64)
    a, b = (image_statistics(i, absolute=True) for i in (image, image + 500))
    assert b["mid_level"] - a["mid_level"] == pytest.approx(500)
    assert a["mid_level"] == np.median(image)
    stats = [image_statistics(m.astype(float), absolute=True) for m in mr[:20]]
    assert check_quality(fit_quality(stats), b | {"mid_level": 9e4}).worst == "mid_level"


def test_noise_and_edges_by_hand():
    rng = np.random.default_rng(1)
    ramp = np.broadcast_to(np.linspace(0, 100, 96), (1, 96, 96)).copy()
    width = 90.0 * 1.0  # from the 5th to the 95th percentile of a ramp of 100
    found = image_statistics(ramp)
    assert found["noise"] == pytest.approx(0, abs=1e-9)
    slope = 100 / 95 / width
    assert found["edges"] == pytest.approx(slope / math.sqrt(2), rel=0.02)  # along one axis of two
    noisy = image_statistics(ramp + rng.normal(size=ramp.shape) * 2)
    assert noisy["noise"] == pytest.approx(2 / width, rel=0.05)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((1, 8, 8)),
        np.full((1, 4, 4, 4), np.nan),
        np.ones((1, 1, 1)),
        np.arange(3.0).reshape(1, 1, 3),
        np.array([[[0, 255], [255, 0]]], np.uint8),
        np.where(np.eye(9), np.inf, 1.0)[None],
    ],
)
def test_degenerate_images(image):
    found = image_statistics(image)
    assert all(math.isfinite(v) for v in found.values())


def test_channels_are_numbered():
    rng = np.random.default_rng(2)
    made = lambda n: [image_statistics(rng.normal(size=(2, 16, 16))) for _ in range(n)]  # noqa: E731
    training = fit_quality(made(20))
    bad = rng.normal(size=(2, 16, 16))
    bad[1] = np.cumsum(np.cumsum(bad[1], 0), 1)
    check = check_quality(training, image_statistics(bad))
    assert check.p_value < 0.01
    assert "of channel 1" in check.sentence
    with pytest.raises(UsageError, match="no statistic"):
        check_quality(training, image_statistics(bad[:1]))
    with pytest.raises(ImageError, match="no image"):
        image_statistics(bad[0])


def test_the_false_alarm_rate_of_normal_statistics():
    rng = np.random.default_rng(3)
    mix = np.random.default_rng(4).normal(size=(3, 3))

    def made(n):
        return [
            dict(zip("abc", (rng.normal(size=3) @ mix).tolist(), strict=True)) for _ in range(n)
        ]

    alarms = []
    for _ in range(20):
        training = fit_quality(made(30))
        alarms += [check_quality(training, s, alpha=0.05).sentence != "" for s in made(50)]
    assert np.mean(alarms) < 0.08


def test_values_that_do_not_fit_together():
    rng = np.random.default_rng(5)
    stats = [{"a": x, "b": x + rng.normal() * 0.05} for x in rng.normal(size=40)]
    check = check_quality(fit_quality(stats), {"a": 1.2, "b": -1.2})
    assert check.p_value < 0.01
    assert check.sentence == "a and b are unusual together"


def test_it_travels_and_refuses_too_little(training, mr):
    record = json.loads(json.dumps(training.to_record(), allow_nan=False))
    assert QualityRange.from_record(record) == training
    assert fit_quality([image_statistics(m) for m in mr[:7]]) is None
    same = fit_quality([image_statistics(mr[0])] * 10)
    assert odd(same, mr[0]).p_value > 0.01


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
