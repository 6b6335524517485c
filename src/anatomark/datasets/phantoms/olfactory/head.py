"""One head before anything is painted: skull, bulbs, where it lies, and how its tissues look."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anatomark.datasets.phantoms.ct.canvas import BodyFrame, Canvas, draw_ripple
from anatomark.datasets.phantoms.ct.solids import Ellipsoid, Field, Solid
from anatomark.datasets.phantoms.olfactory.bulbs import Bulb, draw_bulbs
from anatomark.datasets.phantoms.texture import stream
from anatomark.geometry import FloatArray

#: Usual signal of each tissue at a long echo time (1: fluid), and how far it varies.
_SIGNALS: dict[str, tuple[float, float]] = {
    "air": (0.02, 0.01),
    "bone": (0.06, 0.02),
    "marrow": (0.36, 0.12),
    "fat": (0.52, 0.10),
    "skin": (0.28, 0.06),
    "muscle": (0.17, 0.04),
    "tongue": (0.27, 0.06),
    "mucosa": (0.72, 0.12),
    "cartilage": (0.34, 0.08),
    "cells": (0.40, 0.10),
    "secretion": (0.92, 0.12),
    "fluid": (0.98, 0.06),
    "grey": (0.46, 0.05),
    "white": (0.31, 0.04),
    "dura": (0.12, 0.04),
    "bulb": (0.40, 0.07),
    "vessel": (0.06, 0.03),
    "vitreous": (1.0, 0.06),
    "lens": (0.15, 0.05),
    "sclera": (0.14, 0.04),
    "nerve": (0.33, 0.05),
}


@dataclass(frozen=True)
class Skull:
    """The braincase and its floor.

    ``steep (2, 2)`` is how high the floor rises beside the plate and over the orbits, in mm, right
    and left; ``groove_mm`` is half the width of the plate.
    """

    case: Ellipsoid
    thick_mm: float
    scalp_mm: float
    groove_mm: float
    steep: FloatArray
    bends: tuple[float, float]  # of the floor, forwards and backwards, per mm

    def floor(self, xyz: Field) -> Field:
        """Height z in mm of the floor's upper surface above the points ``(3, ...)``."""
        x, y = xyz[0], xyz[1]
        aside = np.abs(x)
        side = (x > 0).astype(np.intp)
        first, second = self.steep.astype(np.float32)
        height = first[side] * _rise(aside, self.groove_mm - 1.0, self.groove_mm + 2.5)
        height += second[side] * _rise(aside, self.groove_mm + 6, self.groove_mm + 18)
        height -= np.float32(8) * _rise(aside, 36.0, 54.0)
        bend = np.where(y < 0, np.float32(self.bends[0]), np.float32(self.bends[1]))
        floor: Field = height + bend * y * y
        return floor

    def below(self, xyz: Field) -> Field:
        """Distance in mm to the floor, positive below it."""
        # On a slope the way to the surface is shorter than the way up.
        distance: Field = (self.floor(xyz) - xyz[2]) * np.float32(0.85)
        return distance


def _rise(values: Field, low: float, high: float) -> Field:
    """0 below ``low``, 1 above ``high``, smooth in between."""
    t = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    rise: Field = t * t * (3 - 2 * t)
    return rise


@dataclass(frozen=True)
class Head:
    """What is drawn of one seed before anything is painted.

    ``turn`` is the rotation of the head in the world; ``looks`` the signal of each tissue.
    """

    frame: BodyFrame
    turn: FloatArray
    plan: FloatArray
    skull: Skull
    bulbs: tuple[Bulb, Bulb]
    looks: dict[str, float]


def draw_head(seed: int, *, absent_probability: float) -> Head:
    """Draw anatomy, pose and place; nothing here depends on voxels."""
    from scipy.spatial.transform import Rotation

    rng = stream(seed, "olfactory", "pose")
    # The radiographer tilts the slices with the head, and never quite meets it.
    plan = Rotation.from_euler("xyz", rng.normal([-4, 0, 0], [7, 3, 3]), degrees=True).as_matrix()
    missed = Rotation.from_euler("xyz", rng.normal(0, [5, 3, 3]), degrees=True).as_matrix()
    turn = plan @ missed
    sizes = np.clip(rng.normal(1, 0.035, 3), 0.94, 1.07)
    bulbs = draw_bulbs(stream(seed, "olfactory", "bulbs"), absent_probability=absent_probability)
    frame = BodyFrame(
        origin=rng.uniform([-30, -140, -60], [30, -40, 120]),
        linear=turn.T / sizes[:, None],
        ripple=draw_ripple(rng, dimension=3, amplitude_mm=1.0, wavelengths_mm=(110.0, 240.0)),
    )
    skull = _draw_skull(stream(seed, "olfactory", "skull"))
    return Head(frame, turn, plan, skull, bulbs, _draw_looks(stream(seed, "olfactory", "looks")))


def _draw_skull(rng: np.random.Generator) -> Skull:
    middle = np.array([rng.normal(0, 0.6), 55.0, 8.0]) + rng.normal(0, [0, 2, 2])
    radii = np.array([70.0, 86.0, 72.0]) * rng.normal(1, 0.035, 3)
    steep = np.array([[4.0], [7.0]]) * np.clip(rng.normal(1, [[0.3], [0.2]], (2, 1)), 0.3, 1.8)
    return Skull(
        Ellipsoid(middle, radii),
        thick_mm=rng.uniform(4.5, 8.5),
        scalp_mm=rng.uniform(4, 8),
        groove_mm=rng.uniform(8.2, 9.8),
        steep=np.clip(steep + rng.normal(0, 0.7, (2, 2)), 1.0, 11.0),
        bends=(float(rng.uniform(0.010, 0.022)), float(rng.uniform(0.006, 0.014))),
    )


def _draw_looks(rng: np.random.Generator) -> dict[str, float]:
    contrast = rng.uniform(0.9, 1.2)  # a longer echo time spreads the greys
    return {
        tissue: max(middle + rng.uniform(-spread, spread), 0.01) ** contrast
        for tissue, (middle, spread) in _SIGNALS.items()
    }


class Easel:
    """A canvas, what its tissues look like, and a grain that all of them show a part of."""

    def __init__(self, canvas: Canvas, looks: dict[str, float], grain: Field) -> None:
        self.canvas = canvas
        self._looks = looks
        self._grain = grain

    def signal(self, tissue: str) -> float:
        """What a tissue looks like in this scan."""
        return self._looks[tissue]

    def paint(
        self,
        tissue: str,
        *solids: Solid,
        grow: float = 0.0,
        rough: float = 0.04,
        within: Field | None = None,
    ) -> None:
        """Fill solids with a tissue; ``rough`` is the part by which it varies from place to place.

        ``grow`` mm thicker than they are, and only where ``within`` is negative.
        """
        signal = self._looks[tissue]
        grain = (self._grain, rough * signal)
        self.canvas.paint(list(solids), signal, grow=grow, grain=grain, within=within)

    def fill(self, tissue: str, distance: Field, *, rough: float = 0.04) -> None:
        """Fill where a distance over the whole canvas is negative."""
        signal = self._looks[tissue]
        self.canvas.fill(distance, signal, grain=(self._grain, rough * signal))
