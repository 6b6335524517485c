"""Matrices in text, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from anatomark.errors import TransformError
from anatomark.io.transforms.matrices import matrix_text, parse_matrix
from anatomark.maps import Affine

# A quarter turn about z (x goes to y), then a shift.
TURN = "0 -1 0 10\n1 0 0 20\n0 0 1 30\n0 0 0 1\n"


def test_an_lps_matrix_acts_on_points_as_it_stands():
    moved = parse_matrix(TURN, frame="LPS")(np.array([[1.0, 2.0, 3.0]]))
    np.testing.assert_array_equal(moved, [[8, 21, 33]])


def test_a_ras_matrix_is_turned_into_lps():
    # LPS (1, 2, 3) is RAS (-1, -2, 3); the matrix gives RAS (12, 19, 33): LPS (-12, -19, 33).
    moved = parse_matrix(TURN, frame="RAS")(np.array([[1.0, 2.0, 3.0]]))
    np.testing.assert_array_equal(moved, [[-12, -19, 33]])


def test_a_flat_ras_matrix_turns_both_axes_around():
    moved = parse_matrix("1 0 5\n0 1 7\n0 0 1", frame="RAS")(np.array([[1.0, 2.0]]))
    np.testing.assert_array_equal(moved, [[-4, -5]])


@pytest.mark.parametrize(
    "text",
    [TURN.replace(" ", ","), TURN.replace(" ", ", "), "# from a scanner\n\n" + TURN, TURN.strip()],
)
def test_commas_blanks_comments_and_empty_lines_are_read(text):
    expected = parse_matrix(TURN, frame="LPS")
    np.testing.assert_array_equal(parse_matrix(text, frame="LPS").homogeneous, expected.homogeneous)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "rows"),
        ("# only a comment\n", "rows"),
        ("1 0 0\n0 1 0\n", "rows"),
        ("1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0", "rows"),
        ("1 0 0 0 0 1 0 0\n0 0 1 0 0 0 0 1\n", "rows"),
        (TURN.replace("30", "thirty"), "not a number"),
        (TURN.replace("30", "nan"), "not finite"),
        (TURN.replace("30", "1e999"), "not finite"),
        (TURN.replace("0 0 0 1", "0 0 0.1 1"), "homogeneous"),
        ('(Transform "EulerTransform")\n(TransformParameters 1 2 3)\n', "elastix"),
    ],
)
def test_what_is_not_a_matrix_is_refused(text, problem):
    with pytest.raises(TransformError, match=problem):
        parse_matrix(text, frame="LPS")


@pytest.mark.parametrize("frame", ["LPS", "RAS"])
def test_a_written_matrix_keeps_every_bit(frame):
    affine = Affine(np.random.default_rng(0).normal(size=(3, 3)), np.array([1e3, 1e-9, -1 / 3]))
    text = matrix_text(affine, frame=frame, note="# a note", separator=" ")
    assert text.startswith("# a note\n")
    np.testing.assert_array_equal(parse_matrix(text, frame=frame).homogeneous, affine.homogeneous)


def test_the_written_ras_matrix_has_the_signs_turned():
    text = matrix_text(Affine(np.eye(3), [1, 2, 3]), frame="RAS", note="#", separator=",")
    assert text.splitlines()[1] == "1.0,0.0,0.0,-1.0"
    assert text.splitlines()[3] == "0.0,0.0,1.0,3.0"
