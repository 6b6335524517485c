"""``Registration``: what a refinement by intensity found, and whether it helped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from anatomark.geometry import FloatArray
from anatomark.maps import Map
from anatomark.registration.landmarks import Pairs

# Called with the name of the stage and how much of it is done, 0…1.
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Stage:
    """One stage: mutual information in nats before and after (more is better), and if it was kept.

    ``stopped`` is the optimiser's own reason.
    """

    name: str
    before: float
    after: float
    kept: bool
    iterations: int
    stopped: str


@dataclass(frozen=True, eq=False)
class Registration:
    """``map`` *pushes* moving points onto fixed ones; ``pull`` is its inverse, which images ask.

    ``metric_before`` and ``metric_after`` are mutual information in nats, on the same samples;
    more is better, and after is never less than before. ``landmarks_before_mm`` and
    ``landmarks_after_mm`` ``(N,)`` are distances of the pairs that were given, pushed, from their
    fixed points. ``warnings`` says in words what deserves a look.
    """

    map: Map
    metric_before: float
    metric_after: float
    stages: tuple[Stage, ...] = ()
    landmarks_before_mm: FloatArray | None = field(default=None, repr=False)
    landmarks_after_mm: FloatArray | None = field(default=None, repr=False)
    warnings: tuple[str, ...] = ()

    @property
    def pull(self) -> Map:
        """The map from fixed to moving points, along which images are resampled."""
        return self.map.inverse()


def judged(
    found: Map,
    start: Map,
    before: float,
    after: float,
    *,
    stages: tuple[Stage, ...] = (),
    pairs: Pairs | None = None,
    warnings: tuple[str, ...] = (),
) -> Registration:
    """A result with the distances of the landmarks, and a warning where they grew.

    ``found`` and ``start`` push moving points onto fixed ones.
    """
    if pairs is None or not len(pairs):
        return Registration(found, before, after, stages, warnings=warnings)
    first, last = (_distances(push, pairs) for push in (start, found))
    if last.mean() > first.mean():
        said = (
            f"the landmarks are farther apart than before: {last.mean():.2f} {pairs.unit} on "
            f"average, it was {first.mean():.2f} {pairs.unit}"
        )
        warnings = (*warnings, said)
    return Registration(found, before, after, stages, first, last, warnings)


def _distances(push: Map, pairs: Pairs) -> FloatArray:
    return np.asarray(np.linalg.norm(push(pairs.moving_mm) - pairs.fixed_mm, axis=1))
