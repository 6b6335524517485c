"""NIfTI headers that SimpleITK reads wrong in silence, or not at all."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from anatomark.errors import ImageError, ImageWarning
from anatomark.io.images import nifti
from anatomark.io.images.reading import read_grid, read_image

ARRAY = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
PIXDIM, VOX_OFFSET, UNITS, CODES, QUATERN, QOFFSET, SFORM = 80, 108, 123, 252, 256, 268, 280
DIM, DATATYPE, SLOPE, QFAC = 40, 70, 112, 76
LPS = np.array([-1.0, -1.0, 1.0])


@pytest.fixture
def patched(tmp_path: Path) -> Callable[..., Path]:
    """Write a NIfTI of spacing 0.5, 0.7, 2 with some header bytes replaced."""

    def patch(*edits: tuple[int, str, Any]) -> Path:
        picture = sitk.GetImageFromArray(ARRAY)
        picture.SetSpacing((0.5, 0.75, 2.0))
        picture.SetOrigin((1.0, 2.0, 3.0))
        path = tmp_path / "image.nii"
        sitk.WriteImage(picture, str(path))
        data = bytearray(path.read_bytes())
        for offset, form, value in edits:
            struct.pack_into(f"<{form}", data, offset, *np.ravel(value).tolist())
        path.write_bytes(data)
        return path

    return patch


@pytest.mark.parametrize("wrong", [0.0, -0.5, np.nan, np.inf])
def test_a_spacing_that_is_not_positive_is_refused(
    wrong: float, patched: Callable[..., Path]
) -> None:
    path = patched((PIXDIM, "f", wrong))
    for reader in (read_image, read_grid):
        with pytest.raises(ImageError, match=r"image\.nii: the spacing must be positive"):
            reader(path)


@pytest.mark.parametrize("codes", [(0, 1), (1, 1), (0, 2)])
def test_a_singular_or_infinite_direction_is_refused(
    codes: tuple[int, int], patched: Callable[..., Path]
) -> None:
    flat = [1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2, 0]
    with pytest.raises(ImageError, match="singular"):
        read_grid(patched((SFORM, "12f", flat), (CODES, "2h", (0, codes[1]))))
    with pytest.raises(ImageError, match="sform is not finite"):
        read_grid(patched((SFORM, "f", np.nan), (CODES, "2h", codes)))


@pytest.mark.parametrize(("code", "factor"), [(0, 1), (1, 1000), (2, 1), (3, 1e-3)])
def test_units_are_turned_into_millimetres(
    code: int, factor: float, patched: Callable[..., Path]
) -> None:
    grid = read_grid(patched((UNITS, "B", code | 8)))
    np.testing.assert_allclose(grid.spacing, np.array([0.5, 0.75, 2.0]) * factor)
    np.testing.assert_allclose(grid.origin, np.array([1.0, 2.0, 3.0]) * factor)


def test_an_unknown_unit_is_refused(patched: Callable[..., Path]) -> None:
    with pytest.raises(ImageError, match="unit of length"):
        read_grid(patched((UNITS, "B", 5)))


def test_a_sheared_sform_is_read_exactly_where_it_stands_alone(
    patched: Callable[..., Path],
) -> None:
    sform = np.array([[0.5, 0.2, 0, -10], [0, 0.75, 0.1, 20], [0, 0, 2, 30]], np.float32)
    path = patched((SFORM, "12f", sform), (CODES, "2h", (0, 2)))

    image = read_image(path)

    np.testing.assert_array_equal(image.array, ARRAY)
    for index in [(0, 0, 0), (1, 2, 3), (5, 4, 3)]:
        by_hand = (sform @ [*index, 1]) * LPS  # the header's words: RAS = sform · (i, j, k, 1)
        np.testing.assert_allclose(image.grid.to_world(np.array(index)), by_hand, atol=1e-5)


def test_the_sform_has_the_last_word_on_the_spacing(patched: Callable[..., Path]) -> None:
    sform = np.array([[3, 0, 0, 5], [0, 3, 0, 6], [0, 0, 3, 7]])
    grid = read_grid(patched((SFORM, "12f", sform), (CODES, "2h", (0, 1))))
    assert grid.spacing.tolist() == [3, 3, 3]
    assert grid.to_world((1, 1, 1)).tolist() == [-8, -9, 10]


@pytest.mark.parametrize("qfac", [1, -1])
@pytest.mark.parametrize("seed", range(5))
def test_the_qform_is_read_as_the_standard_says(
    seed: int, qfac: int, patched: Callable[..., Path]
) -> None:
    rotation = Rotation.random(rng=np.random.default_rng(seed))
    quaternion = rotation.as_quat(canonical=True)
    path = patched(
        (QUATERN, "3f", quaternion[:3]), (QOFFSET, "3f", (4, 5, 6)), (QFAC, "f", qfac),
        (CODES, "2h", (1, 0)),
    )  # fmt: skip

    grid = read_grid(path)

    judge = sitk.ReadImage(str(path))
    for index in [(0, 0, 0), (5, 4, 3)]:
        step = np.array([0.5, 0.75, 2.0 * qfac]) * index
        by_hand = (rotation.as_matrix() @ step + [4, 5, 6]) * LPS
        np.testing.assert_allclose(grid.to_world(np.array(index)), by_hand, atol=1e-5)
        expected = judge.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(grid.to_world(np.array(index)), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("sform_code", "used", "origin"), [(1, "sform", [-9, -9, 9]), (2, "qform", [1, 2, 3])]
)
def test_sform_and_qform_that_differ_are_chosen_between_as_itk_does_and_reported(
    sform_code: int, used: str, origin: list[float], patched: Callable[..., Path]
) -> None:
    sform = [0.5, 0, 0, 9, 0, 0.75, 0, 9, 0, 0, 2, 9]
    path = patched((SFORM, "12f", sform), (CODES, "2h", (1, sform_code)))

    with pytest.warns(ImageWarning, match=f"sform and qform .* the {used} is used"):
        grid = read_grid(path)

    assert grid.origin.tolist() == pytest.approx(origin)
    assert grid.origin.tolist() == pytest.approx(list(sitk.ReadImage(str(path)).GetOrigin()))


def test_the_sform_is_preferred_where_the_two_differ_by_rounding_only(tmp_path: Path) -> None:
    """Near half a turn a float32 quaternion is worth three digits, the sform seven."""
    rotation = Rotation.from_rotvec(np.array([0.6, 0.8, 0.0]) * (np.pi - 1e-4)).as_matrix()
    picture = sitk.GetImageFromArray(np.zeros((90, 90, 90), np.uint8))
    picture.SetDirection((rotation * [-1, -1, 1]).ravel().tolist())
    path = tmp_path / "image.nii"
    sitk.WriteImage(picture, str(path))
    data = bytearray(path.read_bytes())
    struct.pack_into("<2h", data, CODES, 1, 2)
    path.write_bytes(data)
    grid = read_grid(path)
    expected = picture.TransformIndexToPhysicalPoint((89, 89, 89))
    np.testing.assert_allclose(grid.to_world((89, 89, 89)), expected, atol=1e-4)


def test_a_file_without_orientation_is_read_with_a_warning(patched: Callable[..., Path]) -> None:
    path = patched((CODES, "2h", (0, 0)))
    with pytest.warns(ImageWarning, match="has no orientation"):
        grid = read_grid(path)
    assert grid.to_world((1, 1, 1)).tolist() == pytest.approx([0.5, 0.75, 2.0])


def test_slope_and_intercept_are_applied(patched: Callable[..., Path]) -> None:
    image = read_image(patched((SLOPE, "2f", (2.0, -3.0))))
    np.testing.assert_array_equal(image.array, ARRAY * 2.0 - 3.0)


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        ((DIM, "h", 9), "gives 9 axes"),
        ((DIM, "4h", (3, 6, 0, 4)), r"image size \[6, 0, 4\]"),
        ((DIM, "4h", (3, 6, -5, 4)), r"image size \[6, -5, 4\]"),
        ((DIM, "4h", (3, 30000, 30000, 30000)), "cut off: 240 of 54000000000000 bytes"),
        ((DATATYPE, "h", 99), "datatype 99"),
        ((VOX_OFFSET, "f", 20000), "cut off"),
        ((VOX_OFFSET, "f", np.nan), "vox_offset is not finite"),
        ((344, "4s", [b"ni1\0"]), r"convert \.hdr and \.img"),
    ],
)
def test_an_impossible_header_is_refused(
    edit: tuple[int, str, Any], problem: str, patched: Callable[..., Path]
) -> None:
    with pytest.raises(ImageError, match=problem):
        read_image(patched(edit))


def test_a_2d_image_of_another_plane_is_refused(patched: Callable[..., Path]) -> None:
    upright = [0, 0.5, 0, 0, 0, 0, 2, 0, 0.75, 0, 0, 0]
    path = patched((DIM, "4h", (2, 6, 5, 1)), (SFORM, "12f", upright), (CODES, "2h", (0, 1)))
    with pytest.raises(ImageError, match="not the x-y plane; store it as a 3D image"):
        read_grid(path)


def test_big_endian_files_are_read(tmp_path: Path) -> None:
    header = bytearray(352)
    struct.pack_into(">i", header, 0, 348)
    struct.pack_into(">8h", header, DIM, 3, 6, 5, 4, 1, 1, 1, 1)
    struct.pack_into(">2h", header, DATATYPE, 4, 16)
    struct.pack_into(">4f", header, QFAC, 1, 0.5, 0.75, 2)
    struct.pack_into(">f", header, VOX_OFFSET, 352)
    struct.pack_into(">2h", header, CODES, 0, 1)
    struct.pack_into(">12f", header, SFORM, *[0.5, 0, 0, 1, 0, 0.75, 0, 2, 0, 0, 2, 3])
    header[344:348] = b"n+1\0"
    path = tmp_path / "image.nii"
    path.write_bytes(bytes(header) + ARRAY.astype(">i2").tobytes())

    image = read_image(path)

    np.testing.assert_array_equal(image.array, ARRAY)
    assert image.grid.origin.tolist() == [-1, -2, 3]


def test_nifti_2_and_misnamed_compression_are_told_apart(
    tmp_path: Path, patched: Callable[..., Path]
) -> None:
    data = patched().read_bytes()
    second, packed, loose = (tmp_path / n for n in ("second.nii", "packed.nii", "loose.nii.gz"))
    second.write_bytes(struct.pack("<i", 540) + bytes(600))
    packed.write_bytes(gzip.compress(data))
    loose.write_bytes(data)

    with pytest.raises(ImageError, match="is a NIfTI-2 file; convert it"):
        read_image(second)
    with pytest.raises(ImageError, match=r"compressed\); rename it to \.nii\.gz"):
        read_image(packed)
    np.testing.assert_array_equal(read_image(loose).array, ARRAY)


def test_a_damaged_or_cut_off_gzip_is_refused(tmp_path: Path, patched: Callable[..., Path]) -> None:
    packed = gzip.compress(patched().read_bytes())
    path = tmp_path / "image.nii.gz"
    for cut in (1, 8, 20, len(packed) // 2):
        path.write_bytes(packed[:-cut])
        with pytest.raises(ImageError, match="cut off|not a whole"):
            read_image(path)
    half = len(packed) // 2
    path.write_bytes(packed[:half] + bytes([packed[half] ^ 255]) + packed[half + 1 :])
    with pytest.raises(ImageError, match="cannot be read|damaged|cut off"):
        read_image(path)


def test_a_file_of_several_gzip_members_is_read(
    tmp_path: Path, patched: Callable[..., Path]
) -> None:
    data = patched().read_bytes()
    path = tmp_path / "image.nii.gz"
    path.write_bytes(gzip.compress(data[:400]) + gzip.compress(data[400:]))
    np.testing.assert_array_equal(read_image(path).array, ARRAY)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_voxels_that_are_no_numbers_are_not_zero(suffix: str, dtype: str, tmp_path: Path) -> None:
    """ITK reads NaN and infinity in a NIfTI file as 0 and says nothing."""
    array = np.arange(60, dtype=dtype).reshape(3, 4, 5)
    array[1, 2, 3], array[0, 0, 1] = np.nan, -np.inf
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    with pytest.raises(ImageError, match="2 of 60 voxels are NaN or infinite"):
        read_image(path)
    mended = read_image(path, nonfinite=-1).array
    assert mended.dtype == dtype
    np.testing.assert_array_equal(mended, np.where(np.isfinite(array), array, -1))


def test_real_voxels_agree_with_simpleitk_in_every_byte_order_and_scale(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(3, 4, 5)).astype("f4")
    path = tmp_path / "a.nii"
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    data = bytearray(path.read_bytes())
    struct.pack_into("<2f", data, SLOPE, 2.5, -3.0)
    path.write_bytes(data)
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    np.testing.assert_allclose(read_image(path).array, expected, rtol=1e-6)
    np.testing.assert_allclose(expected, array * 2.5 - 3, rtol=1e-5)
    header = np.frombuffer(bytes(data[:348]), np.dtype(nifti.HEADER).newbyteorder("<"))
    swapped = header.astype(np.dtype(nifti.HEADER).newbyteorder(">")).tobytes()
    big = bytearray(data)
    big[:348] = swapped
    big[352:] = array.astype(">f4").tobytes()
    path.write_bytes(big)
    np.testing.assert_allclose(read_image(path).array, array * 2.5 - 3, rtol=1e-5)


def test_a_twin_beside_it_is_not_read_in_its_place(tmp_path: Path) -> None:
    """For ``case.nii.gz`` ITK takes the voxels of ``case.nii`` where that lies beside it."""
    for name, value in (("case.nii", 100), ("case.nii.gz", 0)):
        sitk.WriteImage(sitk.GetImageFromArray(ARRAY + value), str(tmp_path / name))
    np.testing.assert_array_equal(read_image(tmp_path / "case.nii.gz").array, ARRAY)
    np.testing.assert_array_equal(read_image(tmp_path / "case.nii").array, ARRAY + 100)
