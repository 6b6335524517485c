"""evaluate and compare, from the command line as a user types them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from anatomark import Grid, Image, Landmarks, load_sample, read_cohort, write_image, write_landmarks
from anatomark.cli import main

NAMES = ("tip", "base")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Every command runs in a fresh folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: object) -> int:
    return main([str(w) for w in words])


def folder(name: str, *, shift: float = 0.0, suffix: str = ".mrk.json", cases: int = 3) -> Path:
    """Points of some cases; each is moved along x by ``shift`` times its number, counted from 1."""
    rng = np.random.default_rng(0)
    for k in range(cases):
        points = rng.normal(0, 30, (2, 3))
        points[:, 0] += shift * (k + 1)
        write_landmarks(Landmarks(NAMES, points), Path(name) / f"case_{k}{suffix}")
    return Path(name)


def phantoms(kind: str, shape: str, cases: int = 2) -> Path:
    assert run("phantom", kind, "--out", kind, "--cases", cases, "--shape", shape) == 0
    return Path(kind)


def said(capsys) -> dict:
    return json.loads(capsys.readouterr().out)


def test_folders_of_files(capsys):
    folder("truth")
    folder("found", shift=1.5, suffix=".json")
    assert run("evaluate", "--truth", "truth", "--prediction", "found", "--out", "e", "--json",
               "--thresholds", "1.5,3,4") == 0  # fmt: skip
    pooled = said(capsys)["pooled"]
    assert pooled["mre"] == pytest.approx(3.0)  # 1.5, 3, 4.5
    assert [round(s["percent"], 6) for s in pooled["sdr"]] == [33.333333, 66.666667, 66.666667]
    written = {p.relative_to("e").as_posix() for p in Path("e").rglob("*") if p.is_file()}
    assert written == {
        "metrics.json", "table.tex", "report.html",
        "landmarks.csv", "cases.csv", "domains.csv", "all.csv",
        "plots/cumulative.png", "plots/boxes.png", "plots/ellipses.png",
    }  # fmt: skip
    html = Path("e/report.html").read_text()
    assert "http" not in html
    assert html.count("data:image/png;base64,") == 3
    with Path("e/cases.csv").open() as stream:
        rows = [float(r["mre_mm"]) for r in csv.DictReader(stream)]
    assert rows == pytest.approx([1.5, 3.0, 4.5])


@pytest.mark.parametrize("suffix", [".mrk.json", ".fcsv", ".csv", ".json"])
def test_every_kind_of_file_is_the_same_prediction(suffix, capsys):
    folder("truth")
    folder("found", shift=1.0, suffix=suffix)
    assert run("evaluate", "--truth", "truth", "--prediction", "found", "--out", "e", "--json") == 0
    assert said(capsys)["pooled"]["mre"] == pytest.approx(2.0, abs=1e-3)


@pytest.mark.parametrize(
    "table",
    [
        "case,name,x_mm,y_mm\na,tip,1,2\na,base,3,4\nb,tip,5,6\nb,base,7,8\n",
        "case,tip_x_mm,tip_y_mm,base_x_mm,base_y_mm\na,1,2,3,4\nb,5,6,7,8\n",
    ],
    ids=["long", "wide"],
)
def test_tables(here, table, capsys):
    (here / "t.csv").write_text(table)
    (here / "p.csv").write_text("case,name,x_mm,y_mm\nb,base,7,10\na,tip,1,2\nb,tip,5,6\n")
    assert run("evaluate", "--truth", "t.csv", "--prediction", "p.csv", "--out", "e", "--json") == 0
    pooled = said(capsys)["pooled"]
    assert pooled["count"] == 3
    assert pooled["mre"] == pytest.approx(2 / 3)
    assert pooled["presence"]["false_negative"] == 1


def test_one_file_against_one_file_whatever_they_are_called(capsys):
    folder("truth", cases=1)
    folder("found", cases=1, shift=2.0, suffix=".json")
    assert run("evaluate", "--truth", "truth/case_0.mrk.json", "--prediction", "found/case_0.json",
               "--out", "e") == 0  # fmt: skip
    Path("found/case_0.json").rename("other.json")
    assert run("evaluate", "--truth", "truth/case_0.mrk.json", "--prediction", "other.json",
               "--out", "e") == 0  # fmt: skip
    out = capsys.readouterr().out
    assert out.count("1 case, 2 landmarks, errors in mm") == 2


def test_missing_unused_and_unknown_are_said(here, capsys):
    folder("truth")
    folder("found")
    Path("found/case_1.mrk.json").rename("found/stranger.mrk.json")
    points = Landmarks([*NAMES, "nose"], np.zeros((3, 3)))
    write_landmarks(points, "found/case_2.mrk.json")
    (here / "found/report.json").write_text("not landmarks at all")
    assert run("evaluate", "--truth", "truth", "--prediction", "found", "--out", "e", "--json") == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert result["missing_cases"] == ["case_1"]
    assert result["unused_cases"] == ["report", "stranger"]
    assert result["unknown_names"] == ["nose"]
    assert "no prediction (1): case_1" in captured.err
    record = json.loads(Path("e/metrics.json").read_text())
    assert record["missing_cases"] == ["case_1"]
    assert [c["case"] for c in record["cases"]] == ["case_0", "case_2"]
    html = Path("e/report.html").read_text()
    for word in ("case_1", "stranger", "nose"):
        assert word in html


def test_a_cohort_of_volumes_with_pictures(capsys):
    cohort = read_cohort(phantoms("prostate", "16,32,32"))
    for case in cohort.cases:
        true = load_sample(cohort, case).landmarks
        moved = Landmarks(true.names, true.points_mm + np.array([0, 0, 3.0]))
        write_landmarks(moved, f"found/{case.case}.mrk.json")
    capsys.readouterr()
    assert run("evaluate", "--truth", "prostate", "--prediction", "found", "--out", "e",
               "--json") == 0  # fmt: skip
    result = said(capsys)
    assert result["cases"] == 4
    assert result["pooled"]["mre"] == pytest.approx(3.0, abs=1e-6)
    record = json.loads(Path("e/metrics.json").read_text())
    assert {d: g["count"] for d, g in record["per_domain"].items()} == {"us": 6, "mr": 6}
    assert Path("e/report.html").read_text().count("data:image/png;base64,") == 3 + 4
    split = cohort.splits[0]
    assert run("evaluate", "--truth", "prostate", "--prediction", "found", "--out", "e2",
               "--split", split, "--json") == 0  # fmt: skip
    assert said(capsys)["cases"] == len(cohort.select(split=split))


def films() -> None:
    """A cohort of two films of 0.5 mm pixels that two observers read."""
    lines = ["image,observer,landmark,x_px,y_px"]
    for k in range(2):
        pixels = np.random.default_rng(k).integers(0, 255, (30, 40), np.uint8)
        write_image(Image(pixels, Grid((30, 40), unit="px")), f"in/images/{k}.png")
        lines += [f"{k},anna,tip,10,10", f"{k},bert,tip,14,13"]
    Path("in/t.csv").write_text("\n".join(lines) + "\n")
    assert run("import", "csv", "in", "--out", "c", "--truth", "anna", "--spacing", "0.5") == 0


def test_observers_and_pixels_of_a_cohort_with_a_spacing(capsys):
    films()
    Path("p.csv").write_text("case,name,x_px,y_px\n0,tip,10,12\n1,tip,10,10\n")
    capsys.readouterr()
    assert run("evaluate", "--truth", "c", "--prediction", "p.csv", "--out", "e", "--json") == 0
    result = said(capsys)
    assert (result["unit"], result["truth"]) == ("mm", "observer anna")
    assert result["pooled"]["mre"] == pytest.approx(0.5)  # 2 pixels and none, of 0.5 mm
    record = json.loads(Path("e/metrics.json").read_text())
    assert record["observers"]["inter"]["mean"] == pytest.approx(2.5)  # 5 pixels
    assert record["observers"]["mean"]["per_landmark"]["tip"] == pytest.approx(1.25)
    assert "two observers" in Path("e/report.html").read_text()
    assert run("evaluate", "--truth", "c", "--prediction", "p.csv", "--out", "e", "--json",
               "--observer", "mean", "--repeat", "anna:bert") == 0  # fmt: skip
    assert said(capsys)["truth"] == "the mean of anna"  # bert is anna, a second time
    assert "intra" in json.loads(Path("e/metrics.json").read_text())["observers"]


def test_nothing_predicted_is_a_result(capsys):
    folder("truth")
    for k in range(3):
        write_landmarks(Landmarks(NAMES, np.full((2, 3), np.nan)), f"found/case_{k}.json")
    assert run("evaluate", "--truth", "truth", "--prediction", "found", "--out", "e", "--json") == 0
    pooled = said(capsys)["pooled"]
    assert (pooled["count"], pooled["mre"]) == (0, None)
    assert pooled["presence"]["sensitivity"] == 0.0
    assert "There are no errors" in Path("e/report.html").read_text()


def test_compare(capsys):
    folder("truth", cases=8)
    for name, shift in (("a", 1.0), ("b", 2.0), ("c", 0.1)):
        folder(f"found_{name}", shift=shift, cases=8)
        assert run("evaluate", "--truth", "truth", "--prediction", f"found_{name}",
                   "--out", name) == 0  # fmt: skip
    capsys.readouterr()
    assert run("compare", "a", "b", "c/metrics.json", "--out", "cmp", "--json") == 0
    record = said(capsys)
    # Eight cases that all change the same way: p = 2 / 2**8, by Holm times three.
    assert [t["p"] for t in record["tests"]] == pytest.approx([2 / 256] * 3)
    assert [t["p_holm"] for t in record["tests"]] == pytest.approx([6 / 256] * 3)
    assert [r["marks"] for r in record["runs"]] == ["", "*", "*†"]
    assert json.loads(Path("cmp/compare.json").read_text()) == record
    assert run("compare", "a", "b", "--out", "cmp", "--by", "point", "--thresholds", "5") == 0
    out = capsys.readouterr().out
    assert "≤ 5 mm (%)" in out
    assert "errors of the points" in out


BAD = {
    "no truth": (["--truth", "nothing"], "nothing: cannot be read"),
    "no prediction": (["--prediction", "nothing"], "nothing: cannot be read"),
    "empty folder": (["--prediction", "empty"], "empty: holds no landmark files"),
    "empty truth": (["--truth", "empty"], "empty: holds no landmark files"),
    "no matching case": (["--prediction", "strangers"], "no prediction for any case"),
    "other names": (["--prediction", "renamed"], "case 'case_0': the prediction names nose"),
    "pixels": (["--prediction", "pixels"], "the truth is in mm, the prediction in px"),
    "flat": (["--prediction", "flat"], "3D ones are needed"),
    "unreadable": (["--prediction", "broken"], "broken/case_0.json"),
    "two of one": (["--prediction", "twice"], "are of the same case"),
    "no unit": (["--prediction", "nounit.csv"], "does not say the unit"),
    "thresholds": (["--thresholds", "2,-1"], "thresholds must be positive"),
    "words": (["--thresholds", "two"], "is not a list of numbers"),
    "split": (["--split", "test"], "needs a cohort"),
    "observer": (["--observer", "anna"], "needs a cohort"),
    "repeat": (["--repeat", "anna"], "is not a pair"),
    "repeat of none": (["--repeat", "a:b"], "there is no observer 'a'; there is none"),
    "out is a file": (["--out", "nounit.csv"], "is a file"),
    "nothing said": (["--seed", "-1"], "--seed"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_exit_2_and_one_line(here, name, capsys):
    words, expected = BAD[name]
    folder("truth")
    folder("found")
    for other in ("empty", "broken"):
        (here / other).mkdir()
    (here / "broken/case_0.json").write_text('{"format": 7')
    write_landmarks(Landmarks(NAMES, np.zeros((2, 3))), "strangers/eve.json")
    write_landmarks(Landmarks(["nose"], np.zeros((1, 3))), "renamed/case_0.json")
    write_landmarks(Landmarks(NAMES, np.zeros((2, 3)), unit="px"), "pixels/case_0.json")
    write_landmarks(Landmarks(NAMES, np.zeros((2, 2))), "flat/case_0.json")
    for suffix in (".json", ".fcsv"):
        write_landmarks(Landmarks(NAMES, np.zeros((2, 3))), f"twice/case_0{suffix}")
    (here / "nounit.csv").write_text("case,name,x,y,z\ncase_0,tip,1,2,3\n")
    given = {"--truth": "truth", "--prediction": "found", "--out": "e"}
    given |= dict(zip(words[::2], words[1::2], strict=True))
    assert run("evaluate", *(w for pair in given.items() for w in pair)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("error: ")
    assert expected in captured.err
    assert not (here / "e").exists()


def test_a_cohort_knows_its_parts_and_observers(capsys):
    films()
    Path("p.csv").write_text("case,name,x_px,y_px\n0,tip,10,12\n")
    for words, expected in (
        (["--split", "exam"], "there is no part 'exam'; there is train\n"),
        (["--domain", "mr"], "there is no domain 'mr'; its cases have none: leave it out"),
        (["--observer", "eve"], "no reading of observer 'eve'"),
    ):
        capsys.readouterr()
        assert run("evaluate", "--truth", "c", "--prediction", "p.csv", "--out", "e", *words) == 2
        assert expected in capsys.readouterr().err


def test_bad_runs(here, capsys):
    folder("truth")
    assert run("evaluate", "--truth", "truth", "--prediction", "truth", "--out", "a") == 0
    (here / "empty").mkdir()
    (here / "b").mkdir()
    (here / "b/metrics.json").write_text("{}")
    for words, expected in (
        (["a"], "nothing to compare"),
        (["a", "missing"], "missing: cannot be read"),
        (["a", "empty"], "empty: has no metrics.json"),
        (["a", "b"], "is not what anatomark evaluate writes"),
    ):
        capsys.readouterr()
        assert run("compare", *words, "--out", "c") == 2
        captured = capsys.readouterr()
        assert captured.err.count("\n") == 1
        assert expected in captured.err
    assert not (here / "c").exists()


def test_a_unit_that_the_files_deny_is_refused(capsys):
    folder("truth")
    folder("found", suffix=".csv")
    words = ["evaluate", "--truth", "truth", "--prediction", "found", "--out", "e"]
    assert run(*words, "--unit", "px") == 2
    assert "its points are in mm, not in px" in capsys.readouterr().err
    assert not Path("e").exists()
    assert run(*words, "--unit", "mm") == 0
    head = "case,landmark,x,y,z,unit\n"
    Path("detections.csv").write_text(head + "case_0,tip,1,2,3,mm\ncase_0,base,1,2,4,mm\n")
    Path("t.csv").write_text("case,landmark,x,y\ncase_0,tip,1,2\n")  # its unit is not said
    words[2], words[4] = "t.csv", "detections.csv"
    assert run(*words, "--unit", "px") == 2
    assert "detections.csv: its points are in mm, not in px" in capsys.readouterr().err
    cohort = phantoms("prostate", "16,32,32", cases=1)
    words[2], words[4] = cohort, cohort
    assert run(*words, "--unit", "px") == 2
    assert "prostate: its points are in mm, not in px" in capsys.readouterr().err
    assert run("convert", "truth/case_0.mrk.json", "a.csv", "--unit", "px") == 2
    assert "its points are in mm, not in px" in capsys.readouterr().err


@pytest.mark.parametrize("column", ["image", "Filename"])
def test_names_of_images_lose_their_extension_on_both_sides(here, column, capsys):
    head, rows = f"{column},landmark,x_px,y_px\n", "Pat_002.PNG,tip,1,2\nb.nii.gz,tip,5,6\n"
    (here / "Punkte.csv").write_text(head + rows)
    for name, x in (("Pat_002", 4), ("b", 5)):
        write_landmarks(Landmarks(["tip"], [[x, 6]], unit="px"), f"found/{name}.json")
    (here / "other.csv").write_text("case,landmark,x_px,y_px\nPat_002,tip,4,6\nb,tip,5,6\n")
    films, other = "Punkte.csv", "other.csv"
    for truth, prediction in ((films, "found"), (films, other), (other, films), (films, films)):
        words = ["--truth", truth, "--prediction", prediction, "--out", "e", "--json"]
        assert run("evaluate", *words) == 0
        result = said(capsys)
        assert (result["cases"], result["missing_cases"], result["unused_cases"]) == (2, [], [])
        # Pat_002 is 5 off where the two sides differ, b nowhere.
        assert result["pooled"]["mre"] == (0 if truth == prediction else pytest.approx(2.5))
    (here / "twice.csv").write_text(head + rows + "Pat_002.jpg,tip,1,2\n")
    assert run("evaluate", "--truth", "twice.csv", "--prediction", "found", "--out", "f") == 2
    assert "two images of the name 'Pat_002'" in capsys.readouterr().err
    assert run("evaluate", "--truth", "other.csv", "--prediction", "twice.csv", "--out", "f") == 2


def test_what_evaluate_did_not_write_is_not_replaced(capsys):
    folder("truth")
    Path("e").mkdir()
    Path("e/report.html").write_text("mine")
    words = ["evaluate", "--prediction", "truth", "--out", "e"]
    assert run(*words, "--truth", "nowhere") == 2  # refused before anything is read
    err = capsys.readouterr().err
    assert err.startswith("error: e: holds report.html, but no metrics.json of an earlier run")
    assert Path("e/report.html").read_text() == "mine"
    Path("e/metrics.json").write_text('{"mre": 1}')
    assert run(*words, "--truth", "truth") == 2
    Path("e/report.html").unlink()
    assert run(*words, "--truth", "truth") == 2  # that metrics.json is not ours either
    assert Path("e/metrics.json").read_text() == '{"mre": 1}'
    Path("e/metrics.json").unlink()
    Path("e/notes.txt").write_text("mine")
    for _ in range(2):  # its own it replaces
        assert run(*words, "--truth", "truth") == 0
    capsys.readouterr()
    assert run("compare", "e", "e", "--out", "e") == 2
    assert "but no compare.json of an earlier run" in capsys.readouterr().err
    for _ in range(2):
        assert run("compare", "e", "e", "--out", "c") == 0
    assert run(*words[:-1], "c", "--truth", "truth") == 2


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_film_has_no_left_and_no_back(dimension):
    unit = "px" if dimension == 2 else "mm"
    write_landmarks(Landmarks(NAMES, np.eye(2, dimension), unit=unit), "truth/a.json")
    assert run("evaluate", "--truth", "truth", "--prediction", "truth", "--out", "e") == 0
    page = Path("e/report.html").read_text()
    assert ("world axes (LPS)" in page) == (dimension == 3)
    assert ("x to the right and y down" in page) == (dimension == 2)


def test_a_wrong_list_of_thresholds_gets_an_example(capsys):
    words = ["--truth", "t", "--prediction", "p", "--out", "e", "--thresholds", "2;3"]
    assert run("evaluate", *words) == 2
    assert "write --thresholds 2,2.5,3,4" in capsys.readouterr().err
