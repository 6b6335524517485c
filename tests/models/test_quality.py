"""Images unlike those of training are named, with why."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from anatomark.datasets.phantoms.prostate.pair import prostate_pair
from anatomark.errors import ImageError, UsageError
from anatomark.models.quality import (
    QualityRange,
    check_quality,
    fit_quality,
    image_statistics,
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
