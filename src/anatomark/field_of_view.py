"""Which part of an image shows something: all but a constant background, as about a sector."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anatomark.geometry import FloatArray

_LEAST_BACKGROUND = 0.01  # of the image: less is a speck of black, no background
_BALL = 16  # sample points along the diameter of a ball


def field_of_view(array: ArrayLike) -> NDArray[np.bool_]:
    """Voxels ``(*shape)`` that show something: all but a constant background at the border.

    The background is of the value that is most common on the border of the image and hangs
    together with it, and it has room for cubes of three voxels: grey values that happen to be
    equal, as in noise, are none. Dark tissue at the edge of a sector may count to it. Values that
    are not finite show nothing.
    """
    from scipy.ndimage import label

    image = np.asarray(array)
    finite = np.asarray(np.isfinite(image))
    values, counts = np.unique(_faces(image)[_faces(finite)], return_counts=True)
    if not len(values):
        return finite
    same = image == values[counts.argmax()]
    if same.all():
        return np.zeros(image.shape, bool)  # a blank image
    core = _cubes(same, np.logical_and)
    if core.mean() < _LEAST_BACKGROUND / 125:  # each voxel of it makes room for 125
        return finite
    room = _cubes(_cubes(core, np.logical_or), np.logical_or) & same
    parts, count = label(room)
    reached = np.zeros(count + 1, bool)
    reached[_faces(parts)] = True
    reached[0] = False
    outside = reached[parts]
    return finite if outside.mean() < _LEAST_BACKGROUND else np.asarray(finite & ~outside)


def _cubes(mask: NDArray[np.bool_], join: np.ufunc) -> NDArray[np.bool_]:
    """A mask joined over cubes of three voxels; beyond the border it goes on as it is there."""
    for axis in range(mask.ndim):
        rows = np.moveaxis(mask, axis, 0)
        joined = rows.copy(order="K")
        join(joined[1:], rows[:-1], out=joined[1:])
        join(joined[:-1], rows[1:], out=joined[:-1])
        mask = np.moveaxis(joined, 0, axis)
    return mask


def _faces(array: NDArray[Any]) -> NDArray[Any]:
    """Values on the border of an image, one after the other."""
    return np.concatenate(
        [np.take(array, i, axis=a).ravel() for a in range(array.ndim) for i in (0, -1)]
    )


def view_check(
    points_index_xyz: ArrayLike,
    mask: NDArray[np.bool_],
    *,
    radius_mm: ArrayLike,
    spacing_mm: ArrayLike,
) -> FloatArray:
    """Part ``(L,)`` of a ball about each point that lies in the view and in the image.

    Points ``(L, D)`` are voxel indices in x, y, z order, ``mask`` is z, y, x, ``spacing_mm``
    ``(D,)`` is x, y, z and ``radius_mm`` one for all or ``(L,)``. 1 is fully visible, 0 outside;
    NaN where the point is absent or the radius is not finite.
    """
    points = np.asarray(points_index_xyz, np.float64)
    radii = np.broadcast_to(np.asarray(radius_mm, np.float64), len(points))
    axis = (np.arange(_BALL) + 0.5) / _BALL * 2 - 1
    ball = np.stack(np.meshgrid(*[axis] * mask.ndim, indexing="ij"), -1).reshape(-1, mask.ndim)
    ball = ball[(ball**2).sum(axis=1) <= 1] / np.asarray(spacing_mm, np.float64)
    size, parts = np.array(mask.shape[::-1]), np.full(len(points), np.nan)
    for row in np.flatnonzero(np.isfinite(points).all(axis=1) & np.isfinite(radii)):
        # A voxel reaches half a voxel about its centre.
        index = np.floor(points[row] + radii[row] * ball + 0.5)
        index = index[((index >= 0) & (index < size)).all(axis=1)].astype(np.intp)
        parts[row] = np.count_nonzero(mask[tuple(index[:, ::-1].T)]) / len(ball)
    return parts
