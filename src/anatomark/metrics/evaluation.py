"""Truth and predictions in, one value with all the numbers out; files are written elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from anatomark.data import Landmarks
from anatomark.errors import UsageError
from anatomark.metrics.errors import ErrorTable, measure
from anatomark.metrics.measures import MeasureSet, automatic_set, chosen_set
from anatomark.metrics.measures.agreement import Measures, measure_all
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
from anatomark.metrics.sureness import Sureness, sureness

DRAWS = 2000


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The errors of one set of predictions and what they come to, in ``table.unit``.

    ``missing`` are cases of the truth without a prediction; no number counts them. ``unused`` are
    predictions of no case of the truth, ``unknown`` predicted names that the truth does not have.
    ``measures`` are those that were asked for, or that landmarks of these names always have;
    ``sureness`` is known where predictions carry covariances.
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
    measures: Measures | None = None
    sureness: Sureness | None = None
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
    measures: str | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Evaluation:
    """Measure predictions against the truth, cases matched by name.

    ``said`` names the predictions in tables. ``repeats`` are pairs of observers that are one
    person (see ``observers``). ``measures`` names one of ``MEASURES``. ``draws`` and ``seed`` are
    those of the bootstrap.
    """
    limits = check_thresholds(thresholds)
    which = measures_for(truth, measures)
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
        measures=None
        if which is None
        else measure_all(
            which, truth.landmarks, prediction, observers=truth.observers, repeats=repeats
        ),
        sureness=sureness(table, prediction),
        draws=draws,
        seed=seed,
    )


def measures_for(truth: Truth, name: str | None) -> MeasureSet | None:
    """The measures of that name, or those that the true landmarks have without being asked."""
    flat = all(marks.dimension == 2 for marks in truth.landmarks.values())
    if name is None:
        return automatic_set(m.names for m in truth.landmarks.values()) if flat else None
    names = tuple(dict.fromkeys(n for marks in truth.landmarks.values() for n in marks.names))
    which = chosen_set(name, names, whose=truth.said)
    if not flat:
        raise UsageError(
            f"{which.title} are measured in the plane, and the landmarks are 3D",
            fix="leave --measure away",
        )
    return which


def _unknown(truth: Truth, prediction: Mapping[str, Landmarks]) -> tuple[str, ...]:
    """Names that are predicted (present) and that the truth of their case does not know."""
    alien: dict[str, None] = {}
    for case, marks in prediction.items():
        known = set(truth.landmarks[case].names) if case in truth.landmarks else set(marks.names)
        here = zip(marks.names, marks.present, strict=True)
        alien |= dict.fromkeys(name for name, there in here if there and name not in known)
    return tuple(alien)
