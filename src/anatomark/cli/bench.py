"""The command ``bench``: what this machine needs for the work of the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anatomark.cli import console
from anatomark.cli.commands import AsJson, Command, Device


def bench(
    groups: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[GROUP...]",
            help="decode, methods, training, reading, resampling, fits; all of them unless named.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Keep DATE-bench.json and .txt there."),
    ] = None,
    device: Device = "auto",
    quick: Annotated[
        bool, typer.Option("--quick", help="Tiny sizes: whether it works, not how fast.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Measure time and peak memory beside a reference in the same run; 1 where one failed."""
    from anatomark.bench.report import (
        ESSENTIAL,
        HEADERS,
        check_folder,
        heading,
        save,
        table,
        to_record,
    )
    from anatomark.bench.runs import check_groups, measure_all, tasks_of

    chosen = check_groups(groups or [])
    if out is not None:
        check_folder(out)
    with console.Progress("measurements") as bar:
        report = measure_all(
            tasks_of(chosen), device=device, quick=quick,
            progress=bar.whole,
        )  # fmt: skip
    cells = table(report.rows)
    files: tuple[Path, ...] = ()
    if out is not None:
        files = save(report, out, f"{heading(report)}\n{console.table_text(HEADERS, cells)}")
    if as_json:
        console.say_json(to_record(report))
    else:
        console.say(heading(report))
        console.say_table(HEADERS, cells, essential=ESSENTIAL)
        console.say("\n".join(str(file) for file in files) or "say --out DIR to keep this")
    for row in report.rows:
        if row.state == "failed":
            console.say_error(f"{row.group}: {row.name}: {row.reason}")
    return 1 if report.failed else 0


COMMANDS = (
    Command(
        "bench",
        "Measure time and peak memory on this machine, beside a reference in the same run.",
        "Example: anatomark bench decode fits --quick",
        bench,
    ),
)
