"""What a measure is, and how its error follows from the errors of its points.

A measure is a function of a few named points of a 2D image. Its standard deviation is that of first
order: the covariance of every point, carried along by the derivative of the function. The errors of
different points are taken to be independent of each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from anatomark.data import Landmarks
from anatomark.errors import LandmarkError
from anatomark.geometry import FloatArray, Unit

Kind = Literal["angle", "length", "ratio"]
Overall = Callable[[FloatArray, FloatArray], float]
NORMAL = 1
_STEP = 1e-5  # of the size of the figure: errors of the derivative stay below 1e-9 of its value


class Class(NamedTuple):
    """One class of a measure: values up to ``limit``; a limit itself belongs to the normal side."""

    limit: float
    code: int
    meaning: str


@dataclass(frozen=True)
class Measure:
    """A number that follows from points.

    ``of`` takes the points in the order of ``points``, each ``(..., 2)`` LPS, and gives ``(...)``:
    degrees for an angle, the unit of the points for a length. With ``partial`` it is also called
    where points are absent (NaN) and copes with that. ``limits`` of a length are in mm.
    """

    name: str
    title: str
    kind: Kind
    points: tuple[str, ...]
    of: Callable[..., FloatArray] = field(repr=False)
    classes: tuple[Class, ...] = ()
    source: str = ""
    partial: bool = False

    def __post_init__(self) -> None:
        if len(set(self.points)) < len(self.points):
            # Its error would be taken for two independent ones.
            raise ValueError(f"{self.name} names a point twice: {self.points}")

    def unit(self, unit: Unit) -> str:
        """``deg``, ``ratio``, or the unit of the points."""
        return {"angle": "deg", "ratio": "ratio", "length": unit}[self.kind]

    def class_of(self, value: float, unit: str) -> Class | None:
        """The class of a value; none of a length in pixels, whose limits are unknown."""
        if math.isnan(value) or unit == "px":
            return None
        for one in self.classes:
            if value < one.limit or (value == one.limit and one.code == NORMAL):
                return one
        return None

    def difference(self, one: FloatArray, other: FloatArray) -> FloatArray:
        """``one`` − ``other``; of angles the short way round."""
        apart = np.asarray(one - other)
        return np.asarray((apart + 180) % 360 - 180) if self.kind == "angle" else apart


@dataclass(frozen=True)
class MeasureSet:
    """Measures that belong together, and how they are asked for.

    ``table`` gives the measures for the names of the landmarks, ``wants`` some of the names that
    it looks for. With ``automatic`` an evaluation has them wherever the landmarks allow it.
    ``overall`` are numbers over all cases and measures, from truth and prediction ``(N, M)``.
    """

    name: str
    title: str
    table: Callable[[Sequence[str]], tuple[Measure, ...]]
    wants: tuple[str, ...]
    automatic: bool = False
    overall: Mapping[str, Overall] = field(default_factory=dict)

    def available(self, names: Sequence[str]) -> tuple[Measure, ...]:
        """The measures all of whose points are among the names."""
        known = set(names)
        return tuple(one for one in self.table(names) if known.issuperset(one.points))

    def lacking(self, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The other measures, and the names that they lack."""
        missing = {m.name: tuple(p for p in m.points if p not in names) for m in self.table(names)}
        return {name: points for name, points in missing.items() if points}


@dataclass(frozen=True)
class Measured:
    """The value of a measure and its standard deviation, NaN where unknown.

    ``note`` says why there is no value.
    """

    measure: Measure
    value: float
    sd: float
    unit: str
    note: str = ""

    @property
    def name(self) -> str:
        """The name of the measure."""
        return self.measure.name

    @property
    def found_class(self) -> Class | None:
        """The class of the value, where the measure has classes."""
        return self.measure.class_of(self.value, self.unit)

    @property
    def class_is_likely(self) -> bool:
        """Whether it is more likely than not, for a normal error of that standard deviation."""
        which = self.found_class
        if which is None or not self.sd > 0:
            return which is not None
        below = [one.limit for one in self.measure.classes if one.limit < which.limit]

        def part(limit: float) -> float:
            return 0.5 * (1 + math.erf((limit - self.value) / (self.sd * math.sqrt(2))))

        return part(which.limit) - (part(max(below)) if below else 0.0) >= 0.5


def measure(landmarks: Landmarks, which: MeasureSet) -> tuple[Measured, ...]:
    """All measures of a set that the names of the landmarks allow."""
    if landmarks.dimension != 2:
        raise LandmarkError(
            f"{which.title} are measured in the plane, and the landmarks are 3D",
            fix="project them first, as an X-ray would",
        )
    return tuple(_measured(one, landmarks) for one in which.available(landmarks.names))


def _measured(one: Measure, landmarks: Landmarks) -> Measured:
    rows = [landmarks.row(name) for name in one.points]
    points, unit = landmarks.points_mm[rows], one.unit(landmarks.unit)
    absent = [n for n, there in zip(one.points, landmarks.present[rows], strict=True) if not there]
    if absent and not one.partial:
        return Measured(one, math.nan, math.nan, unit, f"absent: {', '.join(absent)}")
    value = float(one.of(*points))
    if not math.isfinite(value):
        note = "too few points are there" if absent else "points coincide or lie on a line"
        return Measured(one, math.nan, math.nan, unit, note)
    covariance = landmarks.covariance_mm2
    sd = math.nan if covariance is None else propagated(one, points, covariance[rows])
    return Measured(one, value, sd, unit)


def propagated(one: Measure, points: FloatArray, covariance: FloatArray) -> float:
    """Standard deviation from the covariances ``(K, 2, 2)`` of points ``(K, 2)``."""
    here = np.isfinite(points).all(axis=1)
    slope = _slope(one, points)[here]
    if not slope.any():
        return math.nan  # 0 by its rule, as of a curve that is not there: not 0 ± 0
    variance = float(np.einsum("ka,kab,kb->", slope, covariance[here], slope))
    return math.sqrt(max(variance, 0.0)) if math.isfinite(variance) else math.nan


def _slope(one: Measure, points: FloatArray) -> FloatArray:
    """Derivative ``(K, 2)`` by every coordinate, by central differences."""
    count = points.size
    step = _STEP * float(np.ptp(points[np.isfinite(points).all(axis=1)], axis=0).max() or 1.0)
    moves = step * np.eye(count).reshape(count, *points.shape)
    ahead, behind = (one.of(*np.moveaxis(points + s * moves, 1, 0)) for s in (1, -1))
    return np.asarray(one.difference(ahead, behind) / (2 * step)).reshape(points.shape)
