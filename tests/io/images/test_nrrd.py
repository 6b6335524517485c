"""NRRD headers: units, frames, spacings that are none, data files elsewhere."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from anatomark.errors import ImageError, ImageWarning
from anatomark.geometry import Grid
from anatomark.io.images.reading import read_grid, read_image

ARRAY = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
HEADER = """NRRD0005
type: short
dimension: 3
space: left-posterior-superior
sizes: 6 5 4
space directions: (0.5,0,0) (0,0.75,0) (0,0,2)
kinds: domain domain domain
endian: little
encoding: raw
space origin: (1,2,3)
"""


@pytest.fixture
def nrrd(tmp_path: Path) -> Callable[..., Path]:
    """Write a NRRD with lines of the header replaced."""

    def write(*edits: tuple[str, str], data: bytes = ARRAY.tobytes()) -> Path:
        header = HEADER
        for old, new in edits:
            assert old in header
            header = header.replace(old, new)
        path = tmp_path / "image.nrrd"
        path.write_bytes(header.encode() + b"\n" + data)
        return path

    return write


def test_the_plain_header_is_read_as_it_stands(nrrd: Callable[..., Path]) -> None:
    image = read_image(nrrd())
    assert image.grid == Grid((4, 5, 6), spacing=(0.5, 0.75, 2), origin=(1, 2, 3))
    np.testing.assert_array_equal(image.array, ARRAY)


@pytest.mark.parametrize(
    ("space", "sign"),
    [
        ("right-anterior-superior", (-1, -1, 1)),
        ("RAS", (-1, -1, 1)),
        ("left-anterior-superior", (1, -1, 1)),
    ],
)
def test_other_anatomical_frames_become_lps(
    space: str, sign: tuple[int, ...], nrrd: Callable[..., Path]
) -> None:
    grid = read_grid(nrrd(("left-posterior-superior", space)))
    stored = np.array([1, 2, 3]) + np.array([0.5, 0.75, 2]) * [5, 4, 3]
    np.testing.assert_allclose(grid.to_world((5, 4, 3)), stored * sign)


def test_a_frame_that_is_not_anatomical_is_reported(nrrd: Callable[..., Path]) -> None:
    with pytest.warns(ImageWarning, match="'scanner-xyz' is not anatomical"):
        read_grid(nrrd(("left-posterior-superior", "scanner-xyz")))


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1), ("m", 1000), ("um", 1e-3), ("", 1)])
def test_units_are_turned_into_millimetres(
    unit: str, factor: float, nrrd: Callable[..., Path]
) -> None:
    units = " ".join([f'"{unit}"'] * 3)
    grid = read_grid(nrrd(("sizes:", f"space units: {units}\nsizes:")))
    np.testing.assert_allclose(grid.to_world((1, 1, 1)), np.array([1.5, 2.75, 5]) * factor)


@pytest.mark.parametrize("units", ['"inch" "inch" "inch"', '"mm" "m" "mm"'])
def test_unknown_or_mixed_units_are_refused(units: str, nrrd: Callable[..., Path]) -> None:
    with pytest.raises(ImageError, match="unit"):
        read_grid(nrrd(("sizes:", f"space units: {units}\nsizes:")))


PLAIN = [
    ("space: left-posterior-superior\n", ""),
    ("space origin: (1,2,3)\n", ""),
]
DIRECTIONS = "space directions: (0.5,0,0) (0,0.75,0) (0,0,2)"


@pytest.mark.parametrize("wrong", ["0", "-1", "nan", "inf"])
def test_a_spacing_that_is_not_positive_is_refused(wrong: str, nrrd: Callable[..., Path]) -> None:
    path = nrrd(*PLAIN, (DIRECTIONS, f"spacings: {wrong} 0.75 2"))
    for reader in (read_image, read_grid):
        with pytest.raises(ImageError, match=r"image\.nrrd: the spacing must be positive"):
            reader(path)


@pytest.mark.parametrize("vector", ["(0,0,0)", "(nan,nan,nan)", "(inf,0,0)", "(0,0.75,0)"])
def test_a_direction_that_is_none_is_refused(vector: str, nrrd: Callable[..., Path]) -> None:
    path = nrrd(("(0.5,0,0)", vector))
    for reader in (read_image, read_grid):
        with pytest.raises(ImageError, match=r"image\.nrrd: "):
            reader(path)


@pytest.mark.parametrize("spacing", ["", "spacings: nan nan nan\n"])
def test_a_file_without_spacing_is_in_pixels_until_it_is_given(
    spacing: str, nrrd: Callable[..., Path]
) -> None:
    path = nrrd(*PLAIN, (DIRECTIONS + "\n", spacing))
    assert read_grid(path) == Grid((4, 5, 6), unit="px")
    assert read_grid(path, spacing=(1, 2, 3)) == Grid((4, 5, 6), spacing=(1, 2, 3))


def test_an_axis_of_channels_needs_no_spacing(nrrd: Callable[..., Path]) -> None:
    path = nrrd(
        *PLAIN, (DIRECTIONS, "spacings: nan 0.5 0.75 2"), ("dimension: 3", "dimension: 4"),
        ("sizes: 6 5 4", "sizes: 2 6 5 4"), ("kinds: domain", "kinds: vector domain"),
        data=np.stack([ARRAY, -ARRAY], axis=-1).tobytes(),
    )  # fmt: skip
    image = read_image(path)
    assert image.grid == Grid((4, 5, 6), spacing=(0.5, 0.75, 2))
    np.testing.assert_array_equal(image.array, [ARRAY, -ARRAY])


def test_layers_of_vectors_have_no_spacing_of_their_own(
    tmp_path: Path, make_grid: Callable[..., Grid]
) -> None:
    grid = make_grid(1, 3)
    picture = sitk.GetImageFromArray(np.zeros((*grid.shape, 2), np.float32), isVector=True)
    picture.SetSpacing(grid.spacing.tolist())
    sitk.WriteImage(picture, str(tmp_path / "field.nrrd"))
    np.testing.assert_allclose(read_grid(tmp_path / "field.nrrd").spacing, grid.spacing)


def test_a_detached_data_file_is_read_from_the_same_folder_only(
    tmp_path: Path, nrrd: Callable[..., Path]
) -> None:
    data = tmp_path / "voxels.raw"
    data.write_bytes(ARRAY.tobytes())
    edit = ("encoding: raw", "encoding: raw\ndata file: {}")
    np.testing.assert_array_equal(
        read_image(nrrd((edit[0], edit[1].format("voxels.raw")), data=b"")).array, ARRAY
    )
    for name, problem in (
        ("../voxels.raw", "outside its folder"),
        ("/etc/hostname", "outside its folder"),
        ("gone.raw", "'gone.raw' is missing"),
    ):
        with pytest.raises(ImageError, match=problem):
            read_image(nrrd((edit[0], edit[1].format(name)), data=b""))


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (("sizes: 6 5 4", "sizes: 6 0 4"), r"image size \[6, 0, 4\]"),
        (("sizes: 6 5 4", "sizes: 6 5"), "dimension and sizes"),
        (("sizes: 6 5 4", "sizes: 6 five 4"), "lacks 'sizes'"),
        (("sizes: 6 5 4", "sizes: 60000 50000 40000"), "cut off: 240 of 240000000000000"),
        (("type: short", "type: block"), "voxel type 'block'"),
        (("encoding: raw", "encoding: bzip2"), "encoding 'bzip2'"),
        (("encoding: raw", "encoding: gzip"), "compressed data is damaged"),
    ],
)
def test_an_impossible_header_is_refused(
    edit: tuple[str, str], problem: str, nrrd: Callable[..., Path]
) -> None:
    with pytest.raises(ImageError, match=problem):
        read_image(nrrd(edit))


def test_damage_in_compressed_voxels_is_found(nrrd: Callable[..., Path]) -> None:
    """SimpleITK alone reads some of these without a word, and wrong."""
    packed = gzip.compress(np.random.default_rng(0).bytes(2 * ARRAY.size))
    for at in range(20, len(packed) - 1, 13):
        damaged = packed[:at] + bytes([packed[at] ^ 1]) + packed[at + 1 :]
        with pytest.raises(ImageError, match="damaged|cut off"):
            read_image(nrrd(("encoding: raw", "encoding: gzip"), data=damaged))
    with pytest.raises(ImageError, match="cut off"):  # only the checksum is missing
        read_image(nrrd(("encoding: raw", "encoding: gzip"), data=packed[:-4]))


def test_text_voxels_are_read_only_where_all_are_there(nrrd: Callable[..., Path]) -> None:
    words = " ".join(map(str, ARRAY.ravel())).encode()
    edit = ("encoding: raw", "encoding: ascii")
    np.testing.assert_array_equal(read_image(nrrd(edit, data=words)).array, ARRAY)
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(nrrd(edit, data=words[:-30]))


@pytest.mark.parametrize(
    "name", ["signed short", "short int", "signed short int", "int16", "int16_t"]
)
def test_all_spellings_of_a_type_are_known(name: str, nrrd: Callable[..., Path]) -> None:
    np.testing.assert_array_equal(read_image(nrrd(("type: short", f"type: {name}"))).array, ARRAY)
    unsigned = "u" + name if name.startswith("int") else "unsigned " + name.replace("signed ", "")
    assert read_image(nrrd(("type: short", f"type: {unsigned}"))).array.dtype == np.uint16
