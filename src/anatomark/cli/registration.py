"""The command ``register``: one image brought onto another by points."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import typer

from anatomark.cli import console
from anatomark.cli.commands import (
    AsJson,
    Command,
    Device,
    FixedSeries,
    FixedSpacing,
    Frame,
    MovingSeries,
    MovingSpacing,
    Overwrite,
    Spacing,
)
from anatomark.cli.sides import of_side
from anatomark.cli.words import spacings_of
from anatomark.errors import AnatomarkError, UsageError, counted

_POINTS = "give --fixed-landmarks and --moving-landmarks, --model, --pairs or --matcher"


class _Sources(NamedTuple):
    """Where the user says that points are."""

    fixed_landmarks: Path | None
    moving_landmarks: Path | None
    model: str | None
    moving_model: str | None
    pairs: Path | None
    matcher: str | None
    frames: tuple[Frame | None, Frame | None] = (None, None)
    units: tuple[Literal["mm", "px"] | None, Literal["mm", "px"] | None] = (None, None)

    def check(self) -> None:
        if self.fixed_landmarks is None and any((*self.frames, *self.units)):
            raise UsageError(
                "frame and unit are those of landmark files", fix="leave them away, or give files"
            )
        if (self.fixed_landmarks is None) != (self.moving_landmarks is None):
            lacking = "fixed" if self.fixed_landmarks is None else "moving"
            raise UsageError(
                "landmarks of both images are needed", fix=f"give --{lacking}-landmarks as well"
            )
        if self.moving_model is not None and self.model is None:
            raise UsageError("--moving-model is for use with --model", fix="name --model as well")
        if self.fixed_landmarks is not None and self.model is not None:
            raise UsageError("landmarks are given and to be detected", fix="leave --model away")
        if self.pairs is not None and self.matcher is not None:
            raise UsageError("pairs are given and to be found", fix="leave --matcher away")
        if not any((self.fixed_landmarks, self.model, self.pairs, self.matcher)):
            raise UsageError("there are no points to register by", fix=_POINTS)


def register(
    fixed: Annotated[Path, typer.Option("--fixed", metavar="F", help="Image that stays.")],
    moving: Annotated[
        Path, typer.Option("--moving", metavar="M", help="Image that is brought onto it.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write.")],
    fixed_landmarks: Annotated[
        Path | None, typer.Option(metavar="A", help="Landmarks of the fixed image, paired by name.")
    ] = None,
    moving_landmarks: Annotated[
        Path | None, typer.Option(metavar="B", help="Landmarks of the moving image.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Detect landmarks in both; in the fixed one by this."),
    ] = None,
    moving_model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="And in the moving one by this.")
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(metavar="P.csv", help="Table of pairs, as match writes it.")
    ] = None,
    matcher: Annotated[
        str | None, typer.Option(metavar="M", help="Find pairs: sift, ct-slices or a model.")
    ] = None,
    transform: Annotated[
        Literal["rigid", "similarity", "affine", "tps", "bspline"],
        typer.Option(help="Map that is fitted; bspline is a rigid one bent by grey values."),
    ] = "rigid",
    refine: Annotated[
        Literal["none", "rigid", "affine", "bspline"],
        typer.Option(help="Refine by grey values, up to this stage."),
    ] = "none",
    robust: Annotated[
        Literal["no", "ransac", "smooth", "reweighted"] | None,
        typer.Option(
            help="Look for wrong pairs: ransac (one map) where there are matches, smooth (their "
            "neighbours) for a tps of them, else no."
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(metavar="MM", help="Pairs that agree are so near; five voxels."),
    ] = None,
    smoothing: Annotated[float, typer.Option(min=0, help="Of a tps; 0 goes through points.")] = 0.0,
    around: Annotated[
        float | None,
        typer.Option(metavar="MM", help="Compare grey values only so near to the points."),
    ] = None,
    keep_refined: Annotated[
        bool, typer.Option("--keep-refined", help="Even if it takes the points far apart.")
    ] = False,
    fixed_mask: Annotated[
        Path | None, typer.Option(metavar="MASK", help="Where the fixed image counts.")
    ] = None,
    moving_mask: Annotated[
        Path | None, typer.Option(metavar="MASK", help="Where the moving one does; both: Dice.")
    ] = None,
    picture: Annotated[bool, typer.Option(help="Draw both images on each other.")] = True,
    spacing: Spacing = None,
    fixed_spacing: FixedSpacing = None,
    moving_spacing: MovingSpacing = None,
    fixed_series: FixedSeries = None,
    moving_series: MovingSeries = None,
    fixed_frame: Annotated[
        Frame | None, typer.Option(help="Frame of the fixed points, if the file does not say.")
    ] = None,
    moving_frame: Annotated[
        Frame | None, typer.Option(help="Frame of the moving points, likewise.")
    ] = None,
    fixed_unit: Annotated[
        Literal["mm", "px"] | None, typer.Option(help="Unit of the fixed points, likewise.")
    ] = None,
    moving_unit: Annotated[
        Literal["mm", "px"] | None, typer.Option(help="Unit of the moving points, likewise.")
    ] = None,
    different_patients: Annotated[
        bool,
        typer.Option("--different-patients", help="Link two PatientIDs in registration.dcm."),
    ] = False,
    grey: Annotated[bool, typer.Option("--grey", help="Reduce colours to grey.")] = False,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Register two images by points: transform files, the warped image, pictures, a report."""
    import matplotlib as mpl

    from anatomark.models.device import keep_freed_memory
    from anatomark.pipelines.registration.files import check_folder, names_for, write_registered
    from anatomark.pipelines.registration.plan import Plan
    from anatomark.pipelines.registration.run import register as run
    from anatomark.registration.itk_images import check_images

    mpl.use("agg")
    keep_freed_memory()
    sources = _Sources(
        fixed_landmarks, moving_landmarks, model, moving_model, pairs, matcher,
        frames=(fixed_frame, moving_frame), units=(fixed_unit, moving_unit),
    )  # fmt: skip
    sources.check()
    plan = Plan(
        transform=transform, refine=refine, robust=robust, threshold=threshold,
        smoothing=smoothing, around=around, keep_refined=keep_refined,
    )  # fmt: skip
    named = fixed_landmarks is not None or model is not None
    # With which covariances is known when they are read.
    plan.check_threshold(matches=pairs is not None or matcher is not None, weighed=named)
    given = _given(fixed=fixed, moving=moving, fixed_mask=fixed_mask, moving_mask=moving_mask)
    with console.Progress("reading") as bar:
        sizes = spacings_of(spacing, fixed_spacing, moving_spacing)
        images, masks = _read(given, sizes, (fixed_series, moving_series), grey=grey)
        _named((fixed, moving), lambda: check_images(*images, *masks))
        names = names_for(
            *images, (fixed, moving), picture=picture, plan=plan,
            patients_differ=different_patients,
        )  # fmt: skip
        paths = [*given.values(), *(p for p in (fixed_landmarks, moving_landmarks, pairs) if p)]
        check_folder(out, names, paths, overwrite=overwrite)
        evidence = _evidence(sources, images, (fixed, moving), device, bar)
        found = _named((fixed, moving), lambda: run(
            *images, evidence, plan=plan, fixed_mask=masks[0], moving_mask=masks[1],
            progress=bar.stage,
        ))  # fmt: skip
        told = {name: str(path) for name, path in given.items()}
        record = write_registered(found, out, names, given=told, progress=bar.stage)
    _say(record, out, as_json=as_json)


def _given(**paths: Path | None) -> dict[str, Path]:
    return {name: path for name, path in paths.items() if path is not None}


def _read(
    given: dict[str, Path],
    sizes: tuple[Any, Any],
    series: tuple[str | None, str | None],
    *,
    grey: bool,
) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    from anatomark.io.images.reading import read_image, read_mask

    images, masks = [], []
    for name, size, chosen in zip(("fixed", "moving"), sizes, series, strict=True):
        with of_side(name):
            images.append(read_image(given[name], spacing=size, series=chosen, grey=grey))
        path = given.get(f"{name}_mask")
        masks.append(None if path is None else read_mask(path, spacing=size))
        if masks[-1] is not None and not (masks[-1].array > 0).any():
            raise UsageError("the mask is empty", path=path, fix="leave it out")
    return (images[0], images[1]), (masks[0], masks[1])


def _evidence(
    sources: _Sources, images: tuple[Any, Any], paths: tuple[Path, Path], device: Any, bar: Any
) -> Any:
    from anatomark.pipelines.registration import evidence as points

    grids = {"fixed_grid": images[0].grid, "moving_grid": images[1].grid}
    found = points.Evidence()
    if sources.fixed_landmarks is not None and sources.moving_landmarks is not None:
        marks = []
        ends = (sources.fixed_landmarks, sources.moving_landmarks)
        for name, path, image, frame, unit in zip(
            ("fixed", "moving"), ends, images, sources.frames, sources.units, strict=True
        ):
            with of_side(name):
                marks.append(points.landmarks_of_file(path, image.grid, frame=frame, unit=unit))
        found = points.Evidence(marks[0], marks[1], sources=("landmark files",))
    elif sources.model is not None:
        found = _detected(sources, images, paths, device, bar)
    if sources.pairs is not None:
        return found.also(points.pairs_of_file(sources.pairs, **grids))
    if sources.matcher is not None:
        from anatomark.matching.named import check_images, matcher_named

        matcher = matcher_named(sources.matcher, device=device)
        check_images(matcher, images, paths)
        more = points.matched(matcher.match, *images, name=sources.matcher, progress=bar.stage)
        return found.also(more)
    return found


def _detected(
    sources: _Sources, images: tuple[Any, Any], paths: tuple[Path, Path], device: Any, bar: Any
) -> Any:
    from anatomark.inference.detector import Detector
    from anatomark.pipelines.registration.evidence import detected

    first = Detector(sources.model or "", device=device)
    second = first
    if sources.moving_model is not None:
        second = Detector(sources.moving_model, device=device)
    return detected((first, second), *images, paths=paths, progress=bar.stage)


def _named(paths: tuple[Path, Path], work: Any) -> Any:
    """Errors of two images name both of them."""
    try:
        return work()
    except AnatomarkError as fault:
        fault.at(" and ".join(map(str, paths)))
        raise


def _say(record: Any, out: Path, *, as_json: bool) -> None:
    from anatomark.pipelines.registration.report import refinement_words, summary_rows

    if as_json:
        console.say_json({"written": str(out), **record})
        return
    for text in record["warnings"]:
        console.say_warning(text)
    points, transform = record["points"], record["transform"]
    console.say_table(["", "before", "points", "at the end"], summary_rows(record))
    turned = transform["turn_degrees"]
    console.say(
        f"{transform['kind']} map by {points['used']} of {counted(points['count'], 'point')}"
        + ("" if turned is None else f", turned by {turned:.1f}°")
        + (f"; {refined}" if (refined := refinement_words(record)) else "")
        + f"; {out / 'report.html'}"
    )
    for text in record["doubts"]:  # at the end, where it is not overlooked
        console.say_warning(f"the map is not to be trusted: {text}")


COMMANDS = (
    Command(
        "register",
        "Bring one image onto another by points: transform, warped image, pictures, a report.",
        "Example: anatomark register --fixed us.nii.gz --moving mr.nii.gz --fixed-landmarks "
        "us.mrk.json --moving-landmarks mr.mrk.json --out registered",
        register,
    ),
)
