"""Thin-plate splines through, or with smoothing near, corresponding points."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anatomark.errors import RegistrationError
from anatomark.geometry import FloatArray
from anatomark.maps import ThinPlate
from anatomark.registration.checks import check_spread, checked_covariances, checked_pairs
from anatomark.registration.fits import Fit, Influences

_APART = 1e-3  # mm: nearer source points are one, and their targets are averaged


def fit_thin_plate(
    source_mm: ArrayLike,
    target_mm: ArrayLike,
    *,
    smoothing: float = 0.0,
    source_covariance_mm2: ArrayLike | None = None,
    target_covariance_mm2: ArrayLike | None = None,
    merge_mm: float = _APART,
) -> Fit:
    """The smoothest map of ``source_mm`` onto ``target_mm``, ``(N, D)``; exact without smoothing.

    Source points nearer to each other than ``merge_mm`` become one, with the mean of their
    targets. The predicted error follows from the covariances ``(N, D, D)`` where they are given;
    else, with smoothing, from the residuals; else it is NaN. It is that of uncertain points
    alone: between distant points the anatomy may do what no spline knows.
    """
    source, target = checked_pairs(source_mm, target_mm)
    group = _groups(source, merge_mm)
    knots, goals = _means(source, group), _means(target, group)
    check_spread(knots, goals, "affine")  # the part of a spline that must be determined
    own = checked_covariances(source_covariance_mm2, source.shape, "source")
    other = checked_covariances(target_covariance_mm2, target.shape, "target")
    spline = ThinPlate(knots, goals, smoothing)
    share = (1 / np.bincount(group))[group][:, None, None]
    if own is None and other is None:
        covariance = _from_residuals(spline)
    else:
        joint = np.zeros((*source.shape, source.shape[1])) if other is None else other
        if own is not None:
            # A source point that is off by d does what a target off by the mapped -d does.
            slope = spline.jacobian(source)
            joint = joint + slope @ own @ slope.transpose(0, 2, 1)
        covariance = _means(joint * share, group)  # of a mean of n points: the mean, over n
    inliers = np.ones(len(source), bool)
    return Fit("tps", spline, source, target, inliers, Influences(spline, covariance))


def _from_residuals(spline: ThinPlate) -> FloatArray:
    """Covariance ``(N, D, D)`` of targets that are all equally sure; NaN if the spline is exact."""
    count, dim = spline.source_mm.shape
    hat = spline.influence(spline.source_mm)
    free = count - float(np.trace(hat))
    residuals = spline.target_mm - hat @ spline.target_mm
    variance = float((residuals**2).sum()) / dim / free if free > 1e-6 else np.nan
    return np.broadcast_to(variance * np.eye(dim), (count, dim, dim)).copy()


def _groups(points: FloatArray, merge_mm: float) -> NDArray[np.int64]:
    """Number ``(N,)`` of the group of each point; a neighbour of a neighbour belongs to it."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import KDTree

    if not merge_mm >= 0:
        raise RegistrationError(f"points cannot be merged within {merge_mm:g} mm")
    rows, columns = KDTree(points).query_pairs(merge_mm, output_type="ndarray").T
    linked = coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(points),) * 2)
    return np.asarray(connected_components(linked, directed=False)[1], np.int64)


def _means(values: FloatArray, group: NDArray[np.int64]) -> FloatArray:
    """Mean over each group of the first axis."""
    total = np.zeros((int(group.max(initial=-1)) + 1, *values.shape[1:]))
    np.add.at(total, group, values)
    count = np.bincount(group).reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray(total / count)
