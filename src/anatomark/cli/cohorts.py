"""Commands that make cohorts: ``import`` from a data set, ``phantom`` from seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from anatomark.cli import console
from anatomark.cli.commands import AsJson, Command, Overwrite, Spacing
from anatomark.cli.words import shape_of, spacing_of, two_each
from anatomark.errors import UsageError, counted


def import_cohort(
    layout: Annotated[str, typer.Argument(help="Layout of the source; 'list' names them.")],
    source: Annotated[Path | None, typer.Argument(help="Folder in that layout.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="COHORT", help="Folder to write.")
    ] = None,
    spacing: Spacing = None,
    truth: Annotated[str | None, typer.Option(help="Observer that is the truth, or mean.")] = None,
    table: Annotated[list[str] | None, typer.Option(help="csv: a table; may be repeated.")] = None,
    images: Annotated[str | None, typer.Option(help="csv: the folder with the images.")] = None,
    unit: Annotated[
        str | None, typer.Option(help="csv: mm or px, where columns do not say.")
    ] = None,
    pixel_origin: Annotated[
        str | None, typer.Option(help="csv: numbers count from the centre or corner of a pixel.")
    ] = None,
    pair: Annotated[
        list[str] | None,
        typer.Option(metavar="LEFT:RIGHT", help="csv: landmarks, or words in their names."),
    ] = None,
    paired: Annotated[
        list[str] | None, typer.Option(metavar="A:B", help="csv: cases that show the same thing.")
    ] = None,
    challenge: Annotated[
        str | None, typer.Option(metavar="CSV", help="isbi2015: readings the challenge changed.")
    ] = None,
    wrist_mm: Annotated[
        float | None, typer.Option(help="hand-xray: width of the wrist, 50 in the papers.")
    ] = None,
    points: Annotated[str | None, typer.Option(help="jsrt: lungs, contours or both.")] = None,
    names: Annotated[
        str | None,
        typer.Option(metavar="A,B,C", help="chest-xray: names in the order of its files."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Divide by patient, as 0.8,0.1,0.1 (train, val, test)."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of that division.")] = None,
    patient: Annotated[
        str | None, typer.Option(help="Regular expression that finds the patient in a case name.")
    ] = None,
    outside: Annotated[
        str | None, typer.Option(help="Points outside their image: absent or error.")
    ] = None,
    copy: Annotated[bool, typer.Option("--copy", help="Copy the images into the cohort.")] = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Import a data set in one of the known layouts as a cohort."""
    from anatomark.datasets.importers import IMPORTERS

    if layout == "list":
        rows = [(name, importer.description) for name, importer in IMPORTERS.items()]
        _say_list(["layout", "what it is"], rows, as_json=as_json)
        return
    if layout not in IMPORTERS:
        raise UsageError(f"there is no layout {layout!r}", fix=f"known: {', '.join(IMPORTERS)}")
    if source is None or out is None:
        missing = "--out" if source is not None else "a source: the folder of the data set"
        raise UsageError(f"import needs {missing}", fix="see anatomark import --help")
    given = {
        "spacing": spacing_of(spacing), "truth": truth, "table": table or None, "images": images,
        "unit": unit, "pixel_origin": pixel_origin, "split": split, "seed": seed,
        "pairs": two_each(pair, option="--pair"), "paired": two_each(paired, option="--paired"),
        "challenge": challenge, "wrist_mm": wrist_mm, "points": points,
        "names": None if names is None else tuple(n.strip() for n in names.split(",")),
        "patient": patient, "outside": outside, "copy": copy or None,
        "overwrite": overwrite or None,
    }  # fmt: skip
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    with console.Progress(f"importing {layout}") as bar:
        cohort = IMPORTERS[layout](source, out, progress=bar.advance, **options)
    _say_cohort(cohort, out, as_json=as_json)


def phantom(
    kind: Annotated[str, typer.Argument(help="Which phantom; 'list' names them.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="COHORT", help="Folder to write.")
    ] = None,
    cases: Annotated[int, typer.Option(min=1, help="How many (pairs count once).")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first case.")] = 0,
    shape: Annotated[
        str | None, typer.Option(metavar="Z,Y,X", help="Voxels; the field of view stays.")
    ] = None,
    split: Annotated[str, typer.Option(help="Parts for train, validation, test.")] = "0.7,0.1,0.2",
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write a cohort of phantoms to disk."""
    from anatomark.datasets.phantoms import PHANTOMS
    from anatomark.datasets.phantoms.cohorts import write_phantoms

    if kind == "list":
        rows = [
            (name, str(p.landmarks), " × ".join(map(str, p.shape)), p.description)
            for name, p in PHANTOMS.items()
        ]
        headers = ["phantom", "landmarks", "default shape", "what it is"]
        _say_list(headers, rows, as_json=as_json)
        return
    if out is None:
        raise UsageError("phantom needs --out", fix="name the folder to write, as --out phantoms")
    with console.Progress(f"making {kind} phantoms", cases) as bar:
        cohort = write_phantoms(
            kind, out, cases=cases, seed=seed, shape=shape_of(shape), split=split,
            overwrite=overwrite, progress=bar.advance,
        )  # fmt: skip
    _say_cohort(cohort, out, as_json=as_json)


def _say_cohort(cohort: Any, out: Path, *, as_json: bool) -> None:
    rows = [
        (domain or "–", split or "–", str(len(cohort.select(domain=domain, split=split))))
        for domain in cohort.domains
        for split in cohort.select(domain=domain).splits
    ]
    counts = {domain: len(names) for domain, names in cohort.names.items()}
    if as_json:
        parts = [{"domain": d, "split": s, "cases": int(n)} for d, s, n in rows]
        console.say_json(
            {"cohort": str(out), "cases": len(cohort), "landmarks": counts, "parts": parts,
             "unit": cohort.unit, "truth": cohort.truth or None}
        )  # fmt: skip
        return
    console.say_table(["domain", "split", "cases"], rows)
    listed = ", ".join(f"{n} {d}".strip() for d, n in counts.items())
    truth = f", truth: {cohort.truth}" if cohort.truth else ""
    cases = counted(len(cohort), "case")
    console.say(f"{out}: {cases}, landmarks: {listed or 'none'}, in {cohort.unit}{truth}")


def _say_list(headers: Sequence[str], rows: Sequence[Sequence[str]], *, as_json: bool) -> None:
    if as_json:
        console.say_json([dict(zip(headers, row, strict=True)) for row in rows])
    else:
        console.say_table(headers, rows)


COMMANDS = (
    Command(
        "import",
        "Import a public or your own data set as a cohort.",
        "Example: anatomark import slicer my_scans --out cohort",
        import_cohort,
    ),
    Command(
        "phantom",
        "Write a cohort of phantoms: images with exactly known landmarks.",
        "Example: anatomark phantom prostate --cases 4 --shape 32,64,64 --out phantoms",
        phantom,
    ),
)
