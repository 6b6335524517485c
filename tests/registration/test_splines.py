"""Thin-plate splines between points, against scipy and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import RBFInterpolator

from anatomark.errors import RegistrationError
from anatomark.registration.splines import fit_thin_plate


def knots(dim, count=12, seed=0):
    rng = np.random.default_rng(seed)
    source = rng.uniform(-50, 50, (count, dim))
    return source, source * 1.1 + 5 + rng.normal(size=source.shape) * 3


def test_without_smoothing_it_is_scipys_interpolation():
    for dim, kernel in ((2, "thin_plate_spline"), (3, "linear")):
        source, target = knots(dim)
        asked = np.random.default_rng(1).uniform(-60, 60, (40, dim))
        scipys = RBFInterpolator(source, target, kernel=kernel, degree=1)(asked)
        np.testing.assert_allclose(fit_thin_plate(source, target).map(asked), scipys, atol=1e-6)


def test_smoothing_lets_noisy_points_go():
    source, target = knots(3, 40)
    exact, smooth = (fit_thin_plate(source, target, smoothing=s) for s in (0.0, 0.5))
    np.testing.assert_allclose(exact.residuals_mm, 0, atol=1e-8)
    assert smooth.rms_mm > 0.5
    asked = np.random.default_rng(2).uniform(-40, 40, (50, 3))
    true = asked * 1.1 + 5
    errors = [np.linalg.norm(fit.map(asked) - true, axis=1).mean() for fit in (exact, smooth)]
    assert errors[1] < 0.8 * errors[0]


@pytest.mark.parametrize("smoothing", [0.0, 0.05])
def test_the_predicted_error_is_that_of_many_repetitions(smoothing):
    rng = np.random.default_rng(0)
    source, _ = knots(3, 10)
    true = source * 1.2 + 3  # affine, so that a smooth spline is not biased
    asked = rng.uniform(-50, 50, (5, 3))
    sd = rng.uniform(0.2, 1.5, (10, 3))
    covariance = np.einsum("nd,de->nde", sd**2, np.eye(3))
    found = [
        fit_thin_plate(
            source + rng.normal(size=sd.shape) * sd[::-1] / 2,
            true + rng.normal(size=sd.shape) * sd,
            smoothing=smoothing,
        ).map(asked)
        for _ in range(300)
    ]
    spread = ((np.array(found) - asked * 1.2 - 3) ** 2).sum(-1).mean(0)
    fit = fit_thin_plate(
        source, true, smoothing=smoothing,
        source_covariance_mm2=covariance[::-1] / 4, target_covariance_mm2=covariance,
    )  # fmt: skip
    np.testing.assert_allclose(fit.expected_error_mm(asked) ** 2, spread, rtol=0.25)


def test_residuals_of_a_smooth_spline_say_how_sure_it_is():
    rng = np.random.default_rng(0)
    source, _ = knots(3, 40)
    asked = rng.uniform(-30, 30, (6, 3))
    found, predicted = [], []
    for _ in range(100):
        fit = fit_thin_plate(source, source + rng.normal(size=source.shape), smoothing=1.0)
        found.append(((fit.map(asked) - asked) ** 2).sum(1))
        predicted.append(fit.expected_error_mm(asked) ** 2)
    np.testing.assert_allclose(np.mean(predicted, 0), np.mean(found, 0), rtol=0.25)
    assert np.isnan(fit_thin_plate(source, source * 1.1).expected_error_mm(asked)).all()


def test_points_at_one_place_become_one_with_the_mean_of_their_targets():
    source, target = knots(3)
    doubled = np.vstack([source, source[:1] + 1e-7])
    fit = fit_thin_plate(doubled, np.vstack([target, target[:1] + 2]))
    np.testing.assert_allclose(fit.map(source[:1]), target[:1] + 1, atol=1e-5)
    np.testing.assert_allclose(fit.residuals_mm[[0, -1]], [[-1] * 3, [1] * 3], atol=1e-5)


def test_points_in_a_plane_are_refused():
    source, target = knots(3)
    source[:, 2] = 4.0
    with pytest.raises(RegistrationError, match="source points lie in one plane"):
        fit_thin_plate(source, target)
