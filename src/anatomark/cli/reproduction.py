"""The command ``reproduce``: a paper's table, beside the published one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from anatomark.cli import console
from anatomark.cli.commands import AsJson, Command


def reproduce(
    paper: Annotated[Literal["fang2023"], typer.Argument(metavar="PAPER", help="fang2023.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write.")],
    data: Annotated[
        Path | None, typer.Option(metavar="COHORT", help="Domains us and mr, split test.")
    ] = None,
    budget: Annotated[
        Literal["small", "paper"], typer.Option(help="Minutes on two cores, or as published.")
    ] = "small",
    seed: Annotated[int, typer.Option(min=0, help="Seed of phantoms and training.")] = 0,
    device: Annotated[
        Literal["auto", "cpu", "gpu"], typer.Option(help="Where to compute.")
    ] = "auto",
    as_json: AsJson = False,
) -> None:
    """Train and test the methods of a paper's table."""
    import matplotlib as mpl

    from anatomark import reproduce as papers
    from anatomark.models.device import keep_freed_memory
    from anatomark.training.run import Machine

    del paper  # there is one so far
    mpl.use("agg")
    keep_freed_memory()
    with console.Progress("training") as bar:
        found = papers.reproduce_fang2023(
            out, data=data, budget=budget, seed=seed, machine=Machine(device),
            progress=bar.advance,
        )  # fmt: skip
    if as_json:
        console.say_json(papers.record(found))
        return
    console.say_table(*papers.rows_of(found))
    for sentence in (*papers.verdict(found), found.about):
        console.say(sentence)
    console.say(f"{out / 'table1.md'}")


COMMANDS = (
    Command(
        "reproduce",
        "Train and test the methods of a paper, and print its table beside the published one.",
        "Example: anatomark reproduce fang2023 --out fang2023",
        reproduce,
    ),
)
