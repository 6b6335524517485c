"""Landmarks, images and cohorts as values: what they hold, refuse and keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anatomark.data import Case, Cohort, Image, Landmarks, mean_landmarks, names_of
from anatomark.errors import (
    CohortError,
    GeometryError,
    ImageError,
    LandmarkError,
    UsageError,
)
from anatomark.geometry import Grid
from anatomark.maps import Affine

FACE = Landmarks(
    ["left_eye", "nose", "right_eye"],
    [[30.0, 1.0, 50.0], [0.0, 0.0, 40.0], [-31.0, 2.0, 49.0]],
    pairs=[("left_eye", "right_eye")],
)


def test_points_are_float64_and_cannot_be_changed():
    assert FACE.points_mm.dtype == np.float64
    with pytest.raises(ValueError, match="read-only"):
        FACE.points_mm[0, 0] = 1


def test_an_absent_landmark_has_no_coordinates():
    marks = Landmarks(["a", "b"], [[1, 2], [3, 4]], present=[True, False])
    assert marks.present.tolist() == [True, False]
    assert np.isnan(marks["b"]).all()
    by_value = Landmarks(["a", "b"], [[1, 2], [np.nan, np.nan]])
    assert by_value.present.tolist() == [True, False]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"names": ["a", "a"]}, "duplicate landmark names: a"),
        ({"names": ["a", " "]}, "no name"),
        ({"names": ["a"]}, "do not fit"),
        ({"points_mm": [[1, 2], [np.nan, 3]], "present": [True, True]}, "finite coordinates: b"),
        ({"present": [True]}, "present"),
        ({"covariance_mm2": np.eye(2)}, "covariance"),
        ({"confidence": [0.5]}, "confidence"),
        ({"confidence": [0.5, 5]}, "in 0…1"),
        ({"covariance_mm2": [[[1, 2], [0, 1]], np.eye(2)]}, "symmetric"),
        ({"covariance_mm2": [-np.eye(2), np.eye(2)]}, "negative"),
        ({"pairs": [("a", "c")]}, "pairs"),
        ({"pairs": [("a", "b"), ("b", "a")]}, "pairs"),
        ({"unit": "cm"}, "unit"),
    ],
)
def test_landmarks_that_make_no_sense_are_refused(wrong, says):
    with pytest.raises(LandmarkError, match=says):
        Landmarks(**{"names": ["a", "b"], "points_mm": [[1, 2], [3, 4]], **wrong})


def test_select_orders_and_names_what_is_unknown():
    assert FACE.select(["nose", "left_eye"]).points_mm.tolist() == [[0, 0, 40], [30, 1, 50]]
    with pytest.raises(LandmarkError, match="no landmark 'chin'; known: left_eye, nose"):
        FACE.select(["chin"])
    padded = FACE.select(["chin", "nose"], missing="absent")
    assert padded.present.tolist() == [False, True]


def test_rename_keeps_points_and_pairs():
    renamed = FACE.renamed({"left_eye": "L"})
    assert renamed.names == ("L", "nose", "right_eye")
    assert renamed.pairs == (("L", "right_eye"),)
    np.testing.assert_array_equal(renamed.points_mm, FACE.points_mm)


def test_a_mirror_swaps_left_and_right_names():
    mirrored = FACE.moved(Affine.mirror(3))
    # The left eye was at x = 30, LPS: mirrored to -30 it is where the right eye belongs.
    assert mirrored["right_eye"].tolist() == [-30, 1, 50]
    assert mirrored["left_eye"].tolist() == [31, 2, 49]
    assert mirrored["nose"].tolist() == [0, 0, 40]
    assert mirrored.names == FACE.names
    np.testing.assert_array_equal(mirrored.moved(Affine.mirror(3)).points_mm, FACE.points_mm)


def test_a_rotation_swaps_nothing():
    turned = FACE.moved(Affine(np.diag([-1.0, -1.0, 1.0]), [0, 0, 0]))
    assert turned["left_eye"].tolist() == [-30, -1, 50]


@given(st.integers(0, 1000), st.sampled_from([2, 3]))
def test_covariance_moves_as_a_sample_of_points_does(seed, dimension):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(dimension,) * 2)
    covariance = root @ root.T
    one = Affine(rng.normal(size=(dimension,) * 2), rng.normal(size=dimension))
    marks = Landmarks(
        ["p", "gone"],
        [np.ones(dimension), [np.nan] * dimension],
        covariance_mm2=[covariance, covariance],
    )
    moved = marks.moved(one)
    np.testing.assert_allclose(moved.covariance_mm2[0], one.matrix @ covariance @ one.matrix.T)
    assert not moved.present[1]


def test_confidence_and_covariance_follow_their_name():
    marks = Landmarks(
        ["a", "b"],
        np.eye(2),
        confidence=[0.1, 0.9],
        covariance_mm2=[np.eye(2), 2 * np.eye(2)],
        pairs=[("a", "b")],
    )
    swapped = marks.sides_swapped()
    assert swapped.confidence.tolist() == [0.9, 0.1]
    assert swapped.covariance_mm2[0].tolist() == [[2, 0], [0, 2]]
    assert swapped["a"].tolist() == [0, 1]


@given(st.integers(0, 1000), st.sampled_from([2, 3]))
def test_grid_edits_leave_landmarks_bit_identical(make_grid, seed, dimension):
    """Nothing has to be done to them: the same world points read the same voxel values."""
    grid = make_grid(seed, dimension)
    rng = np.random.default_rng(seed)
    image = Image(rng.normal(size=grid.shape), grid)
    index = rng.integers(1, np.array(grid.size_xyz) - 1)
    marks = Landmarks(["p"], [grid.to_world(index.astype(float))])
    before = marks.points_mm.tobytes()
    edits = [
        image.crop([1] * dimension, [n - 1 for n in grid.size_xyz]),
        image.pad([2] * dimension, [1] * dimension),
        image.flip(0),
        image.permute(rng.permutation(dimension).tolist()),
    ]
    for edited in edits:
        at = np.rint(edited.grid.to_index(marks.points_mm[0])).astype(int)
        assert edited.array[tuple(at[::-1])] == image.array[tuple(index[::-1])]
    assert marks.points_mm.tobytes() == before


def test_an_image_fits_its_grid():
    grid = Grid((3, 4), (1, 1))
    assert Image(np.zeros((2, 3, 4)), grid).channels == 2
    assert Image(np.zeros((3, 4)), grid).channels is None
    with pytest.raises(ImageError, match="does not fit"):
        Image(np.zeros((4, 3)), grid)
    with pytest.raises(GeometryError, match="pad first"):
        Image(np.zeros((3, 4)), grid).crop([0, 0], [5, 3])


def test_crop_is_in_xyz_order():
    image = Image(np.arange(12).reshape(3, 4), Grid((3, 4), (1, 1)))
    assert image.crop([1, 0], [3, 2]).array.tolist() == [[1, 2, 3], [5, 6, 7]]


def test_channels_stay_in_front_through_every_edit():
    grid = Grid((2, 3, 4), (1, 1, 1))
    image = Image(np.arange(48).reshape(2, 2, 3, 4), grid)
    assert image.permute([2, 0, 1]).array.shape == (2, 3, 4, 2)
    assert image.flip(0).array[1, 0, 0].tolist() == image.array[1, 0, 0, ::-1].tolist()
    assert image.pad([1, 0, 0], [0, 0, 2]).array.shape == (2, 4, 3, 5)


def test_the_mean_of_observers_says_how_many():
    other = Landmarks(FACE.names, FACE.points_mm + np.array([2, 0, 0]), present=[True, True, False])
    mean = mean_landmarks([FACE, other])
    assert mean["nose"].tolist() == [1, 0, 40]
    assert mean.present.tolist() == [True, True, False]
    assert mean.meta["observers"] == 2
    with pytest.raises(LandmarkError, match="same names"):
        mean_landmarks([FACE, FACE.renamed({"nose": "tip"})])


def test_cohort_selects_by_split_and_domain(tmp_path):
    cases = tuple(
        Case(f"{d}{i}", tmp_path / "x.png", domain=d, split="train" if i else "test")
        for d in ("head", "hand")
        for i in range(3)
    )
    cohort = Cohort(tmp_path, cases, names={"head": ("a",)})
    assert len(cohort) == 6
    assert cohort.domains == ("head", "hand")
    assert cohort.splits == ("test", "train")
    assert [c.case for c in cohort.select(split="train", domain="hand").cases] == ["hand1", "hand2"]
    assert names_of(cohort, "head") == ("a",)
    assert names_of(cohort, "hand") == ()
    assert cohort["head2"].split == "train"
    with pytest.raises(CohortError, match="no case 'nobody'; there is head0, head1"):
        cohort["nobody"]
    assert len(repr(cohort)) < 200


def test_an_image_cannot_be_changed_and_does_not_print_its_voxels():
    array = np.zeros((3, 4))
    image = Image(array, Grid((3, 4), (1, 1)))
    for one in (image, image.flip(0), image.crop([0, 0], [2, 2]), image.pad([1, 1], [0, 0])):
        with pytest.raises(ValueError, match="read-only"):
            one.array[0, 0] = 1
    array[0, 0] = 1  # one's own array stays one's own
    assert len(repr(image)) < 100
    with pytest.raises(ImageError, match="numpy array and a Grid"):
        Image([[1, 2]], image.grid)


def test_infinity_is_not_absence():
    with pytest.raises(LandmarkError, match="without finite coordinates: a"):
        Landmarks(["a"], [[1, np.inf]])


def test_no_axis_is_a_channel():
    image = Image(np.zeros((3, 4, 5)), Grid((4, 5), (1, 1)))
    for axis in (-1, 2):
        with pytest.raises(GeometryError, match="axis"):
            image.flip(axis)


def test_nobody_has_no_mean():
    with pytest.raises(LandmarkError, match="no readings"):
        mean_landmarks([])


@pytest.mark.parametrize("value", [-1024, 300, np.nan, 0.5])
def test_padding_with_what_the_type_cannot_hold_is_refused(value):
    image = Image(np.zeros((4, 4), np.uint8), Grid((4, 4), [1, 1]))
    with pytest.raises(UsageError, match="uint8 cannot hold"):
        image.pad([1, 1], [1, 1], value=value)
    assert image.pad([1, 1], [1, 1], value=255).array.max() == 255


def test_a_covariance_is_judged_by_its_own_size():
    with pytest.raises(LandmarkError, match="negative variances"):
        Landmarks(["a", "b"], np.zeros((2, 2)), covariance_mm2=[np.eye(2) * 1e6, -0.5 * np.eye(2)])
