"""The two files of a cohort: ``cohort.toml`` (settings) and ``cohort.csv`` (one row a case).

Reading collects every problem instead of stopping at the first; the words used here are those
that ``docs/cohorts.md`` explains.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import math
import os
import re
import tomllib
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from anatomark.data import Case, Cohort
from anatomark.errors import CohortError, CohortWarning
from anatomark.geometry import Unit

FORMAT = "anatomark-cohort"
VERSION = 1
OBSERVER = "landmarks:"
TEXT_COLUMNS = ("patient", "domain", "split", "pair")
COLUMNS = ("case", "image", "landmarks", "mask", *TEXT_COLUMNS, "transform", "spacing")


class _Strict(BaseModel):
    """No unknown keys (a typing error must show) and no silent conversion of types."""

    model_config = ConfigDict(extra="forbid", strict=True)


class LandmarkNames(_Strict):
    """``[landmarks]``, or ``[domains.NAME]`` where there are several body parts."""

    names: list[str] = Field(default_factory=list)
    pairs: list[Annotated[list[str], Field(min_length=2, max_length=2)]] = Field(
        default_factory=list
    )


class DomainNames(_Strict):
    """``[domains.NAME]``: the landmarks of one body part."""

    names: list[str]


class Settings(_Strict):
    """Everything ``cohort.toml`` can say."""

    format: Literal["anatomark-cohort"]
    version: Literal[1]
    unit: Unit = "mm"
    spacing: float | list[float] | None = None
    truth: str = ""
    seed: int = 0
    images_root: str | None = None
    about: dict[str, str] = Field(default_factory=dict)
    landmarks: LandmarkNames = Field(default_factory=LandmarkNames)
    domains: dict[str, DomainNames] = Field(default_factory=dict)

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """Landmark names by domain; ``""`` is the domain of a cohort that has only one."""
        by_domain = {name: tuple(domain.names) for name, domain in self.domains.items()}
        return by_domain or ({"": tuple(self.landmarks.names)} if self.landmarks.names else {})


@dataclass
class Parsed:
    """What could be read of a file, with all that was wrong in it."""

    problems: list[str] = field(default_factory=list)
    settings: Settings = field(
        default_factory=lambda: Settings(format="anatomark-cohort", version=1)
    )
    cases: list[Case] = field(default_factory=list)
    unsure: set[str] = field(
        default_factory=set
    )  # settings or cases that cannot be checked further


# -- cohort.toml ---------------------------------------------------------------------------------


def parse_settings(text: str, path: Path) -> Parsed:
    """Read ``cohort.toml``; a wrong entry is reported and replaced by its default."""
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as fault:
        reason = "it is nested too deeply" if isinstance(fault, RecursionError) else str(fault)
        raise CohortError(f"is not valid TOML: {reason}", path=path, fix="mend the file") from None
    if content.get("format") != FORMAT:
        raise CohortError(
            f"is not a cohort: it does not say format = {FORMAT!r}",
            path=path,
            fix="make one with 'anatomark import'",
        )
    if content.get("version") != VERSION:
        raise CohortError(
            f"has version {content.get('version')!r}, this anatomark reads version {VERSION}",
            path=path,
            fix="update anatomark, or import the data again",
        )
    parsed = Parsed()
    try:
        parsed.settings = Settings.model_validate(content)
    except ValidationError as fault:
        for error in fault.errors(include_url=False):
            problem = f"{path.name}: {_explain(error['loc'], error)}"
            parsed.problems += [] if problem in parsed.problems else [problem]
            parsed.unsure.add(str(error["loc"][0]))
        kept = {key: value for key, value in content.items() if key not in parsed.unsure}
        parsed.settings = Settings.model_validate(kept)
    if parsed.settings.domains and parsed.settings.landmarks.names:
        parsed.problems.append(f"{path.name}: give [landmarks] names or [domains], not both")
    return parsed


def _explain(place: tuple[int | str, ...], error: Mapping[str, Any]) -> str:
    """One validation error in our words."""
    key = ".".join(str(part) for part in place)
    if place[0] == "spacing":  # one fault a type that it could have
        return "spacing: must be a number or a list of numbers"
    if error["type"] != "extra_forbidden":
        return f"{key}: {error['msg'][:1].lower()}{error['msg'][1:]}, not {error['input']!r}"
    known = Settings if len(place) == 1 else LandmarkNames
    close = difflib.get_close_matches(str(place[-1]), known.model_fields, n=1)
    return f"unknown key {key!r}" + (f", did you mean {close[0]!r}?" if close else "")


def format_settings(cohort: Cohort, *, images_root: Path | None) -> str:
    """Write ``cohort.toml``."""
    lines = [f"format = {_quote(FORMAT)}", f"version = {VERSION}", f"unit = {_quote(cohort.unit)}"]
    if cohort.spacing is not None:
        lines.append(f"spacing = [{', '.join(repr(float(s)) for s in cohort.spacing)}]")
    lines += [f"truth = {_quote(cohort.truth)}"] if cohort.truth else []
    lines.append(f"seed = {int(cohort.seed)}")
    lines += [f"images_root = {_quote(os.fspath(images_root))}"] if images_root else []
    if cohort.about:
        lines += ["", "[about]"]
        lines += [f"{_key(key)} = {_quote(value)}" for key, value in cohort.about.items()]
    lines += ["", "[landmarks]"]
    if set(cohort.names) <= {""}:
        lines.append(f"names = {_list(cohort.names.get('', ()))}")
    if cohort.pairs:
        lines.append(f"pairs = [{', '.join(_list(pair) for pair in cohort.pairs)}]")
    for domain in [name for name in cohort.names if set(cohort.names) > {""} or name]:
        lines += ["", f"[domains.{_key(domain)}]", f"names = {_list(cohort.names[domain])}"]
    return "\n".join(lines) + "\n"


def _quote(text: str) -> str:
    # A TOML basic string is a JSON string, but for DEL, which TOML wants escaped.
    return json.dumps(str(text), ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _quote(name)


def _list(texts: Iterable[str]) -> str:
    return "[" + ", ".join(_quote(text) for text in texts) + "]"


# -- cohort.csv ----------------------------------------------------------------------------------


def parse_cases(text: str, path: Path, *, root: Path, images_root: Path | None) -> Parsed:
    """Read ``cohort.csv``; images and masks are in ``images_root`` where it is given."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    parsed = Parsed()
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(header, path)
        for row in reader:
            if any(cell.strip() for cell in row):
                _parse_row(
                    parsed, header, row, f"{path.name} line {reader.line_num}", root, images_root
                )
    except csv.Error as fault:
        raise CohortError(f"is not a table: {fault} (line {reader.line_num})", path=path) from None
    return parsed


def _check_header(header: Sequence[str], path: Path) -> None:
    missing = [name for name in ("case", "image") if name not in header]
    if missing:
        semicolons = len(header) == 1 and ";" in header[0]
        raise CohortError(
            f"has no column {' and no column '.join(map(repr, missing))}",
            path=path,
            fix="separate the columns by commas" if semicolons else "name them in the first line",
        )
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise CohortError(f"has two columns named {', '.join(map(repr, twice))}", path=path)
    for name in header:
        close = difflib.get_close_matches(name, [c for c in COLUMNS if c not in header], 1, 0.85)
        if close and name not in COLUMNS and not name.startswith(OBSERVER):
            warnings.warn(
                CohortWarning(
                    f"{path}: column {name!r} is kept as information only; "
                    f"did you mean {close[0]!r}?"
                ),
                stacklevel=5,
            )


@dataclass(frozen=True)
class _Row:
    """The cells of one row by column; what cannot be understood is added to ``problems``."""

    cells: Mapping[str, str]
    place: str
    problems: list[str]

    def read(self, name: str, convert: Callable[[str], Any]) -> Any:
        """The cell converted; ``None`` where it is empty or makes no sense."""
        try:
            return convert(self.cells[name]) if self.cells.get(name) else None
        except ValueError as fault:
            self.problems.append(f"{self.place}: {name}: {fault}")
            return None


def _parse_row(
    parsed: Parsed,
    header: Sequence[str],
    row: Sequence[str],
    place: str,
    root: Path,
    images_root: Path | None,
) -> None:
    """Turn one row into a case; what cannot be understood is reported and left out."""
    if len(row) != len(header):
        parsed.problems.append(f"{place}: has {len(row)} cells, the header has {len(header)}")
        return
    cells = {name: cell.strip() for name, cell in zip(header, row, strict=True)}
    found = _Row(cells, f"{place} (case {cells['case']!r})", [])
    case = _case(found, root, images_root)
    if not cells["image"]:
        found.problems.append(f"{found.place}: has no image")
    if found.problems:
        parsed.unsure.add(case.case)
    parsed.problems += found.problems
    parsed.cases.append(case)


def _case(row: _Row, root: Path, images_root: Path | None) -> Case:
    def picture(text: str) -> Path:
        return inside(root, text) if images_root is None else below(images_root, text)

    def file(text: str) -> Path:
        return inside(root, text)

    readers = [name for name in row.cells if name.startswith(OBSERVER)]
    files = {name.removeprefix(OBSERVER): row.read(name, file) for name in readers}
    return Case(
        case=row.cells["case"],
        image=row.read("image", picture) or Path(),
        landmarks=row.read("landmarks", file),
        observers={name: path for name, path in files.items() if path is not None},
        mask=row.read("mask", picture),
        transform=row.read("transform", file),
        spacing=row.read("spacing", parse_spacing),
        **{name: row.cells.get(name, "") for name in TEXT_COLUMNS},
        info={n: c for n, c in row.cells.items() if n not in COLUMNS and n not in readers},
    )


def below(root: Path, text: str) -> Path:
    """``root / text``, unless the text itself leads out of ``root``."""
    windows = PureWindowsPath(text)  # takes both kinds of slashes
    absolute = windows.drive or windows.root
    depth = 0
    for part in windows.parts:
        depth += -1 if part == ".." else 1
        if absolute or depth < 0 or "\0" in part:
            raise ValueError(f"{text!r} is a path that escapes the cohort folder")
    return root / text


def inside(root: Path, text: str) -> Path:
    """Like ``below``, and no link on the way may lead out of ``root`` either."""
    path = below(root, text)
    try:
        stays = path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # a circle of links
        stays = False
    if not stays:
        raise ValueError(f"{text!r} is a path that escapes the cohort folder through a link")
    return path


def parse_spacing(text: str) -> tuple[float, ...]:
    """``"0.1"`` or ``"0.1 0.1 0.5"`` (x, y, z) as numbers."""
    try:
        values = tuple(float(part) for part in text.replace("x", " ").replace("×", " ").split())
    except ValueError:
        raise ValueError(f"{text!r} is not a list of numbers such as '0.1 0.1'") from None
    fault = spacing_fault(values)
    if fault:
        raise ValueError(fault)
    return values


def spacing_fault(spacing: Sequence[float]) -> str | None:
    """Say what is wrong with a spacing, if anything is."""
    if len(spacing) not in {1, 2, 3}:
        return f"a spacing has 1, 2 or 3 numbers, not {len(spacing)}"
    if not all(math.isfinite(value) and value > 0 for value in spacing):
        return f"a spacing must be positive, not {' '.join(f'{value:g}' for value in spacing)}"
    return None


def format_cases(cohort: Cohort, *, root: Path, images_root: Path | None) -> str:
    """Write ``cohort.csv``; columns that no case uses are left out."""
    observers = dict.fromkeys(name for case in cohort.cases for name in case.observers)
    extra = dict.fromkeys(name for case in cohort.cases for name in case.info)
    rows = [_cells(case, root=root, images_root=images_root or root) for case in cohort.cases]
    wanted = [*COLUMNS, *(OBSERVER + name for name in observers), *extra]
    used = [c for c in wanted if c in {"case", "image"} or any(row.get(c) for row in rows)]
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, used, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def _cells(case: Case, *, root: Path, images_root: Path) -> dict[str, str]:
    def relative(path: Path | None, base: Path) -> str:
        return "" if path is None else path.relative_to(base).as_posix()

    return {
        **{name: str(value) for name, value in case.info.items() if name not in COLUMNS},
        "case": case.case,
        "image": relative(case.image, images_root),
        "mask": relative(case.mask, images_root),
        "landmarks": relative(case.landmarks, root),
        "transform": relative(case.transform, root),
        **{OBSERVER + name: relative(path, root) for name, path in case.observers.items()},
        **{name: getattr(case, name) for name in TEXT_COLUMNS},
        "spacing": " ".join(repr(float(value)) for value in case.spacing or ()),
    }
