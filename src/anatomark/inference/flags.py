"""What is said about each point besides where it is: a radius, flags, and repairs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from anatomark.data import Image, Landmarks
from anatomark.geometry import FloatArray
from anatomark.models.anatomy import suggest
from anatomark.models.checks import Checks
from anatomark.models.files import Model
from anatomark.models.likeness import field_of_view, part_in_view, raw_statistics

OUTSIDE, EDGE = "outside the view", "at the edge of the view"
UNLIKELY, REPAIRED, DISAGREE = "unlikely place", "repaired", "models disagree"
_VISIBLE = 0.75  # of the ball about a point


@dataclass(frozen=True, eq=False)
class Findings:
    """Landmarks as they are reported, and what there is to say about them.

    ``radius`` of each landmark in the unit of the image (NaN where unknown) holds ``level`` of
    the errors; ``flags`` are warnings by landmark; ``image`` those about the whole image.
    """

    landmarks: Landmarks
    radius: Mapping[str, float]
    level: float
    flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    image: tuple[str, ...] = ()


def findings_of(
    model: Model,
    image: Image,
    landmarks: Landmarks,
    *,
    other: Landmarks | None = None,
    repair: bool = False,
) -> Findings:
    """Calibrate what the network says, then look at the points with all that the model knows."""
    checks = Checks.from_record(model.info.checks)
    trusted = _calibrated(landmarks, checks)
    radii = np.array([_radius(checks, row) for row in range(len(landmarks))])
    flags: dict[str, list[str]] = {name: [] for name in landmarks.names}
    first = image.array if image.channels is None else image.array[0]
    _flag_view(trusted, image, first, radii, flags)
    if other is not None:
        _flag_disagreement(trusted, other, radii, flags)
    reported = _flag_anatomy(trusted, checks, flags, repair=repair)
    whole = []
    if checks.likeness is not None:
        odd = checks.likeness.odd(raw_statistics(image.array, image.grid.dimension))
        whole += [f"unlike the training images: {odd}"] if odd else []
    return Findings(
        reported,
        dict(zip(landmarks.names, radii.tolist(), strict=True)),
        checks.radii.level if checks.radii else math.nan,
        {name: tuple(found) for name, found in flags.items() if found},
        tuple(whole),
    )


def _radius(checks: Checks, row: int) -> float:
    radius = math.inf if checks.radii is None else checks.radii.of(row)
    return radius if math.isfinite(radius) else math.nan


def _calibrated(landmarks: Landmarks, checks: Checks) -> Landmarks:
    confidence, covariance = landmarks.confidence, landmarks.covariance_mm2
    if confidence is not None and checks.trust is not None:
        confidence = checks.trust(confidence)
    if covariance is not None and checks.spread is not None:
        covariance = covariance * checks.spread
    return replace(landmarks, confidence=confidence, covariance_mm2=covariance)


def _flag_view(
    landmarks: Landmarks,
    image: Image,
    first: FloatArray,
    radii: FloatArray,
    flags: dict[str, list[str]],
) -> None:
    known = np.where(np.isfinite(radii), radii, 2 * image.grid.spacing.max())
    parts = part_in_view(landmarks.points_mm, known, image.grid, field_of_view(first))
    centres = part_in_view(
        landmarks.points_mm, np.full(len(radii), 1e-6), image.grid, field_of_view(first)
    )
    for name, part, centre in zip(landmarks.names, parts, centres, strict=True):
        if centre == 0:
            flags[name].append(OUTSIDE)
        elif part < _VISIBLE:
            flags[name].append(EDGE)


def _flag_disagreement(
    landmarks: Landmarks, other: Landmarks, radii: FloatArray, flags: dict[str, list[str]]
) -> None:
    """Two points of which each is within its radius are at most the sum of both apart."""
    unit = landmarks.unit
    apart = np.linalg.norm(landmarks.points_mm - other.points_mm, axis=1)
    for name, distance, radius in zip(landmarks.names, apart, radii, strict=True):
        if math.isfinite(radius) and distance > radius:
            flags[name].append(f"{DISAGREE}: {distance:.1f} {unit} apart")


def _flag_anatomy(
    landmarks: Landmarks, checks: Checks, flags: dict[str, list[str]], *, repair: bool
) -> Landmarks:
    if checks.anatomy is None:
        return landmarks
    found = suggest(checks.anatomy, np.array(landmarks.points_mm))
    rows = np.flatnonzero(found.implausible())
    if found.culprit is not None:
        rows = np.array([found.culprit])
    for which in rows:
        flags[landmarks.names[which]].append(UNLIKELY)
    row = found.culprit
    if not repair or row is None or not np.isfinite(found.expected[row]).all():
        return landmarks
    points = np.array(landmarks.points_mm)
    moved = float(np.linalg.norm(points[row] - found.expected[row]))
    points[row] = found.expected[row]
    flags[landmarks.names[row]].append(
        f"{REPAIRED}: moved by {moved:.1f} {landmarks.unit} to where the others suggest it"
    )
    return replace(landmarks, points_mm=points)
