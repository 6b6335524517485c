"""DICOM in: single files and volumes, placed and valued as the header says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from anatomark.errors import AnatomarkError, ImageError, ImageWarning, UsageError
from anatomark.geometry import Grid
from anatomark.io.images.reading import read_grid, read_image, read_mask

Writer = Callable[..., Path]
PIXELS = np.random.default_rng(3).integers(0, 4096, (6, 7)).astype(np.uint16)
XRAY = {"Modality": "DX", "BitsStored": 12}


# -- projections -----------------------------------------------------------------------------------


def test_an_xray_is_2d_and_its_first_spacing_is_that_of_the_rows(
    write_dicom: Writer, tmp_path: Path
) -> None:
    path = write_dicom(tmp_path / "xray.dcm", PIXELS, **XRAY, PixelSpacing=[0.3, 0.2])
    image = read_image(path)

    assert image.grid == read_grid(path) == Grid((6, 7), spacing=(0.2, 0.3))
    assert image.grid.to_world((6, 5)).tolist() == pytest.approx([1.2, 1.5])
    np.testing.assert_array_equal(image.array, PIXELS)


@pytest.mark.parametrize(
    ("tags", "spacing", "source"),
    [
        (
            {"ImagerPixelSpacing": [0.3, 0.2], "EstimatedRadiographicMagnificationFactor": 1.25},
            (0.16, 0.24),
            "ImagerPixelSpacing / EstimatedRadiographicMagnificationFactor",
        ),
        ({"NominalScannedPixelSpacing": [0.3, 0.2]}, (0.2, 0.3), "NominalScannedPixelSpacing"),
        (
            {"PixelSpacing": [0.5, 0.4], "ImagerPixelSpacing": [0.3, 0.2]},
            (0.4, 0.5),
            "PixelSpacing",
        ),
    ],
)
def test_the_spacing_comes_from_the_best_tag(
    tags: dict[str, Any],
    spacing: tuple[float, ...],
    source: str,
    write_dicom: Writer,
    tmp_path: Path,
) -> None:
    image = read_image(write_dicom(tmp_path / "xray.dcm", PIXELS, **XRAY, **tags))
    assert image.grid.spacing.tolist() == pytest.approx(spacing)
    assert image.meta["spacing_from"] == source


def test_a_spacing_at_the_detector_is_used_with_a_warning(
    write_dicom: Writer, tmp_path: Path
) -> None:
    path = write_dicom(tmp_path / "xray.dcm", PIXELS, **XRAY, ImagerPixelSpacing=[0.3, 0.2])
    with pytest.warns(ImageWarning, match=r"xray\.dcm: its spacing is that of the detector"):
        assert read_image(path).grid == Grid((6, 7), spacing=(0.2, 0.3))


def test_without_a_spacing_the_unit_is_the_pixel(write_dicom: Writer, tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "xray.dcm", PIXELS, **XRAY)
    assert read_grid(path) == Grid((6, 7), unit="px")
    assert read_grid(path, spacing=(0.1, 0.2)) == Grid((6, 7), spacing=(0.1, 0.2))


@pytest.mark.parametrize("wrong", [[0, 0.2], [-0.1, 0.2], ["nan", 0.2], [0.2]])
def test_a_spacing_that_is_not_positive_is_refused(
    wrong: list[Any], write_dicom: Writer, tmp_path: Path
) -> None:
    path = write_dicom(tmp_path / "xray.dcm", PIXELS, **XRAY)
    dataset = pydicom.dcmread(path)
    with pydicom.config.disable_value_validation():
        dataset.PixelSpacing = wrong
        dataset.save_as(path)
    for reader in (read_image, read_grid):
        with pytest.raises(ImageError, match=r"xray\.dcm: "):
            reader(path)


def region(x: float, y: float, unit: int = 3) -> Dataset:
    """An ultrasound region with a pixel of so many centimetres."""
    item = Dataset()
    item.PhysicalDeltaX, item.PhysicalDeltaY = x, y
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = unit
    return item


def test_ultrasound_takes_its_spacing_from_its_regions(write_dicom: Writer, tmp_path: Path) -> None:
    def grid(*regions: Dataset) -> Grid:
        tags = {"Modality": "US", "SequenceOfUltrasoundRegions": list(regions)}
        return read_grid(write_dicom(tmp_path / "us.dcm", PIXELS, **tags))

    assert grid(region(0.01, 0.02)).spacing.tolist() == pytest.approx([0.1, 0.2])
    assert grid(region(0.01, 0.02), region(7, 7, unit=4)).spacing.tolist() == pytest.approx(
        [0.1, 0.2]
    )
    assert grid(region(7, 7, unit=4)).unit == "px"
    with pytest.warns(ImageWarning, match="regions differ in scale"):
        assert grid(region(0.01, 0.02), region(0.03, 0.03)).unit == "px"


# -- one slice in the patient ----------------------------------------------------------------------


def test_a_slice_that_knows_its_place_is_a_volume_of_one_slice(
    write_dicom: Writer, tmp_path: Path
) -> None:
    place = {
        "ImagePositionPatient": [-10, 20, 30],
        "ImageOrientationPatient": [0, 1, 0, 0, 0, -1],
        "PixelSpacing": [0.5, 0.25],
        "SliceThickness": 3,
    }
    path = write_dicom(tmp_path / "slice.dcm", PIXELS, **place)

    grid = read_grid(path)

    assert grid.shape == (1, 6, 7)
    # x index along world y, y index down world z, the normal along -x, by hand:
    assert grid.to_world((2, 4, 1)).tolist() == pytest.approx([-10 - 3, 20 + 0.5, 30 - 2])
    judge = sitk.ReadImage(str(path))
    expected = judge.TransformIndexToPhysicalPoint((6, 5, 0))
    np.testing.assert_allclose(grid.to_world((6, 5, 0)), expected)


def test_a_slice_of_unknown_thickness_is_reported(write_dicom: Writer, tmp_path: Path) -> None:
    place = {
        "ImagePositionPatient": [0, 0, 0],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [1, 1],
    }
    with pytest.warns(ImageWarning, match="1 mm is assumed"):
        read_grid(write_dicom(tmp_path / "slice.dcm", PIXELS, **place))


@pytest.mark.parametrize("axes", [[1, 0, 0, 1, 0, 0], [2, 0, 0, 0, 1, 0], [0] * 6, [1, 0, 0]])
def test_an_orientation_that_is_none_is_refused(
    axes: list[float], write_dicom: Writer, tmp_path: Path
) -> None:
    place = {
        "ImagePositionPatient": [0, 0, 0],
        "ImageOrientationPatient": axes,
        "PixelSpacing": [1, 1],
    }
    with pytest.raises(ImageError, match=r"slice\.dcm: .*orientation|ImageOrientationPatient"):
        read_grid(write_dicom(tmp_path / "slice.dcm", PIXELS, **place))


# -- multi-frame -----------------------------------------------------------------------------------


def enhanced(count: int, *, order: list[int] | None = None, **shared: Any) -> dict[str, Any]:
    """Functional groups of frames 2.5 mm apart along z, each with its own position."""
    frames = []
    for place in order or range(count):
        plane = Dataset()
        plane.ImagePositionPatient = [-10, 20, 30 + 2.5 * place]
        frame = Dataset()
        frame.PlanePositionSequence = [plane]
        frames.append(frame)
    orientation, measures = Dataset(), Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing = [0.75, 0.5]
    measures.SliceThickness = 9  # not the distance of slices, which overlap
    common = Dataset()
    common.PlaneOrientationSequence = [orientation]
    common.PixelMeasuresSequence = [measures]
    for name, value in shared.items():
        setattr(common, name, value)
    return {"PerFrameFunctionalGroupsSequence": frames, "SharedFunctionalGroupsSequence": [common]}


def test_an_enhanced_file_is_a_volume_whose_frames_say_where_they_are(
    stored_volume: Any, write_dicom: Writer, tmp_path: Path
) -> None:
    order = [3, 0, 4, 1, 2]
    groups = enhanced(5, order=order)
    path = write_dicom(tmp_path / "ct.dcm", stored_volume, **groups, BitsStored=12)

    image = read_image(path)

    assert image.grid == read_grid(path)
    assert image.grid == Grid((5, 6, 7), spacing=(0.5, 0.75, 2.5), origin=(-10, 20, 30))
    for frame, place in enumerate(order):
        np.testing.assert_array_equal(image.array[place], stored_volume[frame])


def test_the_rescale_of_each_frame_is_its_own(
    stored_volume: Any, write_dicom: Writer, tmp_path: Path
) -> None:
    groups = enhanced(5)
    for i, frame in enumerate(groups["PerFrameFunctionalGroupsSequence"]):
        transform = Dataset()
        transform.RescaleSlope, transform.RescaleIntercept = i + 1, -10 * i
        frame.PixelValueTransformationSequence = [transform]
    common = Dataset()
    common.RescaleSlope, common.RescaleIntercept = 77, 77  # a frame's own comes first
    groups["SharedFunctionalGroupsSequence"][0].PixelValueTransformationSequence = [common]
    image = read_image(write_dicom(tmp_path / "mr.dcm", stored_volume, **groups, BitsStored=12))

    for i in range(5):
        np.testing.assert_array_equal(
            image.array[i], stored_volume[i].astype(int) * (i + 1) - 10 * i
        )


def test_a_film_is_refused_with_its_number_of_frames(
    stored_volume: Any, write_dicom: Writer, tmp_path: Path
) -> None:
    film = write_dicom(tmp_path / "us.dcm", stored_volume, Modality="US")
    for reader in (read_image, read_grid):
        with pytest.raises(ImageError, match=r"us\.dcm: has 5 frames .* a film, not a volume"):
            reader(film)


def test_groups_that_do_not_fit_the_frames_are_refused(
    stored_volume: Any, write_dicom: Writer, tmp_path: Path
) -> None:
    path = write_dicom(tmp_path / "ct.dcm", stored_volume, **enhanced(4))
    with pytest.raises(ImageError, match="describes 4 frames but has 5"):
        read_image(path)


# -- what is kept, and what is not -----------------------------------------------------------------


def test_meta_holds_what_later_files_refer_to_and_not_who_it_is(
    write_dicom: Writer, tmp_path: Path
) -> None:
    path = write_dicom(
        tmp_path / "xray.dcm", PIXELS, **XRAY, BodyPartExamined="HAND", ImageLaterality="L",
        ViewPosition="PA", PatientOrientation=["R", "F"],
    )  # fmt: skip
    meta = read_image(path).meta

    assert (meta["modality"], meta["body_part"], meta["laterality"]) == ("DX", "HAND", "L")
    assert (meta["view"], meta["patient_orientation"]) == ("PA", "R\\F")
    dataset = pydicom.dcmread(path)
    assert meta["series_uid"] == dataset.SeriesInstanceUID
    assert meta["study_uid"] == dataset.StudyInstanceUID
    assert meta["frame_of_reference_uid"] == dataset.FrameOfReferenceUID
    assert meta["sop_instance_uids"] == (dataset.SOPInstanceUID,)
    assert meta["source_files"] == (str(path),)
    assert "Doe" not in str(dict(meta))
    assert "secret" not in str(dict(meta))


# -- names and damage ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["IM0001", "a.dcm", "a.IMA", "1.2.840.113", "a.png"])
def test_dicom_is_known_by_its_content_whatever_its_name(
    name: str, write_dicom: Writer, tmp_path: Path
) -> None:
    path = write_dicom(tmp_path / name, PIXELS, **XRAY)
    np.testing.assert_array_equal(read_image(path).array, PIXELS)


@pytest.mark.parametrize("name", ["IM0001", "a.dcm"])
def test_a_bare_dataset_without_preamble_is_read(
    name: str, write_dicom: Writer, tmp_path: Path
) -> None:
    dataset = pydicom.dcmread(write_dicom(tmp_path / "whole.dcm", PIXELS, **XRAY))
    del dataset.file_meta
    dataset.preamble = None
    dataset.save_as(tmp_path / name, implicit_vr=True, little_endian=True)
    assert (tmp_path / name).read_bytes()[128:132] != b"DICM"
    np.testing.assert_array_equal(read_image(tmp_path / name).array, PIXELS)


@given(part=st.floats(0, 1, exclude_max=True), implicit=st.booleans())
def test_a_file_cut_off_anywhere_is_refused(
    part: float, implicit: bool, write_dicom: Writer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    syntax = {"syntax": ImplicitVRLittleEndian} if implicit else {}
    path = write_dicom(tmp_path_factory.mktemp("cut") / "cut.dcm", PIXELS, **XRAY, **syntax)
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(AnatomarkError, match=r"cut\.dcm: ") as caught:
        read_image(path)
    assert "Doe" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_damaged_header_never_ends_in_a_traceback(write_dicom: Writer, tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "damaged.dcm", PIXELS, **XRAY, PixelSpacing=[1, 1])
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(100):
        changed = bytearray(data)
        changed[rng.integers(132, len(data) - PIXELS.nbytes)] = rng.integers(256)
        path.write_bytes(changed)
        try:
            read_image(path, constant_ok=True, nonfinite=0, grey=True)
        except (AnatomarkError, ImageWarning):  # warnings are errors here
            pass


def test_an_object_without_an_image_is_refused(write_dicom: Writer, tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "report.dcm", PIXELS, Rows=None, Columns=None,
                       SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11")  # fmt: skip
    with pytest.raises(ImageError, match="is not a DICOM image"):
        read_image(path)


def test_a_mask_may_be_dicom_but_not_yet_a_segmentation_object(
    write_dicom: Writer, tmp_path: Path
) -> None:
    labels = np.array([[0, 1], [2, 0]], np.uint8)
    assert read_mask(write_dicom(tmp_path / "mask.dcm", labels)).array.tolist() == labels.tolist()
    with pytest.raises(ImageError, match="is a DICOM segmentation; convert it"):
        read_mask(write_dicom(tmp_path / "seg.dcm", labels, Modality="SEG"))


def test_a_series_that_the_file_is_not_part_of_is_refused(
    write_dicom: Writer, tmp_path: Path
) -> None:
    path = write_dicom(tmp_path / "xray.dcm", PIXELS, **XRAY)
    assert read_image(path, series="1").array.shape == (6, 7)
    with pytest.raises(UsageError, match="has no series '9'; say series=…"):
        read_image(path, series="9")


# -- real data -------------------------------------------------------------------------------------


@pytest.mark.realdata
def test_real_ct_slices_agree_with_simpleitk_and_with_pydicoms_arithmetic(real_data: Path) -> None:
    files = sorted((real_data / "ct_slices" / "dicom").glob("*.dcm"))
    assert files
    for path in files:
        image, judge, dataset = read_image(path), sitk.ReadImage(str(path)), pydicom.dcmread(path)
        by_hand = dataset.pixel_array * float(dataset.RescaleSlope) + float(
            dataset.RescaleIntercept
        )
        np.testing.assert_allclose(image.array[0], by_hand, rtol=1e-6)
        np.testing.assert_allclose(image.array, sitk.GetArrayFromImage(judge), rtol=1e-6)
        for index in [(0, 0, 0), (511, 511, 0), (17, 300, 0)]:
            expected = judge.TransformIndexToPhysicalPoint(index)
            np.testing.assert_allclose(image.grid.to_world(np.array(index)), expected, atol=1e-6)
