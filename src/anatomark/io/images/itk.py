"""SimpleITK as reader of image files: arrays and headers out, and no messages of its own."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anatomark.errors import GeometryError, ImageError
from anatomark.geometry import Grid
from anatomark.io.images.headers import MEND_HEADER, RESEND
from anatomark.io.native import itk_warnings, named_for_itk, simpleitk, told

_PERMISSIVE = "ITK_NIFTI_SFORM_PERMISSIVE"


@dataclass(frozen=True)
class Header:
    """Size and place of the voxels of a file as SimpleITK sees them, and what they hold."""

    size_xyz: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]
    channels: int
    voxel: str

    def grid(self, path: Path) -> Grid:
        """The grid in the file's unit; a fourth axis of size 1 is dropped."""
        dim, kept = len(self.size_xyz), min(len(self.size_xyz), 3)
        frames = int(np.prod(self.size_xyz[3:]))
        if frames > 1:
            raise ImageError(
                f"has {dim} axes: {frames} volumes of {' × '.join(map(str, self.size_xyz[:3]))}",
                path=path,
                fix="save the one volume that you need as a 3D image",
            )
        try:
            return Grid(
                shape=self.size_xyz[:kept][::-1],
                spacing=np.array(self.spacing[:kept]),
                origin=np.array(self.origin[:kept]),
                direction=np.reshape(self.direction, (dim, dim))[:kept, :kept],
            )
        except GeometryError as fault:
            raise ImageError(fault.problem, path=path, fix=MEND_HEADER) from None


def read_header(path: Path, reader: str) -> Header:
    """Header of a file, by the SimpleITK reader of that name."""
    source = _source(os.fspath(path), reader)
    with _calm(path, quiet=True):  # reading the voxels says it again
        source.ReadImageInformation()
        voxel = str(simpleitk().GetPixelIDValueAsString(source.GetPixelIDValue()))
    return Header(
        size_xyz=tuple(source.GetSize()),
        spacing=tuple(source.GetSpacing()),
        origin=tuple(source.GetOrigin()),
        direction=tuple(source.GetDirection()),
        channels=int(source.GetNumberOfComponents()),
        voxel=voxel,
    )


def read_array(
    path: Path,
    reader: str,
    shape: tuple[int, ...],
    channels: int = 1,
    *,
    about: Path | None = None,
) -> NDArray[Any]:
    """Voxels of that shape, ``(z, y, x)`` or ``(y, x)``; several channels come first.

    ``about`` is the file to name in messages where it is not ``path`` itself.
    """
    with named_for_itk(path) as name, _calm(path if about is None else about):
        array: NDArray[Any] = simpleitk().GetArrayFromImage(_source(name, reader).Execute())
    if array.size != np.prod(shape) * channels:
        raise ImageError(f"holds {array.shape} voxels, not {shape}", path=path, fix=MEND_HEADER)
    if channels == 1:
        return array.reshape(shape)
    return np.ascontiguousarray(np.moveaxis(array.reshape(*shape, channels), -1, 0))


def _source(name: str, reader: str) -> Any:
    source = simpleitk().ImageFileReader()
    source.SetImageIO(reader)
    source.SetFileName(name)
    return source


@contextmanager
def _calm(path: Path, *, quiet: bool = False) -> Iterator[None]:
    """One error or one warning instead of what ITK and the libraries below it print."""
    try:
        # ``told`` holds the lock under which the settings of the process may be changed.
        with told(path, quiet=quiet), _permissive(), itk_warnings(shown=False):
            yield
    except (RuntimeError, MemoryError) as fault:
        raise ImageError(f"cannot be read: {_reason(fault)}", path=path, fix=RESEND) from None


@contextmanager
def _permissive() -> Iterator[None]:
    """Let ITK read the voxels of a NIfTI file that is sheared; the grid is made elsewhere."""
    before = os.environ.get(_PERMISSIVE)
    os.environ[_PERMISSIVE] = "ON"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_PERMISSIVE, None)
        else:
            os.environ[_PERMISSIVE] = before


def _reason(fault: BaseException) -> str:
    """The part of an ITK message that says what is wrong: its last line, without addresses."""
    lines = [line.strip() for line in str(fault).splitlines()]
    useful = [line for line in lines if line and not line.startswith("Reason:")]
    text = useful[-1] if useful else "out of memory"
    return re.sub(r"^((itk|sitk|ITK)::)?(ITK )?ERROR: |\w+\(0x[0-9a-f]+\): ", "", text)[:200]


def write_file(array: NDArray[Any], grid: Grid, path: Path) -> None:
    """Write voxels, channels first, in the format of the path's extension, compressed."""
    sitk = simpleitk()
    vector = array.ndim > grid.dimension
    ordered = np.moveaxis(array, 0, -1) if vector else array
    picture = sitk.GetImageFromArray(np.ascontiguousarray(ordered), isVector=vector)
    picture.SetSpacing(grid.spacing.tolist())
    picture.SetOrigin(grid.origin.tolist())
    picture.SetDirection(grid.direction.ravel().tolist())
    with told(path, quiet=True), itk_warnings(shown=False):
        try:
            sitk.WriteImage(picture, os.fspath(path), useCompression=_compresses(path))
        except (RuntimeError, MemoryError) as fault:
            # The libraries have their own words for a full disk, or none.
            if shutil.disk_usage(path.parent).free < array.nbytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
            raise OSError(_reason(fault)) from None


def _compresses(path: Path) -> bool:
    return path.suffix.lower() in {".gz", ".nrrd", ".png"}
