"""What a command is, and the options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import typer


class Command(NamedTuple):
    """A command: its name, one sentence about it, an example that runs, and what it calls."""

    name: str
    help: str
    example: str
    run: Callable[..., Any]


_SPACING = "Pixel size in mm, as 0.1 or 0.1,0.1 (x,y,z), of an image that has none."
Spacing = Annotated[str | None, typer.Option(metavar="MM", help=_SPACING)]
FixedSpacing = Annotated[
    str | None, typer.Option(metavar="MM", help="Of the fixed image only; else --spacing.")
]
MovingSpacing = Annotated[
    str | None, typer.Option(metavar="MM", help="Of the moving image only; else --spacing.")
]
Series = Annotated[
    str | None, typer.Option(metavar="S", help="Which DICOM series of a folder, by its number.")
]
FixedSeries = Annotated[
    str | None, typer.Option(metavar="S", help="Which DICOM series of the fixed folder.")
]
MovingSeries = Annotated[
    str | None, typer.Option(metavar="S", help="Which DICOM series of the moving folder.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what an earlier run wrote.")]
Device = Annotated[Literal["auto", "cpu", "gpu"], typer.Option(help="Where to compute.")]
Views = Annotated[
    int, typer.Option(min=1, help="Poses in which each image is looked at; slower, surer.")
]
Measures = Annotated[
    Literal["ceph", "cobb"] | None,
    typer.Option("--measure", help="Angles and distances that follow from the landmarks."),
]
Frame = Literal["LPS", "RAS"]
Direction = Literal["points", "image"]
