"""Dense displacement fields, as deformable registration and ITK know them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from anatomark.errors import TransformError
from anatomark.geometry import FloatArray, Grid, restore
from anatomark.maps.base import Inverse, Map, reverses

if TYPE_CHECKING:
    import torch


_FACE = 0.5 - 1e-6  # voxels from a centre to just within the outer face


@dataclass(frozen=True, eq=False)
class Displacement(Map):
    """``target = source + field(source)`` with a dense field on a grid, linear between voxels.

    ``field_mm`` has shape ``(D, *grid.shape)``, components in x, y, z order, world millimetres.
    Outside the grid points stay where they are, as in ITK.
    """

    grid: Grid
    field_mm: FloatArray = field(repr=False)

    __setstate__ = restore

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
            with torch.inference_mode(False):  # or later gradients could not pass through it
                values = torch.from_numpy(np.array(self.field_mm))[None]
                self._fields[key] = values.to(like.device, like.dtype)
        return self._fields[key]

    @cached_property
    def mirrors(self) -> bool:  # kept: it looks at the whole field
        """Whether the affine map nearest to it turns left into right."""
        if min(self.grid.shape) < 2:
            return False
        few = [np.unique(np.linspace(0, n - 1, 5).astype(int)) for n in self.grid.size_xyz]
        index = np.stack(np.meshgrid(*few, indexing="ij"), -1).reshape(-1, self.dimension)
        points = np.asarray(self.grid.to_world(index.astype(np.float64)))
        return reverses(points, points + self.field_mm[(slice(None), *index.T[::-1])].T)

    def guess(self, target: torch.Tensor) -> torch.Tensor:
        """Start from within: where a point of the domain has been pushed out of it, say."""
        import torch

        size = target.new_tensor(self.grid.size_xyz)
        index = torch.minimum(self.grid.to_index(target).clamp_min(-_FACE), size - 1 + _FACE)
        border = self.grid.to_world(index)
        return target - (self._push(border) - border)

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
