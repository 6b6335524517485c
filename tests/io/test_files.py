"""Files are written whole or not at all, and errors name them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from anatomark.errors import ImageError, LandmarkError, UsageError, WriteError
from anatomark.io import files


def names_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize(
    ("name", "suffix", "stem"),
    [
        ("a.nii.gz", ".nii.gz", "a"),
        ("A.MRK.JSON", ".mrk.json", "A"),
        ("scan.v2.nii", ".nii", "scan.v2"),
        ("noext", "", "noext"),
        ("dir.x/a.csv", ".csv", "a"),
    ],
)
def test_suffix_and_stem(name, suffix, stem):
    assert files.suffix_of(name) == suffix
    assert files.stem_of(name) == stem


def test_an_unknown_extension_names_the_known_ones():
    with pytest.raises(UsageError, match=r"a\.xyz: .*'\.xyz'; use one of \.csv, \.json"):
        files.pick_format({".csv": 1, ".json": 2}, "a.xyz", what="a landmark file")
    with pytest.raises(UsageError, match="needs an extension"):
        files.pick_format({".csv": 1}, "a", what="a landmark file")


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def write_half() -> None:
        with files.writing(target) as temporary:
            temporary.write_text("half")
            raise ValueError("broke")

    with pytest.raises(ValueError, match="broke"):
        write_half()
    assert target.read_text() == "old"
    assert names_in(tmp_path) == ["a.txt"]


def test_success_replaces_the_file_with_ordinary_permissions(tmp_path):
    target = tmp_path / "sub" / "a.txt"
    files.write_text(target, "new\n")
    assert target.read_bytes() == b"new\n"
    ordinary = tmp_path / "b.txt"
    ordinary.write_text("x")
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)
    assert names_in(target.parent) == ["a.txt"]


def test_the_temporary_file_keeps_the_whole_extension(tmp_path):
    with files.writing(tmp_path / "a.nii.gz") as temporary:
        assert temporary.name.endswith(".nii.gz")
        assert temporary.parent == tmp_path


def test_a_folder_or_a_file_in_the_way_is_an_error(tmp_path):
    with pytest.raises(WriteError, match="is a folder"):
        files.write_text(tmp_path, "x")
    (tmp_path / "file").write_text("x")
    with pytest.raises(WriteError, match="cannot be written"):
        files.write_text(tmp_path / "file" / "below.txt", "x")


def test_an_unwritable_folder_is_an_error():
    with pytest.raises(WriteError, match=r"/proc/anatomark/a\.txt: cannot be written"):
        files.write_text("/proc/anatomark/a.txt", "x")


def test_a_full_disk_is_one_error_and_nothing_half_written(small_disk):
    target = small_disk / "a.txt"
    target.write_text("old")
    with pytest.raises(WriteError, match="no space left"):
        files.write_text(target, "x" * 200_000)
    assert target.read_text() == "old"
    assert names_in(small_disk) == ["a.txt"]


def test_images_and_landmarks_on_a_full_disk_say_so(small_disk):
    import numpy as np

    from anatomark import Grid, Image, Landmarks, write_image, write_landmarks

    noise = np.random.default_rng(0).normal(size=(40, 40, 40))
    image = Image(noise, Grid(noise.shape, (1, 1, 1)))
    for name in ("a.nii.gz", "a.nrrd", "a.mha"):
        with pytest.raises(WriteError, match=f"{name}: "):
            write_image(image, small_disk / name)
    marks = Landmarks([f"p{i}" for i in range(5000)], np.zeros((5000, 3)))
    for name in ("a.json", "a.mrk.json", "a.csv"):
        with pytest.raises(WriteError, match=f"{name}: "):
            write_landmarks(marks, small_disk / name)
    assert names_in(small_disk) == []


def test_reading_says_what_is_wrong(tmp_path):
    with pytest.raises(ImageError, match="no such file"):
        files.check_readable(tmp_path / "none", ImageError)
    (tmp_path / "empty").touch()
    with pytest.raises(LandmarkError, match="is empty"):
        files.check_readable(tmp_path / "empty", LandmarkError)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(LandmarkError, match="not a text file"):
        files.read_text(tmp_path / "binary", LandmarkError)
    with pytest.raises(ImageError, match="is a directory"):
        files.check_readable(tmp_path, ImageError)


def test_a_name_with_a_nul_is_an_error_like_any_other():
    with pytest.raises(ImageError, match="not a file name"):
        files.check_readable("a\0b.png", ImageError)


def test_a_byte_order_mark_is_dropped(tmp_path):
    (tmp_path / "bom").write_bytes(b"\xef\xbb\xbfname")
    assert files.read_text(tmp_path / "bom", LandmarkError) == "name"


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_a_table_in_another_encoding_is_told_from_one_that_is_none(tmp_path, encoding):
    file = tmp_path / "Punkte.csv"
    file.write_text("image;landmark;x_px;y_px\na;Schädelbasis;1;2\n", encoding=encoding)
    with pytest.raises(LandmarkError) as caught:
        files.read_text(file, LandmarkError)
    assert "not in UTF-8; save it as UTF-8 (in Excel: CSV UTF-8)" in str(caught.value)
    file.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)))
    with pytest.raises(LandmarkError, match="not a text file; check that it is the right file"):
        files.read_text(file, LandmarkError)
