"""Chest X-rays with one text file a case."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from anatomark.datasets.importers import IMPORTERS
from anatomark.errors import AnatomarkError, CohortWarning
from anatomark.io.cohorts.files import load_sample

run = IMPORTERS["chest-xray"]
# Top, bottom, outer border of the patient's right lung (left in the image), then of the left one.
RELATIVE = np.array([[0.3, 0.1], [0.2, 0.9], [0.1, 0.8], [0.7, 0.1], [0.8, 0.9], [0.9, 0.75]])


def text(points: np.ndarray = RELATIVE) -> str:
    return f"{len(points)}\n" + "".join(f"{x:.4f} {y:.4f}\n" for x, y in points)


@pytest.fixture
def source(tmp_path: Path, picture: Callable[..., Path]) -> Path:
    root = tmp_path / "chest"
    for name in ("CHNCXR_0001_0", "CHNCXR_0002_1"):
        picture(root / "CXR_png" / f"{name}.png", (200, 100))
        (root / "labels").mkdir(exist_ok=True)
        (root / "labels" / f"{name}.txt").write_text(text())
    return root


def test_relative_points_become_pixels_of_each_lung(source: Path, tmp_path: Path) -> None:
    cohort = run(source, tmp_path / "out")
    sample = load_sample(cohort, cohort["CHNCXR_0001_0"])
    assert sample.landmarks is not None
    assert sample.landmarks.unit == "px"
    np.testing.assert_allclose(sample.landmarks["right_lung_top"], [0.3 * 200 - 0.5, 9.5])
    np.testing.assert_allclose(sample.landmarks["left_lung_outer"], [0.9 * 200 - 0.5, 74.5])
    assert ("left_lung_top", "right_lung_top") in sample.landmarks.pairs
    assert len(sample.landmarks.pairs) == 3
    assert [case.info["abnormal"] for case in cohort.cases] == ["0", "1"]


def test_text_files_may_lie_beside_the_images(source: Path, tmp_path: Path) -> None:
    for file in (source / "labels").iterdir():
        file.rename(source / "CXR_png" / file.name)
    # Another folder of the public set has texts of the same names that hold no points.
    (source / "ClinicalReadings").mkdir()
    (source / "ClinicalReadings" / "CHNCXR_0001_0.txt").write_text("male 45yrs normal")
    assert len(run(source, tmp_path / "out")) == 2


def test_images_without_points_are_left_out(
    source: Path, tmp_path: Path, picture: Callable[..., Path]
) -> None:
    picture(source / "CXR_png" / "x.png")
    with pytest.warns(CohortWarning, match=r"1 images without a \.txt were left out: x"):
        assert len(run(source, tmp_path / "out")) == 2


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("5\n" + text()[2:], "is not a count of 6 and as many lines"),
        (text()[: text().rindex("0.9000 ")], "is not a count of 6"),
        (text().replace("0.3000 0.1000", "0.3000"), "a line that is not 'x y'"),
        (text().replace("0.3000", "left"), "line 2: 'left' is not a number"),
        ("", "the file is empty"),
    ],
)
def test_a_bad_file_is_named(source: Path, tmp_path: Path, content: str, problem: str) -> None:
    (source / "labels" / "CHNCXR_0002_1.txt").write_text(content)
    with pytest.raises(AnatomarkError, match=f"CHNCXR_0002_1.txt.*{problem}"):
        run(source, tmp_path / "out")


def test_another_order_of_points_is_noticed_and_can_be_stated(source: Path, tmp_path: Path) -> None:
    names = IMPORTERS["chest-xray"](source, tmp_path / "one").names[""]
    for file in (source / "labels").iterdir():
        file.write_text(text(RELATIVE[::-1]))
    with pytest.raises(AnatomarkError, match="not in the order right_lung_top"):
        run(source, tmp_path / "out")
    cohort = run(source, tmp_path / "out", names=names[::-1])
    landmarks = load_sample(cohort, cohort.cases[0]).landmarks
    assert landmarks is not None
    np.testing.assert_allclose(landmarks["right_lung_top"], [59.5, 9.5])
