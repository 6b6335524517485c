"""MetaImage headers (.mha, .mhd): whether the file is whole and its numbers make sense.

SimpleITK takes a spacing that is not a number for 0 and a negative one for a flip, reads damaged
compressed voxels without a word, and ends the process on an impossible number of axes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from anatomark.errors import ImageError
from anatomark.io.images.headers import (
    MEND_HEADER,
    RESEND,
    Facts,
    check_complete,
    check_finite,
    check_inside,
    check_sizes,
    check_spacing,
    inflated_size,
    unit_in_mm,
)

Fields = Mapping[str, str]
_LONGEST_HEADER = 1 << 20
_LAST = "ElementDataFile"
_BYTES = {
    "MET_CHAR": 1, "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4, "MET_UINT": 4,
    "MET_LONG": 4, "MET_ULONG": 4, "MET_LONG_LONG": 8, "MET_ULONG_LONG": 8, "MET_FLOAT": 4,
    "MET_DOUBLE": 8,
}  # fmt: skip
_SPACINGS = ("ElementSpacing", "ElementSize")
_OFFSETS = ("Offset", "Origin", "Position")
_MATRICES = ("TransformMatrix", "Rotation", "Orientation")


def is_metaimage(start: bytes) -> bool:
    """Tell from the first bytes whether this is a MetaImage header."""
    return b"NDims" in start and b"=" in start


def inspect(path: Path, *, whole: bool = True) -> Facts:
    """Check the header and, if ``whole``, that all voxels are there."""
    fields, end = _read_fields(path)
    axes = _axes(path, fields)
    for names, count in ((_OFFSETS, axes), (_MATRICES, axes * axes)):
        for name in names:
            if name in fields:
                check_finite(name, _numbers(path, fields, name, count), path)
    spacing = [name for name in _SPACINGS if name in fields]
    for name in spacing:
        check_spacing(_numbers(path, fields, name, axes), path)
    _check_voxels(path, fields, end, axes, whole=whole)
    return Facts(physical=bool(spacing), scale_mm=unit_in_mm(fields.get("DistanceUnits", ""), path))


def _read_fields(path: Path) -> tuple[Fields, int]:
    """Fields of the header, and where it ends: after the line that names the data."""
    fields: dict[str, str] = {}
    end = 0
    with path.open("rb") as stream:
        while _LAST not in fields and end < _LONGEST_HEADER:
            line = stream.readline(_LONGEST_HEADER)
            if not line:
                break
            end += len(line)
            name, equals, text = line.decode("utf-8", errors="replace").partition("=")
            if equals:
                fields[name.strip()] = text.strip()
    if _LAST not in fields or "NDims" not in fields:
        raise ImageError("is not a whole MetaImage header", path=path, fix=RESEND)
    return fields, end


def _axes(path: Path, fields: Fields) -> int:
    (axes,) = _numbers(path, fields, "NDims", 1)
    if axes not in {2, 3, 4, 5}:
        raise ImageError(f"the header gives {axes:g} axes", path=path, fix=MEND_HEADER)
    return int(axes)


def _numbers(path: Path, fields: Fields, name: str, count: int) -> list[float]:
    try:
        values = [float(word) for word in fields[name].split()]
    except (KeyError, ValueError):
        values = []
    if len(values) != count:
        raise ImageError(
            f"{name} must be {count} numbers, the header says {fields.get(name, 'nothing')!r}",
            path=path,
            fix=MEND_HEADER,
        )
    return values


def _check_voxels(path: Path, fields: Fields, end: int, axes: int, *, whole: bool) -> None:
    sizes = _numbers(path, fields, "DimSize", axes)
    check_finite("DimSize", sizes, path)
    check_sizes([int(n) for n in sizes], path)
    data = fields[_LAST]
    if data.startswith("LIST") or len(data.split()) > 1:
        raise ImageError(
            "its voxels are in a list of files", path=path, fix="save it as one .mha file"
        )
    place = (path, end) if data.upper() == "LOCAL" else (check_inside(data, path), 0)
    numbers = math.prod(int(n) for n in sizes) * _channels(path, fields)
    size = _number_bytes(path, fields)
    if fields.get("BinaryData", "True").lower() != "false":
        _check_length(*place, fields, numbers * size, whole=whole)
    elif whole:
        words = len(place[0].read_bytes()[place[1] :].split())
        check_complete(words * size, numbers * size, place[0])


def _number_bytes(path: Path, fields: Fields) -> int:
    kind = fields.get("ElementType", "")
    if kind not in _BYTES:
        raise ImageError(
            f"the voxel type {kind!r} is not supported", path=path, fix="convert it to MET_FLOAT"
        )
    return _BYTES[kind]


def _channels(path: Path, fields: Fields) -> int:
    (channels,) = (
        _numbers(path, fields, "ElementNumberOfChannels", 1)
        if "ElementNumberOfChannels" in fields
        else (1.0,)
    )
    if not 1 <= channels <= 1 << 16:
        raise ImageError(f"the header gives {channels:g} channels", path=path, fix=MEND_HEADER)
    return int(channels)


def _check_length(data: Path, start: int, fields: Fields, needed: int, *, whole: bool) -> None:
    if fields.get("CompressedData", "False").lower() == "true":
        if whole:
            check_complete(inflated_size(data, start), needed, data)
        return
    skip = _numbers(data, fields, "HeaderSize", 1)[0] if "HeaderSize" in fields else 0.0
    check_finite("HeaderSize", [skip], data)
    check_complete(data.stat().st_size - start - max(int(skip), 0), needed, data)
