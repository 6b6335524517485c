"""The registration itself: fit of points, refinement by intensity, the warped image, measures.

The **moving** image is brought onto the **fixed** one. ``Registered.map`` pushes moving points
onto fixed ones; ``pull`` is the other way, which images and transform files ask for.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from anatomark.data import Image
from anatomark.errors import LossWarning, RegistrationError, UsageError
from anatomark.geometry import FloatArray, Grid
from anatomark.io.transforms.itk_transforms import sampled, simplified, to_sitk
from anatomark.maps import Affine, BSpline, Chain, Displacement, Map
from anatomark.pipelines.registration.evidence import Evidence
from anatomark.registration.checks import least_pairs
from anatomark.registration.elastix import ElastixSettings, has_elastix, refine_with_points
from anatomark.registration.fits import Fit
from anatomark.registration.intensity import Settings, StageName, refine
from anatomark.registration.itk_images import (
    check_images,
    check_overlap,
    compared,
    sitk_image,
    wider,
)
from anatomark.registration.landmarks import Pairs, Robust, fit_landmarks, fit_pairs
from anatomark.registration.landmarks import Transform as PointTransform
from anatomark.registration.mutual import Judge, coarser, factor_for
from anatomark.registration.overlap import dice
from anatomark.registration.regions import around
from anatomark.registration.results import Progress, Registration
from anatomark.sampling import resample

Transform = Literal["rigid", "similarity", "affine", "tps", "bspline"]
Refine = Literal["none", "rigid", "affine", "bspline"]

_VOXELS_OFF = 5.0  # within which pairs agree where nobody says: so many voxels
_SAMPLES = 5_000  # points at which the expected error is summed up
_JUDGED = 4_000_000  # voxels at most of the images whose mutual information is reported
_NODES = {2: 256, 3: 64}  # an axis of a field that stands for a map without a form in files
_MARGIN = 0.1  # of the extent, by which such a field is larger than the fixed image
_MISSING = (
    "itk-elastix is not installed: the B-spline follows intensity only, not the points; "
    "pip install 'anatomark[elastix]'"
)
_STAGES: dict[Refine, tuple[StageName, ...]] = {
    "none": (), "rigid": ("rigid",), "affine": ("rigid", "affine"),
    "bspline": ("rigid", "affine", "bspline"),
}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What is fitted to the points, and what the grey values may change of it.

    ``transform="bspline"`` is a rigid fit, bent by intensity and, with elastix, by the points;
    ``refine`` are stages of mutual information, each after those before it. ``robust`` is
    ``ransac`` where there are matches and ``no`` elsewhere, unless it is said; ``threshold`` (in
    the unit of the images) is how far pairs may be apart that agree: five voxels unless it is said.
    With ``around`` grey values are compared only so near to the fixed points that are used.
    """

    transform: Transform = "rigid"
    refine: Refine = "none"
    robust: Robust | None = None
    threshold: float | None = None
    smoothing: float = 0.0
    around: float | None = None
    seed: int = 0
    settings: Settings | None = None
    elastix: ElastixSettings | None = None

    @property
    def points_kind(self) -> PointTransform:
        """What is fitted to the points."""
        return "rigid" if self.transform == "bspline" else self.transform


@dataclass(frozen=True, eq=False)
class Measure:
    """A number as the files lie, after the fit of points and at the end; NaN where unknown."""

    before: float
    fitted: float
    after: float


@dataclass(frozen=True, eq=False)
class Registered:
    """Two images brought onto each other, and what there is to know of it.

    ``map`` pushes moving points onto fixed ones. ``pull`` is its inverse in a form that transform
    files have, by which ``warped`` was made: a thin-plate spline is a field on a lattice there.
    ``expected_error`` ``(M,)`` is that of the fit of points at places of the fixed mask, or of the
    fixed image without one. ``mutual_information`` (nats) and ``dice`` (with both masks) are
    measures before and after.
    """

    fixed: Image = field(repr=False)
    moving: Image = field(repr=False)
    plan: Plan
    evidence: Evidence
    pairs: Pairs
    fit: Fit
    map: Map
    pull: Map
    warped: Image = field(repr=False)
    fill: float
    refinements: tuple[Registration, ...]
    expected_error: FloatArray = field(repr=False)
    mutual_information: Measure
    dice: Measure | None = None
    fixed_mask: Image | None = field(default=None, repr=False)
    moving_mask: Image | None = field(default=None, repr=False)
    warnings: tuple[str, ...] = ()

    @property
    def moved(self) -> FloatArray:
        """The moving points ``(N, D)`` where the map takes them."""
        return np.asarray(self.map(self.pairs.moving_mm))

    @property
    def residuals(self) -> FloatArray:
        """Distances ``(N,)`` of the moved points from the fixed ones."""
        return np.asarray(np.linalg.norm(self.moved - self.pairs.fixed_mm, axis=1))

    @property
    def rms(self) -> float:
        """Root of the mean squared residual of the points that were fitted."""
        return float(np.sqrt(np.mean(self.residuals[self.fit.inliers] ** 2)))


def register(
    fixed: Image,
    moving: Image,
    evidence: Evidence,
    *,
    plan: Plan | None = None,
    fixed_mask: Image | None = None,
    moving_mask: Image | None = None,
    progress: Progress | None = None,
) -> Registered:
    """Bring the moving image onto the fixed one by points, and refine that by intensity if asked.

    Masks tell where (above 0) grey values are compared and the expected error is summed up; with
    both, their Dice is reported. ``progress(stage, fraction)`` is called meanwhile.
    """
    plan, tell = plan or Plan(), progress or (lambda _stage, _done: None)
    check_images(fixed, moving, fixed_mask, moving_mask)
    _check_masks((fixed, moving), (fixed_mask, moving_mask))
    tell("fitting points", 0.0)
    pairs, fit = fit_evidence(evidence, plan, (fixed.grid, moving.grid))
    masks = (fixed_mask, moving_mask)
    check_overlap(fixed, moving, fit.map.inverse(), None, None)
    regions = (_near(plan, fixed, fixed_mask, _inliers(pairs, fit)), moving_mask)
    results, missing = _refined(plan, (fixed, moving), regions, (pairs, fit), progress)
    push = results[-1].map if results else fit.map
    tell("warping", 0.0)
    pull, loss = storable(push.inverse(), fixed.grid)
    fill = _darkest(moving)
    warped = resample(moving, fixed.grid, pull=pull, fill=fill)
    tell("measuring", 0.0)
    said = (
        *evidence.unpaired(), *_said_of_points(evidence, fit), *missing,
        *(w for r in results for w in r.warnings), *loss,
    )  # fmt: skip
    maps, settings = (fit.map, push), plan.settings or Settings()
    return Registered(
        fixed, moving, plan, evidence, pairs, fit, push, pull, warped, fill, results,
        _expected(fit, fixed, fixed_mask),
        _information((fixed, moving), regions, maps, pull, view=settings.view),
        _dice(masks, maps), fixed_mask, moving_mask, said,
    )  # fmt: skip


def _check_masks(images: Sequence[Image], masks: Sequence[Image | None]) -> None:
    for side, image, mask in zip(("fixed", "moving"), images, masks, strict=True):
        if mask is None:
            continue
        if (mask.grid.unit, mask.grid.dimension) != (image.grid.unit, image.grid.dimension):
            raise RegistrationError(
                f"the {side} mask is {mask.grid.dimension}D in {mask.grid.unit}, its image "
                f"{image.grid.dimension}D in {image.grid.unit}", fix="give both their spacing",
            )  # fmt: skip
        index = np.stack(np.nonzero(mask.array > 0)[::-1], axis=1)[:: mask.array.size // 10**6 + 1]
        if not image.grid.contains(mask.grid.to_world(index.astype(np.float64))).any():
            raise RegistrationError(f"the {side} mask lies outside of its image")


# -- points ----------------------------------------------------------------------------------------


def fit_evidence(evidence: Evidence, plan: Plan, grids: tuple[Grid, Grid]) -> tuple[Pairs, Fit]:
    """The pairs, and the map that is fitted to them."""
    threshold = threshold_of(plan, grids)
    pairs = evidence.pairs(sd_mm=threshold / 3)
    _check_units(pairs, grids)
    robust: Robust = plan.robust or ("no" if evidence.matches is None else "ransac")
    if evidence.matches is None and evidence.fixed is not None and evidence.moving is not None:
        # This one knows the names that do not match.
        fit = fit_landmarks(
            evidence.fixed, evidence.moving, plan.points_kind, robust=robust,
            threshold_mm=threshold, smoothing=plan.smoothing, seed=plan.seed,
        )  # fmt: skip
        return pairs, fit
    _check_enough(pairs, plan)
    fit = fit_pairs(
        pairs, plan.points_kind, robust=robust, threshold_mm=threshold,
        smoothing=plan.smoothing, seed=plan.seed,
    )  # fmt: skip
    return pairs, fit


def threshold_of(plan: Plan, grids: tuple[Grid, Grid]) -> float:
    """Within which distance pairs agree: as said, or five voxels of the coarser image."""
    if plan.threshold is not None:
        if not (np.isfinite(plan.threshold) and plan.threshold > 0):
            raise UsageError(f"the threshold must be positive, it is {plan.threshold:g}")
        return plan.threshold
    sides = [float(np.prod(grid.spacing) ** (1 / grid.dimension)) for grid in grids]
    return _VOXELS_OFF * max(sides)


def _check_units(pairs: Pairs, grids: tuple[Grid, Grid]) -> None:
    for side, grid in zip(("fixed", "moving"), grids, strict=True):
        if (pairs.unit, pairs.dimension) != (grid.unit, grid.dimension):
            raise RegistrationError(
                f"the points are {pairs.dimension}D in {pairs.unit}, the {side} image "
                f"{grid.dimension}D in {grid.unit}", fix="give both images their spacing",
            )  # fmt: skip


def _check_enough(pairs: Pairs, plan: Plan) -> None:
    kind = "affine" if plan.points_kind == "tps" else plan.points_kind
    least = least_pairs(kind, pairs.dimension)
    if len(pairs) < least:
        raise RegistrationError(
            f"{len(pairs)} pairs of points do not fix a {plan.points_kind} map in "
            f"{pairs.dimension}D, which needs {least}", fix="give more, or fit a simpler map",
        )  # fmt: skip


def _said_of_points(evidence: Evidence, fit: Fit) -> tuple[str, ...]:
    said = [f"{where}: {'; '.join(flags)}" for where, flags in evidence.flags.items()]
    lost = int((~fit.inliers).sum())
    if 2 * lost > len(fit.inliers):
        said.append(f"{lost} of {len(fit.inliers)} pairs do not agree with the map found")
    return tuple(said)


def _near(plan: Plan, fixed: Image, mask: Image | None, pairs: Pairs) -> Image | None:
    """Where grey values are compared in the fixed image: in its mask, near the points if asked."""
    if plan.around is None:
        return mask
    near = around(pairs.fixed_mm, fixed.grid, plan.around)
    if mask is None:
        return near
    own = resample(
        Image((mask.array > 0).astype(np.uint8), mask.grid), fixed.grid, interpolation="nearest"
    )
    both = near.array * own.array
    if not both.any():
        raise RegistrationError(
            f"the fixed mask and what is within {plan.around:g} {fixed.grid.unit} of the points "
            "have nothing in common", fix="leave one of them out",
        )  # fmt: skip
    return near.with_array(both)


# -- grey values -----------------------------------------------------------------------------------


def _refined(
    plan: Plan,
    images: tuple[Image, Image],
    masks: tuple[Image | None, Image | None],
    points: tuple[Pairs, Fit],
    progress: Progress | None,
) -> tuple[tuple[Registration, ...], tuple[str, ...]]:
    """Each refinement, and what is to be said of a missing library."""
    stages = list(_STAGES[plan.refine])
    pairs, fit = _inliers(*points), points[1]
    told = None if progress is None else _refining(progress)
    with_points = plan.transform == "bspline" and has_elastix()
    if plan.transform == "bspline":
        stages = [s for s in stages if s != "bspline"] + ([] if with_points else ["bspline"])
    results: list[Registration] = []
    push = fit.map
    if stages:
        results.append(refine(
            *images, start=push, stages=stages, fixed_mask=masks[0], moving_mask=masks[1],
            pairs=pairs, settings=plan.settings, progress=told,
        ))  # fmt: skip
        push = results[-1].map
    if with_points:
        results.append(refine_with_points(
            *images, pairs, start=push, fixed_mask=masks[0], moving_mask=masks[1],
            settings=plan.elastix, progress=told,
        ))  # fmt: skip
    return tuple(results), (_MISSING,) if plan.transform == "bspline" and not with_points else ()


def _refining(progress: Progress) -> Progress:
    return lambda stage, done: progress(f"refining ({stage})", done)


def _inliers(pairs: Pairs, fit: Fit) -> Pairs:
    """The pairs that agree with the fit: others must not pull an image."""
    kept = fit.inliers

    def part(values: FloatArray | None) -> FloatArray | None:
        return None if values is None else values[kept]

    return replace(
        pairs, names=tuple(n for n, k in zip(pairs.names, kept, strict=True) if k),
        fixed_mm=pairs.fixed_mm[kept], moving_mm=pairs.moving_mm[kept],
        fixed_covariance_mm2=part(pairs.fixed_covariance_mm2),
        moving_covariance_mm2=part(pairs.moving_covariance_mm2), weights=part(pairs.weights),
    )  # fmt: skip


# -- results ---------------------------------------------------------------------------------------


def storable(pull: Map, grid: Grid) -> tuple[Map, tuple[str, ...]]:
    """``pull`` (fixed → moving points) in a form that files have, and what that costs, in words.

    A map without such a form becomes a field on a lattice about the fixed image, ``grid``.
    """
    plain = simplified(pull)
    parts = plain.maps if isinstance(plain, Chain) else (plain,)
    if all(isinstance(part, Affine | BSpline | Displacement) for part in parts):
        return plain, ()
    wide = wider(grid, _MARGIN)
    most = _NODES[grid.dimension]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", LossWarning)
        found = sampled(plain, wide.resized(tuple(min(n, most) for n in wide.shape)))
    return found, tuple(str(w.message) for w in said if issubclass(w.category, LossWarning))


def _darkest(image: Image) -> float:
    """What is shown where the moving image has nothing; air of a CT is not 0."""
    return float(image.array.min())


def _expected(fit: Fit, fixed: Image, mask: Image | None) -> FloatArray:
    """Expected error at places of the mask, or all over the fixed image."""
    rng = np.random.default_rng(0)
    if mask is None:
        index = rng.uniform(
            0, np.asarray(fixed.grid.size_xyz) - 1.0, (_SAMPLES, len(fixed.grid.shape))
        )
        points = fixed.grid.to_world(index)
    else:
        inside = np.stack(np.nonzero(mask.array > 0)[::-1], axis=1).astype(np.float64)
        points = mask.grid.to_world(inside[:: len(inside) // _SAMPLES + 1])
    return fit.expected_error_mm(fit.map.inverse()(points))


def _dice(masks: tuple[Image | None, Image | None], maps: tuple[Map, Map]) -> Measure | None:
    still, moving = masks
    if still is None or moving is None:
        return None
    fitted = dice(still, moving, push=maps[0])
    after = fitted if maps[1] is maps[0] else dice(still, moving, push=maps[1])
    return Measure(dice(still, moving), fitted, after)


def _information(
    images: tuple[Image, Image],
    masks: tuple[Image | None, Image | None],
    maps: tuple[Map, Map],
    pull: Map,
    *,
    view: bool,
) -> Measure:
    """Mutual information on what the fixed image shares with the moving one under each map."""
    pictures = [coarser(sitk_image(i), factor_for(i.grid, _JUDGED)) for i in images]
    shown = [compared(i, m, view=view) for i, m in zip(images, masks, strict=True)]
    judge = Judge(*pictures, *shown, threads=None)
    fitted = pull if maps[1] is maps[0] else storable(maps[0].inverse(), images[0].grid)[0]
    still = Affine.identity(images[0].grid.dimension)
    last, middle, first = (to_sitk(m) for m in (pull, fitted, still))
    # On the same voxels, or not at all: few of them seem to tell much of each other.
    lying = judge.values([first, middle, last])
    if lying is not None:
        return Measure(*lying)
    return Measure(np.nan, *(judge.pair(middle, last) or (np.nan, np.nan)))
