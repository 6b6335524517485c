"""detect on many files: formats, batches, faulty files, and what may be written over."""

from __future__ import annotations

import csv
import gc
import json
from dataclasses import replace

import numpy as np
import pytest
from tests.inference.tiny import NAMES, SMALL, looked, scan, tiny_model

from anatomark import Grid, Image, read_landmarks, write_image
from anatomark.cli.app import main
from anatomark.errors import UsageError
from anatomark.inference import Detector
from anatomark.inference.files import detect_files
from anatomark.inference.sources import Source, sources_of
from anatomark.inference.targets import check_targets
from anatomark.models.files import ModelInfo, make_method, save_model
from anatomark.models.recipe import parse_recipe


@pytest.fixture
def saved_model(tmp_path):
    return tiny_model(tmp_path / "tiny.safetensors")


def test_one_broken_file_is_reported_and_the_rest_is_done(saved_model, tmp_path, capsys):
    paths = []
    for number in range(5):
        image = scan(number)
        paths.append(tmp_path / f"scan{number}.nii.gz")
        write_image(image, paths[-1])
    paths[2].write_bytes(paths[2].read_bytes()[:100])
    out = tmp_path / "found"
    words = ["detect", "--model", str(saved_model), "--out", str(out), "--device", "cpu"]
    assert main([*words, "--no-picture", "--batch", "2", *map(str, paths)]) == 2
    said = capsys.readouterr()
    assert "4 of 5 images, 8 points" in said.out
    assert said.err.count("error:") == 1
    assert "scan2.nii.gz" in said.err
    assert sorted(p.name for p in out.glob("*.mrk.json")) == [
        f"scan{n}.mrk.json" for n in (0, 1, 3, 4)
    ]
    with (out / "detections.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 9
    assert [r["case"] for r in rows if r["error"]] == ["scan2"]
    assert {r["radius"] for r in rows if r["landmark"] == "dot"} == {"4.0"}
    assert {r["radius"] for r in rows if r["landmark"] == "twin"} == {"6.0"}


@pytest.mark.parametrize("kind", ["mrk.json", "fcsv", "csv", "json"])
def test_every_format_holds_the_same_points(saved_model, tmp_path, kind, recwarn):
    image = scan()
    write_image(image, tmp_path / "scan.nii.gz")
    out = tmp_path / kind
    words = ["detect", "--model", str(saved_model), "--out", str(out), "--device", "cpu", "--json"]
    assert main([*words, "--format", kind, str(tmp_path / "scan.nii.gz")]) == 0
    assert not [w for w in recwarn if "Loss" in type(w.message).__name__]
    found = read_landmarks(out / f"scan.{kind}")
    expected = Detector(str(saved_model), device="cpu").detect(image).landmarks
    # fcsv is written in LPS with three digits or more; float32 spacing in NIfTI moves nothing.
    np.testing.assert_allclose(found.points_mm, expected.points_mm, atol=2e-3)
    assert (out / "scan.png").stat().st_size > 1000
    if kind == "json":
        meta = json.loads((out / "scan.json").read_text())["meta"]
        assert meta["radius"] == {"dot": 4.0, "twin": 6.0}


def test_batches_do_not_change_points(saved_model, tmp_path):
    detector = Detector(str(saved_model), device="cpu")
    images = [scan(n) for n in range(3)]
    alone = [detector.detect(i).landmarks.points_mm for i in images]
    together = detector.detect_prepared([(i, detector.prepare(i)) for i in images])
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_allclose(b.landmarks.points_mm, a, atol=1e-3)


# -- files of others -----------------------------------------------------------------------------


def test_points_that_somebody_made_are_not_written_over(saved_model, tmp_path, capsys):
    """Images beside their .mrk.json are how Slicer keeps them."""
    path, mine = tmp_path / "scan.nii.gz", tmp_path / "scan.mrk.json"
    write_image(scan(), path)
    mine.write_text("weeks of work")
    assert looked(saved_model, tmp_path, path) == 2
    assert "scan.mrk.json: is there already, and is not from detect" in capsys.readouterr().err
    assert mine.read_text() == "weeks of work"
    assert looked(saved_model, tmp_path, path, more=["--overwrite"]) == 0
    assert mine.read_text() != "weeks of work"
    # What detect wrote itself it may replace.
    assert looked(saved_model, tmp_path, path) == 0


def test_no_file_is_written_twice(tmp_path):
    sources = [Source("a", tmp_path / "a.png"), Source("a-global", tmp_path / "a-global.png")]
    out = tmp_path / "out"
    check_targets(sources, out, "json", picture=True, overwrite=False)
    with pytest.raises(UsageError, match=r"a-global.png: would be written for .*a.png and for"):
        check_targets(
            sources, out, "json", picture=True, overwrite=False, stages=("global", "local")
        )


def test_a_picture_does_not_take_the_place_of_its_image(tmp_path, capsys):
    model = tiny_model(tmp_path / "flat.safetensors", 2)
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30), np.uint8)
    film = tmp_path / "film.png"
    write_image(Image(pixels, Grid((20, 30), unit="px")), film)
    before = film.read_bytes()
    words = ["--spacing", "0.5", "--overwrite"]
    assert looked(model, tmp_path, film, more=words) == 2
    assert "is one of the images, and would be overwritten" in capsys.readouterr().err
    assert film.read_bytes() == before
    assert looked(model, tmp_path, film, more=[*words, "--no-picture"]) == 0
    assert film.read_bytes() == before


def test_one_image_that_fails_leaves_the_others_of_its_batch(
    saved_model, tmp_path, capsys, monkeypatch
):
    images = [scan(n) for n in range(3)]
    for n, image in enumerate(images):
        write_image(image, tmp_path / f"s{n}.nii.gz")
    plain, bad = Detector.detect_prepared, images[1].array.sum()

    def fussy(self, pairs):
        if any(abs(image.array.sum() - bad) < 1e-3 for image, _ in pairs):
            raise np.linalg.LinAlgError("SVD did not converge")
        return plain(self, pairs)

    monkeypatch.setattr(Detector, "detect_prepared", fussy)
    paths = [tmp_path / f"s{n}.nii.gz" for n in range(3)]
    assert looked(saved_model, tmp_path / "out", *paths, more=["--batch", "3"]) == 2
    said = capsys.readouterr()
    assert "2 of 3 images" in said.out
    assert "s1.nii.gz: could not be looked at: SVD did not converge" in said.err


def test_a_second_model_that_refuses_a_file_is_one_error(saved_model, tmp_path, capsys):
    recipe = parse_recipe({
        "name": "other", "method": "fang2023", "modality": "US", "grid": {"size": [16, 16, 16]},
        "settings": {"network": SMALL},
    })  # fmt: skip
    other = tmp_path / "other.safetensors"
    info = ModelInfo(recipe=recipe.complete(), landmarks=NAMES)
    save_model(other, info, make_method(recipe, 2).state_dict())
    image = scan()
    write_image(replace(image, meta={"modality": "MR"}), tmp_path / "mr.nrrd")
    write_image(image, tmp_path / "any.nrrd")
    code = looked(saved_model, tmp_path / "out", tmp_path / "any.nrrd", tmp_path / "mr.nrrd",
                  more=["--second", str(other)])  # fmt: skip
    said = capsys.readouterr()
    assert (code, "mr.nrrd" in said.err) in {(2, True), (0, False)}  # a file may lose its modality
    assert (tmp_path / "out" / "detections.csv").is_file()


def test_errors_of_many_files_do_not_keep_their_images(saved_model, tmp_path):
    for n in range(3):
        pixels = np.zeros((8, 9), np.uint8)
        write_image(Image(pixels, Grid((8, 9), unit="px")), tmp_path / f"flat{n}.png")
    detector = Detector(str(saved_model), device="cpu")
    sources = sources_of([tmp_path / f"flat{n}.png" for n in range(3)])
    gc.collect()
    before = sum(type(o) is Image for o in gc.get_objects())
    outcomes = list(detect_files(detector, sources, tmp_path / "out"))
    gc.collect()
    assert all(o.error is not None for o in outcomes)
    assert sum(type(o) is Image for o in gc.get_objects()) == before


def test_a_folder_of_images_is_its_images(saved_model, tmp_path, capsys):
    (tmp_path / "scans").mkdir()
    for n in range(2):
        write_image(scan(n), tmp_path / "scans" / f"s{n}.nii.gz")
    (tmp_path / "scans" / "notes.txt").write_text("no image")
    assert looked(saved_model, tmp_path / "out", tmp_path / "scans") == 0
    assert "2 of 2 images" in capsys.readouterr().out


@pytest.mark.parametrize("broken", [(), (0,), (0, 1)])
def test_the_table_always_has_the_same_columns(saved_model, tmp_path, broken):
    for n in range(2):
        path = tmp_path / f"s{n}.nii.gz"
        write_image(scan(n), path)
        if n in broken:
            path.write_bytes(path.read_bytes()[:100])
    paths = [tmp_path / f"s{n}.nii.gz" for n in range(2)]
    looked(saved_model, tmp_path / "out", *paths, more=["--no-picture"])
    head = (tmp_path / "out" / "detections.csv").read_text().splitlines()[0]
    assert head == "case,image,landmark,unit,x,y,z,confidence,spread,radius,flags,error"


def test_the_table_is_a_prediction(saved_model, tmp_path, capsys):
    """evaluate reads what detect wrote, and both hold the same points."""
    write_image(scan(), tmp_path / "scan.nii.gz")
    looked(saved_model, tmp_path / "found", tmp_path / "scan.nii.gz")
    capsys.readouterr()
    words = ["evaluate", "--truth", str(tmp_path / "found" / "scan.mrk.json"), "--json"]
    words += ["--prediction", str(tmp_path / "found" / "detections.csv")]
    assert main([*words, "--out", str(tmp_path / "e")]) == 0
    assert json.loads(capsys.readouterr().out)["pooled"]["mre"] < 1e-3


def test_what_a_model_does_not_know_is_said(saved_model, tmp_path, capsys):
    write_image(scan(), tmp_path / "scan.nii.gz")
    looked(saved_model, tmp_path / "out", tmp_path / "scan.nii.gz")
    said = capsys.readouterr().out
    assert "not known to this model, from too few cases: shapes, usual grey values" in said
