"""The command ``reproduce``: a paper's tables, beside the published ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from anatomark.cli import console
from anatomark.cli.commands import AsJson, Command, Device
from anatomark.errors import UsageError

if TYPE_CHECKING:
    from anatomark.reproduce import Budget, Reproduced
    from anatomark.training.run import Machine


def reproduce(
    paper: Annotated[
        Literal["fang2023", "grewal2020", "noothout2020", "zhu2021", "all"],
        typer.Argument(
            metavar="PAPER", help="fang2023, grewal2020, noothout2020, zhu2021, or all."
        ),
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
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="all: papers at a time.  [default: 2 on a CPU, 1 on a GPU]"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train and test the methods of a paper's tables."""
    import matplotlib as mpl

    from anatomark.models.device import keep_freed_memory
    from anatomark.reproduce import PAPERS
    from anatomark.training.groups import parse_data
    from anatomark.training.run import Machine

    if paper == "all":
        if data:
            raise UsageError("all papers are on phantoms", fix="name one paper with --data")
        _all(out, budget, seed, Machine(device), jobs, as_json)
        return
    if jobs is not None:
        raise UsageError("--jobs is for all papers", fix="leave it away")
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
    _say(found)
    console.say(f"{out / 'report.html'}")


def _say(found: Reproduced) -> None:
    for table in found.tables:
        console.say(table.title)
        console.say_table(table.head, table.rows)
    for sentence in (*found.verdict, found.note, found.about):
        console.say(sentence)


def _all(
    out: Path, budget: Budget, seed: int, machine: Machine, jobs: int | None, as_json: bool
) -> None:
    from anatomark.models.device import best_device
    from anatomark.processes import cores
    from anatomark.reproduce import PAPERS
    from anatomark.reproduce.every import reproduce_every, shown

    if jobs is None:
        jobs = min(2, cores()) if best_device(machine.device) == "cpu" else 1
    with console.Progress("papers") as bar:
        every = reproduce_every(
            PAPERS, out, budget=budget, seed=seed, machine=machine, jobs=jobs,
            progress=shown(bar.advance),
        )  # fmt: skip
    if as_json:
        records = {name: one.record for name, one in every.found.items()}
        console.say_json({**records, "failed": dict(every.failed)})
    else:
        for one in every.found.values():
            console.say(one.paper)
            _say(one)
        console.say(f"{every.page}")
    for name, why in every.failed.items():
        console.say_warning(f"{name} was not reproduced: {why}")
    if every.failed:
        raise typer.Exit(1)


COMMANDS = (
    Command(
        "reproduce",
        "Train and test the methods of a paper, and print its tables beside the published ones.",
        "Example: anatomark reproduce fang2023 --out fang2023",
        reproduce,
    ),
)
