"""``BSpline``: the free-form deformation of ITK as a map, exact where a sampled field is not."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from anatomark.errors import TransformError
from anatomark.geometry import FloatArray, Grid, restore
from anatomark.maps.base import Inverse, Map, reverses

if TYPE_CHECKING:
    import torch

_EDGE = 1e-9  # control points; a point on the edge of the domain belongs to it despite rounding


@dataclass(frozen=True, eq=False)
class BSpline(Map):
    """``target = source + sum of basis functions``, one a control point, as in ITK.

    ``grid`` says where the control points are, ``coefficients_mm`` ``(D, *grid.shape)`` holds their
    displacements, components in x, y(, z) order, LPS millimetres. The spline is defined where it
    has all its ``order + 1`` control points along every axis; outside, points stay where they are.
    """

    grid: Grid
    coefficients_mm: FloatArray = field(repr=False)
    order: int = 3

    __setstate__ = restore

    def __post_init__(self) -> None:
        values = np.array(self.coefficients_mm, np.float64)
        expected = (self.grid.dimension, *self.grid.shape)
        if values.shape != expected:
            raise TransformError(f"the B-spline has coefficients {values.shape}, not {expected}")
        if not np.isfinite(values).all():
            raise TransformError("the B-spline is not finite")
        if self.order not in {1, 2, 3}:
            raise TransformError(f"B-splines of order 1, 2 and 3 are known, not {self.order}")
        if min(self.grid.shape) <= self.order:
            raise TransformError(
                f"a B-spline of order {self.order} needs {self.order + 1} control points an axis, "
                f"not {self.grid.size_xyz}"
            )
        values.setflags(write=False)
        object.__setattr__(self, "coefficients_mm", values)

    @property
    def dimension(self) -> int:  # type: ignore[override]  # derived, not stored
        """2 or 3."""
        return self.grid.dimension

    @cached_property
    def mirrors(self) -> bool:  # kept: it looks at the whole spline
        """Whether the affine map nearest to it turns left into right."""
        low = (self.order - 1) / 2
        few = [np.linspace(low, n - 1 - low, 5) for n in self.grid.size_xyz]
        index = np.stack(np.meshgrid(*few, indexing="ij"), -1).reshape(-1, self.dimension)
        points = np.asarray(self.grid.to_world(index))
        return reverses(points, self(points))

    def guess(self, target: torch.Tensor) -> torch.Tensor:
        """Start from within: where a point of the domain has been pushed out of it, say."""
        import torch

        low = (self.order - 1) / 2
        high = target.new_tensor(self.grid.size_xyz) - 1 - low
        index = torch.minimum(self.grid.to_index(target).clamp_min(low), high)
        return target - self._displacement(index)

    def _push(self, points: torch.Tensor) -> torch.Tensor:
        import torch

        index = self.grid.to_index(points)
        low = (self.order - 1) / 2
        high = index.new_tensor(self.grid.size_xyz) - 1 - low
        inside = ((index >= low - _EDGE) & (index <= high + _EDGE)).all(-1, keepdim=True)
        # Points outside are moved to the edge, so that their (unused) weights stay finite.
        index = torch.minimum(index.clamp_min(low), high)
        return points + torch.where(inside, self._displacement(index), torch.zeros_like(points))

    def _displacement(self, index_xyz: torch.Tensor) -> torch.Tensor:
        """Displacement ``(N, D)`` at indices ``(N, D)`` of the control grid, inside the domain."""
        import torch

        last = index_xyz.new_tensor(self.grid.size_xyz) - 1 - self.order
        first = torch.floor(index_xyz.detach() - (self.order - 1) / 2).nan_to_num()
        first = torch.minimum(first.clamp_min(0), last)
        weights = [_basis(index_xyz - first - k, self.order) for k in range(self.order + 1)]
        flat = index_xyz.new_tensor(self.coefficients_mm).flatten(1).T
        stride = torch.tensor(np.cumprod([1, *self.grid.size_xyz[:-1]]), device=index_xyz.device)
        corner = first.long()
        total = torch.zeros_like(index_xyz)
        for steps in product(range(self.order + 1), repeat=self.dimension):
            row = ((corner + corner.new_tensor(steps)) * stride).sum(-1)
            weight = torch.stack([weights[k][:, d] for d, k in enumerate(steps)], -1).prod(-1)
            total = total + weight[:, None] * flat[row]
        return total

    def inverse(self) -> Map:
        """Return the iterative inverse: the inverse of a B-spline is not a B-spline."""
        return Inverse(self)


def _basis(distance: torch.Tensor, order: int) -> torch.Tensor:
    """Value of the centred B-spline of ``order`` so many control points from its centre."""
    t = distance.abs()
    if order == 1:
        return (1 - t).clamp_min(0)
    if order == 2:
        outer = (1.5 - t).clamp_min(0).square() / 2
        return outer.where(t > 0.5, 0.75 - t.square())
    outer = (2 - t).clamp_min(0) ** 3 / 6
    return outer.where(t > 1, 2 / 3 - t.square() + t**3 / 2)
