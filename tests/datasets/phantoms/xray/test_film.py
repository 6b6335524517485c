"""From thickness to grey values: the law of attenuation, noise, film, borders, letters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anatomark.datasets.phantoms.xray.film import (
    Exposure,
    as_integers,
    attenuation,
    collimate,
    detect,
    develop,
    draw_exposure,
    expose,
    label,
    letters,
)
from anatomark.datasets.phantoms.xray.raster import Raster
from anatomark.datasets.phantoms.xray.thickness import Projection

RASTER = Raster((64, 96), (96.0, 64.0))
PLAIN = Exposure(
    soft_per_mm=0.02,
    bone_per_mm=0.05,
    scatter=0.0,
    blur_mm=0.01,
    quanta_per_mm2=1e5,
    gamma=1.0,
    toe=0.01,
    window=(1.0, 99.0),
    shift=(0.0, 0.0),
)


def step_wedge() -> Projection:
    view = Projection(RASTER)
    view.maps["soft"][:] = np.linspace(0, 100, 96)
    view.maps["bone"][32:] = 10
    return view


def test_attenuation_is_the_sum_of_thickness_times_coefficient():
    log = attenuation(step_wedge(), PLAIN)
    np.testing.assert_allclose(log[0], 0.02 * np.linspace(0, 100, 96), rtol=1e-5)
    np.testing.assert_allclose(log[-1] - log[0], 0.5, rtol=1e-5)


def test_noise_is_that_of_counted_quanta():
    log = np.full((400, 400), 2.0, np.float32)
    raster = Raster((400, 400), (200.0, 200.0))
    seen = detect(log, raster, PLAIN, np.random.default_rng(0))
    counted = 1e5 * 0.25 * np.exp(-2.0)  # quanta behind the object, in a pixel of 0.25 mm²
    assert seen.mean() == pytest.approx(2.0, abs=1e-3)
    assert seen.std() == pytest.approx(1 / np.sqrt(counted), rel=0.02)


def test_scatter_veils_what_is_dense_next_to_what_is_not():
    log = np.zeros(RASTER.shape, np.float32)
    log[:, 48:] = 5.0
    veiled = detect(log, RASTER, replace(PLAIN, scatter=0.2), np.random.default_rng(0))
    clear = detect(log, RASTER, PLAIN, np.random.default_rng(0))
    assert clear[:, 60].mean() == pytest.approx(5.0, abs=0.05)
    assert veiled[:, 60].mean() < 4
    assert veiled[:, 60].mean() < veiled[:, 90].mean()


def test_unsharpness_blurs_an_edge_by_so_many_millimetres():
    log = np.zeros(RASTER.shape, np.float32)
    log[:, 48:] = 0.1
    seen = detect(log, RASTER, replace(PLAIN, blur_mm=2.0, quanta_per_mm2=1e9),
                  np.random.default_rng(0))  # fmt: skip
    line = np.exp(-seen.mean(axis=0))
    rise = np.gradient((line - line[0]) / (line[-1] - line[0]))
    middle = (rise * np.arange(96)).sum()
    assert middle == pytest.approx(47.5, abs=0.1)
    assert np.sqrt((rise * (np.arange(96) - middle) ** 2).sum()) == pytest.approx(2.0, rel=0.1)


def test_film_is_dark_below_its_window_bright_above_and_rises_between():
    grey = develop(np.linspace(-1, 5, 300).astype(np.float32), PLAIN, 1.0, 3.0)
    assert grey[0] == pytest.approx(0, abs=1e-3)
    assert grey[-1] == pytest.approx(1, abs=1e-3)
    assert (np.diff(grey) >= 0).all()
    assert develop(np.float32([2.0]), PLAIN, 1.0, 3.0)[0] == pytest.approx(0.5, abs=0.01)


def test_bone_is_brighter_than_flesh_and_flesh_than_air():
    grey = expose(step_wedge(), PLAIN, np.random.default_rng(0))
    assert grey[:30, 5].mean() < grey[:30, 60].mean() < grey[40:, 60].mean()


def test_no_setting_that_can_be_drawn_leaves_the_range_of_grey():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        setting = draw_exposure(
            rng, soft_per_mm=(0.01, 0.03), bone_per_mm=(0.02, 0.08), window=(2, 98)
        )
        grey = expose(step_wedge(), setting, rng)
        assert np.isfinite(grey).all()
        assert grey.min() >= 0
        assert grey.max() <= 1
        assert grey.std() > 0.1


@pytest.mark.parametrize(("kind", "top"), [(np.uint8, 255), (np.uint16, 65535)])
def test_integers_use_the_full_range(kind, top):
    numbers = as_integers(np.float32([0, 0.5, 1]), kind)
    assert numbers.dtype == kind
    np.testing.assert_allclose(numbers, [0, top / 2, top], atol=0.5)


def test_a_border_is_even_and_leaves_the_field_alone():
    grey = np.full(RASTER.shape, 0.5, np.float32)
    pictures = [
        collimate(grey, RASTER, np.random.default_rng(seed), widest_mm=12) for seed in range(20)
    ]
    closed = [p for p in pictures if not (p == 0.5).all()]
    assert 3 <= len(closed) <= 17
    for picture in closed:
        assert (picture[13:-13, 13:-13] == 0.5).all()
        border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
        assert np.ptp(border) == 0
        assert border[0] in (np.float32(0.02), np.float32(0.97))


def test_a_letter_l_has_its_foot_at_the_lower_right():
    view = Projection(RASTER)
    letters(view, "L", np.array([20.0, 10.0]), 20.0)
    lead = view.maps["metal"] > 0
    rows = np.nonzero(lead)[0]
    assert (rows.min(), rows.max()) == (8, 31)
    assert lead[12, 20]
    assert not lead[12, 30]
    assert lead[30, 30]


def test_a_side_letter_stands_on_its_side():
    for seed in range(30):
        view = Projection(RASTER)
        label(view, np.random.default_rng(seed), side="L", at_right=True)
        single = (
            np.ptp(np.nonzero(view.maps["metal"].any(axis=0))[0])
            if view.maps["metal"].any()
            else 99
        )
        if single < 4:  # one letter, not a number
            assert not view.maps["metal"][:, :48].any()
