"""What a map is, chains of maps, and the inverse of any smooth one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike

from anatomark.errors import GeometryError, TransformError
from anatomark.geometry import (
    Coordinates,
    FloatArray,
    check_dimension,
    full_precision,
    is_tensor,
    precise,
)
from anatomark.maps.newton import push_with_slope, solve

if TYPE_CHECKING:
    import torch

_CHUNK = 65536  # points pushed at once: bounds what a map may need for each of them


class Map(ABC):
    """A map from a source world to a target world, both LPS millimetres.

    Called on points ``(..., D)``, x, y(, z), it pushes them from source to target. To draw an image
    in the target world each voxel asks the other way, ``inverse()``: see ``resample``.
    """

    dimension: int

    def __call__(self, points_mm: Coordinates | ArrayLike) -> Any:
        """Push points ``(N, D)`` from the source to the target world."""
        points = precise(points_mm)
        check_dimension(points, self.dimension)
        if is_tensor(points):
            with full_precision(points):
                return self._push(points.reshape(-1, self.dimension)).reshape(points.shape)
        import torch

        flat = torch.tensor(np.ascontiguousarray(points.reshape(-1, self.dimension)))
        with torch.no_grad(), full_precision(flat):
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

    def guess(self, target: torch.Tensor) -> torch.Tensor:
        """Where to start looking for the sources ``(N, D)`` of targets ``(N, D)``."""
        return target

    def then(self, following: Map) -> Chain:
        """This map first, ``following`` after it."""
        return Chain((self, following))

    def jacobian(self, points_mm: ArrayLike) -> FloatArray:
        """Derivatives ``(N, D, D)`` of the target point (rows) by the source point (columns)."""
        import torch

        points = np.asarray(points_mm, np.float64).reshape(-1, self.dimension)
        return cast("FloatArray", push_with_slope(self, torch.tensor(points))[1].numpy())


def reverses(source_mm: FloatArray, target_mm: FloatArray) -> bool:
    """Whether the affine map that fits points ``(N, D)`` best turns left into right."""
    centred = source_mm - source_mm.mean(axis=0)
    linear = np.linalg.lstsq(centred, target_mm - target_mm.mean(axis=0), rcond=None)[0]
    return bool(np.linalg.det(linear) < 0)


@dataclass(frozen=True)
class Chain(Map):
    """Several maps, applied to points from first to last (ITK applies its last one first)."""

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
    ``tolerance_mm`` (the map folds there, or no point is sent there); with ``missing="nan"`` such
    points are not numbers.
    """

    forward: Map
    tolerance_mm: float = 1e-6
    max_steps: int = 100
    missing: Literal["raise", "nan"] = "raise"

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
        found = solve(
            self.forward, exact, self.forward.guess(exact), tolerance_mm=self.tolerance_mm,
            max_steps=self.max_steps, missing=self.missing,
        )  # fmt: skip
        if not points.requires_grad:
            return found.to(points.dtype)
        # One differentiable Newton step at the solution gives the exact gradient.
        _, slope = push_with_slope(self.forward, found)
        step = torch.linalg.solve(slope, (points.double() - exact)[..., None])[..., 0]
        moved: torch.Tensor = (found + step).to(points.dtype)
        return moved
