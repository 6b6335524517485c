"""What all papers share: budgets, where the data come from, and what comes out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from anatomark.data import Cohort
from anatomark.io.files import write_text
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


@dataclass(frozen=True, eq=False)
class Reproduced:
    """Tables, what holds of the paper's order and what the data are; ``record`` for programs."""

    paper: str
    tables: Sequence[Table]
    verdict: Sequence[str]
    about: str
    record: Mapping[str, Any]

    def write(self, folder: Path, note: str) -> Path:
        """Write ``tables.md`` and ``tables.json``; ``note`` says how the numbers were made."""
        lines = [f"# {self.paper}", "", self.about, "", note, ""]
        for table in self.tables:
            lines += [
                f"## {table.title}", "",
                f"| {' | '.join(table.head)} |", f"|{'---|' * len(table.head)}",
                *(f"| {' | '.join(row)} |" for row in table.rows), "",
            ]  # fmt: skip
        lines += [f"- {said}" for said in self.verdict]
        write_text(folder / "tables.json", json.dumps(dict(self.record), indent=1))
        write_text(folder / "tables.md", "\n".join(lines) + "\n")
        return folder / "tables.md"


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
