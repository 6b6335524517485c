"""What two images are registered by: points with names, matches, or both together."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from anatomark.correspondence import Matches
from anatomark.data import Image, Landmarks
from anatomark.errors import AnatomarkError, RegistrationError, listed
from anatomark.geometry import Grid, Unit
from anatomark.inference.detector import Detector
from anatomark.inference.flags import Findings
from anatomark.io.landmarks.formats import read_landmarks
from anatomark.io.landmarks.matches import read_matches
from anatomark.io.landmarks.parsing import Frame
from anatomark.registration.landmarks import (
    Pairs,
    landmark_pairs,
    match_pairs,
    names_alike,
    seen,
)
from anatomark.registration.placing import check_placed
from anatomark.registration.results import Progress

AnyPath = str | os.PathLike[str]
_OF_SLICES = (
    "match the volumes themselves with anatomark match --fixed-slice and --moving-slice, or "
    "register the slices"
)


@dataclass(frozen=True, eq=False)
class Evidence:
    """Points of both images, each in the world of its own: LPS, x, y(, z), in their unit.

    ``fixed`` and ``moving`` are paired by name; those of ``matches`` are pairs already.
    ``sources`` say in words where the points come from, ``flags`` what their detection found
    doubtful, as ``"fixed apex: outside the view"``.
    """

    fixed: Landmarks | None = None
    moving: Landmarks | None = None
    matches: Matches | None = None
    sources: tuple[str, ...] = ()
    flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def pairs(self, *, sd_mm: float) -> Pairs:
        """All of them as pairs; ``sd_mm`` is that of matches beside points with covariances."""
        named = None
        if self.fixed is not None and self.moving is not None:
            named = landmark_pairs(self.fixed, self.moving)
        if self.matches is None:
            if named is None:
                raise RegistrationError("there are no points to register by")
            return named
        if named is None:
            return match_pairs(self.matches)
        known = named.fixed_covariance_mm2 is not None or named.moving_covariance_mm2 is not None
        found = match_pairs(self.matches, sd_mm=sd_mm if known else None)
        # A landmark may have the name that a match is given.
        return named.joined(replace(found, names=tuple(f"match {n}" for n in found.names)))

    def unpaired(self) -> tuple[str, ...]:
        """In words, which landmarks only one of the images has."""
        if self.fixed is None or self.moving is None:
            return ()
        fixed, moving = seen(self.fixed), seen(self.moving)
        said = [
            f"only the {side} image has {listed(sorted(alone), 8)}; left out"
            for side, alone in (("fixed", fixed - moving), ("moving", moving - fixed))
            if alone
        ]
        alike = names_alike(self.fixed, self.moving)
        return (
            (*said, f"names differ a little: {alike}; are they one place?") if alike else (*said,)
        )

    def also(self, other: Evidence) -> Evidence:
        """This and what else there is; of landmarks and of matches there can be one each."""
        return Evidence(
            self.fixed or other.fixed, self.moving or other.moving, self.matches or other.matches,
            (*self.sources, *other.sources), {**self.flags, **other.flags},
        )  # fmt: skip


def landmarks_of_file(
    path: AnyPath, grid: Grid, *, frame: Frame | None = None, unit: Unit | None = None
) -> Landmarks:
    """Landmarks of a file; refused where most lie far outside of their image.

    ``frame`` and ``unit`` are those of a file that does not say.
    """
    marks = read_landmarks(path, grid=grid, frame=frame, unit=unit)
    check_placed(marks, grid, path=path)
    return marks


def pairs_of_file(path: AnyPath, *, fixed_grid: Grid, moving_grid: Grid) -> Evidence:
    """Pairs of points that stand in a table, as ``match`` writes it; placed as landmarks are."""
    matches = read_matches(path)
    for marks, grid in zip(matches.landmarks(), (fixed_grid, moving_grid), strict=True):
        if marks.dimension != grid.dimension:
            raise RegistrationError(
                f"its points are {marks.dimension}D, the images {grid.dimension}D", path=path,
                fix=_OF_SLICES if grid.dimension == 3 else "take pairs of these images",
            )  # fmt: skip
        check_placed(marks, grid, path=path)
    return Evidence(matches=matches, sources=("a table of pairs",))


def matched(
    match: Callable[[Image, Image], Matches],
    fixed: Image,
    moving: Image,
    *,
    name: str,
    progress: Progress | None = None,
) -> Evidence:
    """Pairs that a matcher finds in both images."""
    if progress is not None:
        progress("matching", 0.0)
    found = match(fixed, moving)
    if not len(found):
        raise RegistrationError(
            f"{name} found no place in both images", fix="give landmarks, or a model for each"
        )
    return Evidence(matches=found, sources=(f"matches of {name}",))


def detected(
    detectors: tuple[Detector, Detector],
    fixed: Image,
    moving: Image,
    *,
    paths: tuple[AnyPath | None, AnyPath | None] = (None, None),
    progress: Progress | None = None,
) -> Evidence:
    """Points that a model finds in each image, with their covariances and flags."""
    found: list[Findings] = []
    named = zip(("fixed", "moving"), detectors, (fixed, moving), paths, strict=True)
    for side, detector, image, path in named:
        if progress is not None:
            progress(f"detecting in the {side} image", 0.0)
        found.append(_looked_at(detector, image, path).findings)
    names = (detectors[0].model.name, detectors[1].model.name)
    return evidence_of(found[0], found[1], models=names)


def evidence_of(fixed: Findings, moving: Findings, *, models: tuple[str, str]) -> Evidence:
    """What models have found in both images already, with its covariances and flags."""
    flags: dict[str, tuple[str, ...]] = {}
    for side, found in (("fixed", fixed), ("moving", moving)):
        flags |= {f"{side} {name}": tuple(own) for name, own in found.flags.items()}
        if found.image:
            flags[f"{side} image"] = tuple(found.image)
    sources = tuple(
        f"{s}: detected by {m}" for s, m in zip(("fixed", "moving"), models, strict=True)
    )
    return Evidence(fixed.landmarks, moving.landmarks, sources=sources, flags=flags)


def _looked_at(detector: Detector, image: Image, path: AnyPath | None) -> Any:
    try:
        return detector.detect(image)
    except AnatomarkError as fault:
        if path is not None:
            fault.at(path)
        raise


def used_points(pairs: Pairs) -> tuple[Landmarks, Landmarks]:
    """The pairs as landmarks of the fixed and of the moving image; equal names are a pair."""
    fixed, moving = (
        Landmarks(pairs.names, np.array(points), unit=pairs.unit)
        for points in (pairs.fixed_mm, pairs.moving_mm)
    )
    return fixed, moving
