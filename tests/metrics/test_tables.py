"""Tables hold the numbers they are given, escaped for where they go."""

from __future__ import annotations

import csv
import io
import math

import pytest

from anatomark.data import Landmarks
from anatomark.metrics.evaluation import evaluate
from anatomark.metrics.sources import Truth
from anatomark.metrics.tables import csv_table, escaped, interval, latex_table, number, rows_of

TRUTH = Truth({"k": Landmarks(["tip_1", "50 % & more"], [[0, 0], [0, 0]])}, "observer a_b")


def result():
    found = {"k": Landmarks(["tip_1", "50 % & more"], [[3, 4], [math.nan] * 2])}
    return evaluate(TRUTH, found, thresholds=(2, 5), draws=0)


def test_csv():
    rows = list(csv.DictReader(io.StringIO(csv_table(result(), "landmarks"))))
    assert rows[0]["landmark"] == "tip_1"
    assert float(rows[0]["mre_mm"]) == 5.0
    assert (rows[0]["sdr_2mm_percent"], rows[0]["sdr_5mm_percent"]) == ("0", "100")
    assert (rows[1]["mre_mm"], rows[1]["sensitivity_percent"]) == ("", "0")
    cases = list(csv.DictReader(io.StringIO(csv_table(result(), "cases"))))
    assert cases == [dict(cases[0])]
    assert (cases[0]["case"], cases[0]["n"], cases[0]["sensitivity_percent"]) == ("k", "1", "50")


def test_latex():
    text = latex_table(result())
    lines = text.splitlines()
    assert "truth: observer a_b" in lines[0]
    assert r"tip\_1 & 1 & 5.00 $\pm$ -- & 5.00 [5.00, 5.00] & 0.0 & 100.0 & 100.0 \\" in lines
    assert r"sens. (\%)" in text
    assert r"spec. (\%)" not in text  # nothing is absent in the truth
    assert r"50 \% \& more & 0 & -- $\pm$ --" in text
    width = lines[1].count("r") - "\\begin{tabular}".count("r")
    assert all(line.count("&") - line.count(r"\&") == width for line in lines if "\\\\" in line)
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert rule in lines


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("a_b", r"a\_b"),
        ("50%", r"50\%"),
        ("{x}", r"\{x\}"),
        ("a\\b", r"a\textbackslash{}b"),
        ("~^$&#", r"\textasciitilde{}\textasciicircum{}\$\&\#"),
        ("a\nb", "a b"),
        ("Zähne", "Zähne"),
    ],
)
def test_latex_prints_names_as_they_are(text, safe):
    assert escaped(text) == safe


def test_rows_leave_out_what_is_empty_all_over():
    ours = result()
    heads, rows = rows_of([ours.pooled], "mm", first="")
    assert "spec. (%)" not in heads  # nothing is absent in the truth
    assert "SD" not in heads  # one error has no spread
    assert rows[0][heads.index("MRE (mm)")] == "5.00"


def test_numbers():
    assert number(1.005, 1) == "1.0"
    assert number(math.nan) == "–"
    assert interval((1.234, 5)) == "[1.23, 5.00]"
    assert interval((math.nan, math.nan)) == ""
