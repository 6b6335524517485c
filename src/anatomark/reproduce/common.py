"""What all papers share: budgets, where the data come from, and what comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from anatomark.data import Cohort
from anatomark.errors import UsageError
from anatomark.io.files import write_text
from anatomark.io.json_files import write_json
from anatomark.pages import Page
from anatomark.training.groups import Data
from anatomark.training.study import begin_study

Budget = Literal["small", "paper"]
Progress = Callable[[int, int], None]
PHANTOMS = (
    "The data are phantoms, not patients: compare the order of the methods, not the millimetres."
)
SETTINGS_FILE = "settings.json"


class Table(NamedTuple):
    """A table of the paper: ours and the published numbers side by side."""

    title: str
    head: list[str]
    rows: list[list[str]]


class Plot(NamedTuple):
    """A picture that was written, and what it shows."""

    path: Path
    caption: str


@dataclass(frozen=True, eq=False)
class Reproduced:
    """Tables, what holds of the paper's order and what the data are; ``record`` for programs.

    ``note`` says how the numbers were made.
    """

    paper: str
    tables: Sequence[Table]
    verdict: Sequence[str]
    about: str
    record: Mapping[str, Any]
    note: str
    plots: Sequence[Plot] = ()

    def write(self, folder: Path) -> None:
        """Write ``tables.md``, ``tables.json`` and ``report.html``."""
        lines = [f"# {self.paper}", "", self.about, "", self.note, ""]
        for table in self.tables:
            lines += [
                f"## {table.title}", "",
                f"| {' | '.join(table.head)} |", f"|{'---|' * len(table.head)}",
                *(f"| {' | '.join(row)} |" for row in table.rows), "",
            ]  # fmt: skip
        lines += [f"- {said}" for said in self.verdict]
        write_json(folder / "tables.json", self.record)
        write_text(folder / "tables.md", "\n".join(lines) + "\n")
        page = Page(f"{self.paper}: published, and reproduced here", lead=self.about)
        self.show_on(page)
        page.write(folder / "report.html")

    def show_on(self, page: Page) -> None:
        """Add what came out to a page: what holds, the tables, the plots."""
        page.text(self.note)
        page.points(self.verdict)
        for table in self.tables:
            page.heading(table.title, of_part=True)
            page.table(table.head, table.rows)
        for plot in self.plots:
            page.picture_file(plot.path, plot.caption)


def begin(folder: Path, paper: str, data: Data | None, budget: Budget, seed: int) -> None:
    """Refuse to go on with what was begun otherwise."""
    now = {"paper": paper, "budget": budget, "seed": seed, "data": _said(data)}
    begin_study(folder, SETTINGS_FILE, now)


def _said(data: Data | None) -> Any:
    if isinstance(data, Mapping):
        return {domain: _said(own) for domain, own in data.items()}
    if isinstance(data, Cohort):
        return str(data.root.resolve())
    return None if data is None else str(Path(data).resolve())


def by_name(data: Data | None, names: Sequence[str], what: str) -> Mapping[str, Any]:
    """The cohorts that are given, each for one of ``names``; ``what`` is what these name."""
    if data is not None and not isinstance(data, Mapping):
        each = ", ".join([f"{names[0]}=COHORT", *(f"{name}=…" for name in names[1:])])
        raise UsageError(f"which {what} are the data?", fix=f"say --data {each}")
    given = data or {}
    unknown = [name for name in given if name not in names]
    if unknown:
        raise UsageError(f"there is no {what} {unknown[0]}", fix=f"it is {', '.join(names)}")
    return given


def with_test_cases(cohort: Cohort) -> Cohort:
    """The cohort, which has to have cases to measure on."""
    if not test_cases(cohort):
        raise UsageError(
            "has no split that begins with test", path=cohort.root,
            fix="divide it with anatomark import --split",
        )  # fmt: skip
    return cohort


def test_cases(cohort: Cohort) -> list[str]:
    """Cases of splits that begin with ``test``, in the order of the cohort."""
    return [case.case for case in cohort.cases if case.split.startswith("test")]


def tested_part(cohort: Cohort) -> Cohort:
    """The cohort with its ``test_cases`` alone."""
    names = set(test_cases(cohort))
    return replace(cohort, cases=tuple(case for case in cohort.cases if case.case in names))


def about(cohorts: Mapping[str, Cohort], given: Data | None) -> str:
    """What the data are, in a sentence."""
    own = {
        name: cohort.root
        for name, cohort in cohorts.items()
        if given is not None and cohort.about.get("source") != "anatomark phantom"
    }
    if not own:
        return PHANTOMS
    named = ", ".join(f"{n}: {p}" if n else str(p) for n, p in own.items())
    rest = [name for name in cohorts if name not in own]
    more = f" {', '.join(rest)}: phantoms, not patients." if rest else ""
    return f"The data are those of {named}, not the ones of the paper.{more}"


def mean_sd(mean: float, sd: float) -> str:
    """As papers write it."""
    return f"{mean:.2f} ± {sd:.2f}"
