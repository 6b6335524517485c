"""Points between what the network saw and what the training shapes know.

The network's points are taken as the truth plus normal errors with the points' covariances; the
truth as a shape of the prior in any pose. The most likely truth is the mean of both, weighted by
their precisions: a point that the network is sure of hardly moves, one that it is unsure of goes
to where the others and the anatomy suggest it. The pose is free, so nothing pulls the whole.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from anatomark.geometry import FloatArray
from anatomark.models.shape_model import ShapePrior, fixes_pose, joint_precision, lay, present

_ROUNDS = 4  # the pose that a shape is laid in follows the points; it settles at once
_LEAST_SD = 1e-3  # of the size of the shape: no network is surer


def fit_to_shape(
    prior: ShapePrior, points_mm: ArrayLike, covariance_mm2: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Points ``(L, D)`` and their covariance ``(L, D, D)`` after the fit, in the frame they have.

    ``points_mm`` are NaN where absent, and stay so: the prior does not invent points. They are
    returned as they are where too few are there to fix a pose.
    """
    points = np.array(points_mm, np.float64)
    own = np.array(covariance_mm2, np.float64)
    rows = np.flatnonzero(present(points) & present(prior.mean_mm))
    mean = prior.mean_mm[rows]
    if len(rows) < 2 or not fixes_pose(prior, mean):
        return points, own
    size, dim = len(rows) * points.shape[1], points.shape[1]
    shape_precision = joint_precision(prior, rows).reshape(size, size)
    least = (_LEAST_SD**2 * (mean**2).sum() / len(rows)) * np.eye(dim)
    weights = 1 / (np.trace(own[rows], axis1=1, axis2=2) + np.trace(least))
    fitted, spread = points[rows], own[rows]
    for _ in range(_ROUNDS):
        pose = lay(fitted, mean, weights, prior.scale)
        laid = pose.size**2 * (pose.turn.T @ (own[rows] + least) @ pose.turn)
        seen = np.zeros((len(rows), dim) * 2)
        each = np.arange(len(rows))
        seen[each, :, each, :] = np.linalg.inv(laid)
        precision = shape_precision + seen.reshape(size, size)
        pull = seen.reshape(size, size) @ (pose(points[rows]) - mean).ravel()
        joint = np.linalg.inv(precision)
        fitted = pose.back(mean + (joint @ pull).reshape(-1, dim))
        block = joint.reshape((len(rows), dim) * 2)[each, :, each, :]
        spread = pose.turn @ block @ pose.turn.T / pose.size**2
    points[rows], own[rows] = fitted, spread
    return points, own
