"""Where two images are compared: near points."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from anatomark.data import Image
from anatomark.errors import RegistrationError
from anatomark.geometry import Grid


def around(points_mm: ArrayLike, grid: Grid, reach: float) -> Image:
    """A mask of the voxels that are at most ``reach`` (in the unit of the grid) from a point.

    ``points_mm`` ``(N, D)`` are in the world of ``grid``. Refused where that leaves nothing.
    """
    points = np.atleast_2d(np.asarray(points_mm, np.float64))
    if not (np.isfinite(reach) and reach > 0):
        raise RegistrationError(f"the distance around points must be positive, it is {reach:g}")
    mask, size = np.zeros(grid.shape, bool), np.array(grid.size_xyz)
    # The box about a ball, on a grid that may be oblique.
    half = reach / grid.spacing
    for point, centre in zip(points, grid.to_index(points), strict=True):
        low = np.ceil(centre - half).astype(int).clip(0)
        high = np.minimum(np.floor(centre + half).astype(int), size - 1)
        if (high < low).any():
            continue
        axes = [np.arange(a, b + 1) for a, b in zip(low, high, strict=True)]
        index = np.stack(np.meshgrid(*axes, indexing="ij"), -1).astype(np.float64)
        away = np.linalg.norm(grid.to_world(index.reshape(-1, len(axes))) - point, axis=1)
        near = (away <= reach).reshape(index.shape[:-1]).T
        mask[tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))[::-1]] |= near
    if not mask.any():
        raise RegistrationError(
            f"no voxel of the fixed image is within {reach:g} {grid.unit} of the points",
            fix="compare more than that, or check the frame of the points",
        )
    return Image(mask.astype(np.uint8), grid)
