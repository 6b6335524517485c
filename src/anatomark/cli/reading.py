"""Options about reading landmark files that several commands share, and the reading itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import typer

from anatomark.cli.commands import Frame
from anatomark.errors import UsageError

CaseName = Annotated[str | None, typer.Option("--case", help="Which case of a table or cohort.")]
By = Annotated[
    str | None,
    typer.Option(metavar="A,B", help="Columns that tell cases apart; then --case is A/B."),
]
Node = Annotated[str | None, typer.Option(help="Which node of a Slicer file.")]
Unit = Annotated[
    Literal["mm", "px"] | None, typer.Option(help="Unit of the points, if the file does not say.")
]
FromFrame = Annotated[Frame | None, typer.Option(help="Frame of the points, likewise.")]
PixelOrigin = Annotated[
    Literal["centre", "corner"] | None,
    typer.Option(help="The file counts from the centre or the corner of the first pixel."),
]


class Reading(NamedTuple):
    """What the user says about a landmark file."""

    case: str | None = None
    by: str | None = None
    node: str | None = None
    unit: Literal["mm", "px"] | None = None
    frame: Frame | None = None
    pixel_origin: Literal["centre", "corner"] | None = None
    format: str | None = None


def read_marks(path: Path, said: Reading, *, grid: Any = None, spacing: Any = None) -> Any:
    """Read the landmarks of one case; with ``by``, of a table that several columns divide."""
    from anatomark.io.landmarks.formats import read_landmark_table, read_landmarks

    if said.by is None:
        return read_landmarks(
            path, grid=grid, spacing=spacing, format=said.format, frame=said.frame,
            case=said.case, node=said.node, unit=said.unit, pixel_origin=said.pixel_origin,
        )  # fmt: skip
    table = read_landmark_table(
        path, by=[c.strip() for c in said.by.split(",")], grid=grid, spacing=spacing,
        frame=said.frame, unit=said.unit, pixel_origin=said.pixel_origin or "centre",
    )  # fmt: skip
    if said.case not in table:
        some = ", ".join(list(table)[:3])
        wrong = "needs --case" if said.case is None else f"has no case {said.case!r}"
        raise UsageError(f"the table {wrong}", path=path, fix=f"there is {some}, …")
    return table[said.case]
