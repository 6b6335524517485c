"""--measure of detect and evaluate, from the command line as a user types them."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anatomark import load_sample, read_cohort, read_landmarks, write_landmarks
from anatomark.cli import main
from anatomark.cli.commands import Measures
from anatomark.metrics.measures import MEASURES

FAR = 5.0  # mm; more than the standard deviation of any length here


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    """Two films and their true points, with an uncertainty; noise moves the predicted ones."""
    home = tmp_path_factory.mktemp("heads")
    assert main(["phantom", "head", "--cases", "2", "--shape", "100,80", "--out", f"{home}/c"]) == 0
    cohort = read_cohort(home / "c")
    rng = np.random.default_rng(0)
    for case in cohort.cases:
        true = load_sample(cohort, case).landmarks
        found = replace(
            true, points_mm=true.points_mm + rng.normal(0, 1, (19, 2)),
            covariance_mm2=np.tile(np.eye(2), (19, 1, 1)),
        )  # fmt: skip
        write_landmarks(found, home / "found" / f"{case.case}.json")
        write_landmarks(replace(found, covariance_mm2=None), home / "slicer" / f"{case.case}.csv")
    return home


@pytest.fixture(autouse=True)
def here(heads, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("c", "found", "slicer"):
        Path(name).symlink_to(heads / name)


def run(*words: object) -> int:
    return main([str(w) for w in words])


def rows_of(path: str) -> dict[str, dict[str, str]]:
    return {row["measure"]: row for row in csv.DictReader(Path(path).read_text().splitlines())}


def test_the_option_names_every_set():
    assert str(Measures).count("'") == 2 * len(MEASURES)
    assert all(f"'{name}'" in str(Measures) for name in MEASURES)


def test_evaluate(capsys):
    words = ["evaluate", "--truth", "c", "--prediction", "found", "--draws", 0, "--out", "e"]
    assert run(*words, "--measure", "ceph", "--json") == 0
    record = json.loads(capsys.readouterr().out)["measures"]
    assert (record["set"], record["cases"], len(record["per_measure"])) == ("ceph", 2, 27)
    assert record == json.loads(Path("e/metrics.json").read_text())["measures"]
    assert 0 < record["per_measure"]["S-N"]["mean_absolute_difference"] < FAR
    rows = rows_of("e/measures.csv")
    assert float(rows["SNA"]["bias"]) == pytest.approx(record["per_measure"]["SNA"]["bias"])
    assert rows["SNA"]["with_sd"] == "2"
    html = Path("e/report.html").read_text()
    assert "<h2>Cephalometric measures</h2>" in html
    assert "which need lower_incisor_apex" in html
    assert "within ±1.96 SD" in html
    assert run(*words, "--measure", "ceph") == 0
    out = capsys.readouterr().out
    assert "same class (%)" in out
    assert "success classification rate" in out
    assert run(*words) == 0  # what was not asked for is not left over
    assert not Path("e/measures.csv").exists()
    assert "Cephalometric" not in Path("e/report.html").read_text()


def test_predictions_without_covariance_have_no_coverage(capsys):
    assert run("evaluate", "--truth", "c", "--prediction", "slicer", "--draws", 0, "--out", "e",
               "--measure", "ceph") == 0  # fmt: skip
    assert "within" not in capsys.readouterr().out.split("errors in mm")[1]
    assert "carry no covariances" in Path("e/report.html").read_text()
    assert rows_of("e/measures.csv")["SNA"]["with_sd"] == "0"


def test_evaluate_refuses_what_the_landmarks_do_not_allow(capsys):
    assert run("evaluate", "--truth", "c", "--prediction", "found", "--out", "e",
               "--measure", "cobb") == 2  # fmt: skip
    said = capsys.readouterr().err
    assert "it lacks v01_tl, v01_tr" in said
    assert said.count("\n") == 1
    assert not Path("e").exists()


def test_detect(capsys):
    words = ["detect", "c/images/head_0000.png", "--model", "universal/head", "--device", "cpu",
             "--spacing", "2.4", "--no-picture", "--out", "d", "--format", "json"]  # fmt: skip
    assert run(*words, "--measure", "ceph", "--json") == 0
    said = {row["measure"]: row for row in json.loads(capsys.readouterr().out)["measures"]}
    rows = rows_of("d/measures.csv")
    assert list(rows) == list(said)
    assert len(rows) == 27
    for name, row in rows.items():
        assert (row["case"], row["unit"]) == ("head_0000", said[name]["unit"])
        assert float(row["value"]) == said[name]["value"]
        assert float(row["sd"]) > 0
    # The length is that of the points that were written.
    marks = read_landmarks("d/head_0000.json")
    apart = float(np.linalg.norm(marks["sella"] - marks["nasion"]))
    assert float(rows["S-N"]["value"]) == pytest.approx(apart, abs=1e-3)
    assert run(*words, "--measure", "ceph") == 0
    out = capsys.readouterr().out
    assert "upper to lower jaw, SNA − SNB" in out
    assert "Not measured: IMPA" in out
    # The tables beside the points are no predictions of cases of their names.
    assert run("evaluate", "--truth", "c", "--prediction", "d", "--out", "e", "--draws", 0) == 0
    assert "measures" not in capsys.readouterr().err
    assert run(*words) == 0
    assert not Path("d/measures.csv").exists()


def test_detect_refuses_a_model_of_other_landmarks_before_it_works(capsys):
    words = ["detect", "nothing.nii.gz", "--model", "prostate-phantom-mr", "--out", "d"]
    assert run(*words, "--measure", "ceph") == 2
    said = capsys.readouterr().err
    assert "prostate-phantom-mr: has no landmarks for cephalometric measures" in said
    assert "it lacks sella, nasion, orbitale" in said
    assert said.count("\n") == 1
    assert not Path("d").exists()


def test_detect_does_not_write_over_a_table_of_somebody_else(capsys):
    Path("d").mkdir()
    Path("d/measures.csv").write_text("mine")
    words = ["detect", "c/images/head_0000.png", "--model", "universal/head", "--spacing", "2.4",
             "--no-picture", "--out", "d", "--measure", "ceph"]  # fmt: skip
    assert run(*words) == 2
    assert "is not from detect" in capsys.readouterr().err
    assert Path("d/measures.csv").read_text() == "mine"


def test_a_number_that_is_not_there_is_an_empty_cell(capsys):
    Path("gap").mkdir()
    for case in read_cohort("c").cases:
        marks = read_landmarks(f"found/{case.case}.json")
        here = np.array([name != "sella" for name in marks.names])
        write_landmarks(replace(marks, present=here), f"gap/{case.case}.json")
    assert run("evaluate", "--truth", "c", "--prediction", "gap", "--draws", 0, "--out", "e",
               "--measure", "ceph", "--json") == 0  # fmt: skip
    record = json.loads(capsys.readouterr().out)["measures"]["per_measure"]["SNA"]
    assert (record["n"], record["bias"]) == (0, None)
    row = rows_of("e/measures.csv")["SNA"]
    assert (row["n"], row["bias"]) == ("0", "")
    assert math.isnan(float(row["bias"] or "nan"))
