"""PNG, JPEG, BMP and TIFF: whether the file is whole, and how it wants to be turned.

SimpleITK fills what a JPEG or BMP lacks with grey and says nothing. None of these formats has a
spacing to trust: what they call resolution is meant for a printer.
"""

from __future__ import annotations

import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import replace
from mmap import ACCESS_READ, mmap
from pathlib import Path

from anatomark.errors import ImageError, ImageWarning
from anatomark.io.images.headers import RESEND, Facts, check_complete

Bytes = bytes | mmap
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JPEG_MAGIC = b"\xff\xd8\xff"
BMP_MAGIC = b"BM"
TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_UPRIGHT = 1
_WHITE_IS_ZERO = 0
_GREY_WITH_ALPHA = 4
_EXIF = b"Exif\0\0"
JPEG_ROUNDING = 2
# What follows 0xff in the data of a scan is 0, below 0x80 (JPEG-LS) or a restart.
_SCAN_END = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")
_TIFF_TYPES = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}
_WIDTH, _HEIGHT, _PHOTOMETRIC, _ORIENTATION = 256, 257, 262, 274
_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES = 273, 279, 324, 325
_BITS, _SAMPLES, _FORMAT = 258, 277, 339
_LAYOUT = (_WIDTH, _HEIGHT, _BITS, _SAMPLES, _FORMAT, _PHOTOMETRIC)
_FLOATS = 3
_WANTED = {
 *_LAYOUT, _ORIENTATION, _STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES,
}  # fmt: skip
_MOST_PAGES = 65536
_PIXELS = Facts(physical=False, colour=True)


def inspect_png(path: Path, *, whole: bool = True) -> Facts:
    """Walk the chunks to ``IEND``; each has a checksum."""
    data = path.read_bytes() if whole else b""
    at, bits = len(PNG_MAGIC), 8
    name = b"IEND" if not whole else b""
    while name != b"IEND":
        head = data[at : at + 8]
        if len(head) < 8:
            raise ImageError("the file is cut off", path=path, fix=RESEND)
        length, name = struct.unpack(">I4s", head)
        body, stated = data[at + 8 : at + 8 + length], data[at + 8 + length : at + 12 + length]
        if len(stated) < 4:
            raise ImageError("the file is cut off", path=path, fix=RESEND)
        if zlib.crc32(name + body) != struct.unpack(">I", stated)[0]:
            raise ImageError("the file is damaged (checksum)", path=path, fix=RESEND)
        if name == b"IHDR":
            bits = body[8]
        if name == b"IHDR" and body[9:10] == bytes([_GREY_WITH_ALPHA]):
            raise ImageError("is grey with transparency", path=path, fix="save it as plain grey")
        if name == b"eXIf":
            _check_upright(_orientation(body), path)
        at += 12 + length
    return replace(_PIXELS, bits=bits)


def inspect_jpeg(path: Path, *, whole: bool = True) -> Facts:
    """Walk the segments to the end-of-image marker, which a cut-off file lacks."""
    found_end = False
    for marker, body in jpeg_segments(path.read_bytes()) if whole else ():
        if marker == 0xE1 and body.startswith(_EXIF):
            _check_upright(_orientation(body[len(_EXIF) :]), path)
        found_end = marker == 0xD9
    if whole and not found_end:
        raise ImageError("the file is cut off", path=path, fix=RESEND)
    return Facts(physical=False, colour=True, grey_tolerance=JPEG_ROUNDING)


def jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment, ending with end-of-image where there is one."""
    at = 2
    while at + 2 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        if marker == 0xD9:
            yield marker, b""
            return
        length = 0 if 0xD0 <= marker <= 0xD7 else int.from_bytes(data[at + 2 : at + 4], "big")
        yield marker, data[at + 4 : at + 2 + length]
        at += 2 + length
        if marker == 0xDA:
            scan = _SCAN_END.search(data, at)
            at = scan.start() if scan else len(data)


def inspect_bmp(path: Path, *, whole: bool = True) -> Facts:
    """Compare the file's length with its header."""
    with path.open("rb") as stream:
        head = stream.read(54)
    if len(head) < 54:
        raise ImageError("the file is cut off", path=path, fix=RESEND)
    offset, _, width, height, _, bits, packed, size = struct.unpack("<10xIIiiHHII", head[:38])
    if width < 1 or height == 0:
        raise ImageError(f"the header gives the image size {[width, height]}", path=path)
    row = (width * bits + 31) // 32 * 4
    needed = size if packed else row * abs(height)
    if whole:
        check_complete(path.stat().st_size - offset, needed, path)
    return _PIXELS


# -- TIFF ------------------------------------------------------------------------------------------


def inspect_tiff(path: Path, *, whole: bool = True) -> Facts:
    """Check that every strip or tile of every page lies inside the file."""
    del whole  # the directories are small
    try:
        with path.open("rb") as stream, mmap(stream.fileno(), 0, access=ACCESS_READ) as data:
            pages = list(_tiff_pages(data))
            size = len(data)
    except (struct.error, KeyError, IndexError, OverflowError, ValueError):
        raise ImageError("the file is cut off or damaged", path=path, fix=RESEND) from None
    for page in pages:
        _check_page(page, size, path)
    if len({tuple(page.get(tag) for tag in _LAYOUT) for page in pages}) != 1:
        raise ImageError(
            "its pages differ in size or kind of pixel", path=path,
            fix="save the page that you need by itself",
        )  # fmt: skip
    first = pages[0]
    _check_layout(first, path)
    white = first.get(_PHOTOMETRIC) == (_WHITE_IS_ZERO,)
    return replace(_PIXELS, inverted=white, bits=first.get(_BITS, (1,))[0])


def _check_layout(page: dict[int, tuple[int, ...]], path: Path) -> None:
    """Refuse what SimpleITK would read as something else."""
    samples = page.get(_SAMPLES, (1,))[0]
    grey = page.get(_PHOTOMETRIC, (1,))[0] in {0, 1}
    if samples == 2 or (grey and samples > 1):
        raise ImageError(
            f"has {samples} grey channels (transparency?)", path=path, fix="save it as plain grey"
        )
    if page.get(_FORMAT, (1,))[0] == _FLOATS and set(page.get(_BITS, (32,))) != {32}:
        raise ImageError(
            f"has real numbers of {page[_BITS][0]} bits", path=path, fix="save them with 32 bits"
        )


def _check_page(page: dict[int, tuple[int, ...]], size: int, path: Path) -> None:
    places = page.get(_STRIPS, page.get(_TILES, ()))
    lengths = page.get(_STRIP_BYTES, page.get(_TILE_BYTES, ()))
    if not places or len(lengths) != len(places):
        raise ImageError("the file is cut off or damaged", path=path, fix=RESEND)
    check_complete(size, max(a + n for a, n in zip(places, lengths, strict=True)), path)
    if page.get(_ORIENTATION, (_UPRIGHT,))[0] != _UPRIGHT:
        raise ImageError(
            "is stored turned or mirrored (TIFF orientation)",
            path=path,
            fix="save it upright with an image viewer",
        )


def _tiff_pages(data: Bytes) -> Iterator[dict[int, tuple[int, ...]]]:
    """Integer tags of each page."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in {b"+\0", b"\0+"}
    at = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
    seen: set[int] = set()
    while at:
        if at in seen or len(seen) >= _MOST_PAGES:
            raise IndexError("directories in a circle, which libtiff would follow for ever")
        seen.add(at)
        count = struct.unpack_from(order + ("Q" if big else "H"), data, at)[0]
        first, step = (at + 8, 20) if big else (at + 2, 12)
        entries = (first + i * step for i in range(count))
        yield {tag: values for e in entries for tag, values in _tiff_entry(data, e, order, big)}
        at = struct.unpack_from(order + ("Q" if big else "I"), data, first + count * step)[0]


def _tiff_entry(
    data: Bytes, at: int, order: str, big: bool
) -> Iterator[tuple[int, tuple[int, ...]]]:
    tag, kind = struct.unpack_from(order + "HH", data, at)
    if tag not in _WANTED:
        return
    count = struct.unpack_from(order + ("Q" if big else "I"), data, at + 4)[0]
    if count > len(data):
        raise IndexError
    form = f"{order}{count}{_TIFF_TYPES[kind]}"
    place = at + (12 if big else 8)
    if struct.calcsize(form) > (8 if big else 4):
        place = struct.unpack_from(order + ("Q" if big else "I"), data, place)[0]
    yield tag, struct.unpack_from(form, data, place)


# -- orientation -----------------------------------------------------------------------------------


def _orientation(exif: bytes) -> int:
    """Orientation that an Exif block asks for; upright where it cannot be read."""
    try:
        for page in _tiff_pages(exif):
            return page.get(_ORIENTATION, (_UPRIGHT,))[0]
    except (struct.error, KeyError, IndexError, OverflowError):
        pass
    return _UPRIGHT


def _check_upright(orientation: int, path: Path) -> None:
    """Warn where viewers turn the picture: landmarks marked in one would not fit the pixels."""
    if orientation != _UPRIGHT:
        warnings.warn(
            ImageWarning(
                f"{path}: asks viewers to turn it (Exif orientation {orientation}); "
                "the pixels are read as they are stored"
            ),
            stacklevel=2,
        )
