"""Measures of detected landmarks: one table for all images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anatomark.errors import UsageError
from anatomark.inference.files import Outcome
from anatomark.io.files import write_text
from anatomark.metrics.measures import Measured, MeasureSet, measure
from anatomark.metrics.measures.tables import (
    MEASURES_FILE,
    drop_table,
    found_csv,
    found_rows,
    without,
)
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
    if path.exists() and not (overwrite or (out / DETECTIONS_FILE).is_file()):
        raise UsageError(
            "is there already, and is not from detect", path=path,
            fix="name another folder for --out, or say --overwrite",
        )  # fmt: skip


def write_measures(
    outcomes: Iterable[Outcome], which: MeasureSet | None, names: Sequence[str], out: Path
) -> DetectedMeasures | None:
    """Write ``measures.csv``; where nothing is to be measured, remove that of an earlier run."""
    path = out / MEASURES_FILE
    if which is None:
        drop_table(path, like=found_csv([]))
        return None
    rows: list[dict[str, Any]] = []
    images, flags = {}, {}
    for outcome in outcomes:
        if outcome.detection is not None:
            findings, name = outcome.detection.findings, outcome.source.name
            images[name] = measure(findings.landmarks, which)
            flags[name] = findings.flags
            rows += found_rows(name, images[name], flags=findings.flags)
    write_text(path, found_csv(rows))
    return DetectedMeasures(rows, images, flags, without(which.lacking(names)), path)
