"""Commands about files: convert, import, phantom, show."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from anatomark.cli import console
from anatomark.cli.commands import AsJson, Command, Direction, Frame, Overwrite, Spacing
from anatomark.cli.words import shape_of, spacing_of, two_each
from anatomark.errors import UsageError


def show(
    image: Annotated[Path, typer.Argument(help="Image file or DICOM folder.")],
    landmarks: Annotated[Path | None, typer.Argument(help="Landmark file.")] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="PNG", help="Picture to write.")
    ] = Path("landmarks.png"),
    spacing: Spacing = None,
    names: Annotated[str | None, typer.Option(help="Only these landmarks, as a,b,c.")] = None,
    series: Annotated[str | None, typer.Option(help="Which DICOM series of a folder.")] = None,
    grey: Annotated[bool, typer.Option("--grey", help="Reduce colours to grey.")] = False,
    title: Annotated[str, typer.Option(help="Title of the picture.")] = "",
) -> None:
    """Draw an image with its landmarks."""
    import matplotlib as mpl

    from anatomark.io.images.reading import read_image
    from anatomark.io.landmarks.formats import read_landmarks
    from anatomark.pictures import draw, save_picture

    mpl.use("agg")
    picture = read_image(image, spacing=spacing_of(spacing), series=series, grey=grey)
    marks = None if landmarks is None else read_landmarks(landmarks, grid=picture.grid)
    if marks is not None and names is not None:
        marks = marks.select(n.strip() for n in names.split(","))
    if marks is not None:
        _warn_outside(picture.grid.contains(marks.points_mm), marks)
    save_picture(draw(picture, marks, title=title), out)
    console.say(f"{out}")


def _warn_outside(inside: Any, marks: Any) -> None:
    import warnings

    from anatomark.errors import ImageWarning

    outside = [n for n, i, p in zip(marks.names, inside, marks.present, strict=True) if p and not i]
    if outside:
        warnings.warn(
            ImageWarning(
                f"outside the image: {', '.join(outside)} (is it the right image, spacing, frame?)"
            ),
            stacklevel=2,
        )


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Landmarks or a transform.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The extension says the format.")],
    from_format: Annotated[
        str | None, typer.Option("--from", help="Format of IN, where its extension lies.")
    ] = None,
    to_format: Annotated[
        str | None, typer.Option("--to", help="Format of OUT, such as csv-wide.")
    ] = None,
    image: Annotated[
        Path | None, typer.Option(help="Image whose pixels the points count, or a field's grid.")
    ] = None,
    spacing: Spacing = None,
    frame: Annotated[
        Frame, typer.Option(help="Frame written, for formats that have both.")
    ] = "LPS",
    from_frame: Annotated[
        Frame | None, typer.Option(help="Frame of IN, if it does not say.")
    ] = None,
    unit: Annotated[
        Literal["mm", "px"] | None, typer.Option(help="Unit of IN, if it does not say.")
    ] = None,
    case: Annotated[str | None, typer.Option(help="Which case of a table.")] = None,
    node: Annotated[str | None, typer.Option(help="Which node of a Slicer file.")] = None,
    pixel_origin: Annotated[
        Literal["centre", "corner"], typer.Option(help="Where IN counts pixels from.")
    ] = "centre",
    direction: Annotated[
        Direction | None, typer.Option(help="What the numbers of a transform IN move.")
    ] = None,
    to_direction: Annotated[
        Direction | None, typer.Option(help="The same for OUT; as IN unless given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Convert a landmark file or a transform."""
    size = spacing_of(spacing)
    grid = None if image is None else _grid_of(image, size)
    if direction is not None or to_direction is not None or _is_transform(source, target):
        kind = _convert_transform(source, target, direction, to_direction, from_frame, frame, grid)
        result: dict[str, Any] = {"written": str(target), "kind": kind}
    else:
        from anatomark.io.landmarks.formats import read_landmarks, write_landmarks

        marks = read_landmarks(
            source, grid=grid, spacing=None if image else size, format=from_format,
            frame=from_frame, case=case, node=node, unit=unit, pixel_origin=pixel_origin,
        )  # fmt: skip
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


def _grid_of(image: Path, spacing: tuple[float, ...] | float | None) -> Any:
    from anatomark.io.images.reading import read_grid

    return read_grid(image, spacing=spacing)


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


def import_cohort(
    layout: Annotated[str, typer.Argument(help="Layout of the source; 'list' names them.")],
    source: Annotated[Path | None, typer.Argument(help="Folder in that layout.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="COHORT", help="Folder to write.")
    ] = None,
    spacing: Spacing = None,
    truth: Annotated[str | None, typer.Option(help="Observer that is the truth, or mean.")] = None,
    table: Annotated[list[str] | None, typer.Option(help="csv: a table; may be repeated.")] = None,
    images: Annotated[str | None, typer.Option(help="csv: the folder with the images.")] = None,
    unit: Annotated[
        str | None, typer.Option(help="csv: mm or px, where columns do not say.")
    ] = None,
    pixel_origin: Annotated[
        str | None, typer.Option(help="csv: numbers count from the centre or corner of a pixel.")
    ] = None,
    pair: Annotated[
        list[str] | None,
        typer.Option(metavar="LEFT:RIGHT", help="csv: landmarks, or words in their names."),
    ] = None,
    paired: Annotated[
        list[str] | None, typer.Option(metavar="A:B", help="csv: cases that show the same thing.")
    ] = None,
    challenge: Annotated[
        str | None, typer.Option(metavar="CSV", help="isbi2015: readings the challenge changed.")
    ] = None,
    wrist_mm: Annotated[
        float | None, typer.Option(help="hand-xray: width of the wrist, 50 in the papers.")
    ] = None,
    points: Annotated[str | None, typer.Option(help="jsrt: lungs, contours or both.")] = None,
    names: Annotated[
        str | None,
        typer.Option(metavar="A,B,C", help="chest-xray: names in the order of its files."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Divide by patient, as 0.8,0.1,0.1 (train, val, test)."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of that division.")] = None,
    patient: Annotated[
        str | None, typer.Option(help="Regular expression that finds the patient in a case name.")
    ] = None,
    outside: Annotated[
        str | None, typer.Option(help="Points outside their image: absent or error.")
    ] = None,
    copy: Annotated[bool, typer.Option("--copy", help="Copy the images into the cohort.")] = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Import a data set in one of the known layouts as a cohort."""
    from anatomark.datasets.importers import IMPORTERS

    if layout == "list":
        console.say_table(
            ["layout", "what it is"], ((n, i.description) for n, i in IMPORTERS.items())
        )
        return
    if layout not in IMPORTERS:
        raise UsageError(f"there is no layout {layout!r}", fix=f"known: {', '.join(IMPORTERS)}")
    if source is None or out is None:
        raise UsageError("import needs a source and --out", fix="see anatomark import --help")
    given = {
        "spacing": spacing_of(spacing), "truth": truth, "table": table or None, "images": images,
        "unit": unit, "pixel_origin": pixel_origin, "split": split, "seed": seed,
        "pairs": two_each(pair, option="--pair"), "paired": two_each(paired, option="--paired"),
        "challenge": challenge, "wrist_mm": wrist_mm, "points": points,
        "names": None if names is None else tuple(n.strip() for n in names.split(",")),
        "patient": patient, "outside": outside, "copy": copy or None,
        "overwrite": overwrite or None,
    }  # fmt: skip
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    with console.Progress(f"importing {layout}") as bar:
        cohort = IMPORTERS[layout](source, out, progress=bar.advance, **options)
    _say_cohort(cohort, out, as_json=as_json)


def phantom(
    kind: Annotated[str, typer.Argument(help="Which phantom; 'list' names them.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="COHORT", help="Folder to write.")
    ] = None,
    cases: Annotated[int, typer.Option(min=1, help="How many (pairs count once).")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first case.")] = 0,
    shape: Annotated[
        str | None, typer.Option(metavar="Z,Y,X", help="Voxels; the field of view stays.")
    ] = None,
    split: Annotated[str, typer.Option(help="Parts for train, validation, test.")] = "0.7,0.1,0.2",
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write a cohort of phantoms to disk."""
    from anatomark.datasets.phantoms import PHANTOMS
    from anatomark.datasets.phantoms.cohorts import write_phantoms

    if kind == "list":
        console.say_table(
            ["phantom", "landmarks", "default shape", "what it is"],
            (
                (name, str(p.landmarks), " × ".join(map(str, p.shape)), p.description)
                for name, p in PHANTOMS.items()
            ),
        )
        return
    if out is None:
        raise UsageError("phantom needs --out", fix="name the folder to write, as --out phantoms")
    with console.Progress(f"making {kind} phantoms", cases) as bar:
        cohort = write_phantoms(
            kind, out, cases=cases, seed=seed, shape=shape_of(shape), split=split,
            overwrite=overwrite, progress=bar.advance,
        )  # fmt: skip
    _say_cohort(cohort, out, as_json=as_json)


def _say_cohort(cohort: Any, out: Path, *, as_json: bool) -> None:
    rows = [
        (domain or "–", split or "–", str(len(cohort.select(domain=domain, split=split))))
        for domain in cohort.domains
        for split in cohort.select(domain=domain).splits
    ]
    counts = {domain: len(names) for domain, names in cohort.names.items()}
    if as_json:
        parts = [{"domain": d, "split": s, "cases": int(n)} for d, s, n in rows]
        console.say_json(
            {"cohort": str(out), "cases": len(cohort), "landmarks": counts, "parts": parts,
             "unit": cohort.unit, "truth": cohort.truth or None}
        )  # fmt: skip
        return
    console.say_table(["domain", "split", "cases"], rows)
    listed = _list(f"{n} {d}".strip() for d, n in counts.items())
    truth = f", truth: {cohort.truth}" if cohort.truth else ""
    console.say(
        f"{out}: {len(cohort)} cases, landmarks: {listed or 'none'}, in {cohort.unit}{truth}"
    )


def _list(words: Iterable[str]) -> str:
    return ", ".join(words)


COMMANDS = (
    Command(
        "show",
        "Draw an image with its landmarks: the 2D image, or three planes through each point.",
        "Example: anatomark show scan.nii.gz points.mrk.json --out points.png",
        show,
    ),
    Command(
        "convert",
        "Convert a landmark file or a transform; the extensions say the formats.",
        "Example: anatomark convert points.fcsv points.mrk.json",
        convert,
    ),
    Command(
        "import",
        "Import a public or your own data set as a cohort (cohort.csv, cohort.toml).",
        "Example: anatomark import slicer my_scans --out cohort",
        import_cohort,
    ),
    Command(
        "phantom",
        "Write a cohort of phantoms: images with exactly known landmarks.",
        "Example: anatomark phantom prostate --cases 4 --shape 32,64,64 --out phantoms",
        phantom,
    ),
)
