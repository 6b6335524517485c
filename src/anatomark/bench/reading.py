"""Reading images from files, with all checks, against the library that decodes them alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anatomark.bench.measure import Setting, Task, Work
from anatomark.io.images.reading import read_image
from anatomark.io.native import simpleitk

_LEVEL = 1  # of compression: it is the reading that is measured


def _blotchy(shape: tuple[int, ...]) -> NDArray[np.int16]:
    """Smooth grey values with some noise, which compress about as well as a scan."""
    from scipy.ndimage import zoom

    rng = np.random.default_rng(0)
    coarse = rng.normal(size=[max(n // 16, 2) for n in shape]).astype(np.float32)
    factors = [n / c for n, c in zip(shape, coarse.shape, strict=True)]
    smooth = zoom(coarse, factors, order=1)
    noise = rng.normal(0, 8, shape).astype(np.float32)
    return np.asarray(300 * smooth + noise).astype(np.int16)


def _same(ours: NDArray[Any], naive: NDArray[Any]) -> float:
    """How many values differ."""
    return float("nan") if ours.shape != naive.shape else float((ours != naive).sum())


def _volume(setting: Setting) -> Work:
    sitk = simpleitk()
    file = setting.folder / "volume.nii.gz"
    if not file.exists():
        setting.folder.mkdir(exist_ok=True)
        picture = sitk.GetImageFromArray(_blotchy((setting.size[0],) * 3))
        sitk.WriteImage(picture, str(file), useCompression=True, compressionLevel=_LEVEL)

    def naive() -> NDArray[Any]:
        return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(file))))

    return Work(lambda: read_image(file).array, naive, _same, 0)


def _film(setting: Setting) -> Work:
    from PIL import Image as Picture

    file = setting.folder / "film.png"
    if not file.exists():
        setting.folder.mkdir(exist_ok=True)
        grey = np.clip(_blotchy(setting.size) / 8 + 128, 0, 255).astype(np.uint8)
        Picture.fromarray(grey).save(file)

    def naive() -> NDArray[Any]:
        with Picture.open(file) as picture:
            return np.asarray(picture)

    return Work(lambda: read_image(file, spacing=0.1).array, naive, _same, 0)


def _series(setting: Setting) -> Work:
    sitk = simpleitk()
    folder = setting.folder / "series"
    if not folder.exists():
        folder.mkdir(parents=True)
        _write_series(_blotchy(setting.size), folder)

    def naive() -> NDArray[Any]:
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
        return np.asarray(sitk.GetArrayFromImage(reader.Execute()))

    return Work(lambda: read_image(folder).array, naive, _same, 0)


def _write_series(volume: NDArray[np.int16], folder: Path) -> None:
    """A CT series of slices that lie 2 mm apart."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    rows, columns = volume.shape[1:]
    for number, array in enumerate(volume):
        d: Any = Dataset()
        d.file_meta = FileMetaDataset()
        d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        d.file_meta.MediaStorageSOPClassUID = d.SOPClassUID = CTImageStorage
        d.SOPInstanceUID = d.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number + 1}"
        d.StudyInstanceUID, d.SeriesInstanceUID = "1.2.1", "1.2.2"
        d.FrameOfReferenceUID, d.Modality, d.InstanceNumber = "1.2.4", "CT", number + 1
        d.PatientID, d.PatientName = "phantom", "phantom"
        d.ImagePositionPatient = [-100.0, -100.0, 2.0 * number]
        d.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        d.PixelSpacing, d.SliceThickness = [0.8, 0.8], 2.0
        d.Rows, d.Columns, d.SamplesPerPixel = rows, columns, 1
        d.PhotometricInterpretation = "MONOCHROME2"
        d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 16, 15, 1
        d.RescaleSlope, d.RescaleIntercept = 1, 0
        d.PixelData = array.tobytes()
        d.save_as(folder / f"{number:04d}.dcm", enforce_file_format=True)


TASKS = (
    Task(
        "NIfTI, compressed", "SimpleITK", _volume, (256,), (32,), "{0}³ int16",
        unit="values differ", repeats=3,
    ),
    Task(
        "PNG film", "Pillow", _film, (2400, 1936), (120, 96), "{0}×{1} uint8",
        unit="values differ", repeats=3,
    ),
    Task(
        "DICOM series", "SimpleITK (GDCM)", _series, (100, 256, 256), (4, 32, 32),
        "{0} slices of {1}×{2}", unit="values differ", repeats=3,
    ),
)  # fmt: skip
