"""How well measures from predicted landmarks agree with those from the true ones.

A measure counts in a case where truth and prediction both have it. Two observers are compared in
the same way, as what can be asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from anatomark.data import Landmarks
from anatomark.geometry import FloatArray
from anatomark.metrics.measures.base import Measure, Measured, MeasureSet, measure

Marks = Mapping[str, Landmarks]
Z = 1.96  # 95 % of a normal distribution


@dataclass(frozen=True)
class Agreement:
    """Of one measure over ``count`` cases: differences are prediction − truth, in ``unit``.

    ``same_class`` is the percentage of ``classified`` cases whose class is the true one (the
    success classification rate), ``covered`` that of ``with_sd`` cases whose true value lies
    within 1.96 standard deviations of the prediction. NaN where there is no case.
    """

    measure: Measure
    unit: str
    count: int
    mean_absolute: float
    bias: float
    sd: float
    classified: int
    same_class: float
    with_sd: int
    covered: float

    @property
    def name(self) -> str:
        """The name of the measure."""
        return self.measure.name


@dataclass(frozen=True, eq=False)
class Measures:
    """A set of measures of truth and prediction: arrays ``(N, M)``, NaN where there is no value.

    ``observers`` compares two observers with each other, over all pairs of all cases. ``lacking``
    are the measures of the set that the landmarks do not allow, and the names that they lack.
    """

    which: MeasureSet
    cases: tuple[str, ...]
    truth: FloatArray
    prediction: FloatArray
    sd: FloatArray
    agreements: tuple[Agreement, ...]
    observers: tuple[Agreement, ...] = ()
    lacking: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def overall(self) -> dict[str, float]:
        """Numbers over all measures: the mean success classification rate, and those of the set."""
        rates = {"class_agreement_percent": mean_rate(self.agreements)}
        own = {key: of(self.truth, self.prediction) for key, of in self.which.overall.items()}
        return {key: value for key, value in (rates | own).items() if math.isfinite(value)}


def mean_rate(agreements: Iterable[Agreement]) -> float:
    """The mean success classification rate of the measures that have one."""
    rates = [a.same_class for a in agreements if a.classified]
    return float(np.mean(rates)) if rates else math.nan


def measure_all(
    which: MeasureSet,
    truth: Marks,
    prediction: Marks,
    *,
    observers: Mapping[str, Marks] | None = None,
    repeats: Sequence[tuple[str, str]] = (),
) -> Measures | None:
    """Measure every case that truth and prediction have; ``None`` where no case allows it.

    ``observers`` are the single readings by case; of ``repeats``, pairs of readings by one person,
    only the first counts.
    """
    cases = [c for c in truth if c in prediction and which.available(truth[c].names)]
    if not cases:
        return None
    true = [_by_name(truth[case], which) for case in cases]
    found = [_by_name(prediction[case], which) for case in cases]
    columns = {name: one for row in true for name, one in row.items()}
    again = {second for _, second in repeats}
    pairs = _pairs([(observers or {}).get(case, {}) for case in cases], which, again)
    names = tuple(dict.fromkeys(name for case in cases for name in truth[case].names))
    return Measures(
        which, tuple(cases),
        _values(true, columns), _values(found, columns), _values(found, columns, "sd"),
        _agreements(columns, true, found),
        _agreements(columns, *pairs) if pairs[0] else (),
        which.lacking(names),
    )  # fmt: skip


Row = Mapping[str, Measured]


def _by_name(marks: Landmarks, which: MeasureSet) -> Row:
    return {one.name: one for one in measure(marks, which)}


def _pairs(
    readings: Sequence[Marks], which: MeasureSet, again: set[str]
) -> tuple[list[Row], list[Row]]:
    """Two observers each, of all cases one after the other."""
    first, second = list[Row](), list[Row]()
    for case in readings:
        people = [_by_name(marks, which) for name, marks in case.items() if name not in again]
        for one, other in combinations(people, 2):
            first.append(one)
            second.append(other)
    return first, second


def _values(rows: Sequence[Row], columns: Iterable[str], key: str = "value") -> FloatArray:
    return np.array([[getattr(r[n], key) if n in r else math.nan for n in columns] for r in rows])


def _agreements(
    columns: Mapping[str, Measured], truth: Sequence[Row], found: Sequence[Row]
) -> tuple[Agreement, ...]:
    def both(name: str) -> list[tuple[Measured, Measured]]:
        rows = zip(truth, found, strict=True)
        pairs = [(t[name], f[name]) for t, f in rows if name in t and name in f]
        return [(t, f) for t, f in pairs if math.isfinite(t.value) and math.isfinite(f.value)]

    return tuple(_agreement(one, both(name)) for name, one in columns.items())


def _agreement(about: Measured, pairs: Sequence[tuple[Measured, Measured]]) -> Agreement:
    true, found = (np.array([p[k].value for p in pairs]) for k in (0, 1))
    sd = np.array([f.sd for _, f in pairs])
    apart = about.measure.difference(found, true)
    known = np.isfinite(sd)
    within = np.abs(apart[known]) <= Z * sd[known]
    classes = [(t.found_class, f.found_class) for t, f in pairs]
    same = np.array([t == f for t, f in classes if t is not None], bool)
    return Agreement(
        about.measure, about.unit, len(pairs),
        _mean(np.abs(apart)), _mean(apart),
        float(apart.std(ddof=1)) if len(pairs) > 1 else math.nan,
        len(same), 100 * _mean(same), int(known.sum()), 100 * _mean(within),
    )  # fmt: skip


def _mean(values: Any) -> float:
    return float(np.mean(values)) if len(values) else math.nan
