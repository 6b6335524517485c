"""The command ``reproduce``: a paper's tables, beside the published ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from anatomark.cli import console
from anatomark.cli.commands import AsJson, Command, Device


def reproduce(
    paper: Annotated[
        Literal["fang2023", "grewal2020", "noothout2020", "zhu2021"],
        typer.Argument(metavar="PAPER", help="fang2023, grewal2020, noothout2020 or zhu2021."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write.")],
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COHORT",
            help="A cohort; head=COHORT … (zhu2021), ccta=COHORT … (noothout2020).",
        ),
    ] = None,
    budget: Annotated[
        Literal["small", "paper"], typer.Option(help="Minutes on two cores, or as published.")
    ] = "small",
    seed: Annotated[int, typer.Option(min=0, help="Seed of phantoms and training.")] = 0,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Train and test the methods of a paper's tables."""
    import matplotlib as mpl

    from anatomark.models.device import keep_freed_memory
    from anatomark.reproduce import PAPERS
    from anatomark.training.groups import parse_data
    from anatomark.training.run import Machine

    mpl.use("agg")
    keep_freed_memory()
    with console.Progress("training") as bar:
        found = PAPERS[paper](
            out, data=parse_data(data) if data else None, budget=budget, seed=seed,
            machine=Machine(device), progress=bar.advance,
        )  # fmt: skip
    if as_json:
        console.say_json(found.record)
        return
    for table in found.tables:
        console.say(table.title)
        console.say_table(table.head, table.rows)
    for sentence in (*found.verdict, found.about):
        console.say(sentence)
    console.say(f"{out / 'tables.md'}")


COMMANDS = (
    Command(
        "reproduce",
        "Train and test the methods of a paper, and print its tables beside the published ones.",
        "Example: anatomark reproduce fang2023 --out fang2023",
        reproduce,
    ),
)
