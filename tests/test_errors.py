"""An error is one line: which file, what is wrong, what to do."""

from __future__ import annotations

import pytest

from anatomark import errors
from anatomark.errors import counted, with_article


def test_an_error_reads_file_problem_fix():
    error = errors.ImageError("is empty", path="a/b.nii", fix="copy it again")
    assert str(error) == "a/b.nii: is empty; copy it again"
    assert str(errors.ImageError("is empty")) == "is empty"


def test_an_error_stays_on_one_line():
    assert str(errors.UsageError("two\nlines\n  and spaces")) == "two lines and spaces"


def test_the_file_is_named_once_by_whoever_knows_it_first():
    error = errors.LandmarkError("is bad").at("first.csv").at("second.csv")
    assert str(error) == "first.csv: is bad"


def test_errors_carry_what_a_program_needs():
    assert errors.CohortError("2 problems", problems=["a", "b"]).problems == ("a", "b")
    assert errors.NotConvergedError("far", residual_mm=2.5).residual_mm == 2.5


@pytest.mark.parametrize(
    "kind",
    [getattr(errors, n) for n in dir(errors) if n.endswith("Error") and n != "NotConvergedError"],
)
def test_every_error_is_an_anatomark_error(kind):
    assert issubclass(kind, errors.AnatomarkError)
    assert str(kind("x", path="f", fix="do y")) == "f: x; do y"


def test_long_lists_are_shortened_and_say_so():
    assert errors.listed(["a", "", "c"]) == "a, '', c"
    assert errors.listed((str(n) for n in range(9)), 3) == "0, 1, 2 and 6 more"
    assert errors.listed([]) == ""


@pytest.mark.parametrize(("number", "said"), [(0, "0 slices"), (1, "1 slice"), (2, "2 slices")])
def test_what_is_counted_agrees_with_its_number(number, said):
    assert counted(number, "slice") == said
    assert counted(number, "match", "matches").endswith("h" if number == 1 else "es")


def test_articles():
    assert [with_article(kind) for kind in ("rigid map", "affine map")] == [
        "a rigid map", "an affine map",
    ]  # fmt: skip
