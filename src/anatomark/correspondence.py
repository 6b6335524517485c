"""``Matches``: points of two images that show the same place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anatomark.data import Landmarks
from anatomark.errors import LandmarkError
from anatomark.geometry import FloatArray, Unit, restore


@dataclass(frozen=True, eq=False, init=False)
class Matches:
    """Pairs of points: row ``i`` of ``fixed_mm`` and of ``moving_mm`` show the same place.

    Both ``(N, D)`` float64, LPS, x, y(, z), each in the world of its own image, in ``unit``.
    ``confidence`` ``(N,)`` in 0…1 is the method's own, not calibrated.
    """

    fixed_mm: FloatArray
    moving_mm: FloatArray
    confidence: FloatArray
    unit: Unit
    meta: Mapping[str, Any] = field(repr=False)

    __setstate__ = restore

    def __init__(
        self,
        fixed_mm: ArrayLike,
        moving_mm: ArrayLike,
        *,
        confidence: ArrayLike | None = None,
        unit: Unit = "mm",
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        fixed, moving = np.array(fixed_mm, np.float64), np.array(moving_mm, np.float64)
        if fixed.ndim != 2 or fixed.shape != moving.shape or fixed.shape[1] not in {2, 3}:
            raise LandmarkError(f"points {fixed.shape} and {moving.shape} are no pairs of points")
        sure = np.ones(len(fixed)) if confidence is None else np.array(confidence, np.float64)
        if sure.shape != (len(fixed),):
            raise LandmarkError(f"confidence has shape {sure.shape}, not ({len(fixed)},)")
        if not (np.isfinite(fixed).all() and np.isfinite(moving).all() and np.isfinite(sure).all()):
            raise LandmarkError("a pair has a coordinate that is not a number")
        if (sure < 0).any() or (sure > 1).any():
            raise LandmarkError("confidence must be in 0…1")
        if unit not in {"mm", "px"}:
            raise LandmarkError(f"unit is 'mm' or 'px', not {unit!r}")
        for name, value in (("fixed_mm", fixed), ("moving_mm", moving), ("confidence", sure)):
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        object.__setattr__(self, "unit", unit)
        object.__setattr__(self, "meta", dict(meta or {}))

    def __len__(self) -> int:
        return len(self.fixed_mm)

    @property
    def dimension(self) -> int:
        """2 or 3."""
        return int(self.fixed_mm.shape[1])

    def select(self, rows: NDArray[Any]) -> Matches:
        """These rows, by a mask or by numbers."""
        return replace(
            self, fixed_mm=self.fixed_mm[rows], moving_mm=self.moving_mm[rows],
            confidence=self.confidence[rows],
        )  # fmt: skip

    def swapped(self) -> Matches:
        """The same pairs, with fixed and moving exchanged."""
        return replace(self, fixed_mm=self.moving_mm, moving_mm=self.fixed_mm)

    def landmarks(self) -> tuple[Landmarks, Landmarks]:
        """The pairs as landmarks of the fixed and of the moving image; equal names are a pair."""
        width = max(len(str(len(self))), 3)
        names = [f"m{number:0{width}d}" for number in range(1, len(self) + 1)]
        fixed, moving = (
            Landmarks(names, points, confidence=self.confidence, unit=self.unit)
            for points in (self.fixed_mm, self.moving_mm)
        )
        return fixed, moving

    def __repr__(self) -> str:
        return f"Matches({len(self)} pairs in {self.dimension}D {self.unit})"
