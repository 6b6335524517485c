"""The challenge's files: 19 lines of pixels, then classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anatomark.data import Landmarks
from anatomark.errors import LandmarkError, LossWarning
from anatomark.geometry import Grid
from anatomark.io.landmarks.formats import read_landmark_table, read_landmarks, write_landmarks
from anatomark.io.landmarks.isbi import ISBI_NAMES

POINTS = [[835 + 10 * i, 996 - 7 * i] for i in range(19)]
TEXT = "".join(f"{x},{y}\n" for x, y in POINTS) + "1\n2\n1\n3\n1\n4\n1\n2\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "001.txt"
    path.write_text(TEXT)
    return path


def test_points_are_pixels_unless_the_image_is_known(file: Path) -> None:
    landmarks = read_landmarks(file)
    assert landmarks.unit == "px"
    # Indices are of pixel centres, the file counts from the corner.
    assert (landmarks.points_mm + 0.5).tolist() == POINTS
    assert landmarks.meta == {"classes": ["1", "2", "1", "3", "1", "4", "1", "2"]}
    with_spacing = read_landmarks(file, spacing=0.1)
    assert with_spacing.unit == "mm"
    np.testing.assert_allclose(with_spacing["nasion"], [84.45, 98.85])
    grid = Grid((2400, 1935), (0.1, 0.1), origin=(5, 6))
    np.testing.assert_allclose(read_landmarks(file, grid=grid)["sella"], [88.45, 105.55])


def test_windows_lines_spaces_and_no_classes(file: Path) -> None:
    file.write_bytes("\r\n".join(f" {x} , {y}.0" for x, y in POINTS).encode())
    landmarks = read_landmarks(file)
    # Indices are of pixel centres, the file counts from the corner.
    assert (landmarks.points_mm + 0.5).tolist() == POINTS
    assert landmarks.meta == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,2\n3,4\n", "has 2 lines 'x,y', an ISBI 2015 file has 19"),
        (TEXT.replace("2\n1\n3", "2,1\n3"), "has 20 lines"),
        (TEXT.replace("835,996", "835 996"), "line 1 is not 'x,y'"),
        (TEXT.replace("835,996", "835,996,1"), "line 1 is not 'x,y'"),
        (TEXT.replace("996", "high"), "line 1: 'high' is not a number"),
        ("Patient notes:\nnothing to see\n" * 20, "line 1 is not 'x,y', so this is no ISBI"),
        ("", "empty"),
    ],
)
def test_other_text_files(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(LandmarkError, match=said) as caught:
        read_landmarks(file)
    assert str(caught.value).startswith(str(file))


def test_writing_restores_the_file_but_for_decimals(file: Path, tmp_path: Path) -> None:
    grid = Grid((2400, 1935), (0.1, 0.1), origin=(5, 6))
    landmarks = read_landmarks(file, grid=grid)
    shuffled = landmarks.select(landmarks.names[::-1])
    other = tmp_path / "b.txt"
    write_landmarks(shuffled, other, grid=grid)
    lines = other.read_text().splitlines()
    assert lines[19:] == TEXT.splitlines()[19:]
    written = [[float(v) for v in line.split(",")] for line in lines[:19]]
    np.testing.assert_allclose(written, POINTS, atol=1e-9)
    write_landmarks(read_landmarks(file), other)
    assert other.read_text().startswith("835.0,996.0\n845.0,989.0\n")


def test_what_the_file_cannot_hold(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    points = np.array(POINTS, float)
    with pytest.raises(LandmarkError, match=r"in mm, .* in pixels; give the image"):
        write_landmarks(Landmarks(ISBI_NAMES, points), file)
    absent = Landmarks(ISBI_NAMES, points, present=[True] * 18 + [False], unit="px")
    with pytest.raises(LandmarkError, match="absent: articulare"):
        write_landmarks(absent, file)
    with pytest.raises(LandmarkError, match="exactly the 19 landmarks"):
        write_landmarks(absent.select(ISBI_NAMES[:18]), file)
    with pytest.raises(LandmarkError, match="exactly the 19 landmarks"):
        write_landmarks(Landmarks(ISBI_NAMES, np.ones((19, 3)), unit="px"), file)
    assert not file.exists()
    sure = Landmarks(ISBI_NAMES, points, confidence=np.ones(19), unit="px")
    with pytest.warns(LossWarning, match="confidence of 19 landmarks"):
        write_landmarks(sure, file)


def test_the_names_are_those_of_the_real_set(real_data: Path) -> None:
    cases = read_landmark_table(real_data / "ceph" / "train.csv", by=("image", "observer"))
    assert {case.names for case in cases.values()} == {ISBI_NAMES}
