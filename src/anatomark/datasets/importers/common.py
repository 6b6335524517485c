"""What all importers share: from images and points as a source has them to a cohort on disk."""

from __future__ import annotations

import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Literal, TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike

from anatomark.data import Case, Cohort, Landmarks
from anatomark.datasets.importers.splits import divide
from anatomark.errors import (
    AnatomarkError,
    CohortError,
    CohortWarning,
    ImageError,
    UsageError,
    listed,
    plain_name,
)
from anatomark.geometry import Grid
from anatomark.io.cohorts.checks import check_table, outside_names
from anatomark.io.cohorts.files import (
    free_name,
    raise_problems,
    read_cohort,
    staged_folder,
    write_cohort,
)
from anatomark.io.files import suffix_of, writing
from anatomark.io.images.reading import read_grid, read_image
from anatomark.io.landmarks.formats import write_landmarks
from anatomark.io.landmarks.placing import of_dimension, place

Spacing = float | Sequence[float] | None
Origin = Literal["centre", "corner"]
PathLike = str | os.PathLike[str]
_IN_TWO_FILES = {".mhd", ".nhdr"}


class Common(TypedDict, total=False):
    """Options that every importer takes.

    ``copy`` copies the images into the cohort. ``overwrite`` replaces an older cohort.
    ``outside`` says what becomes of points that lie outside their image. ``split`` divides the
    cases anew (see ``splits.divide``), with ``seed``. ``patient`` is a regular expression that
    finds the patient in the name of a case. ``progress`` is called with (done, total).
    """

    copy: bool
    overwrite: bool
    outside: Literal["absent", "error"]
    split: str | None
    seed: int
    patient: str | None
    progress: Callable[[int, int], None] | None


@dataclass(frozen=True)
class Reading:
    """Landmarks in the words of their source, before their image is known.

    In pixels or mm along the axes of the image, counted from ``origin``: the centre or the outer
    corner of the first pixel. ``relative`` says that they are parts of the width and the height
    instead, 0…1 from outer face to outer face. Landmarks in mm from the ``centre`` are in the
    world (LPS) already.
    """

    landmarks: Landmarks
    origin: Origin = "centre"
    relative: bool = False

    def __post_init__(self) -> None:
        if self.origin not in {"centre", "corner"}:
            raise UsageError(f"pixel_origin is 'centre' or 'corner', not {self.origin!r}")

    def on(self, grid: Grid) -> Landmarks:
        """The landmarks in the world of ``grid``."""
        landmarks = of_dimension(self.landmarks, grid.dimension)
        if not self.relative:
            return place(landmarks, grid, pixel_origin=self.origin)
        pixels = replace(landmarks, points_mm=landmarks.points_mm * grid.size_xyz)
        return place(pixels, grid, pixel_origin="corner")


def in_pixels(
    names: Sequence[str], xy: ArrayLike, *, origin: Origin = "centre", relative: bool = False
) -> Reading:
    """A reading of points ``(N, 2)`` x, y in pixels or, if ``relative``, in parts of the image."""
    return Reading(Landmarks(tuple(names), np.asarray(xy), unit="px"), origin, relative)


@dataclass(frozen=True)
class Found:
    """One image of a source, with the readings of each observer (``""`` where there is one)."""

    case: str
    image: Path
    readings: Mapping[str, Reading] = field(default_factory=dict)
    split: str = ""
    patient: str = ""
    pair: str = ""
    spacing: tuple[float, ...] | None = None
    info: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """What a layout says about all its cases."""

    names: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...] = ()
    spacing: Spacing = None
    truth: str = ""
    about: Mapping[str, str] = field(default_factory=dict)


@dataclass
class _Notes:
    """What the user must hear of when all is read."""

    unread: list[AnatomarkError] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)


def save(
    found: Iterable[Found], out: PathLike, layout: Layout, **options: Unpack[Common]
) -> Cohort:
    """Write the cohort; nothing is left in ``out`` unless all of it is sound."""
    chosen = _Chosen(**options)
    everything = _with_patients(list(found), chosen.patient)
    if not everything:
        raise CohortError("there is no image to import", fix="check the folder and the layout")
    _check_truth(everything, layout.truth)
    _check_apart(everything, Path(out))
    notes = _Notes()
    with staged_folder(out, overwrite=chosen.overwrite) as staging:
        taken: set[str] = set()
        divided = any(one.split for one in everything)
        cases: list[Case] = []
        units: set[str] = set()
        for number, one in enumerate(everything, 1):
            grid = _grid(one, layout.spacing, notes)
            if grid is not None:
                try:
                    case = _case(one, grid, layout, staging, taken, chosen, notes, divided=divided)
                except AnatomarkError as fault:
                    raise fault.at(one.image) from None
                cases.append(case)
                units.add(grid.unit)
            if chosen.progress is not None:
                chosen.progress(number, len(everything))
        _raise_unread(notes.unread, Path(out))
        cohort = _cohort(cases, units, layout, staging, chosen)
        write_cohort(cohort, staging)
        problems = notes.problems or check_table(cohort)
        raise_problems([p.replace(str(staging), str(out)) for p in problems], Path(out))
    said = [f"points outside their image were made absent: {listed(notes.outside)}"]
    said = [*(said if notes.outside else ()), *_names_alike(everything)]
    for text in said:
        warnings.warn(CohortWarning(f"{out}: {text}"), stacklevel=3)
    return read_cohort(out, check=False)


@dataclass(frozen=True)
class _Chosen:
    """``Common`` with its defaults."""

    copy: bool = False
    overwrite: bool = False
    outside: str = "absent"
    split: str | None = None
    seed: int = 0
    patient: str | None = None
    progress: Callable[[int, int], None] | None = None

    def __post_init__(self) -> None:
        if self.outside not in {"absent", "error"}:
            raise UsageError(f"outside is 'absent' or 'error', not {self.outside!r}")


def _names_alike(found: Sequence[Found]) -> list[str]:
    """At most one sentence: landmarks whose names differ in case, spaces or signs alone.

    They are likely one landmark that somebody wrote in two ways, unless a case has both.
    """
    cases: dict[str, dict[str, None]] = {}
    together: set[frozenset[str]] = set()
    for one in found:
        for reading in one.readings.values():
            marks = reading.landmarks
            seen = [n for n, here in zip(marks.names, marks.present, strict=True) if here]
            for name in seen:
                cases.setdefault(name, {})[one.case] = None
            together |= {frozenset(pair) for pair in _alike(seen)}
    pairs = [pair for pair in _alike(list(cases)) if frozenset(pair) not in together]
    if not pairs:
        return []
    said = []
    for pair in pairs:
        few, many = sorted(pair, key=lambda name: len(cases[name]))
        count = "1 case" if len(cases[few]) == 1 else f"{len(cases[few])} cases"
        where = f"{count} ({listed(cases[few], 3)})"
        said.append(f"{few!r} in {where} beside {many!r} in {len(cases[many])}")
    return [
        f"names that may be one landmark were imported as two: {listed(said)}; if they are one, "
        "write them alike in the source and import it again"
    ]


def _alike(names: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of names that have the same letters and digits."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(plain_name(name), []).append(name)
    return [pair for group in groups.values() for pair in combinations(group, 2)]


def _with_patients(found: list[Found], pattern: str | None) -> list[Found]:
    if pattern is None:
        return found
    try:
        search = re.compile(pattern).search
    except re.error as fault:
        raise UsageError(f"patient is not a regular expression: {fault}") from None
    named = []
    for one in found:
        match = search(one.case)
        groups = () if match is None else (*match.groups(), match[0] if not match.groups() else "")
        patient = next((group for group in groups if group), "")
        if not patient:
            raise UsageError(f"the pattern {pattern!r} finds no patient in case {one.case!r}")
        named.append(replace(one, patient=patient))
    return named


def _case(
    one: Found,
    grid: Grid,
    layout: Layout,
    staging: Path,
    taken: set[str],
    chosen: _Chosen,
    notes: _Notes,
    *,
    divided: bool,
) -> Case:
    image = _copied(one, staging, taken) if chosen.copy else one.image
    files = {}
    for observer, reading in one.readings.items():
        landmarks = _kept(reading.on(grid), grid, one.case, chosen, notes)
        landmarks = landmarks.select(layout.names, missing="absent")
        landmarks = replace(landmarks, pairs=_pairs_among(layout))
        note = f".{observer}" if observer else ""
        files[observer] = staging / "landmarks" / free_name(one.case + note, ".json", taken)
        write_landmarks(landmarks, files[observer])
    return Case(
        case=one.case,
        image=image,
        landmarks=files.pop("", None),
        observers=files,
        patient=one.patient,
        split=one.split if divided else "train",
        pair=one.pair,
        spacing=one.spacing,
        info=one.info,
    )


def _pairs_among(layout: Layout) -> tuple[tuple[str, str], ...]:
    names = set(layout.names)
    return tuple(pair for pair in layout.pairs if set(pair) <= names)


def _copied(one: Found, staging: Path, taken: set[str]) -> Path:
    if suffix_of(one.image) in _IN_TWO_FILES:
        raise UsageError(
            "cannot be copied: its voxels are in another file",
            path=one.image,
            fix="leave the images where they are, or save them as .mha or .nrrd",
        )
    target = staging / "images" / free_name(one.case, suffix_of(one.image), taken)
    with writing(target) as temporary:
        shutil.copyfile(one.image, temporary)
    return target


def _grid(one: Found, general: Spacing, notes: _Notes) -> Grid | None:
    """The grid of an image that can be read to its last voxel; else a note of what is wrong.

    The layout's spacing is for images that have none, a case's own must hold.
    """
    try:
        grid = read_image(one.image, spacing=one.spacing, colour=True).grid
    except ImageError as fault:
        fault.fix = "mend this image, or take it out of the source"
        notes.unread.append(fault.at(one.image))
        return None
    except AnatomarkError as fault:
        raise fault.at(one.image) from None
    if one.spacing is not None or general is None or grid.unit == "mm":
        return grid
    return read_grid(one.image, spacing=general)


def _raise_unread(faults: Sequence[AnatomarkError], out: Path) -> None:
    """All images that cannot be read; one alone is an error of its own."""
    if len(faults) == 1:
        raise faults[0]
    fix = "mend these images, or take them out of the source"
    raise_problems([str(fault) for fault in faults], out, fix=fix)


def _kept(landmarks: Landmarks, grid: Grid, case: str, chosen: _Chosen, notes: _Notes) -> Landmarks:
    outside = outside_names(landmarks, grid)
    if not outside:
        return landmarks
    where = f"case {case!r}: {listed(outside)}"
    if len(outside) > landmarks.present.sum() / 2:
        notes.problems.append(
            f"most points lie outside the image ({where}); are spacing, unit and origin right?"
        )
    elif chosen.outside == "error":
        notes.problems.append(f"points outside the image ({where})")
    notes.outside.append(where)
    present = landmarks.present & ~np.isin(landmarks.names, outside)
    return replace(landmarks, present=present)


def _check_apart(found: Sequence[Found], out: Path) -> None:
    """An older cohort is replaced as a whole: no image of the new one may lie in it."""
    inside = [one.image for one in found if one.image.resolve().is_relative_to(out.resolve())]
    if inside:
        raise UsageError(
            f"holds the image {inside[0]} that is to be imported", path=out,
            fix="name a folder elsewhere",
        )  # fmt: skip


def _check_truth(found: Sequence[Found], truth: str) -> None:
    """Before anything is written: the truth must be an observer, or their mean."""
    observers = sorted({name for one in found for name in one.readings})
    if len(observers) > 1 and truth not in {"mean", *observers}:
        said = f"no observer {truth!r}" if truth else "several observers and no truth"
        raise UsageError(
            f"there is {said}", fix=f"say truth=…, one of mean, {', '.join(observers)}"
        )


def _cohort(
    cases: Sequence[Case], units: set[str], layout: Layout, root: Path, chosen: _Chosen
) -> Cohort:
    if len(units) > 1:
        raise CohortError(
            "some images have a physical spacing and some have none", fix="give spacing=… for all"
        )
    unit: Literal["mm", "px"] = "mm" if "mm" in units else "px"
    spacing = None if layout.spacing is None else tuple(np.atleast_1d(layout.spacing).tolist())
    about = dict(layout.about)
    if chosen.split is not None:
        cases = divide(cases, chosen.split, seed=chosen.seed)
        about["splits"] = f"divided by {chosen.split} with seed {chosen.seed}"
    return Cohort(
        root=root,
        cases=tuple(cases),
        names={"": layout.names} if layout.names else {},
        pairs=_pairs_among(layout),
        unit=unit,
        spacing=spacing,
        truth=layout.truth,
        seed=chosen.seed,
        about=about,
    )
