"""Tables as people have them: long, wide, a list of images, one table an image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from anatomark.datasets.importers import IMPORTERS
from anatomark.errors import AnatomarkError, CohortError, CohortWarning, UsageError
from anatomark.io.cohorts.files import load_sample

run = IMPORTERS["csv"]

LONG = """image,split,observer,landmark,x_mm,y_mm
001,train,senior,sella,3.0,6.0
001,train,senior,nasion,12.0,9.0
001,train,junior,sella,3.3,6.0
001,train,junior,nasion,12.0,9.9
002,test1,senior,nasion,12.0,9.0
002,test1,senior,sella,3.0,6.0
002,test1,junior,sella,3.0,6.0
002,test1,junior,nasion,12.0,9.0
"""
WIDE = """image,cobb,tip_x,tip_y,base_x,base_y,patient
a,41.1,3,4,20,30,anna
b,12.5,3.5,4,,,bert
"""


@pytest.fixture
def source(tmp_path: Path, picture: Callable[..., Path]) -> Path:
    root = tmp_path / "set"
    for name in ("001", "002", "a", "b"):
        picture(root / "images" / f"{name}.jpg")
    return root


def keep(root: Path, *names: str) -> Path:
    for image in (root / "images").iterdir():
        if image.stem not in names:
            image.unlink()
    return root


def test_a_long_table_with_observers_in_mm_from_the_corner(source: Path, tmp_path: Path) -> None:
    (keep(source, "001", "002") / "train.csv").write_text(LONG)
    cohort = run(source, tmp_path / "out", spacing=0.3, pixel_origin="corner", truth="mean")
    sample = load_sample(cohort, cohort["001"])
    assert sample.landmarks is not None
    assert sample.landmarks.names == ("sella", "nasion")
    # Half a pixel of 0.3 mm lies between the outer corner and the centre of the first pixel.
    np.testing.assert_allclose(sample.observers["senior"]["sella"], [2.85, 5.85])
    np.testing.assert_allclose(sample.landmarks["sella"], [3.0, 5.85])
    np.testing.assert_allclose(sample.landmarks["nasion"], [11.85, 9.3])
    np.testing.assert_allclose(sample.image.grid.to_index([2.85, 5.85]), [9.5, 19.5])
    assert [case.split for case in cohort.cases] == ["train", "test1"]


def test_observers_need_a_truth(source: Path, tmp_path: Path) -> None:
    (keep(source, "001", "002") / "train.csv").write_text(LONG)
    with pytest.raises(UsageError, match="say truth=…, one of mean, "):
        run(source, tmp_path / "out", spacing=0.3)
    assert not (tmp_path / "out").exists()


def test_a_wide_table_keeps_its_other_columns(source: Path, tmp_path: Path) -> None:
    (keep(source, "a", "b") / "training.csv").write_text(WIDE)
    cohort = run(source, tmp_path / "out", unit="px")
    landmarks = load_sample(cohort, cohort["b"]).landmarks
    assert landmarks is not None
    assert landmarks.names == ("tip", "base")
    assert landmarks.present.tolist() == [True, False]
    np.testing.assert_allclose(landmarks["tip"], [3.5, 4])
    assert cohort["a"].info == {"cobb": "41.1"}
    assert cohort["a"].patient == "anna"
    assert cohort.unit == "px"


def test_a_unit_is_never_guessed(source: Path, tmp_path: Path) -> None:
    (keep(source, "a", "b") / "training.csv").write_text(WIDE)
    with pytest.raises(AnatomarkError, match="does not say the unit"):
        run(source, tmp_path / "out")
    (source / "training.csv").write_text(WIDE.replace("_x", "_x_mm").replace("_y", "_y_mm"))
    with pytest.raises(AnatomarkError, match=r"in mm.*give the image's spacing"):
        run(source, tmp_path / "out")


def test_a_list_of_images_with_their_spacing(source: Path, tmp_path: Path) -> None:
    (keep(source, "a", "b") / "list.csv").write_text(
        "image,scanner,spacing_mm\na,x,1.0\nb.jpg,y,0.5 0.25\n"
    )
    cohort = run(source, tmp_path / "out")
    assert cohort.names == {}
    assert cohort["a"].info == {"scanner": "x"}
    sample = load_sample(cohort, cohort["b"])
    assert sample.landmarks is None
    np.testing.assert_allclose(sample.image.grid.spacing, [0.5, 0.25])


def test_one_table_an_image(source: Path, tmp_path: Path) -> None:
    (keep(source, "a", "b") / "landmarks").mkdir()
    (source / "landmarks" / "a.csv").write_text(",X,Y\n1,7,8\n2,30,40\n")
    (source / "landmarks" / "b.csv").write_text(",X,Y\n2,31,40\n")
    cohort = run(source, tmp_path / "out", table="landmarks", unit="px", paired=[("a", "b")])
    landmarks = load_sample(cohort, cohort["a"]).landmarks
    assert landmarks is not None
    np.testing.assert_allclose(landmarks["2"], [30, 40])
    assert (cohort["a"].pair, cohort["b"].pair) == ("b", "a")
    with pytest.raises(UsageError, match="no case 'c' to pair"):
        run(source, tmp_path / "no", table="landmarks", unit="px", paired=[("a", "c")])


def test_left_and_right_are_said_by_the_user(source: Path, tmp_path: Path) -> None:
    (keep(source, "a", "b") / "training.csv").write_text(WIDE)
    cohort = run(source, tmp_path / "out", unit="px", pairs=[("tip", "base")])
    assert cohort.pairs == (("tip", "base"),)
    table = source / "training.csv"
    table.write_text(WIDE.replace("tip", "v1_tl").replace("base", "v1_tr"))
    cohort = run(source, tmp_path / "words", unit="px", pairs=[("tl", "tr")])
    assert cohort.pairs == (("v1_tl", "v1_tr"),)
    with pytest.raises(UsageError, match="no two landmarks differ by 'l' and 'r'"):
        run(source, tmp_path / "no", unit="px", pairs=[("l", "r")])


def test_tables_and_images_are_matched_both_ways(source: Path, tmp_path: Path) -> None:
    (source / "training.csv").write_text(WIDE)
    with pytest.warns(CohortWarning, match="2 images that no table lists were left out: 001, 002"):
        run(source, tmp_path / "out", unit="px")
    keep(source, "a")
    with pytest.raises(CohortError, match="there is no image 'b'"):
        run(source, tmp_path / "no", unit="px")
    (source / "training.csv").write_text("x,y\n1,2\n")
    with pytest.raises(CohortError, match="no column 'image', and no image has its name; its"):
        run(source, tmp_path / "no", unit="px")
    with pytest.raises(CohortError, match=r"has no \.csv table"):
        run(source / "images", tmp_path / "no")


def test_semicolons_are_understood_and_wrong_words_are_not(source: Path, tmp_path: Path) -> None:
    table = keep(source, "a", "b") / "training.csv"
    table.write_text(WIDE.replace(",", ";"))
    cohort = run(source, tmp_path / "out", unit="px")
    assert cohort["b"].info == {"cobb": "12.5"}
    with pytest.raises(UsageError, match="pixel_origin is 'centre' or 'corner', not 'center'"):
        run(source, tmp_path / "no", unit="px", pixel_origin="center")
    with pytest.raises(UsageError, match="unit is 'mm' or 'px', not 'inch'"):
        run(source, tmp_path / "no", unit="inch")


def test_an_image_listed_twice_is_refused(source: Path, tmp_path: Path) -> None:
    (keep(source, "a", "b") / "one.csv").write_text(WIDE)
    (source / "two.csv").write_text(WIDE)
    with pytest.raises(CohortError, match="image 'a' is listed twice"):
        run(source, tmp_path / "out", unit="px")


def test_every_missing_image_is_listed_once(source: Path, tmp_path: Path) -> None:
    (keep(source, "001") / "points.csv").write_text(LONG.replace("train", "test1"))
    with pytest.raises(CohortError, match="there is no image '002'; name the folder") as caught:
        run(source, tmp_path / "out", spacing=0.3, truth="mean")
    assert not caught.value.problems
    (source / "points.csv").write_text(WIDE.replace("a,41", "x.jpg,41").replace("b,12", "y.jpg,12"))
    with pytest.raises(CohortError, match=r"2 problems: .*; name the folder") as caught:
        run(source, tmp_path / "out", unit="px")
    assert caught.value.problems == (
        "points.csv: there is no image 'x.jpg'", "points.csv: there is no image 'y.jpg'",
    )  # fmt: skip


def test_the_columns_that_there_are_get_named(source: Path, tmp_path: Path) -> None:
    table = keep(source, "a") / "Punkte.csv"
    table.write_text("Bildname;Punkt;X;Y\na;tip;3;4\n")
    said = "its columns are Bildname, Punkt, X, Y; rename the one that names the images to image"
    for tables in (None, "Punkte.csv"):
        with pytest.raises(CohortError, match=said):
            run(source, tmp_path / "out", table=tables, spacing=0.6)
    table.write_text("image;landmark;X;Y\na;tip;3;4\n")
    with pytest.raises(
        AnatomarkError, match="X, Y; name them X_px, Y_px or X_mm, Y_mm, or say"
    ) as e:
        run(source, tmp_path / "out", spacing=0.6)
    assert "spacing" not in str(e.value)


def test_a_table_may_lie_where_the_shell_says(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (keep(source, "a", "b") / "points.csv").write_text(WIDE)
    (source / "other.csv").write_text("no table")
    monkeypatch.chdir(tmp_path)
    for number, table in enumerate(("points.csv", "set/points.csv", Path("set/points.csv"))):
        images = "set/images" if number else "images"
        assert len(run("set", f"out{number}", table=table, images=images, unit="px")) == 2
    with pytest.raises(CohortError, match=r"set/set/no\.csv"):
        run("set", "out", table="set/no.csv", unit="px")


def test_a_unit_that_the_columns_deny_is_refused(source: Path, tmp_path: Path) -> None:
    (keep(source, "a") / "points.csv").write_text("image,landmark,x_mm,y_mm\na,tip,3,4\n")
    with pytest.raises(UsageError, match=r"points\.csv: its points are in mm, not in px"):
        run(source, tmp_path / "out", unit="px", spacing=0.5)
