"""Fits that wrong pairs cannot spoil: by a consensus of samples, or by weights alone."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anatomark.errors import RegistrationError, counted, with_article
from anatomark.geometry import FloatArray
from anatomark.maps import Affine
from anatomark.registration.checks import (
    check_spread,
    checked_pairs,
    checked_weights,
    least_pairs,
)
from anatomark.registration.closed import Kind, fit_closed
from anatomark.registration.fits import Fit, SmallChanges
from anatomark.registration.parameters import change, normal, pseudo_inverse
from anatomark.registration.points import fit_points

_ROUNDS = 50
_ASKED, _FINAL = 128, 32
_STEADY = 1e-2  # of the median distance: a start for what follows needs no more
# Of normal errors with standard deviation 1 along each of D axes: the median distance, and the
# cut of Tukey's weights at which a mean is 95 % as efficient as least squares.
_MEDIAN = {2: 1.17741, 3: 1.53817}
_CUT = {2: 5.123, 3: 5.490}


def fit_robust(
    source_mm: ArrayLike,
    target_mm: ArrayLike,
    kind: Kind = "rigid",
    *,
    threshold_mm: float,
    weights: ArrayLike | None = None,
    source_covariance_mm2: ArrayLike | None = None,
    target_covariance_mm2: ArrayLike | None = None,
    draws: int = 500,
    seed: int = 0,
) -> Fit:
    """The map that most pairs agree on; ``inliers`` of the result are those pairs.

    Maps of ``draws`` smallest samples are tried (all of them, where there are fewer), the one with
    the most pairs within ``threshold_mm`` is taken (RANSAC), and fitted again to those: with
    weights that fall with the distance (see ``fit_reweighted``), or by the covariances where they
    are given. Points ``(N, D)``, other arguments as for ``fit_points``.
    """
    if not threshold_mm > 0:
        raise RegistrationError(f"the threshold must be above 0 mm, it is {threshold_mm:g}")
    if draws < 1:
        raise RegistrationError("at least one sample must be drawn")
    source, target = checked_pairs(source_mm, target_mm)
    share = checked_weights(weights, len(source))
    check_spread(source[share > 0], target[share > 0], kind)
    _check_spare(int((share > 0).sum()), kind, source.shape[1])
    near = consensus(source, target, share, kind, threshold_mm=threshold_mm, draws=draws, seed=seed)
    if near.sum() <= least_pairs(kind, source.shape[1]):
        raise RegistrationError(
            f"only {int(near.sum())} of {len(near)} pairs agree on {with_article(kind)} map "
            f"within {threshold_mm:g} mm",
            fix="raise the threshold, or look at the pairs",
        )
    check_spread(source[near], target[near], kind)
    if source_covariance_mm2 is None and target_covariance_mm2 is None:
        return _settle(source, target, share, near, kind, threshold_mm)
    return fit_points(
        source, target, kind, weights=share * near,
        source_covariance_mm2=source_covariance_mm2, target_covariance_mm2=target_covariance_mm2,
    )  # fmt: skip


def fit_reweighted(
    source_mm: ArrayLike,
    target_mm: ArrayLike,
    kind: Kind = "rigid",
    *,
    weights: ArrayLike | None = None,
) -> Fit:
    """A fit with weights that fall with the distance, down to nothing (IRLS); needs no threshold.

    From the fit with the least sum of distances on, weights are Tukey's, with a cut that follows
    from the median distance. Good for some wrong pairs of many; where a third or more may be wrong
    ``fit_robust`` is the safer one. ``inliers`` of the result are the pairs that still count.
    """
    source, target = checked_pairs(source_mm, target_mm)
    share = checked_weights(weights, len(source))
    check_spread(source[share > 0], target[share > 0], kind)
    _check_spare(int((share > 0).sum()), kind, source.shape[1])
    found = Affine(*fit_closed(source, target, share, kind))
    for _ in range(_ROUNDS):
        apart = np.maximum(np.linalg.norm(target - found(source), axis=1), 1e-9)
        before, found = found, Affine(*fit_closed(source, target, share / apart, kind))
        if np.abs(found(source) - before(source)).max() <= _STEADY * np.median(apart):
            break
    near = np.linalg.norm(target - found(source), axis=1) < _cut(source, target, found, share > 0)
    near &= share > 0
    if near.sum() < least_pairs(kind, source.shape[1]):
        near = share > 0
    return _settle(source, target, share, near, kind, np.inf)


def _check_spare(count: int, kind: Kind, dimension: int) -> None:
    least = least_pairs(kind, dimension) + 1
    if count < least:
        raise RegistrationError(
            f"{counted(count, 'pair')} cannot agree on {with_article(kind)} map in {dimension}D: "
            "any so many fit exactly",
            fix=f"give {least} at least, or fit without looking for wrong pairs",
        )


# -- consensus -------------------------------------------------------------------------------------


def consensus(
    source: FloatArray,
    target: FloatArray,
    weights: FloatArray,
    kind: Kind,
    *,
    threshold_mm: float,
    draws: int,
    seed: int,
) -> NDArray[np.bool_]:
    """The pairs ``(N,)`` that agree with the best map of all samples, which are fitted at once.

    Of at least as many pairs with weight as fix a map; nothing else is checked.
    """
    allowed = np.flatnonzero(weights > 0)
    chosen = allowed[_samples(len(allowed), least_pairs(kind, source.shape[1]), draws, seed)]
    matrix, offset = fit_closed(source[chosen], target[chosen], np.ones(chosen.shape), kind)
    # Every map is asked about some pairs, the best of them about all: most maps are far off.
    for asked, kept in ((allowed[:: len(allowed) // _ASKED + 1], _FINAL), (allowed, 1)):
        squared = _squared(source[asked], target[asked], matrix, offset)
        # A pair costs its squared distance, a wrong one no more than the threshold's (MSAC).
        cost = np.minimum(squared, threshold_mm**2).sum(1)
        best = np.argsort(cost, kind="stable")[:kept]
        matrix, offset = matrix[best], offset[best]
    near = np.zeros(len(source), bool)
    near[allowed] = squared[best[0]] <= threshold_mm**2
    return near


def _squared(
    source: FloatArray, target: FloatArray, matrix: FloatArray, offset: FloatArray
) -> FloatArray:
    """Squared distances ``(K, N)`` of N pairs under K maps."""
    total = np.zeros((len(matrix), len(source)))
    for axis in range(source.shape[1]):
        miss = matrix[:, axis] @ source.T
        miss += offset[:, axis, None] - target[:, axis]
        total += miss * miss
    return total


def _samples(count: int, size: int, draws: int, seed: int) -> NDArray[np.int64]:
    """Rows of ``size`` different numbers below ``count``: all there are, or ``draws`` of them."""
    if comb(count, size) <= draws:
        return np.array(list(combinations(range(count), size)))
    rng = np.random.default_rng(seed)
    # The j-th number is drawn from those that are left, by its rank among them.
    ranks = np.stack([rng.integers(count - j, size=draws) for j in range(size)], axis=1)
    for j in range(1, size):
        taken = np.sort(ranks[:, :j], axis=1)
        for k in range(j):
            ranks[:, j] += ranks[:, j] >= taken[:, k]
    return ranks


# -- weights by distance ---------------------------------------------------------------------------


def _cut(source: FloatArray, target: FloatArray, found: Affine, near: NDArray[np.bool_]) -> float:
    """Distance in mm beyond which a pair no longer counts."""
    dim = source.shape[1]
    apart = np.linalg.norm(target - found(source), axis=1)
    # Rounding alone must not make outliers of pairs that fit exactly.
    least = 1e-9 * max(float(np.abs(target).max()), 1.0)
    return float(_CUT[dim] * max(np.median(apart[near]) / _MEDIAN[dim], least))


def _settle(
    source: FloatArray,
    target: FloatArray,
    weights: FloatArray,
    near: NDArray[np.bool_],
    kind: Kind,
    threshold_mm: float,
) -> Fit:
    """Tukey's weights, about a fit of the pairs that are ``near``, until they no longer change."""
    least = least_pairs(kind, source.shape[1])
    found = Affine(*fit_closed(source, target, weights * near, kind))
    tukey = near.astype(np.float64)
    far = np.zeros(len(source))
    for _ in range(_ROUNDS):
        cut = _cut(source, target, found, tukey > 0)
        apart = np.linalg.norm(target - found(source), axis=1)
        far = apart / cut
        new = np.where((apart <= threshold_mm) & (weights > 0), _tukey(far), 0.0)
        if (new > 0).sum() < least or np.allclose(new, tukey, atol=1e-6):
            break
        tukey = new
        found = Affine(*fit_closed(source, target, weights * tukey, kind))
    return _with_uncertainty(kind, found, source, target, weights, tukey, far)


def _tukey(far: FloatArray) -> FloatArray:
    return np.asarray((1 - np.minimum(far, 1.0) ** 2) ** 2)


def _with_uncertainty(
    kind: Kind,
    found: Affine,
    source: FloatArray,
    target: FloatArray,
    weights: FloatArray,
    tukey: FloatArray,
    far: FloatArray,
) -> Fit:
    """The covariance of a fit whose weights depend on its residuals (Huber 1981, chapter 7).

    The variance of the weighted residuals, over the squared mean slope of their influence: less
    weight for far pairs makes residuals look smaller than they are, and the slope undoes it.
    """
    dim, kept = source.shape[1], tukey > 0
    fit = fit_points(source, target, kind, weights=weights * tukey)
    centre = source[kept].mean(0)
    apart = np.linalg.norm(target - found(source), axis=1)[kept]
    slope = (tukey[kept] - 4 * far[kept] ** 2 * (1 - far[kept] ** 2).clip(0) / dim).mean()
    changes = change(kind, found.matrix, source[kept] - centre)
    free = int(kept.sum()) * dim - changes.shape[-1]
    variance = np.nan
    if free > 0 and slope > 0:
        variance = weights[kept] @ (tukey[kept] * apart) ** 2 / free / slope**2
    covariance = pseudo_inverse(normal(changes, weights[kept])) * variance
    known = SmallChanges(kind, found.matrix, centre, covariance)
    return replace(fit, map=found, inliers=kept, uncertainty=known)
