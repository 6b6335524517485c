"""What is said about each point besides where it is: a radius, flags, and repairs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from anatomark.data import Image, Landmarks
from anatomark.errors import AnatomarkError
from anatomark.field_of_view import field_of_view, view_check
from anatomark.geometry import FloatArray
from anatomark.models.checks import Checks, grown, own_covariance, raw_statistics
from anatomark.models.files import Model
from anatomark.models.quality import check_quality
from anatomark.models.shape_fit import fit_to_shape
from anatomark.models.shape_model import ShapePrior
from anatomark.models.shapes import ALPHA, ShapeCheck, check_shape, implausible, several_wrong
from anatomark.models.shapes import repair as put_back

ABSENT = "not found: no part of the image holds it"
OUTSIDE, EDGE = "outside the view", "at the edge of the view"
UNLIKELY, REPAIRED, DISAGREE = "unlikely place", "repaired", "models disagree"
UNSURE = "unsure"
UNLIKE = "unlike the training images"
TOGETHER = "the points do not fit together, and none stands out"
_FAR = 10.0  # sizes of the shape: what a point is unsure by that must not pull others
_VISIBLE = 0.75  # of the ball about a point


@dataclass(frozen=True, eq=False)
class Findings:
    """Landmarks as they are reported, and what there is to say about them.

    ``radius`` of each landmark in the unit of the image holds ``level`` of the errors; NaN where
    that is unknown, or the point or the image is too odd to say so. ``flags`` are warnings by
    landmark; ``image`` those about the whole image.
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
    other: Findings | None = None,
    repair: bool = False,
) -> Findings:
    """Calibrate what the network says, then look at the points with all that the model knows."""
    checks = _checks(model)
    trusted = _calibrated(landmarks, checks)
    radii = _radii(checks, len(landmarks))
    flags: dict[str, list[str]] = {name: [] for name in landmarks.names}
    _flag_view(trusted, image, radii, flags)
    if other is not None:
        _flag_disagreement(trusted, other, radii, flags)
    whole = _unlike(model, image, checks)
    reported = trusted
    if checks.shape is not None:
        axes = _axes(model, image)
        if model.recipe.detection.shape == "fit":
            reported = _fitted(trusted, checks, axes, flags, whole)
        else:
            # Without the covariance of points: one that admits to be unsure is no more plausible.
            found = check_shape(checks.shape, trusted.points_mm @ axes)
            _flag_shape(trusted, found, flags, whole)
            if repair:
                reported = _repaired(trusted, found, checks.shape, axes, flags)
    _flag_unsure(reported, checks, flags)
    return Findings(
        reported,
        {
            name: math.nan if whole or _promises_nothing(flags[name]) else radius
            for name, radius in zip(landmarks.names, radii.tolist(), strict=True)
        },
        checks.radii.level if checks.radii else math.nan,
        {name: tuple(found) for name, found in flags.items() if found},
        tuple(whole),
    )


def _promises_nothing(flags: Sequence[str]) -> bool:
    """Whether a radius, which was learnt from usual points in usual images, would mislead."""
    return any(not flag.startswith((EDGE, REPAIRED)) for flag in flags)


def _radii(checks: Checks, count: int) -> FloatArray:
    known = np.full(count, np.nan) if checks.radii is None else checks.radii.of()
    return np.where(np.isfinite(known), known, np.nan)


def _unlike(model: Model, image: Image, checks: Checks) -> list[str]:
    if checks.quality is None:
        return []
    odd = check_quality(checks.quality, raw_statistics(image, model.recipe)).sentence
    return [f"{UNLIKE}: {odd}"] if odd else []


def _checks(model: Model) -> Checks:
    try:
        return Checks.from_record(model.info.checks)
    except AnatomarkError as fault:
        raise fault.at(model.path or model.name) from None


def _calibrated(landmarks: Landmarks, checks: Checks) -> Landmarks:
    confidence, covariance = landmarks.confidence, landmarks.covariance_mm2
    if confidence is not None and checks.trust is not None:
        confidence = checks.trust(confidence)
    if covariance is not None:
        covariance = grown(covariance, checks.spread)
    return replace(landmarks, confidence=confidence, covariance_mm2=covariance)


def _flag_view(
    landmarks: Landmarks,
    image: Image,
    radii: FloatArray,
    flags: dict[str, list[str]],
) -> None:
    grid = image.grid
    view = field_of_view(image.array if image.channels is None else image.array[0])
    points = np.asarray(grid.to_index(landmarks.points_mm))
    # A radius that reaches across the image says nothing about its edge.
    small = np.isfinite(radii) & (radii < grid.extent.min() / 4)
    known = np.where(small, radii, 2 * grid.spacing.max())
    parts, centres = (
        view_check(points, view, radius_mm=r, spacing_mm=grid.spacing) for r in (known, 0.0)
    )
    for row, (name, part, centre) in enumerate(zip(landmarks.names, parts, centres, strict=True)):
        if not landmarks.present[row]:
            flags[name].append(ABSENT)
        elif centre == 0:
            flags[name].append(OUTSIDE)
        elif part < _VISIBLE:
            flags[name].append(EDGE)


def _flag_unsure(landmarks: Landmarks, checks: Checks, flags: dict[str, list[str]]) -> None:
    """Points whose covariance is larger than what is usual of them."""
    if landmarks.covariance_mm2 is None or checks.usual is None:
        return
    spread = np.sqrt(np.trace(landmarks.covariance_mm2, axis1=1, axis2=2))
    for name, own, most in zip(landmarks.names, spread, checks.usual, strict=True):
        if own > most:
            flags[name].append(f"{UNSURE}: ±{own:.1f} {landmarks.unit}")


def _flag_disagreement(
    landmarks: Landmarks, other: Findings, radii: FloatArray, flags: dict[str, list[str]]
) -> None:
    """Two points of which each is within its radius are at most the sum of both apart."""
    unit = landmarks.unit
    apart = np.linalg.norm(landmarks.points_mm - other.landmarks.points_mm, axis=1)
    theirs = np.array([other.radius.get(name, math.nan) for name in landmarks.names])
    # A second model that does not know its errors is taken to be as good as the first.
    sums = radii + np.where(np.isfinite(theirs), theirs, radii)
    for name, distance, radius in zip(landmarks.names, apart, sums, strict=True):
        if math.isfinite(radius) and distance > radius:
            flags[name].append(f"{DISAGREE}: {distance:.1f} {unit} apart")
    for row, name in enumerate(landmarks.names):
        if landmarks.present[row] and not other.landmarks.present[row]:
            flags[name].append(f"{DISAGREE}: one does not find it")


def _axes(model: Model, image: Image) -> FloatArray:
    """Axes ``(D, D)``, one a column, along which shapes were learnt; those of the world will do.

    But a grid that is shown as it was stored may be a mirror image of the world.
    """
    grid = model.recipe.grid
    turned = grid.orientation == "LPS" and grid.dimension == 3
    return np.eye(grid.dimension) if turned else np.asarray(image.grid.direction)


def _flag_shape(
    landmarks: Landmarks, check: ShapeCheck, flags: dict[str, list[str]], whole: list[str]
) -> None:
    """The culprit alone, or else every point that stands out, or else the set."""
    rows = np.flatnonzero(implausible(check)) if check.culprit is None else [check.culprit]
    for row in rows:
        flags[landmarks.names[row]].append(UNLIKELY)
    if not len(rows) and check.p_whole < ALPHA:
        whole.append(f"{UNLIKELY}: {TOGETHER}")


def _fitted(
    landmarks: Landmarks,
    checks: Checks,
    axes: FloatArray,
    flags: dict[str, list[str]],
    whole: list[str],
) -> Landmarks:
    """All points after the fit that the recipe asks for; ``meta`` says how far each was moved.

    One that no uncertainty of its own explains is flagged, and does not pull the others.
    """
    prior = checks.shape
    if prior is None:
        return landmarks
    before = landmarks.points_mm @ axes
    own = own_covariance(landmarks.covariance_mm2, before.shape)
    if landmarks.covariance_mm2 is None:
        own = grown(own, checks.spread)
    own = axes.T @ own @ axes
    check = check_shape(prior, before, own)
    _flag_shape(landmarks, check, flags, whole)
    for row in np.flatnonzero(implausible(check)) if check.culprit is None else [check.culprit]:
        own[row] = own[row] + _FAR**2 * np.nanmean(np.square(before)) * np.eye(len(axes))
    points, covariance = fit_to_shape(prior, before, own)
    moved = np.linalg.norm(points - before, axis=1)
    return replace(
        landmarks,
        points_mm=points @ axes.T,
        covariance_mm2=grown(axes @ covariance @ axes.T, checks.fit_spread),
        meta={
            **landmarks.meta,
            "moved_by_shape": dict(zip(landmarks.names, np.round(moved, 3).tolist(), strict=True)),
        },
    )


def _repaired(
    landmarks: Landmarks,
    check: ShapeCheck,
    prior: ShapePrior,
    axes: FloatArray,
    flags: dict[str, list[str]],
) -> Landmarks:
    """The one wrong point where the others suggest it, or the few among many."""
    if not check.p_whole < ALPHA:
        return landmarks
    shown = landmarks.points_mm @ axes
    alone = put_back(shown, check)
    found = several_wrong(prior, shown) if alone is None else ([alone[1]], alone[0])
    if found is None:
        return landmarks
    rows, points = found[0], np.array(landmarks.points_mm)
    points[rows] = found[1][rows] @ axes.T
    for row in rows:
        moved = float(np.linalg.norm(points[row] - landmarks.points_mm[row]))
        flags[landmarks.names[row]].append(
            f"{REPAIRED}: moved by {moved:.1f} {landmarks.unit} to where the others suggest it"
        )
    return replace(landmarks, points_mm=points)
