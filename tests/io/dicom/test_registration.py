"""DICOM Spatial Registration: the map, the frames, whose images they are."""

from __future__ import annotations

import json

import numpy as np
import pydicom
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from anatomark import Affine, Image, Landmarks, read_image, write_landmarks
from anatomark.cli.app import main
from anatomark.errors import WriteError
from anatomark.io.dicom.registration import (
    can_register,
    different_patients,
    write_spatial_registration,
)

TURN = Rotation.from_rotvec([0.1, -0.2, 0.3]).as_matrix()


@pytest.fixture
def series(tmp_path, write_series, stored_volume):
    """A fixed series of a person, and a moving one of another study."""
    whose = {"PatientName": "Müller^Jörg", "PatientID": "7", "SpecificCharacterSet": "ISO_IR 192"}
    write_series(tmp_path / "us", stored_volume, FrameOfReferenceUID="1.2.3",
                 StudyInstanceUID="1.9.1", **whose)  # fmt: skip
    write_series(tmp_path / "mr", stored_volume, FrameOfReferenceUID="1.2.4", series=4,
                 StudyInstanceUID="1.9.2", **whose)  # fmt: skip
    return read_image(tmp_path / "us"), read_image(tmp_path / "mr")


def test_it_reads_back_as_it_was_meant(series, tmp_path):
    fixed, moving = series
    push = Affine(TURN, [12.25, -3.5, 1 / 3])
    write_spatial_registration(push, fixed, moving, tmp_path / "r.dcm")
    found = pydicom.dcmread(tmp_path / "r.dcm")
    assert found.SOPClassUID.name == "Spatial Registration Storage"
    assert (found.Modality, found.FrameOfReferenceUID) == ("REG", "1.2.3")
    assert (str(found.PatientName), found.PatientID) == ("Müller^Jörg", "7")
    assert found.StudyInstanceUID == "1.9.1"
    own, other = found.RegistrationSequence
    assert (own.FrameOfReferenceUID, other.FrameOfReferenceUID) == ("1.2.3", "1.2.4")
    matrices = [item.MatrixRegistrationSequence[0].MatrixSequence[0] for item in (own, other)]
    values = [np.reshape(m.FrameOfReferenceTransformationMatrix, (4, 4)) for m in matrices]
    np.testing.assert_array_equal(values[0].astype(float), np.eye(4))
    np.testing.assert_allclose(values[1].astype(float), push.homogeneous, atol=1e-11)
    assert matrices[1].FrameOfReferenceTransformationMatrixType == "RIGID"
    # A point of the moving image goes where the map takes it.
    point = np.array([3.0, -8.0, 100.0, 1.0])
    np.testing.assert_allclose((values[1].astype(float) @ point)[:3], push([point[:3]])[0])
    uids = [i.ReferencedSOPInstanceUID for i in other.ReferencedImageSequence]
    assert uids == list(moving.meta["sop_instance_uids"])
    assert len(uids) == 5
    [elsewhere] = found.StudiesContainingOtherReferencedInstancesSequence
    assert elsewhere.StudyInstanceUID == "1.9.2"
    assert found.ReferencedSeriesSequence[0].SeriesInstanceUID == fixed.meta["series_uid"]


@pytest.mark.parametrize(("matrix", "kind"), [
    (TURN, "RIGID"), (1.2 * TURN, "RIGID_SCALE"), (TURN @ np.diag([1, 1, 1.1]), "AFFINE"),
    (np.diag([1.0, 1, -1]), "AFFINE"),
])  # fmt: skip
def test_it_says_what_kind_of_map_it_holds(series, tmp_path, matrix, kind):
    write_spatial_registration(Affine(matrix, np.zeros(3)), *series, tmp_path / "r.dcm")
    item = pydicom.dcmread(tmp_path / "r.dcm").RegistrationSequence[1]
    found = item.MatrixRegistrationSequence[0].MatrixSequence[0]
    assert found.FrameOfReferenceTransformationMatrixType == kind


def test_small_and_large_numbers_fit(series, tmp_path):
    """A decimal string has 16 characters; an exponent must not be cut off."""
    push = Affine(np.eye(3) + 1e-17 / 3, [-1234.56789012345678, 1e-9 / 3, -1e-300])
    write_spatial_registration(push, *series, tmp_path / "r.dcm")
    item = pydicom.dcmread(tmp_path / "r.dcm").RegistrationSequence[1]
    matrix = item.MatrixRegistrationSequence[0].MatrixSequence[0]
    texts = [str(v) for v in matrix.FrameOfReferenceTransformationMatrix]
    assert max(map(len, texts)) <= 16
    np.testing.assert_allclose([float(t) for t in texts[3:12:4]], push.offset, rtol=1e-9)


def test_it_needs_two_volumes_with_frames(series, tmp_path):
    fixed, moving = series
    bare = Image(moving.array, moving.grid)
    assert can_register(fixed, moving)
    assert not can_register(fixed, fixed)  # one frame: its images lie as they lie
    assert not can_register(fixed, bare)
    with pytest.raises(WriteError, match="two DICOM volumes with frames of reference that differ"):
        write_spatial_registration(Affine(TURN, np.zeros(3)), fixed, bare, tmp_path / "r.dcm")
    assert not (tmp_path / "r.dcm").exists()


def test_two_patients_are_not_linked_unless_it_is_said(tmp_path, write_series, stored_volume):
    ids = {"one": {"PatientID": "7"}, "same": {"PatientID": "7"}, "other": {"PatientID": "8"},
           "none": {"PatientID": ""}, "here": {"PatientID": "7", "IssuerOfPatientID": "A"},
           "there": {"PatientID": "7", "IssuerOfPatientID": "B"}}  # fmt: skip
    images = {}
    for number, (name, whose) in enumerate(ids.items()):
        write_series(tmp_path / name, stored_volume, FrameOfReferenceUID=f"1.2.{number}",
                     StudyInstanceUID="1.9.1", series=number + 1, **whose)  # fmt: skip
        images[name] = read_image(tmp_path / name)
    assert different_patients(images["one"], images["same"]) is None
    assert different_patients(images["one"], images["none"]) is None  # nobody knows
    assert different_patients(images["one"], images["here"]) is None
    assert different_patients(images["here"], images["there"]) == ("7 (A)", "7 (B)")
    assert different_patients(images["one"], images["other"]) == ("7", "8")
    assert different_patients(images["one"], Image(stored_volume, images["one"].grid)) is None
    still, path = Affine(TURN, np.zeros(3)), tmp_path / "r.dcm"
    with pytest.raises(WriteError, match="different patients: PatientID 7 and 8"):
        write_spatial_registration(still, images["one"], images["other"], path)
    assert not path.exists()
    write_spatial_registration(still, images["one"], images["other"], path, patients_differ=True)
    assert pydicom.dcmread(path).PatientID == "7"


def test_dicom_series_get_a_dicom_registration(tmp_path, monkeypatch, write_series):
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(6, 14, 16)), 2)
    volume = (500 + 900 * noise).astype(np.uint16)
    monkeypatch.chdir(tmp_path)
    for name, number in (("f", 3), ("m", 4)):
        write_series(tmp_path / name, volume, series=number, FrameOfReferenceUID=f"1.2.{number}",
                     StudyInstanceUID="1.9")  # fmt: skip
    spots = np.array([[-18.0, 31.0, 101.0], [-14.0, 36.0, 108.0], [-16.0, 33.0, 103.0]])
    write_landmarks(Landmarks(["a", "b", "c"], spots + np.array([1.0, 2.0, 0.5])), "f.mrk.json")
    write_landmarks(Landmarks(["a", "b", "c"], spots), "m.mrk.json")
    words = [
        "register",
        "--fixed",
        "f",
        "--moving",
        "m",
        "--fixed-landmarks",
        "f.mrk.json",
        "--moving-landmarks",
        "m.mrk.json",
        "--no-picture",
    ]
    assert main([*words, "--out", "out"]) == 0
    assert "registration.dcm" in json.loads((tmp_path / "out" / "report.json").read_text())["files"]
    item = pydicom.dcmread(tmp_path / "out" / "registration.dcm").RegistrationSequence[1]
    matrix = item.MatrixRegistrationSequence[0].MatrixSequence[0]
    found = np.reshape(matrix.FrameOfReferenceTransformationMatrix, (4, 4)).astype(float)
    np.testing.assert_allclose(found[:3, 3], [1.0, 2.0, 0.5], atol=1e-6)
    # No matrix says what a spline does, and the old one is not that of the new report.
    assert main([*words, "--refine", "bspline", "--overwrite", "--out", "out"]) == 0
    assert not (tmp_path / "out" / "registration.dcm").exists()


def test_series_are_chosen_and_patients_are_told_apart(tmp_path, monkeypatch, write_series, capsys):
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(6, 14, 16)), 2)
    volume = (500 + 900 * noise).astype(np.uint16)
    monkeypatch.chdir(tmp_path)
    for name, number, patient in (("f", 3, "7"), ("m/one", 4, "8"), ("m/two", 5, "8")):
        write_series(tmp_path / name, volume, series=number, FrameOfReferenceUID=f"1.2.{number}",
                     StudyInstanceUID="1.9", PatientID=patient)  # fmt: skip
    spots = np.array([[-18.0, 31.0, 101.0], [-14.0, 36.0, 108.0], [-16.0, 33.0, 103.0]])
    write_landmarks(Landmarks(["a", "b", "c"], spots), "f.mrk.json")
    write_landmarks(Landmarks(["a", "b", "c"], spots), "m.mrk.json")
    words = ["register", "--fixed", "f", "--moving", "m", "--fixed-landmarks", "f.mrk.json",
             "--moving-landmarks", "m.mrk.json", "--no-picture", "--out", "out"]  # fmt: skip
    assert main(words) == 2
    assert "say --moving-series … (in a cohort, give each a folder): 4:" in capsys.readouterr().err
    words += ["--moving-series", "5"]
    assert main(words) == 0
    assert "different patients: PatientID 7 and 8" in capsys.readouterr().err
    assert not (tmp_path / "out" / "registration.dcm").exists()
    assert main([*words, "--overwrite", "--different-patients"]) == 0
    item = pydicom.dcmread(tmp_path / "out" / "registration.dcm").RegistrationSequence[1]
    assert item.FrameOfReferenceUID == "1.2.5"
