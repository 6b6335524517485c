"""The command ``convert``: landmark files and transforms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from anatomark.cli import console
from anatomark.cli.commands import AsJson, Command, Direction, Frame, Series, Spacing
from anatomark.cli.reading import (
    By,
    CaseName,
    FromFrame,
    Node,
    PixelOrigin,
    Reading,
    Unit,
    read_marks,
)
from anatomark.cli.words import spacing_of
from anatomark.errors import UsageError


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Landmarks or a transform.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The extension says the format.")],
    from_format: Annotated[
        str | None, typer.Option("--from", help="Format of IN, if its extension does not tell.")
    ] = None,
    to_format: Annotated[
        str | None, typer.Option("--to", help="Format of OUT, such as csv-wide.")
    ] = None,
    image: Annotated[
        Path | None, typer.Option(help="Image whose pixels the points count, or a field's grid.")
    ] = None,
    spacing: Spacing = None,
    series: Series = None,
    frame: Annotated[
        Frame, typer.Option(help="Frame written, for formats that have both.")
    ] = "LPS",
    from_frame: FromFrame = None,
    unit: Unit = None,
    case: CaseName = None,
    by: By = None,
    node: Node = None,
    pixel_origin: PixelOrigin = None,
    direction: Annotated[
        Direction | None,
        typer.Option(help="Of a transform: image if it resamples (ITK, Slicer), else points."),
    ] = None,
    to_direction: Annotated[
        Direction | None, typer.Option(help="The same for OUT; as IN unless given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Convert a landmark file or a transform."""
    if target.exists() and source.exists() and target.samefile(source):
        raise UsageError("IN and OUT are the same file", path=source, fix="name another OUT")
    if series is not None and image is None:
        raise UsageError("--series is of an image", fix="name its folder as --image")
    size = spacing_of(spacing)
    grid = None if image is None else _grid_of(image, size, series)
    if direction is not None or to_direction is not None or _is_transform(source, target):
        kind = _convert_transform(source, target, direction, to_direction, from_frame, frame, grid)
        result: dict[str, Any] = {"written": str(target), "kind": kind}
    else:
        from anatomark.io.landmarks.formats import write_landmarks

        said = Reading(case, by, node, unit, from_frame, pixel_origin, from_format)
        marks = read_marks(source, said, grid=grid, spacing=None if image else size)
        write_landmarks(marks, target, grid=grid, format=to_format, frame=frame)
        result = {
            "written": str(target),
            "kind": "landmarks",
            "landmarks": len(marks),
            "present": int(marks.present.sum()),
            "unit": marks.unit,
        }
    if as_json:
        console.say_json(result)
    else:
        console.say(_sentence(result))


def _grid_of(image: Path, spacing: tuple[float, ...] | float | None, series: str | None) -> Any:
    from anatomark.io.images.reading import read_grid

    return read_grid(image, spacing=spacing, series=series)


def _sentence(result: dict[str, Any]) -> str:
    if "landmarks" not in result:
        return f"{result['written']}: {result['kind']}"
    absent = result["landmarks"] - result["present"]
    note = f", {absent} of them absent" if absent else ""
    return f"{result['written']}: {result['landmarks']} landmarks in {result['unit']}{note}"


def _is_transform(*paths: Path) -> bool:
    """Tell by the extensions that only transforms have, or by the first line of a text file."""
    from anatomark.io.files import suffix_of

    if any(suffix_of(path) in {".tfm", ".h5", ".hdf5", ".mat"} for path in paths):
        return True
    try:
        with paths[0].open("rb") as stream:
            return stream.read(24).startswith((b"#Insight Transform", b"# anatomark transform"))
    except OSError:
        return False


def _convert_transform(
    source: Path,
    target: Path,
    direction: Direction | None,
    to_direction: Direction | None,
    from_frame: Frame | None,
    frame: Frame,
    grid: Any,
) -> str:
    from anatomark.io.files import suffix_of
    from anatomark.io.transforms.formats import read_transform, write_transform

    if direction is None:
        raise UsageError(
            "a transform needs --direction",
            path=source,
            fix="say image if it resamples images (ITK, elastix, Slicer), points if it moves them",
        )
    warp = read_transform(source, direction=direction, frame=from_frame)
    text = suffix_of(target) in {".txt", ".csv"}
    there = to_direction or direction
    write_transform(warp, target, direction=there, grid=grid, frame=frame if text else None)
    return f"{type(warp).__name__.lower()} transform, direction {there}"


COMMANDS = (
    Command(
        "convert",
        "Convert a landmark file or a transform to another format.",
        "Example: anatomark convert points.fcsv points.mrk.json",
        convert,
    ),
)
