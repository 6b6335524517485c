"""``Grid``: the only place that knows how an array index becomes a point in millimetres.

Conventions, the same everywhere:

* arrays are indexed ``z, y, x`` (``shape``); points and indices are written ``x, y, z``;
* an integer index is the **centre** of a voxel, so the image reaches from -0.5 to size - 0.5;
* world points are LPS millimetres (or pixels, where ``unit`` says ``px``);
* normalised coordinates run from -1 to 1 between the outer faces of the first and the last voxel
  (``align_corners=False``).
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeGuard, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anatomark.errors import GeometryError, UsageError

if TYPE_CHECKING:
    import torch

FloatArray = NDArray[np.float64]
Coordinates = TypeVar("Coordinates", "FloatArray", "torch.Tensor")
Unit = Literal["mm", "px"]

_LPS_LETTERS = (("R", "L"), ("A", "P"), ("I", "S"))
_COLUMN_TOLERANCE = 1e-3
_SINGULAR = 1e-6


def is_tensor(value: object) -> TypeGuard[torch.Tensor]:
    """Tell whether ``value`` is a torch tensor, without importing torch."""
    return any(t.__module__ == "torch" and t.__name__ == "Tensor" for t in type(value).__mro__)


def affine_points(points: Coordinates, matrix: FloatArray, offset: FloatArray) -> Coordinates:
    """Return ``matrix @ p + offset`` for points ``(..., D)``; tensors keep device and gradient.

    Arrays come back as float64. Integer tensors become float64 and half-precision ones float32:
    in their own type a coordinate would be cut off.
    """
    values: Any = precise(points)
    check_dimension(values, matrix.shape[1])
    if is_tensor(values):
        with full_precision(values):
            values = values @ _tensor_like(values, matrix).T + _tensor_like(values, offset)
    else:
        values = values @ matrix.T + offset
    return cast("Coordinates", values)


def full_precision(tensor: torch.Tensor) -> Any:
    """A context without autocast: in bfloat16 a coordinate would be off by voxels."""
    import torch

    return torch.autocast(tensor.device.type, enabled=False)


def precise(points: Any) -> Any:
    """Points in a type that can hold coordinates: float64 arrays, float32 or float64 tensors."""
    if not is_tensor(points):
        return np.asarray(points, np.float64)
    if not points.is_floating_point():
        return points.double()
    return points.float() if points.element_size() < 4 else points


def check_dimension(points: Any, dimension: int) -> None:
    """Raise unless the last axis of the points has ``dimension`` coordinates."""
    if points.ndim < 1 or points.shape[-1] != dimension:
        raise GeometryError(
            f"{dimension}D points are (..., {dimension}), not {tuple(points.shape)}",
            fix="give x, y" if dimension == 2 else "give x, y, z",
        )


def _tensor_like(tensor: Any, values: ArrayLike) -> Any:
    """``values`` as a tensor of the type and on the device of another; copies read-only arrays."""
    return tensor.new_tensor(np.array(values).tolist())


def _frozen(values: ArrayLike) -> FloatArray:
    array = np.array(values, np.float64) + 0.0  # -0.0 becomes 0.0: equal grids hash alike
    array.setflags(write=False)
    return array


def check_value(value: float, dtype: np.dtype[Any]) -> None:
    """Raise unless voxels of this type can hold the value as it is."""
    if dtype.kind not in "iu":
        return
    limits = np.iinfo(dtype)
    if not (np.isfinite(value) and limits.min <= value <= limits.max and value == int(value)):
        raise UsageError(
            f"{dtype} cannot hold the fill value {value}", fix="convert the image to float32 first"
        )


def restore(self: Any, state: dict[str, Any]) -> None:
    """``__setstate__`` of frozen values: pickle and deepcopy forget that arrays are read-only."""
    for value in state.values():
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
    self.__dict__.update(state)


def _whole(shape: Sequence[int]) -> tuple[int, ...]:
    try:
        return tuple(operator.index(n) for n in shape)
    except TypeError:
        raise GeometryError(f"a shape has whole numbers, not {tuple(shape)}") from None


@dataclass(frozen=True, eq=False, init=False)
class Grid:
    """Where the voxels of an image are.

    ``shape`` is the array's shape, ``(y, x)`` or ``(z, y, x)``. ``spacing`` and ``origin`` are in
    ``x, y, z`` order, in ``unit``; ``origin`` is the centre of the first voxel. The columns of
    ``direction`` are the world directions (LPS) of the x, y and z index axes.
    """

    shape: tuple[int, ...]
    spacing: FloatArray
    origin: FloatArray
    direction: FloatArray
    unit: Unit

    __setstate__ = restore

    def __init__(
        self,
        shape: Sequence[int],
        spacing: ArrayLike | None = None,
        origin: ArrayLike | None = None,
        direction: ArrayLike | None = None,
        unit: Unit = "mm",
    ) -> None:
        dim = len(shape)
        if dim not in {2, 3}:
            raise GeometryError(
                f"an image has 2 or 3 axes, not {dim}", fix="extract one frame or channel first"
            )
        if unit not in {"mm", "px"}:
            raise GeometryError(f"unit is 'mm' or 'px', not {unit!r}")
        if spacing is None and unit == "mm":
            raise GeometryError(
                "a grid in mm needs a spacing", fix="give the spacing, or say unit='px'"
            )
        given = {
            "shape": _whole(shape),
            "spacing": _frozen(np.ones(dim) if spacing is None else spacing),
            "origin": _frozen(np.zeros(dim) if origin is None else origin),
            "direction": _frozen(np.eye(dim) if direction is None else direction),
            "unit": unit,
        }
        for name, value in given.items():
            object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        dim = self.dimension
        if any(n < 1 for n in self.shape):
            raise GeometryError(f"the image is empty: its shape is {self.shape}")
        for name, shape in (("spacing", (dim,)), ("origin", (dim,)), ("direction", (dim, dim))):
            value: FloatArray = getattr(self, name)
            if value.shape != shape:
                raise GeometryError(f"{name} has shape {value.shape}, a {dim}D grid needs {shape}")
            if not np.isfinite(value).all():
                raise GeometryError(f"{name} is not finite: {value.tolist()}")
        if (self.spacing <= 0).any():
            raise GeometryError(
                f"the spacing must be positive, it is {self.spacing.tolist()}",
                fix="mend the file's header, or give the spacing yourself",
            )
        if abs(np.linalg.det(self.direction)) < _SINGULAR:
            raise GeometryError(f"the direction matrix is singular: {self.direction.tolist()}")
        if np.abs(np.linalg.norm(self.direction, axis=0) - 1).max() > _COLUMN_TOLERANCE:
            raise GeometryError(
                f"the columns of the direction must have length 1: {self.direction.tolist()}",
                fix="put the length into the spacing",
            )

    # -- sizes -----------------------------------------------------------------------------------

    @property
    def dimension(self) -> int:
        """2 or 3."""
        return len(self.shape)

    @property
    def size_xyz(self) -> tuple[int, ...]:
        """The number of voxels along x, y(, z): ``shape`` reversed."""
        return self.shape[::-1]

    @property
    def extent(self) -> FloatArray:
        """Length of the image along its own x, y(, z) axes, outer face to outer face."""
        return np.asarray(self.size_xyz) * self.spacing

    @property
    def centre(self) -> FloatArray:
        """The world point in the middle of the image."""
        return self.to_world((np.asarray(self.size_xyz) - 1) / 2)

    @cached_property
    def index_to_world_matrix(self) -> FloatArray:
        """``(D, D)``: one step along each index axis, as a world vector."""
        return _frozen(self.direction * self.spacing)

    @cached_property
    def _world_to_index_matrix(self) -> FloatArray:
        return _frozen(np.linalg.inv(self.index_to_world_matrix))

    @property
    def affine(self) -> FloatArray:
        """Homogeneous ``(D+1, D+1)`` matrix from index (x, y, z) to world (LPS)."""
        matrix = np.eye(self.dimension + 1)
        matrix[:-1, :-1] = self.index_to_world_matrix
        matrix[:-1, -1] = self.origin
        return matrix

    # -- points ----------------------------------------------------------------------------------

    def to_world(self, index_xyz: Coordinates) -> Coordinates:
        """World points ``(..., D)`` of indices ``(..., D)`` in x, y, z order (0 = voxel centre)."""
        return affine_points(index_xyz, self.index_to_world_matrix, self.origin)

    def to_index(self, points: Coordinates) -> Coordinates:
        """Indices ``(..., D)``, x, y, z, not rounded, of world points ``(..., D)``."""
        # The origin goes first: far from it, the other order loses digits.
        shifted = affine_points(points, np.eye(self.dimension), -self.origin)
        return affine_points(shifted, self._world_to_index_matrix, np.zeros(self.dimension))

    def to_normalised(self, points: Coordinates) -> Coordinates:
        """Normalised coordinates ``(..., D)``, x, y, z, in -1…1, of world points ``(..., D)``."""
        return self.index_to_normalised(self.to_index(points))

    def from_normalised(self, normalised: Coordinates) -> Coordinates:
        """World points ``(..., D)`` of normalised coordinates ``(..., D)`` in x, y, z order."""
        return self.to_world(self.normalised_to_index(normalised))

    def index_to_normalised(self, index_xyz: Coordinates) -> Coordinates:
        """Normalised coordinates of indices: -1 and 1 are the outer faces, not voxel centres."""
        size = np.asarray(self.size_xyz, np.float64)
        return affine_points(index_xyz, np.diag(2 / size), 1 / size - 1)

    def normalised_to_index(self, normalised: Coordinates) -> Coordinates:
        """Inverse of ``index_to_normalised``."""
        size = np.asarray(self.size_xyz, np.float64)
        return affine_points(normalised, np.diag(size / 2), (size - 1) / 2)

    def contains(self, points: ArrayLike, *, margin: float = 0.0) -> NDArray[np.bool_]:
        """Tell for world points ``(..., D)`` whether they lie in the image, faces included.

        ``margin`` widens the image by so much (in ``unit``) on every side.
        """
        index = self.to_index(np.asarray(points, np.float64))
        slack = margin / self.spacing + 1e-9
        low, high = -0.5 - slack, np.asarray(self.size_xyz) - 0.5 + slack
        return np.asarray(((index >= low) & (index <= high)).all(axis=-1))

    def corners(self) -> FloatArray:
        """World points ``(2**D, D)`` of the outer corners."""
        faces = [(-0.5, n - 0.5) for n in self.size_xyz]
        index = np.stack(np.meshgrid(*faces, indexing="ij"), axis=-1).reshape(-1, self.dimension)
        return self.to_world(index)

    # -- other grids over the same world ---------------------------------------------------------

    def crop(self, start_xyz: Sequence[int], size_xyz: Sequence[int]) -> Grid:
        """The grid of ``array[start:start+size]``; a negative start or a larger size pads."""
        origin = self.to_world(np.asarray(start_xyz, np.float64))
        return replace(self, shape=tuple(size_xyz)[::-1], origin=origin)

    def pad(self, before_xyz: Sequence[int], after_xyz: Sequence[int]) -> Grid:
        """The grid after so many voxels were added before and after, per axis in x, y, z order."""
        start = [-b for b in before_xyz]
        size = [n + b + a for n, b, a in zip(self.size_xyz, before_xyz, after_xyz, strict=True)]
        return self.crop(start, size)

    def flip(self, axis_xyz: int) -> Grid:
        """The grid of the array reversed along one axis (0 = x): the world does not move."""
        self._check_axis(axis_xyz)
        last = np.zeros(self.dimension)
        last[axis_xyz] = self.size_xyz[axis_xyz] - 1
        direction = np.array(self.direction)
        direction[:, axis_xyz] *= -1
        return replace(self, origin=self.to_world(last), direction=direction)

    def _check_axis(self, axis_xyz: int) -> None:
        if axis_xyz not in range(self.dimension):
            raise GeometryError(f"axis is 0…{self.dimension - 1} (0 = x), not {axis_xyz}")

    def permute(self, axes_xyz: Sequence[int]) -> Grid:
        """The grid whose x, y, z axes are the old axes ``axes_xyz``; the world does not move."""
        axes = list(axes_xyz)
        if sorted(axes) != list(range(self.dimension)):
            raise GeometryError(f"axes must be a permutation of 0…{self.dimension - 1}, not {axes}")
        return replace(
            self,
            shape=tuple(self.size_xyz[a] for a in axes)[::-1],
            spacing=self.spacing[axes],
            direction=self.direction[:, axes],
        )

    def resized(self, shape: Sequence[int]) -> Grid:
        """Another number of voxels over exactly the same outer box (``shape`` in array order)."""
        size = np.asarray(tuple(shape)[::-1])
        if len(size) != self.dimension or (size < 1).any():
            raise GeometryError(f"cannot resize a {self.dimension}D grid to shape {tuple(shape)}")
        scale = np.asarray(self.size_xyz) / size
        first = -0.5 + scale / 2
        return replace(
            self, shape=tuple(shape), spacing=self.spacing * scale, origin=self.to_world(first)
        )

    def with_spacing(self, spacing: ArrayLike) -> Grid:
        """Voxels of exactly ``spacing`` (x, y, z) about the same centre, covering the old box."""
        wanted = np.broadcast_to(np.asarray(spacing, np.float64), (self.dimension,))
        if not (np.isfinite(wanted).all() and (wanted > 0).all()):
            raise GeometryError(f"the spacing must be positive, it is {wanted.tolist()}")
        size = np.maximum(np.ceil(self.extent / wanted - 1e-6), 1).astype(int)
        matrix = self.direction * wanted
        origin = self.centre - matrix @ ((size - 1) / 2)
        return replace(self, shape=tuple(size[::-1].tolist()), spacing=wanted, origin=origin)

    @property
    def orientation(self) -> str:
        """The world direction towards which each index axis runs, as in ``LPS`` or ``RAI``.

        For an oblique grid, the nearest one. A 2D grid has two letters.
        """
        return "".join(
            _LPS_LETTERS[w][int(self.direction[w, a] > 0)]
            for a, w in enumerate(self._nearest_world_axes())
        )

    def _nearest_world_axes(self) -> list[int]:
        from scipy.optimize import linear_sum_assignment

        rows, columns = linear_sum_assignment(-np.abs(self.direction.T))
        return [int(w) for _, w in sorted(zip(rows, columns, strict=True))]

    # -- comparison ------------------------------------------------------------------------------

    def same_as(self, other: Grid, *, tolerance: float = 1e-4) -> bool:
        """Tell whether every voxel of both grids is the same, within a part of a voxel."""
        if self.shape != other.shape or self.unit != other.unit:
            return False
        apart = np.abs(self.corners() - other.corners()).max()
        return bool(apart <= tolerance * self.spacing.min())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Grid):
            return NotImplemented
        return (self.shape, self.unit) == (other.shape, other.unit) and all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("spacing", "origin", "direction")
        )

    def __hash__(self) -> int:
        return hash((self.shape, self.unit, self.spacing.tobytes(), self.origin.tobytes()))

    def __repr__(self) -> str:
        size = "×".join(map(str, self.size_xyz))
        spacing = "×".join(f"{s:g}" for s in self.spacing)
        if self.dimension == 2:
            return f"Grid({size} pixels of {spacing} {self.unit})"
        return f"Grid({size} voxels of {spacing} {self.unit}, {self.orientation})"
