"""Several series in one folder: which there are, and which one is meant."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anatomark.errors import ImageError, ImageWarning, UsageError, counted
from anatomark.geometry import FloatArray
from anatomark.io.dicom.headers import Plane, find_headers, planes_of, read_header, text

_MOST_SCOUTS = 3
_SAME_SPACING = 1e-3  # relative: headers round it
_LONGEST_LIST = 30


@dataclass(frozen=True)
class Series:
    """Planes of one series that share size and orientation; ``name`` is what chooses it.

    The name is the series number, with ``.1``, ``.2``, … for the parts of a series whose images
    differ in size or orientation, the largest part first.
    """

    name: str
    planes: tuple[Plane, ...]

    @property
    def uid(self) -> str:
        """Series instance UID."""
        return text(self.planes[0].header, "SeriesInstanceUID")

    def __str__(self) -> str:
        header, (rows, columns) = self.planes[0].header, self.planes[0].shape
        title = text(header, "SeriesDescription") or "no description"
        return (
            f"{self.name}: {title}, {text(header, 'Modality') or 'no modality'}, "
            f"{columns} × {rows} × {len(self.planes)}, UID {self.uid}"
        )


def list_series(path: Path) -> list[Series]:
    """Every series of images in a DICOM file, or in a folder and all folders below it."""
    planes = [plane for file, header in _headers(path) for plane in planes_of(file, header)]
    by_uid: dict[str, list[Plane]] = defaultdict(list)
    for plane in planes:
        by_uid[text(plane.header, "SeriesInstanceUID")].append(plane)
    found = [series for group in by_uid.values() for series in _parts(group)]
    return sorted(found, key=lambda s: [int(n) if n.isdigit() else 0 for n in s.name.split(".")])


def _headers(path: Path) -> list[tuple[Path, object]]:
    if path.is_dir():
        found = find_headers(path)
        if not found:
            raise ImageError(
                "has no DICOM images in it", path=path, fix="name an image file or another folder"
            )
        return list(found)
    header = read_header(path)
    if header is None:
        raise ImageError(
            "is not a DICOM image", path=path, fix="for a DICOMDIR, name its folder instead"
        )
    return [(path, header)]


def _parts(planes: Sequence[Plane]) -> Iterable[Series]:
    """Planes of one series UID, split where they cannot be one volume."""
    groups: dict[object, list[Plane]] = defaultdict(list)
    spacings: list[FloatArray] = []
    for plane in planes:
        groups[_likeness(plane, spacings)].append(plane)
    number = text(planes[0].header, "SeriesNumber") or "0"
    parts = sorted(groups.values(), key=lambda part: (-len(part), part[0].path, part[0].frame))
    for i, part in enumerate(parts, start=1):
        yield Series(number if len(parts) == 1 else f"{number}.{i}", tuple(part))


def _likeness(plane: Plane, spacings: list[FloatArray]) -> object:
    """What planes of one volume share; ``spacings`` are those met so far: last digits vary."""
    if not plane.in_patient:
        return plane.path
    axes = tuple(np.round(plane.axes.ravel(), 2) + 0.0)  # -0.0 and 0.0 are the same direction
    colours = text(plane.header, "SamplesPerPixel")
    own_file = _is_enhanced(plane) and plane.path
    own = np.asarray(plane.measured.spacing, np.float64)
    known = (i for i, s in enumerate(spacings) if np.allclose(own, s, rtol=_SAME_SPACING, atol=0))
    place = next(known, len(spacings))
    if place == len(spacings):
        spacings.append(own)
    frame = text(plane.header, "FrameOfReferenceUID")
    return (plane.shape, colours, place, axes, own_file, frame)


def _is_enhanced(plane: Plane) -> bool:
    return "PerFrameFunctionalGroupsSequence" in plane.header


# -- choosing --------------------------------------------------------------------------------------


def choose_series(path: Path, wanted: str | None) -> Series:
    """The series that is meant; where that is not clear, an error that lists them."""
    known = list_series(path)
    found = known if wanted is None else _matching(known, wanted)
    if len(found) == 1:
        return found[0]
    if found and (main := _main_part(found, path)):
        return main
    several = f"has {len(known)} series" if len(known) > 1 else "has one series"
    problem = several if wanted is None else f"has {len(found) or 'no'} series {wanted!r}"
    raise UsageError(
        problem, path=path,
        fix=f"say series=… (in a cohort, give each a folder): {_listing(known)}",
    )  # fmt: skip


def _matching(known: Sequence[Series], wanted: str) -> list[Series]:
    """Series by name, by number, by UID and by the start of a UID: the first that fits any."""
    tests: tuple[Callable[[Series], bool], ...] = (
        lambda s: s.name == wanted,
        lambda s: s.name.split(".")[0] == wanted,
        lambda s: s.uid == wanted,
        lambda s: bool(wanted) and s.uid.startswith(wanted),
    )
    for test in tests:
        if found := [series for series in known if test(series)]:
            return found
    return []


def _main_part(found: Sequence[Series], path: Path) -> Series | None:
    """The volume of a series that also holds a few scout images, which are named in a warning."""
    main, *rest = sorted(found, key=lambda s: -len(s.planes))
    scouts = sum(len(s.planes) for s in rest)
    if {s.uid for s in rest} != {main.uid} or not scouts <= _MOST_SCOUTS < len(main.planes):
        return None
    some = counted(
        scouts, "image of the series has another size or orientation and is",
        "images of the series have another size or orientation and are",
    )  # fmt: skip
    warnings.warn(
        ImageWarning(f"{path}: {some} left out; choose them with series='{rest[0].name}'"),
        stacklevel=2,
    )
    return main


def _listing(known: Sequence[Series]) -> str:
    shown = [str(series) for series in known[:_LONGEST_LIST]]
    more = len(known) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")
