"""Images out: exact round trips, losses that are told, and nothing left half-written."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from anatomark.data import Image
from anatomark.errors import LossWarning, UsageError, WriteError
from anatomark.geometry import Grid
from anatomark.io.images.reading import read_image, write_image

VOLUMES = [".nii", ".nii.gz", ".nrrd", ".mha"]


def volume(grid: Grid, dtype: Any = np.int16) -> Image:
    array = np.random.default_rng(2).integers(0, 120, grid.shape).astype(dtype)
    return Image(array, grid)


def picture(*shape: int, dtype: Any = np.uint8) -> Image:
    array = np.random.default_rng(2).integers(0, 120, shape).astype(dtype)
    return Image(array, Grid(shape[-2:], unit="px"))


# -- round trips -----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", VOLUMES)
@given(seed=st.integers(0, 1000), dimension=st.sampled_from([2, 3]))
def test_an_oblique_left_or_right_handed_grid_comes_back(
    suffix: str,
    seed: int,
    dimension: int,
    make_grid: Callable[..., Grid],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    image = volume(make_grid(seed, dimension))
    path = tmp_path_factory.mktemp("round") / f"image{suffix}"

    write_image(image, path)
    back = read_image(path)

    np.testing.assert_array_equal(back.array, image.array)
    # NIfTI keeps float32 (a part in 10 million); the others keep every digit.
    apart = np.abs(back.grid.corners() - image.grid.corners()).max()
    assert apart <= (1e-4 if suffix.startswith(".nii") else 1e-9)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_a_sheared_grid_comes_back(
    suffix: str, tmp_path: Path, make_grid: Callable[..., Grid]
) -> None:
    image = volume(make_grid(4, 3, sheared=True))
    write_image(image, tmp_path / f"tilted{suffix}")
    assert read_image(tmp_path / f"tilted{suffix}").grid.same_as(image.grid, tolerance=1e-9)


def test_simpleitk_reads_what_was_written_to_the_same_place(
    tmp_path: Path, make_grid: Callable[..., Grid]
) -> None:
    image = volume(make_grid(7, 3))
    for suffix in VOLUMES:
        path = tmp_path / f"image{suffix}"
        write_image(image, path)
        judge = sitk.ReadImage(str(path))
        for index in [(0, 0, 0), (1, 2, 3), (4, 0, 2)]:
            expected = judge.TransformIndexToPhysicalPoint(index)
            np.testing.assert_allclose(image.grid.to_world(np.array(index)), expected, atol=1e-4)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "int64",
                                   "uint64", "float32", "float64", ">i2", ">f4"])  # fmt: skip
@pytest.mark.parametrize("suffix", VOLUMES)
def test_every_voxel_type_comes_back(
    suffix: str, dtype: str, tmp_path: Path, make_grid: Callable[..., Grid]
) -> None:
    image = volume(make_grid(0, 3), dtype)
    write_image(image, tmp_path / f"image{suffix}")
    back = read_image(tmp_path / f"image{suffix}")

    assert back.array.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(back.array, image.array)


def test_bool_and_float16_are_widened_without_loss(
    tmp_path: Path, make_grid: Callable[..., Grid]
) -> None:
    grid = make_grid(1, 3)
    for given_type, stored in ((bool, np.uint8), (np.float16, np.float32)):
        image = volume(grid, given_type)
        write_image(image, tmp_path / "image.nrrd")
        back = read_image(tmp_path / "image.nrrd")
        assert back.array.dtype == stored
        np.testing.assert_array_equal(back.array, image.array)


@pytest.mark.parametrize("suffix", VOLUMES)
@pytest.mark.parametrize("dimension", [2, 3])
def test_channels_and_non_contiguous_arrays_come_back(
    suffix: str, dimension: int, tmp_path: Path, make_grid: Callable[..., Grid]
) -> None:
    grid = make_grid(2, dimension)
    field = np.random.default_rng(0).normal(size=(*grid.shape, 3)).astype(np.float32)
    image = Image(np.moveaxis(field, -1, 0), grid)
    write_image(image, tmp_path / f"field{suffix}")
    np.testing.assert_array_equal(read_image(tmp_path / f"field{suffix}").array, image.array)


@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [(".png", "uint8"), (".png", "uint16"), (".bmp", "uint8"), (".tif", "uint16"),
     (".tiff", "float32"), (".tif", "int16")],
)  # fmt: skip
def test_pictures_in_pixels_come_back_without_a_warning(
    suffix: str, dtype: str, tmp_path: Path
) -> None:
    image = picture(7, 9, dtype=dtype)
    write_image(image, tmp_path / f"xray{suffix}")
    back = read_image(tmp_path / f"xray{suffix}")

    assert back.grid == image.grid
    assert back.array.dtype == dtype
    np.testing.assert_array_equal(back.array, image.array)


def test_a_colour_picture_is_written_as_one(tmp_path: Path) -> None:
    image = picture(3, 5, 6)
    write_image(image, tmp_path / "overlay.png")
    stored = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "overlay.png")))
    np.testing.assert_array_equal(np.moveaxis(stored, -1, 0), image.array)


# -- what a format cannot hold ---------------------------------------------------------------------


def test_a_picture_that_loses_its_place_says_so(tmp_path: Path) -> None:
    image = Image(picture(5, 6).array, Grid((5, 6), spacing=(0.3, 0.4), origin=(10, 20)))
    with pytest.warns(LossWarning, match=r"xray\.png: .*spacing \[0.3, 0.4\] mm, origin \[10.0,"):
        write_image(image, tmp_path / "xray.png")
    again = read_image(tmp_path / "xray.png", spacing=(0.3, 0.4))
    np.testing.assert_array_equal(again.array, image.array)


def test_a_picture_in_pixels_says_that_a_volume_format_makes_them_millimetres(
    tmp_path: Path,
) -> None:
    with pytest.warns(LossWarning, match="cannot say that its unit is pixels"):
        write_image(picture(5, 6), tmp_path / "xray.nrrd")
    assert read_image(tmp_path / "xray.nrrd").grid.unit == "mm"


def test_jpeg_says_that_it_changes_values(tmp_path: Path) -> None:
    with pytest.warns(LossWarning, match="changes the values"):
        write_image(picture(5, 6), tmp_path / "xray.jpg")


@pytest.mark.parametrize(
    ("name", "make", "problem"),
    [
        ("a.png", lambda: picture(5, 6, dtype="float32"), "float32 voxels; .*uint16 or uint8"),
        ("a.png", lambda: picture(5, 6, dtype="int16"), "int16 voxels"),
        ("a.jpg", lambda: picture(5, 6, dtype="uint16"), "uint16 voxels"),
        ("a.bmp", lambda: picture(5, 6, dtype="uint16"), "uint16 voxels"),
        ("a.tif", lambda: picture(5, 6, dtype="float64"), "float64 voxels"),
        ("a.nrrd", lambda: picture(5, 6, dtype="complex64"), "complex64 voxels"),
        ("a.png", lambda: picture(2, 5, 6), "2 channels"),
        ("a.png", lambda: volume(Grid((3, 4, 5), spacing=(1, 1, 1)), "uint8"), "not a volume"),
        ("a.mhd", lambda: picture(5, 6), r"two files.*write \.mha"),
        ("a.nhdr", lambda: picture(5, 6), r"two files.*write \.nrrd"),
        ("a.dcm", lambda: picture(5, 6), "cannot have the extension '.dcm'"),
        ("a", lambda: picture(5, 6), "needs an extension"),
    ],
)
def test_what_cannot_be_held_is_refused_and_nothing_written(
    name: str, make: Callable[[], Image], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=problem):
        write_image(make(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_refuses_a_sheared_or_too_long_grid(
    suffix: str, tmp_path: Path, make_grid: Callable[..., Grid]
) -> None:
    with pytest.raises(UsageError, match=r"sheared grid .*\.nrrd or \.mha"):
        write_image(volume(make_grid(4, 3, sheared=True)), tmp_path / f"a{suffix}")
    with pytest.raises(UsageError, match="at most 32767 voxels"):
        write_image(volume(Grid((1, 1, 40000), spacing=(1, 1, 1))), tmp_path / f"a{suffix}")


# -- whole or not at all ---------------------------------------------------------------------------

FULL = """
import resource, sys, numpy as np
from anatomark.data import Image
from anatomark.errors import WriteError
from anatomark.geometry import Grid
from anatomark.io.images.reading import write_image
array = np.random.default_rng(0).integers(0, 255, (32, 64, 64)).astype(np.uint8)
image = Image(array, Grid(array.shape, spacing=(1, 1, 1)))
flat = Image(array[0], Grid(array.shape[1:], unit="px"))
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
for path in sys.argv[1:]:
    try:
        write_image(flat if path.endswith((".png", ".tif", ".bmp")) else image, path)
    except WriteError as error:
        print(error)
"""


def test_a_disk_that_takes_no_more_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    """The limit on the file size stands for a full disk, which a test cannot make."""
    assert resource.RLIMIT_FSIZE
    names = [f"image{s}" for s in (*VOLUMES, ".png", ".tif", ".bmp")]
    for name in names:
        (tmp_path / name).write_text("old")

    done = subprocess.run(
        [sys.executable, "-c", FULL, *(str(tmp_path / name) for name in names)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stderr == ""
    for line, name in zip(done.stdout.splitlines(), names, strict=True):
        assert line.startswith(f"{tmp_path / name}: cannot be written: ")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names)
    assert all((tmp_path / name).read_text() == "old" for name in names)


def test_a_path_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder.nrrd").mkdir()
    with pytest.raises(WriteError, match="cannot be written: "):
        write_image(volume(Grid((2, 3, 4), spacing=(1, 1, 1))), tmp_path / "file" / "image.nrrd")
    with pytest.raises(WriteError, match="it is a folder"):
        write_image(volume(Grid((2, 3, 4), spacing=(1, 1, 1))), tmp_path / "folder.nrrd")
