"""``metrics.json``: everything that an evaluation found, for programs and for ``compare``.

``docs/evaluation.md`` describes the fields. Not-a-number is ``null``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from anatomark.errors import AnatomarkError, UsageError, listed
from anatomark.io.files import read_text, write_text
from anatomark.io.json_files import json_text, plain
from anatomark.metrics.errors import STATES, ErrorTable
from anatomark.metrics.evaluation import Evaluation
from anatomark.metrics.measures.tables import case_records, measures_record
from anatomark.metrics.observers import NOTES, Line
from anatomark.metrics.statistics import Group

FORMAT, VERSION = "anatomark-metrics", 1
METRICS_FILE = "metrics.json"


@dataclass(frozen=True, eq=False)
class Run:
    """What ``metrics.json`` of a folder holds, as far as a comparison needs it."""

    name: str
    table: ErrorTable
    thresholds: tuple[float, ...]
    truth: str
    path: Path


def to_record(evaluation: Evaluation) -> dict[str, Any]:
    """The content of ``metrics.json``."""
    table = evaluation.table
    return {
        "format": FORMAT,
        "version": VERSION,
        "unit": table.unit,
        "dimension": table.dimension,
        "truth": evaluation.truth,
        "prediction": evaluation.prediction,
        "thresholds": list(evaluation.thresholds),
        "sdr": "percent of errors <= threshold, over points in truth and prediction",
        "sd_ddof": 1,
        "bootstrap": {"draws": evaluation.draws, "seed": evaluation.seed, "level": 0.95,
                      "by": "case"},
        "pooled": group_record(evaluation.pooled),
        "per_domain": {g.name: group_record(g) for g in evaluation.domains},
        "per_landmark": {g.name: group_record(g) for g in evaluation.landmarks},
        "observers": {kind: _line(line) for kind, line in evaluation.lines.items()},
        "missing_cases": list(evaluation.missing),
        "unused_cases": list(evaluation.unused),
        "unknown_names": list(evaluation.unknown),
        "measures": measures_record(evaluation.measures) if evaluation.measures else None,
        "sureness": evaluation.sureness.to_record() if evaluation.sureness else None,
        "names": list(table.names),
        "cases": _cases(evaluation),
    }  # fmt: skip


def group_record(group: Group) -> dict[str, Any]:
    """One group: errors in the unit of the file, rates in percent, presence as counts."""
    s, p = group.summary, group.presence
    rates = zip(s.thresholds, s.within, s.within_ci, strict=True)
    return {
        "count": s.count,
        "mre": plain(s.mean),
        "mre_ci": plain(s.mean_ci),
        "sd": plain(s.sd),
        "median": plain(s.median),
        "q1": plain(s.q1),
        "q3": plain(s.q3),
        "iqr": plain(s.iqr),
        "max": plain(s.largest),
        "sdr": [{"threshold": t, "percent": plain(w), "ci": plain(ci)} for t, w, ci in rates],
        "presence": {
            "true_positive": p.both,
            "false_negative": p.missed,
            "false_positive": p.invented,
            "true_negative": p.absent,
            "sensitivity": plain(p.sensitivity),
            "specificity": plain(p.specificity),
        },
    }


def _line(line: Line) -> dict[str, Any]:
    each = {name: plain(value) for name, value in line.per_landmark.items()}
    return {"what": NOTES[line.kind], "mean": plain(line.mean), "per_landmark": each}


def _cases(evaluation: Evaluation) -> list[dict[str, Any]]:
    table, states = evaluation.table, evaluation.table.states()
    measures = case_records(evaluation.measures) if evaluation.measures else {}
    return [
        {
            "case": case,
            "domain": table.domains[i],
            "truth": table.digests[i],
            "mre": plain(evaluation.cases[i].summary.mean),
            "errors": plain(table.errors[i]),
            "offsets": plain(table.offsets[i]),
            "states": states[i],
            **({"measures": measures[case]} if case in measures else {}),
        }
        for i, case in enumerate(table.cases)
    ]


def write_record(record: Mapping[str, Any], path: str | PathLike[str]) -> None:
    """Write a record as JSON, one case a line so that the file can be looked at."""
    head = {k: v for k, v in record.items() if k != "cases"}
    text = json_text(head)
    if "cases" in record:
        rows = (json_text(c, indent=None) for c in record["cases"])
        text = text[:-2] + ',\n "cases": [\n  ' + ",\n  ".join(rows) + "\n ]\n}"
    write_text(path, text + "\n")


def check_replaceable(out: Path, files: Sequence[str], record: str, kind: str) -> None:
    """Refuse to write over ``files`` of ``out`` unless an earlier run wrote them.

    That is so where ``record``, the file that it writes last, is there and of this ``kind``.
    """
    there = [name for name in files if (out / name).exists()]
    if there and not _is_record(out / record, kind):
        raise UsageError(
            f"holds {listed(there)}, but no {record} of an earlier run that may be replaced",
            path=out, fix="name another --out, or move these files away",
        )  # fmt: skip


def _is_record(file: Path, kind: str) -> bool:
    try:
        record = json.loads(read_text(file, AnatomarkError))
    except (AnatomarkError, ValueError, RecursionError):
        return False
    return isinstance(record, dict) and record.get("format") == kind


# -- reading -------------------------------------------------------------------------------------


def read_run(path: str | PathLike[str]) -> Run:
    """Read what ``anatomark evaluate`` wrote, from its folder or its ``metrics.json``."""
    given = Path(path)
    file = given / METRICS_FILE if given.is_dir() else given
    if given.is_dir() and not file.is_file():
        raise UsageError(f"has no {METRICS_FILE}", path=given, fix="run anatomark evaluate first")
    text = read_text(file, AnatomarkError)
    try:
        record = json.loads(text)
        _check_kind(record, file)
        folder = file.resolve().parent
        return Run(
            folder.name, _table(record), tuple(map(float, record["thresholds"])),
            str(record["truth"]), file,
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, IndexError):
        raise UsageError(
            "is not a sound metrics.json", path=file, fix="run anatomark evaluate again"
        ) from None


def _check_kind(record: Any, file: Path) -> None:
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise UsageError(
            "is not what anatomark evaluate writes", path=file, fix="name a folder of evaluate"
        )
    if record.get("version") != VERSION:
        raise UsageError(
            f"has version {record.get('version')}, this anatomark reads {VERSION}", path=file,
            fix="run anatomark evaluate again",
        )  # fmt: skip


def _table(record: Mapping[str, Any]) -> ErrorTable:
    cases, names = record["cases"], tuple(map(str, record["names"]))
    shape = (len(cases), len(names), int(record["dimension"]))
    offsets = np.array([c["offsets"] for c in cases], np.float64).reshape(shape)
    code = np.array([[STATES.index(s) for s in c["states"]] for c in cases]).reshape(shape[:2])
    if record["unit"] not in {"mm", "px"}:
        raise ValueError(record["unit"])
    return ErrorTable(
        cases=tuple(str(c["case"]) for c in cases),
        names=names,
        domains=tuple(str(c["domain"]) for c in cases),
        unit=record["unit"],
        offsets=offsets,
        truth=code >= STATES.index("missed"),
        found=np.isin(code, [STATES.index("invented"), STATES.index("both")]),
        asked=code > 0,
        digests=tuple(str(c["truth"]) for c in cases),
    )
