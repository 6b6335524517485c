"""Smooth outlines and strokes, and how deep inside them the pixels of a film lie.

All coordinates are film millimetres, x then y (y downwards). Depth is positive inside, so that a
thickness profile can be written as a function of it and the edge falls exactly on the curve,
between pixels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anatomark.datasets.phantoms.xray.raster import Float32, Raster, Window
from anatomark.geometry import FloatArray

_CHUNK = 1 << 16  # point × segment pairs held at once
_FINEST = 10  # samples across the narrowest side of an outline, before the cubic interpolation
_COARSEST_PX = 6
_TOLERANCE_MM = 0.04
_FEW = 50  # points of an outline that are not worth thinning
_SEGMENT_PX = 6  # segments of a stroke are cut to about this and its width
_OUTSIDE = np.float32(-1e3)


class Shape(Protocol):
    """Something that can be drawn."""

    def depth(self, raster: Raster) -> tuple[Window, Float32] | None:
        """Depth in mm of the pixels in a window around the shape; ``None`` if off the film."""


def smooth(knots: ArrayLike, *, closed: bool = False, per_knot: int = 8) -> FloatArray:
    """Curve through ``knots`` ``(N, 2)``: centripetal Catmull-Rom, which never loops.

    The knots themselves are among the points returned (every ``per_knot``-th one).
    """
    points = np.asarray(knots, np.float64)
    if closed:
        around = np.concatenate([points[-1:], points, points[:2]])
    else:
        around = np.concatenate(
            [2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]]
        )
    steps = np.sqrt(np.linalg.norm(np.diff(around, axis=0), axis=1))[:, None]
    slopes = np.diff(around, axis=0) / steps
    here = steps[1:-1]
    start, end = around[1:-2], around[2:-1]
    across = (around[2:] - around[:-2]) / (steps[:-1] + steps[1:])
    out = here * (slopes[:-2] - across[:-1] + slopes[1:-1])
    into = here * (slopes[1:-1] - across[1:] + slopes[2:])
    t = (np.arange(per_knot) / per_knot)[:, None, None]
    curve = (
        (2 * t**3 - 3 * t**2 + 1) * start
        + (t**3 - 2 * t**2 + t) * out
        + (3 * t**2 - 2 * t**3) * end
        + (t**3 - t**2) * into
    )
    flat = curve.transpose(1, 0, 2).reshape(-1, 2)
    return flat if closed else np.concatenate([flat, points[-1:]])


def xy(x: float, y: float) -> FloatArray:
    """A point or a step ``(2,)``."""
    return np.array([x, y], np.float64)


def rotation(degrees: float) -> FloatArray:
    """Matrix ``(2, 2)`` that turns clockwise on the film (x right, y down)."""
    turn = np.deg2rad(degrees)
    return np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])


def ellipse(centre: ArrayLike, half_x: float, half_y: float) -> FloatArray:
    """A closed, dense ellipse ``(N, 2)``."""
    angles = np.arange(40) * np.pi / 20
    around = np.stack([half_x * np.cos(angles), half_y * np.sin(angles)], axis=1)
    return np.asarray(centre, np.float64) + around


@dataclass(frozen=True, eq=False)
class Outline:
    """A closed curve, given as a dense polygon ``(N, 2)``."""

    points: FloatArray

    def depth(self, raster: Raster) -> tuple[Window, Float32] | None:
        """Distance to the polygon, negative outside; smooth, so sampled coarsely first."""
        low, high = self.points.min(axis=0), self.points.max(axis=0)
        window = raster.window(low, high)
        if window is None:
            return None
        finest = (high - low).min() / raster.pixel_mm / _FINEST
        step = np.clip(finest, 1, _COARSEST_PX)
        return window, raster.sample(self.distance, window, step_px=step)

    def distance(self, xs: FloatArray, ys: FloatArray) -> Float32:
        """Depth ``(len(ys), len(xs))`` at a grid of points, exact."""
        points = _thinned(self.points)
        start, end = points, np.roll(points, -1, axis=0)
        away = np.sqrt(_nearest(start, end, xs, ys))
        return np.where(self._inside(xs, ys), away, -away)

    def _inside(self, xs: FloatArray, ys: FloatArray) -> NDArray[np.bool_]:
        """Even-odd rule: count, row by row, the crossings to the left of each point."""
        start, end = self.points, np.roll(self.points, -1, axis=0)
        row, edge = np.nonzero((start[:, 1] > ys[:, None]) != (end[:, 1] > ys[:, None]))
        a, b = start[edge], end[edge]
        cross = a[:, 0] + (ys[row] - a[:, 1]) * (b[:, 0] - a[:, 0]) / (b[:, 1] - a[:, 1])
        counts = np.zeros((len(ys), len(xs) + 1), np.int64)
        np.add.at(counts, (row, np.searchsorted(xs, cross)), 1)
        inside: NDArray[np.bool_] = np.cumsum(counts[:, :-1], axis=1) % 2 == 1
        return inside


def _thinned(points: FloatArray) -> FloatArray:
    """Leave out every second point of a polygon where that moves it by less than the tolerance."""
    for _ in range(2 if len(points) > _FEW else 0):
        before, after = np.roll(points, 1, axis=0), np.roll(points, -1, axis=0)
        off = np.linalg.norm(points - (before + after) / 2, axis=1)
        points = points[~((off < _TOLERANCE_MM) & (np.arange(len(points)) % 2 == 1))]
    return points


def _nearest(start: FloatArray, end: FloatArray, xs: FloatArray, ys: FloatArray) -> Float32:
    """Squared distance of a grid of points to the nearest segment, some rows at a time."""
    a, along = start.astype(np.float32), (end - start).astype(np.float32)
    inverse = np.float32(1) / np.maximum((along**2).sum(1), np.float32(1e-12))
    x = xs.astype(np.float32)[None, :, None] - a[:, 0]
    rows = max(1, _CHUNK // max(1, x.size))
    found = []
    for first in range(0, len(ys), rows):
        y = ys[first : first + rows].astype(np.float32)[:, None, None] - a[:, 1]
        t = np.clip((x * along[:, 0] + y * along[:, 1]) * inverse, 0, 1)
        squared = (x - t * along[:, 0]) ** 2 + (y - t * along[:, 1]) ** 2
        found.append(squared.min(axis=-1))
    return np.concatenate(found)


@dataclass(frozen=True, eq=False)
class Stroke:
    """Segments with a half width at each end: a rib, a vessel, a cortical line, a row of teeth.

    ``start`` and ``end`` are ``(S, 2)``, ``half_widths`` ``(S, 2)``.
    """

    start: FloatArray
    end: FloatArray
    half_widths: FloatArray

    @classmethod
    def of(cls, points: ArrayLike, half_width: ArrayLike) -> Stroke:
        """A line ``(N, 2)``; half widths are spread evenly over it (one, or first to last)."""
        line, spread = np.asarray(points, np.float64), np.atleast_1d(np.asarray(half_width, float))
        if len(spread) != len(line):
            places = np.linspace(0, len(spread) - 1, len(line))
            spread = np.interp(places, np.arange(len(spread)), spread)
        return cls(line[:-1], line[1:], np.stack([spread[:-1], spread[1:]], axis=1))

    @classmethod
    def joined(cls, strokes: Iterable[Stroke]) -> Stroke:
        """Several strokes drawn as one: where they cross, the deeper counts."""
        parts = list(strokes)
        return cls(
            np.concatenate([p.start for p in parts]),
            np.concatenate([p.end for p in parts]),
            np.concatenate([p.half_widths for p in parts]),
        )

    def depth(self, raster: Raster) -> tuple[Window, Float32] | None:
        """Half width minus distance, the largest over all segments; only near them."""
        near = self._split(2 * self.half_widths.max() + _SEGMENT_PX * raster.pixel_mm.max())
        reach = near.half_widths.max(axis=1, keepdims=True)
        low = np.minimum(near.start, near.end) - reach
        high = np.maximum(near.start, near.end) + reach
        window = raster.window(low.min(axis=0), high.max(axis=0))
        if window is None:
            return None
        rows, columns = (np.arange(part.start, part.stop) for part in window)
        found = np.full((len(rows), len(columns)), _OUTSIDE, np.float32)
        corner = np.floor(low / raster.pixel_mm - 0.5).astype(np.int64)
        count = np.ceil((high - low) / raster.pixel_mm).max(axis=0).astype(int) + 2
        x = corner[:, :1, None] + np.arange(count[0])
        y = corner[:, 1:, None] + np.arange(count[1])[:, None]
        depth = near._depth_at((x + 0.5) * raster.pixel_mm[0], (y + 0.5) * raster.pixel_mm[1])
        x, y = x - columns[0], y - rows[0]
        here = (depth > 0) & (x >= 0) & (x < len(columns)) & (y >= 0) & (y < len(rows))
        np.maximum.at(found.reshape(-1), (y * len(columns) + x)[here], depth[here])
        return window, found

    def _split(self, longest_mm: float) -> Stroke:
        """Cut the segments so that the patch of pixels round each is small."""
        along = self.end - self.start
        parts = max(1, int(np.ceil(np.linalg.norm(along, axis=1).max() / longest_mm)))
        cuts = np.arange(parts + 1)[:, None, None] / parts
        points = self.start + cuts * along
        widths = self.half_widths[:, 0] + cuts[..., 0] * np.diff(self.half_widths, axis=1)[:, 0]
        ends = np.stack([widths[:-1], widths[1:]], axis=-1)
        return Stroke(points[:-1].reshape(-1, 2), points[1:].reshape(-1, 2), ends.reshape(-1, 2))

    def _depth_at(self, x: FloatArray, y: FloatArray) -> Float32:
        """Depth at points that broadcast against the segments ``(S, 1, 1)``."""
        start, along, half = (
            values.astype(np.float32)[:, :, None, None]
            for values in (self.start, self.end - self.start, self.half_widths)
        )
        right, down = x.astype(np.float32) - start[:, 0], y.astype(np.float32) - start[:, 1]
        squared = np.maximum((along**2).sum(axis=1), np.float32(1e-12))
        t = np.clip((right * along[:, 0] + down * along[:, 1]) / squared, 0, 1)
        away = np.hypot(right - t * along[:, 0], down - t * along[:, 1])
        depth: Float32 = half[:, 0] + t * (half[:, 1] - half[:, 0]) - away
        return depth

    def distance(self, xs: FloatArray, ys: FloatArray) -> Float32:
        """Depth ``(len(ys), len(xs))`` of every point of a grid, far ones too."""
        deepest: Float32 = self._depth_at(xs[None, None, :], ys[None, :, None]).max(axis=0)
        return deepest


@dataclass(frozen=True, eq=False)
class Union:
    """Shapes melted into one; ``melt`` mm rounds the corners between them."""

    shapes: tuple[Outline | Stroke, ...]
    melt: float
    step_mm: float = 1.2

    def depth(self, raster: Raster) -> tuple[Window, Float32] | None:
        """Soft maximum of the depths, anywhere on the film."""
        everything = slice(0, raster.shape[0]), slice(0, raster.shape[1])
        step = np.maximum(self.step_mm / raster.pixel_mm, 1)
        return everything, raster.sample(self.distance, everything, step_px=step)

    def distance(self, xs: FloatArray, ys: FloatArray) -> Float32:
        """Depth ``(len(ys), len(xs))`` at a grid of points."""
        depths = np.stack([shape.distance(xs, ys) for shape in self.shapes])
        highest = depths.max(axis=0)
        total = np.exp((depths - highest) / np.float32(self.melt)).sum(axis=0)
        melted: Float32 = highest + np.float32(self.melt) * np.log(total)
        return melted
