"""PNG, JPEG, BMP, TIFF: damage is found, orientation is told, resolution is not believed."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from anatomark.errors import ImageError, ImageWarning
from anatomark.geometry import Grid
from anatomark.io.images.reading import read_grid, read_image

GREY = np.add.outer(np.arange(40) * 3, np.arange(50) * 2).astype(np.uint8)
COLOURS = np.stack([GREY, 255 - GREY, GREY // 2], axis=-1)
ORIENTATION = 274


def save(path: Path, array: Any = GREY, *, mode: str | None = None, **options: Any) -> Path:
    """Write with Pillow, which shares no code with SimpleITK."""
    picture = Picture.fromarray(array)
    (picture if mode is None else picture.convert(mode)).save(path, **options)
    return path


def exif(orientation: int) -> Any:
    block = Picture.Exif()
    block[ORIENTATION] = orientation
    return block


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.tif"])
def test_the_resolution_for_a_printer_is_not_taken_for_a_spacing(name: str, tmp_path: Path) -> None:
    path = save(tmp_path / name, dpi=(300, 300))
    assert read_grid(path) == read_image(path).grid == Grid((40, 50), unit="px")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.png", {"mode": "P"}),
        ("a.png", {"mode": "1"}),
        ("a.png", {"mode": "RGB"}),
        ("a.png", {"mode": "RGBA"}),
        ("a.bmp", {}),
        ("a.bmp", {"mode": "RGB"}),
        ("a.tif", {"mode": "1"}),
        ("a.tif", {"compression": "tiff_lzw"}),
        ("a.tif", {"compression": "tiff_deflate"}),
        ("a.tif", {"mode": "RGB", "compression": "packbits"}),
    ],
)
def test_pixels_are_those_that_pillow_reads(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    path = save(tmp_path / name, **options)
    with Picture.open(path) as judge:
        np.testing.assert_array_equal(read_image(path).array, np.asarray(judge.convert("L")))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"mode": "RGB"}, {"mode": "CMYK"}])
def test_jpeg_pixels_are_those_that_pillow_reads(options: dict[str, Any], tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", **options)
    with Picture.open(path) as judge:
        expected = np.asarray(judge.convert("L")).astype(int)
    assert np.abs(read_image(path).array.astype(int) - expected).max() <= 1


def test_luminance_is_that_of_pillow(tmp_path: Path) -> None:
    path = save(tmp_path / "photo.png", COLOURS)
    with Picture.open(path) as judge:
        expected = np.asarray(judge.convert("L")).astype(int)
    assert np.abs(read_image(path, grey=True).array.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("name", ["photo.jpg", "photo.png"])
def test_a_picture_that_viewers_would_turn_is_read_as_stored_and_reported(
    name: str, tmp_path: Path
) -> None:
    path = save(tmp_path / name, exif=exif(6))
    with pytest.warns(ImageWarning, match=rf"{name}: .*Exif orientation 6"):
        assert read_image(path).array.shape == (40, 50)
    assert read_image(save(tmp_path / name, exif=exif(1))).array.shape == (40, 50)


def test_a_turned_tiff_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "scan.tif", tiffinfo={ORIENTATION: 6})
    with pytest.raises(ImageError, match="stored turned or mirrored"):
        read_image(path)


def test_pages_of_a_tiff_are_slices_and_must_be_of_one_size(tmp_path: Path) -> None:
    pages = [Picture.fromarray(GREY // k) for k in (1, 2, 3)]
    path = tmp_path / "stack.tif"
    pages[0].save(path, save_all=True, append_images=pages[1:])

    image = read_image(path, spacing=(1, 1, 5))

    assert image.grid == Grid((3, 40, 50), spacing=(1, 1, 5))
    for page, k in zip(image.array, (1, 2, 3), strict=True):
        np.testing.assert_array_equal(page, GREY // k)
    pages[0].save(path, save_all=True, append_images=[pages[1].resize((20, 20))])
    with pytest.raises(ImageError, match="pages differ in size"):
        read_image(path)


def test_grey_with_transparency_is_refused_in_png(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="grey with transparency; save it as plain grey"):
        read_image(save(tmp_path / "a.png", mode="LA"))


def test_a_flipped_bit_in_a_png_is_found(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.random.default_rng(0).integers(0, 255, (9, 9), np.uint8))
    data = path.read_bytes()
    for at in range(33, len(data) - 12):
        path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        with pytest.raises(ImageError, match="damaged|cut off"):
            read_image(path)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"mode": "RGB"}])
def test_a_jpeg_without_its_end_is_refused_wherever_it_stops(
    options: dict[str, Any], tmp_path: Path
) -> None:
    path = save(tmp_path / "a.jpg", **options, exif=exif(1))
    data = path.read_bytes()
    assert data.endswith(b"\xff\xd9")
    for length in range(20, len(data) - 1, 17):
        path.write_bytes(data[:length])
        with pytest.raises(ImageError, match="cut off"):
            read_image(path)
    path.write_bytes(data + b"trailing bytes that some cameras add")
    assert read_image(path).array.shape == (40, 50)


def test_a_damaged_jpeg_is_reported(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8))
    data = path.read_bytes()
    half = len(data) // 2
    path.write_bytes(data[:half] + b"\x12\x34\x56" * 9 + data[half + 200 :])
    with pytest.warns(ImageWarning, match=r"a\.jpg: may be damaged: Corrupt JPEG data"):
        read_image(path)


def test_a_bmp_from_the_top_down_is_read_upright(tmp_path: Path) -> None:
    path = save(tmp_path / "a.bmp", mode="RGB")
    data = bytearray(path.read_bytes())
    struct.pack_into("<i", data, 22, -40)  # a negative height: the first row is the top one
    path.write_bytes(data)
    np.testing.assert_array_equal(read_image(path).array, GREY[::-1])


def test_a_bmp_of_no_size_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.bmp")
    data = bytearray(path.read_bytes())
    struct.pack_into("<i", data, 18, -50)
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"image size \[-50, 40\]"):
        read_image(path)


def test_a_tiff_whose_directories_run_in_a_circle_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif")
    data = bytearray(path.read_bytes())
    first = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, first)[0]
    struct.pack_into("<I", data, first + 2 + 12 * count, first)
    path.write_bytes(data)
    with pytest.raises(ImageError, match="cut off or damaged"):
        read_image(path)
