"""The command ``slice``: a 2D image out of a volume."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from anatomark.cli import console
from anatomark.cli.commands import AsJson, Command, Overwrite, Series, Spacing
from anatomark.cli.words import spacing_of

_OBLIQUE = 0.1  # degrees
_AXIS = {"axial": "z", "coronal": "y", "sagittal": "x"}


def slice_(
    volume: Annotated[Path, typer.Argument(help="Image file or DICOM folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="IMAGE", help="Image to write.")],
    plane: Annotated[
        Literal["axial", "coronal", "sagittal"], typer.Option(help="Which way to cut.")
    ] = "axial",
    at: Annotated[
        float | None,
        typer.Option(metavar="MM", help="Where, on the axis across it, in LPS; else the middle."),
    ] = None,
    spacing: Spacing = None,
    series: Series = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Cut the slice of a volume that is nearest to a place, as a 2D image."""
    from anatomark.errors import AnatomarkError
    from anatomark.io.files import check_free
    from anatomark.io.images.reading import read_image, write_image
    from anatomark.slices import slice_of

    check_free([out], (volume,), overwrite=overwrite)
    image = read_image(volume, spacing=spacing_of(spacing), series=series)
    try:
        found = slice_of(image, plane, at)
    except AnatomarkError as fault:
        raise fault.at(volume) from None
    write_image(found.image, out)
    grid = found.image.grid
    if found.tilt_degrees > _OBLIQUE:
        console.say_warning(
            f"{volume}: lies obliquely, by {found.tilt_degrees:.1f}°: the slice is one of its own, "
            "and its coordinates are not those of the volume"
        )
    if as_json:
        console.say_json({
            "written": str(out), "plane": plane, "at_mm": found.at_mm,
            "tilt_degrees": found.tilt_degrees, "size_xy": grid.size_xyz,
            "spacing_xy": grid.spacing, "unit": grid.unit,
        })  # fmt: skip
        return
    wide, high = grid.size_xyz
    console.say(
        f"{out}: {plane} at {_AXIS[plane]} = {found.at_mm:.1f} {grid.unit}, {wide} × {high} pixels "
        f"of {grid.spacing[0]:.3g} × {grid.spacing[1]:.3g} {grid.unit}"
    )


COMMANDS = (
    Command(
        "slice",
        "Cut one slice out of a volume: a 2D image, for what looks at slices.",
        "Example: anatomark slice ct_study --at -695 --out slice.nrrd",
        slice_,
    ),
)
