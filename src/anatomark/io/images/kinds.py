"""The table of image formats: how each is known, checked and read by SimpleITK."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from anatomark.errors import ImageError, UsageError
from anatomark.io.files import suffix_of
from anatomark.io.images import metaimage, nifti, nifti_floats, nrrd, rasters
from anatomark.io.images.headers import Facts

_START = 4096


@dataclass(frozen=True)
class Kind:
    """A format: its name and extensions, its ``inspect``, and SimpleITK's name of the reader.

    ``voxels(path, shape)`` reads what SimpleITK would change, and gives ``None`` for the rest.
    """

    name: str
    suffixes: tuple[str, ...]
    matches: Callable[[bytes], bool]
    inspect: Callable[..., Facts]
    reader: str
    voxels: Callable[[Path, tuple[int, ...]], NDArray[Any] | None] = lambda *_: None


def _starts(*magics: bytes) -> Callable[[bytes], bool]:
    return lambda start: start.startswith(magics)


KINDS = (
    Kind(
        "NIfTI",
        (".nii", ".nii.gz"),
        nifti.is_nifti,
        nifti.inspect,
        "NiftiImageIO",
        voxels=nifti_floats.read_exactly,
    ),
    Kind("NRRD", (".nrrd", ".nhdr", ".seg.nrrd"), _starts(nrrd.MAGIC), nrrd.inspect, "NrrdImageIO"),
    Kind("MetaImage", (".mha", ".mhd"), metaimage.is_metaimage, metaimage.inspect, "MetaImageIO"),
    Kind("PNG", (".png",), _starts(rasters.PNG_MAGIC), rasters.inspect_png, "PNGImageIO"),
    Kind(
        "JPEG", (".jpg", ".jpeg"), _starts(rasters.JPEG_MAGIC), rasters.inspect_jpeg, "JPEGImageIO"
    ),
    Kind(
        "TIFF",
        (".tif", ".tiff", ".ome.tiff"),
        _starts(*rasters.TIFF_MAGICS),
        rasters.inspect_tiff,
        "TIFFImageIO",
    ),
    Kind("BMP", (".bmp",), _starts(rasters.BMP_MAGIC), rasters.inspect_bmp, "BMPImageIO"),
)
FILE_SUFFIXES: tuple[str, ...] = tuple(s for kind in KINDS for s in kind.suffixes)


def named_kind(path: Path) -> Kind:
    """The format that a file's extension stands for."""
    suffix = suffix_of(path)
    for kind in KINDS:
        if suffix in kind.suffixes:
            return kind
    raise UsageError(
        f"an image cannot have the extension {suffix!r}" if suffix else "is not an image",
        path=path,
        fix=f"use one of {', '.join(FILE_SUFFIXES)} or DICOM",
    )


def kind_of(path: Path) -> Kind:
    """The format of a file by its content; a wrong name is forgiven where it does no harm."""
    named = named_kind(path)
    start = nifti.first_bytes(path, _START)
    found = next((kind for kind in KINDS if kind.matches(start)), None)
    if found is None:
        raise ImageError(
            f"is not a whole {named.name} file",
            path=path,
            fix="check that it is the right file, copy or export it again",
        )
    if "NIfTI" in {found.name, named.name}:
        nifti.check_name(path, suffix_of(path), is_nifti=found.name == "NIfTI")
    return found
