"""Measures of detected landmarks: one table for all images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anatomark.errors import AnatomarkError
from anatomark.inference.files import Outcome
from anatomark.inference.table import earlier_rows, not_ours
from anatomark.io.files import write_text
from anatomark.metrics.measures import Measured, MeasureSet, measure
from anatomark.metrics.measures.tables import FOUND, MEASURES_FILE, found_csv, found_rows, without
from anatomark.metrics.sources import DETECTIONS_FILE


@dataclass(frozen=True)
class DetectedMeasures:
    """The rows of all images, and for each image what was measured and flags of its points."""

    rows: list[dict[str, Any]]
    images: dict[str, tuple[Measured, ...]]
    flags: dict[str, Mapping[str, tuple[str, ...]]]
    lacking: str
    path: Path


def check_measures_file(out: Path, *, overwrite: bool) -> None:
    """Refuse to write over a table that is not from an earlier ``detect``."""
    path = out / MEASURES_FILE
    if overwrite or not path.exists():
        return
    if not (out / DETECTIONS_FILE).is_file() or _earlier(path) is None:
        raise not_ours(path)


def write_measures(
    outcomes: Sequence[Outcome], which: MeasureSet | None, names: Sequence[str], out: Path
) -> DetectedMeasures | None:
    """Write ``measures.csv``, after the rows of images that only earlier runs looked at.

    Where nothing is to be measured, rows of points that are no longer there are taken out.
    """
    path = out / MEASURES_FILE
    looked = {o.source.name: o.detection.findings for o in outcomes if o.detection is not None}
    earlier = _earlier(path)
    kept = [row for row in earlier or () if row["case"] not in looked]
    if which is None:
        _leave(path, earlier, kept)
        return None
    images = {name: measure(one.landmarks, which) for name, one in looked.items()}
    flags = {name: one.flags for name, one in looked.items()}
    rows = [
        row for name, found in images.items() for row in found_rows(name, found, flags=flags[name])
    ]
    write_text(path, found_csv([*kept, *rows]))
    return DetectedMeasures(rows, images, flags, without(which.lacking(names)), path)


def _earlier(path: Path) -> list[dict[str, str]] | None:
    """Rows of earlier runs; ``None`` where the table is not one that detect wrote."""
    try:
        rows = list(earlier_rows(path, FOUND))
    except AnatomarkError:
        return None
    return rows


def _leave(path: Path, earlier: Iterable[Any] | None, kept: list[dict[str, str]]) -> None:
    """Only what was kept; no table without rows."""
    if earlier is None or not path.is_file():
        return
    if not kept:
        path.unlink()
    elif kept != earlier:
        write_text(path, found_csv(kept))
