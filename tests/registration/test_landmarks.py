"""Fits by name, between a fixed and a moving image."""

from __future__ import annotations

import numpy as np
import pytest

from anatomark.correspondence import Matches
from anatomark.data import Image, Landmarks
from anatomark.errors import LandmarkError, RegistrationError
from anatomark.geometry import Grid
from anatomark.maps import Affine
from anatomark.registration.landmarks import (
    fit_landmarks,
    fit_matches,
    fit_pairs,
    landmark_pairs,
    match_pairs,
)
from anatomark.registration.placing import check_placed
from anatomark.sampling import resample

POINTS = np.array([[0, 0, 0], [30, 0, 0], [0, 20, 5], [4, 8, 40], [9, -9, 9.0]])
SHIFT = np.array([5.0, -3.0, 2.0])
NAMES = ("a", "b", "c", "d", "e")


def test_a_fit_pushes_moving_points_onto_fixed_ones():
    fit = fit_landmarks(Landmarks(NAMES, POINTS + SHIFT), Landmarks(NAMES, POINTS))
    np.testing.assert_allclose(fit.map([[1.0, 1.0, 1.0]]), [[6.0, -2.0, 3.0]], atol=1e-9)
    np.testing.assert_allclose(fit.inverse().map([[6.0, -2.0, 3.0]]), [[1, 1, 1]], atol=1e-9)


@pytest.mark.parametrize("kind", ["rigid", "tps"])
def test_the_moving_image_lands_on_the_fixed_one(kind):
    grid = Grid((20, 20, 20), [1.0, 1.0, 1.0])
    array = np.zeros((20, 20, 20), np.float32)
    array[4, 5, 6] = 1  # a bright voxel at x, y, z = 6, 5, 4
    fit = fit_landmarks(Landmarks(NAMES, POINTS + SHIFT), Landmarks(NAMES, POINTS), kind)
    shown = resample(Image(array, grid), grid, push=fit.map)
    assert np.unravel_index(shown.array.argmax(), shown.array.shape) == (6, 2, 11)
    assert shown.array.max() == pytest.approx(1, abs=1e-4)


def test_landmarks_are_paired_by_name_and_absent_ones_left_out():
    fixed = Landmarks(NAMES, np.where(np.arange(5)[:, None] == 1, np.nan, POINTS + SHIFT))
    moving = Landmarks(("e", "d", "c", "b", "a", "x"), [*POINTS[::-1], [99.0, 99.0, 99.0]])
    fit = fit_landmarks(fixed, moving)
    assert fit.names == ("a", "c", "d", "e")
    np.testing.assert_allclose(fit.distances_mm, 0, atol=1e-9)


def test_too_few_shared_names_are_listed():
    fixed = Landmarks(("a", "b", "left eye"), POINTS[:3])
    moving = Landmarks(("a", "b", "eye_left"), POINTS[:3])
    said = (
        "2 shared landmarks .* needs 3 .shared: a, b; only the fixed image has left eye; "
        "only the moving image has eye_left.; rename"
    )
    with pytest.raises(RegistrationError, match=said):
        fit_landmarks(fixed, moving)


def test_units_and_dimensions_must_agree():
    with pytest.raises(RegistrationError, match="fixed landmarks are in mm, the moving ones in px"):
        fit_landmarks(Landmarks(NAMES, POINTS), Landmarks(NAMES, POINTS, unit="px"))
    with pytest.raises(RegistrationError, match="are 3D, the moving ones 2D"):
        fit_landmarks(Landmarks(NAMES, POINTS), Landmarks(NAMES, POINTS[:, :2]))
    with pytest.raises(RegistrationError, match="there is no 'elastic' fit of points; one of rig"):
        fit_landmarks(Landmarks(NAMES, POINTS), Landmarks(NAMES, POINTS), "elastic")


def test_covariances_of_both_images_count():
    wrong = POINTS + SHIFT
    wrong[0] += [8, 0, 0]
    unsure = np.tile(np.eye(3) * 0.01, (5, 1, 1))
    unsure[0] = np.diag([1e4, 0.01, 0.01])
    for sides in (("fixed",), ("moving",)):
        fixed = Landmarks(NAMES, wrong, covariance_mm2=unsure if "fixed" in sides else None)
        moving = Landmarks(NAMES, POINTS, covariance_mm2=unsure if "moving" in sides else None)
        fit = fit_landmarks(fixed, moving)
        np.testing.assert_allclose(fit.distances_mm, [8, 0, 0, 0, 0], atol=0.02)
        plain = fit_landmarks(fixed, moving, covariances=False)
        assert plain.distances_mm[1:].min() > 0.3


def test_the_spline_is_made_in_the_direction_that_images_ask_for():
    rng = np.random.default_rng(0)
    fixed = Landmarks(NAMES, POINTS + rng.normal(size=POINTS.shape))
    fit = fit_landmarks(fixed, Landmarks(NAMES, POINTS), "tps")
    np.testing.assert_allclose(fit.map(POINTS), fixed.points_mm, atol=1e-5)
    assert type(fit.map.inverse()).__name__ == "ThinPlate"


def test_matches_are_fitted_robustly_and_beside_landmarks():
    rng = np.random.default_rng(0)
    moving = rng.uniform(-50, 50, (60, 3))
    fixed = moving + SHIFT
    fixed[:20] = rng.uniform(-50, 50, (20, 3))
    matches = Matches(fixed, moving)
    for kind in ("rigid", "tps"):
        fit = fit_matches(matches, kind, threshold_mm=2)
        assert not fit.inliers[:20].any()
        assert fit.inliers[20:].all()
        np.testing.assert_allclose(fit.map(moving[20:]), fixed[20:], atol=1e-5)
    known = Landmarks(NAMES, POINTS + SHIFT, covariance_mm2=np.tile(np.eye(3), (5, 1, 1)))
    both = landmark_pairs(known, Landmarks(NAMES, POINTS)).joined(match_pairs(matches, sd_mm=1))
    fit = fit_pairs(both, "rigid", robust="ransac", threshold_mm=2)
    assert fit.names[:6] == (*NAMES, "m001")
    assert fit.inliers.sum() == 45
    with pytest.raises(RegistrationError, match="needs the distance within which they do"):
        fit_matches(matches)


def test_points_in_the_other_frame_are_noticed():
    grid = Grid((40, 50, 60), [2.0, 2.0, 2.0], origin=[30.0, 40.0, -20.0])
    inside = Landmarks(("a", "b"), grid.to_world([[5.0, 6.0, 7.0], [50.0, 40.0, 30.0]]))
    check_placed(inside, grid)
    ras = inside.moved(Affine(np.diag([-1.0, -1.0, 1.0]), np.zeros(3)))
    with pytest.raises(LandmarkError, match="p.fcsv: 2 of 2 .* x and y negated .* RAS read as LPS"):
        check_placed(ras, grid, path="p.fcsv")
    far = Grid((40, 50, 60), [2.0, 2.0, 2.0], origin=[500.0, 400.0, -900.0])
    voxels = Landmarks(("a", "b"), [[5.0, 6.0, 7.0], [50.0, 40.0, 30.0]])
    with pytest.raises(LandmarkError, match="as voxel indices they would lie inside"):
        check_placed(voxels, far)
    with pytest.raises(LandmarkError, match="check that they belong to this image"):
        check_placed(Landmarks(("a",), [[9e3, 9e3, 9e3]]), grid)
    with pytest.raises(LandmarkError, match="in px, the image in mm"):
        check_placed(Landmarks(("a",), [[1.0, 2.0, 3.0]], unit="px"), grid)


def test_wrong_pairs_of_a_map_that_bends_are_told_by_their_neighbours():
    """One affine map would throw away what bends; neighbours throw away what is wrong."""
    rng = np.random.default_rng(4)
    fixed = rng.uniform(0, 200, (300, 2))
    moving = fixed + np.stack([12 * np.sin(fixed[:, 1] / 25), 8 * np.cos(fixed[:, 0] / 30)], 1)
    wrong = rng.choice(300, 40, replace=False)
    moving[wrong] = rng.uniform(0, 200, (40, 2))
    good = ~np.isin(np.arange(300), wrong)
    matches = Matches(fixed, moving)
    bent = fit_matches(matches, "tps", threshold_mm=4.0, smoothing=1e-3)
    assert bent.inliers[good].mean() > 0.95
    assert bent.inliers[wrong].mean() < 0.1
    one = fit_matches(matches, "tps", robust="ransac", threshold_mm=4.0, smoothing=1e-3)
    assert one.inliers[good].mean() < 0.8
    with pytest.raises(RegistrationError, match="threshold"):
        fit_matches(matches, "tps")
    straight = fit_matches(
        Matches(fixed, np.where(good[:, None], fixed @ [[0, 1], [-1, 0]] + 5, moving)),
        "rigid", robust="smooth", threshold_mm=4.0,
    )  # fmt: skip
    np.testing.assert_allclose(straight.map.matrix, [[0, 1], [-1, 0]], atol=1e-6)
