"""The aortic root of the thorax phantom: sinuses, valve leaflets, and the eight landmarks on them.

Heights are mm along the root's axis above the valve's ring, angles go around it from the middle of
the right sinus through the left one (+120°) to the non-coronary one (+240°).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from anatomark.datasets.phantoms.ct.solids import Box, Field, unit
from anatomark.geometry import FloatArray

#: The landmarks of Noothout et al. 2020, in the order of their Table I.
THORAX_LANDMARKS = (
    "commissure_noncoronary_right",
    "commissure_noncoronary_left",
    "commissure_left_right",
    "hinge_left",
    "hinge_noncoronary",
    "hinge_right",
    "ostium_right",
    "ostium_left",
)

_RIGHT, _LEFT, _NON = range(3)
_BELOW_MM = 9.0  # how far the drawn root reaches down into the outflow tract
_LEAFLET_MM = 1.1


@dataclass(frozen=True)
class Root:
    """Shape of one aortic root; arrays of three are right, left, non-coronary.

    ``cusp_angles`` in rad ascending, ``commissure_angles`` those after each cusp. ``ostia`` holds
    angle and height of the right and the left ostium.
    """

    origin: FloatArray
    axes: FloatArray
    annulus_mm: float
    junction_mm: float
    ovalness: float
    bulge_mm: FloatArray
    junction_height_mm: float
    cusp_angles: FloatArray
    commissure_angles: FloatArray
    hinge_heights_mm: FloatArray
    commissure_heights_mm: FloatArray
    coaptation_mm: float
    ostia: FloatArray

    # -- the wall --------------------------------------------------------------------------------

    @cached_property
    def _phase_table(self) -> tuple[FloatArray, FloatArray]:
        """Angles and phases: whole numbers at the cusps, halves at the commissures."""
        angles = np.stack([self.cusp_angles, self.commissure_angles], axis=1).ravel()
        phases = np.arange(6) / 2
        turn = 2 * np.pi
        return (
            np.concatenate([angles - turn, angles, angles + turn]),
            np.concatenate([phases - 3, phases, phases + 3]),
        )

    def phase(self, angle: Field | FloatArray) -> Field | FloatArray:
        """Cusp number (0, 1, 2) at the middle of a cusp, half-way between at a commissure."""
        phase = np.interp(angle, *self._phase_table)
        return (phase % 3).astype(np.asarray(angle).dtype)

    def _cusp(self, phase: Field | FloatArray) -> tuple[NDArray[np.intp], Field | FloatArray]:
        """The cusp that a phase belongs to, and how far aside of its middle (-1…1) it is."""
        nearest = np.rint(phase)
        return nearest.astype(np.intp) % 3, 2 * (phase - nearest)

    def wall(
        self,
        angle: Field | FloatArray,
        height: Field | FloatArray,
        phase: Field | FloatArray | None = None,
    ) -> Field | FloatArray:
        """Radius in mm of the inner wall."""
        cusp, aside = self._cusp(self.phase(angle) if phase is None else phase)
        up = np.clip(height / self.junction_height_mm, 0, 1)
        round_part = self.annulus_mm + (self.junction_mm - self.annulus_mm) * up
        oval = 1 + self.ovalness * np.cos(2 * angle) * (1 - up)
        lobe = np.cos(np.pi / 2 * aside) ** 2 * np.sin(np.pi * (0.8 * up + 0.2 * np.sqrt(up)))
        wall: FloatArray = round_part * oval + self.bulge_mm[cusp].astype(up.dtype) * lobe
        return wall

    # -- points ----------------------------------------------------------------------------------

    def on_wall(self, angle: float, height: float, *, outwards_mm: float = 0.0) -> FloatArray:
        """The point ``(3,)`` of the wall there, in body coordinates."""
        radius = float(self.wall(np.array(angle), np.array(height))) + outwards_mm
        local = np.array([radius * np.cos(angle), radius * np.sin(angle), height])
        point: FloatArray = self.origin + local @ self.axes
        return point

    def ostium(self, side: str, *, outwards_mm: float = 0.0) -> FloatArray:
        """The mouth of the ``right`` or ``left`` coronary artery, or a point farther out."""
        angle, height = self.ostia[("right", "left").index(side)]
        return self.on_wall(float(angle), float(height), outwards_mm=outwards_mm)

    @property
    def right_from_left_sinus(self) -> bool:
        """Whether the right coronary artery leaves the left sinus, a rare deviation."""
        return int(np.rint(self.phase(self.ostia[:1, 0]))[0]) % 3 == _LEFT

    def landmarks(self) -> FloatArray:
        """Body coordinates ``(8, 3)`` in the order of ``THORAX_LANDMARKS``."""
        tops = list(zip(self.commissure_angles, self.commissure_heights_mm, strict=True))
        lows = list(zip(self.cusp_angles, self.hinge_heights_mm, strict=True))
        places = [tops[_NON], tops[_LEFT], tops[_RIGHT], lows[_LEFT], lows[_NON], lows[_RIGHT]]
        points = [self.on_wall(float(a), float(h)) for a, h in places]
        return np.stack([*points, self.ostium("right"), self.ostium("left")])

    # -- leaflets --------------------------------------------------------------------------------

    def leaflet_height(
        self, phase: Field | FloatArray, inwards: Field | FloatArray
    ) -> Field | FloatArray:
        """Height of the closed valve; ``inwards`` is 0 at the wall and 1 on the axis."""
        cusp, aside = self._cusp(phase)
        after = np.where(aside > 0, cusp, (cusp - 1) % 3)
        low = self.hinge_heights_mm[cusp]
        edge = low + (self.commissure_heights_mm[after] - low) * aside**2
        edge = edge.astype(np.asarray(inwards).dtype)
        falling = (1 - inwards) * np.sqrt(1 - inwards)
        height: FloatArray = edge * falling + self.coaptation_mm * inwards * np.sqrt(inwards)
        return height

    def leaflet_point(self, angle: float, inwards: float) -> FloatArray:
        """A point ``(3,)`` of the valve, in body coordinates."""
        height = float(self.leaflet_height(self.phase(np.array(angle)), np.array(inwards)))
        radius = float(self.wall(np.array(angle), np.array(height))) * (1 - inwards)
        local = np.array([radius * np.cos(angle), radius * np.sin(angle), height])
        point: FloatArray = self.origin + local @ self.axes
        return point

    def cylinder(self, xyz: Field) -> tuple[Field, Field, Field]:
        """Distance from the axis, angle and height of body coordinates ``(3, ...)``."""
        shifted = [part - np.float32(c) for part, c in zip(xyz, self.origin, strict=True)]
        u, v, height = (
            shifted[0] * row[0] + shifted[1] * row[1] + shifted[2] * row[2]
            for row in self.axes.astype(np.float32)
        )
        return np.hypot(u, v), np.arctan2(v, u), height

    @property
    def top_mm(self) -> float:
        """Height where the drawn root ends and the ascending aorta goes on."""
        return self.junction_height_mm + 3

    def box(self) -> Box:
        """Box around the root, its bulges and the piece of outflow tract below."""
        widest = max(self.annulus_mm, self.junction_mm) + float(self.bulge_mm.max()) + 1
        middle = self.origin + self.axes[2] * (self.top_mm - _BELOW_MM) / 2
        along = np.abs(self.axes[2])
        half = widest * np.sqrt(1 - along**2) + along * (self.top_mm + _BELOW_MM) / 2
        return middle - half, middle + half


@dataclass(frozen=True)
class Lumen:
    """The blood-filled inside of the root, from ``below_mm`` under the ring, as a solid."""

    root: Root
    below_mm: float = _BELOW_MM
    thickness: float = 20.0

    def box(self) -> Box:
        """See ``Solid``."""
        return self.root.box()

    def distance(self, xyz: Field) -> Field:
        """See ``Solid``."""
        radius, angle, height = self.root.cylinder(xyz)
        beyond = np.maximum(
            -np.float32(self.below_mm) - height, height - np.float32(self.root.top_mm)
        )
        wall = np.asarray(self.root.wall(angle, height), np.float32)
        distance: Field = np.maximum(radius - wall, beyond)
        return distance


@dataclass(frozen=True)
class Leaflets:
    """The closed valve, as a solid: a crown at the wall, domed to where the leaflets meet."""

    root: Root
    thickness: float = _LEAFLET_MM

    def box(self) -> Box:
        """See ``Solid``."""
        return self.root.box()

    def distance(self, xyz: Field) -> Field:
        """See ``Solid``."""
        radius, angle, height = self.root.cylinder(xyz)
        phase = self.root.phase(angle)
        wall = np.asarray(self.root.wall(angle, height, phase), np.float32)
        inwards = np.clip(1 - radius / wall, 0, 1)
        sheet = np.asarray(self.root.leaflet_height(phase, inwards), np.float32)
        # The sheet stands steep near the commissures: what counts is the distance across it.
        aside = 2 * (phase - np.rint(phase))
        steep = 2.2 * np.abs(aside) * (1 - inwards) + 0.7 * inwards
        across = np.abs(height - sheet) / np.sqrt(1 + steep**2)
        sheet = across.astype(np.float32) - np.float32(_LEAFLET_MM / 2)
        distance: Field = np.maximum(sheet, radius - wall - np.float32(0.5))
        return distance


def draw_root(rng: np.random.Generator, *, axis: FloatArray, forwards: FloatArray) -> Root:
    """Draw the shape of a root at the origin; ``forwards`` is where its right sinus looks."""
    up = unit(axis)
    towards_right = unit(forwards - (forwards @ up) * up)
    size = rng.normal(1.0, 0.09)
    cusps = np.deg2rad(np.array([0.0, 120.0, 240.0]) + rng.normal(0, 6, 3))
    after = np.append(cusps[1:], cusps[0] + 2 * np.pi)
    junction_height = float(np.clip(size * rng.normal(20, 2.0), 15, 27))
    return Root(
        origin=np.zeros(3),
        axes=np.stack([towards_right, np.cross(up, towards_right), up]),
        annulus_mm=float(np.clip(size * rng.normal(11.8, 0.6), 9.5, 15)),
        junction_mm=float(np.clip(size * rng.normal(13.8, 1.0), 10.5, 18)),
        ovalness=float(rng.uniform(0.02, 0.12)),
        bulge_mm=np.clip(size * rng.normal(3.6, 0.8, 3), 1.8, 6.5),
        junction_height_mm=junction_height,
        cusp_angles=cusps,
        commissure_angles=(cusps + after) / 2 + np.deg2rad(rng.normal(0, 3, 3)),
        hinge_heights_mm=np.clip(rng.normal(0.5, 0.7, 3), -0.5, 2.2),
        commissure_heights_mm=junction_height * np.clip(rng.normal(0.9, 0.05, 3), 0.75, 1.0),
        coaptation_mm=float(size * rng.normal(9.5, 1.2)),
        ostia=_draw_ostia(rng, cusps, junction_height),
    )


def _draw_ostia(
    rng: np.random.Generator, cusps: FloatArray, junction_height_mm: float
) -> FloatArray:
    """Angle and height of both ostia; in about 2 % the right one leaves the left sinus."""
    heights = junction_height_mm * np.clip(rng.normal([0.68, 0.62], 0.08), 0.4, 0.88)
    angles = cusps[:2] + np.deg2rad(rng.normal([2, -6], [9, 8]))
    if rng.random() < 0.02:
        angles[0] = cusps[_LEFT] - np.deg2rad(rng.uniform(32, 42))
    return np.stack([angles, heights], axis=1)
