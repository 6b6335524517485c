"""``Canvas``: where the solids of a CT phantom become voxels.

Solids are drawn in the frame of one standard body. A ``BodyFrame`` says where that body lies in
the world and how this patient differs from it, smoothly. Everything is in mm and knows nothing of
voxels, so that the same patient comes out at every resolution.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from anatomark.datasets.phantoms.ct.solids import Box, Capsule, Field, Solid
from anatomark.datasets.phantoms.ct.tubes import Window, covers
from anatomark.datasets.phantoms.texture import soft_inside
from anatomark.geometry import FloatArray, Grid

Grain = tuple[Field, float]

_SLAB_VOXELS = 1 << 16
_SMALL_WINDOW = 1 << 14
_BATCHED_WINDOW = 1 << 13
_LATTICE_MM = 6.0
_OUTSIDE_MM = 1e4
_FIXED_POINT_STEPS = 60


class Coat(NamedTuple):
    """One layer of paint: its HU, how far over the surface it goes, how rough it is."""

    hu: float
    grow: float = 0.0
    grain: float = 0.0


@dataclass(frozen=True)
class Ripple:
    """A smooth displacement, a sum of sines: known exactly at every point.

    ``waves (K, D)`` in rad/mm, ``phases (K,)``, ``amplitudes_mm (K, D)``.
    """

    waves: FloatArray
    phases: FloatArray
    amplitudes_mm: FloatArray

    def __call__(self, points: FloatArray) -> FloatArray:
        """Displacement in mm at points ``(..., D)``."""
        moved: FloatArray = np.sin(points @ self.waves.T + self.phases) @ self.amplitudes_mm
        return moved

    def slope(self, points: FloatArray) -> FloatArray:
        """Derivative ``(N, D, D)`` of the displacement at points ``(N, D)``."""
        rates = np.cos(points @ self.waves.T + self.phases)
        slopes: FloatArray = np.einsum("nk,ki,kj->nij", rates, self.amplitudes_mm, self.waves)
        return slopes

    def curvature(self, points: FloatArray) -> FloatArray:
        """The largest second derivative ``(D,)`` of the displacement at points, per mm."""
        heights = np.sin(points @ self.waves.T + self.phases)
        bends = (
            self.amplitudes_mm[:, :, None, None]
            * (self.waves[:, None, :, None] * self.waves[:, None, None, :])[:, :1]
        )
        sizes = np.linalg.norm(np.tensordot(heights, bends, axes=1), axis=(2, 3))
        largest: FloatArray = sizes.max(axis=0)
        return largest


def draw_ripple(
    rng: np.random.Generator,
    *,
    dimension: int,
    amplitude_mm: float,
    wavelengths_mm: tuple[float, float],
) -> Ripple:
    """Draw eight waves; ``amplitude_mm`` is the root mean square displacement along an axis.

    The shortest wavelength must be at least ten times the amplitude, or the body could fold.
    """
    count = 8
    directions = rng.normal(size=(count, dimension))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    lengths = rng.uniform(*wavelengths_mm, (count, 1))
    amplitudes = rng.normal(size=(count, dimension))
    amplitudes *= amplitude_mm * np.sqrt(2) / np.linalg.norm(amplitudes, axis=0)
    return Ripple(2 * np.pi / lengths * directions, rng.uniform(0, 2 * np.pi, count), amplitudes)


@dataclass(frozen=True)
class BodyFrame:
    """From world points to the standard body: ``q = linear @ (p - origin)``, then ``+ ripple``."""

    origin: FloatArray
    linear: FloatArray
    ripple: Ripple

    def to_body(self, points_mm: FloatArray) -> FloatArray:
        """Standard-body coordinates ``(N, D)`` of world points ``(N, D)`` LPS mm."""
        upright: FloatArray = (points_mm - self.origin) @ self.linear.T
        return upright + self.ripple(upright)

    def upright(self, points: FloatArray, *, steps: int = 8) -> FloatArray:
        """Undo the ripple; every step brings standard-body coordinates ``(N, D)`` closer."""
        upright = np.array(points, np.float64)
        for _ in range(steps):
            upright = points - self.ripple(upright)
        return upright

    def to_world(self, points: FloatArray) -> FloatArray:
        """World points ``(N, D)`` LPS mm of standard-body coordinates ``(N, D)``."""
        upright = self.upright(points, steps=_FIXED_POINT_STEPS)
        world: FloatArray = upright @ np.linalg.inv(self.linear).T + self.origin
        return world


class Canvas:
    """Voxel values in HU that solids are painted into, one over the other."""

    def __init__(self, grid: Grid, frame: BodyFrame, *, background: float, blur_mm: float) -> None:
        self.grid = grid
        self.frame = frame
        self.values: Field = np.full(grid.shape, background, np.float32)
        self.xyz = body_coordinates(grid, frame)
        #: Width of an edge: the scanner's blur, or the voxel where that is larger.
        self.edge_mm = max(blur_mm, float(np.prod(grid.spacing)) ** (1 / grid.dimension))
        self._numbers = np.arange(self.values.size).reshape(grid.shape)
        self._to_body = frame.linear @ grid.index_to_world_matrix
        self._to_body_reach = 1.3 * np.abs(self._to_body).sum(axis=1)
        self._to_index = np.linalg.inv(self._to_body)
        self._zero = grid.to_index(frame.origin[None])[0]
        corners = (grid.corners() - frame.origin) @ frame.linear.T
        places = _lattice_points(grid, frame).reshape(-1, grid.dimension)
        bends = frame.ripple(places)
        self._curvature = 1.1 * frame.ripple.curvature(places[::3])
        lowest, highest = bends.min(axis=0) - 1, bends.max(axis=0) + 1
        self._seen = corners.min(axis=0) + lowest, corners.max(axis=0) + highest
        self._bend_mm = np.ptp(bends, axis=0) + 0.5

    # -- where -----------------------------------------------------------------------------------

    def windows(self, boxes: Sequence[Box], *, grow: float = 0.0) -> list[Window | None]:
        """Slices (array order) of the voxels that each box of the body can touch, if any."""
        if not boxes:
            return []
        low, high = (np.stack(corners) for corners in zip(*boxes, strict=True))
        if low.shape[1] < self.grid.dimension:  # a trunk has no ends
            low = np.pad(low, ((0, 0), (0, 1)), constant_values=-np.inf)
            high = np.pad(high, ((0, 0), (0, 1)), constant_values=np.inf)
        low, high = np.maximum(low, self._seen[0]), np.minimum(high, self._seen[1])
        half = np.maximum(high - low, 0) / 2 + grow + 0.6 * self.edge_mm
        centre = self.frame.upright((low + high) / 2)
        # The ripple tilts and bends the box: the slope in its middle is known, the bend bounded.
        slopes = np.eye(self.grid.dimension) + self.frame.ripple.slope(centre)
        unbend = np.linalg.inv(slopes)
        size = np.linalg.norm(np.abs(unbend) @ half[:, :, None], axis=1)
        curved = half + self._curvature * size**2 / 2
        local = (np.abs(self._to_index @ unbend) @ curved[:, :, None])[:, :, 0]
        anywhere = (half + self._bend_mm) @ np.abs(self._to_index).T
        middle = centre @ self._to_index.T + self._zero
        reach = np.minimum(local, anywhere)
        first = np.clip(np.ceil(middle - reach), 0, self.grid.size_xyz).astype(int)
        last = np.clip(np.floor(middle + reach) + 1, 0, self.grid.size_xyz).astype(int)
        volumes = np.maximum(last - first, 0).prod(axis=1)
        found: list[Window | None] = [None] * len(boxes)
        margin = grow + 0.6 * self.edge_mm
        for row in np.flatnonzero(volumes).tolist():
            here = tuple(map(slice, first[row].tolist(), last[row].tolist()))[::-1]
            found[row] = here
            if volumes[row] > _SMALL_WINDOW:
                step = 4 if volumes[row] > 8 * _SMALL_WINDOW else 2
                found[row] = self._tighter(here, step, low[row] - margin, high[row] + margin)
        return found

    def _tighter(self, here: Window, step: int, low: FloatArray, high: FloatArray) -> Window | None:
        """Cut from a window what lies outside the box, judged by one voxel in every ``step``."""
        some = self.xyz[(slice(None), *(slice(p.start, p.stop, step) for p in here))]
        slack = (
            step * self._to_body_reach
        )  # a voxel in the box is less than a step from one of these
        inside = np.ones(some.shape[1:], bool)
        for part, least, most in zip(some, low - slack, high + slack, strict=True):
            inside &= (part > least) & (part < most)
        kept = []
        for axis, part in enumerate(here):
            hit = np.flatnonzero(inside.any(axis=tuple(a for a in range(inside.ndim) if a != axis)))
            if not len(hit):
                return None
            last = part.start + step * (int(hit[-1]) + 1)
            kept.append(slice(part.start + step * int(hit[0]), min(last, part.stop)))
        return tuple(kept)

    def window(self, solid: Solid) -> Window | None:
        """Slices of the voxels that one solid can touch, if any."""
        return self.windows([solid.box()])[0]

    @staticmethod
    def _slabs(here: Window) -> Iterator[Window]:
        """Thin slabs of a window, small enough to stay in the processor's cache."""
        thick = max(_SLAB_VOXELS // _volume(here[1:]), 1)
        for start in range(here[0].start, here[0].stop, thick):
            yield slice(start, min(start + thick, here[0].stop)), *here[1:]

    def distance(self, solid: Solid) -> Field:
        """Distance in mm to a solid, at every voxel; for what is asked more than once."""
        distance = np.full(self.grid.shape, _OUTSIDE_MM, np.float32)
        here = self.window(solid)
        for slab in self._slabs(here) if here else ():
            distance[slab] = solid.distance(self.xyz[(slice(None), *slab)])
        return distance

    def cover(self, distance: Field, *, thickness: float = np.inf) -> Field:
        """The part (0…1) of each voxel that is inside, from its distance to the surface."""
        part: Field = soft_inside(distance, self.edge_mm)
        if thickness < self.edge_mm:
            part *= np.float32(max(thickness, 0.0) / self.edge_mm)
        return part

    # -- painting --------------------------------------------------------------------------------

    def paint(
        self,
        solids: Solid | Sequence[Solid],
        hu: float,
        *,
        grow: float = 0.0,
        grain: Grain | None = None,
        within: Field | None = None,
    ) -> None:
        """Fill solids, ``grow`` mm thicker than they are, with ``hu``.

        ``grain`` is a field over the whole canvas and the HU that one unit of it adds. ``within``
        is a distance as from ``distance``: nothing is painted where it is positive.
        """
        given = solids if isinstance(solids, Sequence) else [solids]
        windows = self.windows([solid.box() for solid in given], grow=grow)
        small: list[tuple[Capsule, Window]] = []
        large: list[tuple[Solid, Window]] = []
        for solid, here in zip(given, windows, strict=True):
            if here is None:
                continue
            if isinstance(solid, Capsule) and within is None and _volume(here) < _BATCHED_WINDOW:
                small.append((solid, here))
            else:
                large.append((solid, here))
        self._paint_small(small, hu, grow, grain)
        for solid, here in large:
            thickness = solid.thickness + 2 * grow
            for slab in self._slabs(here):
                distance = solid.distance(self.xyz[(slice(None), *slab)])
                distance -= np.float32(grow)
                if within is not None:
                    np.maximum(distance, within[slab], out=distance)
                self._blend(slab, self.cover(distance, thickness=thickness), hu, grain)

    def _paint_small(
        self, pieces: list[tuple[Capsule, Window]], hu: float, grow: float, grain: Grain | None
    ) -> None:
        if not pieces:
            return
        values = self.values.reshape(-1)
        for flat, part in covers(self.xyz, self._numbers, pieces, grow=grow, edge_mm=self.edge_mm):
            old = values[flat]
            change = np.float32(hu) - old
            if grain is not None:
                change += grain[0].reshape(-1)[flat] * np.float32(grain[1])
            values[flat] = old + part * change

    def coat(self, solids: Sequence[Solid], *coats: Coat, texture: Field | None = None) -> None:
        """Fill the union of solids several times: its wall first, say, and then what flows in it.

        The ``grain`` of a coat is the HU that one unit of ``texture`` adds.
        """
        most = max(coat.grow for coat in coats)
        windows = self.windows([solid.box() for solid in solids], grow=most)
        touched = [(s, w) for s, w in zip(solids, windows, strict=True) if w is not None]
        if not touched:
            return
        around = _hull([window for _, window in touched])
        distance = np.full([part.stop - part.start for part in around], _OUTSIDE_MM, np.float32)
        for solid, here in touched:
            for slab in self._slabs(here):
                inner = distance[_seen_from(around, slab)]
                np.minimum(inner, solid.distance(self.xyz[(slice(None), *slab)]), out=inner)
        thickness = float(np.median([solid.thickness for solid, _ in touched]))
        for slab in self._slabs(around):
            inner = distance[_seen_from(around, slab)]
            if inner.min() > most + self.edge_mm / 2:
                continue
            for coat in coats:
                grown = inner - np.float32(coat.grow)
                part = self.cover(grown, thickness=thickness + 2 * coat.grow)
                self._blend(slab, part, coat.hu, None if texture is None else (texture, coat.grain))

    def fill(self, distance: Field, hu: float, *, grain: Grain | None = None) -> None:
        """Fill where a distance over the whole canvas is negative."""
        for slab in self._slabs(tuple(slice(0, n) for n in self.grid.shape)):
            if distance[slab].min() < self.edge_mm / 2:
                self._blend(slab, self.cover(distance[slab]), hu, grain)

    def _blend(self, here: Window, part: Field, hu: float, grain: Grain | None) -> None:
        target = self.values[here]
        change = np.float32(hu) - target
        if grain is not None and grain[1]:
            change += grain[0][here] * np.float32(grain[1])
        part *= change
        target += part


def _volume(window: Window) -> int:
    return math.prod(part.stop - part.start for part in window)


def _hull(windows: Sequence[Window]) -> Window:
    """The smallest window around all."""
    return tuple(
        slice(min(part.start for part in parts), max(part.stop for part in parts))
        for parts in zip(*windows, strict=True)
    )


def _seen_from(outer: Window, inner: Window) -> Window:
    """The same voxels, counted from the start of the outer window."""
    return tuple(
        slice(i.start - o.start, i.stop - o.start) for o, i in zip(outer, inner, strict=True)
    )


def spread(lattice: Field, shape: tuple[int, ...]) -> Field:
    """Values on a coarse lattice over the same outer box, interpolated linearly to ``shape``."""
    values = lattice
    # Last axis first: gathering along it is the slowest, and the array is still small.
    for axis in reversed(range(lattice.ndim)):
        count, wanted = lattice.shape[axis], shape[axis]
        if count == 1:
            values = np.repeat(values, wanted, axis=axis)
            continue
        where = (np.arange(wanted) + 0.5) * count / wanted - 0.5
        first = np.clip(np.floor(where), 0, count - 2).astype(int)
        weight = (where - first).astype(np.float32)
        weight = weight.reshape([-1 if a == axis else 1 for a in range(values.ndim)])
        step = np.diff(values, axis=axis)
        steps = np.take(step, first, axis)
        steps *= weight
        values = np.take(values, first, axis)
        values += steps
    return values


def lattice_shape(grid: Grid, spacing_mm: float) -> tuple[int, ...]:
    """Points of a lattice that fills the box of ``grid``, whatever its number of voxels."""
    return tuple(max(round(e / spacing_mm), 2) for e in grid.extent[::-1])


def _lattice_points(grid: Grid, frame: BodyFrame) -> FloatArray:
    """Body coordinates before the ripple, on a coarse lattice over the grid's box."""
    coarse = grid.resized(lattice_shape(grid, _LATTICE_MM))
    ticks = [np.arange(count, dtype=np.float64) for count in coarse.shape]
    index = np.stack(np.meshgrid(*ticks, indexing="ij")[::-1], axis=-1)
    upright: FloatArray = (coarse.to_world(index) - frame.origin) @ frame.linear.T
    return upright


def body_coordinates(grid: Grid, frame: BodyFrame) -> Field:
    """Standard-body coordinates ``(D, *shape)`` of all voxel centres."""
    places = _lattice_points(grid, frame)
    # The straight part comes through the interpolation unchanged, the ripple nearly so.
    places += frame.ripple(places)
    xyz = np.empty((grid.dimension, *grid.shape), np.float32)
    for row, coordinate in enumerate(np.moveaxis(places.astype(np.float32), -1, 0)):
        xyz[row] = spread(np.ascontiguousarray(coordinate), grid.shape)
    return xyz
