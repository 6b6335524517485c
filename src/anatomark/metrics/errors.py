"""How far predicted landmarks are from the true ones, and whether they are there at all.

An error exists where truth and prediction both have the point. An absent point has none: it is
never a zero, and an error of exactly zero is an error like any other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anatomark.data import Landmarks
from anatomark.errors import LandmarkError, UsageError, listed
from anatomark.geometry import FloatArray, Unit

BoolArray = NDArray[np.bool_]
STATES = ("", "absent", "invented", "missed", "both")  # no such landmark, TN, FP, FN, TP


@dataclass(frozen=True)
class Presence:
    """Counts of points by whether the truth and the prediction have them."""

    both: int = 0  # true positive
    missed: int = 0  # false negative: there, not predicted
    invented: int = 0  # false positive: predicted, not there
    absent: int = 0  # true negative

    @property
    def sensitivity(self) -> float:
        """Part of the points that are there and were predicted, in 0…1; NaN if none is there."""
        return _ratio(self.both, self.both + self.missed)

    @property
    def specificity(self) -> float:
        """Part of the absent points that were left out, in 0…1; NaN if none is absent."""
        return _ratio(self.absent, self.absent + self.invented)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


@dataclass(frozen=True, eq=False)
class ErrorTable:
    """Signed errors of N cases × L landmarks, prediction minus truth.

    ``offsets`` is ``(N, L, D)`` in ``unit``, world axes (LPS) x, y(, z), NaN where no error is
    defined. ``truth`` and ``found`` ``(N, L)`` say whether the point is in the truth and in the
    prediction; ``asked`` is False where a case (of another domain) has no such landmark.
    ``digests`` identify the true points of each case, so that two runs can be told to have the
    same truth.
    """

    cases: tuple[str, ...]
    names: tuple[str, ...]
    domains: tuple[str, ...]
    unit: Unit
    offsets: FloatArray
    truth: BoolArray
    found: BoolArray
    asked: BoolArray
    digests: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape = (len(self.cases), len(self.names))
        given = [self.offsets.shape[:2], self.truth.shape, self.found.shape, self.asked.shape]
        if len(self.domains) != shape[0] or any(s != shape for s in given):
            raise ValueError(f"{shape[0]} cases × {shape[1]} landmarks do not fit {given}")
        for name in ("offsets", "truth", "found", "asked"):
            view = getattr(self, name).view()
            view.setflags(write=False)  # ``errors`` is computed once
            object.__setattr__(self, name, view)

    @cached_property
    def errors(self) -> FloatArray:
        """Radial (Euclidean) errors ``(N, L)`` in ``unit``, NaN where none is defined."""
        return np.asarray(np.linalg.norm(self.offsets, axis=2))

    @property
    def dimension(self) -> int:
        """2 or 3."""
        return int(self.offsets.shape[2])

    def presence(self, cases: Any = slice(None), landmarks: Any = slice(None)) -> Presence:
        """Count the points of some cases and landmarks (indices or slices) by presence."""
        truth, found, asked = (
            values[cases][:, landmarks] for values in (self.truth, self.found, self.asked)
        )
        return Presence(
            both=int((truth & found & asked).sum()),
            missed=int((truth & ~found & asked).sum()),
            invented=int((~truth & found & asked).sum()),
            absent=int((~truth & ~found & asked).sum()),
        )

    def states(self) -> list[list[str]]:
        """One of ``STATES`` for each case and landmark."""
        code = np.where(self.asked, 1 + self.found + 2 * self.truth, 0)
        return [[STATES[c] for c in row] for row in code]

    def select(self, cases: Sequence[int], landmarks: Sequence[int] | None = None) -> ErrorTable:
        """These cases and landmarks, by index, in this order."""
        columns = list(range(len(self.names)) if landmarks is None else landmarks)
        rows = list(cases)
        cut = np.ix_(rows, columns)
        return ErrorTable(
            cases=tuple(self.cases[i] for i in rows),
            names=tuple(self.names[k] for k in columns),
            domains=tuple(self.domains[i] for i in rows),
            unit=self.unit,
            offsets=self.offsets[cut],
            truth=self.truth[cut],
            found=self.found[cut],
            asked=self.asked[cut],
            digests=tuple(self.digests[i] for i in rows) if self.digests else (),
        )


def measure(
    truth: Mapping[str, Landmarks],
    prediction: Mapping[str, Landmarks],
    *,
    domains: Mapping[str, str] | None = None,
    unclear: Mapping[str, frozenset[str]] | None = None,
) -> ErrorTable:
    """Measure the cases that both have, matched by name, landmark by landmark name.

    A landmark that the prediction of a case does not name counts as not predicted. ``unclear``
    points of a case, which some observers saw and others did not, are not asked for.
    """
    cases = tuple(case for case in truth if case in prediction)
    if not cases:
        raise UsageError("no case of the prediction is in the truth", fix=_examples(truth))
    names = tuple(dict.fromkeys(name for case in cases for name in truth[case].names))
    _check_alike([truth[case] for case in cases])
    shape = (len(cases), len(names))
    offsets = np.full((*shape, truth[cases[0]].dimension), np.nan)
    flags = np.zeros((3, *shape), bool)
    column = {name: k for k, name in enumerate(names)}
    for i, case in enumerate(cases):
        true = truth[case]
        found = _matched(case, true, prediction[case])
        where = [column[name] for name in true.names]
        offsets[i, where] = found.points_mm - true.points_mm
        clear = ~np.isin(true.names, list((unclear or {}).get(case, ())))
        flags[:, i, where] = true.present, found.present, clear
    return ErrorTable(
        cases, names, tuple((domains or {}).get(case, "") for case in cases),
        truth[cases[0]].unit, offsets, flags[0], flags[1], flags[2],
        tuple(digest(truth[case]) for case in cases),
    )  # fmt: skip


def digest(landmarks: Landmarks) -> str:
    """A short word that is the same for the same points (to 1e-4) under the same names."""
    order = np.argsort(landmarks.names)
    points = np.round(landmarks.points_mm[order], 4) + 0.0  # no negative zero
    text = f"{sorted(landmarks.names)} {landmarks.unit} {points.tolist()}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _examples(truth: Mapping[str, Landmarks]) -> str:
    listed = ", ".join(list(truth)[:3]) or "nothing"
    return f"name files or rows as the truth does: {listed}{', …' if len(truth) > 3 else ''}"


def _check_alike(truths: Sequence[Landmarks]) -> None:
    units = {t.unit for t in truths}
    if len(units) > 1:
        raise LandmarkError(
            "the truth is in mm for some cases and in px for others",
            fix="give all images a spacing, or evaluate them apart",
        )
    if len({t.dimension for t in truths}) > 1:
        raise LandmarkError("the truth mixes 2D and 3D cases", fix="evaluate them apart")


def _matched(case: str, true: Landmarks, found: Landmarks) -> Landmarks:
    """The prediction in the order of the truth; names it lacks are absent."""
    if found.unit != true.unit:
        raise LandmarkError(
            f"case {case!r}: the truth is in {true.unit}, the prediction in {found.unit}",
            fix="give the images a spacing, or convert one with anatomark convert --spacing",
        )
    if found.dimension != true.dimension:
        raise LandmarkError(
            f"case {case!r}: the truth is {true.dimension}D, the prediction {found.dimension}D"
        )
    if not set(true.names) & set(found.names):
        raise LandmarkError(
            f"case {case!r}: the prediction names {listed(found.names, 3)}, "
            f"the truth {listed(true.names, 3)}; no name is in both",
            fix="give both the same names",
        )
    return found.select(true.names, missing="absent")
