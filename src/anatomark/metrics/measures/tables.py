"""Measures as rows: for the terminal, for CSV files, for JSON."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from anatomark.metrics.measures.agreement import Agreement, Measures, mean_rate
from anatomark.metrics.measures.base import Class, Measured

MEASURES_FILE = "measures.csv"
_SIGNS = {"deg": "°", "ratio": "–"}
_WORDS = {
    "class_agreement_percent": ("mean of the same class (success classification rate)", "%"),
    "smape_percent": ("SMAPE", "%"),
}

Table = tuple[list[str], list[list[str]]]

# -- of one image, or of many ----------------------------------------------------------------------


def found_rows(
    case: str, found: Iterable[Measured], *, flags: Mapping[str, Sequence[str]] | None = None
) -> list[dict[str, Any]]:
    """One row a measure; a point that has ``flags`` is named in the note of what it is used for."""
    return [_found_row(case, one, flags or {}) for one in found]


def _found_row(case: str, one: Measured, flags: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    flagged = [point for point in one.measure.points if flags.get(point)]
    unlikely = one.found_class is not None and not one.class_is_likely
    notes = [
        one.note,
        "the class is uncertain" if unlikely else "",
        f"flagged: {', '.join(flagged)}" if flagged else "",
    ]
    which = one.found_class
    return {
        "case": case, "measure": one.name, "value": _rounded(one.value), "sd": _rounded(one.sd),
        "unit": one.unit, "class": None if which is None else which.code,
        "meaning": "" if which is None else which.meaning,
        "note": "; ".join(note for note in notes if note),
    }  # fmt: skip


FOUND = ("case", "measure", "value", "sd", "unit", "class", "meaning", "note")


def found_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """``measures.csv`` of detections, with the columns that somebody added to earlier rows."""
    every = list(rows)
    heads = list(dict.fromkeys([*FOUND, *(key for row in every for key in row)]))
    return _csv(heads, ([row.get(key, "") for key in heads] for row in every))


def drop_table(path: Path, *, like: str) -> None:
    """Remove a table that an earlier run left, if its heading is that of ``like``."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as stream:
        if stream.readline().strip() == like.splitlines()[0]:
            path.unlink()


def found_table(
    found: Iterable[Measured], *, flags: Mapping[str, Sequence[str]] | None = None
) -> Table:
    """For people, of one image; a class that flags of points make doubtful has a question mark."""
    heads = ["measure", "value", "± SD", "unit", "class", "what it is"]
    return heads, [_found_line(one, flags or {}) for one in found]


def _found_line(one: Measured, flags: Mapping[str, Sequence[str]]) -> list[str]:
    digits = 3 if one.unit == "ratio" else 1
    values = [_text(value, digits) for value in (one.value, one.sd)]
    what = f"{one.measure.title} ({one.note})" if one.note else one.measure.title
    return [one.name, *values, _SIGNS.get(one.unit, one.unit), _class(one, flags), what]


def _class(one: Measured, flags: Mapping[str, Sequence[str]]) -> str:
    if one.found_class is None:
        return said(None)
    doubtful = not one.class_is_likely or any(flags.get(point) for point in one.measure.points)
    return said(one.found_class) + ("?" if doubtful else "")


def said(which: Class | None) -> str:
    """A class in words."""
    return "–" if which is None else f"{which.code}: {which.meaning}"


def without(lacking: Mapping[str, Sequence[str]]) -> str:
    """A sentence about what cannot be measured; empty where nothing is lacking."""
    if not lacking:
        return ""
    missing = dict.fromkeys(point for points in lacking.values() for point in points)
    return f"Not measured: {', '.join(lacking)}, which need {', '.join(missing)}."


# -- truth and prediction --------------------------------------------------------------------------


def agreement_table(measures: Measures) -> Table:
    """For people: a row a measure; columns without a number are left out."""
    of_people = {a.name: a for a in measures.observers}
    columns = {
        "n": [str(a.count) for a in measures.agreements],
        "mean abs. diff.": [_digits(a, a.mean_absolute) for a in measures.agreements],
        "bias": [_digits(a, a.bias) for a in measures.agreements],
        "SD": [_digits(a, a.sd) for a in measures.agreements],
        "unit": [_SIGNS.get(a.unit, a.unit) for a in measures.agreements],
        "same class (%)": [_text(a.same_class, 1) for a in measures.agreements],
        "within ±1.96 SD (%)": [_text(a.covered, 1) for a in measures.agreements],
        "observers: diff.": [
            _digits(a, of_people[a.name].mean_absolute) if a.name in of_people else "–"
            for a in measures.agreements
        ],
        "observers: class (%)": [
            _text(of_people[a.name].same_class, 1) if a.name in of_people else "–"
            for a in measures.agreements
        ],
    }
    shown = {k: v for k, v in columns.items() if k == "unit" or set(v) - {"–"}}
    names = [a.name for a in measures.agreements]
    return ["measure", *shown], [list(row) for row in zip(names, *shown.values(), strict=True)]


_AGREED = (
    "n", "mean_absolute_difference", "bias", "sd", "classified", "class_agreement_percent",
    "with_sd", "within_1.96_sd_percent",
)  # fmt: skip


_OF_OBSERVERS = ("n", "mean_absolute_difference", "class_agreement_percent")


def agreement_csv(measures: Measures | None) -> str:
    """``measures.csv`` of an evaluation: full precision, empty cells where there is no number."""
    heads = ["measure", "unit", *_AGREED, *(f"observers_{key}" for key in _OF_OBSERVERS)]
    if measures is None:
        return _csv(heads, [])
    of_people = {a.name: agreement_record(a) for a in measures.observers}
    rows = []
    for one in measures.agreements:
        record, people = agreement_record(one), of_people.get(one.name, {})
        own = [one.name, one.unit, *(record[key] for key in _AGREED)]
        rows.append([*own, *(people.get(key) for key in _OF_OBSERVERS)])
    return _csv(heads, rows)


def agreement_record(one: Agreement) -> dict[str, Any]:
    """One measure as JSON."""
    values = (
        one.count, one.mean_absolute, one.bias, one.sd, one.classified, one.same_class, one.with_sd,
        one.covered,
    )  # fmt: skip
    return {"unit": one.unit, **{k: _plain(v) for k, v in zip(_AGREED, values, strict=True)}}


def measures_record(measures: Measures) -> dict[str, Any]:
    """All measures as JSON."""
    return {
        "set": measures.which.name,
        "cases": len(measures.cases),
        "overall": {key: _plain(value) for key, value in measures.overall.items()},
        "per_measure": {a.name: agreement_record(a) for a in measures.agreements},
        "observers": {a.name: agreement_record(a) for a in measures.observers},
        "lacking": {name: list(points) for name, points in measures.lacking.items()},
    }


def case_records(measures: Measures) -> dict[str, dict[str, dict[str, Any]]]:
    """The values of each case by measure: true, predicted, and the standard deviation of it."""
    names = [a.name for a in measures.agreements]
    return {
        case: {
            name: {"truth": _plain(t), "prediction": _plain(p), "sd": _plain(s)}
            for name, t, p, s in zip(
                names, measures.truth[i], measures.prediction[i], measures.sd[i], strict=True
            )
        }
        for i, case in enumerate(measures.cases)
    }


def lead(measures: Measures) -> str:
    """What was measured, in one sentence, with the numbers over all measures."""
    count = len(measures.cases)
    of = "1 case" if count == 1 else f"{count} cases"
    numbers = [
        f"{words} {value:.2f} {unit}"
        for key, value in measures.overall.items()
        for words, unit in [_WORDS[key]]
    ]
    people = mean_rate(measures.observers)
    if math.isfinite(people):
        numbers.append(f"of two observers with each other {people:.2f} %")
    text = f"{measures.which.title.capitalize()} of {of}"
    return f"{text}: {', '.join(numbers)}." if numbers else f"{text}."


def explained(measures: Measures) -> list[str]:
    """What must be said beside the numbers."""
    told = ["Differences are prediction − truth, over cases that have both; SD with ddof 1."]
    if any(a.with_sd for a in measures.agreements):
        told.append(
            "Truth within ±1.96 SD: 95 % where the covariances of the predicted points hold for "
            "these images and their errors are independent."
        )
    else:
        told.append("The predictions carry no covariances, so nothing is said about their SD.")
    return [text for text in (*told, without(measures.lacking)) if text]


def _csv(heads: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.10g}"
    return "" if value is None else value


def _digits(about: Agreement, value: float) -> str:
    return _text(value, 3 if about.unit == "ratio" else 2)


def _text(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def _rounded(value: float) -> float:
    return round(value, 4) if math.isfinite(value) else math.nan


def _plain(value: float) -> Any:
    if isinstance(value, int):
        return value
    return float(value) if math.isfinite(value) else None
