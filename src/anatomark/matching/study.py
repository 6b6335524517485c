"""Matchers on the same known pairs: the table and the curves by which they are compared."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from anatomark.data import Image
from anatomark.errors import AnatomarkWarning
from anatomark.geometry import FloatArray, Unit
from anatomark.matching.errors import ErrorSummary, match_errors, summarise
from anatomark.matching.known import KINDS, Kind, known_pair
from anatomark.matching.matcher import Matching

Errors = Mapping[Kind, Mapping[str, Sequence[FloatArray]]]


@dataclass(frozen=True, eq=False)
class MatchingStudy:
    """Errors of the matches of each pair ``(N,)``, by kind of pair and by matcher.

    ``moved`` ``(N,)`` is how far the body's points of all pairs of a kind move, in ``unit``.
    """

    errors: Errors
    moved: Mapping[Kind, FloatArray]
    unit: Unit

    def summaries(self, kind: Kind) -> dict[str, ErrorSummary]:
        """One a matcher."""
        return {name: summarise(own, unit=self.unit) for name, own in self.errors[kind].items()}


def compare_matchers(
    matchers: Mapping[str, Matching],
    images: Sequence[Image],
    *,
    seed: int = 0,
    kinds: Sequence[Kind] = KINDS,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> MatchingStudy:
    """Match one pair of each kind that is made of each image, with every matcher.

    A pair without matches counts as one with none.
    """
    errors: dict[Kind, dict[str, list[FloatArray]]] = {
        kind: {name: [] for name in matchers} for kind in kinds
    }
    moved: dict[Kind, list[FloatArray]] = {kind: [] for kind in kinds}
    total, done = len(kinds) * len(images), 0
    for number, image in enumerate(images):
        for kind in kinds:
            pair = known_pair(image, kind, seed=seed + number)
            moved[kind].append(pair.displacement_mm)
            for name, matcher in matchers.items():
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", AnatomarkWarning)  # of no matches
                    found = matcher.match(pair.fixed, pair.moving)
                errors[kind][name].append(match_errors(found, pair.to_moving))
            done += 1
            progress(done, total)
    unit: Unit = images[0].grid.unit if images else "mm"
    together = {kind: np.concatenate([np.zeros(0), *values]) for kind, values in moved.items()}
    return MatchingStudy(errors, together, unit)
