"""Values of DICOM pixels against pydicom's own arithmetic, for every way to store them."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from PIL import Image as Picture
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from anatomark.errors import ImageError, UsageError
from anatomark.io.dicom.pixels import smallest_integer
from anatomark.io.images.reading import read_image

Writer = Callable[..., Path]
PIXELS = np.random.default_rng(3).integers(0, 4096, (6, 7)).astype(np.uint16)
SMOOTH = np.add.outer(np.arange(32) * 3, np.arange(40) * 4).astype(np.uint8)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
@pytest.mark.parametrize(
    ("slope", "intercept", "dtype"),
    [(1, 0, "uint16"), (1, -1024, "int16"), (2, -1024, "int16"), (20, 0, "int32"),
     (0.25, 1.5, "float32"), (-1, 0, "int16")],
)  # fmt: skip
def test_rescale_is_applied_once(
    slope: float, intercept: float, dtype: str, syntax: str, write_dicom: Writer, tmp_path: Path
) -> None:
    tags = {"RescaleSlope": slope, "RescaleIntercept": intercept, "BitsStored": 12}
    image = read_image(write_dicom(tmp_path / "ct.dcm", PIXELS, syntax=syntax, **tags))

    assert image.array.dtype == dtype
    np.testing.assert_array_equal(image.array, PIXELS.astype(float) * slope + intercept)


def test_signed_values_and_bits_beside_the_value_are_read_right(
    write_dicom: Writer, tmp_path: Path
) -> None:
    signed = PIXELS.astype(np.int16) - 2048
    both = read_image(write_dicom(tmp_path / "a.dcm", signed, BitsStored=16)).array
    np.testing.assert_array_equal(both, signed)

    # 12 bits of 16, the other four filled with an old overlay
    overlay = (signed & 0x0FFF) | (np.arange(42, dtype=np.int16).reshape(6, 7) << 12)
    path = write_dicom(tmp_path / "b.dcm", overlay.astype(np.int16), BitsStored=12)
    np.testing.assert_array_equal(read_image(path).array, signed)


def test_big_endian_and_deflated_files_agree_with_the_plain_one() -> None:
    plain = read_image(get_testdata_file("MR_small.dcm", download=False)).array
    for name in ("MR_small_bigendian.dcm", "MR_small_implicit.dcm", "MR_small_padded.dcm"):
        path = get_testdata_file(name, download=False)
        np.testing.assert_array_equal(read_image(path).array, plain)
    assert (
        ExplicitVRBigEndian
        == pydicom.dcmread(
            get_testdata_file("MR_small_bigendian.dcm", download=False)
        ).file_meta.TransferSyntaxUID
    )
    deflated = get_testdata_file("image_dfl.dcm", download=False)
    expected = pydicom.dcmread(deflated).pixel_array
    np.testing.assert_array_equal(read_image(deflated).array, expected)


# -- MONOCHROME1 -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "bits", "expected"),
    [
        (np.array([[0, 1], [4000, 4095]], np.uint16), 12, [[4095, 4094], [95, 0]]),
        (np.array([[0, 255], [7, 8]], np.uint8), 8, [[255, 0], [248, 247]]),
        (np.array([[-2048, 2047], [0, 1]], np.int16), 12, [[2047, -2048], [-1, -2]]),
    ],
)
def test_an_inverted_xray_is_inverted_within_its_range(
    stored: Any, bits: int, expected: list[Any], write_dicom: Writer, tmp_path: Path
) -> None:
    tags = {"Modality": "CR", "PhotometricInterpretation": "MONOCHROME1", "BitsStored": bits}
    image = read_image(write_dicom(tmp_path / "film.dcm", stored, **tags))
    assert image.array.tolist() == expected
    if stored.dtype == np.uint8:  # SimpleITK fails on the others
        judge = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "film.dcm")))
        np.testing.assert_array_equal(image.array, judge[0])


def test_inversion_comes_before_the_rescale(write_dicom: Writer, tmp_path: Path) -> None:
    tags = {"PhotometricInterpretation": "MONOCHROME1", "RescaleSlope": 2, "RescaleIntercept": -5}
    stored = np.array([[0, 10], [20, 255]], np.uint8)
    image = read_image(write_dicom(tmp_path / "film.dcm", stored, Modality="DX", **tags))
    assert image.array.tolist() == [[505, 485], [465, -5]]  # 2 · (255 - v) - 5


@pytest.mark.parametrize("tags", [{"Modality": "CT"}, {"Modality": "PT"}, {"RescaleType": "HU"}])
def test_an_inverted_display_does_not_invert_physical_values(
    tags: dict[str, str], write_dicom: Writer, tmp_path: Path
) -> None:
    tags = {"Modality": "OT", **tags, "PhotometricInterpretation": "MONOCHROME1"}
    path = write_dicom(tmp_path / "ct.dcm", PIXELS, RescaleIntercept=-1024, RescaleSlope=1, **tags)
    np.testing.assert_array_equal(read_image(path).array, PIXELS.astype(int) - 1024)


# -- tables, colours -------------------------------------------------------------------------------


@pytest.mark.parametrize("inverted", [False, True])
def test_a_table_in_place_of_the_rescale_is_used(
    inverted: bool, write_dicom: Writer, tmp_path: Path
) -> None:
    table = Dataset()
    table.LUTDescriptor = [4, 0, 16]
    table.ModalityLUTType = "US"
    table.add_new("LUTData", "US", [5, 100, 2000, 65535])
    tags = {"ModalityLUTSequence": [table], "Modality": "CR"}
    tags |= {"PhotometricInterpretation": "MONOCHROME1"} if inverted else {}
    stored = np.array([[0, 1], [2, 3]], np.uint8)
    image = read_image(write_dicom(tmp_path / "film.dcm", stored, **tags))
    by_hand = np.array([[5, 100], [2000, 65535]])
    assert image.array.tolist() == (65535 - by_hand if inverted else by_hand).tolist()


def test_colours_are_grey_only_where_they_are_equal(write_dicom: Writer, tmp_path: Path) -> None:
    grey = np.stack([SMOOTH] * 3, axis=-1)
    colours = np.stack([SMOOTH, SMOOTH, SMOOTH // 2], axis=-1)
    tags = {"Modality": "OT", "PixelSpacing": [1, 1]}
    path = write_dicom(tmp_path / "grey.dcm", grey, **tags)
    np.testing.assert_array_equal(read_image(path).array, SMOOTH)

    path = write_dicom(tmp_path / "photo.dcm", colours, **tags)
    with pytest.raises(UsageError, match="in colour"):
        read_image(path)
    by_hand = 0.299 * SMOOTH + 0.587 * SMOOTH + 0.114 * (SMOOTH // 2)
    np.testing.assert_allclose(read_image(path, grey=True).array, by_hand, atol=0.51)


@pytest.mark.parametrize(
    "name", ["SC_ybr_full_422_uncompressed.dcm", "SC_rgb_jpeg_dcmtk.dcm", "SC_rgb_rle.dcm",
             "examples_palette.dcm", "SC_rgb_rle_16bit.dcm"],
)  # fmt: skip
def test_every_colour_space_ends_in_the_same_rgb(name: str) -> None:
    path = get_testdata_file(name, download=False)
    if not path:
        pytest.skip("this pydicom does not carry the file")
    image = read_image(path, grey=True)
    dataset = pydicom.dcmread(path)
    colours = dataset.pixel_array
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        colours = pydicom.pixels.apply_color_lut(colours, dataset)
    by_hand = colours.astype(float) @ [0.299, 0.587, 0.114]
    assert np.abs(image.array - by_hand).max() <= 3  # decoders of JPEG round


# -- compression -----------------------------------------------------------------------------------


def packed(path: Path, write_dicom: Writer, syntax: str, frame: bytes, array: Any) -> Path:
    """A file whose one frame is the given compressed stream."""
    return pack(write_dicom(path, array, Modality="DX"), syntax, frame)


def pack(path: Path, syntax: str, frame: bytes) -> Path:
    """Replace the pixels of a file by a compressed stream."""
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    return path


def stream(array: Any, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Picture.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def test_rle_is_decoded(write_dicom: Writer, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(write_dicom(tmp_path / "rle.dcm", PIXELS, BitsStored=12))
    dataset.compress(RLELossless, generate_instance_uid=False)
    dataset.save_as(tmp_path / "rle.dcm")
    np.testing.assert_array_equal(read_image(tmp_path / "rle.dcm").array, PIXELS)


def test_jpeg_baseline_and_jpeg_2000_are_decoded(write_dicom: Writer, tmp_path: Path) -> None:
    lossless = stream(SMOOTH, "JPEG2000", no_jp2=True)
    path = packed(tmp_path / "j2k.dcm", write_dicom, JPEG2000Lossless, lossless, SMOOTH)
    np.testing.assert_array_equal(read_image(path).array, SMOOTH)

    jpeg = stream(SMOOTH, "JPEG", quality=95)
    path = packed(tmp_path / "jpeg.dcm", write_dicom, JPEGBaseline8Bit, jpeg, SMOOTH)
    with Picture.open(io.BytesIO(jpeg)) as judge:
        expected = np.asarray(judge).astype(int)
    assert np.abs(read_image(path).array.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000"])
def test_what_gdcm_compresses_without_loss_comes_back(kind: str, tmp_path: Path) -> None:
    writer = sitk.ImageFileWriter()
    writer.SetFileName(str(tmp_path / "ct.dcm"))
    writer.UseCompressionOn()
    writer.SetCompressor(kind)
    pixels = SMOOTH.astype(np.uint16) * 15
    writer.Execute(sitk.GetImageFromArray(pixels[None]))
    assert pydicom.dcmread(tmp_path / "ct.dcm").file_meta.TransferSyntaxUID.is_compressed
    np.testing.assert_array_equal(read_image(tmp_path / "ct.dcm").array.squeeze(), pixels)


@pytest.mark.parametrize(
    "name", ["MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm"]
)
def test_compressed_copies_of_one_image_agree(name: str) -> None:
    plain = read_image(get_testdata_file("MR_small.dcm", download=False))
    image = read_image(get_testdata_file(name, download=False))
    np.testing.assert_array_equal(image.array, plain.array)
    assert image.grid == plain.grid


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
@pytest.mark.parametrize("inverted", [False, True])
def test_compressed_pixels_are_rescaled_and_inverted_once(
    inverted: bool, syntax: str, write_dicom: Writer, tmp_path: Path
) -> None:
    tags = {"RescaleSlope": 2, "RescaleIntercept": -100, "Modality": "DX"}
    tags |= {"PhotometricInterpretation": "MONOCHROME1"} if inverted else {}
    path = write_dicom(tmp_path / "a.dcm", SMOOTH, **tags)
    if syntax == RLELossless:
        dataset = pydicom.dcmread(path)
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.save_as(path)
    else:
        pack(path, syntax, stream(SMOOTH, "JPEG2000", no_jp2=True))
    stored = 255 - SMOOTH.astype(int) if inverted else SMOOTH.astype(int)
    np.testing.assert_array_equal(read_image(path).array, 2 * stored - 100)


def test_a_compressed_file_whose_header_lacks_a_word_is_refused(
    write_dicom: Writer, tmp_path: Path
) -> None:
    whole = packed(
        tmp_path / "a.dcm",
        write_dicom,
        JPEG2000Lossless,
        stream(SMOOTH, "JPEG2000", no_jp2=True),
        SMOOTH,
    )
    for name in ("PhotometricInterpretation", "SamplesPerPixel", "BitsAllocated"):
        dataset = pydicom.dcmread(whole)
        del dataset[name]
        dataset.save_as(tmp_path / "b.dcm")
        with pytest.raises(ImageError, match=r"b\.dcm: "):
            read_image(tmp_path / "b.dcm")


@pytest.mark.parametrize("shape", [(16, 40), (32, 41), (64, 80)])
def test_a_jpeg_of_another_size_than_the_header_never_reaches_the_decoder(
    shape: tuple[int, int], write_dicom: Writer, tmp_path: Path
) -> None:
    """GDCM would write past the end of its memory."""
    other = np.zeros(shape, np.uint8)
    path = packed(tmp_path / "a.dcm", write_dicom, JPEGBaseline8Bit, stream(other, "JPEG"), SMOOTH)
    with pytest.raises(ImageError, match="its JPEG has another size than the header says"):
        read_image(path)


def test_a_jpeg_of_more_bits_than_the_header_is_refused(
    write_dicom: Writer, tmp_path: Path
) -> None:
    jpeg = bytearray(stream(SMOOTH, "JPEG"))
    jpeg[jpeg.index(b"\xff\xc0") + 4] = 12  # bits of a sample, in the frame header
    path = packed(tmp_path / "a.dcm", write_dicom, JPEGBaseline8Bit, bytes(jpeg), SMOOTH)
    with pytest.raises(ImageError, match="its JPEG is damaged or cut off"):
        read_image(path)


def test_a_compressed_file_cut_off_anywhere_is_refused(write_dicom: Writer, tmp_path: Path) -> None:
    for name in ("MR_small_RLE.dcm", "MR_small_jpeg_ls_lossless.dcm"):
        data = Path(get_testdata_file(name, download=False)).read_bytes()
        path = tmp_path / "cut.dcm"
        for length in range(400, len(data) - 9, len(data) // 12):
            path.write_bytes(data[:length])
            if length < 0.97 * len(data):  # what follows is padding
                with pytest.raises(ImageError, match=r"cut\.dcm: "):
                    read_image(path)


def test_a_damaged_stream_and_a_film_codec_are_refused(write_dicom: Writer, tmp_path: Path) -> None:
    jpeg = stream(SMOOTH, "JPEG")
    for syntax, frame in (
        (JPEGBaseline8Bit, jpeg[:40] + b"\0\0"),
        (JPEG2000Lossless, b"\xff\x4f" + bytes(98)),
        ("1.2.840.10008.1.2.4.102", bytes(100)),  # MPEG-4
    ):
        path = packed(tmp_path / "broken.dcm", write_dicom, syntax, frame, SMOOTH)
        with pytest.raises(
            ImageError, match=r"broken\.dcm: its (pixels .* cannot be decoded|JPEG)"
        ):
            read_image(path)


def test_the_guesses_of_gdcm_are_not_printed() -> None:
    """It tries decoders of 8, 12 and 16 bits in turn and complains of each that does not fit."""
    code = "import sys; from anatomark.io.images.reading import read_image; read_image(sys.argv[1])"
    path = get_testdata_file("JPGExtended.dcm", download=False)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("ends", "kind"),
    [((0, 255), "uint8"), ((-128, 127), "int8"), ((0, 65535), "uint16"), ((-1024, 3071), "int16"),
     ((-1024, 64511), "int32"), ((0, 2**32 - 1), "uint32"), ((-1, 2**40), "float64")],
)  # fmt: skip
def test_the_type_holds_every_possible_value(ends: tuple[int, int], kind: str) -> None:
    assert smallest_integer(ends) == np.dtype(kind)
