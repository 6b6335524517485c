"""The command ``detect``: landmarks of one image or ten thousand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from anatomark.cli import console
from anatomark.cli.commands import AsJson, Command, Device, Measures, Series, Spacing, Views
from anatomark.cli.words import spacing_of
from anatomark.errors import UsageError, counted

_NAMED = 20  # faulty files that are listed at the end


def detect(
    images: Annotated[list[Path], typer.Argument(help="Images, DICOM folders or cohorts.")],
    model: Annotated[
        str, typer.Option("--model", metavar="M", help="Shipped model, run folder or file.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write.")],
    output: Annotated[
        Literal["mrk.json", "fcsv", "csv", "json"] | None,
        typer.Option("--format", help="Of the landmark files; json holds everything."),
    ] = None,
    picture: Annotated[bool, typer.Option(help="Draw each image with its points.")] = True,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Draw the votes that points are made of, where there are."),
    ] = False,
    second: Annotated[
        str | None, typer.Option(metavar="M", help="Another model; flag where the two disagree.")
    ] = None,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Move implausible points to where the others suggest them."),
    ] = False,
    measure: Measures = None,
    views: Views = 1,
    fix_orientation: Annotated[
        bool,
        typer.Option(
            "--fix-orientation", help="Turn or mirror X-rays whose points make no sense otherwise."
        ),
    ] = False,
    spacing: Spacing = None,
    series: Series = None,
    grey: Annotated[bool, typer.Option("--grey", help="Reduce colours to grey.")] = False,
    split: Annotated[str | None, typer.Option(help="Only this part of a cohort.")] = None,
    domain: Annotated[str | None, typer.Option(help="Only this domain of a cohort.")] = None,
    device: Device = "auto",
    batch: Annotated[int, typer.Option(min=1, help="Images at once.")] = 1,
    readers: Annotated[int, typer.Option(min=1, max=64, help="Images read ahead.")] = 2,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace landmark files that are there already.")
    ] = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="Open a .ckpt, which can run any code. Only your own.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Detect landmarks, with a confidence, a radius and flags for each point."""
    import matplotlib as mpl

    from anatomark.inference.detector import Detector
    from anatomark.inference.files import detect_files, output_for
    from anatomark.inference.measures import check_measures_file, write_measures
    from anatomark.inference.sources import sources_of
    from anatomark.inference.table import rows_of, write_table
    from anatomark.inference.targets import check_targets
    from anatomark.io.files import check_not_a_file
    from anatomark.metrics.measures import chosen_set
    from anatomark.metrics.sources import DETECTIONS_FILE
    from anatomark.models.device import keep_freed_memory

    mpl.use("agg")
    keep_freed_memory()
    check_not_a_file(out)
    sources = sources_of(
        images, split=split, domain=domain, spacing=spacing_of(spacing), series=series
    )
    detector = Detector(
        model, device=device, second=second, repair=repair, views=views,
        fix_orientation=fix_orientation, trust=trust,
    )  # fmt: skip
    names = detector.model.landmarks
    which = None if measure is None else chosen_set(measure, names, whose=model)
    kind = output or output_for(detector.model.info.unit)
    if explain and fix_orientation:
        raise UsageError(
            "--explain shows the image as it is, --fix-orientation turns it", fix="leave one away"
        )
    stages = _stages(detector) if explain else ()
    check_targets(sources, out, kind, picture=picture, overwrite=overwrite, stages=stages)
    if which is not None:
        check_measures_file(out, overwrite=overwrite)
    with console.Progress("detecting", len(sources)) as bar:
        outcomes = list(
            detect_files(
                detector, sources, out, output=kind, picture=picture, explain=explain,
                batch=batch,
                readers=readers, grey=grey, progress=bar.advance,
            )
        )  # fmt: skip
    rows = [row for outcome in outcomes for row in rows_of(outcome)]
    table = out / DETECTIONS_FILE
    write_table(rows, table)
    measures = write_measures(outcomes, which, names, out)
    unknown = detector.unknown()
    return _say(outcomes, rows, table, detector.model.info.unit, unknown, measures, as_json=as_json)


def _stages(detector: Any) -> tuple[str, ...]:
    stages: tuple[str, ...] = detector.model.method.stages
    if not stages:
        raise UsageError(
            f"finds points by {detector.model.recipe.method}, which has no votes to show",
            path=detector.model.name, fix="leave --explain away",
        )  # fmt: skip
    return stages


def _say(
    outcomes: list[Any],
    rows: list[dict[str, Any]],
    table: Path,
    unit: str,
    unknown: list[str],
    measures: Any,
    *,
    as_json: bool,
) -> int:
    failed = [o for o in outcomes if o.error is not None]
    if as_json:
        console.say_json({
            "written": str(table.parent), "failed": len(failed), "points": rows,
            **({} if measures is None else {"measures": measures.rows}),
        })  # fmt: skip
    else:
        points = [r for r in rows if "landmark" in r]
        found = sum(math.isfinite(r["x"]) for r in points)
        if len(outcomes) == 1 and points:
            image = outcomes[0].detection.findings.image
            console.say_table(
                ["landmark", *_axes(points[0]), f"radius, {unit}", "confidence", "flags"],
                [_line(r, image) for r in points],
            )
            for flag in image:
                console.say(f"the whole image: {flag}")
        console.say(f"{_counts(outcomes, found)}; {table}")
        doubtful = sum(bool(r["flags"]) for r in points)  # of their own, or of the whole image
        if found and 2 * doubtful > found and "z" not in points[0]:
            console.say(
                "most points are doubtful, or their images are: --fix-orientation helps with films "
                "that are turned or mirrored; a wrong spacing or another body part looks like this "
                "as well"
            )
        if unknown and points:
            console.say(
                f"not known to this model, from too few cases: {', '.join(unknown)}; "
                "nothing is flagged for that"
            )
        if measures is not None:
            _say_measures(measures, one=len(outcomes) == 1)
    for outcome in failed[:_NAMED]:
        console.say_error(str(outcome.error))
    if len(failed) > _NAMED:
        console.say_error(f"and {len(failed) - _NAMED} more: see {table}")
    return 2 if failed else 0


def _counts(outcomes: Sequence[Any], found: int) -> str:
    """What was looked at and found; flags of points as pictures count them, those of images apart.

    What is said of the whole image is in the table with each of its points, too.
    """
    sound = [o.detection.findings for o in outcomes if o.detection is not None]
    points = sum(any(said) for findings in sound for said in findings.flags.values())
    images = sum(bool(findings.image) for findings in sound)
    whole = f"; {counted(images, 'image')} with a flag" if images else ""
    return (
        f"{len(sound)} of {counted(len(outcomes), 'image')}, {counted(found, 'point')}, "
        f"{points} with a flag{whole}"
    )


def _say_measures(measures: Any, *, one: bool) -> None:
    from anatomark.metrics.measures.tables import found_table

    for name, found in measures.images.items() if one else ():
        console.say_table(*found_table(found, flags=measures.flags[name]))
    count = counted(len(measures.images), "image")
    console.say(f"{counted(len(measures.rows), 'measure')} of {count}; {measures.path}")
    if measures.lacking:
        console.say(measures.lacking)


def _axes(row: dict[str, Any]) -> list[str]:
    return [axis for axis in "xyz" if axis in row]


def _line(row: dict[str, Any], image: Sequence[str]) -> list[str]:
    """One point; what is said of the whole ``image`` is said once, below the table."""
    flags = row["flags"].removesuffix("; ".join(image)).removesuffix("; ")

    def number(value: float, digits: int) -> str:
        return f"{value:.{digits}f}" if math.isfinite(value) else "–"

    return [
        row["landmark"], *(number(row[a], 2) for a in _axes(row)), number(row["radius"], 1),
        number(row["confidence"], 2), flags,
    ]  # fmt: skip


COMMANDS = (
    Command(
        "detect",
        "Detect landmarks in images: files for Slicer, pictures, and one table of all points.",
        "Example: anatomark detect --model run_mr --out found scan.nii.gz",
        detect,
    ),
)
