"""Whose points are the truth, and what a prediction without any point means."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anatomark.cli.app import main
from anatomark.data import Image, Landmarks
from anatomark.geometry import Grid
from anatomark.io.images.writing import write_image
from anatomark.io.landmarks.formats import write_landmarks
from anatomark.metrics.evaluation import evaluate
from anatomark.metrics.sources import read_predictions, read_truth

NAN = [np.nan, np.nan]


@pytest.fixture
def films(tmp_path):
    """One film of 1 mm pixels, read by anna, again by anna, and by bob; bob did not see the base.

    Points in pixels are millimetres less half a pixel, in every direction alike: only differences
    count here.
    """
    lines = ["image,observer,landmark,x_px,y_px"]
    pixels = np.random.default_rng(0).integers(0, 255, (30, 40), np.uint8)
    write_image(Image(pixels, Grid((30, 40), unit="px")), tmp_path / "in" / "images" / "k.png")
    for person, tip in (("anna", 10), ("anna_again", 10), ("bob", 13)):
        lines.append(f"k,{person},tip,{tip},10")
        if person != "bob":
            lines.append(f"k,{person},base,20,20")
    (tmp_path / "in" / "t.csv").write_text("\n".join(lines) + "\n")
    words = ["import", "csv", str(tmp_path / "in"), "--out", str(tmp_path / "c"), "--truth", "mean"]
    assert main([*words, "--spacing", "1"]) == 0
    return tmp_path / "c"


def test_a_second_reading_does_not_count_twice_in_a_mean(films):
    plain = read_truth(films).landmarks["k"].points_mm[0]
    once = read_truth(films, repeats=[("anna", "anna_again")])
    assert once.said == "the mean of anna, bob"
    assert once.landmarks["k"].points_mm[0, 0] - plain[0] == pytest.approx(0.5)  # 11.5, not 11
    assert set(once.observers["k"]) == {"anna", "anna_again", "bob"}  # intra needs them all


def test_a_point_that_only_some_observers_saw_is_neither_there_nor_absent(films):
    truth = read_truth(films)
    assert truth.unclear == {"k": frozenset({"base"})}
    for base in ([20.0, 20.0], NAN):
        found = Landmarks(["tip", "base"], [[11.0, 10.0], base])
        result = evaluate(truth, {"k": found}, draws=0)
        presence = result.pooled.presence
        assert (presence.both, presence.invented, presence.absent) == (1, 0, 0)
        assert result.table.states() == [["both", ""]]


def test_one_reader_s_word_is_clear(films):
    truth = read_truth(films, observer="bob")
    found = Landmarks(["tip", "base"], [[11.0, 10.0], [20.0, 20.0]])
    assert evaluate(truth, {"k": found}, draws=0).pooled.presence.invented == 1


@pytest.mark.filterwarnings("ignore::anatomark.errors.LossWarning")
def test_a_file_without_points_says_that_nothing_was_found(tmp_path):
    """.fcsv knows absent points only by leaving them out."""
    names = ["a", "b"]
    for case, points in (("one", np.full((2, 3), np.nan)), ("two", np.ones((2, 3)))):
        write_landmarks(Landmarks(names, np.zeros((2, 3))), tmp_path / "true" / f"{case}.json")
        write_landmarks(Landmarks(names, points), tmp_path / "found" / f"{case}.fcsv")
    truth = read_truth(tmp_path / "true")
    found, unused = read_predictions(tmp_path / "found", truth)
    assert unused == ()
    presence = evaluate(truth, found, draws=0).pooled.presence
    assert (presence.both, presence.missed) == (2, 2)


def test_the_truth_of_one_domain(tmp_path):
    out = Path(tmp_path / "prostates")
    words = ["phantom", "prostate", "--out", str(out), "--cases", "2", "--shape", "8,16,16"]
    assert main(words) == 0
    assert len(read_truth(out).landmarks) == 4
    chosen = read_truth(out, domain="us")
    assert set(chosen.domains.values()) == {"us"}
    assert len(chosen.landmarks) == 2


def table(path: Path, column: str, *names: str) -> Path:
    rows = "".join(f"{name},tip,{n},1\n" for n, name in enumerate(names))
    path.write_text(f"{column},landmark,x_px,y_px\n{rows}")
    return path


@pytest.mark.parametrize(
    ("true", "found", "cases"),
    [
        (("image", "p1/film.png", "p2/film.png"), ("image", "p1/film.png", "p2/film.png"),
         ["p1/film", "p2/film"]),
        (("case", "a.png", "b.png"), ("image", "a.png", "b.png"), ["a.png", "b.png"]),
        (("image", "a.png", "b.png"), ("case", "a", "b"), ["a", "b"]),
    ],
    ids=["folders tell apart", "a case named like its file", "files and cases"],
)  # fmt: skip
def test_images_of_tables_are_found_under_the_names_of_the_truth(true, found, cases, tmp_path):
    truth = read_truth(table(tmp_path / "t.csv", *true))
    predictions, unused = read_predictions(table(tmp_path / "p.csv", *found), truth)
    assert sorted(predictions) == sorted(truth.landmarks) == cases
    assert not unused


def test_points_of_an_earlier_run_are_no_predictions_of_an_image_that_failed(tmp_path):
    heads = "case,image,landmark,unit,x,y,confidence,spread,radius,flags,error\n"
    rows = "".join(f"{c},{c}.png,tip,px,1,1,,,,,\n" for c in "ab")
    (tmp_path / "detections.csv").write_text(f"{heads}{rows}b,b.png,,,,,,,,,it is cut off\n")
    truth = read_truth(table(tmp_path / "t.csv", "case", "a", "b"))
    found, _ = read_predictions(tmp_path / "detections.csv", truth)
    assert list(found) == ["a"]
