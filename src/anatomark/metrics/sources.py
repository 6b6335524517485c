"""Where truth and predictions come from: a cohort, a landmark file, a folder of them, a table.

Everything comes back as ``case name -> Landmarks`` in world coordinates (LPS), in mm or, where
the images have no spacing, in px.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TypeVar

import numpy as np

from anatomark.data import Case, Cohort, Image, Landmarks, names_of
from anatomark.errors import AnatomarkError, LandmarkError, NoPointsError, UsageError
from anatomark.geometry import Grid, Unit
from anatomark.io.cohorts.cases import case_grid, case_readings, load_sample, truth_of
from anatomark.io.cohorts.files import is_cohort, read_cohort
from anatomark.io.files import check_readable, read_text, stem_of, suffix_of
from anatomark.io.images.reading import IMAGE_SUFFIXES
from anatomark.io.landmarks.formats import (
    LANDMARK_SUFFIXES,
    read_landmark_table,
    read_landmarks,
)
from anatomark.io.landmarks.placing import of_dimension, place
from anatomark.metrics.measures.tables import MEASURES_FILE

DETECTIONS_FILE = "detections.csv"
Progress = Callable[[int, int], None]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Truth:
    """True landmarks by case. ``said`` tells whose they are, so that every table can.

    ``observers`` are the single readings by case, ``cohort`` is set where there are images.
    ``unclear`` are the points, by case, that only some of the observers of a mean saw: neither
    there nor absent. ``without`` lists cases that have no true landmarks. ``file`` is set where
    all is one file.
    """

    landmarks: Mapping[str, Landmarks]
    said: str
    domains: Mapping[str, str] = field(default_factory=dict)
    observers: Mapping[str, Mapping[str, Landmarks]] = field(default_factory=dict)
    unclear: Mapping[str, frozenset[str]] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    cohort: Cohort | None = None
    file: Path | None = None

    def image(self, case: str) -> Image | None:
        """The image of a case, ``None`` where the truth is not a cohort."""
        if self.cohort is None:
            return None
        return load_sample(self.cohort, self.cohort[case], grey=True).image

    def grid(self, case: str) -> Grid | None:
        """The grid of that image, from its header."""
        return None if self.cohort is None else case_grid(self.cohort, self.cohort[case])


# -- truth ---------------------------------------------------------------------------------------


def read_truth(
    path: str | PathLike[str],
    *,
    split: str | None = None,
    domain: str | None = None,
    observer: str | None = None,
    repeats: Sequence[tuple[str, str]] = (),
    unit: Unit | None = None,
    progress: Progress | None = None,
) -> Truth:
    """Read the truth from a cohort, a landmark file, a folder of such files, or a CSV table.

    ``split`` (one part), ``domain`` and ``observer`` (whose reading, or ``mean``) choose from a
    cohort; of ``repeats`` (see ``observers``) only the first reading takes part in a mean.
    ``unit`` is that of tables that do not say; files that say another are refused. A column
    ``image`` or ``filename`` names the case without the extension of the image.
    """
    file = Path(path)
    if is_cohort(file):
        return _of_cohort(file, split, domain, observer, repeats, progress)
    given = {"split": split, "domain": domain, "observer": observer}
    if any(value is not None for value in given.values()):
        option = next(name for name, value in given.items() if value is not None)
        raise UsageError(f"{option} needs a cohort as truth", path=file, fix="leave it out")
    alone = None if file.is_dir() else file
    marks = _of_folder(file, unit, progress) if alone is None else _of_file(file, unit)
    union = tuple(dict.fromkeys(name for m in marks.values() for name in m.names))
    # What one file names and another does not is absent there: .fcsv knows no other way.
    alike = {case: m.select(union, missing="absent") for case, m in marks.items()}
    return Truth(alike, f"the points of {file.name}", file=alone)


def _of_cohort(
    path: Path,
    split: str | None,
    domain: str | None,
    observer: str | None,
    repeats: Sequence[tuple[str, str]],
    progress: Progress | None,
) -> Truth:
    cohort = read_cohort(path)
    if observer is not None:
        cohort = replace(cohort, truth=observer)
    if domain is not None and domain not in cohort.domains:
        raise _no_such("domain", domain, cohort.domains, path)
    if split is not None and split not in cohort.splits:
        raise _no_such("part", split, cohort.splits, path)
    marks: dict[str, Landmarks] = {}
    observers: dict[str, dict[str, Landmarks]] = {}
    unclear: dict[str, frozenset[str]] = {}
    again = {second for _, second in repeats}
    cases = cohort.select(split=split, domain=domain).cases
    for number, case in enumerate(cases, 1):
        readings = _readings(cohort, case)
        counted = {name: m for name, m in readings.items() if name not in again}
        true = truth_of(cohort, case, counted)
        if true is not None:
            marks[case.case] = true
            observers[case.case] = {name: m for name, m in readings.items() if name}
            if cohort.truth == "mean":
                unclear[case.case] = _unclear([m for name, m in counted.items() if name])
        if progress is not None:
            progress(number, len(cases))
    if not marks:
        raise UsageError("no case has true landmarks", path=path, fix="choose another part")
    return Truth(
        marks,
        _whose(cohort, again),
        domains={case.case: case.domain for case in cases},
        observers=observers,
        unclear=unclear,
        without=tuple(c.case for c in cases if c.case not in marks),
        cohort=cohort,
    )


def _no_such(what: str, named: str, there: Sequence[str], path: Path) -> UsageError:
    """A part was asked for that is not there; cases that are in none have no name for it."""
    known = [name for name in there if name]
    fix = f"there is {', '.join(known)}" if known else "its cases have none: leave it out"
    return UsageError(f"there is no {what} {named!r}", path=path, fix=fix)


def _readings(cohort: Cohort, case: Case) -> dict[str, Landmarks]:
    names = names_of(cohort, case.domain)
    readings = case_readings(case, case_grid(cohort, case))
    return {observer: marks.select(names) for observer, marks in readings.items()}


def _unclear(readings: Sequence[Landmarks]) -> frozenset[str]:
    """Points that some observers saw and others did not."""
    if not readings:
        return frozenset()
    seen = np.stack([m.present for m in readings])
    split = np.flatnonzero(seen.any(0) & ~seen.all(0))
    return frozenset(readings[0].names[k] for k in split)


def _whose(cohort: Cohort, again: set[str]) -> str:
    if cohort.truth == "mean":
        people = sorted({name for case in cohort.cases for name in case.observers} - again)
        return f"the mean of {', '.join(people)}" if people else "the landmarks of the cohort"
    return f"observer {cohort.truth}" if cohort.truth else "the landmarks of the cohort"


# -- prediction ----------------------------------------------------------------------------------


def read_predictions(
    path: str | PathLike[str],
    truth: Truth,
    *,
    unit: Unit | None = None,
    progress: Progress | None = None,
) -> tuple[dict[str, Landmarks], tuple[str, ...]]:
    """Read predictions for the cases of ``truth``; also the names of those it has no use for.

    Points in pixels become millimetres where the truth is a cohort whose images have a spacing.
    A prediction for ``film.png`` is one for the case ``film``. ``unit`` as for ``read_truth``.
    """
    file = Path(path)
    if is_cohort(file):
        found = dict(read_truth(file).landmarks)
        _check_unit(found, unit, file)
    elif file.is_dir():
        return _predicted_files(file, truth, unit, progress)
    else:
        found = _of_file(file, unit, _implied(truth))
    found = _by_case(found, truth, file)
    if truth.file is not None and not file.is_dir() and len(found) == len(truth.landmarks) == 1:
        # Two files of one case each belong together, whatever they are called.
        found = dict(zip(truth.landmarks, found.values(), strict=True))
    ready = {c: _fitted(m, c, truth, file) for c, m in found.items() if c in truth.landmarks}
    return ready, tuple(c for c in found if c not in truth.landmarks)


def _predicted_files(
    folder: Path, truth: Truth, unit: Unit | None, progress: Progress | None
) -> tuple[dict[str, Landmarks], tuple[str, ...]]:
    files = _by_case(_landmark_files(folder), truth, folder)
    wanted = {case: files[case] for case in truth.landmarks if case in files}
    found: dict[str, Landmarks] = {}
    for number, (case, file) in enumerate(wanted.items(), 1):
        found[case] = _predicted(file, case, truth, unit)
        if progress is not None:
            progress(number, len(wanted))
    # Reports and previews lie beside predictions: what no case is called is only listed.
    return found, tuple(case for case in files if case not in wanted)


def _by_case(found: Mapping[str, T], truth: Truth, path: Path) -> dict[str, T]:
    """What was found under the names that the truth has, which may lack the image's extension."""
    named: dict[str, T] = {}
    plain_truth: dict[str, list[str]] = {}
    for case in truth.landmarks:
        plain_truth.setdefault(_without_extension(case), []).append(case)
    for name, one in found.items():
        plain = _without_extension(name)
        alike = [plain] if plain in truth.landmarks else plain_truth.get(plain, [])
        case = alike[0] if name not in truth.landmarks and len(alike) == 1 else name
        if case in named or (case != name and case in found):
            raise UsageError(
                f"has two predictions for case {case!r}", path=path, fix="keep one of them"
            )
        named[case] = one
    return named


def _predicted(file: Path, case: str, truth: Truth, unit: Unit | None) -> Landmarks:
    try:
        marks = read_landmarks(file, unit=unit, default_unit=_implied(truth))
    except NoPointsError:  # a detector that found nothing has said so
        true = truth.landmarks[case]
        nothing = np.zeros(len(true), bool)
        return replace(true, points_mm=np.full_like(true.points_mm, np.nan), present=nothing)
    return _fitted(marks, case, truth, file)


def _implied(truth: Truth) -> Unit | None:
    """Pixels, where the truth is in pixels: nothing else would make sense."""
    return "px" if all(m.unit == "px" for m in truth.landmarks.values()) else None


def _fitted(marks: Landmarks, case: str, truth: Truth, file: Path) -> Landmarks:
    """The prediction in the dimension of the truth and, if the image has a spacing, in mm."""
    true = truth.landmarks[case]
    try:
        marks = of_dimension(marks, true.dimension)
        if marks.unit == "px" and true.unit == "mm":
            grid = truth.grid(case)
            marks = marks if grid is None else place(marks, grid)
        return marks
    except AnatomarkError as fault:
        raise fault.at(file) from None


# -- files ---------------------------------------------------------------------------------------


def _of_file(file: Path, unit: Unit | None, default: Unit | None = None) -> dict[str, Landmarks]:
    check_readable(file, LandmarkError)
    if file.name == DETECTIONS_FILE:
        return _of_detections(file, unit)
    if suffix_of(file) != ".csv":
        return {stem_of(file): read_landmarks(file, unit=unit)}
    found: dict[str, Landmarks] = {}
    for name, marks in read_landmark_table(file, unit=unit, default_unit=default).items():
        case = _without_extension(name) if _names_images(marks) else name
        if case in found:
            raise LandmarkError(f"has two images of the name {case!r}", path=file, fix="keep one")
        found[case or stem_of(file)] = marks
    return found


def _names_images(marks: Landmarks) -> bool:
    """Whether the case of a table was named in a column about image files."""
    columns = {key.lower() for key in marks.meta}
    return "case" not in columns and not columns.isdisjoint({"image", "filename"})


def _without_extension(name: str) -> str:
    """The name without the extension of an image; folders in it stay, they tell images apart."""
    suffix = suffix_of(name)
    return name[: -len(suffix)] if suffix in IMAGE_SUFFIXES else name


def _of_detections(file: Path, unit: Unit | None) -> dict[str, Landmarks]:
    """The table that detect writes: millimetres in LPS, or pixels, as its column says."""
    rows: dict[str, list[dict[str, str]]] = {}
    failed = set()  # points of theirs are those of an earlier run
    for row in csv.DictReader(read_text(file, LandmarkError).splitlines()):
        if row.get("landmark"):
            rows.setdefault(row["case"], []).append(row)
        elif row.get("error"):
            failed.add(row.get("case"))
    try:
        detected = {case: _detected(found) for case, found in rows.items() if case not in failed}
    except (KeyError, ValueError) as fault:
        raise LandmarkError(
            f"is not as detect wrote it ({fault})", path=file, fix="detect again"
        ) from None
    _check_unit(detected, unit, file)
    return detected


def _check_unit(found: Mapping[str, Landmarks], unit: Unit | None, path: Path) -> None:
    """What states its unit cannot be told another."""
    stated = {marks.unit for marks in found.values()} - {unit}
    if unit is not None and stated:
        raise UsageError(
            f"its points are in {stated.pop()}, not in {unit}", path=path, fix="leave the unit out"
        )


def _detected(rows: list[dict[str, str]]) -> Landmarks:
    there = [axis for axis in "xyz" if axis in rows[0]]  # where nothing was found, as many
    axes = [axis for axis in there if any(row[axis] for row in rows)] or there
    points = [[float(row[axis] or "nan") for axis in axes] for row in rows]
    unit: Unit = "px" if rows[0]["unit"] == "px" else "mm"
    return Landmarks([row["landmark"] for row in rows], np.array(points), unit=unit)


def _of_folder(folder: Path, unit: Unit | None, progress: Progress | None) -> dict[str, Landmarks]:
    files = _landmark_files(folder)
    found = {}
    for number, (case, file) in enumerate(files.items(), 1):
        found[case] = read_landmarks(file, unit=unit)
        if progress is not None:
            progress(number, len(files))
    return found


def _landmark_files(folder: Path) -> dict[str, Path]:
    """The landmark files of a folder by the case they are named after."""
    found: dict[str, Path] = {}
    for file in _entries(folder):
        if suffix_of(file) not in LANDMARK_SUFFIXES or file.name.startswith("."):
            continue
        if file.name in {DETECTIONS_FILE, MEASURES_FILE}:
            continue  # the tables that detect writes beside them
        case = stem_of(file)
        if case in found:
            raise UsageError(
                f"{found[case].name} and {file.name} are of the same case", path=folder,
                fix="leave one of them in the folder",
            )  # fmt: skip
        found[case] = file
    if not found:
        raise UsageError(
            "holds no landmark files", path=folder,
            fix=f"files are named CASE{', CASE'.join(LANDMARK_SUFFIXES)}",
        )  # fmt: skip
    return found


def _entries(folder: Path) -> Iterable[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if entry.is_file())
    except OSError as fault:
        raise UsageError(f"cannot be read: {fault.strerror}", path=folder, fix="check it") from None
