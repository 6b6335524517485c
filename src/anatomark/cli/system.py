"""Commands about the installation: demo and doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anatomark.cli import console
from anatomark.cli.commands import AsJson, Command


def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write.")
    ] = Path("demo"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the phantoms.")] = 0,
) -> None:
    """Compute the phantoms, draw them, and show all in one HTML page."""
    import matplotlib as mpl

    from anatomark.demo import run_demo

    mpl.use("agg")
    with console.Progress("demonstration") as bar:
        page = run_demo(out, seed=seed, progress=bar.advance)
    console.say(f"open {page}")


def doctor(as_json: AsJson = False) -> int:
    """Look at this installation and say what is not well."""
    from anatomark.doctor import examine

    checks = examine()
    if as_json:
        console.say_json([check.__dict__ for check in checks])
    else:
        rows = [(c.state, c.name, c.detail + (f"; {c.fix}" if c.fix else "")) for c in checks]
        console.say_table(["", "what", "found"], rows)
    return 2 if any(check.state == "bad" for check in checks) else 0


COMMANDS = (
    Command(
        "demo",
        "Compute the phantoms, draw them, and show all in one HTML page.",
        "Example: anatomark demo --out demo",
        demo,
    ),
    Command(
        "doctor",
        "Look at this installation and test its coordinates.",
        "Example: anatomark doctor --json",
        doctor,
    ),
)
