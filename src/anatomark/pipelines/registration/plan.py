"""What is asked of a registration: the map, what grey values may change of it, and how far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from anatomark.errors import UsageError, with_article
from anatomark.geometry import Grid
from anatomark.registration.elastix import ElastixSettings
from anatomark.registration.intensity import Settings, StageName
from anatomark.registration.landmarks import Robust
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

    @property
    def refines(self) -> bool:
        """Whether grey values may change the map of the points."""
        return self.refine != "none" or self.transform == "bspline"

    @property
    def points_kind(self) -> PointTransform:
        """What is fitted to the points."""
        return "rigid" if self.transform == "bspline" else self.transform


def threshold_of(plan: Plan, grids: tuple[Grid, Grid]) -> float:
    """Within which distance pairs agree: as said, or five voxels of the coarser image."""
    if plan.threshold is not None:
        return plan.threshold
    sides = [float(np.prod(grid.spacing) ** (1 / grid.dimension)) for grid in grids]
    return _VOXELS_OFF * max(sides)
