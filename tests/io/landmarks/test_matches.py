"""Matches in files: every bit comes back, other programs can read them, faults name their line."""

from __future__ import annotations

import csv
import json
import warnings

import numpy as np
import pytest

from anatomark.correspondence import Matches
from anatomark.errors import LandmarkError, WriteError
from anatomark.io.landmarks.formats import read_landmarks
from anatomark.io.landmarks.matches import read_matches, write_matches, write_pair_landmarks

LINES = "fixed_x_mm,fixed_y_mm,moving_x_mm,moving_y_mm,confidence,frame\n1,2,3,4,0.5,LPS\n"


def some(dimension: int, unit="mm", count: int = 5) -> Matches:
    rng = np.random.default_rng(dimension)
    fixed, moving = rng.normal(0, 100, (2, count, dimension))
    return Matches(fixed, moving, confidence=rng.uniform(0, 1, count), unit=unit)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("unit", ["mm", "px"])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_every_bit_comes_back(dimension, unit, count, tmp_path):
    matches = some(dimension, unit, count)
    write_matches(matches, tmp_path / "pairs.csv")
    back = read_matches(tmp_path / "pairs.csv")
    for name in ("fixed_mm", "moving_mm", "confidence"):
        np.testing.assert_array_equal(getattr(back, name), getattr(matches, name))
    assert (back.unit, back.dimension) == (unit, dimension)


def test_the_header_says_order_unit_and_frame(tmp_path):
    write_matches(Matches([[1.5, -2, 3]], [[4, 5, 6]], confidence=[0.25]), tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows == [
        {
            "fixed_x_mm": "1.5", "fixed_y_mm": "-2.0", "fixed_z_mm": "3.0",
            "moving_x_mm": "4.0", "moving_y_mm": "5.0", "moving_z_mm": "6.0",
            "confidence": "0.25", "frame": "LPS",
        }
    ]  # fmt: skip
    write_matches(Matches([[1, 2]], [[3, 4]], unit="px"), tmp_path / "b.csv")
    header = (tmp_path / "b.csv").read_text().splitlines()[0]
    assert header == "fixed_x_px,fixed_y_px,moving_x_px,moving_y_px,confidence"


def test_ras_becomes_lps_and_confidence_may_be_left_out(tmp_path):
    (tmp_path / "a.csv").write_text(
        "moving_x_mm,moving_y_mm,moving_z_mm,fixed_x_mm,fixed_y_mm,fixed_z_mm,note,frame\n"
        '4,5,6,1,2,3,"a, b",RAS\n'
    )
    back = read_matches(tmp_path / "a.csv")
    np.testing.assert_array_equal(back.fixed_mm, [[-1, -2, 3]])
    np.testing.assert_array_equal(back.moving_mm, [[-4, -5, 6]])
    assert back.confidence.tolist() == [1]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x,y\n1,2\n", "has no columns fixed_x_mm"),
        (LINES.replace("moving_y_mm", "other"), "no column 'moving_y_mm'"),
        (LINES.replace("1,2,3", "1,two,3"), "line 2, column 'fixed_y_mm': 'two'"),
        (LINES + "1,2,3\n", "line 3 has 3 cells"),
        (LINES.replace("0.5", "1.5"), "line 2: the confidence 1.5"),
        (LINES.replace("LPS", "LAS"), "neither LPS nor RAS"),
        (LINES + "1,2,3,4,0.5,RAS\n", "mixes LPS and RAS"),
        (LINES.replace("fixed_y_mm", "fixed_x_mm"), "two columns"),
        (
            "fixed_x_mm,fixed_y_mm,fixed_z_mm,moving_x_mm,moving_y_mm,moving_z_mm\n1,2,3,4,5,6\n",
            "add a column 'frame'",
        ),
    ],
)
def test_a_bad_table_names_file_and_line(text, says, tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text(text)
    with pytest.raises(LandmarkError, match=says) as caught:
        read_matches(path)
    assert caught.value.path == str(path)


def test_no_file_and_no_folder_are_told(tmp_path):
    with pytest.raises(LandmarkError, match="cannot be read"):
        read_matches(tmp_path / "none.csv")
    (tmp_path / "folder").mkdir()
    with pytest.raises(WriteError, match="folder"):
        write_matches(some(2), tmp_path / "folder")


@pytest.mark.parametrize("dimension", [2, 3])
def test_slicer_gets_two_lists_with_the_same_names(dimension, tmp_path):
    matches = some(dimension)
    paths = tmp_path / "fixed.mrk.json", tmp_path / "moving.mrk.json"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_pair_landmarks(matches, *paths)
    for path, points in zip(paths, (matches.fixed_mm, matches.moving_mm), strict=True):
        node = json.loads(path.read_text())["markups"][0]
        assert node["coordinateSystem"] == "LPS"
        assert [c["label"] for c in node["controlPoints"]] == [f"m00{n}" for n in range(1, 6)]
        back = read_landmarks(path, dimension=dimension)
        np.testing.assert_array_equal(back.points_mm, points)
