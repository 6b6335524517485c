"""Cephalometric measures: a face whose angles follow from slopes, and what must not matter."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.metrics.measures.faces import face

from anatomark import Landmarks
from anatomark.errors import LandmarkError
from anatomark.io.landmarks.isbi import ISBI_NAMES
from anatomark.metrics.measures import MEASURES, measure
from anatomark.metrics.measures.cephalometry import CEPH, CEPHALOMETRIC, POINTS


def slope(down, across):
    return math.degrees(math.atan2(down, across))


HALF = slope(1, 2)  # 26.565°: the mandibular plane and the line A–B
BY_HAND = {
    "SNA": 90 + slope(5, 50),
    "SNB": 90 - slope(10, 80),
    "ANB": slope(5, 50) + slope(10, 80),
    "FH-NPog": 90,
    "NAPog": 2 * slope(5, 50),
    "APDI": 90 - HALF + slope(5, 45),  # facial angle, B behind A, palate falls
    "ODI": 90 + slope(5, 45),  # A–B is upright on the mandibular plane
    "FMA": HALF,
    "FHA": HALF,
    "SN-PP": slope(5, 45),
    "PP-MP": HALF - slope(5, 45),
    "Y-axis": slope(112, 54),
    "NSAr": 180 - slope(30, 15),
    "SArGo": slope(30, 15) + slope(50, 5),
    "ArGoMe": slope(50, -5) + HALF,
    "FHI": math.hypot(10, 80) / math.hypot(10, 110),
    "LFH": math.hypot(15, 60) / math.hypot(10, 110),
    "S-N": 60,
    "S-Go": math.hypot(10, 80),
    "N-Me": math.hypot(10, 110),
    "ANS-Me": math.hypot(15, 60),
    "Go-Me": math.hypot(60, 30),
    "MW": math.sqrt(13),
    "overjet": 3,
    "overbite": 2,
    "UL-SnPog": 4,
    "LL-SnPog": 2.5,
    "IMPA": 90,
    "FMIA": 180 - 90 - HALF,  # Tweed's triangle
    "U1-L1": 180 - 2 * HALF,
    "UL-E": -540 / math.hypot(20, 60),
    "LL-E": -430 / math.hypot(20, 60),
}


def values(marks):
    return {one.name: one.value for one in measure(marks, CEPH)}


def test_every_measure_by_hand():
    assert values(face()) == pytest.approx(BY_HAND)


def test_the_names_are_those_of_the_importer():
    assert tuple(POINTS.values()) == ISBI_NAMES
    assert MEASURES["ceph"] is CEPH


def test_the_challenges_points_give_all_but_what_needs_roots_and_nose():
    found = values(face(more=False))
    assert set(BY_HAND) - set(found) == {"IMPA", "FMIA", "U1-L1", "UL-E", "LL-E"}
    assert CEPH.lacking(ISBI_NAMES)["IMPA"] == ("lower_incisor_apex",)


def test_signs_the_other_way():
    """Class III, cross bite, a palate that rises, a mandible that does too, retracted lips."""
    found = values(
        face(A=(55, 50), B=(65, 80), U1=(60, 69), ANS=(65, 40), PNS=(20, 45), Me=(50, 70),
             UL=(70, 66), LL=(71, 76))
    )  # fmt: skip
    assert found["ANB"] == pytest.approx(-slope(5, 50) - slope(5, 80))
    assert found["NAPog"] == pytest.approx(-2 * slope(5, 50))
    assert found["overjet"] == pytest.approx(-3)
    assert found["overbite"] == pytest.approx(-1)
    assert found["MW"] == pytest.approx(-math.sqrt(10))
    assert found["SN-PP"] == pytest.approx(-slope(5, 45))
    assert found["APDI"] == pytest.approx(90 + slope(10, 30) - slope(5, 45))
    assert found["FMA"] == pytest.approx(-slope(10, 60))
    assert (found["UL-SnPog"], found["LL-SnPog"]) == pytest.approx((-4, -3))


@given(st.floats(-180, 180), st.booleans(), st.floats(0.1, 20), st.floats(-500, 500))
def test_turned_mirrored_moved_and_scaled_faces_are_the_same(angle, mirror, scale, shift):
    turn = np.radians(angle)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = matrix @ np.diag([-1.0 if mirror else 1.0, 1.0])
    found = measure(face(moved=lambda p: scale * p @ matrix.T + shift), CEPH)
    for one in found:
        factor = scale if one.measure.kind == "length" else 1
        assert one.value == pytest.approx(factor * BY_HAND[one.name], abs=1e-6)


@given(st.integers(0, 1000), st.floats(-180, 180), st.booleans())
def test_the_error_does_not_depend_on_the_pose(seed, angle, mirror):
    own = np.random.default_rng(seed).normal(size=(2, 2))
    spread = own @ own.T
    turn = np.radians(angle)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = matrix @ np.diag([-1.0 if mirror else 1.0, 1.0])
    here = measure(face(covariance=spread), CEPH)
    there = measure(face(moved=lambda p: p @ matrix.T, covariance=matrix @ spread @ matrix.T), CEPH)
    for one, other in zip(here, there, strict=True):
        assert other.sd == pytest.approx(one.sd, rel=1e-5)


@pytest.mark.parametrize("one", CEPHALOMETRIC, ids=lambda m: m.name)
def test_errors_agree_with_a_simulation(one):
    rng = np.random.default_rng(5)
    marks = face()
    points = np.stack([marks[name] for name in one.points])
    own = rng.normal(size=(len(points), 2, 2))
    spread = 0.02 * (own @ own.transpose(0, 2, 1))
    rows = [marks.row(name) for name in one.points]
    full = np.zeros((len(marks), 2, 2))
    full[rows] = spread
    known = face(covariance=full)
    said = next(m for m in measure(known, CEPH) if m.name == one.name)
    draws = 20_000
    moved = [
        p + rng.multivariate_normal((0, 0), c, draws) for p, c in zip(points, spread, strict=True)
    ]
    seen = one.difference(one.of(*moved), np.asarray(said.value))
    assert said.sd == pytest.approx(seen.std(), rel=0.03)  # 4 standard errors of the simulation


def test_the_error_of_a_distance_and_of_an_angle_by_hand():
    found = {m.name: m for m in measure(face(covariance=0.25 * np.eye(2)), CEPH)}
    assert found["S-N"].sd == pytest.approx(0.5 * math.sqrt(2))
    # Each of the four ends of two crossing lines turns its line by 0.5 mm over its length.
    turn = [0.5 * math.sqrt(2) / length for length in (60, math.hypot(60, 30))]
    assert found["FMA"].sd == pytest.approx(math.degrees(math.hypot(*turn)))


def test_an_absent_point_takes_its_measures_away_and_says_so():
    found = {m.name: m for m in measure(face(without=["A", "ANS"]), CEPH)}
    assert math.isnan(found["SNA"].value)
    assert math.isnan(found["SNA"].sd)
    assert found["SNA"].note == "absent: subspinale"
    assert "anterior_nasal_spine" in found["ODI"].note
    assert found["SNA"].found_class is None
    assert found["SNB"].value == pytest.approx(BY_HAND["SNB"])


def test_points_that_coincide_give_no_angle():
    found = {m.name: m for m in measure(face(N=(0, 0), Me=(0, 0), Or=(-20, 20)), CEPH)}
    for name in ("SNA", "FMA", "FHI", "overjet", "MW"):
        assert math.isnan(found[name].value), name
        assert found[name].note == "points coincide or lie on a line"


def test_a_point_that_is_named_twice_would_be_two_independent_ones():
    with pytest.raises(ValueError, match="twice"):
        replace(CEPHALOMETRIC[0], points=("sella", "nasion", "sella"))


def test_points_in_space_are_refused():
    with pytest.raises(LandmarkError, match="in the plane"):
        measure(Landmarks(["sella"], np.zeros((1, 3))), CEPH)


def test_without_covariance_the_error_is_unknown():
    assert all(math.isnan(one.sd) for one in measure(face(), CEPH))
    partly = np.tile(np.eye(2), (22, 1, 1))
    partly[0] = np.nan  # of the sella
    found = {m.name: m for m in measure(face(covariance=partly), CEPH)}
    assert math.isnan(found["SNA"].sd)
    assert found["FMA"].sd > 0


def test_pixels():
    """Angles and ratios need no spacing; lengths are in px and have no class."""
    found = {m.name: m for m in measure(face(unit="px"), CEPH)}
    assert (found["SNA"].unit, found["FHI"].unit, found["S-N"].unit) == ("deg", "ratio", "px")
    assert found["SNA"].found_class.code == 2
    assert found["MW"].found_class is None


#: Of the challenge: what is below, in and above the normal range, and the limits of it.
LIMITS = {
    "ANB": (3.2, 5.7, 3, 2), "SNB": (74.6, 78.7, 2, 3), "SNA": (79.4, 83.2, 3, 2),
    "ODI": (68.4, 80.5, 3, 2), "APDI": (77.6, 85.2, 2, 3), "FHI": (0.65, 0.75, 3, 2),
    "FHA": (26.8, 31.4, 3, 2), "MW": (2, 4.5, 2, 4),
}  # fmt: skip


@pytest.mark.parametrize("name", LIMITS)
def test_classes(name):
    one = next(m for m in CEPHALOMETRIC if m.name == name)
    low, high, below, above = LIMITS[name]
    unit = one.unit("mm")
    codes = [one.class_of(v, unit).code for v in (low - 1e-6, low, high, high + 1e-6)]
    assert codes == [below, 1, 1, above]
    assert one.class_of(math.nan, unit) is None


def test_a_cross_bite():
    one = next(m for m in CEPHALOMETRIC if m.name == "MW")
    assert [one.class_of(v, "mm").code for v in (-3, -1e-9, 0, 1.9)] == [3, 3, 2, 2]
    assert len([m for m in CEPHALOMETRIC if m.classes]) == len(LIMITS)
