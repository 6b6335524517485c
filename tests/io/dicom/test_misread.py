"""DICOM that would be read as something else: read rightly, warned of, or refused."""

from __future__ import annotations

import numpy as np
import pytest

from anatomark import read_image
from anatomark.errors import ImageError, ImageWarning, UsageError

VOLUME = np.arange(6 * 4 * 4, dtype=np.int16).reshape(6, 4, 4)


def turned(angle):
    c, s = np.cos(angle), np.sin(angle)
    return [c, s, 0.0, -s, c, 0.0]


@pytest.mark.parametrize(("angle", "outcome"), [(0.0049, "error"), (0.0004, "warning"), (0, "")])
def test_slices_that_are_turned_against_each_other(tmp_path, write_dicom, angle, outcome):
    array = np.zeros((512, 512), np.int16)
    array[3, 4] = 9
    for i in range(4):
        write_dicom(
            tmp_path / "s" / f"{i}.dcm", array + i, PixelSpacing=[1, 1], SOPInstanceUID=f"1.2.{i}",
            ImageOrientationPatient=turned((-1) ** i * angle),
            ImagePositionPatient=[0, 0, 2.0 * i],
        )  # fmt: skip
    if outcome == "error":
        with pytest.raises(ImageError, match="turned against each other by up to 2"):
            read_image(tmp_path / "s")
    elif outcome == "warning":
        with pytest.warns(ImageWarning, match=r"turned against each other by up to 0\.2"):
            assert read_image(tmp_path / "s").array.shape == (4, 512, 512)
    else:
        assert read_image(tmp_path / "s").array.shape == (4, 512, 512)


def test_two_frames_of_reference_are_two_volumes(tmp_path, write_series):
    write_series(tmp_path / "s" / "a", VOLUME[:3], FrameOfReferenceUID="1.1")
    write_series(tmp_path / "s" / "b", VOLUME[3:], at=[3, 4, 5], FrameOfReferenceUID="1.2")
    with pytest.raises(UsageError, match="has 2 series"):
        read_image(tmp_path / "s")
    np.testing.assert_array_equal(read_image(tmp_path / "s", series="3.1").array, VOLUME[:3])


def test_the_last_digit_of_a_spacing_does_not_divide_a_series(tmp_path, write_dicom):
    for i, slice_ in enumerate(VOLUME):
        spacing = ["0.4882812", "0.4882812"] if i < 4 else ["0.48828125", "0.48828125"]
        write_dicom(
            tmp_path / "s" / f"{i}.dcm", slice_, PixelSpacing=spacing, SOPInstanceUID=f"1.2.{i}",
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0], ImagePositionPatient=[0, 0, 2.0 * i],
        )  # fmt: skip
    np.testing.assert_array_equal(read_image(tmp_path / "s").array, VOLUME)


@pytest.mark.parametrize("content", [b"", b"x" * 100, bytes(4096)])
def test_a_damaged_slice_without_its_mark_is_named(tmp_path, write_series, content):
    folder = write_series(tmp_path / "s", VOLUME)
    victim = sorted(folder.iterdir())[-1]
    victim.write_bytes(content)
    with pytest.warns(ImageWarning, match=f"{victim.name}: is damaged or no DICOM file"):
        read_image(folder)


def test_bits_that_are_not_at_the_low_end_are_refused(tmp_path, write_dicom):
    values = (np.array([[5, 100], [2047, 4095]], np.uint16)) << 4
    write_dicom(tmp_path / "a.dcm", values, BitsStored=12, HighBit=15)
    with pytest.raises(ImageError, match=r"high bit 15\)"):
        read_image(tmp_path / "a.dcm")


@pytest.mark.parametrize(("calibration", "spacing"), [(None, 0.2 / 1.5), ("GEOMETRY", 0.2)])
def test_a_detector_spacing_written_twice_is_corrected_once(
    tmp_path, write_dicom, calibration, spacing
):
    array = np.arange(12, dtype=np.uint16).reshape(3, 4)
    write_dicom(
        tmp_path / "a.dcm", array, Modality="CR", PixelSpacing=[0.2, 0.2],
        ImagerPixelSpacing=[0.2, 0.2], EstimatedRadiographicMagnificationFactor="1.5",
        PixelSpacingCalibrationType=calibration,
    )  # fmt: skip
    np.testing.assert_allclose(read_image(tmp_path / "a.dcm").grid.spacing, [spacing, spacing])
