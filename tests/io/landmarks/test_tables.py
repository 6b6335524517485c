"""CSV tables, literal ones as people have them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anatomark.data import Landmarks
from anatomark.errors import LandmarkError, LossWarning, UsageError
from anatomark.geometry import Grid
from anatomark.io.landmarks.formats import read_landmark_table, read_landmarks, write_landmarks


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "points.csv"


def points_of(file: Path, text: str, **options: Any) -> dict[str, list[float]]:
    file.write_bytes(text.encode())
    landmarks = read_landmarks(file, **options)
    return dict(zip(landmarks.names, landmarks.points_mm.tolist(), strict=True))


# -- long tables ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "name,x_mm,y_mm\nsella,83.5,99.6\nnasion,147.3,-2e1\n",
        "landmark,x_mm,y_mm\r\nsella,83.5,99.6\r\nnasion,147.3,-20\r\n",
        "\ufefflabel,X_mm,Y_MM\nsella,83.5,99.6\nnasion,147.3,-20",
        "name;x_mm;y_mm\nsella;83,5;99,6\nnasion;147,3;-20\n",
        "name;x_mm;y_mm\nsella;83.5;99.6\nnasion;147.3;-20\n",
        "name\tx_mm\ty_mm\nsella\t83.5\t99.6\nnasion\t147.3\t-20\n",
        "\ny_mm , id, x_mm, name\n99.6, 7, 83.5,sella\n\n-20, 8, 147.3,nasion\n,,,\n",
    ],
)
def test_every_spelling_of_the_same_table(file: Path, text: str) -> None:
    assert points_of(file, text) == {"sella": [83.5, 99.6], "nasion": [147.3, -20.0]}


def test_points_in_space_need_a_frame(file: Path) -> None:
    text = "name,x_mm,y_mm,z_mm\na,1,2,3\n"
    with pytest.raises(LandmarkError, match=r"LPS or RAS.*column frame"):
        points_of(file, text)
    assert points_of(file, text, frame="LPS") == {"a": [1, 2, 3]}
    assert points_of(file, text, frame="RAS") == {"a": [-1, -2, 3]}
    assert points_of(file, "name,x_mm,y_mm,z_mm,frame\na,1,2,3,RAS\n") == {"a": [-1, -2, 3]}


@pytest.mark.parametrize(("letters", "expected"), [("l,p,s", [1, 2, 3]), ("r,a,s", [-1, -2, 3])])
def test_the_table_that_slicer_exports(file: Path, letters: str, expected: list[float]) -> None:
    text = (
        f"label,{letters},defined,selected,visible,locked,description\n"
        "F-1,1,2,3,1,1,1,0,first\nF-2,0,0,0,0,1,1,0,\n"
    )
    landmarks = points_of(file, text)
    assert landmarks["F-1"] == expected
    assert np.isnan(landmarks["F-2"]).all()
    assert read_landmarks(file).meta == {"descriptions": {"F-1": "first"}}


@pytest.mark.parametrize("empty", [",", "nan,nan", "NA,NA", " , "])
def test_empty_cells_are_an_absent_landmark(file: Path, empty: str) -> None:
    found = points_of(file, f"name,x_mm,y_mm\na,1,2\nb,{empty}\n")
    assert found["a"] == [1, 2]
    assert np.isnan(found["b"]).all()


def test_confidence_and_covariance(file: Path) -> None:
    file.write_text("name,x_mm,y_mm,confidence,cov_xx,cov_xy,cov_yy\na,1,2,0.9,4,1,9\nb,3,4,,,,\n")
    landmarks = read_landmarks(file)
    np.testing.assert_array_equal(landmarks.confidence, [0.9, np.nan])
    np.testing.assert_array_equal(landmarks.covariance_mm2[0], [[4, 1], [1, 9]])
    assert np.isnan(landmarks.covariance_mm2[1]).all()


# -- pixels --------------------------------------------------------------------------------------


def test_pixels_become_millimetres_with_a_spacing_or_an_image(file: Path) -> None:
    text = "name,x_px,y_px\na,10,20\n"
    assert points_of(file, text) == {"a": [10, 20]}
    assert read_landmarks(file).unit == "px"
    assert points_of(file, text, spacing=0.5) == {"a": [5, 10]}
    assert points_of(file, text, spacing=(0.5, 2.0)) == {"a": [5, 40]}
    assert read_landmarks(file, spacing=0.5).unit == "mm"
    turned = Grid((30, 30), (0.5, 0.5), (100, 200), [[-1, 0], [0, 1]])
    assert points_of(file, text, grid=turned) == {"a": [95, 210]}
    assert points_of(file, text, grid=Grid((30, 30), unit="px")) == {"a": [10, 20]}


def test_counting_from_the_corner(file: Path) -> None:
    pixels, millimetres = "name,x_px,y_px\na,10,20\n", "name,x_mm,y_mm\na,3.15,6.15\n"
    corner: dict[str, Any] = {"pixel_origin": "corner"}
    assert points_of(file, pixels, **corner) == {"a": [9.5, 19.5]}
    assert points_of(file, pixels, spacing=0.5, **corner) == {"a": [4.75, 9.75]}
    found = points_of(file, millimetres, spacing=0.3, **corner)["a"]
    assert found == pytest.approx([3.0, 6.0])
    with pytest.raises(UsageError, match="need its size; give spacing"):
        points_of(file, millimetres, **corner)


def test_plain_columns_have_no_unit(file: Path) -> None:
    text = ",X,Y\n1,59,72\n2,122,108\n"
    with pytest.raises(
        LandmarkError, match=r"unit of its columns X, Y; name them X_px, Y_px or X_mm, Y_mm, "
    ):
        points_of(file, text)
    with pytest.raises(LandmarkError, match="does not say the unit"):
        points_of(file, text, grid=Grid((99, 99), 0.5 * np.ones(2)))
    assert points_of(file, text, unit="px") == {"1": [59, 72], "2": [122, 108]}
    assert points_of(file, text, unit="mm", grid=Grid((99, 99), (0.5, 0.5)))["1"] == [59, 72]
    assert points_of(file, text, spacing=0.5)["1"] == [29.5, 36]
    assert points_of(file, text, grid=Grid((99, 99), unit="px"))["1"] == [59, 72]


@pytest.mark.parametrize("spacing", [0, -1, float("nan"), (0.5, 0)])
def test_a_spacing_that_cannot_be(file: Path, spacing: Any) -> None:
    with pytest.raises(Exception, match="spacing") as caught:
        points_of(file, "name,x_px,y_px\na,10,20\n", spacing=spacing)
    assert str(caught.value).startswith(str(file))


# -- wide tables ---------------------------------------------------------------------------------


def test_a_wide_table(file: Path) -> None:
    text = "case,angle,v01_tl_x_px,v01_tl_y_px,b,c_x_px,c_y_px\nk1,4.5,1,2,9,,\nk2,3,5,6,9,7,8\n"
    file.write_text(text)
    with pytest.raises(UsageError, match="holds 2 cases; say case=…, one of k1, k2"):
        read_landmarks(file)
    with pytest.raises(UsageError, match="has no case 'k3'"):
        read_landmarks(file, case="k3")
    second = read_landmarks(file, case="k2")
    assert second.names == ("v01_tl", "c")
    assert second.points_mm.tolist() == [[5, 6], [7, 8]]
    assert second.unit == "px"
    both = read_landmark_table(file)
    assert list(both) == ["k1", "k2"]
    assert both["k1"].present.tolist() == [True, False]
    assert both["k1"].meta == {"case": "k1", "angle": "4.5", "b": "9"}


def test_a_wide_table_of_one_row_needs_no_case(file: Path) -> None:
    assert points_of(file, "a_x,a_y\n1,2\n", unit="mm") == {"a": [1, 2]}
    file.write_text("a_x_mm,a_y_mm\n1,2\n3,4\n")
    assert read_landmarks(file, case="2")["a"].tolist() == [3, 4]


def test_names_that_look_like_columns(tmp_path: Path) -> None:
    names = ("x", "a_x", "b_y_mm", "z_px", "_", "case", "frame")
    landmarks = Landmarks(names, np.arange(14.0).reshape(7, 2))
    write_landmarks(landmarks, tmp_path / "k.csv", format="csv-wide")
    back = read_landmarks(tmp_path / "k.csv")
    assert back.names == names
    np.testing.assert_array_equal(back.points_mm, landmarks.points_mm)


# -- many cases ----------------------------------------------------------------------------------


def test_cases_and_observers(file: Path) -> None:
    file.write_text(
        "image,split,observer,landmark,x_mm,y_mm\n"
        "001,train,senior,sella,1,2\n001,train,senior,nasion,3,4\n"
        "001,train,junior,sella,5,6\n002,test,senior,sella,7,8\n"
    )
    with pytest.raises(LandmarkError, match=r"line 4 repeats the landmark 'sella'; .*by="):
        read_landmarks(file, case="001")
    cases = read_landmark_table(file, by=("image", "observer"))
    assert list(cases) == ["001/senior", "001/junior", "002/senior"]
    assert cases["001/senior"].names == ("sella", "nasion")
    assert cases["001/junior"]["sella"].tolist() == [5, 6]
    assert cases["002/senior"].meta == {"image": "002", "split": "test", "observer": "senior"}
    with pytest.raises(LandmarkError, match="has no column 'reader'; its columns are image, split"):
        read_landmark_table(file, by="reader")


def test_names_of_several_columns(file: Path) -> None:
    file.write_text("image,contour,index,x_px,y_px\nA,RL,0,1,2\nA,RL,1,3,4\nA,LL,0,5,6\n")
    cases = read_landmark_table(file, names=("contour", "index"), spacing=2.0)
    assert cases["A"].names == ("RL_0", "RL_1", "LL_0")
    assert cases["A"]["LL_0"].tolist() == [10, 12]
    with pytest.raises(LandmarkError, match="repeats the landmark '0'"):
        read_landmark_table(file)


# -- bad tables ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,x_mm\na,1\n", "has no column 'y'; its columns are name, x_mm"),
        ("name,x_mm,y_mm,z_px\na,1,2,3\n", "mixes units"),
        ("name,x_mm,y_mm,x_px,y_px\na,1,2,3,4\n", "two columns for x"),
        ("a_x_mm,a_y_mm,b_x_mm\n1,2,3\n", "has no column 'b_y'"),
        ("a_x_mm,a_y_mm,a_z_mm,b_x_mm,b_y_mm\n1,2,3,4,5\n", "has no column 'b_z'"),
        ("a_x_mm,a_y_mm,A_x_mm,a_y_mm\n1,2,3,4\n", "two columns for y of a"),
        ("case,a_x_mm,a_y_mm\nk,1,2\nk,1,2\n", "line 3 repeats a case"),
        ("number,x_mm,y_mm\n1,2,3\n", "has no column 'name' or 'landmark'; its columns"),
        ("title,abstract\nx,y\n", "has no columns x and y, nor <name>_x"),
        ("some words\nand more\n", "has no columns x and y"),
        ("name,x_mm,y_mm\n", "no rows"),
        ("\n\n", "no rows"),
        ("", "empty"),
        ("name,x_mm,y_mm\na,1,2\nb,1,two\n", "line 3, column 'y_mm': 'two' is not a number"),
        ("name,x_mm,y_mm\na,1,inf\n", "'inf' is not a number"),
        ("name,x_mm,y_mm\na,1,\n", "line 2: some of x_mm, y_mm are empty"),
        ("name,x_mm,y_mm\na,1\n", "line 2 has 2 cells, the header has 3"),
        ("name,x_mm,y_mm\na,1,5,2,5\n", "line 2 has 5 cells.*decimal commas need ;"),
        ("name,x_mm,y_mm\na,1,2\na,1,2\n", "line 3 repeats the landmark 'a'"),
        ("name,x_mm,y_mm\n ,1,2\n", "has no name"),
        ("name,x_mm,y_mm,frame\na,1,2,LPS\nb,1,2,RAS\n", "mixes LPS and RAS"),
        ("name,x_mm,y_mm,frame\na,1,2,IJK\n", "neither LPS nor RAS"),
        ("name,x_mm,y_mm,cov_xx\na,1,2,1\n", "has no column 'cov_xy'"),
        (f"name,x_mm,y_mm\n{'a' * 200_000},1,2\n", "not a CSV table: field larger"),
    ],
)
def test_bad_tables(file: Path, text: str, said: str) -> None:
    with pytest.raises(LandmarkError, match=said) as caught:
        points_of(file, text)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


# -- writing -------------------------------------------------------------------------------------

FULL = Landmarks(
    ("a, “b”", "c"),
    [[1.5, -2.0, 3.25], [np.nan] * 3],
    covariance_mm2=[[[9, 2, 3], [2, 8, 5], [3, 5, 7]], np.full((3, 3), np.nan)],
    confidence=[0.5, np.nan],
    meta={"descriptions": {"c": "out of view"}},
)


def test_a_long_table_holds_everything_about_the_points(file: Path) -> None:
    write_landmarks(FULL, file)
    assert file.read_text(encoding="utf-8") == (
        "name,x_mm,y_mm,z_mm,frame,confidence,"
        "cov_xx,cov_xy,cov_xz,cov_yy,cov_yz,cov_zz,description\n"
        '"a, “b”",1.5,-2.0,3.25,LPS,0.5,9.0,2.0,3.0,8.0,5.0,7.0,\n'
        "c,,,,LPS,,,,,,,,out of view\n"
    )


def test_a_wide_table_holds_names_points_and_absence(tmp_path: Path) -> None:
    lost = "the covariance of 1 landmarks; the confidence of 1 landmarks; .*'descriptions'"
    with pytest.warns(LossWarning, match=lost):
        write_landmarks(FULL, tmp_path / "k1.csv", format="csv-wide", frame="RAS")
    assert (tmp_path / "k1.csv").read_text(encoding="utf-8") == (
        'case,frame,"a, “b”_x_mm","a, “b”_y_mm","a, “b”_z_mm",c_x_mm,c_y_mm,c_z_mm\n'
        "k1,RAS,-1.5,2.0,3.25,,,\n"
    )


def test_pixels_have_no_frame(file: Path) -> None:
    pixels = Landmarks(("a",), [[1, 2]], unit="px")
    write_landmarks(pixels, file)
    assert file.read_text() == "name,x_px,y_px\na,1.0,2.0\n"
    with pytest.raises(UsageError, match="neither LPS nor RAS"):
        write_landmarks(pixels, file, frame="RAS")


def test_names_that_a_table_cannot_hold(file: Path) -> None:
    for name, kind in (("a\nb", "csv"), ("a\rb", "csv-wide"), (" a", "csv-wide")):
        with pytest.raises(LandmarkError):
            write_landmarks(Landmarks((name,), [[1, 2]]), file, format=kind)
    assert not file.exists()


# -- real tables ---------------------------------------------------------------------------------


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_real_spines(real_data: Path) -> None:
    file = real_data / "spine" / "training.csv"
    cases = read_landmark_table(file, unit="px")
    rows = _rows(file)
    assert list(cases) == [row["image"] for row in rows]
    for row in rows[::50]:
        case = cases[row["image"]]
        assert len(case) == 68
        assert case["v01_tl"].tolist() == [float(row["v01_tl_x"]), float(row["v01_tl_y"])]
        assert case.meta["cobb_pt"] == row["cobb_pt"]


def test_real_heads(real_data: Path) -> None:
    file = real_data / "ceph" / "train.csv"
    cases = read_landmark_table(file, by=("image", "observer"), spacing=0.3, pixel_origin="corner")
    assert len(cases) == 300
    for row in _rows(file)[::97]:
        point = cases[f"{row['image']}/{row['observer']}"][row["landmark"]]
        expected = [float(row["x_mm"]) - 0.15, float(row["y_mm"]) - 0.15]
        np.testing.assert_allclose(point, expected, atol=1e-9)


def test_real_chests_and_tissue(real_data: Path) -> None:
    chests = read_landmark_table(real_data / "chest" / "val.csv", names=("contour", "index"))
    assert {len(case) for case in chests.values()} == {120}
    tissue = read_landmarks(
        real_data / "histology" / "landmarks" / "artificial_reference.csv", unit="px"
    )
    assert tissue["1"].tolist() == [144, 122]
