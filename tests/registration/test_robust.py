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
    with pytest.raises(RegistrationError, match=r"only \d+ of 30 pairs agree on a rigid map within 0.01 mm"):
        fit_robust(rng.normal(size=(30, 3)), rng.normal(size=(30, 3)), threshold_mm=0.01)
