"""What speaks against a map: points that hardly fix it, pairs that contradict it, a wild result.

A doubt is a reason not to trust the map at all; a warning asks for a look.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from anatomark.data import Image
from anatomark.errors import listed
from anatomark.geometry import FloatArray, Grid, Unit
from anatomark.io.dicom.registration import different_patients
from anatomark.maps import Affine, Map
from anatomark.pipelines.registration.evidence import Evidence
from anatomark.pipelines.registration.measures import Measure
from anatomark.registration.closed import Kind
from anatomark.registration.fits import Fit
from anatomark.registration.itk_images import overlap
from anatomark.registration.landmarks import Pairs
from anatomark.registration.overlap import residual_turn_degrees
from anatomark.registration.parameters import parameters
from anatomark.registration.points import fit_points

_FEW = 0.25  # of the pairs: so few agree on some map by chance, or on a part that repeats
_LOOSE = 15.0  # degrees: a turn that is known no better (one standard deviation)
_LOST = 60.0  # degrees: what is known no better is not known
_WILD = 95.0  # degrees: patients are seldom turned by more from one image to the next
_TRIED = 30  # names that are tried in exchange for each other
_MOST = 0.5  # of the points: if more of them have flags, the model does not know such images
_NAMED = 3  # points with flags that are named in a line; the table of the report has all
_ALIKE = 0.5  # of the overlap afterwards that there must be before, to compare grey values
_LESS = 0.95  # of the mutual information as the files lie: less is no accident of sampling
_APART = 3.0  # times as far as the points are unsure: no refinement is right about that


def point_sd(pairs: Pairs, fit: Fit, grids: tuple[Grid, Grid]) -> float:
    """How far a pair is off along an axis, as its covariances or the residuals of the fit tell.

    By residuals it is no less than what rounding to a voxel does in both images: few points, and
    pairs that were chosen because they agree, leave residuals that are too small.
    """
    sides = [c for c in (pairs.fixed_covariance_mm2, pairs.moving_covariance_mm2) if c is not None]
    if sides:
        traces = sum(np.trace(c[fit.inliers], axis1=1, axis2=2) for c in sides)
        return float(np.sqrt(np.mean(traces) / pairs.dimension))
    free = 0
    if fit.kind != "tps":
        used = int(fit.inliers.sum())
        free = used * pairs.dimension - parameters(_kind(fit), pairs.dimension)
    squared = float((fit.distances_mm[fit.inliers] ** 2).sum()) / free if free > 0 else 0.0
    return max(float(np.sqrt(squared)), voxel_sd(grids))


def voxel_sd(grids: tuple[Grid, Grid]) -> float:
    """Standard deviation along an axis of the difference of two points rounded to their voxels."""
    sides = [np.prod(grid.spacing) ** (1 / grid.dimension) for grid in grids]
    return float(np.sqrt(sum(side**2 for side in sides) / 12))


def few_agree(fit: Fit) -> bool:
    """Whether so few pairs agree with the map that they may do so by chance."""
    return int(fit.inliers.sum()) < _FEW * len(fit.inliers)


def doubts_of(fit: Fit, unit: Unit, sd: float) -> tuple[str, ...]:
    """Why the map is not to be trusted, in words; ``sd`` is that of ``point_sd``."""
    said = []
    if few_agree(fit):
        used, count = int(fit.inliers.sum()), len(fit.inliers)
        words = f"only {used} of {count} pairs agree with it, as some do with a wrong map, too"
        if fit.kind == "rigid" and unit == "px":  # a pixel of one may be two of the other
            words += "; where sizes differ, give both images their spacing or fit a similarity"
        said.append(words)
    if (loose := _looseness(fit, sd)) > np.radians(_LOST):
        said.append(_loose_words(fit, loose))
    return tuple(said)


def doubts_of_flags(evidence: Evidence, fit: Fit) -> tuple[str, ...]:
    """Doubt in the points themselves, where their detection flags most of those that are used."""
    used = [name for name, kept in zip(fit.names, fit.inliers, strict=False) if kept]
    flagged = sum(
        any(f"{side} {name}" in evidence.flags for side in ("fixed", "moving")) for name in used
    )
    if flagged <= _MOST * len(used):
        return ()
    return (f"{flagged} of {len(used)} points have flags",)


def _said_of_flags(evidence: Evidence) -> list[str]:
    """A line about each image, and one about its points: who has flags, and some of them."""
    said = []
    for side in ("fixed", "moving"):
        image, start = f"{side} image", f"{side} "
        if image in evidence.flags:
            said.append(f"{image}: {'; '.join(evidence.flags[image])}")
        points = [
            f"{where.removeprefix(start)} ({'; '.join(flags)})"
            for where, flags in evidence.flags.items()
            if where.startswith(start) and where != image
        ]
        if points:
            marks = evidence.fixed if side == "fixed" else evidence.moving
            count = f"{len(points)}" if marks is None else f"{len(points)} of {len(marks)}"
            said.append(f"flags on {count} points of the {image}: {listed(points, _NAMED)}")
    return said


def said_of_points(evidence: Evidence, fit: Fit, sd: float) -> tuple[str, ...]:
    """What the points themselves give reason to look at; ``sd`` is that of ``point_sd``."""
    said = _said_of_flags(evidence)
    used, count = int(fit.inliers.sum()), len(fit.inliers)
    if _FEW * count <= used and 2 * used < count:
        said.append(f"{count - used} of {count} pairs do not agree with the map found")
    loose = _looseness(fit, sd)
    if np.radians(_LOOSE) < loose <= np.radians(_LOST):
        said.append(_loose_words(fit, loose))
    return tuple(said)


def said_of_result(
    images: tuple[Image, Image], found: Map, pull: Map, information: Measure, pairs: Pairs
) -> tuple[str, ...]:
    """What the result gives reason to look at: whose images, how they turn, how they agree.

    ``pull`` is the inverse of ``found``, ``pairs`` are those that were used.
    """
    said = []
    both = different_patients(*images)
    if both is not None:
        said.append(
            f"the images are of different patients: PatientID {both[0]} and {both[1]}; "
            "a DICOM registration, which links them, is written only if it is asked for"
        )
    told = _comparable(images, pull)
    if isinstance(found, Affine) and np.linalg.det(found.matrix) < 0:
        said.append("the map mirrors the image: are names of left and right exchanged?")
    elif isinstance(found, Affine):
        turned = residual_turn_degrees(found, Affine.identity(found.dimension))
        # Somebody may have lain the other way round: then the grey values agree better.
        if turned > _WILD and not (told and information.after > information.before):
            said.append(
                f"the map turns by {turned:.0f}°, which images of one patient seldom are: are "
                f"names exchanged, or points in the wrong frame?{_exchanged(pairs)}"
            )
    if told and information.after < _LESS * information.before:
        said.append(
            f"grey values agree less than as the files lie: mutual information "
            f"{information.after:.4f} nats, it was {information.before:.4f}"
        )
    return tuple(said)


def farther_than_unsure(pairs: Pairs, push: Map, fit: Fit, sd: float) -> str:
    """Why a refined map ``push`` cannot be right about its points, or nothing.

    ``pairs`` are those that the fit used. It may know better than they do: only what is much more
    than they are unsure by (``sd`` along each axis) speaks against it.
    """
    apart = push(pairs.moving_mm) - pairs.fixed_mm
    after = float(np.sqrt((apart**2).sum(1).mean()))
    if after <= max(_APART * sd * np.sqrt(pairs.dimension), fit.rms_mm):
        return ""
    return f"took the points {after:.2f} {pairs.unit} apart (RMS), which were {fit.rms_mm:.2f}"


def _comparable(images: tuple[Image, Image], pull: Map) -> bool:
    """Whether mutual information before can be compared: not that of a strip at a border."""
    before = overlap(*images, Affine.identity(pull.dimension))
    return before >= _ALIKE * overlap(*images, pull)


def _exchanged(pairs: Pairs) -> str:
    """Which two names, exchanged, would make a rigid map that turns less and fits better."""
    if len(pairs) > _TRIED:
        return ""
    least, said = fit_points(pairs.moving_mm, pairs.fixed_mm).rms_mm, ""
    still = Affine.identity(pairs.dimension)
    for one, other in combinations(range(len(pairs)), 2):
        order = np.arange(len(pairs))
        order[[one, other]] = other, one
        fit = fit_points(pairs.moving_mm[order], pairs.fixed_mm)
        turned = residual_turn_degrees(fit.map, still) if isinstance(fit.map, Affine) else _WILD
        if turned < _WILD and fit.rms_mm < least:
            least = fit.rms_mm
            said = (
                f" With {pairs.names[one]} and {pairs.names[other]} exchanged in one image it "
                f"would turn by {turned:.0f}° and leave {least:.2f} {pairs.unit} (RMS)"
            )
    return said


def _kind(fit: Fit) -> Kind:
    """Of a spline that of its part that all points must fix together."""
    return (
        "rigid" if fit.kind == "rigid" else "similarity" if fit.kind == "similarity" else "affine"
    )


def _looseness(fit: Fit, sd: float) -> float:
    """By what the direction is off that the points fix least, per length: radians of a turn."""
    widths = [_width(points[fit.inliers], _kind(fit)) for points in (fit.source_mm, fit.target_mm)]
    return sd / max(min(widths), np.finfo(np.float64).tiny)


def _width(points: FloatArray, kind: Kind) -> float:
    """How far points lie apart across the line (affine: across the plane) that is nearest to them.

    The root of the sum of squares: what a turn about the line is fixed by.
    """
    sizes = np.linalg.svd(points - points.mean(0), compute_uv=False).tolist()
    dimension = points.shape[1]
    across = [*sizes, *[0.0] * (dimension - len(sizes))]
    if kind == "affine":
        return float(across[-1])
    return float(np.linalg.norm(across[1:] if dimension == 3 else across))


def _loose_words(fit: Fit, loose: float) -> str:
    flat = fit.target_mm.shape[1] == 2
    if _kind(fit) == "affine":
        lying = "nearly on one line" if flat else "nearly in one plane"
        return f"the points lie {lying}: what the map does across it is hardly known"
    lying, about = ("near to each other", "the turn") if flat else (
        "nearly on one line", "the turn about it",
    )  # fmt: skip
    degrees = float(np.degrees(loose))
    known = "is not known" if degrees > _LOST else f"is known to ±{degrees:.0f}° only"
    return f"the points lie {lying}: {about} {known}"
