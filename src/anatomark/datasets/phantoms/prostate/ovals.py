"""Ellipsoids and tubes that are evaluated in place, for phantoms of many million voxels.

Where intermediate results need fresh memory each time, that is what most of the time goes into.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from anatomark.datasets.phantoms.ct.solids import Ellipsoid, Field
from anatomark.geometry import FloatArray

_TINY = 1e-4


def dot(xyz: Field, row: Sequence[float] | FloatArray, offset: float, *, spare: Field) -> Field:
    """``row @ xyz + offset`` for coordinates ``(3, ...)``; ``spare`` is overwritten."""
    x, y, z = (float(value) for value in row)  # a Python number leaves the type as it is
    total: Field = np.multiply(xyz[0], x)
    total += np.multiply(xyz[1], y, out=spare)
    total += np.multiply(xyz[2], z, out=spare)
    total += offset
    return total


@dataclass(frozen=True)
class Oval(Ellipsoid):
    """An ellipsoid, with the same distance as the one it derives from."""

    @cached_property
    def _rows(self) -> list[tuple[list[float], float, float]]:
        """For each axis: its direction by its radius, the offset along it, and 1 / radius²."""
        axes = np.eye(3) if self.axes is None else self.axes
        rows = axes / self.radii[:, None]
        offsets, weights = -rows @ self.centre, 1 / self.radii**2
        return list(zip(rows.tolist(), offsets.tolist(), weights.tolist(), strict=True))

    def distance(self, xyz: Field) -> Field:
        """Distance in mm to the surface, negative inside, at body coordinates ``(3, ...)``."""
        spare, size, slope = (np.empty(xyz.shape[1:], np.float32) for _ in range(3))
        size[...], slope[...] = 0, 0
        for row, offset, weight in self._rows:
            part = dot(xyz, row, offset, spare=spare)
            part *= part
            size += part
            part *= weight
            slope += part
        np.sqrt(slope, out=slope)
        slope += _TINY
        size -= np.sqrt(size, out=spare)
        size /= slope
        return size


@dataclass(frozen=True)
class Stem:
    """A tube that runs upwards, from z = ``low`` to ``high``.

    ``x``, ``y`` and ``radius`` hold the coefficients of 1, z and z², in mm.
    """

    x: FloatArray
    y: FloatArray
    radius: FloatArray
    low: float
    high: float

    @classmethod
    def through(cls, path: FloatArray, radii: Sequence[float]) -> Stem:
        """Fit a stem to points ``(N, 3)`` on its axis and the radii there."""
        powers = np.stack([path[:, 2] ** 0, path[:, 2], path[:, 2] ** 2], axis=1)
        x, y, radius = (
            np.linalg.lstsq(powers, np.asarray(values), rcond=None)[0].astype(np.float64)
            for values in (path[:, 0], path[:, 1], radii)
        )
        return cls(x, y, radius, float(path[:, 2].min()), float(path[:, 2].max()))

    @property
    def thickness(self) -> float:
        """Width in mm in the middle."""
        return 2 * float(self._at(self.radius, np.array((self.low + self.high) / 2)))

    def _at(self, coefficients: FloatArray, z: FloatArray) -> FloatArray:
        values: FloatArray = coefficients[0] + (coefficients[1] + coefficients[2] * z) * z
        return values

    def box(self) -> tuple[FloatArray, FloatArray]:
        """Lowest and highest corner ``(3,)`` of a box around the tube."""
        z = np.linspace(self.low, self.high, 33)
        wide = self._at(self.radius, z)
        x, y = self._at(self.x, z), self._at(self.y, z)
        low = np.array([(x - wide).min(), (y - wide).min(), self.low])
        return low, np.array([(x + wide).max(), (y + wide).max(), self.high])

    def distance(self, xyz: Field) -> Field:
        """Distance in mm to the surface, negative inside, at body coordinates ``(3, ...)``."""
        spare, apart = np.empty(xyz.shape[1:], np.float32), np.zeros(xyz.shape[1:], np.float32)
        for part, coefficients in zip(xyz, (self.x, self.y), strict=False):
            _polynomial(xyz[2], coefficients, out=spare)
            spare -= part
            spare *= spare
            apart += spare
        np.sqrt(apart, out=apart)
        apart -= _polynomial(xyz[2], self.radius, out=spare)
        np.maximum(apart, np.subtract(np.float32(self.low), xyz[2], out=spare), out=apart)
        np.maximum(apart, np.subtract(xyz[2], np.float32(self.high), out=spare), out=apart)
        return apart


def _polynomial(z: Field, coefficients: FloatArray, *, out: Field) -> Field:
    constant, slope, curve = (np.float32(value) for value in coefficients)
    np.multiply(z, curve, out=out)
    out += slope
    out *= z
    out += constant
    return out
