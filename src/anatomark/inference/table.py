"""``detections.csv``: a row a point, of all images whose points were written into a folder."""

from __future__ import annotations

import csv
import io
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from anatomark.errors import AnatomarkError, AnatomarkWarning, UsageError
from anatomark.inference.files import Outcome
from anatomark.io.files import reason_of, write_text

_FIRST = ("case", "image", "landmark", "unit")
_LAST = ("confidence", "spread", "radius", "flags", "error")
#: What a table must say to be one that detect wrote.
NEEDED = (*_FIRST, "x", "y", "error")
DIGITS = 4  # after the point, of all numbers
Row = Mapping[str, Any]


def rows_of(outcome: Outcome) -> list[dict[str, Any]]:
    """One row a point, for the table of all images and for programs."""
    name, path = outcome.source.name, str(outcome.source.path.absolute())
    if outcome.detection is None:
        return [{"case": name, "image": path, "error": str(outcome.error)}]
    findings = outcome.detection.findings
    marks = findings.landmarks
    rows = []
    for i, landmark in enumerate(marks.names):
        point = [round(float(v), DIGITS) for v in marks.points_mm[i]]
        confidence = math.nan if marks.confidence is None else float(marks.confidence[i])
        spread = math.nan
        if marks.covariance_mm2 is not None:
            spread = math.sqrt(max(float(marks.covariance_mm2[i].trace()), 0.0))
        own = findings.flags.get(landmark, ())
        rows.append({
            "case": name, "image": path, "landmark": landmark, "unit": marks.unit,
            **dict(zip("xyz", point, strict=False)), "confidence": round(confidence, DIGITS),
            "spread": round(spread, DIGITS), "radius": round(findings.radius[landmark], DIGITS),
            "flags": "; ".join([*own, *findings.image]), "error": "",
        })  # fmt: skip
    return rows


def earlier_rows(path: Path, needed: Sequence[str] = NEEDED) -> Iterator[dict[str, str]]:
    """Rows of a table that is there, one by one; a table without the ``needed`` is an error."""
    if not path.exists():
        return
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            lines = csv.reader(stream)
            heads = next(lines, [])
            if not set(needed) <= set(heads):
                raise not_ours(path)
            for cells in lines:
                if cells:
                    yield dict(zip(heads, cells, strict=True))
    except OSError as fault:
        raise UsageError(
            f"cannot be read: {reason_of(fault)}", path=path, fix="name another folder for --out"
        ) from None
    except (ValueError, csv.Error):  # not text, or a row with more cells than the heading
        raise not_ours(path) from None


def not_ours(path: Path) -> UsageError:
    """A file that stands where one of detect would be written."""
    return UsageError(
        "is there already, and is not from detect", path=path,
        fix="name another folder for --out, or say --overwrite",
    )  # fmt: skip


def write_table(rows: Sequence[Row], path: Path) -> None:
    """Write the rows of a run after those of earlier runs that they do not replace.

    Of an image that could not be looked at this time, the points of an earlier run stay, as its
    landmark file does. Columns that somebody added stay, too.
    """
    run = {row["case"] for row in rows}
    looked = {row["case"] for row in rows if "landmark" in row}

    def stays(row: Row) -> bool:
        return row["case"] not in run or bool(row["landmark"] and row["case"] not in looked)

    axes = {axis for row in rows for axis in "xyz" if axis in row}
    others: dict[str, None] = {}
    ours = True
    try:
        for row in filter(stays, earlier_rows(path)):
            axes |= {axis for axis in "xyz" if axis in row and row["landmark"]}
            others |= dict.fromkeys(row)
    except AnatomarkError:  # of somebody else, and --overwrite was said
        ours = False
        kept = path.with_name(f"{path.name}.bak")
        path.replace(kept)
        said = f"{path}: could not be read as a table of detect, and is kept as {kept.name}"
        warnings.warn(AnatomarkWarning(said), stacklevel=2)
    known = [*_FIRST, *sorted(axes or "xyz"), *_LAST]
    heads = [*known, *(name for name in others if name not in {*known, *"xyz"})]
    text = io.StringIO()
    table = csv.DictWriter(text, heads, restval="", extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    if ours:  # read again: it may be too large to be kept
        table.writerows(filter(stays, earlier_rows(path)))
    table.writerows([{k: _cell(v) for k, v in row.items()} for row in rows])
    write_text(path, text.getvalue())


def _cell(value: Any) -> Any:
    return "" if isinstance(value, float) and math.isnan(value) else value
