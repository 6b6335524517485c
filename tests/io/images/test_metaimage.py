"""MetaImage headers: what SimpleITK reads past, and what it does not survive."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from anatomark.errors import ImageError
from anatomark.geometry import Grid
from anatomark.io.images.reading import read_grid, read_image

ARRAY = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
HEADER = """ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
CompressedData = False
TransformMatrix = 0 1 0 -1 0 0 0 0 1
Offset = 1 2 3
ElementSpacing = 0.5 0.75 2
DimSize = 6 5 4
ElementType = MET_SHORT
ElementDataFile = LOCAL
"""


@pytest.fixture
def mha(tmp_path: Path) -> Callable[..., Path]:
    """Write a MetaImage with lines of the header replaced."""

    def write(*edits: tuple[str, str], data: bytes = ARRAY.tobytes()) -> Path:
        header = HEADER
        for old, new in edits:
            assert old in header
            header = header.replace(old, new)
        path = tmp_path / "image.mha"
        path.write_bytes(header.encode() + data)
        return path

    return write


def test_the_plain_header_is_read_as_it_stands(mha: Callable[..., Path]) -> None:
    image = read_image(mha())
    np.testing.assert_array_equal(image.array, ARRAY)
    # The matrix lists the direction of the x axis first: here it runs along world y.
    assert image.grid.to_world((2, 0, 0)).tolist() == [1, 3, 3]
    assert image.grid.to_world((0, 2, 3)).tolist() == [-0.5, 2, 9]


@pytest.mark.parametrize("wrong", ["0 1 1", "-1 1 1", "nan 1 1", "1 inf 1"])
def test_a_spacing_that_is_not_positive_is_refused(wrong: str, mha: Callable[..., Path]) -> None:
    path = mha(("0.5 0.75 2", wrong))
    for reader in (read_image, read_grid):
        with pytest.raises(ImageError, match=r"image\.mha: the spacing must be positive"):
            reader(path)


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (("0 1 0 -1 0 0 0 0 1", "1 0 0 1 0 0 0 0 1"), "singular"),
        (("0 1 0 -1 0 0 0 0 1", "2 0 0 0 1 0 0 0 1"), "must have length 1"),
        (("0 1 0 -1 0 0 0 0 1", "nan 0 0 0 1 0 0 0 1"), "TransformMatrix is not finite"),
        (("Offset = 1 2 3", "Offset = nan 2 3"), "Offset is not finite"),
        (("Offset = 1 2 3", "Offset = 1 2"), "Offset must be 3 numbers"),
        (("NDims = 3", "NDims = 300"), "gives 300 axes"),
        (("NDims = 3", "NDims = three"), "NDims must be 1 numbers"),
        (("DimSize = 6 5 4", "DimSize = 6 5 0"), r"image size \[6, 5, 0\]"),
        (("DimSize = 6 5 4", "DimSize = 6 5 -4"), r"image size"),
        (("DimSize = 6 5 4", "DimSize = 6 5"), "DimSize must be 3 numbers"),
        (("DimSize = 6 5 4", "DimSize = 6 5 7"), "cut off: 240 of 420 bytes"),
        (("DimSize = 6 5 4", "DimSize = 60000 60000 60000"), "cut off"),
        (("MET_SHORT", "MET_STRING"), "voxel type 'MET_STRING'"),
        (("MET_SHORT", "MET_SHORT\nElementNumberOfChannels = 0"), "gives 0 channels"),
        (("= LOCAL", "= ../voxels.raw"), "outside its folder"),
        (("= LOCAL", "= gone.raw"), "'gone.raw' is missing"),
        (("ElementDataFile = LOCAL\n", ""), "not a whole MetaImage header"),
        (("CompressedData = False", "CompressedData = True"), "compressed data is damaged"),
    ],
)
def test_an_impossible_header_is_refused(
    edit: tuple[str, str], problem: str, mha: Callable[..., Path]
) -> None:
    with pytest.raises(ImageError, match=problem):
        read_image(mha(edit))


def test_a_file_without_spacing_is_in_pixels_until_it_is_given(mha: Callable[..., Path]) -> None:
    path = mha(("ElementSpacing = 0.5 0.75 2\n", ""))
    assert read_grid(path) == Grid((4, 5, 6), unit="px")
    given = read_grid(path, spacing=(0.5, 0.75, 2))
    assert given == read_grid(mha())


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1), ("cm", 10), ("um", 1e-3)])
def test_units_are_turned_into_millimetres(
    unit: str, factor: float, mha: Callable[..., Path]
) -> None:
    grid = read_grid(mha(("Offset", f"DistanceUnits = {unit}\nOffset")))
    np.testing.assert_allclose(grid.spacing, np.array([0.5, 0.75, 2]) * factor)
    np.testing.assert_allclose(grid.origin, np.array([1, 2, 3]) * factor)


def test_damage_in_compressed_voxels_is_found(mha: Callable[..., Path]) -> None:
    """SimpleITK alone reads all of these without an error, and wrong."""
    packed = zlib.compress(np.random.default_rng(0).bytes(2 * ARRAY.size))
    edit = ("CompressedData = False", f"CompressedData = True\nCompressedDataSize = {len(packed)}")
    read_image(mha(edit, data=packed))
    for at in range(5, len(packed), 13):
        damaged = packed[:at] + bytes([packed[at] ^ 1]) + packed[at + 1 :]
        with pytest.raises(ImageError, match="damaged|cut off"):
            read_image(mha(edit, data=damaged))


def test_text_voxels_and_a_header_with_a_data_file_are_read(
    tmp_path: Path, mha: Callable[..., Path]
) -> None:
    words = " ".join(map(str, ARRAY.ravel())).encode()
    edit = ("BinaryData = True", "BinaryData = False")
    np.testing.assert_array_equal(read_image(mha(edit, data=words + b"\n")).array, ARRAY)
    with pytest.raises(ImageError, match="cut off"):
        read_image(mha(edit, data=words[:-30] + b"\n"))

    (tmp_path / "voxels.raw").write_bytes(ARRAY.tobytes())
    header = mha(("= LOCAL", "= voxels.raw"), data=b"").rename(tmp_path / "image.mhd")
    np.testing.assert_array_equal(read_image(header).array, ARRAY)
