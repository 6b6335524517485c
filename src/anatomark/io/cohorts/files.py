"""Read, write and check cohorts: ``cohort.csv`` has one row a case, ``cohort.toml`` the rest."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from anatomark.data import Case, Cohort
from anatomark.errors import CohortError, UsageError, WriteError
from anatomark.io.cohorts.cases import load_sample
from anatomark.io.cohorts.checks import check_cohort, check_files, check_table
from anatomark.io.cohorts.tables import (
    Parsed,
    Settings,
    format_cases,
    format_settings,
    parse_cases,
    parse_settings,
)
from anatomark.io.files import read_text, reason_of, suffix_of, write_text, writing

__all__ = [
    "check_cohort",
    "is_cohort",
    "load_sample",
    "read_cohort",
    "staged_folder",
    "write_cohort",
]

SETTINGS_FILE = "cohort.toml"
TABLE_FILE = "cohort.csv"
_OURS = {SETTINGS_FILE, TABLE_FILE, "landmarks", "images", "masks", "transforms"}
_UNCHECKABLE = {"unit", "spacing", "landmarks", "domains", "images_root"}
_SHOWN = 3


def read_cohort(
    path: str | os.PathLike[str],
    *,
    check: bool = True,
    images_root: str | os.PathLike[str] | None = None,
) -> Cohort:
    """Read a cohort from its folder or its ``.toml``; one ``CohortError`` lists all problems.

    ``check`` opens the header of every image and every landmark file; without it only the two
    files are read. ``images_root`` replaces the folder that ``cohort.toml`` gives for the images,
    for a cohort whose images have moved.
    """
    file = absolute(path)
    file = file / SETTINGS_FILE if file.is_dir() else file
    found = parse_settings(read_text(file, CohortError), file)
    root = file.parent
    base = _images_root(found, root, images_root)
    table = file.with_suffix(".csv")
    rows = parse_cases(read_text(table, CohortError), table, root=root, images_root=base)
    cohort = _cohort(found.settings, rows, root)
    problems = [*found.problems, *rows.problems]
    if check:
        problems += check_table(cohort)
        if not found.unsure & _UNCHECKABLE:
            problems += check_files(cohort, skip=rows.unsure)
    raise_problems(problems, file)
    return cohort


def is_cohort(path: str | os.PathLike[str]) -> bool:
    """Whether this is the folder of a cohort, or its ``cohort.toml``."""
    place = Path(path)
    return place.name == SETTINGS_FILE or (place / SETTINGS_FILE).is_file()


def absolute(path: str | os.PathLike[str]) -> Path:
    """The path from the root of the file system, without ``..``; links are not followed."""
    return Path(os.path.abspath(path))  # noqa: PTH100  # Path.absolute keeps '..'


def _images_root(found: Parsed, root: Path, given: str | os.PathLike[str] | None) -> Path | None:
    stated = found.settings.images_root
    if given is None and stated is None:
        return None
    folder = absolute(given) if given is not None else absolute(root / str(stated))
    if not folder.is_dir():
        found.unsure.add("images_root")
        found.problems.append(f"the folder with the images is not there: images_root = '{folder}'")
    return folder


def _cohort(settings: Settings, rows: Parsed, root: Path) -> Cohort:
    spacing = settings.spacing
    if isinstance(spacing, float | int):
        spacing = [spacing]
    return Cohort(
        root=root,
        cases=tuple(rows.cases),
        names=settings.names,
        pairs=tuple((left, right) for left, right in settings.landmarks.pairs),
        unit=settings.unit,
        spacing=None if spacing is None else tuple(float(value) for value in spacing),
        truth=settings.truth,
        seed=settings.seed,
        about=settings.about,
    )


def raise_problems(problems: Sequence[str], path: Path, *, fix: str | None = None) -> None:
    """Raise one error that holds all problems, if there are any."""
    if not problems:
        return
    shown = "; ".join(problems[:_SHOWN])
    more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    raise CohortError(f"{count}: {shown}{more}", problems=problems, fix=fix, path=path)


# -- writing -------------------------------------------------------------------------------------


def write_cohort(cohort: Cohort, folder: str | os.PathLike[str]) -> None:
    """Write a cohort to ``folder``: landmark files, then the table, then ``cohort.toml``.

    Landmark and transform files from elsewhere are copied into the folder. Images and masks stay
    where they are; unless all lie in the folder, ``cohort.toml`` names as ``images_root`` the
    deepest folder that holds them all.
    """
    root = absolute(folder)
    taken = {name.casefold() for case in cohort.cases for name in _own_files(case, root)}
    cases = tuple(_gathered(case, root, taken) for case in cohort.cases)
    moved = replace(cohort, root=root, cases=cases)
    base = common_root(moved, root)
    try:
        table = format_cases(moved, root=root, images_root=base)
        settings = format_settings(moved, images_root=base)
        write_text(root / TABLE_FILE, table)
        write_text(root / SETTINGS_FILE, settings)
    except UnicodeEncodeError:
        raise CohortError(
            "a file name or a text is not valid Unicode", path=root, fix="rename the file"
        ) from None


def common_root(cohort: Cohort, root: Path) -> Path | None:
    """The folder that holds all images and masks; ``None`` where that is the cohort's own."""
    files = [p for case in cohort.cases for p in (case.image, case.mask) if p is not None]
    if all(file.is_relative_to(root) for file in files):
        return None
    return Path(os.path.commonpath([file.parent for file in files]))


def _own_files(case: Case, root: Path) -> Iterator[str]:
    """Names of the landmark and transform files of a case that lie in the folder already."""
    for path in (case.landmarks, case.transform, *case.observers.values()):
        if path is not None and absolute(path).is_relative_to(root):
            yield path.name


def _gathered(case: Case, root: Path, taken: set[str]) -> Case:
    """The case with absolute paths, its landmark and transform files inside ``root``."""

    def gather(path: Path | None, part: str, note: str = "") -> Path | None:
        if path is None or absolute(path).is_relative_to(root):
            return None if path is None else absolute(path)
        target = root / part / free_name(case.case + note, suffix_of(path), taken)
        with writing(target) as temporary:
            shutil.copyfile(path, temporary)
        return target

    observers = {
        name: gather(path, "landmarks", f".{name}") for name, path in case.observers.items()
    }
    return replace(
        case,
        image=absolute(case.image),
        mask=None if case.mask is None else absolute(case.mask),
        landmarks=gather(case.landmarks, "landmarks"),
        observers={name: path for name, path in observers.items() if path is not None},
        transform=gather(case.transform, "transforms"),
    )


def free_name(name: str, suffix: str, taken: set[str]) -> str:
    """A file name made of a case's name that no other case has taken."""
    plain = re.sub(r"[^\w.-]+", "_", name).strip(".") or "case"
    stem, number = plain, 2
    while (stem + suffix).casefold() in taken:
        stem, number = f"{plain}_{number}", number + 1
    taken.add((stem + suffix).casefold())
    return stem + suffix


@contextmanager
def staged_folder(out: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside ``out`` that takes its place only when all went well.

    A folder that is not empty is replaced only if ``overwrite`` is set and it holds nothing but
    a cohort.
    """
    target = absolute(out)
    _check_target(target, overwrite=overwrite)
    with _writing_to(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        staging = work / "new"
        staging.mkdir()
    try:
        yield staging
        with _writing_to(target):
            _swap(staging, target, work / "old")
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextmanager
def _writing_to(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as fault:
        raise WriteError(
            f"cannot be written: {reason_of(fault)}",
            path=target,
            fix="choose another folder or free some space",
        ) from fault


def _swap(new: Path, target: Path, aside: Path) -> None:
    """Put ``new`` where ``target`` is; what was there returns if that fails."""
    replaces = target.exists()
    if replaces:
        target.replace(aside)
    try:
        new.replace(target)
    except OSError:
        if replaces:
            aside.replace(target)
        raise


def _check_target(target: Path, *, overwrite: bool) -> None:
    if not target.exists():
        return
    try:
        held = [entry.name for entry in target.iterdir()]
    except OSError as fault:
        raise WriteError(f"cannot be used: {reason_of(fault)}", path=target) from None
    foreign = sorted(set(held) - _OURS)
    if held and not overwrite:
        raise UsageError(
            "the folder is not empty", path=target, fix="name another, or overwrite it"
        )
    if foreign or (held and SETTINGS_FILE not in held):
        raise UsageError(
            f"the folder holds more than a cohort ({', '.join((foreign or held)[:3])})",
            path=target,
            fix="name another folder",
        )
