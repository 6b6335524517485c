"""Whether a map that cannot bend follows what the points show: residuals of neighbours tell.

The expected error of such a map takes the points for off by chance, each on its own. What they have
in common with their neighbours is no such error: it is what the map cannot follow, it does not
become less by more points, and the map is off by it between them as well.
"""

from __future__ import annotations

import numpy as np

from anatomark.errors import RegistrationError
from anatomark.geometry import FloatArray, Grid
from anatomark.pipelines.registration.plan import Plan
from anatomark.registration.closed import Kind
from anatomark.registration.fits import Fit
from anatomark.registration.neighbours import likeness
from anatomark.registration.points import fit_points

FEWEST = 12  # points: fewer have no neighbours to speak of
# Standard deviations of chance. Of independent errors, in 2D and 3D and of 12 to 400 points, less
# than one set in a thousand passes it: benchmarks/bending.py.
LIMIT = 4.0
_WORDS = "the residuals of neighbours agree"


def said_of_bending(fit: Fit, plan: Plan, grid: Grid, voxel_sd: float) -> str:
    """Why the map has no expected error, and what to fit instead; nothing where it may have one.

    ``grid`` is that of the fixed image, ``voxel_sd`` what rounding to voxels does along an axis.
    """
    if fit.kind not in {"rigid", "similarity", "affine"}:
        return ""
    kept = _apart(fit, grid)
    source, target = fit.source_mm[kept], fit.target_mm[kept]
    if not bends(target, fit.residuals_mm[kept], voxel_sd):
        return ""
    if plan.transform == "bspline" or plan.refine == "bspline":
        return f"{_WORDS}: the anatomy bends; of a map that follows there is no expected error"
    for kind in _freer(fit.kind):
        try:
            freer = fit_points(source, target, kind)
        except RegistrationError:  # points in a plane do not fix it
            continue
        if not bends(target, freer.residuals_mm, voxel_sd):
            return (
                f"{_WORDS}: this map cannot follow the points, so it has no expected error; use "
                f"--transform {kind}"
            )
    return (
        f"{_WORDS}: the anatomy bends, which this map cannot follow, so it has no expected error; "
        "use --transform tps with some --smoothing"
    )


def bends(points: FloatArray, residuals: FloatArray, voxel_sd: float) -> bool:
    """Whether residuals ``(N, D)`` at points are so like their neighbours' as chance is not.

    And by more than rounding to voxels (``voxel_sd`` along each axis), which itself repeats from
    place to place where the map is nearly none.
    """
    if len(points) < FEWEST:
        return False
    part, deviations = likeness(points, residuals)
    if deviations <= LIMIT:
        return False
    return bool(np.sqrt(part * (residuals**2).mean()) > voxel_sd)


def _freer(kind: str) -> tuple[Kind, ...]:
    freer: dict[str, tuple[Kind, ...]] = {
        "rigid": ("similarity", "affine"),
        "similarity": ("affine",),
    }
    return freer.get(kind, ())


def _apart(fit: Fit, grid: Grid) -> FloatArray:
    """Rows of the points that were used, one a voxel: a place that was found twice is one place."""
    rows = np.flatnonzero(fit.inliers)
    voxels = np.rint(grid.to_index(fit.target_mm[rows])).astype(np.int64)
    return np.asarray(rows[np.sort(np.unique(voxels, axis=0, return_index=True)[1])])
