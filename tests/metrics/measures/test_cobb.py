"""Cobb angles of spines whose vertebrae were tilted by hand, and the challenge's own table."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anatomark import Landmarks
from anatomark.cli.app import main
from anatomark.io.landmarks.formats import write_landmarks
from anatomark.metrics.measures import MEASURES, automatic_set, measure
from anatomark.metrics.measures.agreement import measure_all
from anatomark.metrics.measures.cobb import COBB

SPINE = Path(__file__).parents[4] / "shared" / "data" / "spine" / "training.csv"
CORNERS = {"tl": (-15, -8), "tr": (15, -8), "bl": (-15, 8), "br": (15, 8)}


def spine(tilts, x=None, present=None):
    """Vertebrae of 30 × 16 px, 20 px apart, turned by ``tilts`` degrees, middles at ``x``."""
    names, points = [], []
    x = np.zeros(len(tilts)) if x is None else np.asarray(x, float)
    for k, (tilt, middle) in enumerate(zip(np.radians(tilts), x, strict=True)):
        turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
        for corner, offset in CORNERS.items():
            names.append(f"v{k + 1:02d}_{corner}")
            points.append(turn @ offset + (100 + middle, 50 + 20 * k))
    return Landmarks(names, points, present=present, unit="px")


def cobb_angles(marks):
    """Main, upper, lower."""
    return tuple(one.value for one in measure(marks, COBB))


C_TILTS = [5, 10, 12, 6, 0, -8, -20, -18, -15]
C_BOW = [0, 2, 4, 6, 7, 6, 4, 2, 0]


def test_a_bow_to_one_side():
    """Main: 12° against -20°; upper: first against the third; lower: the seventh and the last."""
    found = cobb_angles(spine(C_TILTS, C_BOW))
    np.testing.assert_allclose(found, (32, 7, 5), atol=1e-9)


def test_an_s_whose_main_angle_is_in_the_upper_half():
    tilts = [-4, 15, 5, -25, -10, 0, 10, 4, 2]
    found = cobb_angles(spine(tilts, [0, 3, 4, 3, 0, -2, -3, -2, 0]))
    np.testing.assert_allclose(found, (40, 19, 35), atol=1e-9)


def test_an_s_whose_main_angle_is_in_the_lower_half():
    """Both others are above it: 18° to the third vertebra, and 11° from there to the first."""
    tilts = [8, 2, -3, 4, 10, 15, 5, -20, -10]
    found = cobb_angles(spine(tilts, [0, 3, 4, 3, 0, -2, -3, -2, 0]))
    np.testing.assert_allclose(found, (35, 18, 11), atol=1e-9)


def test_a_vertebra_without_all_its_corners_is_left_out():
    present = np.ones(4 * len(C_TILTS), bool)
    present[4 * 6] = False  # of the seventh, which had -20°
    found = cobb_angles(spine(C_TILTS, C_BOW, present))
    assert found[0] == pytest.approx(30)


def test_fewer_than_two_vertebrae_have_no_angle():
    assert cobb_angles(spine([3])) == ()
    only_one = np.arange(36) < 4
    for one in measure(spine(C_TILTS, C_BOW, only_one), COBB):
        assert (math.isnan(one.value), one.note) == (True, "too few points are there")


def test_the_error_follows_from_the_two_vertebrae_that_make_the_angle():
    """A vertebra turns by the difference of its sides' means over its width of 30."""
    marks = spine(C_TILTS, C_BOW)
    marks = replace(marks, covariance_mm2=np.tile(0.04 * np.eye(2), (36, 1, 1)))
    one_side = 0.2 / math.sqrt(2)
    by_hand = math.degrees(math.sqrt(2) * math.sqrt(2) * one_side / 30)
    for one in measure(marks, COBB):
        assert one.sd == pytest.approx(by_hand, rel=1e-4)


def test_turned_by_more_than_half_a_turn_it_is_the_same():
    marks = spine(C_TILTS, C_BOW)
    turn = np.array([[-1.0, 0], [0, -1]])
    upside = Landmarks(marks.names, marks.points_mm @ turn, unit="px")
    np.testing.assert_allclose(cobb_angles(upside), cobb_angles(marks), atol=1e-9)


def test_the_error_of_the_challenge_by_hand():
    truth = {"a": spine(C_TILTS, C_BOW), "b": spine(C_TILTS, C_BOW)}
    found = {"a": spine([*C_TILTS[:6], -24, *C_TILTS[7:]], C_BOW), "b": truth["b"]}
    error = measure_all(COBB, truth, found)  # 36, 7, 9 against 32, 7, 5
    assert error.cases == ("a", "b")
    assert error.overall == {"smape_percent": pytest.approx(100 * (8 / (52 + 44)) / 2)}
    differences = [one.mean_absolute for one in error.agreements]
    np.testing.assert_allclose(differences, (2, 0, 2), atol=1e-9)


def test_which_landmarks_have_it_without_being_asked():
    assert automatic_set([spine(C_TILTS).names, spine(C_TILTS[:3]).names]) is MEASURES["cobb"]
    assert automatic_set([spine(C_TILTS).names, ("sella", "nasion")]) is None
    assert automatic_set([]) is None


def test_evaluate_says_it(tmp_path, capsys):
    for folder, tilts in (("truth", C_TILTS), ("found", [*C_TILTS[:6], -24, *C_TILTS[7:]])):
        (tmp_path / folder).mkdir()
        for case in ("a", "b"):
            write_landmarks(spine(tilts, C_BOW), tmp_path / folder / f"{case}.json")
    words = ["evaluate", "--truth", str(tmp_path / "truth"), "--draws", "0"]
    words += ["--prediction", str(tmp_path / "found"), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    assert "Cobb angles of 2 cases: SMAPE 8.33 %" in capsys.readouterr().out
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())["measures"]
    assert written["per_measure"]["cobb_main"]["mean_absolute_difference"] == pytest.approx(4)
    assert written["overall"]["smape_percent"] == pytest.approx(100 * 8 / 96)
    rows = list(csv.DictReader((tmp_path / "out" / "measures.csv").read_text().splitlines()))
    assert [row["measure"] for row in rows] == ["cobb_main", "cobb_upper", "cobb_lower"]
    assert "Cobb angles" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.skipif(not SPINE.is_file(), reason="the AASCE 2019 data are not here")
def test_the_angles_of_the_data_set_follow_from_its_corners():
    rows = list(csv.DictReader(SPINE.read_text().splitlines()))
    corners = [key[:-2] for key in rows[0] if key.endswith("_x")]
    same = []
    for row in rows:
        points = [[float(row[f"{name}_x"]), float(row[f"{name}_y"])] for name in corners]
        angles = cobb_angles(Landmarks(corners, points, unit="px"))
        stated = [float(row[key]) for key in ("cobb_pt", "cobb_mt", "cobb_tl")]
        same.append(np.abs(np.subtract(angles, stated)) < 0.5)
    assert np.mean(same, axis=0)[0] == 1
    assert np.mean(np.all(same, axis=1)) > 0.92  # its rule also knows the height of the image
