"""NIfTI voxels that SimpleITK would change: NaN becomes 0, scaled integers lose digits."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anatomark.errors import ImageError
from anatomark.io.images.headers import RESEND, check_complete
from anatomark.io.images.nifti import GZIP, read_header

_FLOATS = {16: "f4", 64: "f8"}
_INTEGERS = {
    2: "u1", 4: "i2", 8: "i4", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip


def read_exactly(path: Path, shape: tuple[int, ...]) -> NDArray[Any] | None:
    """Voxels of that shape, scaled as the header says; ``None`` where SimpleITK changes nothing.

    Reals stay in their type; integers with a scale become float32, or float64 where float32 does
    not hold them.

    The file has been inspected before.
    """
    header = read_header(path)
    slope, intercept = float(header["slope"]), float(header["intercept"])
    whole = _INTEGERS.get(int(header["datatype"]))
    if whole is not None and (slope, intercept) in {(1.0, 0.0), (0.0, 0.0)}:
        return None
    kind = whole or _FLOATS.get(int(header["datatype"]))
    sizes = [int(n) for n in header["dim"][1 : int(header["dim"][0]) + 1]]
    count = int(np.prod(sizes))
    if kind is None:
        return None
    scalar = count == int(np.prod(shape))
    if not scalar and whole is not None:
        return None
    start = max(int(header["offset"]), header.dtype.itemsize)
    order = header.dtype["datatype"].byteorder
    needed = count * np.dtype(kind).itemsize
    with path.open("rb") as stream:
        zipped = stream.read(2) == GZIP
    try:
        with gzip.open(path) if zipped else path.open("rb") as stream:
            stream.seek(start)
            data = stream.read(needed)
    except (OSError, EOFError, zlib.error):
        raise ImageError("the compressed data is damaged", path=path, fix=RESEND) from None
    check_complete(len(data), needed, path)
    stored = np.frombuffer(data, np.dtype(kind).newbyteorder(order))
    if not scalar:
        if not np.isfinite(stored).all():
            raise ImageError(
                "has vectors with NaN or infinite components", path=path, fix="replace them first"
            )
        return None
    values = stored.astype(kind).reshape(shape)
    # The standard: a slope of 0 (or one that is no number) means that there is no scaling.
    if np.isfinite([slope, intercept]).all() and slope and (slope, intercept) != (1.0, 0.0):
        exact = values.astype(np.float64) * slope + intercept
        wide = values.dtype.kind in "iu" and values.dtype.itemsize > 2
        return exact.astype(np.float64 if wide else np.float32 if whole else kind)
    return values
