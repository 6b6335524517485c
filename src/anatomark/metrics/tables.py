"""An evaluation as rows: for the terminal, for CSV files, for LaTeX."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from anatomark.metrics.evaluation import Evaluation
from anatomark.metrics.statistics import Group

Level = Literal["all", "domains", "landmarks", "cases"]

ABBREVIATIONS = (
    "MRE: mean radial error; SD: standard deviation of the radial errors (ddof 1); sens.: part of "
    "the true points that were predicted; spec.: part of the absent points that were left out."
)


class Column(NamedTuple):
    """A column: its heading, its name in a CSV file, its values and their decimals."""

    title: str
    key: str
    values: list[float]
    decimals: int

    def texts(self, empty: str = "–") -> list[str]:
        """The values as text."""
        return [number(value, self.decimals, empty) for value in self.values]


def number(value: float, decimals: int = 2, empty: str = "–") -> str:
    """A number with so many decimals; ``empty`` where there is none."""
    return empty if math.isnan(value) else f"{value:.{decimals}f}"


def interval(low_high: tuple[float, float], decimals: int = 2) -> str:
    """An interval as ``[1.20, 1.35]``; empty where there is none."""
    low, high = low_high
    return "" if math.isnan(low) else f"[{low:.{decimals}f}, {high:.{decimals}f}]"


def groups_of(evaluation: Evaluation, level: Level) -> Sequence[Group]:
    """The groups of one level of an evaluation."""
    if level == "all":
        return [evaluation.pooled]
    return {
        "domains": evaluation.domains,
        "landmarks": evaluation.landmarks,
        "cases": evaluation.cases,
    }[level]


def columns(groups: Sequence[Group], unit: str) -> list[Column]:
    """The columns of a table of groups; errors in ``unit``, rates in percent."""
    some = [g.summary for g in groups]
    thresholds = some[0].thresholds if some else ()
    found = [
        Column("n", "n", [float(s.count) for s in some], 0),
        Column(f"MRE ({unit})", f"mre_{unit}", [s.mean for s in some], 2),
        Column("SD", f"sd_{unit}", [s.sd for s in some], 2),
        Column("median", f"median_{unit}", [s.median for s in some], 2),
        Column("Q1", f"q1_{unit}", [s.q1 for s in some], 2),
        Column("Q3", f"q3_{unit}", [s.q3 for s in some], 2),
        Column("max", f"max_{unit}", [s.largest for s in some], 2),
    ]
    for k, t in enumerate(thresholds):
        values = [s.within[k] for s in some]
        found.append(Column(f"≤ {t:g} {unit} (%)", f"sdr_{t:g}{unit}_percent", values, 1))
    seen = [100 * g.presence.sensitivity for g in groups]
    left_out = [100 * g.presence.specificity for g in groups]
    found.append(Column("sens. (%)", "sensitivity_percent", seen, 1))
    found.append(Column("spec. (%)", "specificity_percent", left_out, 1))
    return found


def rows_of(groups: Sequence[Group], unit: str, *, first: str) -> tuple[list[str], list[list[str]]]:
    """Headings and rows for people; columns that are empty all over are left out."""
    shown = [c for c in columns(groups, unit) if not all(math.isnan(v) for v in c.values)]
    cells = [[g.name or "–" for g in groups], *(c.texts() for c in shown)]
    return [first, *(c.title for c in shown)], [list(row) for row in zip(*cells, strict=True)]


def csv_table(evaluation: Evaluation, level: Level) -> str:
    """A CSV table, one row a group, full precision, empty cells where there is no number."""
    groups, unit = groups_of(evaluation, level), evaluation.table.unit
    found = columns(groups, unit)
    lead = {"landmarks": "landmark", "cases": "case", "domains": "domain", "all": "group"}[level]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    domains = list(evaluation.table.domains) if level == "cases" else None
    writer.writerow([lead, *(["domain"] if domains else []), *(c.key for c in found)])
    for i, group in enumerate(groups):
        about = [group.name, *([domains[i]] if domains else [])]
        writer.writerow([*about, *(_exact(c.values[i]) for c in found)])
    return buffer.getvalue()


def _exact(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.10g}"


# -- LaTeX ---------------------------------------------------------------------------------------

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "\n": " ",
    "≤": r"$\leq$", "±": r"$\pm$", "–": "--", "†": r"$\dagger$",
}  # fmt: skip


def escaped(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(_SPECIAL.get(letter, letter) for letter in text)


def latex_table(evaluation: Evaluation) -> str:
    """The per-landmark table with a last row for all, in booktabs; the comment says the truth."""
    unit = evaluation.table.unit
    groups = [*evaluation.landmarks, evaluation.pooled]
    limits = [f"≤ {t:g} {unit}" for t in evaluation.thresholds]
    heads = ["Landmark", "$n$", f"MRE ± SD ({unit})", f"median [IQR] ({unit})", *limits]
    # Rates that say nothing are left out: everything is there, and was found.
    presence = [
        c
        for c in columns(groups, unit)[-2:]
        if any(not math.isnan(v) and v < 100 for v in c.values)
    ]
    heads += [c.title for c in presence]
    rows = [
        [*_latex_row(group), *(escaped(c.texts()[i]) for c in presence)]
        for i, group in enumerate(groups)
    ]
    return booktabs(
        [h if "$" in h else escaped(h) for h in heads],
        [*rows[:-1], None, rows[-1]],
        comment=f"truth: {evaluation.truth}; {len(evaluation.table.cases)} cases; "
        "SDR in percent, SD with ddof 1; needs \\usepackage{booktabs}",
    )


def _latex_row(group: Group) -> list[str]:
    s = group.summary
    middle = f"{number(s.median)} [{number(s.q1)}, {number(s.q3)}]"
    spread = f"{number(s.mean)} ± {number(s.sd)}"
    rates = [number(w, 1) for w in s.within]
    return [escaped(t) for t in (group.name, str(s.count), spread, middle, *rates)]


def booktabs(heads: Sequence[str], rows: Sequence[Sequence[str] | None], *, comment: str) -> str:
    """A LaTeX tabular of cells that are escaped already; ``None`` is a rule between rows."""
    lines = [
        f"% {' '.join(comment.split())}",
        rf"\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
        r"\toprule",
        " & ".join(heads) + r" \\",
        r"\midrule",
    ]
    lines += [r"\midrule" if row is None else " & ".join(row) + r" \\" for row in rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])
