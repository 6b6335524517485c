"""Real-valued NIfTI voxels as they are stored: SimpleITK turns NaN and infinity into 0 unasked."""

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

_TYPES = {16: "f4", 64: "f8"}


def read_floats(path: Path, shape: tuple[int, ...]) -> NDArray[Any] | None:
    """Voxels of that shape, scaled as the header says; ``None`` where they are not real scalars.

    The file has been inspected before.
    """
    header = read_header(path)
    kind, count = _TYPES.get(int(header["datatype"])), int(np.prod(shape))
    sizes = [int(n) for n in header["dim"][1 : int(header["dim"][0]) + 1]]
    if kind is None or int(np.prod(sizes)) != count:
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
    values = stored.astype(kind).reshape(shape)
    slope, intercept = float(header["slope"]), float(header["intercept"])
    # The standard: a slope of 0 (or one that is no number) means that there is no scaling.
    if np.isfinite([slope, intercept]).all() and slope and (slope, intercept) != (1.0, 0.0):
        values = (values * slope + intercept).astype(kind)
    return values
