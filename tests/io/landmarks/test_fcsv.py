"""Slicer's older point files, literal ones as Slicer 4 and 5 write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anatomark.data import Landmarks
from anatomark.errors import LandmarkError, LossWarning
from anatomark.io.landmarks.formats import read_landmarks, write_landmarks

OLD = '''# Markups fiducial file version = 4.10
# CoordinateSystem = 0
# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID
vtkMRMLMarkupsFiducialNode_0,-1.5,2,3.25,0.000,0.000,0.000,1.000,1,1,0,F-1,,vtkMRMLScalarVolumeNode1
vtkMRMLMarkupsFiducialNode_1,4,5,6,0,0,0,1,1,1,0,"neck, ""left""",a note,
'''
NEW = '''# Markups fiducial file version = 5.4
# CoordinateSystem = LPS
# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID
1,1.5,-2,3.25,0,0,0,1,1,1,0,F-1,,,2,0
2,-4,-5,6,0,0,0,1,1,1,1,"neck, ""left""",a note,,2,0
3,-361.6,5.7e-14,44.8,0,0,0,1,1,1,0,gone,,,3,0
4,-361.6,5.7e-14,44.8,0,0,0,1,1,1,0,open,,,0,0
'''


@pytest.fixture
def fcsv(tmp_path: Path) -> Path:
    return tmp_path / "points.fcsv"


def test_fcsv_of_slicer_4_in_ras_and_of_slicer_5_in_lps(fcsv: Path) -> None:
    fcsv.write_text(OLD)
    old = read_landmarks(fcsv)
    assert old.names == ("F-1", 'neck, "left"')
    assert old.points_mm.tolist() == [[1.5, -2.0, 3.25], [-4.0, -5.0, 6.0]]
    assert old.meta == {"descriptions": {'neck, "left"': "a note"}}
    fcsv.write_text(NEW)
    new = read_landmarks(fcsv)
    assert new.present.tolist() == [True, True, False, False]
    np.testing.assert_array_equal(new.points_mm[:2], old.points_mm)


@pytest.mark.parametrize(("word", "code"), [("LPS", "1"), ("RAS", "0")])
def test_fcsv_words_and_codes_are_the_same(fcsv: Path, word: str, code: str) -> None:
    read = []
    for spelling in (word, code):
        fcsv.write_text(OLD.replace("System = 0", f"System = {spelling}"))
        read.append(read_landmarks(fcsv).points_mm)
    np.testing.assert_array_equal(*read)


def test_fcsv_columns_are_where_the_header_says(fcsv: Path) -> None:
    fcsv.write_text(
        "# Markups fiducial file version = 4.11\r\n# CoordinateSystem = LPS\r\n"
        "# columns = label,z,y,x\r\na,3,2,1\r\n\r\n"
    )
    assert read_landmarks(fcsv)["a"].tolist() == [1, 2, 3]


def test_fcsv_whose_last_cells_were_not_written(fcsv: Path) -> None:
    fcsv.write_text(OLD.replace(",,vtkMRMLScalarVolumeNode1", ""))
    assert read_landmarks(fcsv)["F-1"].tolist() == [1.5, -2.0, 3.25]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("# CoordinateSystem = 0\n", ""), "LPS or RAS"),
        (("System = 0", "System = 2"), "neither LPS nor RAS"),
        (("System = 0", "System = IJK"), "neither LPS nor RAS"),
        (("label,desc", "name,desc"), "no column label; it has id, x"),
        (("-1.5", "one"), "line 4, column 'x': 'one' is not a number"),
        (("-1.5", "nan"), "is not a number"),
        (("-1.5", ""), "line 4, column 'x'"),
        (("F-1", ""), "line 4 has no label"),
        (("F-1", 'neck, "left"'), "line 4 has 15 cells, the header has 14; put a label"),
        (('"neck, ""left"""', "F-1"), "duplicate landmark names: F-1"),
        (("0,0,0,1,1,1,0,", ""), "line 5 has .* cells"),
    ],
)
def test_bad_fcsv(fcsv: Path, change: tuple[str, str], said: str) -> None:
    fcsv.write_text(OLD.replace(*change))
    with pytest.raises(LandmarkError, match=said):
        read_landmarks(fcsv)


def test_fcsv_without_header_or_points(fcsv: Path) -> None:
    fcsv.write_text("F-1,1,2,3,1,1\n")
    with pytest.raises(LandmarkError, match="no header"):
        read_landmarks(fcsv)
    fcsv.write_text("".join(OLD.splitlines(keepends=True)[:3]))
    with pytest.raises(LandmarkError, match="no points"):
        read_landmarks(fcsv)
    fcsv.write_text(OLD.replace("F-1", "x" * 200_000))
    with pytest.raises(LandmarkError, match="line 4: field larger"):
        read_landmarks(fcsv)


@pytest.mark.parametrize(
    ("frame", "code", "row"), [("LPS", "1", "1.0,-2.5"), ("RAS", "0", "-1.0,2.5")]
)
def test_fcsv_is_written_with_the_codes_that_every_slicer_knows(
    fcsv: Path, frame: Any, code: str, row: str
) -> None:
    write_landmarks(Landmarks(("a, b",), [[1, -2.5, 3]]), fcsv, frame=frame)
    assert fcsv.read_text() == (
        "# Markups fiducial file version = 4.10\n"
        f"# CoordinateSystem = {code}\n"
        "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
        f'1,{row},3.0,0,0,0,1,1,1,0,"a, b",,\n'
    )


def test_fcsv_leaves_an_absent_point_out_rather_than_at_the_origin(fcsv: Path) -> None:
    landmarks = Landmarks(("a", "b"), [[np.nan] * 3, [1, 2, 3]])
    with pytest.warns(LossWarning, match=r"1 absent landmarks \(a\)"):
        write_landmarks(landmarks, fcsv)
    assert read_landmarks(fcsv).names == ("b",)


def test_fcsv_refuses_a_name_of_two_lines(fcsv: Path) -> None:
    with pytest.raises(LandmarkError, match="line break"):
        write_landmarks(Landmarks(("a\nb",), [[1, 2, 3]]), fcsv)
    assert not fcsv.exists()
