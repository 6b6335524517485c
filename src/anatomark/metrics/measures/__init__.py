"""Measures: what users want landmarks for, as cephalometric angles or Cobb angles.

``measure(landmarks, MEASURES["ceph"])`` gives every value with its standard deviation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from anatomark.errors import UsageError
from anatomark.metrics.measures.base import Class, Measure, Measured, MeasureSet, measure
from anatomark.metrics.measures.cephalometry import CEPH
from anatomark.metrics.measures.cobb import COBB

__all__ = [
    "MEASURES", "Class", "Measure", "MeasureSet", "Measured", "automatic_set", "chosen_set",
    "measure",
]  # fmt: skip

MEASURES = {one.name: one for one in (CEPH, COBB)}
_LISTED = 6


def automatic_set(names: Iterable[Sequence[str]]) -> MeasureSet | None:
    """The set that landmarks of these names have without being asked; all must allow it."""
    known = list(names)
    for one in MEASURES.values():
        if one.automatic and known and all(one.available(some) for some in known):
            return one
    return None


def chosen_set(name: str, names: Sequence[str], *, whose: str) -> MeasureSet:
    """The set of that name; an error where not one of its measures follows from the landmarks."""
    if name not in MEASURES:
        raise UsageError(f"there are no measures {name!r}", fix=f"there is {', '.join(MEASURES)}")
    which = MEASURES[name]
    if not which.available(names):
        missing = [point for point in which.wants if point not in names]
        more = f" and {len(missing) - _LISTED} more" if len(missing) > _LISTED else ""
        raise UsageError(
            f"has no landmarks for {which.title}: it lacks {', '.join(missing[:_LISTED])}{more}",
            path=whose, fix="leave --measure away, or name landmarks so",
        )  # fmt: skip
    return which
