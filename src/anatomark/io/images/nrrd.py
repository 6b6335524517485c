"""NRRD headers: whether the file is whole, and the fields that SimpleITK reads past."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

from anatomark.errors import ImageError, ImageWarning
from anatomark.io.images.headers import (
    MEND_HEADER,
    RESEND,
    Facts,
    check_complete,
    check_inside,
    check_sizes,
    check_spacing,
    inflated_size,
    unit_in_mm,
)

MAGIC = b"NRRD000"
Fields = Mapping[str, str]
_LONGEST_HEADER = 1 << 20
_ANATOMICAL = re.compile(r"(right|left)-(anterior|posterior)-superior(-time)?|(ras|las|lps)t?")
_BYTES = {
    "char": 1, "int8": 1, "uchar": 1, "uint8": 1, "short": 2, "int16": 2, "ushort": 2, "uint16": 2,
    "int": 4, "int32": 4, "uint": 4, "uint32": 4, "longlong": 8, "int64": 8, "ulonglong": 8,
    "uint64": 8, "float": 4, "double": 8,
}  # fmt: skip
_SKIPS = ("byte skip", "line skip", "byteskip", "lineskip")


def inspect(path: Path, *, whole: bool = True) -> Facts:
    """Check the header and, if ``whole``, that all voxels are there."""
    fields, end = _read_fields(path)
    _check_voxels(path, fields, end, whole=whole)
    spacing = _spacing(path, fields)
    check_spacing(spacing, path)
    _check_frame(path, fields)
    return Facts(physical=bool(spacing), scale_mm=_unit(path, fields))


def _read_fields(path: Path) -> tuple[Fields, int]:
    """Fields of the header by lower-case name, and where the header ends."""
    with path.open("rb") as stream:
        start = stream.read(_LONGEST_HEADER)
    if not start.startswith(MAGIC):
        raise ImageError("is not a NRRD file", path=path, fix="check that it is the right file")
    blank = re.search(rb"\n\r?\n", start)
    end = blank.end() if blank else len(start)
    lines = start[:end].decode("utf-8", errors="replace").splitlines()[1:]
    pairs = (line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))
    return {name.strip().lower(): text.strip() for name, text in pairs}, end


# -- voxels ----------------------------------------------------------------------------------------


def _check_voxels(path: Path, fields: Fields, end: int, *, whole: bool) -> None:
    sizes = _integers(path, fields, "sizes")
    check_sizes(sizes, path)
    if _integers(path, fields, "dimension") != [len(sizes)]:
        raise ImageError("dimension and sizes do not agree", path=path, fix=MEND_HEADER)
    needed = math.prod(sizes) * _voxel_bytes(path, fields)
    data = fields.get("data file", fields.get("datafile"))
    if data is not None and (data.startswith("LIST") or "%" in data):
        raise ImageError(
            "its voxels are in a list of files", path=path, fix="save it as one .nrrd file"
        )
    place = (path, end) if data is None else (check_inside(data, path), 0)
    if not any(name in fields for name in _SKIPS):
        _check_length(*place, fields.get("encoding", ""), needed, whole=whole)


def _voxel_bytes(path: Path, fields: Fields) -> int:
    # The type has many spellings: "signed short int" and "int16_t" are both int16.
    name = fields.get("type", "").lower().replace("_t", "").replace("signed", "").strip()
    name = name.replace("un ", "u").replace("long long", "longlong").replace("un", "u")
    short = name.removesuffix(" int") if name not in _BYTES else name
    if short not in _BYTES:
        raise ImageError(
            f"the voxel type {fields.get('type', '')!r} is not supported",
            path=path,
            fix="convert it to an integer type or float",
        )
    return _BYTES[short]


def _check_length(data: Path, start: int, encoding: str, needed: int, *, whole: bool) -> None:
    if encoding.lower() == "raw":
        check_complete(data.stat().st_size - start, needed, data)
    elif encoding.lower() in {"gzip", "gz"}:
        if whole:
            check_complete(inflated_size(data, start), needed, data)
    elif encoding.lower() not in {"txt", "text", "ascii", "hex"}:
        raise ImageError(
            f"the encoding {encoding!r} is not supported", path=data, fix="save it as raw or gzip"
        )


def _integers(path: Path, fields: Fields, name: str) -> list[int]:
    try:
        return [int(word) for word in fields[name].split()]
    except (KeyError, ValueError):
        raise ImageError(f"the header lacks {name!r}", path=path, fix=RESEND) from None


# -- space -----------------------------------------------------------------------------------------


def _spacing(path: Path, fields: Fields) -> list[float]:
    """Spacing per axis in x, y, z order and the file's unit; empty where the file has none."""
    if "space directions" in fields:
        words = re.findall(r"none|\([^)]*\)", fields["space directions"])
        return [math.hypot(*_vector(path, w)) for w in words if w != "none"]
    if "spacings" not in fields:
        return []
    kinds = fields.get("kinds", "").split()
    values = _vector(path, fields["spacings"].replace(" ", ","))
    spatial = [
        value
        for axis, value in enumerate(values)
        if axis >= len(kinds) or kinds[axis] in {"domain", "space", "???", "none"}
    ]
    # By the format, NaN is how to say that an axis has no spacing at all.
    return [] if all(math.isnan(v) for v in spatial) else spatial


def _vector(path: Path, text: str) -> list[float]:
    try:
        return [float(word) for word in text.strip("()").split(",") if word.strip()]
    except ValueError:
        raise ImageError(f"{text!r} is not a vector", path=path, fix=MEND_HEADER) from None


def _unit(path: Path, fields: Fields) -> float:
    text = fields.get("space units", fields.get("units", ""))
    units = {u for u in re.findall(r'"([^"]*)"', text) if u.strip()}
    if len(units) > 1:
        raise ImageError(
            f"its axes have different units: {', '.join(sorted(units))}", path=path, fix=MEND_HEADER
        )
    return unit_in_mm(units.pop(), path) if units else 1.0


def _check_frame(path: Path, fields: Fields) -> None:
    space = fields.get("space", "").lower()
    if space and not _ANATOMICAL.fullmatch(space):
        warnings.warn(
            ImageWarning(f"{path}: its frame {space!r} is not anatomical; it is taken as LPS"),
            stacklevel=2,
        )
