"""The registration itself: fit of points, refinement by intensity, the warped image, measures.

The **moving** image is brought onto the **fixed** one. ``Registered.map`` pushes moving points
onto fixed ones; ``pull`` is the other way, which images and transform files ask for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from anatomark.data import Image
from anatomark.errors import RegistrationError, counted, with_article
from anatomark.geometry import FloatArray, Grid
from anatomark.maps import Map
from anatomark.pipelines.registration.bending import said_of_bending
from anatomark.pipelines.registration.evidence import Evidence
from anatomark.pipelines.registration.judgement import (
    doubts_of,
    doubts_of_flags,
    few_agree,
    point_sd,
    said_of_points,
    said_of_result,
    voxel_sd,
)
from anatomark.pipelines.registration.measures import (
    Measure,
    covered,
    dice_of_masks,
    expected_errors,
    information,
    storable,
)
from anatomark.pipelines.registration.plan import Plan, threshold_of
from anatomark.pipelines.registration.refining import Refined, inliers, near_points, refined
from anatomark.registration.checks import least_pairs
from anatomark.registration.fits import Fit, Unknown, no_surer_than
from anatomark.registration.intensity import Settings
from anatomark.registration.itk_images import check_images, check_overlap
from anatomark.registration.landmarks import (
    Pairs,
    fit_landmarks,
    fit_pairs,
)
from anatomark.registration.results import Progress, Registration
from anatomark.sampling import resample

__all__ = ["Measure", "Plan", "Registered", "fit_evidence", "register", "storable", "threshold_of"]


@dataclass(frozen=True, eq=False)
class Registered:
    """Two images brought onto each other, and what there is to know of it.

    ``map`` pushes moving points onto fixed ones. ``pull`` is its inverse in a form that transform
    files have, by which ``warped`` was made: a thin-plate spline is a field on a lattice there.
    ``expected_error`` ``(M,)`` is that of the fit of points at places of the fixed mask, or of the
    fixed image without one. ``mutual_information`` (nats), ``covered`` (0…1: how much of the fixed
    image the moving one lies on) and ``dice`` (with both masks) are measures before and after.
    ``warnings`` ask for a look, ``doubts`` say why the map is not to be trusted at all, ``undone``
    why a refinement was not kept. ``expected_error`` is NaN where there are doubts, and where the
    map cannot follow its points.
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
    covered: Measure
    dice: Measure | None = None
    fixed_mask: Image | None = field(default=None, repr=False)
    moving_mask: Image | None = field(default=None, repr=False)
    warnings: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()

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
    images, masks = (fixed, moving), (fixed_mask, moving_mask)
    _check_masks(images, masks)
    tell("fitting points", 0.0)
    grids = (fixed.grid, moving.grid)
    pairs, fit = fit_evidence(evidence, plan, grids)
    sd = point_sd(pairs, fit, grids)
    doubts = (*doubts_of(fit, pairs.unit, sd), *doubts_of_flags(evidence, fit))
    bent = "" if doubts else said_of_bending(fit, plan, fixed.grid, voxel_sd(grids))
    if doubts or bent:  # then it tells nothing how well its points agree
        fit = replace(fit, uncertainty=Unknown())
    check_overlap(fixed, moving, fit.map.inverse(), None, None)
    used = inliers(pairs, fit)
    regions = (near_points(plan, fixed, fixed_mask, used), moving_mask)
    grey = refined(plan, images, regions, used, fit, None if few_agree(fit) else sd, progress)
    push = grey.results[-1].map if grey.results else fit.map
    tell("warping", 0.0)
    pull, loss = storable(push.inverse(), fixed.grid)
    fill = float(moving.array.min())  # where the moving image has nothing: air of a CT is not 0
    warped = resample(moving, fixed.grid, pull=pull, fill=fill)
    tell("measuring", 0.0)
    maps, settings = (fit.map, push), plan.settings or Settings()
    shared = information(images, regions, maps, pull, view=settings.view)
    said = (
        *evidence.unpaired(), *said_of_points(evidence, fit, sd), *([bent] if bent else []),
        *_said_of(grey), *loss, *said_of_result(images, push, pull, shared, used),
    )  # fmt: skip
    return Registered(
        fixed, moving, plan, evidence, pairs, fit, push, pull, warped, fill, grey.results,
        expected_errors(fit, fixed, fixed_mask), shared, covered(images, maps, pull),
        dice_of_masks(masks, maps), fixed_mask, moving_mask, said, doubts, grey.undone,
    )  # fmt: skip


def _said_of(grey: Refined) -> tuple[str, ...]:
    return (*grey.said, *(w for r in grey.results for w in r.warnings), *grey.undone)


def _check_masks(images: Sequence[Image], masks: Sequence[Image | None]) -> None:
    for side, image, mask in zip(("fixed", "moving"), images, masks, strict=True):
        if mask is None:
            continue
        if (mask.grid.unit, mask.grid.dimension) != (image.grid.unit, image.grid.dimension):
            raise RegistrationError(
                f"the {side} mask is {mask.grid.dimension}D in {mask.grid.unit}, its image "
                f"{image.grid.dimension}D in {image.grid.unit}",
                fix="give both their spacing" if mask.grid.dimension == image.grid.dimension
                else "take a mask of this image",
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
    matches = evidence.matches is not None
    known = pairs.fixed_covariance_mm2 is not None or pairs.moving_covariance_mm2 is not None
    plan.check_threshold(matches=matches, weighed=known)
    robust = plan.robust_of(matches=matches)
    if evidence.matches is None and evidence.fixed is not None and evidence.moving is not None:
        # This one knows the names that do not match.
        fit = fit_landmarks(
            evidence.fixed, evidence.moving, plan.points_kind, robust=robust,
            threshold_mm=threshold, smoothing=plan.smoothing, seed=plan.seed,
        )  # fmt: skip
    else:
        _check_enough(pairs, plan)
        fit = fit_pairs(
            pairs, plan.points_kind, robust=robust, threshold_mm=threshold,
            smoothing=plan.smoothing, seed=plan.seed,
        )  # fmt: skip
    if not known:
        fit = no_surer_than(fit, voxel_sd(grids), pairs.weights)
    return pairs, fit


def _check_units(pairs: Pairs, grids: tuple[Grid, Grid]) -> None:
    for side, grid in zip(("fixed", "moving"), grids, strict=True):
        if (pairs.unit, pairs.dimension) != (grid.unit, grid.dimension):
            raise RegistrationError(
                f"the points are {pairs.dimension}D in {pairs.unit}, the {side} image "
                f"{grid.dimension}D in {grid.unit}",
                fix="give both images their spacing" if pairs.dimension == grid.dimension
                else "take points of this image",
            )  # fmt: skip


def _check_enough(pairs: Pairs, plan: Plan) -> None:
    kind = "affine" if plan.points_kind == "tps" else plan.points_kind
    least = least_pairs(kind, pairs.dimension)
    if len(pairs) < least:
        raise RegistrationError(
            f"{counted(len(pairs), 'pair of points does', 'pairs of points do')} not fix "
            f"{with_article(plan.points_kind)} map in {pairs.dimension}D, which needs {least}",
            fix="give more, or fit a simpler map",
        )
