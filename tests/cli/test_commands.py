"""show, convert, import and phantom, from the command line as a user types them."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from anatomark import Affine, Grid, Image, Landmarks, read_landmarks, read_transform, write_image
from anatomark.cli import main
from anatomark.io.landmarks.formats import write_landmarks

MARKS = Landmarks(["tip", "base"], [[1.5, -2.0, 3.0], [4.0, 5.0, 6.25]])


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Every command runs in a fresh folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: object) -> int:
    return main([str(w) for w in words])


def test_convert_between_landmark_files(here, capsys):
    write_landmarks(MARKS, here / "a.mrk.json")
    assert run("convert", "a.mrk.json", "b.fcsv", "--frame", "RAS") == 0
    assert "b.fcsv: 2 landmarks in mm" in capsys.readouterr().out
    assert "-1.5" in (here / "b.fcsv").read_text()
    assert run("convert", "b.fcsv", "c.json", "--json") == 0
    assert json.loads(capsys.readouterr().out)["present"] == 2
    np.testing.assert_allclose(read_landmarks(here / "c.json").points_mm, MARKS.points_mm)


def test_convert_pixels_through_an_image(here, capsys):
    write_image(Image(np.eye(10, dtype=np.uint8), Grid((10, 10), unit="px")), here / "a.png")
    (here / "a.csv").write_text("name,x_px,y_px\ntip,3,4\n")
    assert run("convert", "a.csv", "a.json", "--image", "a.png", "--spacing", "0.5,0.25") == 0
    marks = read_landmarks(here / "a.json")
    assert marks.unit == "mm"
    assert marks["tip"].tolist() == [1.5, 1.0]


def test_convert_warns_about_what_is_lost(here, capsys):
    write_landmarks(Landmarks(["a", "b"], [[1, 2, 3], [np.nan] * 3]), here / "a.json")
    assert run("convert", "a.json", "b.fcsv") == 0
    assert "warning: " in (err := capsys.readouterr().err)
    assert "b" in err


def test_convert_a_transform_states_its_direction(here, capsys):
    (here / "a.txt").write_text("1 0 0 5\n0 1 0 6\n0 0 1 7\n0 0 0 1\n")
    assert run("convert", "a.txt", "b.tfm") == 2
    assert "needs --direction" in capsys.readouterr().err
    assert run("convert", "a.txt", "b.tfm", "--direction", "points", "--to-direction", "image") == 0
    pushes = read_transform(here / "b.tfm", direction="image")
    assert isinstance(pushes, Affine)
    np.testing.assert_allclose(pushes([[0.0, 0.0, 0.0]]), [[5, 6, 7]])
    sitk = pytest.importorskip("SimpleITK")
    assert sitk.ReadTransform(str(here / "b.tfm")).TransformPoint((0, 0, 0)) == (-5, -6, -7)
    assert run("convert", "b.tfm", "c.txt", "--direction", "image", "--frame", "RAS") == 0
    assert "frame RAS" in (here / "c.txt").read_text()


def test_show_a_film_and_a_volume(here, capsys):
    rng = np.random.default_rng(0)
    write_image(
        Image(rng.integers(0, 99, (30, 40), np.uint8), Grid((30, 40), unit="px")), here / "a.png"
    )
    (here / "a.csv").write_text("name,x_px,y_px\ntip,3,4\n")
    assert run("show", "a.png", "a.csv", "--out", "a2.png") == 0
    grid = Grid((8, 9, 10), (1, 1, 1))
    write_image(Image(rng.normal(size=(8, 9, 10)), grid), here / "v.nii.gz")
    write_landmarks(MARKS, here / "v.mrk.json")
    assert run("show", "v.nii.gz", "v.mrk.json", "--out", "v.png", "--names", "base") == 0
    for name in ("a2.png", "v.png"):
        assert (here / name).read_bytes().startswith(b"\x89PNG")
    assert run("show", "v.nii.gz", "v.mrk.json", "--names", "nose") == 2
    assert "no landmark 'nose'" in capsys.readouterr().err


def test_show_warns_of_points_far_outside(here, capsys):
    write_image(
        Image(np.random.default_rng(0).normal(size=(8, 9, 10)), Grid((8, 9, 10), (1, 1, 1))),
        here / "v.nii.gz",
    )
    write_landmarks(Landmarks(["in", "out"], [[1, 1, 1], [500, 0, 0]]), here / "v.json")
    assert run("show", "v.nii.gz", "v.json") == 0
    assert "outside the image: out " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "shape", "cases", "files"),
    [
        ("prostate", "16,32,32", 2, 2),
        ("head", "160,128", 2, 1),
        ("hand", "160,128", 2, 1),
        ("chest", "128,128", 2, 1),
        ("thorax", "24,34,34", 2, 1),
        ("abdomen", "128,128", 2, 1),
        ("olfactory", "8,32,32", 2, 1),
    ],
)
def test_a_phantom_cohort_is_written_and_sound(kind, shape, cases, files, capsys):
    from anatomark import load_sample, read_cohort
    from anatomark.datasets.phantoms import PHANTOMS

    assert run("phantom", kind, "--out", "p", "--cases", cases, "--shape", shape, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    cohort = read_cohort("p")
    assert len(cohort) == said["cases"] == cases * files
    for case in cohort.cases:
        sample = load_sample(cohort, case)
        expected = PHANTOMS[kind].landmarks
        assert (0 if sample.landmarks is None else len(sample.landmarks)) == expected
    assert run("phantom", kind, "--out", "p", "--cases", 1, "--shape", shape) == 2
    assert "not empty" in capsys.readouterr().err
    assert run("phantom", kind, "--out", "p", "--cases", 1, "--shape", shape, "--overwrite") == 0


def test_files_and_memory_hold_the_same_phantom():
    """What is read back is what was drawn: image, landmarks, mask and the map between a pair."""
    from anatomark import load_sample, read_cohort
    from anatomark.datasets.phantoms import PHANTOMS

    assert (
        run("phantom", "prostate", "--out", "p", "--cases", 1, "--seed", 3, "--shape", "16,32,32")
        == 0
    )
    drawn = PHANTOMS["prostate"].draw(3, (16, 32, 32))
    cohort = read_cohort("p")
    for case, sample in zip(cohort.cases, drawn.samples, strict=True):
        again = load_sample(cohort, case)
        np.testing.assert_array_equal(again.image.array, sample.image.array)
        assert again.image.grid.same_as(sample.image.grid)
        np.testing.assert_array_equal(again.landmarks.points_mm, sample.landmarks.points_mm)
        np.testing.assert_array_equal(again.mask.array, sample.mask.array)
    first, second = cohort.cases
    assert (first.pair, second.pair) == (second.case, first.case)
    warp = read_transform(first.transform, direction="image")
    moved = drawn.samples[0].landmarks.moved(warp)
    # The file holds the map on a lattice of about 4 mm.
    np.testing.assert_allclose(moved.points_mm, drawn.samples[1].landmarks.points_mm, atol=0.1)


def test_import_a_folder_with_slicer_points(here, capsys):
    for name in ("a", "b"):
        write_image(
            Image(np.random.default_rng(0).normal(size=(8, 9, 10)), Grid((8, 9, 10), (1, 1, 1))),
            here / f"in/{name}.nii.gz",
        )
        write_landmarks(Landmarks(["tip"], [[1, 2, 3]]), here / f"in/{name}.mrk.json")
    assert run("import", "slicer", "in", "--out", "cohort", "--split", "0.5,0.5", "--json") == 0
    assert json.loads(capsys.readouterr().out)["cases"] == 2


def test_lists(capsys):
    assert run("import", "list") == 0
    assert "isbi2015" in capsys.readouterr().out
    assert run("phantom", "list") == 0
    assert "prostate" in capsys.readouterr().out


def test_demo_ends_in_a_page_that_opens_offline(here, capsys):
    assert run("demo", "--out", "demo") == 0
    html = (here / "demo" / "index.html").read_text()
    # A picture of each of eight phantoms, of what was found in two images, of a registration.
    assert html.count("data:image/png;base64,") == 8 + 2 + 1
    assert "MR brought onto ultrasound" in html
    assert (here / "demo" / "registered" / "transform.h5").is_file()
    for domain in ("mr", "us"):
        assert (here / "demo" / "evaluation" / domain / "report.html").is_file()
    assert "phantoms" in html
    # Letters of a picture can spell any word.
    assert "http" not in re.sub(r"base64,[\w+/=]+", "", html)
    assert run("demo", "--out", "demo") == 0


def test_show_a_case_of_a_cohort(here, capsys):
    assert run("phantom", "head", "--out", "heads", "--cases", 1, "--shape", "160,128") == 0
    assert run("show", "heads") == 2
    assert "say --case, one of head_0000" in capsys.readouterr().err
    assert run("show", "heads", "--case", "head_0000", "--out", "h.png", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {"written": "h.png", "landmarks": 19, "outside": []}
    assert (here / "h.png").read_bytes().startswith(b"\x89PNG")


def test_a_table_of_several_observers(here, capsys):
    (here / "t.csv").write_text(
        "image,observer,landmark,x_mm,y_mm\n001,anna,tip,1,2\n001,bert,tip,1.5,2\n"
    )
    assert run("convert", "t.csv", "a.json", "--by", "image,observer", "--case", "001/bert") == 0
    assert read_landmarks(here / "a.json")["tip"].tolist() == [1.5, 2]
    assert run("convert", "t.csv", "b.json", "--by", "image,observer", "--case", "001") == 2
    assert "has no case '001'; there is 001/anna, 001/bert" in capsys.readouterr().err


def test_colours_are_shown_and_advice_is_in_options(here, capsys):
    rgb = np.random.default_rng(0).integers(0, 255, (3, 30, 40), np.uint8)
    write_image(Image(rgb, Grid((30, 40), unit="px")), here / "c.png")
    assert run("show", "c.png", "--out", "out.png") == 0
    (here / "p.csv").write_text("name,x,y\ntip,3,4\n")
    capsys.readouterr()
    assert run("convert", "p.csv", "p.json") == 2
    said = capsys.readouterr().err
    assert "--unit" in said
    assert "=…" not in said


def test_a_file_is_not_converted_onto_itself(here, capsys):
    write_landmarks(MARKS, here / "a.json")
    assert run("convert", "a.json", "a.json") == 2
    assert "the same file" in capsys.readouterr().err


def test_a_picture_name_is_checked_before_the_work(here, capsys):
    assert run("show", "missing.nii.gz", "--out", "a.docx") == 2
    assert "a.docx: is not a picture file" in capsys.readouterr().err


def test_an_import_is_checked_before_the_work(here, capsys):
    film = Image(np.eye(9, dtype=np.uint8), Grid((9, 9), unit="px"))
    write_image(film, here / "in/images/001.png")
    (here / "in/t.csv").write_text(
        "image,observer,landmark,x_px,y_px\n001,anna,tip,1,2\n001,bert,tip,1.5,2\n"
    )
    assert run("import", "csv", "in", "--out", "in/c") == 2
    assert "inside its source" in capsys.readouterr().err
    assert run("import", "csv", "in", "--out", "c") == 2
    assert "say --truth …, one of mean, anna, bert" in capsys.readouterr().err
    assert run("import", "csv", "in", "--out", "c", "--truth", "bert") == 0
    assert "c: 1 case, landmarks: 1, in px, truth: bert" in capsys.readouterr().out


def test_lists_as_json(capsys):
    assert run("phantom", "list", "--json") == 0
    assert {p["phantom"] for p in json.loads(capsys.readouterr().out)} >= {"prostate", "abdomen"}
    assert run("import", "list", "--json") == 0
    assert "isbi2015" in capsys.readouterr().out


def test_a_recipe_is_not_described_as_a_model(capsys):
    assert main(["models", "ceph-votes"]) == 2
    assert "is a recipe, not a model" in capsys.readouterr().err
    assert main(["models", "prostate-phantom-mr"]) == 0  # which is both
    assert capsys.readouterr().out.startswith("# prostate-phantom-mr")
    assert main(["models", "universal/foot"]) == 2
    assert "has no domain foot" in capsys.readouterr().err
    assert main(["models"]) == 0
    terms = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert terms["ct-slices"].rstrip().endswith("research only")
    assert terms["prostate-phantom-mr"].rstrip().endswith("Apache-2.0")


def test_of_a_universal_model_one_domain_is_described_with_its_terms(capsys):
    assert main(["models", "universal/head"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("# universal/head")
    assert "| articulare |" in said
    assert "universal/spine" not in said
    assert "right_lung_top" not in said
    assert "Terms: research only" in said
    assert main(["models", "universal/chest", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["card"].startswith("# universal/chest")
    assert record["card"].count("Terms:") == 1
    assert main(["models", "--json"]) == 0
    terms = {one["name"]: one["terms"] for one in json.loads(capsys.readouterr().out)["models"]}
    assert terms["universal/spine"] == "research only"
    assert main(["models", "universal"]) == 0
    assert capsys.readouterr().out.count("# universal/") == 3


def test_what_is_written_is_said_in_words_unless_json_is_asked_for(here, capsys):
    words = ["phantom", "head", "--cases", "1", "--shape", "128,112", "--overwrite", "--out", "h"]
    assert run(*words) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "h: 1 case, landmarks: 19 head, in mm"
    assert run(*words, "--json") == 0
    assert json.loads(capsys.readouterr().out)["cases"] == 1
