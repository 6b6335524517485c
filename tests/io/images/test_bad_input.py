"""Bad image files: one clear error that names the file, never a traceback, never a wrong image."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from anatomark.errors import AnatomarkError, ImageError, ImageWarning, UsageError
from anatomark.io.images.reading import IMAGE_SUFFIXES, read_grid, read_image, read_mask


def values(*shape: int, dtype: type = np.int16) -> Any:
    return np.random.default_rng(1).integers(0, 200, shape).astype(dtype)


def save(path: Path, array: Any) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    return path


WHOLE = {
    ".nii": np.int16, ".nii.gz": np.int16, ".nrrd": np.int16, ".mha": np.int16, ".png": np.uint16,
    ".jpg": np.uint8, ".bmp": np.uint8, ".tif": np.uint16,
}  # fmt: skip


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One sound file of each format."""
    folder = tmp_path_factory.mktemp("whole")
    return {
        s: save(
            folder / f"whole{s}", values(*((9, 30, 31) if k == np.int16 else (60, 61)), dtype=k)
        )
        for s, k in WHOLE.items()
    }


@given(suffix=st.sampled_from(sorted(WHOLE)), part=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_off_anywhere_is_refused_and_never_read_wrong(
    suffix: str, part: float, whole_files: dict[str, Path]
) -> None:
    data = whole_files[suffix].read_bytes()
    path = whole_files[suffix].with_name(f"cut{suffix}")
    path.write_bytes(data[: int(part * len(data))])
    try:
        image = read_image(path)
    except (AnatomarkError, ImageWarning) as error:  # warnings are errors here
        assert str(path) in str(error)
        assert "\n" not in str(error)
    else:  # only padding behind the last pixel was lost
        np.testing.assert_array_equal(image.array, read_image(whole_files[suffix]).array)


@given(suffix=st.sampled_from(sorted({*IMAGE_SUFFIXES, ""})), data=st.binary(max_size=600))
def test_garbage_of_any_name_is_refused(
    suffix: str, data: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("garbage") / f"garbage{suffix}"
    path.write_bytes(data)
    for reader in (read_image, read_mask, read_grid):
        with pytest.raises(AnatomarkError, match="garbage"):
            reader(path)


@pytest.mark.parametrize("suffix", sorted(WHOLE))
def test_a_damaged_header_never_ends_in_a_traceback(
    suffix: str, whole_files: dict[str, Path]
) -> None:
    data = whole_files[suffix].read_bytes()
    path = whole_files[suffix].with_name(f"damaged{suffix}")
    rng = np.random.default_rng(0)
    for _ in range(25):
        changed = bytearray(data)
        changed[rng.integers(min(len(data), 348))] = rng.integers(256)
        path.write_bytes(changed)
        try:
            read_image(path, constant_ok=True, nonfinite=0, grey=True)
        except (AnatomarkError, ImageWarning):  # warnings are errors here
            pass


@pytest.mark.parametrize("suffix", [s for s in IMAGE_SUFFIXES if s != ".ome.tiff"])
def test_empty_text_and_missing_files_are_refused_by_name(suffix: str, tmp_path: Path) -> None:
    empty, text, missing = (tmp_path / f"{name}{suffix}" for name in ("empty", "text", "missing"))
    empty.touch()
    text.write_text("this is a shopping list\n" * 20)
    for path, problem in (
        (empty, "the file is empty"),
        (text, "is not a"),
        (missing, "cannot be read: no such file"),
    ):
        for reader in (read_image, read_mask, read_grid):
            with pytest.raises(ImageError, match=f"^{re.escape(str(path))}: {problem}"):
                reader(path)


def test_a_path_below_a_file_and_an_unknown_extension_are_refused(tmp_path: Path) -> None:
    file = save(tmp_path / "image.nrrd", values(3, 4, 5))
    with pytest.raises(ImageError, match="cannot be read: not a directory"):
        read_image(file / "image.nrrd")
    with pytest.raises(UsageError, match=r"extension '\.gif'; use one of \.nii"):
        read_image(file.rename(tmp_path / "image.gif"))
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(tmp_path / ("x" * 300 + ".nii"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "image.nrrd", values(3, 4, 5))
    path.chmod(0)
    with pytest.raises(ImageError, match="permission denied"):
        read_image(path)


def test_a_picture_with_the_name_of_another_format_is_read_by_its_content(tmp_path: Path) -> None:
    array = values(6, 9, dtype=np.uint8)
    path = save(tmp_path / "xray.png", array).rename(tmp_path / "xray.jpg")
    np.testing.assert_array_equal(read_image(path).array, array)


def test_a_series_is_only_for_dicom(tmp_path: Path) -> None:
    path = save(tmp_path / "image.nrrd", values(3, 4, 5))
    with pytest.raises(UsageError, match="this is not DICOM"):
        read_image(path, series="1")


# -- what else is printed --------------------------------------------------------------------------

READ = """
import json, sys, warnings
from anatomark.errors import AnatomarkError
from anatomark.io.images.reading import read_image
for path in sys.argv[1:]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            read_image(path)
            said = [str(w.message) for w in caught]
        except AnatomarkError as error:
            said = [str(error)]
    print(json.dumps(said))
"""


def test_nothing_is_printed_beside_the_one_clear_line(
    tmp_path: Path, whole_files: dict[str, Path]
) -> None:
    """The libraries below ITK print on stdout and stderr; none of it may come through."""
    broken = []
    for suffix, path in whole_files.items():
        data = path.read_bytes()
        broken.append(tmp_path / f"broken{suffix}")
        half = len(data) // 2
        zeros = data[:half] + bytes(range(200)) + data[half + 200 :]
        broken[-1].write_bytes(zeros if suffix in {".jpg", ".png"} else data[:half])

    done = subprocess.run(
        [sys.executable, "-c", READ, *map(str, broken)], capture_output=True, text=True, check=True
    )

    assert done.stderr == ""
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [len(said) for said in lines] == [1] * len(broken), lines
    for path, (said,) in zip(broken, lines, strict=True):
        assert str(path) in said
