"""A folder of images without landmarks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from anatomark.datasets.importers import IMPORTERS
from anatomark.errors import CohortError
from anatomark.io.cohorts.files import load_sample, read_cohort

run = IMPORTERS["images"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Ten 16-bit PNGs as CT slices are kept: HU + 1024; one of them in a subfolder."""
    for number in range(10):
        path = tmp_path / "slices" / ("more" if number == 9 else ".") / f"ct_{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        array = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30) * 6 + number
        sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    return tmp_path / "slices"


def test_values_and_spacing_come_through(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out", spacing=(1.5, 0.5))
    cohort = read_cohort(tmp_path / "out")
    assert (len(cohort), cohort.names, cohort.unit) == (10, {}, "mm")
    sample = load_sample(cohort, cohort["more/ct_09"])
    assert sample.landmarks is None
    assert sample.image.array.dtype == np.uint16
    np.testing.assert_array_equal(
        sample.image.array, np.arange(600, dtype=np.uint16).reshape(20, 30) * 6 + 9
    )
    assert sample.image.grid.spacing.tolist() == [1.5, 0.5]


def test_without_a_spacing_they_are_in_pixels(source: Path, tmp_path: Path) -> None:
    assert run(source, tmp_path / "out").unit == "px"


def test_they_are_divided_as_others_are(source: Path, tmp_path: Path) -> None:
    cohort = run(source, tmp_path / "out", spacing=1.0, split="0.6,0.2,0.2", seed=3, copy=True)
    assert {s: len(cohort.select(split=s)) for s in sorted(cohort.splits)} == {
        "test": 2, "train": 6, "val": 2,
    }  # fmt: skip
    assert all(case.image.is_relative_to(tmp_path / "out") for case in cohort.cases)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CohortError, match="has no image"):
        run(tmp_path / "empty", tmp_path / "out")
