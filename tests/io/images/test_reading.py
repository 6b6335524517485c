"""Images in: every format gives z, y, x arrays, LPS grids and one clear error where it cannot."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from anatomark.data import Image
from anatomark.errors import AnatomarkError, ImageError, ImageWarning, UsageError
from anatomark.geometry import Grid
from anatomark.io.images.reading import read_grid, read_image, read_mask

VOLUMES = [".nii", ".nii.gz", ".nrrd", ".nhdr", ".seg.nrrd", ".mha", ".mhd"]
PICTURES = [".png", ".bmp", ".tif", ".tiff"]


def values(*shape: int, dtype: type = np.int16) -> Any:
    return np.random.default_rng(1).integers(0, 200, shape).astype(dtype)


def save(path: Path, array: Any, *, vector: bool = False, grid: Grid | None = None) -> Path:
    """Write with SimpleITK alone, so that our own writer proves nothing here."""
    picture = sitk.GetImageFromArray(array, isVector=vector)
    if grid is not None:
        picture.SetSpacing(grid.spacing.tolist())
        picture.SetOrigin(grid.origin.tolist())
        picture.SetDirection(grid.direction.ravel().tolist())
    sitk.WriteImage(picture, str(path))
    return path


# -- geometry: SimpleITK is the judge --------------------------------------------------------------


@pytest.mark.parametrize("suffix", VOLUMES)
@pytest.mark.parametrize("seed", range(4))
def test_every_voxel_of_an_oblique_volume_is_where_simpleitk_says(
    suffix: str, seed: int, tmp_path: Path, make_grid: Callable[..., Grid]
) -> None:
    grid = make_grid(seed, 3)
    path = save(tmp_path / f"image{suffix}", values(*grid.shape), grid=grid)

    image = read_image(path)

    judge = sitk.ReadImage(str(path))
    for index in np.ndindex(*grid.size_xyz):
        expected = judge.TransformIndexToPhysicalPoint(tuple(map(int, index)))
        np.testing.assert_allclose(image.grid.to_world(np.array(index)), expected, atol=1e-5)
        assert image.array[index[::-1]] == judge[tuple(map(int, index))]
    assert read_grid(path) == image.grid
    assert image.grid.unit == "mm"


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_a_2d_image_with_spacing_is_2d_and_in_mm(
    suffix: str, tmp_path: Path, make_grid: Callable[..., Grid]
) -> None:
    grid = make_grid(3, 2)
    image = read_image(save(tmp_path / f"image{suffix}", values(*grid.shape), grid=grid))

    assert image.grid.same_as(grid, tolerance=1e-4)
    assert image.array.shape == grid.shape


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_one_slice_of_a_volume_stays_a_volume(suffix: str, tmp_path: Path) -> None:
    assert read_grid(save(tmp_path / f"slice{suffix}", values(1, 5, 6))).shape == (1, 5, 6)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_a_fourth_axis_of_one_volume_is_dropped_and_of_two_is_refused(
    suffix: str, tmp_path: Path
) -> None:
    one, two = tmp_path / f"one{suffix}", tmp_path / f"two{suffix}"
    volume = sitk.GetImageFromArray(values(4, 5, 6))
    sitk.WriteImage(sitk.JoinSeries([volume]), str(one))
    sitk.WriteImage(sitk.JoinSeries([volume, volume]), str(two))

    assert read_image(one).array.shape == (4, 5, 6)
    for reader in (read_image, read_grid):
        with pytest.raises(ImageError, match=r"has 4 axes: 2 volumes of 6 × 5 × 4; save the one"):
            reader(two)


# -- values ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]
)
@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha", ".mhd"])
def test_the_voxel_type_is_kept(suffix: str, dtype: str, tmp_path: Path) -> None:
    array = values(3, 4, 5).astype(dtype)
    image = read_image(save(tmp_path / f"image{suffix}", array))

    assert image.array.dtype == dtype
    np.testing.assert_array_equal(image.array, array)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_channels_come_first(suffix: str, tmp_path: Path) -> None:
    stored = np.random.default_rng(0).normal(size=(3, 4, 5, 2)).astype(np.float32)
    image = read_image(save(tmp_path / f"field{suffix}", stored, vector=True))

    assert image.channels == 2
    for channel in range(2):
        np.testing.assert_array_equal(image.array[channel], stored[..., channel])


@pytest.mark.parametrize("suffix", PICTURES)
def test_a_grey_picture_is_2d_and_its_unit_is_the_pixel(suffix: str, tmp_path: Path) -> None:
    array = values(6, 9, dtype=np.uint8)
    path = save(tmp_path / f"xray{suffix}", array)

    image = read_image(path)

    np.testing.assert_array_equal(image.array, array)
    assert image.grid == read_grid(path) == Grid((6, 9), unit="px")


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_stay_16_bits(suffix: str, tmp_path: Path) -> None:
    array = np.array([[0, 1, 255], [256, 40000, 65535]], np.uint16)
    image = read_image(save(tmp_path / f"ct{suffix}", array))

    assert image.array.dtype == np.uint16
    np.testing.assert_array_equal(image.array, array)


def test_a_negative_tiff_is_turned_into_a_positive(tmp_path: Path) -> None:
    path = save(tmp_path / "film.tif", np.array([[0, 10], [200, 255]], np.uint8))
    data = bytearray(path.read_bytes())
    entry = data.index(struct.pack("<HHIH", 262, 3, 1, 1))
    struct.pack_into("<H", data, entry + 8, 0)  # photometric interpretation: 0 is white
    path.write_bytes(data)

    assert read_image(path).array.tolist() == [[255, 245], [55, 0]]


# -- spacing ---------------------------------------------------------------------------------------


def test_a_spacing_given_turns_pixels_into_millimetres(tmp_path: Path) -> None:
    path = save(tmp_path / "xray.png", values(6, 9, dtype=np.uint8))

    for reading in (read_image(path, spacing=(0.1, 0.2)).grid, read_grid(path, spacing=(0.1, 0.2))):
        assert reading == Grid((6, 9), spacing=(0.1, 0.2))
        assert reading.to_world((8, 5)).tolist() == pytest.approx([0.8, 1.0])
    assert read_grid(path, spacing=0.3) == Grid((6, 9), spacing=(0.3, 0.3))


def test_a_spacing_that_contradicts_the_file_is_used_with_a_warning(tmp_path: Path) -> None:
    grid = Grid((3, 4, 5), spacing=(1, 2, 3), origin=(7, 8, 9))
    path = save(tmp_path / "image.nrrd", values(3, 4, 5), grid=grid)

    with pytest.warns(ImageWarning, match=r"image\.nrrd: the spacing \[1.0, 2.0, 4.0\] was given"):
        changed = read_grid(path, spacing=(1, 2, 4))
    assert changed == Grid((3, 4, 5), spacing=(1, 2, 4), origin=(7, 8, 9))
    assert read_grid(path, spacing=(1, 2, 3)) == grid  # no warning


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), (1, 2, 3), (1, 0), "abc", (), [[1, 2]]])
def test_a_spacing_that_makes_no_sense_is_refused(wrong: Any, tmp_path: Path) -> None:
    path = save(tmp_path / "xray.png", values(6, 9, dtype=np.uint8))
    with pytest.raises(UsageError, match=r"xray\.png: the spacing .* give one positive number"):
        read_image(path, spacing=wrong)


# -- colour ----------------------------------------------------------------------------------------


def test_equal_channels_become_one_without_asking(tmp_path: Path) -> None:
    grey = values(6, 9, dtype=np.uint8)
    path = save(tmp_path / "xray.png", np.stack([grey] * 3, axis=-1), vector=True)
    np.testing.assert_array_equal(read_image(path).array, grey)


def test_a_colour_picture_is_refused_unless_grey_is_asked_for(tmp_path: Path) -> None:
    colours = np.zeros((2, 2, 3), np.uint8)
    colours[0, 0] = (255, 0, 0)
    path = save(tmp_path / "photo.png", colours, vector=True)

    with pytest.raises(UsageError, match=r"photo\.png: is in colour.*--grey"):
        read_image(path)
    assert read_image(path, grey=True).array.tolist() == [[76, 0], [0, 0]]  # 0.299 * 255 = 76.2


def test_grey_stored_as_a_colour_jpeg_counts_as_grey(tmp_path: Path) -> None:
    grey = np.add.outer(np.arange(40) * 3, np.arange(50)).astype(np.uint8)
    path = save(tmp_path / "xray.jpg", np.stack([grey] * 3, axis=-1), vector=True)

    image = read_image(path)

    assert image.array.shape == (40, 50)
    assert np.abs(image.array.astype(int) - grey).max() <= 6  # JPEG is lossy


# -- values that cannot be meant -------------------------------------------------------------------


def test_nan_and_infinity_are_counted_and_replaced_only_on_request(tmp_path: Path) -> None:
    array = values(3, 4, 5).astype(np.float32)
    array[0, 0, 0], array[1, 1, 1], array[2, 2, 2] = np.nan, np.inf, -np.inf
    path = save(tmp_path / "image.nrrd", array)

    with pytest.raises(ImageError, match=r"3 of 60 voxels are NaN or infinite; .*nonfinite=0"):
        read_image(path)
    repaired = read_image(path, nonfinite=-1)
    assert repaired.array[[0, 1, 2], [0, 1, 2], [0, 1, 2]].tolist() == [-1, -1, -1]
    assert repaired.array.dtype == np.float32
    with pytest.raises(UsageError, match="finite"):
        read_image(path, nonfinite=float("nan"))


def test_an_image_of_one_value_is_refused_unless_allowed(tmp_path: Path) -> None:
    path = save(tmp_path / "blank.nii.gz", np.full((3, 4, 5), 7, np.int16))

    with pytest.raises(ImageError, match=r"blank\.nii\.gz: every voxel is 7; .*constant_ok"):
        read_image(path)
    assert (read_image(path, constant_ok=True).array == 7).all()


def test_complex_voxels_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "raw.nrrd", values(3, 4, 5).astype(np.complex64))
    with pytest.raises(ImageError, match=r"raw\.nrrd: has complex voxels; save their magnitude"):
        read_image(path)


# -- masks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32", "float64"])
def test_a_mask_keeps_its_labels_and_is_uint8_where_they_fit(dtype: str, tmp_path: Path) -> None:
    labels = np.array([[[0, 1, 2], [255, 7, 0]]], dtype)
    mask = read_mask(save(tmp_path / "mask.nrrd", labels))

    assert mask.array.dtype == np.uint8
    np.testing.assert_array_equal(mask.array, labels)


def test_a_mask_may_be_empty_or_have_many_labels(tmp_path: Path) -> None:
    empty = read_mask(save(tmp_path / "empty.nii.gz", np.zeros((3, 4, 5), np.uint8)))
    many = read_mask(save(tmp_path / "many.nii.gz", np.full((3, 4, 5), 300, np.int16)))

    assert not empty.array.any()
    assert many.array.dtype == np.uint16
    assert (many.array == 300).all()


@pytest.mark.parametrize("wrong", [-1, 0.5, 70000, np.nan])
def test_a_mask_holds_whole_numbers_from_zero(wrong: float, tmp_path: Path) -> None:
    array = np.array([[[0, 1, wrong]]], np.float32)
    with pytest.raises(ImageError, match=r"mask\.nrrd: a mask holds whole numbers"):
        read_mask(save(tmp_path / "mask.nrrd", array))


def test_a_mask_is_neither_jpeg_nor_in_colour_nor_in_layers(tmp_path: Path) -> None:
    picture = save(tmp_path / "mask.jpg", values(20, 20, dtype=np.uint8))
    colours = save(tmp_path / "mask.png", values(5, 6, 3, dtype=np.uint8), vector=True)
    layers = save(tmp_path / "mask.seg.nrrd", values(4, 5, 6, 2, dtype=np.uint8), vector=True)

    for path, problem in ((picture, "JPEG"), (colours, "in colour"), (layers, "overlap")):
        with pytest.raises(AnatomarkError, match=problem):
            read_mask(path)


# -- real data -------------------------------------------------------------------------------------


@pytest.mark.realdata
def test_the_public_sets_read_without_a_warning(real_data: Path) -> None:
    xray = read_image(real_data / "ceph" / "images" / "001.jpg", spacing=0.3)
    skull = read_image(next((real_data / "mouse_skull_ct").glob("*.nii.gz")))
    ct = read_image(real_data / "ct_slices" / "ct_001.png", spacing=1)

    assert (xray.grid.shape, xray.array.dtype) == ((800, 645), np.uint8)
    assert skull.grid.orientation == "LPS"
    assert ct.array.dtype == np.uint16
    assert isinstance(ct, Image)
