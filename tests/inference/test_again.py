"""detect into a folder that has results: what stays, what is replaced, what is refused."""

from __future__ import annotations

import csv
import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.inference.tiny import looked, scan, tiny_model

from anatomark import Grid, Image, read_landmarks, write_image, write_landmarks
from anatomark.data import Landmarks
from anatomark.errors import LossWarning, UsageError
from anatomark.inference.detection import Detection
from anatomark.inference.files import Outcome
from anatomark.inference.flags import Findings
from anatomark.inference.measures import check_measures_file, write_measures
from anatomark.inference.sources import Source, sources_of
from anatomark.inference.table import write_table

FORMATS = ("mrk.json", "fcsv", "csv", "json")


@pytest.fixture
def model(tmp_path):
    return tiny_model(tmp_path / "tiny.safetensors")


@pytest.fixture
def other_model(tmp_path):
    return tiny_model(tmp_path / "other.safetensors", seed=1)


@pytest.fixture
def scans(tmp_path):
    paths = [tmp_path / f"s{n}.nii.gz" for n in range(3)]
    for n, path in enumerate(paths):
        write_image(scan(n), path)
    return paths


def table_of(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "detections.csv").read_text().splitlines()))


def cases_of(out: Path) -> list[str]:
    return list(dict.fromkeys(row["case"] for row in table_of(out)))


# -- the table -----------------------------------------------------------------------------------


def test_rows_of_earlier_images_stay(model, other_model, scans, tmp_path):
    out = tmp_path / "out"
    quick = ["--no-picture"]
    assert looked(model, out, scans[0], scans[1], more=quick) == 0
    first = table_of(out)
    assert looked(model, out, scans[2], more=quick) == 0
    assert table_of(out)[:4] == first
    assert cases_of(out) == ["s0", "s1", "s2"]
    # What is looked at again is replaced, by what another model says.
    assert looked(other_model, out, scans[1], more=quick) == 0
    rows = table_of(out)
    assert len(rows) == 6
    assert [r for r in rows if r["case"] == "s0"] == first[:2]
    again = [r for r in rows if r["case"] == "s1"]
    assert [r["landmark"] for r in again] == ["dot", "twin"]
    assert [r["x"] for r in again] != [r["x"] for r in first[2:]]
    found = read_landmarks(out / "s1.mrk.json")
    said = [[float(r[axis]) for axis in "xyz"] for r in again]
    np.testing.assert_allclose(said, found.points_mm, atol=1e-4)


def test_points_of_an_image_that_fails_the_next_time_stay_with_their_file(
    model, scans, tmp_path, capsys
):
    out = tmp_path / "out"
    whole = scans[0].read_bytes()
    assert looked(model, out, *scans[:2], more=["--no-picture"]) == 0
    scans[0].write_bytes(whole[:100])
    for _ in range(2):
        assert looked(model, out, scans[0], more=["--no-picture"]) == 2
        rows = [r for r in table_of(out) if r["case"] == "s0"]
        assert [r["landmark"] for r in rows] == ["dot", "twin", ""]
        assert len(table_of(out)) == 5
    scans[0].write_bytes(whole)  # which is mended, and its file may be replaced
    assert looked(model, out, scans[0], more=["--no-picture"]) == 0
    assert [r["error"] for r in table_of(out)] == [""] * 4


def row_of(case, landmark="a", **cells):
    return {"case": case, "image": f"{case}.png", "landmark": landmark, "unit": "mm", **cells}


def test_units_axes_and_added_columns_of_one_table(tmp_path):
    path = tmp_path / "detections.csv"
    write_table([row_of("flat", x=1.5, y=2.0, unit="px"), {"case": "bad", "error": "no"}], path)
    head = "case,image,landmark,unit,x,y,confidence,spread,radius,flags,error"
    assert path.read_text().splitlines()[0] == head
    write_table([row_of("deep", x=1.0, y=2.0, z=float("nan"))], path)
    lines = path.read_text().splitlines()
    assert lines[0] == "case,image,landmark,unit,x,y,z,confidence,spread,radius,flags,error"
    assert lines[1:] == [
        "flat,flat.png,a,px,1.5,2.0,,,,,,",
        "bad,,,,,,,,,,,no",
        "deep,deep.png,a,mm,1.0,2.0,,,,,,",
    ]
    # A column of somebody else stays with its rows; a case that is done again loses its remark.
    path.write_text("\n".join([f"{lines[0]},remark", *(f"{line},seen" for line in lines[1:])]))
    write_table([row_of("flat", x=7.0, y=8.0)], path)
    assert path.read_text().splitlines() == [
        f"{lines[0]},remark",
        f"{lines[2]},seen",
        f"{lines[3]},seen",
        "flat,flat.png,a,mm,7.0,8.0,,,,,,,",
    ]


@pytest.mark.parametrize("text", [b"mine", b"", b"case;x\n", b"case,landmark\na\xff,b\n"])
def test_a_table_of_somebody_else_is_not_written_over(model, scans, tmp_path, capsys, text):
    out = tmp_path / "out"
    out.mkdir()
    (out / "detections.csv").write_bytes(text)
    assert looked(model, out, scans[0], more=["--no-picture"]) == 2
    said = capsys.readouterr().err
    assert "detections.csv: is there already, and is not from detect" in said
    assert said.count("\n") == 1
    assert (out / "detections.csv").read_bytes() == text
    assert not (out / "s0.mrk.json").exists()
    assert looked(model, out, scans[0], more=["--no-picture", "--overwrite"]) == 0
    assert cases_of(out) == ["s0"]


def outcome(name, x):
    marks = Landmarks(("sella", "nasion"), np.array([[0.0, 0.0], [x, 0.0]]))
    findings = Findings(marks, dict.fromkeys(marks.names, 1.0), 0.95)
    return Outcome(Source(name, Path(f"{name}.png")), Detection(marks, findings))


def test_measures_of_earlier_images_stay(tmp_path):
    from anatomark.metrics.measures import MEASURES

    names = ("sella", "nasion")
    which, path = MEASURES["ceph"], tmp_path / "measures.csv"

    def lengths():
        rows = csv.DictReader(path.read_text().splitlines())
        return {r["case"]: float(r["value"]) for r in rows if r["measure"] == "S-N"}

    write_measures([outcome("a", 3.0), outcome("b", 4.0)], which, names, tmp_path)
    done = write_measures([outcome("c", 5.0), outcome("a", 6.0)], which, names, tmp_path)
    assert lengths() == {"b": 4.0, "c": 5.0, "a": 6.0}
    assert {row["case"] for row in done.rows} == {"c", "a"}  # of this run
    # Looked at again without measuring: what was measured of the points before is gone.
    write_measures([outcome("b", 9.0)], None, names, tmp_path)
    assert lengths() == {"c": 5.0, "a": 6.0}
    write_measures([outcome("a", 9.0), outcome("c", 9.0)], None, names, tmp_path)
    assert not path.exists()
    # A table that is not of detect is left alone, also beside a table of detections.
    (tmp_path / "detections.csv").write_text("")
    path.write_text("measure,n\nSNA,2\n")
    with pytest.raises(UsageError, match=r"measures.csv: is there already, and is not from detect"):
        check_measures_file(tmp_path, overwrite=False)
    write_measures([outcome("a", 9.0)], None, names, tmp_path)
    assert path.read_text() == "measure,n\nSNA,2\n"


# -- landmark files ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
def test_what_detect_wrote_it_replaces_until_somebody_moves_a_point(
    model, other_model, scans, tmp_path, capsys, kind
):
    out, more = tmp_path / "out", ["--no-picture", "--format", kind]
    file = out / f"s1.{kind}"
    assert looked(model, out, *scans, more=more) == 0
    before = read_landmarks(file).points_mm
    assert looked(other_model, out, *scans, more=more) == 0
    marks = read_landmarks(file)
    assert np.abs(marks.points_mm - before).max() > 0.1
    moved = marks.points_mm + np.array([[0, 0, 0], [0, 0.001, 0]])
    write_landmarks(replace(marks, points_mm=moved, meta={}), file)
    kept, table = file.read_bytes(), (out / "detections.csv").read_bytes()
    others = (out / f"s0.{kind}").stat().st_mtime_ns
    assert looked(model, out, *scans, more=more) == 2
    said = capsys.readouterr().err
    assert f"s1.{kind}: was changed since detect wrote it" in said
    assert "name another folder for --out, or say --overwrite" in said
    assert said.count("\n") == 1
    # Before anything is computed: nothing else was written either.
    assert file.read_bytes() == kept
    assert (out / "detections.csv").read_bytes() == table
    assert (out / f"s0.{kind}").stat().st_mtime_ns == others
    assert looked(model, out, scans[0], scans[2], more=more) == 0  # the others are free
    assert looked(model, out, *scans, more=[*more, "--overwrite"]) == 0
    np.testing.assert_allclose(read_landmarks(file).points_mm, before, atol=1e-3)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("kind", ["csv", "json"])
def test_points_in_pixels_and_in_the_plane(tmp_path, capsys, dimension, kind):
    """Films without a spacing, and oblique planes with one."""
    unit = "px" if dimension == 2 else "mm"
    model = tiny_model(tmp_path / "flat.safetensors", 2, unit=unit)
    if dimension == 2:
        path = tmp_path / "film.png"
        pixels = np.random.default_rng(0).integers(0, 255, (20, 30), np.uint8)
        write_image(Image(pixels, Grid((20, 30), unit="px")), path)
    else:
        path, kind = tmp_path / "plane.nrrd", "mrk.json" if kind == "csv" else kind
        write_image(scan(3, 2), path)
    more = ["--no-picture", "--format", kind]
    assert looked(model, tmp_path / "out", path, more=more) == 0
    assert looked(model, tmp_path / "out", path, more=more) == 0
    file = tmp_path / "out" / f"{path.name.split('.')[0]}.{kind}"
    marks = read_landmarks(file)
    write_landmarks(replace(marks, points_mm=marks.points_mm + 0.01, meta={}), file)
    assert looked(model, tmp_path / "out", path, more=more) == 2
    assert "was changed since" in capsys.readouterr().err


def edited(data, how):
    """A Slicer file after a person was at it."""
    points = data["markups"][0]["controlPoints"]
    if how == "renamed":
        points[0]["label"] = "Dot"
    elif how == "deleted":
        del points[1]
    elif how == "added":
        points.append({**points[0], "label": "third", "id": "3"})
    elif how == "missing":
        points[1] |= {"positionStatus": "missing", "position": ""}
    elif how == "measured":
        data["markups"].append({"type": "Line", "coordinateSystem": "LPS", "controlPoints": []})
    elif how == "in RAS":  # saved again: the same points
        data["markups"][0]["coordinateSystem"] = "RAS"
        for point in points:
            x, y, z = point["position"]
            point["position"] = [-x, -y, z]
    return data


@pytest.mark.parametrize("how", ["renamed", "deleted", "added", "missing", "measured", "in RAS"])
def test_what_a_person_does_in_slicer(model, scans, tmp_path, capsys, how):
    out = tmp_path / "out"
    looked(model, out, scans[0], more=["--no-picture"])
    file = out / "s0.mrk.json"
    file.write_text(json.dumps(edited(json.loads(file.read_text()), how)))
    kept = file.read_text()
    capsys.readouterr()
    code = looked(model, out, scans[0], more=["--no-picture"])
    if how == "in RAS":
        assert code == 0
    else:
        assert code == 2
        assert "s0.mrk.json: was changed since detect wrote it" in capsys.readouterr().err
        assert file.read_text() == kept


def test_a_broken_file_and_one_that_the_table_does_not_know(model, scans, tmp_path, capsys):
    out = tmp_path / "out"
    looked(model, out, scans[0], more=["--no-picture"])
    (out / "s0.mrk.json").write_text("{")
    assert looked(model, out, scans[0], more=["--no-picture"]) == 2
    assert "s0.mrk.json: was changed since" in capsys.readouterr().err
    (out / "s1.mrk.json").write_text("mine")
    assert looked(model, out, scans[1], more=["--no-picture"]) == 2
    assert "s1.mrk.json: is there already, and is not from detect" in capsys.readouterr().err
    assert (out / "s1.mrk.json").read_text() == "mine"


def test_points_that_were_not_found_are_not_taken_for_changed(tmp_path):
    from anatomark.inference.targets import check_targets

    nan = float("nan")
    marks = Landmarks(("a", "b"), np.full((2, 3), nan), present=np.zeros(2, bool))
    source = Source("s", tmp_path / "s.nii.gz")
    write_table([row_of("s", n, x=nan, y=nan, z=nan, image=str(source.path)) for n in "ab"],
                tmp_path / "detections.csv")  # fmt: skip
    for kind in FORMATS:
        with pytest.warns(LossWarning) if kind == "fcsv" else nullcontext():
            write_landmarks(marks, tmp_path / f"s.{kind}")
        check_targets([source], tmp_path, kind, picture=False, overwrite=False)


# -- names ---------------------------------------------------------------------------------------


def films(tmp_path, *names):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(scan(len(name)), tmp_path / name)
    return [tmp_path / name for name in names]


def test_equal_file_names_get_their_folder_in_front(model, tmp_path, monkeypatch):
    films(tmp_path, "patientA/film.nrrd", "patientB/film.nrrd", "patientB/other.nrrd")
    monkeypatch.chdir(tmp_path / "patientB")
    given = [Path("../patientA/film.nrrd"), Path("film.nrrd"), Path("other.nrrd")]
    assert looked(model, tmp_path / "out", *given, more=["--no-picture"]) == 0
    assert sorted(p.name for p in (tmp_path / "out").glob("*.json")) == [
        "other.mrk.json", "patientA-film.mrk.json", "patientB-film.mrk.json",
    ]  # fmt: skip
    assert cases_of(tmp_path / "out") == ["patientA-film", "patientB-film", "other"]
    # One image said in two ways is one image, with its own name.
    twice = sources_of(["film.nrrd", "../patientB/film.nrrd"])
    assert [source.name for source in twice] == ["film"]


@pytest.mark.parametrize("names", [
    ("a/x/film.nrrd", "b/x/film.nrrd"),
    ("x/film.nrrd", "x/film.nii.gz"),
    ("x/film.nrrd", "y/film.nrrd", "x-film.nrrd"),
])  # fmt: skip
def test_names_that_clash_with_their_folders_as_well_are_refused(model, tmp_path, capsys, names):
    paths = films(tmp_path, *names)
    assert looked(model, tmp_path / "out", *paths) == 2
    said = capsys.readouterr().err
    assert "would get the same name as" in said
    assert ": x-film; detect them into two folders" in said
    assert not (tmp_path / "out").exists()


def test_another_image_of_a_name_does_not_replace_the_first(model, tmp_path, capsys):
    """One run a patient, all into one folder."""
    a, b = films(tmp_path, "a/film.nrrd", "b/film.nrrd")
    out = tmp_path / "out"
    assert looked(model, out, a, more=["--no-picture"]) == 0
    kept = (out / "film.mrk.json").read_bytes()
    capsys.readouterr()
    assert looked(model, out, b, more=["--no-picture"]) == 2
    said = capsys.readouterr().err
    assert f"has film already, of {a}, not of {b}" in said
    assert said.count("\n") == 1
    assert (out / "film.mrk.json").read_bytes() == kept
    a.rename(tmp_path / "a" / "moved.nrrd")
    assert looked(model, out, b, more=["--no-picture"]) == 0


# -- what is said --------------------------------------------------------------------------------


def test_flags_of_points_and_of_images_are_counted_apart(capsys, monkeypatch, tmp_path):
    from anatomark.cli import detection

    def one(name, flags, image, dimension=2):
        marks = Landmarks(("a", "b", "c"), np.zeros((3, dimension)))
        findings = Findings(marks, dict.fromkeys("abc", 1.0), 0.95, flags, image)
        return Outcome(Source(name, Path(name)), Detection(marks, findings))

    def said(outcomes):
        from anatomark.inference.table import rows_of

        rows = [row for found in outcomes for row in rows_of(found)]
        detection._say(outcomes, rows, tmp_path / "t.csv", "mm", [], None, as_json=False)
        return capsys.readouterr().out

    odd = ("unlike the training images",)
    text = said([one("p", {"a": ("unsure",)}, odd), one("q", {}, odd), one("r", {}, ())])
    assert "3 of 3 images, 9 points, 1 with a flag; 2 images with a flag; " in text
    assert "--fix-orientation" in text  # six of nine points are in doubt
    text = said([one("p", {"a": ("unsure",)}, ()), one("q", {}, odd), one("r", {}, ())])
    assert "9 points, 1 with a flag; 1 image with a flag; " in text
    assert "--fix-orientation" not in text
    text = said([one("p", {"a": ("unsure",), "c": ("unsure", "unlikely place")}, ())])
    assert f"1 of 1 image, 3 points, 2 with a flag; {tmp_path}" in text
    assert "--fix-orientation" in text
    assert "--fix-orientation" not in said([one("p", {}, odd, dimension=3)])


# -- whose it is ---------------------------------------------------------------------------------


def test_equal_names_in_two_folders_are_two_images(model, tmp_path, monkeypatch, capsys):
    """The table knows an image by its whole path, from wherever detect was called."""
    out = tmp_path / "out"
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_image(scan(0), tmp_path / folder / "s.nii.gz")
    monkeypatch.chdir(tmp_path / "a")
    assert looked(model, out, Path("s.nii.gz"), more=["--no-picture"]) == 0
    assert looked(model, out, Path("s.nii.gz"), more=["--no-picture"]) == 0
    monkeypatch.chdir(tmp_path / "b")
    assert looked(model, out, Path("s.nii.gz"), more=["--no-picture"]) == 2
    assert "has s already, of" in capsys.readouterr().err


def test_a_picture_of_somebody_else_is_not_replaced(model, scans, tmp_path, capsys):
    out = tmp_path / "out"
    assert looked(model, out, scans[0], more=["--no-picture"]) == 0
    (out / "s1.png").write_bytes(b"an original")
    assert looked(model, out, scans[1]) == 2
    assert "s1.png: is there already, and is not from detect" in capsys.readouterr().err
    assert (out / "s1.png").read_bytes() == b"an original"


def test_a_table_that_cannot_be_read_is_kept_beside(model, scans, tmp_path, capsys):
    out = tmp_path / "out"
    assert looked(model, out, scans[0], more=["--no-picture"]) == 0
    mine = (out / "detections.csv").read_text().replace(",", ";")  # as some programs save it
    (out / "detections.csv").write_text(mine)
    assert looked(model, out, scans[1], more=["--no-picture", "--overwrite"]) == 0
    assert "is kept as detections.csv.bak" in capsys.readouterr().err
    assert (out / "detections.csv.bak").read_text() == mine
    assert cases_of(out) == ["s1"]
