"""Trunk of the abdomen phantom: skin, fat, the muscles of wall, back and buttocks, the table.

Body coordinates in mm: x to the left, y to the back, the middle of the trunk at the origin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anatomark.datasets.phantoms.ct.canvas import Canvas
from anatomark.datasets.phantoms.ct.hounsfield import HU
from anatomark.datasets.phantoms.ct.solids import (
    Block,
    Capsule,
    Column,
    Ellipsoid,
    Field,
    tube,
    turned,
)
from anatomark.datasets.phantoms.texture import stream

_STRANDS = 45


def ramp(level: float, start: float, stop: float) -> float:
    """0 up to ``start``, 1 from ``stop`` on, straight between."""
    return float(np.clip((level - start) / (stop - start), 0, 1))


@dataclass(frozen=True)
class Belly:
    """One trunk at one level, 0 at the kidneys and 1 at the hip joints."""

    level: float
    radii: tuple[float, float]
    squareness: float
    side_fat_mm: float
    front_fat_mm: float
    back_fat_mm: float
    muscle: float  # how strong the muscles are, 1 is usual
    vessel_hu: float
    organ_hu: float
    bone: float  # how dense the bones are, 1 is usual

    @property
    def skin(self) -> Column:
        """The outside of the body."""
        return Column(np.zeros(2), np.array(self.radii), self.squareness)

    @property
    def muscles(self) -> Column:
        """The outside of the muscles: the skin without the fat under it."""
        rx, ry = self.radii
        half = ry - (self.front_fat_mm + self.back_fat_mm) / 2
        middle = np.array([0.0, (self.front_fat_mm - self.back_fat_mm) / 2])
        return Column(middle, np.array([rx - self.side_fat_mm, half]), self.squareness)

    @property
    def spine_y(self) -> float:
        """The middle of the vertebral bodies."""
        low = self.muscles.centre[1] + self.muscles.radii[1]
        return float(low) - 57.0 + 8.0 * ramp(self.level, 0.5, 0.9)

    @property
    def cavity(self) -> Column:
        """The room of the bowel, between the muscles of the wall and the spine."""
        outer = self.muscles
        wall = 12.0 * self.muscle
        front = outer.centre[1] - outer.radii[1] + 0.8 * wall
        back = self.spine_y + 20.0
        narrow = 26.0 * ramp(self.level, 0.45, 0.8)
        radii = np.array([outer.radii[0] - wall - narrow, (back - front) / 2])
        return Column(np.array([0.0, (front + back) / 2]), radii, 0.35)


def draw_belly(seed: int, level: float) -> Belly:
    """Draw the trunk of one patient and cut it at ``level``."""
    rng = stream(seed, "abdomen", "belly")
    fat = float(np.clip(rng.lognormal(np.log(22), 0.4), 9, 50))
    waist = 1 - 0.07 * np.exp(-(((level - 0.3) / 0.2) ** 2)) + 0.13 * ramp(level, 0.5, 0.85)
    enhanced = rng.random() < 0.6
    ry = 0.62 * (132 + rng.normal(0, 6)) + 0.75 * fat + 6 + 6 * ramp(level, 0.6, 1)
    return Belly(
        level=level,
        radii=(waist * (rng.normal(138, 5) + 0.8 * fat), ry),
        squareness=float(rng.uniform(0.1, 0.5)),
        side_fat_mm=fat * float(rng.uniform(0.7, 1.0)),
        front_fat_mm=fat * float(rng.uniform(0.6, 1.0)),
        back_fat_mm=fat * float(rng.uniform(0.6, 0.9)),
        muscle=float(np.clip(rng.normal(1, 0.15), 0.65, 1.35)),
        vessel_hu=float(rng.uniform(130, 240)) if enhanced else float(rng.uniform(35, 50)),
        organ_hu=float(rng.uniform(95, 140)) if enhanced else float(rng.uniform(45, 62)),
        bone=float(np.clip(rng.normal(1, 0.15), 0.6, 1.4)),
    )


def paint_body(
    canvas: Canvas, belly: Belly, grain: Field, rng: np.random.Generator
) -> tuple[Field, Field]:
    """Table, skin, fat with its sheets, the layers of the wall, and the fat inside.

    Returns the distances to the skin and to the cavity.
    """
    _paint_table(canvas, belly, rng)
    skin = canvas.distance(belly.skin)
    canvas.fill(skin, HU["skin"])
    canvas.fill(skin + np.float32(1.8), HU["fat"] - 5, grain=(grain, 7.0))
    _paint_septa(canvas, belly, skin, rng)
    wall = canvas.distance(belly.muscles)
    canvas.fill(wall, HU["muscle"], grain=(grain, 10.0))
    for depth in (0.33, 0.66):  # fat between the three sheets of the wall's muscles
        sheet = np.abs(wall + np.float32(12.0 * belly.muscle * depth)) - np.float32(0.5)
        canvas.fill(sheet, HU["fat"] * 0.6)
    inside = canvas.distance(belly.cavity)
    canvas.fill(inside - np.float32(0.8), HU["soft"])
    canvas.fill(inside + np.float32(0.8), HU["fat"] - 3, grain=(grain, 11.0))
    return skin, inside


def _paint_table(canvas: Canvas, belly: Belly, rng: np.random.Generator) -> None:
    """A flat couch, as in radiotherapy, or a curved one."""
    low = belly.radii[1] + float(rng.uniform(1, 5))
    if rng.random() < 0.6:
        for depth, thick, hu in ((0.0, 1.2, -300.0), (24.0, 22.8, -920.0), (48.0, 1.2, -300.0)):
            plate = Block(np.array([0.0, low + depth]), np.array([255.0, thick]), 1.0)
            canvas.paint(plate, hu)
        return
    across = np.linspace(-200, 200, 25)
    for depth in (0.0, 26.0):
        path = np.stack(
            [across, low + depth - 60 * (across / 200) ** 2 * rng.uniform(0.8, 1)], axis=1
        )
        canvas.paint(tube(path, 1.6), -200.0)


def _paint_septa(canvas: Canvas, belly: Belly, skin: Field, rng: np.random.Generator) -> None:
    """Sheets of connective tissue and small vessels in the fat under the skin."""
    fat = min(belly.side_fat_mm, belly.front_fat_mm, belly.back_fat_mm)
    sheet = np.abs(skin + np.float32(1.8 + 0.45 * fat)) - np.float32(0.25)
    canvas.fill(sheet, HU["fat"] + 45)
    turn = rng.uniform(0, 2 * np.pi, _STRANDS)
    depth = rng.uniform(2, 0.95 * max(fat, 6.0), _STRANDS)
    outwards = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    start = outwards * (np.array(belly.radii) - depth[:, None])
    along = np.stack([-outwards[:, 1], outwards[:, 0]], axis=1) * rng.uniform(-1, 1, (_STRANDS, 1))
    end = start + 16 * along + rng.normal(0, 2.5, (_STRANDS, 2))
    width = rng.uniform(0.3, 0.9, _STRANDS)
    strands = [Capsule(a, b, w, w) for a, b, w in zip(start, end, width, strict=True)]
    canvas.paint(strands, HU["soft"] - 55)


# -- muscles -----------------------------------------------------------------------------------


def paint_muscles(
    canvas: Canvas, belly: Belly, skin: Field, grain: Field, rng: np.random.Generator
) -> None:
    """Muscles of back, loin and buttocks, and the two straight ones in front."""
    bellies = [*_front_muscles(belly), *_back_muscles(belly), *_buttock_muscles(belly)]
    shaken = [
        Ellipsoid(
            np.array(centre) * [side, 1] + rng.normal(0, 1.5, 2),
            np.array(radii) * belly.muscle * rng.uniform(0.93, 1.07, 2),
            turned(side * angle + float(rng.normal(0, 4))),
        )
        for centre, radii, angle in bellies
        for side in (-1, 1)
    ]
    within = skin + np.float32(2 + 0.6 * belly.back_fat_mm)
    canvas.paint(shaken, HU["fat"] + 45, grow=0.9, within=within)
    canvas.paint(shaken, HU["muscle"] + 3, grain=(grain, 10.0), within=within)
    canvas.paint([fibre for muscle in shaken for fibre in _fibres(muscle, rng)], HU["fat"] + 30)


Muscle = tuple[tuple[float, float], tuple[float, float], float]


def _front_muscles(belly: Belly) -> list[Muscle]:
    front = float(belly.muscles.centre[1] - belly.muscles.radii[1]) + 6.5
    return [((33.0 - 10 * ramp(belly.level, 0.6, 1), front + 1.5), (28.0, 6.5), 6.0)]


def _back_muscles(belly: Belly) -> list[Muscle]:
    level, y = belly.level, belly.spine_y
    found: list[Muscle] = []
    shrink = 1 - 0.75 * ramp(level, 0.45, 0.75)
    if level < 0.75:
        found.append(((33.0, y + 40 + 6 * (1 - shrink)), (25 * shrink + 3, 18 * shrink + 2), 12.0))
    if level < 0.42:
        found.append(((66.0, y + 16), (9.0, 19.0), -35.0))
    out, forwards = ramp(level, 0.25, 0.75), ramp(level, 0.4, 1.0)
    size = 11 + 8 * ramp(level, 0.0, 0.5)
    found.append(((37 + 46 * out, y - 4 - 48 * forwards), (size, 1.3 * size), 15 - 50 * out))
    if 0.48 < level < 0.82:  # along the inner side of the iliac wing
        found.append(((82.0 + 10 * out, y - 8 - 14 * forwards), (9.0, 27.0), -35.0))
    return found


def _buttock_muscles(belly: Belly) -> list[Muscle]:
    level, y = belly.level, belly.spine_y
    if level < 0.5:
        return []
    grown = ramp(level, 0.5, 0.85)
    found: list[Muscle] = [
        ((68 + 4 * grown, y + 34 + 8 * grown), (28 + 24 * grown, 8 + 13 * grown), -22.0),
        ((110 + 8 * grown, y - 2), (10 + 6 * grown, 26 + 10 * grown), 22.0),
    ]
    if level > 0.8:
        found += [((118.0, y - 55), (17.0, 13.0), 20.0), ((45.0, y + 8), (8.0, 20.0), -12.0)]
    return found


def _fibres(muscle: Ellipsoid, rng: np.random.Generator) -> list[Capsule]:
    """Fat between the bundles of a muscle."""
    found: list[Capsule] = []
    for _ in range(int(rng.integers(2, 6))):
        local = 0.7 * rng.uniform(-1, 1, (2, 2)) * muscle.radii
        ends = muscle.centre + (local if muscle.axes is None else local @ muscle.axes)
        middle = ends.mean(axis=0) + rng.normal(0, 2, 2)
        found += tube(np.stack([ends[0], middle, ends[1]]), float(rng.uniform(0.3, 0.8)))
    return found
