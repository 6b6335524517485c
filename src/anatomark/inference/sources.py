"""Images to look at: named one by one, folders of them, cohorts; each with a name of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anatomark.errors import AnatomarkError, UsageError
from anatomark.io.cohorts.cases import case_spacing
from anatomark.io.cohorts.files import is_cohort, read_cohort
from anatomark.io.files import stem_of, suffix_of
from anatomark.io.images.kinds import FILE_SUFFIXES


@dataclass(frozen=True)
class Source:
    """One image to look at, and the name that its results get."""

    name: str
    path: Path
    spacing: Any = None
    series: str | None = None


def sources_of(
    paths: Sequence[str | Path],
    *,
    split: str | None = None,
    domain: str | None = None,
    spacing: Any = None,
    series: str | None = None,
) -> list[Source]:
    """Images named one by one, or all those of cohorts; every result gets a name of its own.

    That is the name of the file, with its folder in front where another image has the same, or
    that of the case. ``spacing`` and ``series`` are for images that are named one by one.
    """
    found: list[tuple[Source, bool]] = []  # and whether its name may get longer
    for given in map(Path, paths):
        if is_cohort(given):
            if series is not None:
                raise UsageError(
                    "the images of a cohort are those of its table", path=given,
                    fix="leave the series away",
                )  # fmt: skip
            cohort = read_cohort(given, check=False)
            chosen = cohort.select(split=split, domain=domain)
            found += [
                (Source(case.case, case.image, _spacing(cohort, case)), False)
                for case in chosen.cases
            ]
        else:
            found += [
                (Source(stem_of(path), path, spacing, series), True) for path in _images_of(given)
            ]
    if not found:
        raise UsageError("there is no image to look at", fix="name files, or another split")
    return _told_apart(found)


def _told_apart(found: Sequence[tuple[Source, bool]]) -> list[Source]:
    """Each image once; one whose name another has gets that of its folder in front.

    Cases keep their names, by which ``evaluate`` knows them.
    """
    places: dict[str, set[str]] = {}
    for source, _ in found:
        places.setdefault(source.name, set()).add(_place(source))
    taken: dict[str, Source] = {}
    for source, loose in found:
        clash = loose and len(places[source.name]) > 1
        named = replace(source, name=_with_folder(source)) if clash else source
        other = taken.setdefault(named.name, named)
        if _place(other) != _place(named):
            raise UsageError(
                f"would get the same name as {other.path}: {named.name}", path=named.path,
                fix="detect them into two folders",
            )  # fmt: skip
    return list(taken.values())


def _place(source: Source) -> str:
    """Where it lies, however that was said; links are not followed."""
    return os.path.abspath(source.path)  # noqa: PTH100


def _with_folder(source: Source) -> str:
    """``patientA-film`` of ``patientA/film.png``, also where that was given as ``film.png``."""
    folder = Path(_place(source)).parent.name
    return f"{folder}-{source.name}" if folder else source.name


def _images_of(path: Path) -> list[Path]:
    """The image files of a folder; anything else, a DICOM folder too, is one image."""
    if not path.is_dir():
        return [path]
    files = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
    return [p for p in files if suffix_of(p) in FILE_SUFFIXES] or [path]


def _spacing(cohort: Any, case: Any) -> Any:
    try:
        return case_spacing(cohort, case)
    except AnatomarkError:
        return None  # reading it will say what is wrong, as one file among many
