"""Rigid, similarity and affine maps between corresponding points, and how sure they are.

All points are world millimetres (LPS), ``(N, D)``, x, y(, z); a fit maps source onto target.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from anatomark.errors import NotConvergedError, RegistrationError
from anatomark.geometry import FloatArray
from anatomark.maps import Affine
from anatomark.registration.checks import (
    check_spread,
    checked_covariances,
    checked_pairs,
    checked_weights,
)
from anatomark.registration.closed import Kind, fit_closed
from anatomark.registration.fits import Fit, SmallChanges
from anatomark.registration.parameters import adapt, change, flat, normal, pseudo_inverse

_ROUNDS = 100
_STILL = 1e-10  # of the extent of the points: a step that moves them by less is the last
_SINGULAR = 1e12  # ratio of variances that is taken for infinite
_SHORTEST = 1e-6  # of a step that is halved until it helps


def fit_points(
    source_mm: ArrayLike,
    target_mm: ArrayLike,
    kind: Kind = "rigid",
    *,
    weights: ArrayLike | None = None,
    source_covariance_mm2: ArrayLike | None = None,
    target_covariance_mm2: ArrayLike | None = None,
) -> Fit:
    """The map of a kind that brings ``source_mm`` nearest to ``target_mm``, both ``(N, D)``.

    Without covariances, squared distances are summed, with ``weights`` ``(N,)`` if they are given,
    and the residuals say how sure the map is. With covariances ``(N, D, D)`` of either side, each
    in its own world, a point counts less along the axes in which it is unsure (generalised least
    squares), and they say how sure the map is; a side without any is taken to be exact.
    """
    source, target = checked_pairs(source_mm, target_mm)
    share = checked_weights(weights, len(source))
    check_spread(source[share > 0], target[share > 0], kind)
    own = checked_covariances(source_covariance_mm2, source.shape, "source")
    other = checked_covariances(target_covariance_mm2, target.shape, "target")
    start = Affine(*fit_closed(source, target, share, kind))
    if own is None and other is None:
        return _plain(kind, start, source, target, share)
    zero = np.zeros((*source.shape, source.shape[1]))
    problem = _Unequal(
        kind, source, target, share, zero if own is None else own, zero if other is None else other
    )
    return problem.solve(start)


def _plain(
    kind: Kind, found: Affine, source: FloatArray, target: FloatArray, weights: FloatArray
) -> Fit:
    """Uncertainty from the residuals: all points are taken to be equally sure, but for weights."""
    residuals = target - found(source)
    centre = weights @ source / weights.sum()
    slope = change(kind, found.matrix, source - centre)
    count = slope.shape[-1]
    free = int((weights > 0).sum()) * source.shape[1] - count
    variance = float(weights @ (residuals**2).sum(1)) / free if free > 0 else np.nan
    covariance = pseudo_inverse(normal(slope, weights)) * variance
    known = SmallChanges(kind, found.matrix, centre, covariance)
    return Fit(kind, found, source, target, weights > 0, known)


class _Unequal:
    """Points of unequal certainty: Gauss and Newton from the closed form.

    The covariance of a source point is turned by the map, so the weights follow it in each round.
    """

    def __init__(
        self,
        kind: Kind,
        source: FloatArray,
        target: FloatArray,
        weights: FloatArray,
        own: FloatArray,
        other: FloatArray,
    ) -> None:
        self.kind, self.all, self.kept = kind, (source, target), weights > 0
        kept = self.kept
        self.source, self.target, self.weights = source[kept], target[kept], weights[kept]
        self.own, self.other = own[kept], other[kept]
        self.centre = weights @ source / weights.sum()
        self.extent = float(np.abs(self.source - self.centre).max())

    def solve(self, found: Affine) -> Fit:
        for _ in range(_ROUNDS):
            precision = self._precision(found)
            slope = change(self.kind, found.matrix, self.source - self.centre)
            sure = precision @ slope
            covariance = pseudo_inverse(flat(slope).T @ flat(sure))
            step = covariance @ np.einsum("nij,ni->j", sure, self.target - found(self.source))
            found = self._shortened(found, step, precision)
            if np.abs(slope @ step).max() <= _STILL * self.extent:
                return self._fit(found, covariance, precision)
        raise NotConvergedError(
            f"the weighted {self.kind} fit did not settle in {_ROUNDS} rounds",
            residual_mm=float(np.abs(slope @ step).max()),
            fix="look at the covariances: some may be many orders of magnitude apart",
        )

    def _precision(self, found: Affine) -> FloatArray:
        joint = self.other + found.matrix @ self.own @ found.matrix.T
        try:
            precision = np.linalg.inv(joint)
        except np.linalg.LinAlgError:
            joint, precision = np.ones_like(joint), np.full_like(joint, np.inf)
        size = np.trace(joint, axis1=1, axis2=2) * np.trace(precision, axis1=1, axis2=2)
        if not (size < _SINGULAR).all():
            raise RegistrationError(
                "a pair has no uncertainty along some axis, so it would count infinitely",
                fix="give every axis some variance on one side, or leave the covariances out",
            )
        return np.asarray(precision * self.weights[:, None, None])

    def _cost(self, found: Affine, precision: FloatArray) -> float:
        miss = self.target - found(self.source)
        return float((miss * (precision @ miss[..., None])[..., 0]).sum())

    def _shortened(self, found: Affine, step: FloatArray, precision: FloatArray) -> Affine:
        """The step, halved until the sum of squares is not larger than without it."""
        before, part = self._cost(found, precision), 1.0
        while part > _SHORTEST:
            after = adapt(self.kind, found, part * step, self.centre)
            if self._cost(after, precision) <= before * (1 + 1e-12):
                return after
            part /= 2
        return found

    def _fit(self, found: Affine, covariance: FloatArray, precision: FloatArray) -> Fit:
        free = self.source.size - len(covariance)
        misfit = self._cost(found, precision) / free if free > 0 else np.nan
        known = SmallChanges(self.kind, found.matrix, self.centre, covariance)
        return Fit(self.kind, found, *self.all, self.kept, known, misfit)
