"""Fits that wrong pairs cannot spoil."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from anatomark.errors import RegistrationError
from anatomark.registration.points import fit_points
from anatomark.registration.robust import fit_reweighted, fit_robust


def pairs(wrong, *, count=60, seed=0, noise=0.5):
    rng = np.random.default_rng(seed)
    source = rng.uniform(-80, 80, (count, 3))
    matrix = Rotation.from_rotvec(rng.normal(size=3)).as_matrix()
    target = source @ matrix.T + 12 + rng.normal(size=source.shape) * noise
    bad = rng.choice(count, round(wrong * count), replace=False)
    target[bad] = rng.uniform(-80, 80, (len(bad), 3))
    return source, target, matrix, np.isin(np.arange(count), bad)


@pytest.mark.parametrize("kind", ["rigid", "similarity", "affine"])
@pytest.mark.parametrize("wrong", [0.0, 0.3, 0.5])
def test_wrong_pairs_are_left_out(kind, wrong):
    source, target, matrix, bad = pairs(wrong)
    fit = fit_robust(source, target, kind, threshold_mm=3)
    assert not fit.inliers[bad].any()
    assert fit.inliers[~bad].mean() > 0.9
    true = source @ matrix.T + 12
    assert np.linalg.norm(fit.map(source) - true, axis=1).mean() < 0.6
    if wrong:
        spoilt = fit_points(source, target, kind)
        assert np.linalg.norm(spoilt.map(source) - true, axis=1).mean() > 5


def test_the_same_seed_gives_the_same_map():
    source, target, _, _ = pairs(0.4)
    one, two = (fit_robust(source, target, threshold_mm=2, seed=4) for _ in range(2))
    np.testing.assert_array_equal(one.map.matrix, two.map.matrix)


def test_where_nothing_agrees_it_is_said():
    rng = np.random.default_rng(0)
    with pytest.raises(
        RegistrationError, match=r"only \d+ of 30 pairs agree on a rigid map within 0.01 mm"
    ):
        fit_robust(rng.normal(size=(30, 3)), rng.normal(size=(30, 3)), threshold_mm=0.01)


@pytest.mark.parametrize("kind", ["rigid", "affine"])
def test_weights_alone_leave_out_some_wrong_pairs(kind):
    source, target, matrix, bad = pairs(0.2)
    fit = fit_reweighted(source, target, kind)
    assert not fit.inliers[bad].any()
    true = source @ matrix.T + 12
    assert np.linalg.norm(fit.map(source) - true, axis=1).mean() < 0.6


def test_pairs_that_fit_exactly_are_all_kept():
    source, target, _, _ = pairs(0.0, noise=0.0)
    for fit in (fit_reweighted(source, target), fit_robust(source, target, threshold_mm=1)):
        assert fit.inliers.all()


@pytest.mark.parametrize("fitted", ["ransac", "weights"])
def test_the_predicted_error_is_that_of_many_repetitions(fitted):
    found, predicted = [], []
    for seed in range(150):
        source, target, matrix, _ = pairs(0.1, count=40, seed=seed, noise=1.0)
        fit = (
            fit_robust(source, target, threshold_mm=6, draws=60)
            if fitted == "ransac"
            else fit_reweighted(source, target)
        )
        asked = np.array([[60.0, 20.0, -70.0], [0.0, 0.0, 0.0]])
        found.append(((fit.map(asked) - asked @ matrix.T - 12) ** 2).sum(1))
        predicted.append(fit.expected_error_mm(asked) ** 2)
    np.testing.assert_allclose(np.mean(predicted, 0), np.mean(found, 0), rtol=0.3)


def test_agreeing_pairs_count_by_their_covariances():
    source, target, matrix, bad = pairs(0.3, noise=0.0)
    rng = np.random.default_rng(1)
    sd = rng.permuted(np.tile([2.0, 2.0, 0.05], (60, 1)), axis=1)  # sure along one axis
    covariance = np.einsum("nd,de->nde", sd**2, np.eye(3))
    target = target + rng.normal(size=target.shape) * sd
    true = source @ matrix.T + 12
    plain, known = (
        fit_robust(source, target, threshold_mm=8, target_covariance_mm2=given)
        for given in (None, covariance)
    )
    apart = [np.linalg.norm(f.map(source) - true, axis=1)[~bad].mean() for f in (plain, known)]
    assert apart[1] < 0.5 * apart[0]


def test_pairs_without_weight_have_no_voice():
    source, target, _, bad = pairs(0.4)
    fit = fit_robust(source, target, threshold_mm=3, weights=(~bad).astype(float))
    assert not fit.inliers[bad].any()


def test_so_few_pairs_cannot_agree():
    source, target, _, _ = pairs(0.0)
    with pytest.raises(RegistrationError, match="3 pairs cannot agree on a rigid map in 3D"):
        fit_robust(source[:3], target[:3], threshold_mm=5)
    with pytest.raises(RegistrationError, match="4 pairs cannot agree on an affine map in 3D"):
        fit_robust(source[:4], target[:4], kind="affine", threshold_mm=5)
    with pytest.raises(RegistrationError, match="the threshold must be above 0"):
        fit_robust(source, target, threshold_mm=0)
