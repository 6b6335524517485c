"""The command ``match``: points of two images that show the same place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from anatomark.cli import console
from anatomark.cli.commands import (
    AsJson,
    Command,
    Device,
    FixedSeries,
    FixedSpacing,
    MovingSeries,
    MovingSpacing,
    Overwrite,
    Spacing,
)
from anatomark.cli.sides import of_side
from anatomark.cli.words import slice_places, spacings_of
from anatomark.errors import AnatomarkError, UsageError, counted

#: Voxels of the coarser image: so near to where its neighbours, or one map, send it, a match stays.
_FLOOR, _TOLERANCE = 3.0, 10.0


def match(
    fixed: Annotated[Path, typer.Argument(help="Image that stays where it is.")],
    moving: Annotated[Path, typer.Argument(help="Image whose points are looked for in it.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="PAIRS.csv", help="Table of pairs to write.")
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="M",
            help="Shipped model, run folder or file; sift, sift-ratio, rootsift, asift, teblid.",
        ),
    ] = "ct-slices",
    reject: Annotated[
        Literal["smooth", "ransac", "none"],
        typer.Option(help="Leave out matches that contradict their neighbours, or one affine map."),
    ] = "smooth",
    least: Annotated[
        float,
        typer.Option(min=0, max=1, help="Leave out what a model takes for less likely right."),
    ] = 0.0,
    most: Annotated[
        int | None, typer.Option(min=1, help="Landmarks of each image that a model matches.")
    ] = None,
    guided: Annotated[
        bool | None,
        typer.Option(
            "--guided/--first-look",
            help="Look again where the neighbours of a landmark foretell its partner, or not.  "
            "[default: as the model's recipe says]",
        ),
    ] = None,
    picture: Annotated[bool, typer.Option(help="Draw both images with their pairs.")] = True,
    spacing: Spacing = None,
    fixed_spacing: FixedSpacing = None,
    moving_spacing: MovingSpacing = None,
    fixed_series: FixedSeries = None,
    moving_series: MovingSeries = None,
    slices: Annotated[
        str | None,
        typer.Option("--slice", metavar="PLANE:MM", help="Match this slice of both volumes."),
    ] = None,
    fixed_slice: Annotated[
        str | None, typer.Option(metavar="PLANE:MM", help="Of the fixed one; as axial:-695.")
    ] = None,
    moving_slice: Annotated[
        str | None, typer.Option(metavar="PLANE:MM", help="Of the moving one.")
    ] = None,
    grey: Annotated[bool, typer.Option("--grey", help="Reduce colours to grey.")] = False,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Match two images: a table of pairs, landmarks for Slicer, and a picture."""
    from anatomark.io.files import check_free
    from anatomark.io.landmarks.matches import write_matches, write_pair_landmarks
    from anatomark.matching.named import check_images, matcher_named
    from anatomark.models.device import keep_freed_memory
    from anatomark.slices import of_volumes

    keep_freed_memory()
    if out.suffix != ".csv":
        raise UsageError("is not a table", path=out, fix="name a file that ends in .csv for --out")
    matcher = matcher_named(model, least=least, most=most, guided=guided, device=device)
    sizes = spacings_of(spacing, fixed_spacing, moving_spacing)
    places = slice_places(slices, fixed_slice, moving_slice)
    images = _read((fixed, moving), sizes, (fixed_series, moving_series), grey=grey)
    cuts = [_cut(*each) for each in zip(images, places, (fixed, moving), strict=True)]
    shown = [image if cut is None else cut.image for image, cut in zip(images, cuts, strict=True)]
    check_images(matcher, shown, (fixed, moving))
    ends = _ends(out, images[0].grid.unit)
    drawn = out.with_suffix(".png") if picture else None
    check_free([out, *ends, *([drawn] if drawn else [])], (fixed, moving), overwrite=overwrite)
    found = matcher.match(*shown)
    kept, lost = _kept(found, reject, shown)
    placed = kept if None in cuts else of_volumes(kept, *cuts)
    write_matches(placed, out)
    write_pair_landmarks(placed, *ends)
    if drawn is not None:
        _draw(shown, kept, drawn, f"{fixed.name} and {moving.name}")
    written = [str(path) for path in (out, *ends, *([drawn] if drawn else []))]
    if as_json:
        console.say_json({
            "matches": len(kept), "rejected": lost, "unit": kept.unit, "written": written,
        })  # fmt: skip
        return
    console.say(f"{counted(len(kept), 'match', 'matches')}, {lost} rejected ({reject})")
    console.say("\n".join(written))


def _read(
    paths: tuple[Path, Path],
    sizes: tuple[Any, Any],
    series: tuple[str | None, str | None],
    *,
    grey: bool,
) -> list[Any]:
    from anatomark.io.images.reading import read_image

    images = []
    for name, path, size, chosen in zip(("fixed", "moving"), paths, sizes, series, strict=True):
        with of_side(name):
            images.append(
                read_image(path, spacing=size, series=chosen, grey=grey, constant_ok=True)
            )
    return images


def _cut(image: Any, place: tuple[Any, float | None] | None, path: Path) -> Any:
    from anatomark.slices import slice_of

    if place is None:
        return None
    try:
        return slice_of(image, *place)
    except AnatomarkError as fault:
        raise fault.at(path) from None


def _ends(out: Path, unit: str) -> tuple[Path, Path]:
    """Landmark files beside the table; those of Slicer hold millimetres only."""
    kind = "mrk.json" if unit == "mm" else "json"
    fixed, moving = (out.with_name(f"{out.stem}-{side}.{kind}") for side in ("fixed", "moving"))
    return fixed, moving


def _kept(
    found: Any, how: Literal["smooth", "ransac", "none"], images: list[Any]
) -> tuple[Any, int]:
    from anatomark.matching.outliers import reject

    if how == "none" or not len(found):
        return found, 0
    voxel = max(float(image.grid.spacing.mean()) for image in images)
    done = reject(found, how=how, floor_mm=_FLOOR * voxel, tolerance_mm=_TOLERANCE * voxel)
    return done.kept, done.rejected


def _draw(images: list[Any], kept: Any, path: Path, title: str) -> None:
    import matplotlib as mpl

    from anatomark.matching.pictures import draw_matches
    from anatomark.pictures import save_picture

    mpl.use("agg")
    save_picture(draw_matches(images[0], images[1], kept, title=title), path)


COMMANDS = (
    Command(
        "match",
        "Find the same places in two images: pairs of points as a table, for Slicer, as a picture.",
        "Example: anatomark match --model sift --out pairs.csv before.png after.png",
        match,
    ),
)
