"""DICOM Spatial Registration out: a rigid or affine map between two frames of reference.

DICOM PS3.3 A.39 and C.20.2. The frame of the fixed image is the registered one; the item of each
image has the matrix that takes its points (LPS mm) there, for the fixed one the identity.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from anatomark import __version__
from anatomark.data import Image
from anatomark.errors import ImageError, WriteError
from anatomark.io.dicom.headers import dicom_errors, text
from anatomark.io.files import writing
from anatomark.maps import Affine

SPATIAL_REGISTRATION = "1.2.840.10008.5.1.4.1.1.66.1"
_RIGID = 1e-6
# Whose images these are: a registration that belongs to nobody cannot be filed.
_PATIENT = ("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex")
_STUDY = ("StudyInstanceUID", "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID",
          "AccessionNumber")  # fmt: skip


_NEEDED = ("frame_of_reference_uid", "study_uid", "series_uid", "sop_class_uid", "source_files")


def can_register(fixed: Image, moving: Image) -> bool:
    """Whether both are DICOM volumes that know their frames of reference, and these differ.

    Two maps out of one frame would contradict each other: what lies in one is registered by it.
    """
    known = all(
        image.grid.dimension == 3 and all(image.meta.get(name) for name in _NEEDED)
        and any(image.meta.get("sop_instance_uids", ()))
        for image in (fixed, moving)
    )  # fmt: skip
    frames = [image.meta.get("frame_of_reference_uid") for image in (fixed, moving)]
    return known and frames[0] != frames[1]


def different_patients(fixed: Image, moving: Image) -> tuple[str, str] | None:
    """The PatientID of each image, where both files state one and these differ.

    Images are read without whose they are: the first file of each is looked at again.
    """
    known = [_patient(image) for image in (fixed, moving)]
    (one, its_issuer), (other, other_issuer) = known
    if not (one and other):
        return None
    if one == other and (its_issuer == other_issuer or not (its_issuer and other_issuer)):
        return None
    if one == other:  # the same number of two hospitals
        return f"{one} ({its_issuer})", f"{other} ({other_issuer})"
    return one, other


def _patient(image: Image) -> tuple[str, str]:
    """PatientID and its issuer; empty where the file has none, or is not there any more."""
    import pydicom

    if not image.meta.get("series_uid") or not image.meta.get("source_files"):
        return "", ""
    source = Path(image.meta["source_files"][0])
    tags = ["PatientID", "IssuerOfPatientID", "SpecificCharacterSet"]
    try:
        with dicom_errors(source):
            header = pydicom.dcmread(
                source, stop_before_pixels=True, force=True, specific_tags=tags
            )
            return text(header, "PatientID"), text(header, "IssuerOfPatientID")
    except ImageError:
        return "", ""


def write_spatial_registration(
    push: Affine,
    fixed: Image,
    moving: Image,
    path: str | os.PathLike[str],
    *,
    how: str = "by points",
    patients_differ: bool = False,
) -> None:
    """Write the map that ``push``es moving points onto fixed ones (LPS mm) as a REG object.

    Patient and study are those of the fixed image, whose files are looked at again; ``how`` is
    the description of the content. Images of different patients are refused unless
    ``patients_differ``: the file would put one's images among the other's.
    """
    if not can_register(fixed, moving):
        raise WriteError(
            "a spatial registration needs two DICOM volumes with frames of reference that differ",
            path=path,
        )
    both = None if patients_differ else different_patients(fixed, moving)
    if both is not None:
        raise WriteError(
            f"the images are of different patients: PatientID {both[0]} and {both[1]}", path=path,
            fix="say patients_differ=True if they may be linked all the same",
        )  # fmt: skip
    dataset = _about(fixed)
    dataset.ContentDescription = how
    still = Affine.identity(3)
    dataset.RegistrationSequence = [_item(fixed, still), _item(moving, push)]
    _refer(dataset, fixed, moving)
    with writing(path) as temporary:
        dataset.save_as(temporary, enforce_file_format=True)


def _about(fixed: Image) -> Any:
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    source = Path(fixed.meta["source_files"][0])
    tags = [*_PATIENT, *_STUDY, "SpecificCharacterSet"]
    with dicom_errors(source):  # images are read without whose they are
        header = pydicom.dcmread(source, stop_before_pixels=True, force=True, specific_tags=tags)
    found, now = Dataset(), datetime.now().astimezone()
    for tag in (*_PATIENT, *_STUDY):
        if tag in header:
            found[tag] = header[tag]
        elif tag not in {"IssuerOfPatientID", "StudyInstanceUID"}:
            setattr(found, tag, "")  # type 2: known to be unknown
    if "SpecificCharacterSet" in header:
        found.SpecificCharacterSet = header.SpecificCharacterSet
    found.SOPClassUID, found.SOPInstanceUID = SPATIAL_REGISTRATION, generate_uid(None)
    found.Modality, found.SeriesInstanceUID = "REG", generate_uid(None)
    found.SeriesNumber, found.InstanceNumber = 1, 1
    found.SeriesDescription = "anatomark registration"
    found.SeriesDate = found.ContentDate = found.InstanceCreationDate = now.strftime("%Y%m%d")
    found.SeriesTime = found.ContentTime = found.InstanceCreationTime = now.strftime("%H%M%S")
    found.Manufacturer = found.ManufacturerModelName = "anatomark"
    found.SoftwareVersions, found.DeviceSerialNumber = __version__, "0"
    found.ContentLabel = "REGISTRATION"
    found.ContentCreatorName = ""
    found.FrameOfReferenceUID = fixed.meta["frame_of_reference_uid"]
    found.PositionReferenceIndicator = ""
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    found.file_meta.MediaStorageSOPClassUID = found.SOPClassUID
    found.file_meta.MediaStorageSOPInstanceUID = found.SOPInstanceUID
    return found


def _item(image: Image, push: Affine) -> Any:
    """One image's frame, its instances, and the way from there into the registered frame."""
    from pydicom.dataset import Dataset

    matrix, step, item = Dataset(), Dataset(), Dataset()
    matrix.FrameOfReferenceTransformationMatrix = [
        _decimal(value) for value in push.homogeneous.ravel()
    ]
    matrix.FrameOfReferenceTransformationMatrixType = _kind(push)
    step.FrameOfReferenceTransformationComment = ""
    step.RegistrationTypeCodeSequence = []
    step.MatrixSequence = [matrix]
    item.FrameOfReferenceUID = image.meta["frame_of_reference_uid"]
    item.ReferencedImageSequence = _instances(image)
    item.MatrixRegistrationSequence = [step]
    return item


def _decimal(value: float) -> str:
    """At most the 16 characters that a decimal string may have."""
    for digits in range(16, 0, -1):
        text = f"{value:.{digits}g}"
        if len(text) <= 16:
            return text
    return "0"


def _kind(push: Affine) -> str:
    turned = push.matrix @ push.matrix.T
    size = float(np.cbrt(np.linalg.det(push.matrix)))
    if np.abs(turned - size**2 * np.eye(3)).max() > _RIGID or size < 0:
        return "AFFINE"
    return "RIGID" if abs(size - 1) < _RIGID else "RIGID_SCALE"


def _instances(image: Image) -> list[Any]:
    from pydicom.dataset import Dataset

    found = []
    for uid in dict.fromkeys(u for u in image.meta["sop_instance_uids"] if u):
        one = Dataset()
        one.ReferencedSOPClassUID = image.meta.get("sop_class_uid", "")
        one.ReferencedSOPInstanceUID = uid
        found.append(one)
    return found


def _refer(dataset: Any, fixed: Image, moving: Image) -> None:
    """The series that are meant: those of this study, and those of others (PS3.3 C.12.2)."""
    from pydicom.dataset import Dataset

    own: list[Any] = []
    others: list[Any] = []
    for image in (fixed, moving):
        series, study = Dataset(), image.meta.get("study_uid", "")
        series.SeriesInstanceUID = image.meta.get("series_uid", "")
        series.ReferencedInstanceSequence = _instances(image)
        if study == dataset.get("StudyInstanceUID", ""):
            own.append(series)
            continue
        other = Dataset()
        other.StudyInstanceUID, other.ReferencedSeriesSequence = study, [series]
        others.append(other)
    if own:
        dataset.ReferencedSeriesSequence = own
    if others:
        dataset.StudiesContainingOtherReferencedInstancesSequence = others
