"""``Gland``: a statistical shape of the prostate, with its three landmarks.

The gland lives in a body frame of its own, in mm: x to the left, y posterior, z superior, with the
middle between apex and base at z = 0. Every cross-section is an oval about a curved axis; the ovals
shrink to a tip at the apex and end bluntly at the base. A furrow marks the posterior midline.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anatomark.geometry import FloatArray

LANDMARK_NAMES = ("apex", "bladder_neck", "posterior_median")

_TINY = 1e-3
_SECTIONS = 15  # each to an eighth: to 1e-12 mm


@dataclass(frozen=True)
class Gland:
    """Parameters of the shape. Lengths in mm, the others are parts of the gland's own size.

    ``half`` is half the width (x), depth (y) and length (z).
    """

    half: tuple[float, float, float]
    apex_power: float  # small: pointed
    base_power: float  # large: blunt
    widening: tuple[float, float]  # of x and y, from the middle to the base
    taper: tuple[float, float]  # of x and y, from the middle to the apex
    lean: tuple[float, float]  # mm of x and y that the axis moves from the middle to the base
    bow: tuple[float, float]  # mm that the axis bends away at both ends
    lobes: tuple[float, float, float, float]
    furrow: float
    furrow_mm: float
    urethra_lean: float  # how far forward, in half depths, the urethra enters at the base

    @property
    def thickness(self) -> float:
        """Smallest width in mm."""
        return 2 * min(self.half)

    def box(self) -> tuple[FloatArray, FloatArray]:
        """Lowest and highest corner ``(3,)`` of a box around the gland, body frame mm."""
        reach = np.array(self.half) * [1.35, 1.35, 1.0] + [*np.abs(self.lean), 0.0]
        reach[:2] += np.abs(self.bow)
        return -reach, reach

    # -- surface ---------------------------------------------------------------------------------

    def axis(self, height: Any) -> tuple[Any, Any]:
        """Place x, y in mm of the gland's axis at a ``height`` of -1 (apex) … 1 (base)."""
        square = height * height
        return (
            self.lean[0] * height + self.bow[0] * square,
            self.lean[1] * height + self.bow[1] * square,
        )

    def level(self, xyz: NDArray[Any]) -> NDArray[Any]:
        """0 in the middle, 1 on the surface, for body coordinates ``(3, ...)`` in mm."""
        return self._measure(xyz)[0]

    def distance(self, xyz: NDArray[Any]) -> NDArray[Any]:
        """Distance in mm to the surface, negative inside; roughly right far from it."""
        level, slope = self._measure(xyz)
        distance: NDArray[Any] = level * (level - 1) / slope
        return distance

    def _measure(self, xyz: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Level, and level times its steepness per mm."""
        s = xyz[2] / self.half[2]
        t = np.clip(s, -1.25, 1.25)
        below = np.square(np.maximum(-t, 0))
        axis_x, axis_y = self.axis(t)
        wide = self.half[0] * np.maximum(1 + self.widening[0] * t - self.taper[0] * below, 0.25)
        deep = self.half[1] * np.maximum(1 + self.widening[1] * t - self.taper[1] * below, 0.25)
        across = xyz[0] - axis_x
        u = across / wide
        v = (xyz[1] - axis_y) / deep
        bulge = 1 + self._bulge(u, v, t, across)
        u, v = u / bulge, v / bulge
        length = np.abs(s) + _TINY
        power = np.where(s < 0, *np.array([self.apex_power, self.base_power], s.dtype))
        along = np.power(length, power)
        level = np.sqrt(u * u + v * v + along)
        u, v = u / wide, v / deep
        along *= 0.5 * power / (self.half[2] * length)
        return level, np.sqrt(u * u + v * v + along * along) + _TINY * _TINY

    def _bulge(
        self, u: NDArray[Any], v: NDArray[Any], t: NDArray[Any], across: NDArray[Any]
    ) -> NDArray[Any]:
        """How far the section stands out of an oval, as a part of its radius."""
        uu, vv = u * u, v * v
        total = uu + vv + _TINY
        square, skew, third, tilt = self.lobes
        swell: NDArray[Any] = (square * (uu - vv) + (skew + tilt * t) * (2 * u * v)) / total
        swell += third * u * (uu - 3 * vv) / (total * np.sqrt(total))
        behind = np.square(np.maximum(v, 0)) / total
        swell -= self.furrow * behind * np.exp(-np.square(across / self.furrow_mm))
        return swell

    # -- landmarks -------------------------------------------------------------------------------

    def urethra(self, height: Any) -> tuple[Any, Any]:
        """Place x, y in mm of the urethra at a ``height`` of -1 (apex) … 1 (base)."""
        x, y = self.axis(height)
        return x, y - self.urethra_lean * self.half[1] * np.square((height + 1) / 2)

    def urethra_path(self, heights: FloatArray) -> FloatArray:
        """Points ``(N, 3)`` on the urethra, body frame mm."""
        x, y = self.urethra(heights)
        return np.stack([x, y, heights * self.half[2]], axis=1)

    @cached_property
    def landmarks(self) -> FloatArray:
        """``(3, 3)`` body frame mm, in the order of ``LANDMARK_NAMES``.

        The apex is the lower tip, where the urethra leaves; the bladder neck is where it enters
        at the base; the posterior median is the point of the posterior surface on the midline,
        half way between apex and base.
        """
        low, high = np.zeros(3), np.ones(3)
        for _ in range(_SECTIONS):
            parts = np.linspace(low, high, 9)
            inside = self.level(np.moveaxis(self._rays(parts), -1, 0)) < 1
            last = np.minimum(inside.sum(axis=0) - 1, 7)  # a ray leaves the gland once
            low, high = parts[last, range(3)], parts[last + 1, range(3)]
        landmarks: FloatArray = self._rays((low + high)[None] / 2)[0]
        return landmarks

    def _rays(self, parts: FloatArray) -> FloatArray:
        """Points ``(N, 3, 3)`` at ``parts (N, 3)`` of the way to beyond each landmark."""
        points = np.empty((*parts.shape, 3))
        for column, end in enumerate((-1.05, 1.05)):  # along the urethra, down and up
            points[:, column] = self.urethra_path(end * parts[:, column])
        x, y = self.axis(0.0)
        back = 2 * self.half[1] * parts[:, 2]
        points[:, 2] = np.stack([np.full_like(back, x), y + back, np.zeros_like(back)], axis=1)
        return points

    def inner_points(self, rng: np.random.Generator, count: int) -> FloatArray:
        """Random points ``(count, 3)`` inside the gland, body frame mm."""
        low, high = self.box()
        found = np.empty((0, 3))
        while len(found) < count:
            points = rng.uniform(low, high, (4 * count, 3))
            found = np.concatenate([found, points[self.level(points.T) < 1]])
        return found[:count]


def draw_gland(rng: np.random.Generator) -> Gland:
    """Draw a gland of about 15 to 120 ml; a larger one is deeper, as with benign growth."""
    size = float(np.clip(np.exp(rng.normal(0.0, 0.13)), 0.75, 1.35))

    def about(middle: float, spread: float) -> float:
        return float(rng.uniform(middle - spread, middle + spread))

    half = (
        25.5 * size * about(1.0, 0.09),
        18.0 * size**1.4 * about(1.0, 0.12),
        22.0 * size * about(1.0, 0.13),
    )
    return Gland(
        half=half,
        apex_power=about(1.6, 0.2),
        base_power=about(2.8, 0.6),
        widening=(about(0.10, 0.10), about(0.05, 0.10)),
        taper=(about(0.50, 0.08), about(0.42, 0.10)),
        lean=(about(0.0, 1.0), about(2.0, 2.5)),
        bow=(about(0.0, 0.7), about(0.0, 1.5)),
        lobes=(about(0.02, 0.04), about(0.0, 0.04), about(0.0, 0.03), about(0.0, 0.04)),
        furrow=about(0.10, 0.05),
        furrow_mm=about(5.5, 1.5),
        urethra_lean=about(0.35, 0.12),
    )
