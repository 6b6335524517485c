"""Maps of space: where a point of one world goes in another.

A ``Map`` is called on points ``(N, D)`` in LPS millimetres and *pushes* them from its source to
its target world. To resample an image onto a target grid one *pulls*: with the inverse map (see
``sampling.resample``). Arrays come back as float64 arrays, tensors as tensors with gradient.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike

from anatomark.errors import GeometryError, TransformError
from anatomark.geometry import Coordinates, FloatArray, Grid, affine_points, is_tensor
from anatomark.inversion import push_with_slope, solve

if TYPE_CHECKING:
    import torch

_CHUNK = 65536  # points pushed at once through maps whose cost grows with points × something


class Map(ABC):
    """A map from a source world to a target world, both LPS millimetres."""

    dimension: int

    def __call__(self, points_mm: Coordinates | ArrayLike) -> Any:
        """Push points ``(N, D)`` from the source to the target world."""
        if is_tensor(points_mm):
            return self._push(points_mm)
        import torch

        points = np.ascontiguousarray(points_mm, np.float64)
        flat = torch.tensor(points.reshape(-1, self.dimension))
        with torch.no_grad():
            parts = [self._push(part) for part in torch.split(flat, _CHUNK)]
        moved = torch.cat(parts).numpy() if parts else points.reshape(-1, self.dimension)
        return moved.reshape(points.shape)

    @abstractmethod
    def _push(self, points: torch.Tensor) -> torch.Tensor:
        """Push a floating point tensor ``(N, D)``; differentiable."""

    @abstractmethod
    def inverse(self) -> Map:
        """Return the map from target to source; iterative where there is no closed form."""

    @property
    def mirrors(self) -> bool:
        """Whether the map turns left into right, as a whole."""
        return False

    def then(self, following: Map) -> Chain:
        """This map first, ``following`` after it."""
        return Chain((self, following))

    def jacobian(self, points_mm: ArrayLike) -> FloatArray:
        """Derivatives ``(N, D, D)`` of the target point (rows) by the source point (columns)."""
        import torch

        points = np.asarray(points_mm, np.float64).reshape(-1, self.dimension)
        return cast("FloatArray", push_with_slope(self, torch.tensor(points))[1].numpy())


@dataclass(frozen=True, eq=False, init=False)
class Affine(Map):
    """``target = matrix @ source + offset``. Rigid and similarity maps are cases of it."""

    matrix: FloatArray
    offset: FloatArray

    def __init__(self, matrix: ArrayLike, offset: ArrayLike) -> None:
        matrix, offset = np.array(matrix, np.float64), np.array(offset, np.float64)
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
        full = np.asarray(matrix, np.float64)
        dim = full.shape[0] - 1 if full.ndim == 2 else 0
        if full.shape not in {(3, 3), (4, 4)} or not np.allclose(full[-1], [0.0] * dim + [1.0]):
            raise TransformError(f"not a homogeneous matrix: {full.tolist()}")
        return cls(full[:-1, :-1], full[:-1, -1])

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


@dataclass(frozen=True, eq=False)
class ThinPlate(Map):
    """Thin-plate spline that carries ``source_mm`` ``(N, D)`` to ``target_mm`` ``(N, D)``.

    ``smoothing`` 0 interpolates; larger values trade closeness for flatness. The kernel is
    r² log r in 2D and -r in 3D (Duchon 1977), each of which minimises the bending energy.
    """

    source_mm: FloatArray
    target_mm: FloatArray
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        source, target = np.array(self.source_mm, np.float64), np.array(self.target_mm, np.float64)
        if source.ndim != 2 or source.shape != target.shape or source.shape[1] not in {2, 3}:
            raise TransformError(
                f"a thin-plate spline needs two equal lists of points, "
                f"not {source.shape} and {target.shape}"
            )
        if not (np.isfinite(source).all() and np.isfinite(target).all()):
            raise TransformError(
                "a control point of the thin-plate spline is not finite",
                fix="leave out absent points",
            )
        if not self.smoothing >= 0:
            raise TransformError(f"smoothing must be 0 or more, not {self.smoothing}")
        for name, value in (("source_mm", source), ("target_mm", target)):
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        _ = self._solution

    @property
    def dimension(self) -> int:  # type: ignore[override]  # derived, not stored
        """2 or 3."""
        return int(self.source_mm.shape[1])

    @cached_property
    def _frame(self) -> tuple[FloatArray, float]:
        """Centre and scale: the system is solved in a unit frame, where it is well conditioned."""
        centre = self.source_mm.mean(axis=0)
        return centre, float(np.abs(self.source_mm - centre).max()) or 1.0

    @cached_property
    def _solution(self) -> FloatArray:
        """``(N + D + 1, D)``: kernel weights, then offset and linear part, of the displacement."""
        centre, scale = self._frame
        points = (self.source_mm - centre) / scale
        n, dim = points.shape
        squared = ((points[:, None] - points[None]) ** 2).sum(-1)
        polynomial = np.hstack([np.ones((n, 1)), points])
        if n < dim + 1 or np.linalg.svd(polynomial, compute_uv=False)[-1] < 1e-9:
            raise TransformError(
                f"a {dim}D thin-plate spline needs {dim + 1} points that do not lie in one "
                f"{'plane' if dim == 3 else 'line'}, it got {n}",
                fix="use a rigid map, or more points",
            )
        if (squared + np.eye(n)).min() < 1e-18:
            raise TransformError("two control points of the thin-plate spline coincide")
        system = np.zeros((n + dim + 1, n + dim + 1))
        system[:n, :n] = _kernel_numpy(squared, dim) + self.smoothing * n * np.eye(n)
        system[:n, n:], system[n:, :n] = polynomial, polynomial.T
        right = np.zeros((n + dim + 1, dim))
        right[:n] = self.target_mm - self.source_mm
        return np.linalg.solve(system, right)

    def _push(self, points: torch.Tensor) -> torch.Tensor:
        import torch

        centre, scale = self._frame
        local = (points - points.new_tensor(centre)) / scale
        knots = points.new_tensor((self.source_mm - centre) / scale)
        solution = points.new_tensor(self._solution)
        squared = (local[:, None] - knots[None]).square().sum(-1)
        # The gradient of sqrt and log at a knot itself is 0 · inf; a tiny floor keeps it finite.
        safe = squared.clamp_min(1e-30)
        kernel = 0.5 * squared * torch.log(safe) if self.dimension == 2 else -torch.sqrt(safe)
        n = len(knots)
        return points + kernel @ solution[:n] + solution[n] + local @ solution[n + 1 :]

    def inverse(self) -> Map:
        """Return the iterative inverse: the inverse of a spline is not a spline."""
        return Inverse(self)


def _kernel_numpy(squared: FloatArray, dim: int) -> FloatArray:
    if dim == 3:
        return -np.sqrt(squared)
    safe = np.where(squared > 0, squared, 1.0)
    return 0.5 * squared * np.log(safe)


@dataclass(frozen=True, eq=False)
class Displacement(Map):
    """``target = source + field(source)`` with a dense field on a grid, linear between voxels.

    ``field_mm`` has shape ``(D, *grid.shape)``, components in x, y, z order, world millimetres.
    Outside the grid points stay where they are, as in ITK.
    """

    grid: Grid
    field_mm: FloatArray = field(repr=False)

    def __post_init__(self) -> None:
        values = np.array(self.field_mm, np.float64)
        expected = (self.grid.dimension, *self.grid.shape)
        if values.shape != expected:
            raise TransformError(f"the field has shape {values.shape}, its grid needs {expected}")
        if not np.isfinite(values).all():
            raise TransformError("the displacement field is not finite")
        values.setflags(write=False)
        object.__setattr__(self, "field_mm", values)

    @classmethod
    def of(cls, warp: Map, grid: Grid) -> Displacement:
        """Sample another map on a grid; exact at the voxel centres, linear between them."""
        index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.size_xyz], indexing="ij"), -1)
        points = grid.to_world(index.reshape(-1, grid.dimension).astype(np.float64))
        moved = (warp(points) - points).reshape(*grid.size_xyz, grid.dimension)
        return cls(grid, moved.T)

    @property
    def dimension(self) -> int:  # type: ignore[override]  # derived, not stored
        """2 or 3."""
        return self.grid.dimension

    @cached_property
    def _fields(self) -> dict[tuple[Any, Any], torch.Tensor]:
        """The field as a tensor, kept per type and device it was asked on."""
        return {}

    def _tensor(self, like: torch.Tensor) -> torch.Tensor:
        import torch

        key = (like.dtype, like.device)
        if key not in self._fields:
            values = torch.from_numpy(np.array(self.field_mm))[None]
            self._fields[key] = values.to(like.device, like.dtype)
        return self._fields[key]

    def _push(self, points: torch.Tensor) -> torch.Tensor:
        from torch.nn.functional import grid_sample

        dim = self.dimension
        normalised = self.grid.to_normalised(points)
        inside = (normalised.abs() <= 1).all(-1, keepdim=True)
        where = normalised.reshape(1, *([1] * (dim - 1)), -1, dim)
        moved = grid_sample(
            self._tensor(points), where, mode="bilinear", padding_mode="border", align_corners=False
        )
        pushed: torch.Tensor = points + moved.reshape(dim, -1).T * inside
        return pushed

    def inverse(self) -> Map:
        """Return the iterative inverse."""
        return Inverse(self)


@dataclass(frozen=True)
class Chain(Map):
    """Several maps, applied from first to last."""

    maps: tuple[Map, ...]

    def __post_init__(self) -> None:
        if not self.maps:
            raise TransformError("a chain needs at least one map")
        if len({m.dimension for m in self.maps}) > 1:
            raise GeometryError("a chain cannot mix 2D and 3D maps")

    @property
    def dimension(self) -> int:  # type: ignore[override]  # derived, not stored
        """2 or 3."""
        return self.maps[0].dimension

    @property
    def mirrors(self) -> bool:
        """Whether an odd number of the maps mirror."""
        return sum(m.mirrors for m in self.maps) % 2 == 1

    def _push(self, points: torch.Tensor) -> torch.Tensor:
        for one in self.maps:
            points = one._push(points)
        return points

    def inverse(self) -> Chain:
        """Return the inverses in reverse order."""
        return Chain(tuple(m.inverse() for m in reversed(self.maps)))


@dataclass(frozen=True)
class Inverse(Map):
    """The inverse of a smooth map, found point by point with damped Newton steps.

    Raises ``NotConvergedError`` with the largest residual when a point is not found within
    ``tolerance_mm`` (the map folds there, say).
    """

    forward: Map
    tolerance_mm: float = 1e-6
    max_steps: int = 100

    @property
    def dimension(self) -> int:  # type: ignore[override]  # derived, not stored
        """2 or 3."""
        return self.forward.dimension

    @property
    def mirrors(self) -> bool:
        """As the map it inverts."""
        return self.forward.mirrors

    def inverse(self) -> Map:
        """Return the original map."""
        return self.forward

    def _push(self, points: torch.Tensor) -> torch.Tensor:
        import torch

        exact = points.detach().to(torch.float64)
        found = solve(self.forward, exact, tolerance_mm=self.tolerance_mm, max_steps=self.max_steps)
        if not points.requires_grad:
            return found.to(points.dtype)
        # One differentiable Newton step at the solution gives the exact gradient.
        _, slope = push_with_slope(self.forward, found)
        step = torch.linalg.solve(slope, (points.double() - exact)[..., None])[..., 0]
        moved: torch.Tensor = (found + step).to(points.dtype)
        return moved
