"""``Fit``: a map between corresponding points, and how far it can be trusted where.

A fit *pushes* points of its source world into its target world, as every ``Map`` does. Between
two images the source is the **moving** and the target the **fixed** one, so that
``resample(moving, fixed.grid, push=fit.map)`` shows the moving image on the fixed one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anatomark.geometry import FloatArray
from anatomark.maps import Map, ThinPlate
from anatomark.registration.closed import Kind
from anatomark.registration.parameters import change, normal, pseudo_inverse

# Covariance (M, D, D) of where a map takes source points (M, D).
Uncertainty = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, eq=False)
class Fit:
    """A map from source to target points, and what there is to know of it.

    ``source_mm`` and ``target_mm`` ``(N, D)`` are all pairs that were given, ``inliers`` ``(N,)``
    those that the map was fitted to, ``names`` theirs where they have some. ``misfit`` compares
    the residuals with the covariances that were given: about 1 where those are right, much more
    where the points or their covariances are wrong; NaN where none were given.
    """

    kind: str
    map: Map
    source_mm: FloatArray = field(repr=False)
    target_mm: FloatArray = field(repr=False)
    inliers: NDArray[np.bool_] = field(repr=False)
    uncertainty: Uncertainty = field(repr=False)
    misfit: float = float("nan")
    names: tuple[str, ...] = ()

    @cached_property
    def residuals_mm(self) -> FloatArray:
        """Target minus mapped source ``(N, D)``."""
        return np.asarray(self.target_mm - self.map(self.source_mm))

    @property
    def distances_mm(self) -> FloatArray:
        """Length of each residual ``(N,)``."""
        return np.asarray(np.linalg.norm(self.residuals_mm, axis=1))

    @property
    def rms_mm(self) -> float:
        """Root of the mean squared distance of the inliers (fiducial registration error)."""
        return float(np.sqrt(np.mean(self.distances_mm[self.inliers] ** 2)))

    def error_mm2(self, points_mm: ArrayLike) -> FloatArray:
        """Covariance ``(M, D, D)`` of where the map takes source points ``(M, D)``.

        It is the uncertainty of the map alone: that of a target point is to be added. NaN where
        there are no more pairs than the map needs and no covariances: nothing tells then.
        """
        return self.uncertainty(np.atleast_2d(np.asarray(points_mm, np.float64)))

    def expected_error_mm(self, points_mm: ArrayLike) -> FloatArray:
        """Target registration error ``(M,)``: root of the expected squared one at source points."""
        return np.asarray(np.sqrt(np.trace(self.error_mm2(points_mm), axis1=1, axis2=2)))

    def inverse(self) -> Fit:
        """The fit from target to source, with residuals in the source world."""
        back = self.map.inverse()
        return Fit(
            self.kind, back, self.target_mm, self.source_mm, self.inliers,
            Backwards(self.uncertainty, self.map, back), self.misfit, self.names,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class SmallChanges:
    """Uncertainty of a map with few parameters: the covariance of a small change about a centre."""

    kind: Kind
    matrix: FloatArray
    centre_mm: FloatArray
    covariance: FloatArray

    def __call__(self, points_mm: FloatArray) -> FloatArray:
        """Covariance ``(M, D, D)`` of mapped source points ``(M, D)``."""
        slope = change(self.kind, self.matrix, points_mm - self.centre_mm)
        return np.asarray(slope @ self.covariance @ slope.transpose(0, 2, 1))


@dataclass(frozen=True, eq=False)
class Unknown:
    """Uncertainty of a map of which nothing tells how far it is off: NaN everywhere."""

    def __call__(self, points_mm: FloatArray) -> FloatArray:
        """NaN ``(M, D, D)`` for points ``(M, D)``."""
        return np.full((*points_mm.shape, points_mm.shape[1]), np.nan)


def no_surer_than(fit: Fit, sd_mm: float, weights: FloatArray | None = None) -> Fit:
    """The fit, with an expected error that is at least that of points off by ``sd_mm`` an axis.

    Residuals are small where few points leave little to spare, and where pairs were chosen because
    theirs are: on a grid of voxels even 0. ``weights`` ``(N,)`` are those of the fit. Only a map
    with few parameters is changed, and one without an expected error stays without.
    """
    known = fit.uncertainty
    if not isinstance(known, SmallChanges) or not np.isfinite(known.covariance).all():
        return fit
    kept = fit.inliers
    share = np.ones(int(kept.sum())) if weights is None else weights[kept]
    slope = change(known.kind, known.matrix, fit.source_mm[kept] - known.centre_mm)
    least = pseudo_inverse(normal(slope, share / share.mean())) * sd_mm**2
    if np.trace(known.covariance) >= np.trace(least):
        return fit
    return replace(fit, uncertainty=replace(known, covariance=least))


@dataclass(frozen=True, eq=False)
class Influences:
    """Uncertainty of a spline from the ``covariance`` ``(N, D, D)`` of its target points."""

    spline: ThinPlate
    covariance: FloatArray

    def __call__(self, points_mm: FloatArray) -> FloatArray:
        """Covariance ``(M, D, D)`` of mapped source points ``(M, D)``."""
        part = self.spline.influence(points_mm)
        return np.asarray(np.tensordot(part**2, self.covariance, axes=1))


@dataclass(frozen=True, eq=False)
class Backwards:
    """Uncertainty of the inverse ``back`` of a map: an error of the map, brought to its source."""

    forward: Uncertainty
    map: Map
    back: Map

    def __call__(self, points_mm: FloatArray) -> FloatArray:
        """Covariance ``(M, D, D)`` of points ``(M, D)`` of the target, mapped back."""
        source = self.back(points_mm)
        slope = np.linalg.inv(self.map.jacobian(source))
        return np.asarray(slope @ self.forward(source) @ slope.transpose(0, 2, 1))
