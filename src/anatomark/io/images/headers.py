"""What an image file's own header says, and the checks that all formats share.

SimpleITK reads the voxels, but it passes over much in silence: a spacing that is not a number
becomes 1, a file that was cut off ends in zeros. Each format therefore has an ``inspect`` of its
own, which reads the header first and refuses what is not sound.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from anatomark.errors import ImageError
from anatomark.geometry import Grid

RESEND = "copy or export it again"
MEND_HEADER = "mend the file's header"
_BLOCK = 1 << 16  # a hostile file may inflate a thousandfold
_GZIP_OR_ZLIB = 47
_UNITS_MM = {
    "": 1.0, "mm": 1.0, "millimeter": 1.0, "millimetre": 1.0, "millimeters": 1.0,
    "cm": 10.0, "centimeter": 10.0, "m": 1000.0, "meter": 1000.0, "metre": 1000.0,
    "um": 1e-3, "µm": 1e-3, "μm": 1e-3, "micron": 1e-3, "microns": 1e-3, "micrometer": 1e-3,
    "nm": 1e-6, "nanometer": 1e-6,
}  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """What ``inspect`` found in a header.

    ``grid`` replaces SimpleITK's grid where that would not be exact. ``physical`` is false where
    the file has no spacing. ``scale_mm`` is the length of the header's unit. ``colour`` says that
    channels are colours, which count as grey where they differ by ``grey_tolerance`` at most.
    ``inverted`` says that 0 is white. ``bits`` of a channel, where a value of fewer than 8 has
    been spread over 0…255.
    """

    grid: Grid | None = None
    physical: bool = True
    scale_mm: float = 1.0
    colour: bool = False
    grey_tolerance: int = 0
    inverted: bool = False
    bits: int = 8


def check_spacing(spacing: Iterable[float], path: Path) -> None:
    """Raise unless every spacing in the header is a positive number."""
    values = [float(s) for s in spacing]
    if not all(math.isfinite(s) and s > 0 for s in values):
        raise ImageError(
            f"the spacing must be positive, the header says {values}", path=path, fix=MEND_HEADER
        )


def check_finite(name: str, values: Iterable[float], path: Path) -> None:
    """Raise unless every number of a header field is finite."""
    numbers = [float(v) for v in values]
    if not all(math.isfinite(v) for v in numbers):
        raise ImageError(f"the {name} is not finite: {numbers}", path=path, fix=MEND_HEADER)


def check_sizes(sizes: Sequence[int], path: Path) -> None:
    """Raise unless the header gives a positive number of voxels along every axis."""
    if not sizes or any(n < 1 for n in sizes):
        raise ImageError(
            f"the header gives the image size {list(sizes)}", path=path, fix=MEND_HEADER
        )


def check_complete(found: int, needed: int, path: Path) -> None:
    """Raise where fewer bytes of voxels are there than the header announces."""
    if found < needed:
        raise ImageError(
            f"the file is cut off: {found} of {needed} bytes of voxels are there",
            path=path,
            fix=RESEND,
        )


def unit_in_mm(unit: str, path: Path) -> float:
    """Length in millimetres of a unit as spelt in a header; no unit means mm."""
    name = unit.strip().strip('"').lower()
    if name not in _UNITS_MM:
        raise ImageError(
            f"the unit of length {unit.strip()!r} is not known",
            path=path,
            fix="use mm, cm, m or um in the header",
        )
    return _UNITS_MM[name]


def inflated_size(path: Path, start: int = 0) -> int:
    """Length of a gzip (or zlib) stream once inflated, with its checksum verified."""
    total = 0
    inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        with path.open("rb") as stream:
            stream.seek(start)
            while block := stream.read(_BLOCK):
                total += len(inflater.decompress(block))
                while inflater.eof and inflater.unused_data[:2] == b"\x1f\x8b":
                    rest, inflater = inflater.unused_data, zlib.decompressobj(_GZIP_OR_ZLIB)
                    total += len(inflater.decompress(rest))
    except zlib.error:
        raise ImageError("the compressed data is damaged", path=path, fix=RESEND) from None
    if not inflater.eof:
        raise ImageError("the file is cut off", path=path, fix=RESEND)
    return total


def check_inside(name: str, path: Path) -> Path:
    """Path of a data file that a header names; it must lie below the header's own folder."""
    folder = path.parent.resolve()
    target = (folder / name).resolve()
    if not target.is_relative_to(folder):
        raise ImageError(
            f"the header names a data file outside its folder: {name}",
            path=path,
            fix="put both files into one folder",
        )
    if not target.is_file():
        raise ImageError(
            f"the data file {name!r} is missing", path=path, fix="copy both files together"
        )
    return target
