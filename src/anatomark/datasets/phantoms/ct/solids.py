"""Solids of which the CT phantoms are drawn: each tells how far a point is from its surface.

A solid has ``box()``, the corners of a box that holds it, and ``distance(xyz)``: millimetres to the
surface, negative inside, for coordinates ``(D, ...)`` in x, y(, z) order. Far from the surface the
distance is only roughly right; at the surface, where it is drawn, it is. ``thickness`` is the width
of the thinnest part: what is thinner than a voxel fills only a part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from anatomark.geometry import FloatArray

Field = NDArray[np.float32]
Box = tuple[FloatArray, FloatArray]

_TINY = np.float32(1e-4)
_MOST_TAPER = 0.25


class Solid(Protocol):
    """What a canvas can paint."""

    @property
    def thickness(self) -> float:
        """Width in mm of the thinnest part."""

    def box(self) -> Box:
        """Lowest and highest corner ``(D,)`` of a box around the solid."""

    def distance(self, xyz: Field) -> Field:
        """Distance in mm to the surface, negative inside, at coordinates ``(D, ...)``."""


def vector(values: Sequence[float] | FloatArray) -> FloatArray:
    """A point or direction ``(D,)``."""
    return np.asarray(values, np.float64)


def unit(values: Sequence[float] | FloatArray) -> FloatArray:
    """A direction ``(D,)`` of length 1."""
    direction = vector(values)
    return direction / float(np.linalg.norm(direction))


def frame_along(direction: Sequence[float] | FloatArray) -> FloatArray:
    """Rows ``(3, 3)``: the direction, and two at right angles to it."""
    first = unit(direction)
    helper = vector([0, 0, 1]) if abs(first[2]) < 0.9 else vector([1, 0, 0])
    second = unit(np.cross(helper, first))
    return np.stack([first, second, np.cross(first, second)])


def turned(degrees: float) -> FloatArray:
    """Rows ``(2, 2)``: the axes of a plane figure turned from x towards y."""
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def _norm(parts: Sequence[Field]) -> Field:
    total: Field = parts[0] * parts[0]
    for part in parts[1:]:
        total += part * part
    np.sqrt(total, out=total)
    return total


def _local(xyz: Field, centre: FloatArray, axes: FloatArray | None) -> list[Field]:
    """Coordinates about ``centre`` along the rows of ``axes``."""
    shifted = [part - np.float32(c) for part, c in zip(xyz, centre, strict=True)]
    if axes is None:
        return shifted
    rows: list[Field] = []
    for row in axes.astype(np.float32):
        along = shifted[0] * row[0]
        for part, factor in zip(shifted[1:], row[1:], strict=True):
            along += part * factor
        rows.append(along)
    return rows


def _reach(half: FloatArray, axes: FloatArray | None) -> FloatArray:
    """Half the size of the upright box around a turned one."""
    return half if axes is None else np.abs(axes.T) @ half


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """An ellipsoid (an ellipse in 2D); the rows of ``axes`` are the directions of ``radii``."""

    centre: FloatArray
    radii: FloatArray
    axes: FloatArray | None = None

    @property
    def thickness(self) -> float:
        """See ``Solid``."""
        return 2 * float(np.min(self.radii))

    def box(self) -> Box:
        """See ``Solid``."""
        turned_radii = self.radii if self.axes is None else self.axes.T * self.radii
        reach = self.radii if self.axes is None else np.sqrt((turned_radii**2).sum(axis=1))
        return self.centre - reach, self.centre + reach

    def distance(self, xyz: Field) -> Field:
        """See ``Solid``."""
        radii = np.asarray(self.radii, np.float32)
        parts = [p / r for p, r in zip(_local(xyz, self.centre, self.axes), radii, strict=True)]
        size = _norm(parts)
        slope = _norm([p / r for p, r in zip(parts, radii, strict=True)])
        slope += _TINY
        return size * (size - 1) / slope


@dataclass(frozen=True, eq=False)
class Capsule:
    """The hull of two balls: one piece of a tube, with a radius that may change along it."""

    start: FloatArray
    end: FloatArray
    radius: float
    end_radius: float

    @property
    def thickness(self) -> float:
        """See ``Solid``."""
        return 2 * min(self.radius, self.end_radius)

    def box(self) -> Box:
        """See ``Solid``."""
        low = np.minimum(self.start - self.radius, self.end - self.end_radius)
        return low, np.maximum(self.start + self.radius, self.end + self.end_radius)

    def distance(self, xyz: Field) -> Field:
        """See ``Solid``."""
        along = (self.end - self.start).astype(np.float32)
        parts = _local(xyz, self.start, None)
        where = parts[0] * along[0]
        for part, step in zip(parts[1:], along[1:], strict=True):
            where += part * step
        where /= max(float(along @ along), 1e-6)
        np.clip(where, 0, 1, out=where)
        apart = _norm([p - where * a for p, a in zip(parts, along, strict=True)])
        apart -= np.float32(self.radius)
        if self.radius != self.end_radius:
            where *= np.float32(self.end_radius - self.radius)
            apart -= where
        return apart


@dataclass(frozen=True, eq=False)
class Block:
    """A box with rounded edges; ``half`` is half its size, rounding included."""

    centre: FloatArray
    half: FloatArray
    rounding: float
    axes: FloatArray | None = None

    @property
    def thickness(self) -> float:
        """See ``Solid``."""
        return 2 * float(np.min(self.half))

    def box(self) -> Box:
        """See ``Solid``."""
        reach = _reach(self.half, self.axes)
        return self.centre - reach, self.centre + reach

    def distance(self, xyz: Field) -> Field:
        """See ``Solid``."""
        inner = (self.half - self.rounding).astype(np.float32)
        local = _local(xyz, self.centre, self.axes)
        over = [np.abs(p) - h for p, h in zip(local, inner, strict=True)]
        outside = _norm([np.maximum(o, 0) for o in over])
        deepest = over[0]
        for other in over[1:]:
            deepest = np.maximum(deepest, other)
        outside += np.minimum(deepest, 0)
        outside -= np.float32(self.rounding)
        return outside


@dataclass(frozen=True, eq=False)
class Column:
    """A trunk: an oval in x and y, endless along z where there is a z.

    ``squareness`` goes from an ellipse (0) to nearly a rectangle (1). ``taper`` is the part by
    which the radii change per mm of z.
    """

    centre: FloatArray
    radii: FloatArray
    squareness: float = 0.0
    taper: float = 0.0

    @property
    def thickness(self) -> float:
        """See ``Solid``."""
        return 2 * float(np.min(self.radii))

    def box(self) -> Box:
        """See ``Solid``."""
        reach = self.radii * (1 + _MOST_TAPER if self.taper else 1.0)
        return self.centre - reach, self.centre + reach

    def level(self, xyz: Field) -> Field:
        """0 on the axis and 1 on the surface."""
        x = (xyz[0] - np.float32(self.centre[0])) / np.float32(self.radii[0])
        y = (xyz[1] - np.float32(self.centre[1])) / np.float32(self.radii[1])
        if self.taper:
            change = np.clip(np.float32(self.taper) * xyz[2], -_MOST_TAPER, _MOST_TAPER)
            narrowing = 1 / (1 + change)
            x, y = x * narrowing, y * narrowing
        x, y = x * x, y * y
        level: Field = np.sqrt(x + y)
        if self.squareness:
            level += np.float32(self.squareness) * (np.sqrt(np.sqrt(x * x + y * y)) - level)
        return level

    def distance(self, xyz: Field) -> Field:
        """See ``Solid``."""
        level = self.level(xyz)
        radius = _norm(_local(xyz[:2], self.centre, None))
        radius -= radius / (level + _TINY)
        return radius


@dataclass(frozen=True, eq=False)
class Cut:
    """A solid without what lies in ``minus``, and only inside ``within`` and between two levels.

    ``between`` is the lowest and highest value of the last coordinate.
    """

    solid: Solid
    minus: tuple[Solid, ...] = ()
    within: tuple[Solid, ...] = ()
    between: tuple[float, float] | None = None

    @property
    def thickness(self) -> float:
        """See ``Solid``."""
        return self.solid.thickness

    def box(self) -> Box:
        """See ``Solid``."""
        low, high = (np.array(corner) for corner in self.solid.box())
        for other in self.within:
            lowest, highest = other.box()
            count = min(len(low), len(lowest))
            low[:count] = np.maximum(low[:count], lowest[:count])
            high[:count] = np.minimum(high[:count], highest[:count])
        if self.between is not None:
            if len(low) == 2:
                low, high = np.append(low, self.between[0]), np.append(high, self.between[1])
            low[-1], high[-1] = max(low[-1], self.between[0]), min(high[-1], self.between[1])
        return low, high

    def distance(self, xyz: Field) -> Field:
        """See ``Solid``."""
        distance = self.solid.distance(xyz)
        for other in self.minus:
            distance = np.maximum(distance, -other.distance(xyz))
        for other in self.within:
            distance = np.maximum(distance, other.distance(xyz))
        if self.between is not None:
            low, high = np.float32(self.between[0]), np.float32(self.between[1])
            distance = np.maximum(distance, np.maximum(low - xyz[-1], xyz[-1] - high))
        return distance


def smooth_path(points: Sequence[Sequence[float]] | FloatArray, *, step_mm: float) -> FloatArray:
    """Points ``(N, D)`` about ``step_mm`` apart on a smooth curve through the given ones."""
    from scipy.interpolate import CubicSpline

    knots = np.asarray(points, np.float64)
    lengths = np.linalg.norm(np.diff(knots, axis=0), axis=1)
    # Square-root spacing keeps the curve from overshooting where knots lie unevenly.
    where = np.concatenate([[0.0], np.cumsum(np.sqrt(lengths))])
    count = max(int(np.ceil(lengths.sum() / step_mm)), len(knots)) + 1
    sampled: FloatArray = CubicSpline(where, knots)(np.linspace(0, where[-1], count))
    return sampled


def tube(path: FloatArray, radii: float | Sequence[float] | FloatArray) -> list[Capsule]:
    """The pieces of a tube along ``path (N, D)``; ``radii`` are spread evenly along it."""
    given = np.atleast_1d(np.asarray(radii, np.float64))
    place = np.linspace(0, 1, len(path))
    at = np.interp(place, np.linspace(0, 1, len(given)), given) if len(given) > 1 else given
    at = np.broadcast_to(at, (len(path),))
    return [
        Capsule(a, b, float(r), float(s))
        for a, b, r, s in zip(path[:-1], path[1:], at[:-1], at[1:], strict=True)
    ]
