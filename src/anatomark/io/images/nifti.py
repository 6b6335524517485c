"""NIfTI-1 headers: whether the file is whole, and the exact grid it states.

The grid is made here because SimpleITK takes a bad ``pixdim`` for 1, takes the spacing from
``pixdim`` where the sform says otherwise, and refuses an sform that is sheared. Which of sform and
qform counts is decided as ITK does, so that points placed in 3D Slicer or ITK-SNAP fit.
"""

from __future__ import annotations

import gzip
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from anatomark.errors import GeometryError, ImageError, ImageWarning
from anatomark.geometry import FloatArray, Grid
from anatomark.io.images.headers import (
    MEND_HEADER,
    RESEND,
    Facts,
    check_complete,
    check_finite,
    check_sizes,
    check_spacing,
    inflated_size,
)

HEADER = np.dtype(
    {
        "names": [
            "length", "dim", "intent", "datatype", "pixdim", "offset", "units", "qform_code",
            "sform_code", "quatern", "qoffset", "sform", "magic", "slope", "intercept",
        ],
        "formats": [
            "i4", ("i2", 8), "i2", "i2", ("f4", 8), "f4", "u1", "i2", "i2",
            ("f4", 3), ("f4", 3), ("f4", (3, 4)), "S4", "f4", "f4",
        ],
        "offsets": [0, 40, 68, 70, 76, 108, 123, 252, 254, 256, 268, 280, 344, 112, 116],
        "itemsize": 348,
    }
)  # fmt: skip
_BYTES = {
    2: 1, 4: 2, 8: 4, 16: 4, 32: 8, 64: 8, 128: 3, 256: 1, 512: 2, 768: 4, 1024: 8, 1280: 8,
    1792: 16, 2304: 4,
}  # fmt: skip
_UNITS_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 1e-3}
GZIP = b"\x1f\x8b"
_SCANNER = 1
_VECTOR_INTENTS = {1005, 1006, 1007}
_RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])
_ORTHONORMAL = 1e-4
_SAME_SCALE = 1e-5


def is_nifti(start: bytes) -> bool:
    """Tell from the first bytes (inflated) whether this is a NIfTI or Analyze header."""
    return start[:4] in {b"\x5c\x01\0\0", b"\0\0\x01\x5c", b"\x1c\x02\0\0", b"\0\0\x02\x1c"}


def first_bytes(path: Path, count: int) -> bytes:
    """The first bytes of a file, inflated where it is gzipped."""
    with path.open("rb") as stream:
        start = stream.read(count)
    if not start.startswith(GZIP):
        return start
    try:
        with gzip.open(path) as inflated:
            return inflated.read(count)
    except (OSError, EOFError, zlib.error):
        return start


def check_name(path: Path, suffix: str, *, is_nifti: bool) -> None:
    """Raise where SimpleITK, which goes by the extension here, would not know what to do."""
    with path.open("rb") as stream:
        compressed = stream.read(2) == GZIP
    right = ".nii.gz" if compressed else ".nii"
    if is_nifti and suffix not in {right, ".nii.gz"}:
        raise ImageError(
            f"is a NIfTI file, which its extension does not say{' (compressed)' * compressed}",
            path=path,
            fix=f"rename it to {right}",
        )
    if not is_nifti:
        raise ImageError("is not a NIfTI file", path=path, fix="check that it is the right file")


def inspect(path: Path, *, whole: bool = True) -> Facts:
    """Check the header and, if ``whole``, that all voxels are there; give the exact grid."""
    header = read_header(path)
    sizes = _sizes(header, path)
    if whole:
        _check_whole(path, header, sizes)
    return Facts(grid=_grid(header, sizes, path))


def read_header(path: Path) -> Any:
    """The header as one structured value, in the file's byte order."""
    start = first_bytes(path, HEADER.itemsize)
    if start[:4] in {b"\x1c\x02\0\0", b"\0\0\x02\x1c"}:
        raise ImageError("is a NIfTI-2 file", path=path, fix="convert it to NIfTI-1 or NRRD")
    if len(start) < HEADER.itemsize or not is_nifti(start):
        raise ImageError("is not a whole NIfTI file", path=path, fix=RESEND)
    kind = HEADER.newbyteorder("<" if start.startswith(b"\x5c") else ">")
    header = np.frombuffer(start, kind)[0]
    if header["magic"] != b"n+1":
        raise ImageError(
            "is not a NIfTI file of one part", path=path, fix="convert .hdr and .img to .nii.gz"
        )
    return header


def _sizes(header: Any, path: Path) -> list[int]:
    count = int(header["dim"][0])
    if not 1 <= count <= 7:
        raise ImageError(f"the header gives {count} axes", path=path, fix=MEND_HEADER)
    sizes = [int(n) for n in header["dim"][1 : count + 1]]
    check_sizes(sizes, path)
    return sizes


def _check_whole(path: Path, header: Any, sizes: list[int]) -> None:
    kind = int(header["datatype"])
    if kind not in _BYTES:
        raise ImageError(
            f"its voxel type (NIfTI datatype {kind}) is not supported",
            path=path,
            fix="convert it to an integer type or float32",
        )
    check_finite("vox_offset", [header["offset"]], path)
    start = max(int(header["offset"]), HEADER.itemsize)
    voxels = int(np.prod(sizes, dtype=object)) * _BYTES[kind]
    check_complete(_length(path, start + voxels) - start, voxels, path)


def _length(path: Path, expected: int) -> int:
    """Length of the file once inflated; the whole is inflated only where there is a doubt."""
    with path.open("rb") as stream:
        compressed = stream.read(2) == GZIP
        stream.seek(-4, 2)
        # gzip ends in the length of what it holds; a file cut off ends in anything else.
        stated = int.from_bytes(stream.read(4), "little")
        if not compressed:
            return stream.tell()
    return expected if stated == expected % 2**32 else inflated_size(path)


# -- the grid --------------------------------------------------------------------------------------


def _grid(header: Any, sizes: list[int], path: Path) -> Grid | None:
    """The grid in mm, LPS; ``None`` where the number of axes is not 2 or 3."""
    spatial = _spatial(header, sizes)
    if len(spatial) < 2:
        return None
    pixdim = header["pixdim"].astype(np.float64)
    check_spacing(pixdim[1 : len(spatial) + 1], path)
    spacing = np.where(np.arange(3) < len(spatial), pixdim[1:4], 1.0)
    matrix, offset = _index_to_ras(header, spatial, spacing, path)
    matrix, spacing = matrix[:, : len(spatial)], spacing[: len(spatial)]
    lengths = np.linalg.norm(matrix, axis=0)
    if (lengths == 0).any():
        raise ImageError("the direction matrix is singular", path=path, fix=MEND_HEADER)
    direction = matrix / lengths * _RAS_TO_LPS[:, None]
    if np.allclose(lengths, spacing, rtol=_SAME_SCALE, atol=0):
        lengths = spacing  # float32 rows give the spacing back with less precision
    scale = _unit(header, path)
    return _cut(spatial, lengths * scale, offset * _RAS_TO_LPS * scale, direction, path)


def _spatial(header: Any, sizes: list[int]) -> list[int]:
    """Sizes along x, y(, z); a 2D image of vectors is stored as 5D with z and time of 1."""
    flat = len(sizes) == 5 and sizes[2:4] == [1, 1] and int(header["intent"]) in _VECTOR_INTENTS
    return sizes[:2] if flat else sizes[:3]


def _unit(header: Any, path: Path) -> float:
    code = int(header["units"]) & 7
    if code not in _UNITS_MM:
        raise ImageError(
            f"its unit of length (code {code}) is not known", path=path, fix=MEND_HEADER
        )
    return _UNITS_MM[code]


def _cut(
    sizes: list[int], spacing: FloatArray, origin: FloatArray, direction: FloatArray, path: Path
) -> Grid:
    dim = len(sizes)
    if dim == 2 and np.abs(direction[2]).max() > _ORTHONORMAL:
        raise ImageError(
            "is a 2D image of a plane that is not the x-y plane",
            path=path,
            fix="store it as a 3D image of one slice",
        )
    try:
        return Grid(
            shape=tuple(reversed(sizes)),
            spacing=spacing,
            origin=origin[:dim],
            direction=direction[:dim],
        )
    except GeometryError as fault:
        raise ImageError(fault.problem, path=path, fix=MEND_HEADER) from None


def _index_to_ras(
    header: Any, sizes: list[int], spacing: FloatArray, path: Path
) -> tuple[FloatArray, FloatArray]:
    """Matrix and offset that count, in the file's unit: sform or qform, chosen as ITK does."""
    sform = header["sform"].astype(np.float64)
    from_s, from_q = int(header["sform_code"]) > 0, int(header["qform_code"]) > 0
    if not from_s and not from_q:
        warnings.warn(
            ImageWarning(f"{path}: has no orientation; its axes are taken as left, posterior, up"),
            stacklevel=2,
        )
        return np.diag(spacing * _RAS_TO_LPS), np.zeros(3)
    if from_s:
        check_finite("sform", sform.ravel(), path)
    if not from_q:
        return sform[:, :3], sform[:, 3]
    qform = _qform(header, spacing, path)
    if not from_s:
        return qform
    return _choose(header, sizes, sform, qform, path)


def _choose(
    header: Any,
    sizes: list[int],
    sform: FloatArray,
    qform: tuple[FloatArray, FloatArray],
    path: Path,
) -> tuple[FloatArray, FloatArray]:
    """One of two stated orientations, with a warning where they place voxels apart."""
    corner = np.array([*sizes, 0.0, 0.0][:3])  # the last one, in the plane of a 2D image
    by_s = sform @ [*corner, 1.0]
    by_q = qform[0] @ corner + qform[1]
    apart = max(np.abs(by_s - by_q).max(), np.abs(sform[:, 3] - qform[1]).max())
    rounding = _quaternion_error(header) * float(np.linalg.norm(by_q - qform[1]))
    similar = bool(apart < 0.01 * np.linalg.norm(qform[0], axis=0).min() + rounding)
    usable = _is_orthogonal(sform[:, :3])
    use_sform = usable and (similar or int(header["sform_code"]) == _SCANNER)
    if not similar:
        used, other = ("sform", "qform") if use_sform else ("qform", "sform")
        warnings.warn(
            ImageWarning(
                f"{path}: sform and qform place voxels up to {apart:.3g} apart; "
                f"the {used} is used, the {other} is not"
            ),
            stacklevel=2,
        )
    return (sform[:, :3], sform[:, 3]) if use_sform else qform


def _real_part(header: Any) -> float:
    vector = header["quatern"].astype(np.float64)
    return float(np.sqrt(max(1.0 - float(vector @ vector), 0.0)))


def _quaternion_error(header: Any) -> float:
    """Angle (rad) that rounding to float32 may cost: much near half a turn, where a is small."""
    return 1e-6 / max(_real_part(header), 1e-3)


def _is_orthogonal(matrix: FloatArray) -> bool:
    lengths = np.linalg.norm(matrix, axis=0)
    if (lengths == 0).any():
        return False
    columns = matrix / lengths
    return bool(np.abs(columns.T @ columns - np.eye(3)).max() < _ORTHONORMAL)


def _qform(header: Any, spacing: FloatArray, path: Path) -> tuple[FloatArray, FloatArray]:
    """Matrix and offset of the quaternion, as the NIfTI-1 standard defines them."""
    from scipy.spatial.transform import Rotation

    check_finite("qform", [*header["quatern"], *header["qoffset"]], path)
    vector = header["quatern"].astype(np.float64)
    rotation = Rotation.from_quat([*vector, _real_part(header)]).as_matrix()
    handed = -1.0 if float(header["pixdim"][0]) < 0 else 1.0
    matrix = rotation * spacing * np.array([1.0, 1.0, handed])
    return matrix, header["qoffset"].astype(np.float64)
