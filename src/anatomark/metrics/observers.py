"""How far human observers are apart: the lines below which a detector cannot be told from them.

*inter*: distance between two observers, pooled over their pairs. *mean*: distance of each
observer to the mean of all. *intra*: distance between two readings of one observer. A point
counts only where both readings have it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from anatomark.data import Landmarks, mean_landmarks
from anatomark.errors import UsageError
from anatomark.geometry import FloatArray

Readings = Mapping[str, Landmarks]  # of one case, by observer
NOTES = {
    "inter": "two observers",
    "intra": "one observer twice",
    "mean": "an observer and the mean of all",
}


@dataclass(frozen=True, eq=False)
class Line:
    """A reference: distances ``(M, L)`` in the unit of the points, NaN where not both saw it."""

    kind: str
    names: tuple[str, ...]
    distances: FloatArray

    @property
    def mean(self) -> float:
        """Mean of all distances; NaN if there are none."""
        return _mean(self.distances)

    @property
    def per_landmark(self) -> dict[str, float]:
        """Mean distance of each landmark; NaN where there is none."""
        return {name: _mean(self.distances[:, k]) for k, name in enumerate(self.names)}


def _mean(values: FloatArray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def reference_lines(
    readings: Sequence[Readings],
    names: Sequence[str],
    *,
    repeats: Sequence[tuple[str, str]] = (),
) -> dict[str, Line]:
    """The lines that the readings of the cases allow: ``inter``, ``mean``, and ``intra``.

    ``repeats`` names pairs of readings that are one person's, as ``("anna", "anna_again")``: only
    the user knows them. They give ``intra``, and only the first of each takes part in the others.
    """
    _check_repeats(readings, repeats)
    again = {second for _, second in repeats}
    rows: dict[str, list[FloatArray]] = {"inter": [], "mean": [], "intra": []}
    for case in readings:
        people = {name: marks for name, marks in case.items() if name not in again}
        for one, other in combinations(people.values(), 2):
            rows["inter"].append(_distances(one, other, names))
        if len(people) > 1:
            centre = mean_landmarks([m.select(names, missing="absent") for m in people.values()])
            rows["mean"] += [_distances(m, centre, names) for m in people.values()]
        for one_name, other_name in repeats:
            if one_name in case and other_name in case:
                rows["intra"].append(_distances(case[one_name], case[other_name], names))
    return {
        kind: Line(kind, tuple(names), np.stack(found)) for kind, found in rows.items() if found
    }


def _distances(one: Landmarks, other: Landmarks, names: Sequence[str]) -> FloatArray:
    first, second = (m.select(names, missing="absent").points_mm for m in (one, other))
    return np.asarray(np.linalg.norm(first - second, axis=1))


def _check_repeats(readings: Sequence[Readings], repeats: Sequence[tuple[str, str]]) -> None:
    known = {name for case in readings for name in case}
    for name in (name for pair in repeats for name in pair):
        if name not in known:
            raise UsageError(
                f"there is no observer {name!r}",
                fix=f"there is {', '.join(sorted(known)) or 'none'}",
            )
