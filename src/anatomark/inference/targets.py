"""What detect may write over: its own files, as long as nobody has changed them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from anatomark.errors import AnatomarkError, LossWarning, NoPointsError, UsageError
from anatomark.inference.files import Output
from anatomark.inference.sources import Source
from anatomark.inference.table import DIGITS, earlier_rows, not_ours
from anatomark.io.landmarks.formats import read_landmarks
from anatomark.metrics.sources import DETECTIONS_FILE

_ROUNDING = 0.6 * 10.0**-DIGITS  # half a unit of the last digit, and a little


@dataclass
class _Known:
    """What the table of earlier runs says of a case: its image, and its points where found."""

    image: str
    unit: str = ""
    points: dict[str, tuple[float, ...]] = field(default_factory=dict)


def check_targets(
    sources: Sequence[Source],
    out: Path,
    output: Output,
    *,
    picture: bool,
    overwrite: bool,
    stages: Sequence[str] = (),
) -> None:
    """Refuse to write over an image that is looked at, or over points that somebody else made.

    What an earlier ``detect`` wrote into ``out`` may be replaced: its points are in the table
    there. One that was moved, renamed, added or taken away since is somebody's work.
    """
    table = out / DETECTIONS_FILE
    known = {} if overwrite else _known(table, {source.name for source in sources})
    images = {source.path.resolve(): source.path for source in sources}
    written: dict[Path, Path] = {}
    pictures = [*([".png"] if picture else []), *(f"-{stage}.png" for stage in stages)]
    for source in sources:
        for end in (f".{output}", *pictures):
            target = out / f"{source.name}{end}"
            other = written.setdefault(target, source.path)
            if other != source.path:
                raise UsageError(
                    f"would be written for {other} and for {source.path}", path=target,
                    fix="detect them into two folders",
                )  # fmt: skip
            if target.resolve() in images:
                raise UsageError(
                    "is one of the images, and would be overwritten", path=target,
                    fix="name another folder for --out",
                )  # fmt: skip
            if not overwrite and target.exists() and source.name not in known:
                raise not_ours(target)
        if not overwrite:
            _check_points(out / f"{source.name}.{output}", source, known.get(source.name), table)


def _check_points(file: Path, source: Source, known: _Known | None, table: Path) -> None:
    """Refuse to replace points that are not as an earlier run of this image left them."""
    if known is not None and not _same(known.image, source.path):
        raise UsageError(
            f"has {source.name} already, of {known.image}, not of {source.path}", path=table,
            fix="name another folder for --out, or say --overwrite",
        )  # fmt: skip
    if not file.exists():
        return
    if known is None or not known.unit:
        raise not_ours(file)
    if not _as_left(file, known):
        raise UsageError(
            "was changed since detect wrote it", path=file,
            fix="name another folder for --out, or say --overwrite",
        )  # fmt: skip


def _known(table: Path, cases: set[str]) -> Mapping[str, _Known]:
    found: dict[str, _Known] = {}
    for row in earlier_rows(table):
        if row["case"] not in cases:
            continue
        one = found.setdefault(row["case"], _Known(row["image"]))
        if not row["landmark"]:
            continue
        one.unit = row["unit"]
        if row["x"]:
            try:
                point = tuple(float(row[axis]) for axis in "xyz" if row.get(axis))
            except ValueError:
                point = ()  # which no file has
            one.points[row["landmark"]] = point
    return found


def _same(earlier: str, now: Path) -> bool:
    """Whether it is one image; what is no longer there is taken to have been moved."""
    if earlier == str(now):
        return True
    try:
        return now.samefile(earlier)
    except (OSError, ValueError):
        return True


def _as_left(file: Path, known: _Known) -> bool:
    """Whether a landmark file has the points of the table, to the digits of the table."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", LossWarning)  # it holds what detect writes nowhere
            marks = read_landmarks(file)
    except NoPointsError:
        return not known.points  # .fcsv has no other way to say that nothing was found
    except (AnatomarkError, LossWarning):
        return False
    here = {
        name: point
        for name, point, there in zip(
            marks.names, marks.points_mm.tolist(), marks.present.tolist(), strict=True
        )
        if there
    }
    if marks.unit != known.unit or here.keys() != known.points.keys():
        return False
    return all(_near(point, known.points[name]) for name, point in here.items())


def _near(point: Sequence[float], said: Sequence[float]) -> bool:
    """Whether the table rounds it so; Slicer's files hold a point of the plane with z = 0."""
    if not 2 <= len(said) <= len(point):
        return False
    padded = (*said, *[0.0] * (len(point) - len(said)))
    return all(abs(a - b) <= _ROUNDING for a, b in zip(point, padded, strict=True))
