"""Folders with DICOM: one series is read, several are listed and chosen from."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anatomark.errors import ImageError, ImageWarning, UsageError
from anatomark.io.dicom.reading import list_series
from anatomark.io.images.reading import read_grid, read_image

Writer = Callable[..., Path]
ROOT = "1.2.826.0.1.3680043.8.498"


@pytest.fixture
def study(tmp_path: Path, stored_volume: Any, write_series: Writer, write_dicom: Writer) -> Path:
    """Two series in nested folders beside what is no image."""
    write_series(tmp_path / "a" / "deep", stored_volume, series=3, SeriesDescription="thin axial")
    write_series(
        tmp_path / "b", stored_volume[:3, :4], series=12, SeriesDescription="thick", Modality="MR"
    )
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "b" / "NOTES").write_text("not an image either")
    (tmp_path / "b" / "empty").touch()
    write_dicom(
        tmp_path / "plan.dcm", stored_volume[0], Rows=None, Columns=None, Modality="RTSTRUCT",
        SOPClassUID="1.2.840.10008.5.1.4.1.1.481.3",
    )  # fmt: skip
    return tmp_path


def test_several_series_are_listed_with_what_tells_them_apart(study: Path) -> None:
    for reader in (read_image, read_grid):
        with pytest.raises(UsageError) as caught:
            reader(study)
        assert str(caught.value) == (
            f"{study}: has 2 series; say series=… (in a cohort, give each a folder): "
            f"3: thin axial, CT, 7 × 6 × 5, UID {ROOT}.3; 12: thick, MR, 7 × 4 × 3, UID {ROOT}.12"
        )


@pytest.mark.parametrize(
    ("series", "depth"),
    [("3", 5), ("12", 3), (f"{ROOT}.3", 5), (f"{ROOT}.12", 3), (f"{ROOT}.1", 3)],
)
def test_a_series_is_chosen_by_number_by_uid_or_by_its_start(
    series: str, depth: int, study: Path
) -> None:
    assert len(read_image(study, series=series).array) == depth
    assert read_grid(study, series=series).shape[0] == depth


def test_a_whole_uid_comes_before_others_that_start_the_same(
    tmp_path: Path, stored_volume: Any, write_series: Writer
) -> None:
    write_series(tmp_path / "a", stored_volume, series=4)
    write_series(tmp_path / "b", stored_volume[:2], series=44)
    assert len(read_image(tmp_path, series=f"{ROOT}.4").array) == 5


@pytest.mark.parametrize(("series", "found"), [("4", "no"), ("", "no"), (ROOT, "2")])
def test_a_choice_that_fits_none_or_several_lists_them_again(
    series: str, found: str, study: Path
) -> None:
    with pytest.raises(UsageError, match=f"has {found} series '{re.escape(series)}'; .*thin axial"):
        read_image(study, series=series)


def test_one_series_needs_no_choice_wherever_its_files_lie(
    tmp_path: Path, stored_volume: Any, write_series: Writer
) -> None:
    write_series(tmp_path / "one", stored_volume[:2])
    write_series(tmp_path / "two" / "deep", stored_volume[2:], at=[2, 3, 4])
    np.testing.assert_array_equal(read_image(tmp_path).array, stored_volume)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(ImageError, match="has no DICOM images in it; name an image file"):
        read_image(tmp_path)


def test_a_scout_in_the_same_series_is_left_out_with_a_warning(
    tmp_path: Path, stored_volume: Any, write_series: Writer, write_dicom: Writer
) -> None:
    folder = write_series(tmp_path, stored_volume)
    write_dicom(
        folder / "0" / "scout.dcm", stored_volume[0], SeriesInstanceUID=f"{ROOT}.3", SeriesNumber=3,
        ImagePositionPatient=[0, 0, 0], ImageOrientationPatient=[1, 0, 0, 0, 0, -1],
        PixelSpacing=[1, 1], SliceThickness=500, SeriesDescription="scout",
    )  # fmt: skip

    # the scout is found first, but the largest part is number 1
    assert [(s.name, len(s.planes)) for s in list_series(folder)] == [("3.1", 5), ("3.2", 1)]
    with pytest.warns(ImageWarning, match=r"1 image of the series .* series='3\.2'"):
        image = read_image(folder)
    np.testing.assert_array_equal(image.array, stored_volume)
    assert read_image(folder, series="3.2").array.shape == (1, 6, 7)


def test_two_stacks_of_one_series_are_asked_about(
    tmp_path: Path, stored_volume: Any, write_series: Writer
) -> None:
    write_series(tmp_path / "axial", stored_volume)
    write_series(tmp_path / "coronal", stored_volume, axes=(1, 0, 0, 0, 0, -1), step=(0, 2, 0))
    with pytest.raises(UsageError, match=r"3\.1: .*; 3\.2: "):
        read_image(tmp_path)
    assert read_grid(tmp_path, series="3.2").orientation == "LIP"


def test_pictures_without_a_place_are_read_one_by_one(
    tmp_path: Path, stored_volume: Any, write_dicom: Writer
) -> None:
    for i in range(2):
        write_dicom(tmp_path / f"{i}.dcm", stored_volume[i], Modality="DX")
    with pytest.raises(UsageError, match=r"1\.1: .*; 1\.2: "):
        read_image(tmp_path)
    np.testing.assert_array_equal(read_image(tmp_path, series="1.2").array, stored_volume[1])


def test_a_damaged_slice_stops_the_reading_and_is_named(study: Path) -> None:
    victim = next((study / "a" / "deep").iterdir())
    victim.write_bytes(victim.read_bytes()[:-20])
    with pytest.raises(ImageError, match=re.escape(str(victim))):
        read_image(study, series="3")
    victim.write_bytes(victim.read_bytes()[:400])
    with pytest.raises(ImageError, match=re.escape(str(victim))):
        read_image(study, series="3")


def test_a_folder_of_a_thousand_series_is_listed_in_short(
    tmp_path: Path, write_dicom: Writer
) -> None:
    for i in range(40):
        write_dicom(
            tmp_path / f"{i}.dcm", np.eye(2, dtype=np.uint8), SeriesInstanceUID=f"{ROOT}.{i}",
            SeriesNumber=i,
        )  # fmt: skip
    with pytest.raises(UsageError, match="has 40 series.*; and 10 more$"):
        read_image(tmp_path)


@pytest.mark.realdata
def test_real_slices_of_six_patients_are_six_series(real_data: Path) -> None:
    folder = real_data / "ct_slices" / "dicom"
    series = list_series(folder)
    assert len(series) == len(list(folder.glob("*.dcm")))
    for one in series:
        assert read_image(folder, series=one.uid).array.shape == (1, 512, 512)


@pytest.mark.parametrize("held", [b"", b"x" * 100], ids=["empty", "cut off"])
def test_a_file_named_like_its_neighbours_is_not_passed_over_in_silence(
    held: bytes, tmp_path: Path, stored_volume: Any, write_series: Writer
) -> None:
    write_series(tmp_path, stored_volume)
    for file in tmp_path.iterdir():
        file.rename(tmp_path / f"IM{file.name[:4]}")  # as scanners name them
    (tmp_path / "IM9999").write_bytes(held)
    (tmp_path / "NOTES").write_text("no image")
    with pytest.warns(ImageWarning) as said:
        image = read_image(tmp_path)
    assert len(image.array) == 5
    assert [str(w.message).split(": ")[0] for w in said] == [str(tmp_path / "IM9999")]
