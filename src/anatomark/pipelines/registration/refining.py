"""What grey values change of the map that points gave, and whether that is kept."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from anatomark.data import Image
from anatomark.errors import RegistrationError
from anatomark.geometry import FloatArray
from anatomark.maps import Map
from anatomark.pipelines.registration.judgement import farther_than_unsure
from anatomark.pipelines.registration.plan import STAGES, Plan
from anatomark.registration.elastix import has_elastix, refine_with_points
from anatomark.registration.fits import Fit
from anatomark.registration.intensity import refine
from anatomark.registration.landmarks import Pairs
from anatomark.registration.regions import around
from anatomark.registration.results import Progress, Registration
from anatomark.sampling import resample

Images = tuple[Image, Image]
Masks = tuple[Image | None, Image | None]
_MISSING = (
    "itk-elastix is not installed: the B-spline follows intensity only, not the points; "
    "pip install 'anatomark[elastix]'"
)


class Refined(NamedTuple):
    """Each refinement in its order, what was undone of them, and what else is to be said."""

    results: tuple[Registration, ...] = ()
    undone: tuple[str, ...] = ()
    said: tuple[str, ...] = ()


def near_points(plan: Plan, fixed: Image, mask: Image | None, pairs: Pairs) -> Image | None:
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


def refined(
    plan: Plan,
    images: Images,
    masks: Masks,
    pairs: Pairs,
    fit: Fit,
    sd: float | None,
    progress: Progress | None,
) -> Refined:
    """The map of ``fit`` refined as ``plan`` asks, by ``images`` within ``masks``.

    ``pairs`` are those that the fit used. A refinement that takes them farther apart than they
    are unsure by (``sd`` along each axis; nothing: not known) is undone, and the next goes on from
    where it began.
    """
    stages = list(STAGES[plan.refine])
    told = None if progress is None else _refining(progress)
    with_points = plan.transform == "bspline" and has_elastix()
    if plan.transform == "bspline":
        stages = [s for s in stages if s != "bspline"] + ([] if with_points else ["bspline"])
    results: list[Registration] = []
    undone: list[str] = []
    push = fit.map

    def looked_at(found: Registration) -> Map:
        problem = ""
        if sd is not None and not plan.keep_refined:
            problem = farther_than_unsure(pairs, found.map, fit, sd)
        kept = [stage.name for stage in found.stages if stage.kept]
        if problem and kept:
            undone.append(f"the refinement ({', '.join(kept)}) was undone: it {problem}")
            found = _undone(found, push)
        results.append(found)
        return found.map

    if stages:
        push = looked_at(refine(
            *images, start=push, stages=stages, fixed_mask=masks[0], moving_mask=masks[1],
            pairs=pairs, settings=plan.settings, progress=told,
        ))  # fmt: skip
    if with_points:
        looked_at(refine_with_points(
            *images, pairs, start=push, fixed_mask=masks[0], moving_mask=masks[1],
            settings=plan.elastix, progress=told,
        ))  # fmt: skip
    missing = plan.transform == "bspline" and not with_points
    return Refined(tuple(results), tuple(undone), (_MISSING,) if missing else ())


def _undone(found: Registration, start: Map) -> Registration:
    """The start in place of what was found; the numbers of the stages stay, to be looked at."""
    return replace(
        found, map=start, metric_after=found.metric_before,
        stages=tuple(replace(stage, kept=False) for stage in found.stages),
        landmarks_after_mm=found.landmarks_before_mm, warnings=(),
    )  # fmt: skip


def _refining(progress: Progress) -> Progress:
    return lambda stage, done: progress(f"refining ({stage})", done)


def inliers(pairs: Pairs, fit: Fit) -> Pairs:
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
