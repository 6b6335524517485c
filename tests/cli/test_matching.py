"""``anatomark match``: two images in, pairs, landmarks and a picture out."""

from __future__ import annotations

import json

import numpy as np
import pytest

from anatomark import read_image, read_landmarks
from anatomark.cli.app import main
from anatomark.data import Image
from anatomark.geometry import Grid
from anatomark.io.images.reading import write_image
from anatomark.io.landmarks.matches import read_matches


@pytest.fixture
def pair(tmp_path):
    """A blotchy picture, and the same moved by 6 and 4 pixels."""
    rng = np.random.default_rng(0)
    blots = np.zeros((180, 220))
    for y, x, r in zip(rng.uniform(15, 165, 90), rng.uniform(15, 205, 90), rng.uniform(3, 8, 90),
                       strict=True):  # fmt: skip
        yy, xx = np.mgrid[:180, :220]
        blots += rng.uniform(-1, 1) * np.exp(-((yy - y) ** 2 + (xx - x) ** 2) / (2 * r * r))
    values = np.round(255 * (blots - blots.min()) / np.ptp(blots)).astype(np.uint8)
    paths = tmp_path / "fixed.png", tmp_path / "moving.png"
    for path, (dy, dx) in zip(paths, ((10, 10), (6, 4)), strict=True):
        array = np.ascontiguousarray(values[dy : dy + 150, dx : dx + 190])
        write_image(Image(array, Grid(array.shape, (1.0, 1.0), unit="px")), path)
    return paths


def test_pairs_files_and_a_picture(pair, tmp_path, capsys):
    out = tmp_path / "pairs.csv"
    words = ["match", "--model", "sift", "--out", str(out), *map(str, pair)]
    assert main([*words, "--spacing", "0.5"]) == 0
    said = capsys.readouterr().out
    found = read_matches(out)
    assert len(found) > 30
    assert f"{len(found)} matches" in said
    assert found.unit == "mm"
    # Content of the fixed picture lies 6 pixels further right and 4 further down in the moving one.
    assert np.allclose(np.median(found.moving_mm - found.fixed_mm, axis=0), [3.0, 2.0], atol=0.05)
    ends = [read_landmarks(tmp_path / f"pairs-{side}.mrk.json") for side in ("fixed", "moving")]
    assert ends[0].names == ends[1].names
    assert np.allclose(ends[0].points_mm[:, :2], found.fixed_mm)
    assert read_image(tmp_path / "pairs.png", grey=True).array.std() > 0
    assert main(words) == 2
    assert "is there already" in capsys.readouterr().err


def test_without_spacing_all_is_in_pixels(pair, tmp_path, capsys):
    out = tmp_path / "pairs.csv"
    words = ["match", "--model", "sift", "--out", str(out), "--no-picture", "--json"]
    assert main([*words, "--reject", "none", *map(str, pair)]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["unit"] == "px"
    assert record["rejected"] == 0
    assert record["matches"] == len(read_matches(out))
    assert read_landmarks(tmp_path / "pairs-fixed.json").unit == "px"
    assert not (tmp_path / "pairs.png").exists()


def test_each_image_may_have_a_spacing_of_its_own(pair, tmp_path, capsys):
    """The moving one is a file that says 0.25 mm, the fixed one a picture that says nothing."""
    image = read_image(pair[1], grey=True)
    scan = tmp_path / "moving.nrrd"
    write_image(Image(image.array, Grid(image.grid.shape, (0.25, 0.25))), scan)
    out = tmp_path / "pairs.csv"
    words = ["match", "--model", "sift", "--out", str(out), "--no-picture", str(pair[0]), str(scan)]
    assert main(words) == 2
    assert "--fixed-spacing" in capsys.readouterr().err
    assert main([*words, "--fixed-spacing", "0.5"]) == 0
    found = read_matches(out)
    # In pixels, the moving one shows the same place 6 further right and 4 further down.
    shift = found.moving_mm / 0.25 - found.fixed_mm / 0.5
    assert np.allclose(np.median(shift, axis=0), [6.0, 4.0], atol=0.1)
    assert main([*words, "--overwrite", "--fixed-spacing", "-1"]) == 2
    assert "--fixed-spacing must be positive" in capsys.readouterr().err


def test_a_black_image_has_no_matches_and_says_so(pair, tmp_path, capsys):
    black = tmp_path / "black.png"
    write_image(Image(np.zeros((100, 120), np.uint8), Grid((100, 120), (1, 1), unit="px")), black)
    out = tmp_path / "pairs.csv"
    assert main(["match", "--model", "sift", "--out", str(out), str(pair[0]), str(black)]) == 0
    told = capsys.readouterr()
    assert "0 matches" in told.out
    assert "no point stands out" in told.err
    assert len(read_matches(out)) == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--out", "pairs.txt"], "ends in .csv"),
        (["--out", "pairs.csv", "--model", "sifd"], "neither"),
        (["--out", "pairs.csv", "--model", "universal/head"], "does not match two"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(pair, tmp_path, capsys, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    assert main(["match", *words, *map(str, pair)]) == 2
    told = capsys.readouterr().err
    assert says in told
    assert "Traceback" not in told


def test_options_of_models_are_refused_with_a_baseline(pair, tmp_path, capsys):
    words = ["match", "--model", "sift", "--out", str(tmp_path / "p.csv"), *map(str, pair)]
    for option, said in (
        (["--least", "0.5"], "least"), (["--most", "9"], "most"), (["--guided"], "guided"),
        (["--most", "9", "--first-look"], "most and guided"),
    ):  # fmt: skip
        assert main([*words, *option]) == 2
        assert f"{said}: for models only, sift has nothing of the kind" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["ct-slices", "sift"])
def test_a_volume_among_slices_is_named(pair, tmp_path, capsys, model):
    """By its file, in match and in register; whichever of the two it is."""
    grey = np.arange(3600, dtype=np.int16).reshape(4, 30, 30)
    volume = tmp_path / "volume.nrrd"
    write_image(Image(grey, Grid(grey.shape, (1.0, 1.0, 1.0))), volume)
    slices = tmp_path / "slice.nrrd"
    write_image(Image(grey[0], Grid(grey.shape[1:], (1.0, 1.0))), slices)
    for fixed, moving in ((slices, volume), (volume, slices), (volume, volume)):
        words = ["match", "--model", model, "--out", str(tmp_path / "p.csv"), str(fixed)]
        assert main([*words, str(moving)]) == 2
        said = capsys.readouterr().err
        assert f"{volume}: the image is 3D, " in said
        assert said.count("error:") == 1
    words = ["register", "--fixed", str(volume), "--moving", str(volume), "--matcher", model]
    assert main([*words, "--out", str(tmp_path / "out")]) == 2
    assert f"{volume}: the image is 3D, " in capsys.readouterr().err
    assert not (tmp_path / "p.csv").exists()
