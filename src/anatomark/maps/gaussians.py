"""Sums of Gaussian bumps: smooth displacements with a formula, for any number of dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from anatomark.errors import TransformError
from anatomark.geometry import FloatArray, restore
from anatomark.maps.base import Inverse, Map

if TYPE_CHECKING:
    import torch

_WEIGHTS = 1 << 17  # of bumps at points, held at once


@dataclass(frozen=True, eq=False)
class Gaussians(Map):
    """``target = source + Σ shift_k · exp(-|source - centre_k|² / (2 sigma²))``.

    ``centres_mm`` and ``shifts_mm`` are ``(K, D)``, x, y(, z), LPS; ``sigma_mm`` is the width of
    every bump. Far from all centres points stay where they are.
    """

    centres_mm: FloatArray
    shifts_mm: FloatArray
    sigma_mm: float

    __setstate__ = restore

    def __post_init__(self) -> None:
        centres, shifts = (np.array(v, np.float64) for v in (self.centres_mm, self.shifts_mm))
        if centres.ndim != 2 or centres.shape != shifts.shape or centres.shape[1] not in {2, 3}:
            raise TransformError(
                f"bumps need two equal lists of points, not {centres.shape} and {shifts.shape}"
            )
        if not (np.isfinite(centres).all() and np.isfinite(shifts).all()):
            raise TransformError("a bump is not finite")
        if not 0 < self.sigma_mm < np.inf:
            raise TransformError(f"the width of the bumps must be positive, not {self.sigma_mm}")
        for name, value in (("centres_mm", centres), ("shifts_mm", shifts)):
            value.setflags(write=False)
            object.__setattr__(self, name, value)

    @property
    def dimension(self) -> int:  # type: ignore[override]  # derived, not stored
        """2 or 3."""
        return int(self.centres_mm.shape[1])

    def _push(self, points: torch.Tensor) -> torch.Tensor:
        import torch

        # In parts that fit into the cache of a processor: several times faster than at once.
        step = max(_WEIGHTS // len(self.centres_mm), 1)
        if len(points) > step:
            return torch.cat([self._push(part) for part in torch.split(points, step)])
        # One product instead of a table of differences; in units of sigma about the middle of the
        # bumps the numbers are small, so that |a|² + |b|² - 2ab keeps its digits.
        middle = self.centres_mm.mean(axis=0)
        centres = points.new_tensor((self.centres_mm - middle) / self.sigma_mm)
        local = (points - points.new_tensor(middle)) / self.sigma_mm
        halves = local.square().sum(-1, keepdim=True) + centres.square().sum(-1)
        weights = torch.exp(local @ centres.T - halves / 2)
        pushed: torch.Tensor = points + weights @ points.new_tensor(self.shifts_mm)
        return pushed

    def inverse(self) -> Map:
        """Return the iterative inverse."""
        return Inverse(self)
