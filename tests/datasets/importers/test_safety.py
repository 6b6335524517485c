"""Importing neither destroys a source nor hides what would leak between the splits."""

from __future__ import annotations

import json

import numpy as np
import pytest

from anatomark import Grid, Image, Landmarks, load_sample, read_cohort, write_cohort, write_image
from anatomark.cli.app import main
from anatomark.data import Case, Cohort
from anatomark.datasets.importers import IMPORTERS
from anatomark.errors import CohortError, LandmarkError, UsageError
from anatomark.io.cohorts.checks import check_table
from anatomark.io.landmarks.formats import read_landmark_table, read_landmarks, write_landmarks


def films(folder, names="abc", size=(20, 30)):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name in names:
        array = rng.integers(0, 255, size, np.uint8)
        write_image(Image(array, Grid(size, unit="px")), folder / f"{name}.png")
    return folder


def table(folder, text, name="t.csv"):
    (folder / name).write_text(text)
    return folder


def test_a_source_inside_the_cohort_to_be_replaced_is_left_alone(tmp_path, capsys):
    cohort = tmp_path / "cohort"
    source = table(films(cohort / "images", "a"), "image,landmark,x_px,y_px\na,tip,1,2\n")
    (cohort / "cohort.csv").write_text("case,image\n")
    (cohort / "cohort.toml").write_text("")
    words = ["import", "csv", str(source), "--out", str(cohort), "--overwrite"]
    assert main(words) == 2
    assert "the source lies inside this folder" in capsys.readouterr().err
    assert {p.name for p in source.iterdir()} == {"a.png", "t.csv"}


def test_images_inside_the_cohort_to_be_replaced_are_left_alone(tmp_path):
    cohort = tmp_path / "cohort"
    films(cohort / "images", "a")
    (cohort / "cohort.csv").write_text("case,image\n")
    (cohort / "cohort.toml").write_text("")
    tables = tmp_path / "tables"
    tables.mkdir()
    table(tables, "image,landmark,x_px,y_px\na,tip,1,2\n")
    with pytest.raises(UsageError, match=r"holds the image .*a\.png"):
        IMPORTERS["csv"](tables, cohort, images=cohort / "images", overwrite=True)
    assert (cohort / "images" / "a.png").exists()


def test_a_cohort_does_not_overwrite_the_file_of_another_case(tmp_path):
    root, other = tmp_path / "cohort", tmp_path / "other"
    films(tmp_path / "films", "ab")
    for folder, name, point in ((root / "landmarks", "a_b", [1, 1]), (other, "x", [2, 2])):
        folder.mkdir(parents=True)
        write_landmarks(Landmarks(["t"], [point], unit="px"), folder / f"{name}.json")
    cases = (
        Case("a b", tmp_path / "films" / "a.png", root / "landmarks" / "a_b.json"),
        Case("a_b", tmp_path / "films" / "b.png", other / "x.json"),
    )
    write_cohort(Cohort(root, cases, {"": ("t",)}, unit="px"), root)
    again = read_cohort(root)
    points = {c.case: load_sample(again, c).landmarks["t"].tolist() for c in again.cases}
    assert points == {"a b": [1, 1], "a_b": [2, 2]}


def test_one_landmark_file_of_two_cases_is_a_problem(tmp_path):
    cases = tuple(Case(n, tmp_path / f"{n}.png", tmp_path / "x.json") for n in "ab")
    problems = check_table(Cohort(tmp_path, cases, {"": ("t",)}))
    assert any("the same landmark file is used by cases" in p for p in problems)


HEAD = "image,landmark,x_px,y_px,split,patient\n"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            "a,t,1,2,test,P1\na,u,3,4,train,P1\n",
            "split of image 'a' is 'train', before it was 'test'",
        ),
        ("a,t,1,2,train,P1\na,u,3,4,train,P9\n", "patient of image 'a' is 'P9'"),
        ("a,t,1,2,train,P1\nb,t,1,2,test,P1\n", "patient 'P1' is in several splits"),
        ("a,t,1,2,train,P1\nb,t,1,2,,P2\n", "case 'b' is in no split, others are"),
    ],
)
def test_rows_that_disagree_or_leak_are_refused(tmp_path, rows, message):
    source = table(films(tmp_path / "s", "ab" if "\nb" in rows else "a"), HEAD + rows)
    with pytest.raises(CohortError) as caught:
        IMPORTERS["csv"](source, tmp_path / "out")
    assert message in str(caught.value)


def test_capitals_do_not_change_what_a_column_means(tmp_path):
    rows = "a,t,1,2,train,P1\nb,t,1,2,test,P2\nc,t,1,2,train,P3\n"
    text = "Image,landmark,x_px,y_px,Split,Patient\n" + rows
    cohort = IMPORTERS["csv"](table(films(tmp_path / "s"), text), tmp_path / "out")
    assert {c.case: (c.split, c.patient) for c in cohort.cases} == {
        "a": ("train", "P1"), "b": ("test", "P2"), "c": ("train", "P3"),
    }  # fmt: skip


def test_two_tables_must_agree(tmp_path):
    source = films(tmp_path / "s", "a")
    for who, split in (("anna", "train"), ("bert", "test")):
        head = "image,observer,landmark,x_px,y_px,split\n"
        table(source, f"{head}a,{who},t,1,2,{split}\n", f"{who}.csv")
    with pytest.raises(CohortError, match="split of image 'a' is 'test', before it was 'train'"):
        IMPORTERS["csv"](source, tmp_path / "out", truth="anna")


def test_a_pattern_finds_the_patient_whichever_way_it_matches(tmp_path):
    rows = "A1,t,1,2,train\nB1_left,t,1,2,train\nB1_right,t,1,2,test\n"
    text = "image,landmark,x_px,y_px,split\n" + rows
    source = table(films(tmp_path / "s", ["A1", "B1_left", "B1_right"]), text)
    with pytest.raises(CohortError, match="patient 'B1' is in several splits"):
        IMPORTERS["csv"](source, tmp_path / "out", patient=r"(A\d+)|(B\d+)")
    with pytest.raises(UsageError, match="finds no patient in case"):
        IMPORTERS["csv"](source, tmp_path / "out", patient="")


@pytest.mark.parametrize(("cell", "there"), [
    ("1", True), ("1.0", True), ("True", True), ("yes", True),
    ("0", False), ("0.0", False), ("FALSE", False), ("n", False), ("f", False),
])  # fmt: skip
def test_presence_as_people_and_programs_write_it(tmp_path, cell, there):
    (tmp_path / "t.csv").write_text(f"landmark,x_mm,y_mm,frame,present\nt,0,0,LPS,{cell}\n")
    assert read_landmarks(tmp_path / "t.csv").present.tolist() == [there]


def test_a_presence_that_says_nothing_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("landmark,x_mm,y_mm,frame,present\nt,0,0,LPS,absent\n")
    with pytest.raises(LandmarkError, match="'absent' does not say whether it is present"):
        read_landmarks(tmp_path / "t.csv")


def test_slicer_points_of_a_film_lose_their_zero(tmp_path):
    source = films(tmp_path / "s", "a")
    node = {
        "type": "Fiducial", "coordinateSystem": "LPS", "coordinateUnits": "mm",
        "controlPoints": [{"id": "1", "label": "tip", "position": [2, 3, 0]}],
    }  # fmt: skip
    (source / "a.mrk.json").write_text(json.dumps({"markups": [node]}))
    cohort = IMPORTERS["slicer"](source, tmp_path / "out", spacing=0.5)
    assert load_sample(cohort, cohort.cases[0]).landmarks["tip"].tolist() == [2, 3]
    with pytest.raises(LandmarkError, match=r"a\.png.*the landmarks are in mm"):
        IMPORTERS["slicer"](source, tmp_path / "other")


def test_an_isbi_file_means_the_same_everywhere(tmp_path):
    lines = [f"{3 + i},{7 + i}" for i in range(19)]
    (tmp_path / "001.txt").write_text("\n".join(lines) + "\n")
    grid = Grid((60, 60), [0.1, 0.1])
    marks = read_landmarks(tmp_path / "001.txt", grid=grid)
    np.testing.assert_allclose(marks["sella"], [0.25, 0.65])  # 0.3, 0.7 mm from the corner
    write_landmarks(marks, tmp_path / "again.txt", grid=grid)
    again = [[float(v) for v in line.split(",")] for line in
             (tmp_path / "again.txt").read_text().splitlines()]  # fmt: skip
    np.testing.assert_allclose(again, [[3 + i, 7 + i] for i in range(19)], atol=1e-9)
    pixels = read_landmarks(tmp_path / "001.txt")
    assert pixels["sella"].tolist() == [2.5, 6.5]
    write_landmarks(pixels, tmp_path / "third.txt")
    assert (tmp_path / "third.txt").read_text().startswith("3.0,7.0\n")


def test_readers_of_different_cases_are_not_pooled_unasked(tmp_path):
    cases = (
        Case("a", tmp_path / "a.png", observers={"anna": tmp_path / "a.json"}),
        Case("b", tmp_path / "b.png", observers={"bert": tmp_path / "b.json"}),
    )
    problems = check_table(Cohort(tmp_path, cases, {"": ("t",)}))
    assert any("read by anna, bert alone: set truth" in p for p in problems)


def test_keys_that_read_alike_are_refused(tmp_path):
    text = "site,obs,landmark,x_mm,y_mm,frame\na/b,c,t,1,2,LPS\na,b/c,u,1,2,LPS\n"
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(LandmarkError, match="is written in two ways"):
        read_landmark_table(tmp_path / "t.csv", by=("site", "obs"))


def test_a_comma_in_a_label_is_noticed(tmp_path):
    head = (
        "# Markups fiducial file version = 4.10\n# CoordinateSystem = LPS\n"
        "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
    )
    (tmp_path / "p.fcsv").write_text(head + "1,1,2,3,0,0,0,1,1,1,0,tip, left,,\n")
    with pytest.raises(LandmarkError, match="put a label with a comma in double quotes"):
        read_landmarks(tmp_path / "p.fcsv")


def test_a_negative_seed_and_a_file_beside_a_cohort(tmp_path, capsys):
    source = table(films(tmp_path / "s", "a"), "image,landmark,x_px,y_px\na,t,1,2\n")
    words = ["import", "csv", str(source), "--out", str(tmp_path / "out")]
    assert main([*words, "--split", "0.5,0.5", "--seed", "-1"]) == 2
    assert main(words) == 0
    capsys.readouterr()
    assert main(["show", str(tmp_path / "out"), "nosuch.json", "--case", "a"]) == 2
    assert "brings its own landmarks" in capsys.readouterr().err
