"""Several runs on the same cases: paired statistics, one table, one page.

Only what all runs have is compared: the common cases, the common landmarks, and of those the
points that every run predicted. Else a run that leaves hard points out would look better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np

from anatomark.errors import LandmarkError, UsageError
from anatomark.geometry import FloatArray
from anatomark.io.files import check_not_a_file, write_text
from anatomark.io.json_files import plain
from anatomark.metrics.errors import ErrorTable
from anatomark.metrics.evaluation import DRAWS
from anatomark.metrics.paired import LEVEL, Comparison, compare_runs, marks_of
from anatomark.metrics.plots import cumulative, save_plot
from anatomark.metrics.records import Run, check_replaceable, group_record, write_record
from anatomark.metrics.statistics import Group, check_thresholds, summarise
from anatomark.metrics.tables import ABBREVIATIONS, booktabs, escaped, interval, number, rows_of
from anatomark.pages import Page

By = Literal["case", "point"]
COMPARISON_FILE, _FORMAT = "compare.json", "anatomark-comparison"
_FILES = ("report.html", COMPARISON_FILE, "table.tex", "plots/cumulative.png")
_WHAT = {"case": "mean errors of the cases", "point": "errors of the points"}


@dataclass(frozen=True, eq=False)
class Compared:
    """Runs on what they have in common; ``tables`` have NaN where any run has no error.

    ``groups`` summarise each run, ``tests`` compare them; ``by`` says whether a pair is a case
    (mean of its points) or a point. ``cases_left_out`` and ``points_left_out`` are not common.
    """

    names: tuple[str, ...]
    tables: tuple[ErrorTable, ...]
    groups: tuple[Group, ...]
    tests: tuple[Comparison, ...]
    by: By
    truth: str
    cases_left_out: tuple[str, ...]
    names_left_out: tuple[str, ...]
    points_left_out: int

    @property
    def unit(self) -> str:
        """Unit of all errors."""
        return self.tables[0].unit


def compare(
    runs: Sequence[Run],
    *,
    by: By = "case",
    thresholds: Sequence[float] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Compared:
    """Compare each run with the first and the second, over what all of them have."""
    if len(runs) < 2:
        raise UsageError("there is nothing to compare", fix="name two or more runs")
    tables = _common(runs)
    known = np.all([np.isfinite(t.errors) for t in tables], axis=0)
    if not known.any():
        raise UsageError("no point has an error in every run", fix="look at their sensitivity")
    masked = [replace(t, offsets=np.where(known[..., None], t.offsets, np.nan)) for t in tables]
    limits = check_thresholds(runs[0].thresholds if thresholds is None else thresholds)
    labels = _labels(runs)
    groups = [
        Group(label, summarise(m.errors, limits, draws=draws, seed=seed), t.presence())
        for label, m, t in zip(labels, masked, tables, strict=True)
    ]
    first = tables[0]
    either = np.any([np.isfinite(t.errors) for t in tables], axis=0)
    return Compared(
        names=labels,
        tables=tuple(masked),
        groups=tuple(groups),
        tests=tuple(compare_runs([_paired(m.errors, by) for m in masked])),
        by=by,
        truth=runs[0].truth,
        cases_left_out=_others([r.table.cases for r in runs], first.cases),
        names_left_out=_others([r.table.names for r in runs], first.names),
        points_left_out=int((either & ~known).sum()),
    )


def _common(runs: Sequence[Run]) -> list[ErrorTable]:
    """The tables of all runs cut to the same cases and landmarks, in the same order."""
    for run in runs[1:]:
        _check_fits(runs[0], run)
    cases = _shared([r.table.cases for r in runs])
    names = _shared([r.table.names for r in runs])
    if not cases or not names:
        what = "landmark" if cases else "case"
        raise UsageError(f"the runs have no {what} in common", path=runs[1].path,
                         fix="compare runs on the same cohort")  # fmt: skip
    tables = [
        r.table.select([r.table.cases.index(c) for c in cases],
                       [r.table.names.index(n) for n in names])
        for r in runs
    ]  # fmt: skip
    for run, table in zip(runs, tables, strict=True):
        wrong = [c for c, a, b in zip(cases, table.digests, tables[0].digests, strict=True)
                 if a != b]  # fmt: skip
        if wrong:
            raise LandmarkError(
                f"case {wrong[0]!r} has other true points than in {runs[0].path}", path=run.path,
                fix="evaluate all runs against the same truth",
            )  # fmt: skip
    return tables


def _check_fits(first: Run, other: Run) -> None:
    for what, a, b in (
        ("in", first.table.unit, other.table.unit),
        ("of dimension", first.table.dimension, other.table.dimension),
    ):
        if a != b:
            raise LandmarkError(
                f"its errors are {what} {b}, those of {first.path} {what} {a}", path=other.path,
                fix="compare runs that were evaluated in one unit",
            )  # fmt: skip


def _shared(lists: Sequence[Sequence[str]]) -> list[str]:
    return [item for item in lists[0] if all(item in other for other in lists[1:])]


def _others(lists: Sequence[Sequence[str]], kept: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item for items in lists for item in items if item not in kept))


def _labels(runs: Sequence[Run]) -> tuple[str, ...]:
    """Folder names; with their parents, and at last numbers, where those are not enough."""
    names = [r.name for r in runs]
    if len(set(names)) < len(names):
        names = ["/".join(r.path.resolve().parent.parts[-2:]) for r in runs]
    if len(set(names)) < len(names):
        names = [f"{k}. {name}" for k, name in enumerate(names, 1)]
    return tuple(names)


def _paired(errors: FloatArray, by: By) -> FloatArray:
    if by == "point":
        return errors.ravel()
    known = np.isfinite(errors)
    counts = known.sum(axis=1)
    sums = np.where(known, errors, 0.0).sum(axis=1)
    return np.asarray(np.where(counts > 0, sums / np.maximum(counts, 1), np.nan))


# -- writing -------------------------------------------------------------------------------------


def check_free_for_comparison(out: Path) -> None:
    """Refuse a folder with files that would be written over, unless they are of a comparison."""
    check_not_a_file(out)
    check_replaceable(out, _FILES, COMPARISON_FILE, _FORMAT)


def write_comparison(compared: Compared, out: str | PathLike[str]) -> Path:
    """Write ``table.tex``, ``plots/cumulative.png``, ``report.html`` and ``compare.json``."""
    folder = Path(out)
    write_text(folder / "table.tex", _latex(compared))
    page = Page("Comparison of runs", lead=lead(compared))
    page.table(*comparison_rows(compared))
    for sentence in sentences(compared):
        page.text(sentence)
    page.heading("Tests")
    page.table(*rows_of_tests(compared))
    page.heading("Cumulative errors")
    runs = {n: t.errors for n, t in zip(compared.names, compared.tables, strict=True)}
    limits = compared.groups[0].summary.thresholds
    figure = cumulative(runs, unit=compared.tables[0].unit, thresholds=limits)
    save_plot(figure, folder / "plots" / "cumulative.png")
    page.picture(figure, f"Percentage of landmarks with at most this error, in {compared.unit}.")
    report = folder / "report.html"
    page.write(report)
    write_record(to_record(compared), folder / COMPARISON_FILE)
    return report


def lead(compared: Compared) -> str:
    """What was compared, in one sentence."""
    first = compared.tables[0]
    cases = "1 common case" if len(first.cases) == 1 else f"{len(first.cases)} common cases"
    return (
        f"{len(compared.names)} runs against {compared.truth}: {cases}, {len(first.names)} "
        f"landmarks, errors in {compared.unit}."
    )


def comparison_rows(compared: Compared) -> tuple[list[str], list[list[str]]]:
    """The table of runs with marks: ``*`` differs from the first run, ``†`` from the second."""
    heads, rows = rows_of(compared.groups, compared.unit, first="run")
    for k, row in enumerate(rows):
        row.insert(1, marks_of(k, compared.tests) or "–")
    return [heads[0], "differs", *heads[1:]], rows


def rows_of_tests(compared: Compared) -> tuple[list[str], list[list[str]]]:
    """One row a test."""
    rows = [
        [
            compared.names[t.second], compared.names[t.first], str(t.pairs),
            number(t.difference, 3).replace("-", "−"), p_text(t.p), p_text(t.p_holm),
            "yes" if t.significant else "no",
        ]
        for t in compared.tests
    ]  # fmt: skip
    heads = ["run", "against", "pairs", f"median difference ({compared.unit})", "p", "p (Holm)"]
    return [*heads, f"p < {LEVEL:g}"], rows


def p_text(p: float) -> str:
    """A p-value with three decimals; smaller ones say no more than that they are."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def sentences(compared: Compared) -> list[str]:
    """What must be said beside the table."""
    names = compared.names
    second = f" † from {names[1]}" if len(names) > 2 else ""
    said = [
        f"* differs from {names[0]}{',' if second else ''}{second}: two-sided Wilcoxon "
        f"signed-rank test on the {_WHAT[compared.by]}, p < {LEVEL:g} after Holm's correction "
        f"for {len(compared.tests)} {'tests' if len(compared.tests) > 1 else 'test'}.",
        "95 % bootstrap intervals of the MRE over cases: "
        + "; ".join(f"{g.name} {interval(g.summary.mean_ci) or 'none'}" for g in compared.groups)
        + f" {compared.unit}.",
    ]
    said.append(
        f"A difference is that of the pairs, column run minus column against, and negative where "
        f"the run of the first column is better. {ABBREVIATIONS}"
    )
    if compared.points_left_out:
        said.append(f"Points that not every run predicted, left out: {compared.points_left_out}.")
    for what, left in (("Cases", compared.cases_left_out), ("Names", compared.names_left_out)):
        if left:
            more = ", …" if len(left) > 10 else ""
            said.append(f"{what} that not every run has, left out ({len(left)}): "
                        f"{', '.join(left[:10])}{more}.")  # fmt: skip
    return said


def _latex(compared: Compared) -> str:
    unit, limits = compared.unit, compared.groups[0].summary.thresholds
    heads = ["Run", f"MRE ± SD ({unit})", f"median ({unit})", *(f"≤ {t:g} {unit}" for t in limits)]
    rows: list[list[str]] = []
    for k, group in enumerate(compared.groups):
        s = group.summary
        signs = marks_of(k, compared.tests, (r"*", r"\dagger"))
        spread = escaped(f"{number(s.mean)} ± {number(s.sd)}") + (
            f"$^{{{signs}}}$" if signs else ""
        )
        rows.append([escaped(group.name), spread, number(s.median),
                     *(number(w, 1) for w in s.within)])  # fmt: skip
    comment = " ".join([lead(compared), sentences(compared)[0], "Needs \\usepackage{booktabs}"])
    return booktabs([escaped(h) for h in heads], rows, comment=comment)


def to_record(compared: Compared) -> dict[str, Any]:
    """The content of ``compare.json``."""
    return {
        "format": _FORMAT,
        "version": 1,
        "unit": compared.unit,
        "truth": compared.truth,
        "by": compared.by,
        "level": LEVEL,
        "common_cases": list(compared.tables[0].cases),
        "cases_left_out": list(compared.cases_left_out),
        "names_left_out": list(compared.names_left_out),
        "points_left_out": compared.points_left_out,
        "runs": [
            {"run": g.name, "marks": marks_of(k, compared.tests), **group_record(g)}
            for k, g in enumerate(compared.groups)
        ],
        "tests": [
            {
                "run": compared.names[t.second], "against": compared.names[t.first],
                "pairs": t.pairs, "median_difference": plain(t.difference),
                "p": plain(t.p), "p_holm": plain(t.p_holm), "significant": t.significant,
            }
            for t in compared.tests
        ],
    }  # fmt: skip
