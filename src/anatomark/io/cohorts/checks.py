"""Find everything that is wrong with a cohort, before a training of many hours finds it.

``check_cohort`` returns sentences, one a problem, each naming the case or the file. Only headers
and landmark files are read, several at a time.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from anatomark.data import Case, Cohort, Landmarks, names_of
from anatomark.errors import AnatomarkError, listed
from anatomark.geometry import Grid
from anatomark.io.cohorts.cases import case_grid, case_spacing, mask_fault
from anatomark.io.cohorts.tables import spacing_fault
from anatomark.io.images.reading import read_grid
from anatomark.io.landmarks.formats import read_landmarks

_THREADS = 8
_SPLIT = re.compile(r"(train|val|test|fold)\w*(-\w+)*")


def check_cohort(cohort: Cohort, *, skip: Iterable[str] = ()) -> list[str]:
    """All problems of a cohort; files of the cases in ``skip`` are not looked at."""
    return [*check_table(cohort), *check_files(cohort, skip=skip)]


def check_table(cohort: Cohort) -> list[str]:
    """The problems that show without opening a file."""
    checks = (_names, _pairs, _settings, _duplicates, _splits, _partners, _domains, _observers)
    return [problem for check in checks for problem in check(cohort)]


def _names(cohort: Cohort) -> Iterator[str]:
    for domain, names in cohort.names.items():
        where = f"domain {domain!r}" if domain else "the cohort"
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            yield f"{where} lists landmarks twice: {listed(twice)}"
        if any(not name.strip() for name in names):
            yield f"{where} lists a landmark without a name"


def _pairs(cohort: Cohort) -> Iterator[str]:
    used: Counter[str] = Counter(name for pair in cohort.pairs for name in pair)
    for pair in cohort.pairs:
        if not any(set(pair) <= set(names) for names in cohort.names.values()):
            yield f"the pair {list(pair)} names unknown landmarks"
    twice = [name for name, count in used.items() if count > 1]
    if twice:
        yield f"landmarks are in more than one left/right pair: {listed(twice)}"


def _settings(cohort: Cohort) -> Iterator[str]:
    if not cohort.cases:
        yield "the cohort has no case"
    spacings = [("the cohort", cohort.spacing)]
    spacings += [(f"case {case.case!r}", case.spacing) for case in cohort.cases]
    for who, spacing in spacings:
        fault = None if spacing is None else spacing_fault(spacing)
        if fault:
            yield f"{who}: spacing: {fault}"


def _duplicates(cohort: Cohort) -> Iterator[str]:
    for name, count in Counter(case.case for case in cohort.cases).items():
        if not name:
            yield "a case has no name"
        elif count > 1:
            yield f"case {name!r} is listed {count} times"
    users: dict[Path, list[str]] = defaultdict(list)
    for case in cohort.cases:
        if case.image != Path():
            users[_real(case.image)].append(case.case)
    for image, cases in users.items():
        if len(cases) > 1 and len(set(cases)) > 1:
            yield f"the same image is used by cases {listed(cases)}: {image}"
    yield from _shared_landmarks(cohort)


def _shared_landmarks(cohort: Cohort) -> Iterator[str]:
    users: dict[Path, dict[str, None]] = defaultdict(dict)
    for case in cohort.cases:
        for path in (case.landmarks, *case.observers.values()):
            if path is not None:
                users[_real(path)][case.case] = None
    for path, cases in users.items():
        if len(cases) > 1:
            yield f"the same landmark file is used by cases {listed(list(cases))}: {path}"


def _real(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path


def _splits(cohort: Cohort) -> Iterator[str]:
    parts: dict[str, dict[str, str]] = defaultdict(dict)
    divided = any(case.split for case in cohort.cases)
    for case in cohort.cases:
        parts[case.patient or case.case].setdefault(case.split, case.case)
        if divided and not case.split:
            yield f"case {case.case!r} is in no split, others are"
    for split in cohort.splits:
        if split and not _SPLIT.fullmatch(split):
            yield f"unknown split {split!r}: a split begins with train, val, test or fold"
    for patient, cases in parts.items():
        if len(cases) > 1:
            where = ", ".join(f"{case!r} in {split or 'none'}" for split, case in cases.items())
            yield f"patient {patient!r} is in several splits ({where}): a split leak"


def _partners(cohort: Cohort) -> Iterator[str]:
    cases = {case.case: case for case in cohort.cases}
    for case in cohort.cases:
        partner = cases.get(case.pair)
        if not case.pair:
            if case.transform is not None:
                yield f"case {case.case!r} has a transform but no pair that it leads to"
        elif partner is None:
            yield f"case {case.case!r} is paired with {case.pair!r}, which does not exist"
        elif partner is case:
            yield f"case {case.case!r} is paired with itself"
        elif partner.pair != case.case:
            yield f"case {case.case!r} is paired with {case.pair!r}, but not the other way round"
        elif partner.split != case.split and case.case < partner.case:
            yield f"the paired cases {case.case!r} and {case.pair!r} are in different splits"


def _domains(cohort: Cohort) -> Iterator[str]:
    for case in cohort.cases:
        if (case.landmarks or case.observers) and case.domain not in cohort.names:
            known = f"; known are {listed(cohort.names)}" if cohort.names else ""
            yield f"case {case.case!r}: no names are listed for domain {case.domain!r}{known}"


def _observers(cohort: Cohort) -> Iterator[str]:
    everybody: dict[str, set[str]] = defaultdict(set)
    for case in cohort.cases:
        everybody[case.domain].update(case.observers)
    readers = set().union(*everybody.values())
    if cohort.truth and cohort.truth != "mean" and cohort.truth not in readers:
        yield f"truth is {cohort.truth!r}, but no column 'landmarks:{cohort.truth}' has a file"
        return
    for domain, names in everybody.items():
        alone = {n for c in cohort.cases if c.domain == domain and not c.landmarks
                 for n in c.observers if len(c.observers) == 1}  # fmt: skip
        if not cohort.truth and len(names) > 1 and len(alone) > 1:
            yield (
                f"some cases were read by {listed(sorted(alone))} alone: set truth to one of them, "
                "or name their files in the column landmarks"
            )
    for case in cohort.cases:
        missing = everybody[case.domain] - set(case.observers)
        if not cohort.truth and len(case.observers) > 1 and case.landmarks is None:
            yield (
                f"case {case.case!r} was read by {listed(sorted(case.observers))}: "
                "set truth to 'mean' or to one of them"
            )
        elif cohort.truth == "mean" and case.observers and missing:
            said = "truth is the mean, but there is nothing by"
            yield f"case {case.case!r}: {said} {listed(missing)}"
        elif cohort.truth in missing and (case.observers or case.landmarks):
            yield f"case {case.case!r}: truth is {cohort.truth!r}, who did not read it"


# -- files ---------------------------------------------------------------------------------------


def check_files(cohort: Cohort, *, skip: Iterable[str] = ()) -> list[str]:
    """The problems in the headers of images and in landmark files."""
    left_out = set(skip)
    cases = [case for case in cohort.cases if case.case not in left_out]
    with ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(lambda case: list(_check_case(cohort, case)), cases)
        return [
            f"case {c.case!r}: {p}"
            for c, problems in zip(cases, found, strict=True)
            for p in problems
        ]


def _check_case(cohort: Cohort, case: Case) -> Iterator[str]:
    files = {"image": case.image, "mask": case.mask, "transform": case.transform}
    files |= {"landmarks": case.landmarks}
    files |= {f"landmarks:{name}": path for name, path in case.observers.items()}
    there = {}
    for what, path in files.items():
        if path is not None and path.exists():
            there[what] = path
        elif path is not None:
            yield f"missing {what} file {path}"
    if "image" not in there:
        return
    try:
        grid = case_grid(cohort, case)
    except AnatomarkError as fault:
        yield f"image: {fault}"
        return
    if grid.unit != cohort.unit:
        yield _unit_problem(cohort, grid)
        return
    if "mask" in there:
        yield from _check_mask(cohort, case, grid)
    for what, path in there.items():
        if what.startswith("landmarks"):
            yield from _check_landmarks(cohort, case, grid, what, path)


def _unit_problem(cohort: Cohort, grid: Grid) -> str:
    if grid.unit == "px":
        return "the image has no spacing, but the cohort is in mm: give a spacing or unit = 'px'"
    return f"the image is in {grid.unit}, the cohort in {cohort.unit}"


def _check_mask(cohort: Cohort, case: Case, grid: Grid) -> Iterator[str]:
    try:
        mask = read_grid(case.mask or case.image, spacing=case_spacing(cohort, case))
    except AnatomarkError as fault:
        yield f"mask: {fault}"
        return
    misfit = mask_fault(mask, grid)
    if misfit:
        yield f"{misfit}: {case.mask}"


def _check_landmarks(
    cohort: Cohort, case: Case, grid: Grid, what: str, path: Path
) -> Iterator[str]:
    try:
        landmarks = read_landmarks(path, grid=grid)
    except AnatomarkError as fault:
        yield f"{what}: {fault}"
        return
    known = names_of(cohort, case.domain)
    unknown = [name for name in landmarks.names if name not in known]
    missing = [name for name in known if name not in landmarks.names]
    if unknown and known:
        yield f"{what}: names not in the list: {listed(unknown)} ({path})"
    if missing:
        yield f"{what}: landmarks missing from the file: {listed(missing)} ({path})"
    if landmarks.dimension != grid.dimension:
        yield f"{what}: {landmarks.dimension}D points for a {grid.dimension}D image ({path})"
    elif landmarks.unit != grid.unit:
        yield f"{what}: points in {landmarks.unit}, image in {grid.unit} ({path})"
    else:
        yield from _check_inside(landmarks, grid, what, path)


def _check_inside(landmarks: Landmarks, grid: Grid, what: str, path: Path) -> Iterator[str]:
    outside = outside_names(landmarks, grid)
    if outside:
        yield f"{what}: points outside the image: {listed(outside)} ({path})"


def outside_names(landmarks: Landmarks, grid: Grid) -> list[str]:
    """Names of the present landmarks that lie beyond the outer faces of the image."""
    out = landmarks.present & ~grid.contains(landmarks.points_mm)
    return [name for name, is_out in zip(landmarks.names, out, strict=True) if is_out]
