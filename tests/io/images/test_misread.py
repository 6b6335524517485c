"""Files that SimpleITK reads as something else, without a word: read rightly, or refused."""

from __future__ import annotations

import os
import struct
import zlib

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image as Pillow

from anatomark import Grid, Image, read_image, write_image
from anatomark.errors import ImageError, UsageError
from anatomark.io.images.reading import read_mask

RAMP = (np.arange(24, dtype=np.uint8) * 9).reshape(4, 6)


def test_tiff_pages_of_different_kinds(tmp_path):
    pages = [Pillow.fromarray(RAMP), Pillow.fromarray(RAMP.astype(np.uint16) * 100)]
    pages[0].save(tmp_path / "mix.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(ImageError, match="pages differ in size or kind of pixel"):
        read_image(tmp_path / "mix.tif")


def test_tiff_with_grey_and_transparency(tmp_path):
    Pillow.fromarray(np.dstack([RAMP, RAMP]), "LA").save(tmp_path / "la.tif")
    with pytest.raises(ImageError, match="has 2 grey channels"):
        read_image(tmp_path / "la.tif")


def test_colours_between_0_and_1_are_colours(tmp_path):
    array = np.random.default_rng(0).random((4, 6, 3)).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=True), str(tmp_path / "rgb.tif"))
    with pytest.raises(UsageError, match="is in colour: its channels differ by up to 0"):
        read_image(tmp_path / "rgb.tif")
    np.testing.assert_array_equal(
        read_image(tmp_path / "rgb.tif", colour=True).array, array.transpose(2, 0, 1)
    )


META = "NDims = 3\nDimSize = 4 3 2\nElementType = MET_UCHAR\nElementDataFile = "
NRRD = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 3 2\nencoding: raw\ndata file: "


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("l.mhd", META + "LIST\n../o.raw\n"),
        ("l.nhdr", NRRD + "LIST\n../o.raw\n"),
        ("p.nhdr", NRRD + "o%d.raw 1 2 1\n"),
    ],
)
def test_lists_of_files(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(ImageError, match="its voxels are in a list of files"):
        read_image(tmp_path / name)


def test_a_file_name_with_a_space_stays_inside_the_folder(tmp_path):
    (tmp_path / "out side.raw").write_bytes(bytes(24))
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "s.nhdr").write_text(NRRD + "../out side.raw\n\n")
    with pytest.raises(ImageError):
        read_image(folder / "s.nhdr")


def nifti(path, stored, slope, intercept):
    """A NIfTI by hand: identity grid, voxels as they are, slope and intercept in the header."""
    code = {"int16": 4, "int32": 8, "float32": 16}[stored.dtype.name]
    head = bytearray(352)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, stored.ndim, *stored.shape[::-1], *[1] * (7 - stored.ndim))
    struct.pack_into("<2h", head, 70, code, 8 * stored.dtype.itemsize)
    struct.pack_into("<8f", head, 76, *[1.0] * 8)
    struct.pack_into("<3f", head, 108, 352.0, slope, intercept)
    struct.pack_into("<b", head, 123, 2)
    struct.pack_into("<h", head, 254, 1)
    for row in range(3):
        struct.pack_into("<4f", head, 280 + 16 * row, *[float(row == c) for c in range(4)])
    head[344:348] = b"n+1\0"
    path.write_bytes(bytes(head) + stored.tobytes())
    return path


@pytest.mark.parametrize(("slope", "intercept"), [(0, 5), (np.nan, 7), (2, np.inf)])
def test_a_scale_that_is_none(tmp_path, slope, intercept):
    stored = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    found = read_image(nifti(tmp_path / "a.nii", stored, slope, intercept)).array
    np.testing.assert_array_equal(found, stored)


def test_scaled_integers_keep_their_digits(tmp_path):
    stored = np.array([16777217, 33554435, 123456789, -5] * 6, np.int32).reshape(2, 3, 4)
    found = read_image(nifti(tmp_path / "a.nii", stored, 1, 1)).array
    np.testing.assert_array_equal(found, stored.astype(np.float64) + 1)
    small = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    half = read_image(nifti(tmp_path / "b.nii", small, 0.5, -3)).array
    assert half.dtype == np.float32
    np.testing.assert_array_equal(half, small * 0.5 - 3)


def png(path, rows, bits):
    """A grey PNG of few bits by hand; ``rows`` are packed bytes."""

    def chunk(name, body):
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    head = struct.pack(">IIBBBBB", 4, len(rows), bits, 0, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )
    return path


def test_labels_of_few_bits_are_kept(tmp_path):
    two = png(tmp_path / "two.png", [bytes([0b00011011]), bytes([0b11100100])], 2)
    assert read_mask(two).array.tolist() == [[0, 1, 2, 3], [3, 2, 1, 0]]
    four = png(tmp_path / "four.png", [b"\x01\x23", b"\x45\x60"], 4)
    assert read_mask(four).array.tolist() == [[0, 1, 2, 3], [4, 5, 6, 0]]
    one = png(tmp_path / "one.png", [bytes([0b01010000])], 1)
    assert read_mask(one).array.tolist() == [[0, 1, 0, 1]]
    assert read_image(four).array.max() == 102  # a picture's brightness is spread as usual


def test_writing_keeps_what_was_private_and_where_a_link_leads(tmp_path):
    image = Image(RAMP, Grid(RAMP.shape, [1, 1]))
    private = tmp_path / "private.nrrd"
    write_image(image, private)
    private.chmod(0o600)
    link = tmp_path / "link.nrrd"
    link.symlink_to(private)
    write_image(image.with_array(RAMP + 1), link)
    assert link.is_symlink()
    assert private.stat().st_mode & 0o777 == 0o600
    np.testing.assert_array_equal(read_image(private).array, RAMP + 1)
    mask = os.umask(0)
    os.umask(mask)
    write_image(image, tmp_path / "new.nrrd")
    assert (tmp_path / "new.nrrd").stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_spacing_that_nifti_cannot_hold_is_no_full_disk(tmp_path):
    with pytest.raises(UsageError, match="NIfTI keeps spacing and origin as float32"):
        write_image(Image(RAMP, Grid(RAMP.shape, [1e39, 1])), tmp_path / "a.nii")
