"""Maps that are not to be trusted say so: few pairs, points on a line, exchanged names."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy import ndimage

from anatomark import Affine, Grid, Image, Landmarks
from anatomark.correspondence import Matches
from anatomark.errors import RegistrationError, UsageError
from anatomark.pipelines.registration.evidence import Evidence
from anatomark.pipelines.registration.judgement import (
    doubts_of,
    farther_than_unsure,
    point_sd,
    said_of_points,
    said_of_result,
)
from anatomark.pipelines.registration.measures import Measure
from anatomark.pipelines.registration.plan import Plan
from anatomark.pipelines.registration.report import page_of, refinement_words, to_record
from anatomark.pipelines.registration.run import register
from anatomark.registration.elastix import ElastixSettings
from anatomark.registration.intensity import Settings
from anatomark.registration.landmarks import Pairs, fit_landmarks, fit_pairs
from anatomark.registration.points import fit_points
from anatomark.sampling import resample

GRID = Grid((20, 24, 28), [2.0, 1.5, 1.5])
GRIDS = GRID, GRID
NAMES = ["a", "b", "c", "d", "e"]
SPOTS = np.array([[12.0, 9, 10], [35, 12, 8], [15, 28, 12], [20, 15, 30], [33, 25, 25]])


def clouds(shape, seed=0):
    array = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    return (array / array.std()).astype(np.float32)


FIXED = Image(clouds(GRID.shape), GRID)


def flat_pair():
    """The same picture twice, of pixels; truth is the identity."""
    array = np.clip(clouds((90, 100)) * 40 + 128, 0, 255).astype(np.uint8)
    return Image(array, Grid((90, 100), unit="px"))


def wrong_pairs(right, wrong):
    """So many pairs that are one place exactly, and so many that are anywhere."""
    rng = np.random.default_rng(0)
    fixed = rng.uniform(5, 85, (right + wrong, 2)).round()
    moving = fixed.copy()
    moving[right:] = rng.uniform(5, 85, (wrong, 2)).round()
    return Matches(fixed, moving, unit="px")


# -- pairs -----------------------------------------------------------------------------------------


def test_a_map_of_few_pairs_is_not_to_be_trusted():
    picture = flat_pair()
    found = register(picture, picture, Evidence(matches=wrong_pairs(24, 426)))
    used = int(found.fit.inliers.sum())
    assert used < 112
    [doubt] = found.doubts
    assert doubt.startswith(f"only {used} of 450 pairs agree with it")
    assert doubt.endswith(
        "give both images their spacing or fit a similarity"
    )  # pixels may differ in size
    assert np.isnan(found.expected_error).all()
    record = to_record(found, names={}, files=[])
    assert record["doubts"] == list(found.doubts)
    assert np.isnan(record["errors"]["expected"]["mean"])
    written = "\n".join(page_of(record, None)._parts)
    assert "This map is not to be trusted: only" in written


def test_pairs_that_agree_exactly_are_no_surer_than_their_voxels():
    """Both ends are rounded to whole pixels: 1/12 of variance each, along each axis."""
    picture = flat_pair()
    found = register(picture, picture, Evidence(matches=wrong_pairs(60, 30)))
    assert not found.doubts
    assert found.rms < 1e-9
    assert found.fit.inliers[:60].all()
    kept = found.fit.source_mm[found.fit.inliers]
    centre = kept.mean(0)
    asked = np.array([[5.0, 5.0], centre])
    # A rigid map in 2D: variance of the mean along two axes, and of the turn about the centre.
    own = 2 / 12
    turn = own / ((kept - centre) ** 2).sum()
    away = ((asked - centre) ** 2).sum(1)
    expected = np.sqrt(2 * own / len(kept) + turn * away)
    np.testing.assert_allclose(found.fit.expected_error_mm(asked), expected, rtol=1e-6)
    assert found.expected_error.min() > 0.05


def test_larger_residuals_are_not_made_smaller():
    rng = np.random.default_rng(0)
    spots = rng.uniform(0, 40, (30, 3))
    ends = spots + rng.normal(0, 3, spots.shape)
    plain = fit_points(ends, spots)
    found = register(
        FIXED, FIXED, Evidence(Landmarks(_many(30), spots), Landmarks(_many(30), ends))
    )
    asked = [[1.0, 2.0, 3.0]]
    np.testing.assert_allclose(
        found.fit.expected_error_mm(asked), plain.expected_error_mm(asked), rtol=1e-9
    )


def _many(count):
    return [f"p{i}" for i in range(count)]


def test_a_third_of_the_pairs_is_a_warning_and_no_doubt():
    picture = flat_pair()
    found = register(picture, picture, Evidence(matches=wrong_pairs(30, 60)))
    lost = int((~found.fit.inliers).sum())
    assert not found.doubts
    assert f"{lost} of 90 pairs do not agree with the map found" in found.warnings


# -- points ----------------------------------------------------------------------------------------


def on_a_line(off, noise, seed=0):
    """Three points so far off a line, in two images, each with so much noise."""
    rng = np.random.default_rng(seed)
    line = np.array([[-20.0, 0, 0], [0, off, 0], [20, 0, 0]]) + GRID.centre
    sides = [line + rng.normal(0, noise, line.shape) if noise else line for _ in range(2)]
    return tuple(Landmarks(NAMES[:3], side) for side in sides)


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_points_nearly_on_a_line_are_said_and_the_error_is_large(noise):
    found = register(FIXED, FIXED, Evidence(*on_a_line(0.01, noise)))
    assert found.doubts == ("the points lie nearly on one line: the turn about it is not known",)
    assert np.isnan(found.expected_error).all()  # it was 0.00 without noise


def test_the_turn_is_as_unsure_as_it_turns_out():
    """Many repetitions of points 6 mm off a line, each off by 1 mm: how much do fits turn?"""
    rng = np.random.default_rng(1)
    points = np.array([[-40.0, 0, 0], [0, 6, 0], [40, 0, 0], [0, -6, 0]]) + GRID.centre
    turns = []
    for _ in range(400):
        sides = [points + rng.normal(0, 1, points.shape) for _ in range(2)]
        matrix = fit_points(*sides).map.matrix
        turns.append(np.arctan2(matrix[2, 1], matrix[2, 2]))
    known = np.tile(np.eye(3), (4, 1, 1))
    pairs = Pairs(tuple(NAMES[:4]), points, points, "mm", known, known)
    fit = fit_pairs(pairs)
    sd = point_sd(pairs, fit, GRIDS)
    assert sd == pytest.approx(np.sqrt(2))
    said = said_of_points(Evidence(), fit, 2 * sd)
    degrees = 2 * np.degrees(np.std(turns))
    assert 15 < degrees < 30
    [text] = said
    assert float(text.split("±")[1].split("°")[0]) == pytest.approx(degrees, rel=0.15)
    assert not said_of_points(Evidence(), fit, 0.3)
    assert not doubts_of(fit, "mm", 2 * sd)
    assert "is not known" in doubts_of(fit, "mm", 10 * sd)[0]


@pytest.mark.parametrize(("kind", "points", "says"), [
    ("affine", SPOTS * [1, 1, 0.002], "nearly in one plane: what the map does across it"),
    ("rigid", SPOTS[:, :2] * 0.01, "near to each other: the turn is not known"),
    ("affine", SPOTS[:, :2] * [1, 0.002], "nearly on one line: what the map does across it"),
])  # fmt: skip
def test_each_kind_of_map_asks_for_its_own_spread(kind, points, says):
    fit = fit_landmarks(Landmarks(NAMES, points), Landmarks(NAMES, points), kind)
    assert says in doubts_of(fit, "mm", 0.6)[0]
    assert not doubts_of(fit, "mm", 0.003)


# -- results ---------------------------------------------------------------------------------------


def test_exchanged_names_are_noticed_by_turn_and_grey_values():
    """Apex and base exchanged: nearly half a turn, and the images agree less than they did."""
    three = np.array([[21.0, 18, 4], [21, 18, 34], [21, 10, 14]])
    fixed = Landmarks(["apex", "base", "side"], three)
    moving = Landmarks(["base", "apex", "side"], three)
    found = register(FIXED, FIXED, Evidence(fixed, moving))
    said = " ".join(found.warnings)
    assert re.search(r"the map turns by 1[5-8]\d°, which images of one patient seldom are", said)
    assert "grey values agree less than as the files lie" in said
    assert "With apex and base exchanged in one image it would turn by 0° and leave 0.00 mm" in said
    right = register(FIXED, FIXED, Evidence(fixed, Landmarks(fixed.names, three)))
    assert not right.warnings


def test_a_patient_who_lies_the_other_way_round_is_no_mistake():
    turn = Affine.about(GRID.centre, np.diag([-1.0, -1.0, 1.0]), [0, 0, 0])
    other = resample(FIXED, GRID, push=turn)
    marks = Landmarks(NAMES, SPOTS), Landmarks(NAMES, turn(SPOTS))
    found = register(FIXED, other, Evidence(*marks))
    assert found.mutual_information.after > found.mutual_information.before
    assert not any("turns by" in text for text in found.warnings)
    # Where nothing is known of how they lay before, it is said.
    unknown = Measure(float("nan"), 1.0, 1.0)
    assert any(
        "turns by 180°" in t
        for t in said_of_result((FIXED, other), found.map, found.pull, unknown, found.pairs)
    )


def test_grey_values_of_a_strip_tell_nothing():
    """The same anatomy, in worlds that share a border only: no alarm by what lies there."""
    far = Affine(np.eye(3), [0.0, 0.0, 0.8 * 40])
    other = Image(FIXED.array, Grid(GRID.shape, GRID.spacing, origin=[0.0, 0.0, 32.0]))
    marks = Landmarks(NAMES, SPOTS), Landmarks(NAMES, far(SPOTS))
    found = register(FIXED, other, Evidence(*marks))
    still = found.map, found.pull
    worse = Measure(0.2, 0.1, 0.1)
    assert not said_of_result((FIXED, other), *still, worse, found.pairs)
    near = Image(FIXED.array, Grid(GRID.shape, GRID.spacing, origin=[0.0, 0.0, 2.0]))
    assert "agree less" in said_of_result((FIXED, near), *still, worse, found.pairs)[0]


def test_a_mirror_is_said_and_has_no_turn():
    mirrored = Landmarks(NAMES, SPOTS * [-1, 1, 1] + [40.0, 0, 0])
    found = register(
        FIXED, FIXED, Evidence(Landmarks(NAMES, SPOTS), mirrored), plan=Plan(transform="affine")
    )
    assert any("mirrors the image" in text for text in found.warnings)
    record = to_record(found, names={}, files=[])
    assert record["transform"]["turn_degrees"] is None
    assert "It mirrors the image" in "\n".join(page_of(record, None)._parts)


# -- refinement ------------------------------------------------------------------------------------


def test_a_refinement_that_tears_the_points_apart_is_undone():
    """The moving image is shifted by 9 mm against its points: grey values go there, points not."""
    shift = Affine(np.eye(3), [9.0, 0.0, 0.0])
    big = Image(clouds((28, 40, 44), 2), Grid((28, 40, 44), [1.5] * 3))
    moving = resample(big, big.grid, push=shift)
    spots = big.grid.to_world(np.random.default_rng(0).uniform(12, 22, (5, 3)))
    marks = Evidence(Landmarks(NAMES, spots), Landmarks(NAMES, spots + np.array([5.0, 0, 0])))
    settings = Settings(coarse=(2, 1), samples=4000, threads=1)
    plan = Plan(refine="rigid", settings=settings)
    kept = register(
        big, moving, marks, plan=Plan(refine="rigid", settings=settings, keep_refined=True)
    )
    assert kept.rms > 3
    assert refinement_words(to_record(kept, names={}, files=[])) == "refined by grey values (rigid)"
    found = register(big, moving, marks, plan=plan)
    assert found.rms < 1e-6
    np.testing.assert_allclose(found.map.matrix, found.fit.map.matrix)
    assert any("the refinement (rigid) was undone: it took the points" in t for t in found.warnings)
    record = to_record(found, names={}, files=[])
    assert refinement_words(record) == "refinement by grey values (rigid) undone"
    assert record["mutual_information"]["after"] == record["mutual_information"]["points"]
    assert not any(stage["kept"] for stage in record["stages"])


def test_unsure_points_may_be_moved_farther():
    pairs = Pairs(tuple(NAMES), SPOTS, SPOTS)
    fit = fit_pairs(pairs)
    off = Affine(np.eye(3), [4.0, 0, 0])
    assert "took the points 4.00 mm apart (RMS), which were 0.00" in farther_than_unsure(
        pairs, off, fit, 0.7
    )
    assert farther_than_unsure(pairs, off, fit, 0.8) == ""


# -- what is asked ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "says"), [
    ({"smoothing": 2.0}, "does nothing to a rigid map"),
    ({"smoothing": 2.0, "transform": "affine"}, "does nothing to an affine map"),
    ({"around": 25.0}, "grey values, which change nothing here"),
    ({"keep_refined": True}, "keep-refined is about grey values"),
    ({"elastix": ElastixSettings()}, "settings of elastix do nothing to a rigid map"),
    ({"threshold": -3.0}, "threshold must be positive, it is -3"),
    ({"around": -3.0, "refine": "rigid"}, "around must be positive, it is -3"),
])  # fmt: skip
def test_what_would_do_nothing_is_refused(asked, says):
    with pytest.raises(UsageError, match=says) as caught:
        Plan(**asked)
    assert caught.value.path is None


def test_a_volume_and_a_flat_image_want_no_spacing():
    picture = flat_pair()
    with pytest.raises(RegistrationError, match="register two volumes, or two flat images"):
        register(FIXED, picture, Evidence())


def test_names_that_differ_a_little_are_suggested_and_not_matched():
    other = Landmarks(["a", "b", "c", "D", "E."], SPOTS)
    fixed = Landmarks(NAMES, SPOTS)
    found = register(FIXED, FIXED, Evidence(fixed, other))
    assert found.pairs.names == ("a", "b", "c")
    assert "names differ a little: 'd' and 'D', 'e' and 'E.'; are they one place?" in found.warnings


def test_few_pairs_of_few_are_no_doubt():
    fit = fit_landmarks(Landmarks(NAMES, SPOTS), Landmarks(NAMES, SPOTS))
    assert doubts_of(fit, "mm", 0.6) == ()


# -- flags -----------------------------------------------------------------------------------------


def flagged(fixed, moving=()):
    """Evidence whose detection has something to say of these points."""
    marks = Landmarks(NAMES, SPOTS)
    flags = {f"fixed {n}": ("unlikely place", "unsure") for n in fixed}
    flags |= {f"moving {n}": ("unsure",) for n in moving}
    return Evidence(marks, marks, flags={**flags, "fixed image": ("unlike the training images",)})


def test_flags_on_most_points_are_a_doubt():
    found = register(FIXED, FIXED, flagged("abc"))
    assert found.doubts == ("3 of 5 points have flags",)
    assert np.isnan(found.expected_error).all()
    # A point that is flagged in either image counts, and once.
    assert register(FIXED, FIXED, flagged("ab", "abc")).doubts == found.doubts
    assert not register(FIXED, FIXED, flagged("ab", "ab")).doubts


def test_flags_are_a_line_an_image_however_many_there_are():
    found = register(FIXED, FIXED, flagged("abcde", "b"))
    assert found.warnings == (
        "fixed image: unlike the training images",
        "flags on 5 of 5 points of the fixed image: a (unlikely place; unsure), "
        "b (unlikely place; unsure), c (unlikely place; unsure) and 2 more",
        "flags on 1 of 5 points of the moving image: b (unsure)",
    )
    record = to_record(found, names={}, files=[])
    assert record["landmarks"][4]["flags"] == ["fixed: unlikely place", "fixed: unsure"]


# -- thresholds ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("robust", "matches", "weighed", "refused"), [
    ("no", True, False, True), ("reweighted", True, False, True), (None, False, True, True),
    ("no", True, True, False), (None, True, False, False), ("ransac", False, False, False),
    ("smooth", True, False, False),
])  # fmt: skip
def test_a_threshold_that_nothing_asks_for_is_refused(robust, matches, weighed, refused):
    plan = Plan(robust=robust, threshold=3.0)
    if not refused:
        plan.check_threshold(matches=matches, weighed=weighed)
        return
    with pytest.raises(UsageError, match="a threshold would do nothing here"):
        plan.check_threshold(matches=matches, weighed=weighed)
    Plan(robust=robust).check_threshold(matches=matches, weighed=weighed)


def test_a_threshold_is_looked_at_where_the_points_are():
    marks = Landmarks(NAMES, SPOTS)
    with pytest.raises(UsageError, match="no wrong pairs are looked for"):
        register(FIXED, FIXED, Evidence(marks, marks), plan=Plan(threshold=3.0))
