"""Everything about an evaluation in one folder: JSON, tables, plots and one HTML page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from anatomark.data import Image, Landmarks
from anatomark.errors import AnatomarkError, counted, listed
from anatomark.io.files import check_not_a_file, write_text
from anatomark.metrics.ellipses import ellipses
from anatomark.metrics.evaluation import Evaluation
from anatomark.metrics.measures.tables import (
    MEASURES_FILE,
    agreement_csv,
    agreement_table,
    drop_table,
    explained,
)
from anatomark.metrics.measures.tables import lead as lead_of_measures
from anatomark.metrics.observers import NOTES
from anatomark.metrics.plots import boxes, cumulative, save_plot
from anatomark.metrics.records import (
    FORMAT,
    METRICS_FILE,
    check_replaceable,
    to_record,
    write_record,
)
from anatomark.metrics.statistics import Group
from anatomark.metrics.tables import (
    Level,
    csv_table,
    groups_of,
    interval,
    latex_table,
    number,
    rows_of,
)
from anatomark.metrics.worst import draw_case, largest_errors, worst_cases
from anatomark.pages import Page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Marks = Mapping[str, Landmarks]
Draw = Callable[[], "Figure"]
_PICTURES = 4
_LISTED = 20
_LEVELS: tuple[Level, ...] = ("all", "domains", "landmarks", "cases")
_PLOTS = ("cumulative", "boxes", "ellipses")
_FILES = (
    "report.html", METRICS_FILE, "table.tex", MEASURES_FILE,
    *(f"{level}.csv" for level in _LEVELS), *(f"plots/{name}.png" for name in _PLOTS),
)  # fmt: skip


def check_free_for_evaluation(out: Path) -> None:
    """Refuse a folder with files that would be written over, unless they are of an evaluation."""
    check_not_a_file(out)
    check_replaceable(out, _FILES, METRICS_FILE, FORMAT)


def write_evaluation(
    evaluation: Evaluation,
    out: str | PathLike[str],
    *,
    truth: Marks | None = None,
    prediction: Marks | None = None,
    image: Callable[[str], Image | None] | None = None,
) -> Path:
    """Write tables, plots, ``report.html`` and, last, ``metrics.json``; returns the report.

    With ``truth``, ``prediction`` and ``image`` (case name → image) the report shows the worst
    cases.
    """
    folder = Path(out)
    for level in _LEVELS:
        write_text(folder / f"{level}.csv", csv_table(evaluation, level))
    write_text(folder / "table.tex", latex_table(evaluation))
    _write_measures(folder / MEASURES_FILE, evaluation)
    page = Page("Evaluation of landmarks", lead=lead(evaluation))
    _tables(page, evaluation)
    for name, (caption, plot) in figures(evaluation).items():
        figure = plot()
        save_plot(figure, folder / "plots" / f"{name}.png")
        page.picture(figure, caption)
    _outliers(page, evaluation)
    if truth is not None and prediction is not None and image is not None:
        _pictures(page, evaluation, truth, prediction, image)
    report = folder / "report.html"
    page.write(report)
    # Its presence says that all the rest is there.
    write_record(to_record(evaluation), folder / METRICS_FILE)
    return report


def lead(evaluation: Evaluation) -> str:
    """What was measured against what, in one sentence."""
    table = evaluation.table
    cases = counted(len(table.cases), "case")
    return (
        f"{evaluation.prediction} against {evaluation.truth}: {cases}, "
        f"{counted(len(table.names), 'landmark')}, errors in {table.unit}."
    )


def figures(evaluation: Evaluation) -> dict[str, tuple[str, Draw]]:
    """The plots: file name → caption and how it is drawn."""
    table, limits, lines = evaluation.table, evaluation.thresholds, evaluation.lines
    runs = {evaluation.prediction: table.errors}
    return {
        "cumulative": (
            f"Percentage of landmarks whose radial error is at most so many {table.unit}.",
            lambda: cumulative(runs, unit=table.unit, thresholds=limits, lines=lines),
        ),
        "boxes": (
            f"Radial errors of each landmark in {table.unit}: quartiles, whiskers of 1.5 "
            "interquartile ranges, single points beyond.",
            lambda: boxes(table, thresholds=limits, lines=lines),
        ),
        "ellipses": (
            f"Signed errors of each landmark in {table.unit}, {_axes(table.dimension)}, at one "
            "scale.",
            lambda: ellipses(table, thresholds=limits),
        ),
    }


def _axes(dimension: int) -> str:
    """Where the axes of the errors point; a film has no left and no back."""
    return "x to the right and y down" if dimension == 2 else "world axes (LPS)"


# -- sections ------------------------------------------------------------------------------------


def _tables(page: Page, evaluation: Evaluation) -> None:
    unit = evaluation.table.unit
    page.heading("Summary")
    page.table(*rows_of([evaluation.pooled], unit, first=""))
    for sentence in sentences(evaluation):
        page.text(sentence)
    if len(evaluation.domains) > 1:
        page.heading("By domain")
        page.table(*rows_of(evaluation.domains, unit, first="domain"))
    _observers(page, evaluation)
    page.heading("By landmark")
    page.table(*rows_of(evaluation.landmarks, unit, first="landmark"))
    _measures(page, evaluation)


def sentences(evaluation: Evaluation) -> list[str]:
    """What must be said beside the numbers: intervals, definitions, cases left out."""
    s, unit = evaluation.pooled.summary, evaluation.table.unit
    said = []
    if interval(s.mean_ci):
        rates = ", ".join(
            f"{t:g} {unit} {interval(ci, 1)} %"
            for t, ci in zip(s.thresholds, s.within_ci, strict=True)
        )
        said.append(
            f"95 % bootstrap intervals over cases ({evaluation.draws} draws): "
            f"MRE {interval(s.mean_ci)} {unit}; within {rates}."
        )
    said.append(
        "MRE and SD (ddof 1), quartiles and success rates (error ≤ threshold) are over points "
        "that truth and prediction both have. Sensitivity: part of the true points that were "
        "predicted; specificity: part of the absent points that were left out."
    )
    p = evaluation.pooled.presence
    if p.missed or p.invented or p.absent:
        said.append(
            f"Points: {p.both} in both, {p.missed} missed, {p.invented} predicted but absent, "
            f"{p.absent} absent in both."
        )
    if evaluation.sureness is not None:
        said.append(evaluation.sureness.sentence())
    return said + _left_out(evaluation)


def _left_out(evaluation: Evaluation) -> list[str]:
    said = []
    for what, names in (
        ("without a prediction, in none of the numbers", evaluation.missing),
        ("predicted, but not in the truth", evaluation.unused),
    ):
        if names:
            said.append(f"Cases {what} ({len(names)}): {listed(names, _LISTED)}.")
    if evaluation.unknown:
        said.append(
            f"Predicted names that the truth does not have: {listed(evaluation.unknown, _LISTED)}."
        )
    return said


def _observers(page: Page, evaluation: Evaluation) -> None:
    if not evaluation.lines:
        return
    page.heading("Observers")
    unit = evaluation.table.unit
    rows = [(kind, NOTES[kind], number(line.mean)) for kind, line in evaluation.lines.items()]
    page.table(["line", "distance between", f"mean ({unit})"], rows)


def _measures(page: Page, evaluation: Evaluation) -> None:
    if evaluation.measures is None:
        return
    page.heading(evaluation.measures.which.title.capitalize())
    page.text(lead_of_measures(evaluation.measures))
    page.table(*agreement_table(evaluation.measures))
    for sentence in explained(evaluation.measures):
        page.text(sentence)


def _write_measures(path: Path, evaluation: Evaluation) -> None:
    """The table of measures; one that an earlier evaluation left is removed."""
    if evaluation.measures is not None:
        write_text(path, agreement_csv(evaluation.measures))
    else:
        drop_table(path, like=agreement_csv(None))


def _outliers(page: Page, evaluation: Evaluation) -> None:
    table = evaluation.table
    page.heading("Largest errors")
    found = largest_errors(table)
    if not found:
        page.text("There are no errors: no point is in both truth and prediction.")
        return
    page.table(
        ["case", "landmark", f"error ({table.unit})"],
        [(o.case, o.name, number(o.error)) for o in found],
    )
    page.heading("Worst cases")
    rows = [groups_of(evaluation, "cases")[i] for i in worst_cases(table)]
    page.table(*rows_of(rows, table.unit, first="case"))


def _how_far(case: Group, unit: str) -> str:
    """The mean error of a case, and how many of its points were not found."""
    missed = case.presence.missed
    if not case.summary.count:
        return "no point found"
    lost = f", {missed} not found" if missed else ""
    return f"mean error {case.summary.mean:.2f} {unit}{lost}"


def _pictures(
    page: Page,
    evaluation: Evaluation,
    truth: Marks,
    prediction: Marks,
    image: Callable[[str], Image | None],
) -> None:
    unit = evaluation.table.unit
    for i in worst_cases(evaluation.table, _PICTURES):
        case = evaluation.table.cases[i]
        title = f"{case}: {_how_far(evaluation.cases[i], unit)}"
        try:
            shown = image(case)
            if shown is None:
                return
            figure = draw_case(shown, truth[case], prediction[case], title=title)
        except AnatomarkError as fault:  # numbers do not need the picture
            page.text(f"{case} cannot be shown: {fault}")
            continue
        page.picture(figure, f"{title}. Amber crosses are the truth, blue rings the prediction.")
