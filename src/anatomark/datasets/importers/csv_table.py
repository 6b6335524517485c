"""Any CSV tables beside a folder of images: long, wide, a list of images, or one file an image."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

from anatomark.data import Cohort
from anatomark.datasets.importers.common import (
    Common,
    Found,
    Layout,
    Origin,
    PathLike,
    Reading,
    Spacing,
    save,
)
from anatomark.datasets.importers.sources import find_image, folder, images_in, left_out, rows_of
from anatomark.errors import CohortError, UsageError, listed
from anatomark.geometry import Unit
from anatomark.io.cohorts.files import raise_problems
from anatomark.io.cohorts.tables import parse_spacing
from anatomark.io.files import stem_of
from anatomark.io.landmarks.formats import read_landmark_table, read_landmarks

_IMAGE_COLUMNS = ("image", "case", "filename", "file", "id")
_OWN = {"split", "patient", "pair", "spacing_mm"}
_COORDINATE = re.compile(r"(.+_)?[xyz](_mm|_px)?|[lpsra]", re.I)


@dataclass(frozen=True)
class _Missing:
    """A name in a table for which there is no image."""

    name: str


@dataclass(frozen=True)
class _Options:
    """How the tables are to be understood."""

    unit: Unit | None
    origin: Origin


def import_csv(
    source: PathLike,
    out: PathLike,
    *,
    table: PathLike | Sequence[PathLike] | None = None,
    images: PathLike | None = None,
    spacing: Spacing = None,
    unit: Unit | None = None,
    pixel_origin: Origin = "centre",
    truth: str = "",
    pairs: Sequence[tuple[str, str]] = (),
    paired: Sequence[tuple[str, str]] = (),
    **common: Unpack[Common],
) -> Cohort:
    """Import landmarks from CSV tables.

    ``table`` names the tables, or a folder with one CSV an image; without it all ``.csv`` files of
    ``source`` are read. ``images`` is the folder with the images (``images`` in the source, else
    the source). Both are relative to ``source`` or, if not there, to the current folder.
    ``unit`` is that of columns that do not say. ``pixel_origin`` says where the numbers
    count from: the centre or the outer corner of the first pixel. Columns: ``image``, then
    ``landmark``, ``x``, ``y`` (one row a point) or ``NAME_x``, ``NAME_y``… (one row an image), or
    no coordinates (a list of images); with ``observer``, ``split``, ``patient``, ``pair``,
    ``spacing_mm``. Others are kept as information. ``pairs`` are left/right landmarks, or words
    by which their names differ: ``("left", "right")`` pairs ``left_eye`` with ``right_eye``.
    ``paired`` are cases that show the same thing.
    """
    if unit not in {None, "mm", "px"}:
        raise UsageError(f"unit is 'mm' or 'px', not {unit!r}")
    root = folder(source)
    found = _gathered(
        root, _tables(root, table), _pictures(root, images), _Options(unit, pixel_origin)
    )
    names = tuple(
        dict.fromkeys(
            n for f in found.values() for r in f.readings.values() for n in r.landmarks.names
        )
    )
    cases = _paired(found, paired)
    about = {"title": root.resolve().name, "source": "CSV tables"}
    layout = Layout(names, _sides(names, pairs), spacing, truth, about)
    return save(cases, out, layout, **common)


def _pictures(root: Path, given: PathLike | None) -> dict[str, Path]:
    place = root / "images" if given is None else _placed(root, given)
    return images_in(root if given is None and not place.is_dir() else folder(place))


def _placed(root: Path, given: PathLike) -> Path:
    """A path in the source or, where it is not there, in the current folder."""
    place, here = root / given, Path(given)
    return here if here.exists() and not place.exists() else place


def _gathered(
    root: Path, tables: Sequence[Path], pictures: Mapping[str, Path], options: _Options
) -> dict[str, Found]:
    """The cases of all tables, the observers of one image joined."""
    found: dict[str, Found] = {}
    missing: dict[str, str] = {}
    for path in tables:
        for one in _read(path, pictures, options):
            if isinstance(one, _Missing):
                missing.setdefault(one.name, f"{path.name}: there is no image {one.name!r}")
            else:
                _add(found, one, path)
    _raise_missing(missing, root)
    used = {one.image for one in found.values()}
    unused = [name for name, image in pictures.items() if image not in used]
    left_out(root, "images that no table lists were", unused)
    return found


def _raise_missing(missing: Mapping[str, str], root: Path) -> None:
    """All images that the tables name and the folder lacks; a whole list is mended in one go."""
    fix = "name the folder with the images: images=…"
    if len(missing) == 1:
        raise CohortError(next(iter(missing.values())), path=root, fix=fix)
    raise_problems(list(missing.values()), root, fix=fix)


def _tables(root: Path, given: PathLike | Sequence[PathLike] | None) -> list[Path]:
    if given is None:
        paths = sorted(root.glob("*.csv"))
    else:
        several = [given] if isinstance(given, str) or not isinstance(given, Sequence) else given
        paths = [_placed(root, one) for one in several]
    spread = [sorted(path.glob("*.csv")) if path.is_dir() else [path] for path in paths]
    if not any(spread):
        raise CohortError("has no .csv table", path=root, fix="name one with table=…")
    return [path for group in spread for path in group]


def _read(
    path: Path, pictures: Mapping[str, Path], options: _Options
) -> Iterator[Found | _Missing]:
    """Read one table, or the points of the one image that has the table's name."""
    header = rows_of(path)[0]
    column = next((h for h in header if h.lower() in _IMAGE_COLUMNS), None)
    if column is None:
        image = find_image(pictures, stem_of(path))
        if image is None:
            raise CohortError(
                f"has no column 'image', and no image has its name; its columns are "
                f"{listed(header, 12)}",
                path=path,
                fix="rename the one that names the images to image, or the file after its image",
            )
        reading = Reading(read_landmarks(path, unit=options.unit), options.origin)
        yield Found(stem_of(image), image, {"": reading})
    elif not any(_COORDINATE.fullmatch(h) for h in header):
        yield from _list(path, header, column, pictures)
    else:
        yield from _points(path, header, column, pictures, options)


def _list(
    path: Path, header: Sequence[str], column: str, pictures: Mapping[str, Path]
) -> Iterator[Found | _Missing]:
    for line, row in enumerate(rows_of(path)[1:], 2):
        if len(row) != len(header):
            raise CohortError(f"row {line} has {len(row)} cells, not {len(header)}", path=path)
        cells = dict(zip(header, row, strict=True))
        name = cells.pop(column)
        yield _found(name, _named({k: v for k, v in cells.items() if v}), path, pictures)


def _named(cells: Mapping[str, str]) -> dict[str, str]:
    """Columns that mean something to a cohort, whatever their capitals."""
    return {k.lower() if k.lower() in _OWN else k: v for k, v in cells.items()}


def _check_constant(path: Path, header: Sequence[str], column: str) -> None:
    """All rows of an image must agree on its split, patient, pair and spacing."""
    own = [place for place, h in enumerate(header) if h.lower() in _OWN]
    image = header.index(column)
    said: dict[tuple[str, int], str] = {}
    for line, row in enumerate(rows_of(path)[1:], 2):
        for place in own:
            if place < len(row) and said.setdefault((row[image], place), row[place]) != row[place]:
                raise CohortError(
                    f"row {line}: {header[place]} of image {row[image]!r} is {row[place]!r}, "
                    f"before it was {said[row[image], place]!r}",
                    path=path, fix="let all rows of an image agree",
                )  # fmt: skip


def _points(
    path: Path,
    header: Sequence[str],
    column: str,
    pictures: Mapping[str, Path],
    options: _Options,
) -> Iterator[Found | _Missing]:
    observer = next((h for h in header if h.lower() == "observer"), None)
    by = (column,) if observer is None else (column, observer)
    _check_constant(path, header, column)
    for key, landmarks in read_landmark_table(path, by=by, unit=options.unit).items():
        name, _, who = key.rpartition("/") if observer else (key, "", "")
        meta = _named({k: str(v) for k, v in landmarks.meta.items() if k not in by})
        one = _found(name, meta, path, pictures)
        plain = replace(landmarks, meta={})
        if isinstance(one, Found):
            one = replace(one, readings={who: Reading(plain, options.origin)})
        yield one


def _found(
    name: str, cells: Mapping[str, str], path: Path, pictures: Mapping[str, Path]
) -> Found | _Missing:
    """A case with what its row says beyond the points."""
    image = find_image(pictures, name)
    if image is None:
        return _Missing(name)
    spacing = cells.get("spacing_mm")
    try:
        parsed = None if spacing is None else parse_spacing(spacing)
    except ValueError as fault:
        raise CohortError(f"image {name!r}: {fault}", path=path) from None
    return Found(
        case=stem_of(image),
        image=image,
        split=cells.get("split", ""),
        patient=cells.get("patient", ""),
        pair=cells.get("pair", ""),
        spacing=parsed,
        info={k: v for k, v in cells.items() if k not in _OWN},
    )


def _add(found: dict[str, Found], one: Found, path: Path) -> None:
    """Join the observers of one image; anything else that comes twice is a mistake."""
    known = found.get(one.case)
    if known is None:
        found[one.case] = one
        return
    if (
        not one.readings
        or set(known.readings) & set(one.readings)
        or "" in {*known.readings, *one.readings}
    ):
        raise CohortError(f"image {one.case!r} is listed twice", path=path, fix="keep one row")
    for what in ("split", "patient", "pair", "spacing"):
        before, now = getattr(known, what), getattr(one, what)
        if before and now and before != now:
            raise CohortError(
                f"{what} of image {one.case!r} is {now!r}, before it was {before!r}", path=path,
                fix="let all rows of an image agree",
            )  # fmt: skip
    both = {what: getattr(known, what) or getattr(one, what)
            for what in ("split", "patient", "pair", "spacing")}  # fmt: skip
    readings = {**known.readings, **one.readings}
    found[one.case] = replace(known, readings=readings, info={**one.info, **known.info}, **both)


def _sides(names: Sequence[str], pairs: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Left/right pairs of landmarks, each given by two names or two words in the names."""
    found = []
    for left, right in pairs:
        word = re.compile(rf"(?<![^\W_]){re.escape(left)}(?![^\W_])")
        other = right.replace("\\", r"\\")  # a backslash means something in a replacement
        swapped = [(name, word.sub(other, name)) for name in names]
        matching = [(a, b) for a, b in swapped if a != b and b in names]
        if not matching:
            raise UsageError(f"no two landmarks differ by {left!r} and {right!r}")
        found += matching
    return tuple(found)


def _paired(found: Mapping[str, Found], paired: Sequence[tuple[str, str]]) -> list[Found]:
    partner = {a: b for pair in paired for a, b in (pair, pair[::-1])}
    unknown = [name for name in partner if name not in found]
    if unknown:
        raise UsageError(f"there is no case {unknown[0]!r} to pair")
    return [replace(one, pair=partner.get(name, one.pair)) for name, one in found.items()]
