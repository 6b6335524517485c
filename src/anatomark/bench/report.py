"""What was measured as a record, as a table, and as files of one day."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

from anatomark.bench.runs import Report, Row
from anatomark.errors import UsageError, counted
from anatomark.io.files import read_text, reason_of, write_text
from anatomark.io.json_files import write_json

HEADERS = (
    "what", "size", "device", "anatomark", "reference", "its time", "times faster",
    "peak MiB", "its peak",
)  # fmt: skip
ESSENTIAL = (0, 3, 5, 6)  # columns that a narrow terminal shows


def to_record(report: Report) -> dict[str, Any]:
    """Plain JSON types; ``from_record`` is the way back."""
    return {
        "anatomark_bench": 1, "date": report.date, "quick": report.quick,
        "machine": report.machine, "threads": report.threads,
        "load": {"before": list(report.load[0]), "after": list(report.load[1])},
        "rows": [asdict(row) for row in report.rows],
    }  # fmt: skip


def from_record(record: dict[str, Any]) -> Report:
    """A report as it was written."""
    load = record["load"]
    return Report(
        record["date"], record["quick"], record["machine"], record["threads"],
        (tuple(load["before"]), tuple(load["after"])),
        tuple(Row(**row) for row in record["rows"]),
    )  # fmt: skip


def read_report(path: str | PathLike[str]) -> Report:
    """A report from its ``.json`` file."""
    try:
        return from_record(json.loads(read_text(path, UsageError)))
    except (ValueError, KeyError, TypeError):
        raise UsageError(
            "is no run of anatomark bench", path=path, fix="name a file DATE-bench.json"
        ) from None


def table(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Cells as ``HEADERS`` names them; a group's name stands before its measurements."""
    return [
        (
            f"{row.group}: {row.name}", row.size, row.device,
            *(_measured(row) if row.state == "measured" else _reason(row)),
        )
        for row in rows
    ]  # fmt: skip


def _measured(row: Row) -> tuple[str, ...]:
    rate = f" ({_short(1 / row.ours_s)} {row.rate}/s)" if row.rate and row.ours_s else ""
    return (
        duration(row.ours_s) + rate, row.reference, duration(row.reference_s),
        "" if row.ratio is None else _short(row.ratio), _mib(row.ours_mib), _mib(row.reference_mib),
    )  # fmt: skip


def _reason(row: Row) -> tuple[str, ...]:
    return (row.state, row.reason, "", "", "", "")


def duration(seconds: float | None) -> str:
    """With three digits and the unit that suits them."""
    if seconds is None:
        return ""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= 0.9995 * size or unit == "µs":
            return f"{_short(seconds / size)} {unit}"
    return ""


def _mib(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _short(value: float) -> str:
    """Three digits, never with an exponent."""
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def heading(report: Report) -> str:
    """When and on what, in a few lines."""
    before, after = report.load
    load = f", load {before[0]:g} before and {after[0]:g} after" if before and after else ""
    lines = [
        f"anatomark bench{' --quick' if report.quick else ''}, {report.date}, "
        f"{counted(report.threads, 'thread')} of torch{load}",
        "; ".join(f"{name} {value}" for name, value in report.machine.items()),
        "times faster = time of the reference / time of anatomark, same run: "
        "compare ratios, not seconds",
    ]
    return "\n".join(lines)


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be written, before minutes are spent."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise UsageError(
            f"no folder can be made there: {reason_of(fault)}", path=folder,
            fix="name another --out",
        ) from None  # fmt: skip


def save(report: Report, folder: Path, text: str) -> tuple[Path, Path]:
    """Write ``DATE-bench.json`` and the ``text`` beside it; a run of that day gets a number."""
    number = 1
    while True:
        stem = f"{report.date}-bench" + (f"-{number}" if number > 1 else "")
        files = folder / f"{stem}.json", folder / f"{stem}.txt"
        if not any(file.exists() for file in files):
            break
        number += 1
    write_json(files[0], to_record(report))
    write_text(files[1], text)
    return files
