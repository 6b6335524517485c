"""Commands about results: ``evaluate`` against a truth, ``compare`` several evaluations."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from anatomark.cli import console
from anatomark.cli.commands import AsJson, Command, Measures
from anatomark.cli.reading import Unit
from anatomark.cli.words import numbers, two_each
from anatomark.errors import CohortWarning, UsageError, listed

Thresholds = Annotated[
    str | None,
    typer.Option(metavar="A,B,…", help="Limits of the success rates, in the unit of the points."),
]
Draws = Annotated[int, typer.Option(min=0, help="Bootstrap samples; 0 gives no intervals.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")]


def evaluate(
    truth: Annotated[
        Path, typer.Option(metavar="T", help="Cohort, landmark file, folder of them, or table.")
    ],
    prediction: Annotated[
        Path,
        typer.Option(metavar="P", help="Landmark file, folder of CASE.mrk.json and so on, table."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write.")],
    thresholds: Thresholds = None,
    split: Annotated[str | None, typer.Option(help="Only this part of a cohort.")] = None,
    domain: Annotated[str | None, typer.Option(help="Only this domain of a cohort.")] = None,
    observer: Annotated[
        str | None, typer.Option(help="Whose reading of a cohort is the truth, or mean.")
    ] = None,
    repeat: Annotated[
        list[str] | None,
        typer.Option(metavar="A:B", help="Two observers of a cohort who are one person."),
    ] = None,
    measure: Measures = None,
    unit: Unit = None,
    draws: Draws = 2000,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Measure predicted landmarks against the truth."""
    import matplotlib as mpl

    from anatomark.metrics.evaluation import evaluate as measured
    from anatomark.metrics.evaluation import measures_for
    from anatomark.metrics.report import check_free_for_evaluation, write_evaluation
    from anatomark.metrics.sources import read_predictions, read_truth

    mpl.use("agg")
    limits = _limits(thresholds)
    pairs = two_each(repeat, option="--repeat") or []
    check_free_for_evaluation(out)
    with console.Progress("reading the truth") as bar:
        true = read_truth(
            truth, split=split, domain=domain, observer=observer, repeats=pairs, unit=unit,
            progress=bar.advance,
        )  # fmt: skip
    measures_for(true, measure)  # an error before the predictions are read
    with console.Progress("reading the predictions") as bar:
        found, unused = read_predictions(prediction, true, unit=unit, progress=bar.advance)
    if not found:
        some = ", ".join(list(true.landmarks)[:3])
        raise UsageError(
            "has no prediction for any case of the truth", path=prediction,
            fix=f"name files or rows after the cases: {some}, …",
        )  # fmt: skip
    result = measured(
        true, found, said=prediction.resolve().name, unused=unused, thresholds=limits,
        repeats=pairs, measures=measure, draws=draws, seed=seed,
    )  # fmt: skip
    report = write_evaluation(result, out, truth=true.landmarks, prediction=found, image=true.image)
    _warn(result, true.without)
    _say_evaluation(result, report, as_json=as_json)


def _limits(text: str | None) -> tuple[float, ...]:
    from anatomark.metrics.statistics import THRESHOLDS, check_thresholds

    given = numbers(text, option="--thresholds", example="2,2.5,3,4")
    return check_thresholds(given or THRESHOLDS)


def _warn(result: Any, without: tuple[str, ...]) -> None:
    for what, names in (
        ("no prediction", result.missing),
        ("predicted, but no case of the truth", result.unused),
        ("predicted names that the truth does not have", result.unknown),
        ("no true landmarks", without),
    ):
        if names:
            text = f"left out, {what} ({len(names)}): {listed(names)}"
            warnings.warn(CohortWarning(text), stacklevel=2)


def _say_evaluation(result: Any, report: Path, *, as_json: bool) -> None:
    from anatomark.metrics.measures.tables import agreement_table, measures_record
    from anatomark.metrics.measures.tables import lead as lead_of_measures
    from anatomark.metrics.records import group_record
    from anatomark.metrics.report import lead
    from anatomark.metrics.tables import interval, rows_of

    unit = result.table.unit
    if as_json:
        console.say_json({
            "written": str(report.parent), "unit": unit, "truth": result.truth,
            "cases": len(result.table.cases), "missing_cases": result.missing,
            "unused_cases": result.unused, "unknown_names": result.unknown,
            "pooled": group_record(result.pooled),
            "sureness": result.sureness.to_record() if result.sureness else None,
            "measures": measures_record(result.measures) if result.measures else None,
        })  # fmt: skip
        return
    console.say_table(*rows_of([*result.landmarks, result.pooled], unit, first="landmark"))
    console.say(lead(result))
    if result.sureness is not None:
        console.say(result.sureness.sentence())
    if result.measures is not None:
        console.say_table(*agreement_table(result.measures))
        console.say(lead_of_measures(result.measures))
    ci = interval(result.pooled.summary.mean_ci)
    console.say((f"MRE 95 % interval {ci} {unit}; " if ci else "") + f"open {report}")


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of evaluate.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write.")],
    thresholds: Thresholds = None,
    by: Annotated[
        Literal["case", "point"], typer.Option(help="What is a pair: a case's mean, or a point.")
    ] = "case",
    draws: Draws = 2000,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Compare evaluations of the same cases."""
    import matplotlib as mpl

    from anatomark.metrics import comparison
    from anatomark.metrics.records import read_run

    mpl.use("agg")
    limits = None if thresholds is None else _limits(thresholds)
    comparison.check_free_for_comparison(out)
    compared = comparison.compare(
        [read_run(run) for run in runs], by=by, thresholds=limits, draws=draws, seed=seed
    )
    report = comparison.write_comparison(compared, out)
    if as_json:
        console.say_json(comparison.to_record(compared))
        return
    console.say_table(*comparison.comparison_rows(compared))
    console.say_table(*comparison.rows_of_tests(compared))
    for sentence in (comparison.lead(compared), *comparison.sentences(compared)):
        console.say(sentence)
    console.say(f"open {report}")


COMMANDS = (
    Command(
        "evaluate",
        "Measure predicted landmarks against the truth: tables, plots, one HTML page.",
        "Example: anatomark evaluate --truth cohort --prediction detected --out evaluation",
        evaluate,
    ),
    Command(
        "compare",
        "Compare evaluations of the same cases with paired statistics.",
        "Example: anatomark compare evaluation_a evaluation_b --out comparison",
        compare,
    ),
)
