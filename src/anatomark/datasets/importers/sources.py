"""Find and read the files of a source, and say plainly what is not there."""

from __future__ import annotations

import csv
import io
import math
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

from anatomark.datasets.importers.common import PathLike
from anatomark.errors import CohortError, CohortWarning, listed
from anatomark.io.files import read_text, stem_of, suffix_of
from anatomark.io.images.reading import IMAGE_SUFFIXES

_DOCS = "see docs/cohorts.md for the folders that each layout expects"


def folder(source: PathLike) -> Path:
    """The source, which must be a folder."""
    path = Path(source)
    if not path.is_dir():
        raise CohortError("is not a folder", path=path, fix="check the path")
    return path


def first_folder(source: Path, *names: str) -> Path:
    """The first of these folders that ``source`` has (``"."`` is itself)."""
    for name in names:
        if (source / name).is_dir():
            return source / name
    raise CohortError(f"has no folder {' or '.join(names)}", path=source, fix=_DOCS)


def first_file(source: Path, *names: str) -> Path:
    """The first of these files that ``source`` has."""
    for name in names:
        if (source / name).is_file():
            return source / name
    raise CohortError(f"has no file {' or '.join(names)}", path=source, fix=_DOCS)


def images_in(source: Path, *, recursive: bool = False) -> dict[str, Path]:
    """Images by name without extension (with their folders where ``recursive``), sorted."""
    images: dict[str, Path] = {}
    for path in sorted(source.rglob("*") if recursive else source.iterdir()):
        hidden = any(part.startswith(".") for part in path.relative_to(source).parts)
        if hidden or suffix_of(path) not in IMAGE_SUFFIXES or not path.is_file():
            continue
        name = (path.relative_to(source).parent / stem_of(path)).as_posix()
        if name in images:
            raise CohortError(
                f"has two images of one name: {images[name].name} and {path.name}",
                path=path.parent,
                fix="keep one of them",
            )
        images[name] = path
    return images


def find_image(images: Mapping[str, Path], name: str) -> Path | None:
    """The image that a table calls ``name``: with or without extension, 7 or 007."""
    for key in (name, stem_of(name)):
        if key in images:
            return images[key]
    if name.isdecimal():
        matches = [
            path for key, path in images.items() if key.isdecimal() and int(key) == int(name)
        ]
        return matches[0] if len(matches) == 1 else None
    return None


def rows_of(path: Path) -> list[list[str]]:
    """The rows of a CSV file, cells stripped, empty rows left out."""
    text = read_text(path, CohortError)
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as fault:
        raise CohortError(f"is not a table: {fault}", path=path, fix="export it as CSV") from None
    return [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]


def numbers(cells: list[str], path: Path, place: str) -> list[float]:
    """Finite numbers, or an error that names the place."""
    values = []
    for cell in cells:
        try:
            value = float(cell)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise CohortError(f"{place}: {cell!r} is not a number", path=path)
        values.append(value)
    return values


def natural(name: str) -> list[tuple[int, str]]:
    """A sort key by which 10 comes after 9."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)
    ]


def left_out(source: Path, what: str, names: list[str]) -> None:
    """Warn of what is in the source, but not in the cohort."""
    if names:
        warnings.warn(
            CohortWarning(f"{source}: {len(names)} {what} left out: {listed(names)}"), stacklevel=3
        )
