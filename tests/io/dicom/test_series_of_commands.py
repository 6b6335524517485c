"""Every command that reads an image chooses among the series of a folder, and says how."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from anatomark import read_landmarks, write_landmarks
from anatomark.cli.app import main
from anatomark.data import Landmarks

Writer = Callable[..., Path]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, write_series: Writer) -> Path:
    """A study of two series, and points of the second one."""
    folder = tmp_path_factory.mktemp("study")
    blots = gaussian_filter(np.random.default_rng(2).normal(size=(20, 60, 70)), 2)
    values = np.round(4000 * (blots - blots.min()) / np.ptp(blots)).astype(np.uint16)
    write_series(folder / "study" / "a", values[:10, :50], series=3, Modality="MR")
    write_series(folder / "study" / "b", values, series=4, Modality="MR")
    write_landmarks(Landmarks(("tip", "toe", "top"), np.array(
        [[-10.0, 40, 110], [0, 50, 120], [5, 60, 104]])), folder / "points.csv")  # fmt: skip
    (folder / "pixels.csv").write_text("name,x_px,y_px,z_px\ntip,20,10,0\n")
    return folder


COMMANDS = {
    "show": (["show", "study", "--out", "OUT/show.png"], "--series"),
    "convert": (["convert", "pixels.csv", "OUT/p.json", "--image", "study"], "--series"),
    "match": (["match", "--model", "mouse-skull-pairs", "study", "study", "--out", "OUT/m.csv"],
              "--fixed-series"),
    "register": (["register", "--fixed", "study", "--moving", "study", "--fixed-landmarks",
                  "points.csv", "--moving-landmarks", "points.csv", "--out", "OUT/r"],
                 "--fixed-series"),
}  # fmt: skip


def words_of(command: str, out: Path) -> tuple[list[str], str]:
    words, option = COMMANDS[command]
    return [word.replace("OUT", str(out)) for word in words], option


@pytest.mark.parametrize("command", COMMANDS)
def test_the_error_names_the_option_and_the_option_works(command, here, tmp_path, monkeypatch,
                                                         capsys):  # fmt: skip
    monkeypatch.chdir(here)
    words, option = words_of(command, tmp_path)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert f"study: has 2 series; say {option} … (in a cohort, give each a folder): 3: " in said
    chosen = [option, "4"]
    if option == "--fixed-series":
        assert main([*words, *chosen]) == 2
        assert "say --moving-series …" in capsys.readouterr().err
        chosen += ["--moving-series", "4"]
    assert main([*words, *chosen]) == 0, capsys.readouterr().err


def test_the_series_that_was_chosen_is_the_one_that_is_read(here, tmp_path, monkeypatch):
    monkeypatch.chdir(here)
    words, option = words_of("convert", tmp_path)
    assert main([*words, option, "4"]) == 0
    # Pixels of 0.5 × 0.75 mm, the first at -20, 30, 100.
    assert read_landmarks(tmp_path / "p.json")["tip"].tolist() == [-10.0, 37.5, 100.0]


def test_detect_takes_a_series(here, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(here)
    words = [
        "detect",
        "--model",
        "prostate-phantom-mr",
        "study",
        "--no-picture",
        "--out",
        str(tmp_path),
    ]
    assert main(words) == 2
    assert "has 2 series; say --series …" in capsys.readouterr().err
    assert main([*words, "--series", "4", "--overwrite", "--json"]) == 0, capsys.readouterr().err
    found = json.loads(capsys.readouterr().out)
    assert found["failed"] == 0
    assert found["points"]


def test_where_a_series_has_no_effect_it_is_refused(here, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(here)
    assert main(["convert", "points.csv", str(tmp_path / "p.json"), "--series", "4"]) == 2
    assert "--series is of an image; name its folder as --image" in capsys.readouterr().err
    assert main(["phantom", "head", "--cases", "1", "--shape", "128,112", "--out",
                 str(tmp_path / "c")]) == 0  # fmt: skip
    words = ["detect", "--model", "universal/head", "--out", str(tmp_path / "d"), "--series", "4"]
    capsys.readouterr()
    assert main([*words, str(tmp_path / "c")]) == 2
    assert "leave the series away" in capsys.readouterr().err


def test_a_warning_names_the_option_of_its_command(write_series, tmp_path, capsys):
    values = np.arange(5 * 6 * 7, dtype=np.uint16).reshape(5, 6, 7)
    write_series(tmp_path / "a", values)
    write_series(tmp_path / "a" / "scout", values[:1, :4], SeriesDescription="scout")
    assert main(["show", str(tmp_path / "a"), "--out", str(tmp_path / "a.png")]) == 0
    assert "left out; choose them with --series '3." in capsys.readouterr().err


def test_a_warning_is_said_where_reading_fails_afterwards(write_series, tmp_path, capsys):
    values = np.arange(5 * 6 * 7, dtype=np.uint16).reshape(5, 6, 7)
    for series in (3, 4):
        write_series(tmp_path / "a", values, series=series)
    (tmp_path / "a" / "0099-3.dcm").write_bytes(b"cut off")
    words = ["match", str(tmp_path / "a"), str(tmp_path / "a"), "--out", str(tmp_path / "p.csv")]
    assert main([*words, "--model", "mouse-skull-pairs"]) == 2
    said = capsys.readouterr().err
    assert "0099-3.dcm: is damaged or no DICOM file, and is left out" in said
    assert "has 2 series; say --fixed-series" in said
