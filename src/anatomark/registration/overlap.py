"""Dice of masks that lie on different grids, and the errors of a rigid registration."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anatomark.data import Image
from anatomark.errors import GeometryError, RegistrationError
from anatomark.geometry import FloatArray, Grid
from anatomark.maps import Affine, Map
from anatomark.sampling import resample

_VOXELS = 1 << 24  # of the grid on which masks are compared


def dice(fixed: Image, moving: Image, *, push: Map | None = None) -> float:
    """Dice of two masks, 0…1, of which the moving one is brought onto the fixed one's grid first.

    ``push`` pushes moving points onto fixed ones. The grid is extended to all of the pushed mask:
    what lies outside of the fixed image counts as well. Voxels above 0 are the mask, as boxes,
    and are compared at up to three points along each of their sides.
    """
    if fixed.grid.unit != moving.grid.unit:
        raise GeometryError(
            f"the masks are in {fixed.grid.unit} and {moving.grid.unit}",
            fix="give the image without one its spacing",
        )
    first, second = _filled(fixed, "fixed"), _filled(moving, "moving")
    push = Affine.identity(fixed.grid.dimension) if push is None else push
    own = (_corner_indices(first) - 0.5, _corner_indices(first, last=True) + 0.5)
    other = fixed.grid.to_index(push(_outline(moving.grid, second)))
    if (other.max(0) < own[0]).any() or (other.min(0) > own[1]).any():
        return 0.0
    grid = _around(fixed.grid, np.vstack([*own, other]))
    still = resample(Image(first, fixed.grid), grid, interpolation="nearest").array > 0
    moved = resample(Image(second, moving.grid), grid, push=push, interpolation="nearest").array > 0
    return float(2 * (still & moved).sum() / (still.sum() + moved.sum()))


def _filled(mask: Image, side: str) -> NDArray[np.float32]:
    if mask.channels is not None:
        raise RegistrationError(f"the {side} mask has channels", fix="extract one first")
    inside = np.asarray(mask.array > 0, np.float32)
    if not inside.any():
        raise RegistrationError(f"the {side} mask is empty")
    return inside


def _corner_indices(inside: NDArray[np.float32], *, last: bool = False) -> FloatArray:
    """Index x, y(, z) of the first or last voxel of the mask's box."""
    axes = np.nonzero(inside)[::-1]
    return np.array([a.max() if last else a.min() for a in axes], np.float64)


def _outline(grid: Grid, inside: NDArray[np.float32]) -> FloatArray:
    """World points on the outside of the mask's box, enough of them for a map that bends."""
    low, high = _corner_indices(inside) - 0.5, _corner_indices(inside, last=True) + 0.5
    axes = [np.linspace(a, b, 9) for a, b in zip(low, high, strict=True)]
    index = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, grid.dimension)
    return grid.to_world(index)


def _around(grid: Grid, index: FloatArray) -> Grid:
    """The voxels of ``grid``, continued where needed, about indices x, y(, z)."""
    start = np.floor(index.min(0)).astype(int) - 1
    size = np.ceil(index.max(0)).astype(int) + 2 - start
    box = grid.crop(start.tolist(), size.tolist())
    # Between lattices that do not coincide one sample a voxel would round a shift to voxels.
    finer = next((f for f in (3, 2) if f**grid.dimension * np.prod(size) <= _VOXELS), 1)
    return box.resized(tuple(finer * n for n in box.shape))


def surface_registration_error(points_mm: ArrayLike, truth: Map, found: Map) -> float:
    """Mean distance in mm between where two maps push the points ``(N, D)`` of a surface.

    Equation 6 of Fang 2023, with points of the moving surface.
    """
    points = np.asarray(points_mm, np.float64)
    return float(np.linalg.norm(truth(points) - found(points), axis=1).mean())


def residual_turn_degrees(truth: Affine, found: Affine) -> float:
    """Angle of the turn that is left between two rigid maps: of ``R_truth @ R_foundᵀ``.

    The norm of the rotation vector of Fang 2023, in degrees; a size in the maps does not count.
    """
    turns = []
    for one in (truth, found):
        u, _, vt = np.linalg.svd(one.matrix)
        turns.append(u @ vt)
    left = turns[0] @ turns[1].T
    if len(left) == 2:
        return float(np.degrees(abs(np.arctan2(left[1, 0], left[0, 0]))))
    from scipy.spatial.transform import Rotation

    return float(np.degrees(Rotation.from_matrix(left).magnitude()))
