"""The command ``show``: an image, or a case of a cohort, with its landmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from anatomark.cli import console
from anatomark.cli.commands import AsJson, Command, Series, Spacing
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
from anatomark.errors import UsageError, listed


def show(
    image: Annotated[Path, typer.Argument(help="Image file, DICOM folder or cohort.")],
    landmarks: Annotated[Path | None, typer.Argument(help="Landmark file.")] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="PNG", help="Picture to write.")
    ] = Path("landmarks.png"),
    spacing: Spacing = None,
    names: Annotated[str | None, typer.Option(help="Only these landmarks, as a,b,c.")] = None,
    series: Series = None,
    grey: Annotated[bool, typer.Option("--grey", help="Reduce colours to grey.")] = False,
    nonfinite: Annotated[
        float | None, typer.Option(help="Show voxels that are NaN or infinite as this value.")
    ] = None,
    case: CaseName = None,
    by: By = None,
    node: Node = None,
    unit: Unit = None,
    from_frame: FromFrame = None,
    pixel_origin: PixelOrigin = None,
    title: Annotated[str, typer.Option(help="Title of the picture.")] = "",
    as_json: AsJson = False,
) -> None:
    """Draw an image with its landmarks."""
    import matplotlib as mpl

    from anatomark.io.cohorts.files import is_cohort
    from anatomark.pictures import check_picture, draw, save_picture

    mpl.use("agg")
    check_picture(out)  # before the work, not after it
    if is_cohort(image):
        if landmarks is not None:
            raise UsageError(
                "a cohort brings its own landmarks", path=landmarks, fix="leave the file out"
            )
        if series is not None:
            raise UsageError("a cohort names its images", path=image, fix="leave --series away")
        picture, marks = _of_cohort(image, case, grey)
    else:
        picture, marks = _of_files(
            image, landmarks, spacing, series, grey, nonfinite,
            Reading(case, by, node, unit, from_frame, pixel_origin),
        )  # fmt: skip
    if marks is not None and names is not None:
        marks = marks.select(n.strip() for n in names.split(","))
    outside = [] if marks is None else _outside(picture, marks)
    save_picture(draw(picture, marks, title=title), out)
    if as_json:
        shown = 0 if marks is None else int(marks.present.sum())
        console.say_json({"written": str(out), "landmarks": shown, "outside": outside})
    else:
        console.say(f"{out}")


def _of_files(
    image: Path,
    landmarks: Path | None,
    spacing: str | None,
    series: str | None,
    grey: bool,
    nonfinite: float | None,
    said: Reading,
) -> tuple[Any, Any]:
    from anatomark.io.images.reading import read_image

    picture = read_image(
        image, spacing=spacing_of(spacing), series=series, grey=grey, colour=True,
        nonfinite=nonfinite,
    )  # fmt: skip
    marks = None if landmarks is None else read_marks(landmarks, said, grid=picture.grid)
    return picture, marks


def _of_cohort(folder: Path, case: str | None, grey: bool) -> tuple[Any, Any]:
    from anatomark.io.cohorts.cases import load_sample
    from anatomark.io.cohorts.files import read_cohort

    cohort = read_cohort(folder, check=False)
    if case is None:
        some = ", ".join(c.case for c in cohort.cases[:3])
        raise UsageError("this is a cohort", path=folder, fix=f"say --case, one of {some}, …")
    sample = load_sample(cohort, cohort[case], grey=grey)
    return sample.image, sample.landmarks


def _outside(picture: Any, marks: Any) -> list[str]:
    """Names of the landmarks that lie outside the image; there should be none."""
    import warnings

    from anatomark.errors import ImageWarning
    from anatomark.io.cohorts.checks import outside_names

    outside = outside_names(marks, picture.grid)
    if outside:
        names = listed(outside, 8)
        warnings.warn(
            ImageWarning(f"outside the image: {names} (is it the right image, spacing, frame?)"),
            stacklevel=2,
        )
    return outside


COMMANDS = (
    Command(
        "show",
        "Draw an image, or a case of a cohort, with its landmarks.",
        "Example: anatomark show scan.nii.gz points.mrk.json --out points.png",
        show,
    ),
)
