"""What is asked of a registration: the map, what grey values may change of it, and how far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from anatomark.errors import UsageError, with_article
from anatomark.geometry import Grid
from anatomark.registration.elastix import ElastixSettings
from anatomark.registration.intensity import Settings, StageName
from anatomark.registration.landmarks import Robust, robust_for
from anatomark.registration.landmarks import Transform as PointTransform

Transform = Literal["rigid", "similarity", "affine", "tps", "bspline"]
Refine = Literal["none", "rigid", "affine", "bspline"]

_VOXELS_OFF = 5.0  # within which pairs agree where nobody says: so many voxels
STAGES: dict[Refine, tuple[StageName, ...]] = {
    "none": (), "rigid": ("rigid",), "affine": ("rigid", "affine"),
    "bspline": ("rigid", "affine", "bspline"),
}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What is fitted to the points, and what the grey values may change of it.

    ``transform="bspline"`` is a rigid fit, bent by intensity and, with elastix, by the points;
    ``refine`` are stages of mutual information, each after those before it. ``robust`` is
    ``ransac`` where there are matches (``smooth`` for a tps) and ``no`` elsewhere, unless it is
    said; ``threshold`` (in the unit of the images) is how far pairs may be apart that agree: five
    voxels unless it is said.
    With ``around`` grey values are compared only so near to the fixed points that are used.
    A refinement that takes the points farther apart than they are unsure is undone, unless
    ``keep_refined``.
    """

    transform: Transform = "rigid"
    refine: Refine = "none"
    robust: Robust | None = None
    threshold: float | None = None
    smoothing: float = 0.0
    around: float | None = None
    keep_refined: bool = False
    seed: int = 0
    settings: Settings | None = None
    elastix: ElastixSettings | None = None

    def __post_init__(self) -> None:
        for what, value in (("threshold", self.threshold), ("around", self.around)):
            if value is not None and not (np.isfinite(value) and value > 0):
                raise UsageError(f"{what} must be positive, it is {value:g}", fix=f"say {what}=…")
        if self.smoothing and self.transform != "tps":
            raise UsageError(
                "smoothing is that of a tps: it does nothing to "
                f"{with_article(self.transform)} map",
                fix="leave it out, or fit a tps",
            )
        for what, asked in (
            ("around", self.around is not None),
            ("keep_refined", self.keep_refined),
        ):
            if asked and not self.refines:
                raise UsageError(
                    f"{what.replace('_', '-')} is about grey values, which change nothing here",
                    fix="refine by them as well, or leave it out",
                )
        if self.elastix is not None and self.transform != "bspline":
            raise UsageError(
                f"settings of elastix do nothing to a {self.transform} map",
                fix="leave them out, or fit a bspline",
            )

    @property
    def refines(self) -> bool:
        """Whether grey values may change the map of the points."""
        return self.refine != "none" or self.transform == "bspline"

    @property
    def points_kind(self) -> PointTransform:
        """What is fitted to the points."""
        return "rigid" if self.transform == "bspline" else self.transform

    def robust_of(self, *, matches: bool) -> Robust:
        """How wrong pairs are looked for, as said or as it is done for matches and for names."""
        return self.robust or (robust_for(self.points_kind) if matches else "no")

    def check_threshold(self, *, matches: bool, weighed: bool) -> None:
        """Refuse a threshold that nothing asks for.

        ``matches`` are among the points, or not; ``weighed`` says whether they are beside points
        with covariances: then it tells how much they count.
        """
        if self.threshold is None or (matches and weighed):
            return
        robust = self.robust_of(matches=matches)
        if robust in {"ransac", "smooth"}:
            return
        why = "no wrong pairs are looked for"
        if robust == "reweighted":
            why = "a reweighted fit finds its own"
        fix = "leave it out, or say robust='ransac'"
        raise UsageError(f"a threshold would do nothing here: {why}", fix=fix)


def threshold_of(plan: Plan, grids: tuple[Grid, Grid]) -> float:
    """Within which distance pairs agree: as said, or five voxels of the coarser image."""
    if plan.threshold is not None:
        return plan.threshold
    sides = [float(np.prod(grid.spacing) ** (1 / grid.dimension)) for grid in grids]
    return _VOXELS_OFF * max(sides)
