"""Thin-plate splines: the smoothest map that carries some points to others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from anatomark.errors import TransformError
from anatomark.geometry import FloatArray, restore
from anatomark.maps.base import Inverse, Map, reverses

if TYPE_CHECKING:
    import torch

_DISTANCES = 1 << 22  # distances between points and knots held at once


@dataclass(frozen=True, eq=False)
class ThinPlate(Map):
    """Thin-plate spline that carries ``source_mm`` ``(N, D)`` to ``target_mm`` ``(N, D)``.

    ``smoothing`` 0 interpolates; larger values trade closeness for flatness. The kernel is
    r² log r in 2D and -r in 3D (Duchon 1977), each of which minimises the bending energy.
    """

    source_mm: FloatArray
    target_mm: FloatArray
    smoothing: float = 0.0

    __setstate__ = restore

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
        if not 0 <= self.smoothing < np.inf:
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
    def _system(self) -> FloatArray:
        """Symmetric, ``N + D + 1`` rows: kernel with smoothing, then offset and linear part."""
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
        return system

    @cached_property
    def _solution(self) -> FloatArray:
        """``(N + D + 1, D)``: kernel weights, then offset and linear part, of the displacement."""
        right = np.zeros((len(self._system), self.dimension))
        right[: len(self.source_mm)] = self.target_mm - self.source_mm
        return np.asarray(np.linalg.solve(self._system, right), np.float64)

    def influence(self, points_mm: ArrayLike) -> FloatArray:
        """How much each target point counts in where points ``(M, D)`` go, ``(M, N)``.

        The map is ``influence(points) @ target_mm``; each row sums to 1.
        """
        centre, scale = self._frame
        points = (np.asarray(points_mm, np.float64).reshape(-1, self.dimension) - centre) / scale
        knots = (self.source_mm - centre) / scale
        n = len(knots)
        parts = np.empty((len(points), n))
        step = max(_DISTANCES // n, 1)
        for first in range(0, len(points), step):
            some = points[first : first + step]
            squared = ((some[:, None] - knots) ** 2).sum(-1)
            basis = np.hstack(
                [_kernel_numpy(squared, self.dimension), np.ones((len(some), 1)), some]
            )
            parts[first : first + step] = np.linalg.solve(self._system, basis.T)[:n].T
        return parts

    @property
    def mirrors(self) -> bool:
        """Whether the affine map nearest to it at its control points turns left into right."""
        return reverses(self.source_mm, self.target_mm)

    def _push(self, points: torch.Tensor) -> torch.Tensor:
        import torch

        # Bounded memory: the table of distances, not the points, is what grows.
        step = max(_DISTANCES // len(self.source_mm), 1)
        if len(points) > step:
            return torch.cat([self._push(part) for part in torch.split(points, step)])
        centre, scale = self._frame
        local = (points - points.new_tensor(centre)) / scale
        knots = points.new_tensor((self.source_mm - centre) / scale)
        solution = points.new_tensor(self._solution)
        # Exact differences: the usual |a|² + |b|² - 2ab loses the digits that matter near a knot.
        apart = torch.cdist(local, knots, compute_mode="donot_use_mm_for_euclid_dist")
        kernel = (
            apart.square() * torch.log(apart.clamp_min(1e-15)) if self.dimension == 2 else -apart
        )
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
