"""Measures of predictions against those of the truth, by hand."""

from __future__ import annotations

import csv
import math
from itertools import pairwise

import numpy as np
import pytest
from tests.metrics.measures.faces import face

from anatomark import Landmarks
from anatomark.errors import UsageError
from anatomark.metrics.evaluation import evaluate
from anatomark.metrics.measures import MEASURES, Measured, chosen_set
from anatomark.metrics.measures.agreement import measure_all
from anatomark.metrics.measures.tables import (
    agreement_csv,
    agreement_table,
    explained,
    found_csv,
    found_rows,
    found_table,
    lead,
)
from anatomark.metrics.records import to_record
from anatomark.metrics.sources import Truth

CEPH = MEASURES["ceph"]
COVARIANCE = 0.25 * np.eye(2)


def of(measures, name):
    return next(a for a in measures.agreements if a.name == name)


@pytest.fixture
def two():
    """S–N is 60 mm; predicted are 63 and 59 mm, each ±0.71."""
    truth = {"a": face(more=False), "b": face(more=False), "c": face(more=False)}
    found = {
        "a": face(N=(63, 0), more=False, covariance=COVARIANCE),
        "b": face(N=(59, 0), more=False, covariance=COVARIANCE),
    }
    return truth, found


def test_differences_by_hand(two):
    length = of(measure_all(CEPH, *two), "S-N")
    assert (length.count, length.unit) == (2, "mm")
    assert length.mean_absolute == pytest.approx(2)
    assert length.bias == pytest.approx(1)
    assert length.sd == pytest.approx(math.sqrt(8))
    assert (length.with_sd, length.covered) == (2, 50)  # 1 is within 1.96 × 0.71, 3 is not
    assert (length.classified, math.isnan(length.same_class)) == (0, True)


def test_classes_by_hand(two):
    """MW is √13 = 3.6 mm (normal); predicted are 3.6 mm and, with an upper edge behind, −√10."""
    truth, found = two
    found["b"] = face(U1=(60, 69), more=False)
    measures = measure_all(CEPH, truth, found)
    wits = of(measures, "MW")
    assert (wits.classified, wits.same_class) == (2, 50)
    rates = [a.same_class for a in measures.agreements if a.classified]
    assert len(rates) == 8
    assert measures.overall["class_agreement_percent"] == pytest.approx(np.mean(rates))
    assert "success classification rate" in lead(measures)


def test_a_measure_counts_where_both_have_it(two):
    truth, found = two
    truth["a"] = face(more=False, without=["S"])
    found["b"] = face(more=False, without=["Go"])
    measures = measure_all(CEPH, truth, found)
    assert of(measures, "S-N").count == 1
    assert of(measures, "S-Go").count == 0
    assert math.isnan(of(measures, "S-Go").bias)
    heads, rows = agreement_table(measures)
    row = dict(zip(heads, next(r for r in rows if r[0] == "S-Go"), strict=True))
    assert (row["n"], row["bias"]) == ("0", "–")
    assert "Not measured: IMPA" in " ".join(explained(measures))


def test_angles_differ_the_short_way_round():
    angle = next(m for m in CEPH.table(()) if m.kind == "angle")
    assert angle.difference(np.array(179.0), np.array(-179.0)) == pytest.approx(-2)


def test_two_observers_are_compared_in_the_same_way(two):
    truth, found = two
    readings = {
        case: {"anna": truth[case], "bert": face(N=(61, 0)), "anna_again": face(N=(99, 0))}
        for case in found
    }
    again = [("anna", "anna_again")]
    measures = measure_all(CEPH, truth, found, observers=readings, repeats=again)
    people = next(a for a in measures.observers if a.name == "S-N")
    assert (people.count, people.mean_absolute) == (2, pytest.approx(1))
    assert "observers: diff." in agreement_table(measures)[0]


def test_nothing_in_common_is_nothing(two):
    assert measure_all(CEPH, two[0], {}) is None


def test_an_evaluation_has_them_where_they_are_asked_for(two):
    truth = Truth(two[0], "the truth")
    assert evaluate(truth, two[1], draws=0).measures is None
    assert to_record(evaluate(truth, two[1], draws=0))["measures"] is None
    record = to_record(evaluate(truth, two[1], measures="ceph", draws=0))
    assert record["measures"]["per_measure"]["S-N"]["within_1.96_sd_percent"] == 50
    values = record["cases"][0]["measures"]["S-N"]
    assert values == {"truth": 60, "prediction": 63, "sd": pytest.approx(math.sqrt(0.5))}
    assert record["measures"]["lacking"]["IMPA"] == ["lower_incisor_apex"]


def test_csv_has_all_its_digits_and_no_nan(two):
    rows = list(csv.DictReader(agreement_csv(measure_all(CEPH, *two)).splitlines()))
    row = next(r for r in rows if r["measure"] == "S-N")
    assert float(row["sd"]) == pytest.approx(math.sqrt(8), rel=1e-9)
    assert row["class_agreement_percent"] == row["observers_n"] == ""


def test_rows_of_one_image():
    marks = face(more=False, without=["A"], covariance=COVARIANCE)
    from anatomark.metrics.measures import measure

    found = measure(marks, CEPH)
    rows = {r["measure"]: r for r in found_rows("x", found, flags={"nasion": ("unlikely place",)})}
    assert rows["SNA"]["note"] == "absent: subspinale; flagged: nasion"
    assert rows["SNB"]["class"] == 3
    assert rows["SNB"]["meaning"] == "prognathic mandible"
    line = next(r for r in found_csv(rows.values()).splitlines() if r.startswith("x,SNA,"))
    assert line == "x,SNA,,,deg,,,absent: subspinale; flagged: nasion"


def test_a_class_that_is_less_likely_than_not_is_doubtful():
    from scipy.stats import norm

    snb = next(m for m in CEPH.available(tuple(face().names)) if m.name == "SNB")
    assert [c.limit for c in snb.classes[:2]] == [74.6, 78.7]
    for value in (70.0, 74.4, 76.0, 78.6, 90.0):
        for sd in (0.1, 1.0, 4.0, 50.0):
            one = Measured(snb, value, sd, "deg")
            edges = (-np.inf, 74.6, 78.7, np.inf)
            low, high = next((a, b) for a, b in pairwise(edges) if a < value < b)
            part = norm.cdf(high, value, sd) - norm.cdf(low, value, sd)
            assert one.class_is_likely == (part >= 0.5)
    assert Measured(snb, 76.0, math.nan, "deg").class_is_likely  # nothing is known against it
    unsure = found_table([Measured(snb, 76.0, 50.0, "deg"), Measured(snb, 76.0, 0.1, "deg")])[1]
    assert [row[4] for row in unsure] == ["1: normal?", "1: normal"]
    flagged = found_table([Measured(snb, 76.0, 0.1, "deg")], flags={"nasion": ("unsure",)})[1]
    assert flagged[0][4] == "1: normal?"


def test_other_landmarks_are_refused():
    with pytest.raises(UsageError, match="it lacks sella, nasion.* and 13 more"):
        chosen_set("ceph", ["tip", "base"], whose="model")
    with pytest.raises(UsageError, match="it lacks v01_tl"):
        chosen_set("cobb", face().names, whose="model")
    with pytest.raises(UsageError, match="there is ceph, cobb"):
        chosen_set("teeth", ["tip"], whose="model")
    flat = Truth({"a": Landmarks(["sella", "nasion"], np.zeros((2, 3)))}, "volumes")
    with pytest.raises(UsageError, match="in the plane"):
        evaluate(flat, dict(flat.landmarks), measures="ceph", draws=0)
