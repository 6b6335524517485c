"""Truth and predictions in, one value with all the numbers out; files are written elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from anatomark.data import Landmarks
from anatomark.metrics.errors import ErrorTable, measure
from anatomark.metrics.observers import Line, reference_lines
from anatomark.metrics.sources import Truth
from anatomark.metrics.statistics import (
    THRESHOLDS,
    Group,
    check_thresholds,
    per_case,
    per_domain,
    per_landmark,
    pooled,
)

DRAWS = 2000


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The errors of one set of predictions and what they come to, in ``table.unit``.

    ``missing`` are cases of the truth without a prediction; no number counts them. ``unused`` are
    predictions of no case of the truth, ``unknown`` predicted names that the truth does not have.
    """

    table: ErrorTable
    thresholds: tuple[float, ...]
    truth: str
    prediction: str
    pooled: Group
    landmarks: Sequence[Group]
    domains: Sequence[Group]
    cases: Sequence[Group]
    missing: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    lines: Mapping[str, Line] = field(default_factory=dict)
    draws: int = DRAWS
    seed: int = 0


def evaluate(
    truth: Truth,
    prediction: Mapping[str, Landmarks],
    *,
    said: str = "prediction",
    unused: Iterable[str] = (),
    thresholds: Sequence[float] = THRESHOLDS,
    repeats: Sequence[tuple[str, str]] = (),
    draws: int = DRAWS,
    seed: int = 0,
) -> Evaluation:
    """Measure predictions against the truth, cases matched by name.

    ``said`` names the predictions in tables. ``repeats`` are pairs of observers that are one
    person (see ``observers``). ``draws`` and ``seed`` are those of the bootstrap.
    """
    limits = check_thresholds(thresholds)
    table = measure(truth.landmarks, prediction, domains=truth.domains, unclear=truth.unclear)
    readings = [truth.observers.get(case, {}) for case in table.cases]
    again = {"draws": draws, "seed": seed}
    return Evaluation(
        table=table,
        thresholds=limits,
        truth=truth.said,
        prediction=said,
        pooled=pooled(table, limits, **again),
        landmarks=per_landmark(table, limits, **again),
        domains=per_domain(table, limits, **again),
        cases=per_case(table, limits),
        missing=tuple(case for case in truth.landmarks if case not in prediction),
        unused=tuple(unused),
        unknown=_unknown(truth, prediction),
        lines=reference_lines(readings, table.names, repeats=repeats),
        draws=draws,
        seed=seed,
    )


def _unknown(truth: Truth, prediction: Mapping[str, Landmarks]) -> tuple[str, ...]:
    """Names that are predicted (present) and that the truth of their case does not know."""
    alien: dict[str, None] = {}
    for case, marks in prediction.items():
        known = set(truth.landmarks[case].names) if case in truth.landmarks else set(marks.names)
        here = zip(marks.names, marks.present, strict=True)
        alien |= dict.fromkeys(name for name, there in here if there and name not in known)
    return tuple(alien)
