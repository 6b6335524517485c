"""Affine maps; rigid and similarity maps are cases of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike

from anatomark.errors import TransformError
from anatomark.geometry import Coordinates, FloatArray, affine_points, restore
from anatomark.maps.base import Map

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False, init=False)
class Affine(Map):
    """``target = matrix @ source + offset``. Rigid and similarity maps are cases of it.

    ``matrix`` ``(D, D)`` and ``offset`` ``(D,)`` act on points in LPS millimetres, x, y(, z).
    """

    matrix: FloatArray
    offset: FloatArray

    __setstate__ = restore

    def __init__(self, matrix: ArrayLike, offset: ArrayLike | None = None) -> None:
        """Take a ``(D, D)`` matrix and an offset, or one homogeneous ``(D+1, D+1)`` matrix."""
        matrix = np.array(matrix, np.float64)
        if offset is None:
            matrix, offset = _split(matrix)
        offset = np.array(offset, np.float64)
        dim = len(offset) if offset.ndim == 1 else 0
        if dim not in {2, 3} or matrix.shape != (dim, dim):
            raise TransformError(
                f"an affine map needs a (D, D) matrix and a (D,) offset, "
                f"not {matrix.shape} and {offset.shape}"
            )
        if not (np.isfinite(matrix).all() and np.isfinite(offset).all()):
            raise TransformError("the affine map is not finite")
        for name, value in (("matrix", matrix), ("offset", offset)):
            value.setflags(write=False)
            object.__setattr__(self, name, value)

    @classmethod
    def identity(cls, dimension: int) -> Affine:
        """Return the map that leaves every point where it is."""
        return cls(np.eye(dimension), np.zeros(dimension))

    @classmethod
    def from_homogeneous(cls, matrix: ArrayLike) -> Affine:
        """Build from a ``(D+1, D+1)`` matrix that acts on LPS points."""
        return cls(*_split(np.asarray(matrix, np.float64)))

    @classmethod
    def about(cls, centre_mm: ArrayLike, matrix: ArrayLike, shift_mm: ArrayLike = 0.0) -> Affine:
        """Apply ``matrix`` about a fixed point, then shift."""
        centre, linear = np.asarray(centre_mm, np.float64), np.asarray(matrix, np.float64)
        return cls(linear, centre + np.asarray(shift_mm, np.float64) - linear @ centre)

    @classmethod
    def mirror(cls, dimension: int, *, axis: int = 0, at_mm: float = 0.0) -> Affine:
        """Mirror in the plane where coordinate ``axis`` (0 = x, left–right) is ``at_mm``."""
        flip = np.eye(dimension)
        flip[axis, axis] = -1
        offset = np.zeros(dimension)
        offset[axis] = 2 * at_mm
        return cls(flip, offset)

    @property
    def dimension(self) -> int:  # type: ignore[override]  # derived, not stored
        """2 or 3."""
        return len(self.offset)

    @property
    def homogeneous(self) -> FloatArray:
        """``(D+1, D+1)`` matrix that acts on LPS points."""
        full = np.eye(self.dimension + 1)
        full[:-1, :-1], full[:-1, -1] = self.matrix, self.offset
        return full

    @property
    def mirrors(self) -> bool:
        """Whether the determinant is negative."""
        return bool(np.linalg.det(self.matrix) < 0)

    def __call__(self, points_mm: Coordinates | ArrayLike) -> Any:
        """Push points ``(..., D)``; needs no torch for arrays."""
        return affine_points(cast("FloatArray", points_mm), self.matrix, self.offset)

    def _push(self, points: torch.Tensor) -> torch.Tensor:
        return affine_points(points, self.matrix, self.offset)

    def jacobian(self, points_mm: ArrayLike) -> FloatArray:
        """``matrix`` for every point."""
        n = np.asarray(points_mm).reshape(-1, self.dimension).shape[0]
        return np.broadcast_to(self.matrix, (n, *self.matrix.shape)).copy()

    def inverse(self) -> Affine:
        """Return the closed-form inverse."""
        singular = np.linalg.svd(self.matrix, compute_uv=False)
        if singular[-1] <= 1e-12 * max(singular[0], 1e-300):
            raise TransformError("the affine map is singular and has no inverse")
        back = np.linalg.inv(self.matrix)
        return Affine(back, -back @ self.offset)


def _split(full: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Linear part and offset of a homogeneous matrix."""
    dim = full.shape[0] - 1 if full.ndim == 2 else 0
    if full.shape not in {(3, 3), (4, 4)} or not np.allclose(full[-1], [0.0] * dim + [1.0]):
        raise TransformError(
            f"not a homogeneous matrix: {full.tolist()}",
            fix="its last row must be 0 0 0 1; give a (D, D) matrix together with an offset",
        )
    return full[:-1, :-1], full[:-1, -1]
