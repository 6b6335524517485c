"""Shape of the chest phantom: lungs, heart, ribs and collar bones, and how chests vary.

Millimetres on the film of a chest seen from the front, origin in the middle line at the height of
the hila, x towards the patient's left (the right side of the picture), y down.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anatomark.datasets.phantoms.xray.outlines import smooth, xy
from anatomark.geometry import FloatArray

#: Right lung, from the apex along the ribs, the diaphragm and the mediastinum back to the apex.
_RIGHT_LUNG = (
    (-46, -132), (-63, -123), (-80, -102), (-94, -68), (-104, -26), (-111, 20), (-116, 62),
    (-117.5, 86), (-114, 112), (-104, 99), (-84, 82), (-58, 77), (-36, 83), (-22, 93),
    (-27, 72), (-33, 48), (-28, 22), (-21, -2), (-19, -30), (-18, -62), (-20, -94), (-28, -120),
)  # fmt: skip
_LEFT_LUNG = (
    (47, -133), (64, -123), (81, -102), (95, -68), (105, -26), (112, 20), (117, 62),
    (119, 88), (115, 117), (105, 105), (88, 91), (74, 87), (66, 95), (72, 88),
    (70, 66), (58, 38), (42, 14), (29, -6), (27, -28), (33, -46), (27, -66), (22, -94), (30, -120),
)  # fmt: skip
_DOME = slice(9, 14)  # knots of the diaphragm in both tables
_ANGLE = 8  # knot of the costophrenic angle
_LEFT_DOME = 11
_PER_KNOT = 8
RIBS = 10
_TAPER = np.linspace(1, 0.35, 7)  # of a vessel

Vessel = tuple[FloatArray, FloatArray]


@dataclass(frozen=True)
class ChestShape:
    """One chest: outlines and lines in mm, and how wide it is."""

    lungs: dict[str, FloatArray]
    torso: FloatArray
    heart: FloatArray
    ribs: tuple[tuple[FloatArray, FloatArray], ...]
    clavicles: tuple[FloatArray, FloatArray]
    spine: FloatArray
    wide: float
    tall: float

    @property
    def left_dome(self) -> FloatArray:
        """The top of the left half of the diaphragm."""
        top: FloatArray = self.lungs["left"][_LEFT_DOME * _PER_KNOT]
        return top


def draw_chest(rng: np.random.Generator) -> ChestShape:
    """Draw one chest of the family."""
    wide, tall = rng.normal(1, 0.07), rng.normal(1, 0.08)
    bell = rng.normal(0, 0.06)
    heart = rng.normal(1, 0.16)
    lungs = {
        "right": _lung(_RIGHT_LUNG, wide, tall, bell, heart, rng),
        "left": _lung(_LEFT_LUNG, wide, tall, bell, heart, rng),
    }
    shrug = rng.normal(0, 9)
    return ChestShape(
        lungs=lungs,
        torso=_torso(wide, tall, shrug, rng),
        heart=_heart(heart, tall),
        ribs=tuple(_rib(k, side, wide, tall, bell) for side in (-1, 1) for k in range(RIBS)),
        clavicles=(_clavicle(-1, wide, tall, shrug, rng), _clavicle(1, wide, tall, shrug, rng)),
        spine=smooth([xy(rng.normal(0, 2), y) for y in np.linspace(-200, 220, 8)], per_knot=4),
        wide=wide,
        tall=tall,
    )


def _lung(
    knots: tuple[tuple[float, float], ...],
    wide: float,
    tall: float,
    bell: float,
    heart: float,
    rng: np.random.Generator,
) -> FloatArray:
    """Outline of one lung, closed."""
    points = np.array(knots, np.float64)
    apex, breath, flank = rng.normal(0, 6), rng.normal(0, 13), rng.normal(0, 4)
    blunt, dome = rng.normal(0, 5), rng.normal(0, 6)
    points += rng.normal(0, 1.0, points.shape)
    side = np.sign(points[:, 0].mean())
    low = np.clip((points[:, 1] + 130) / 240, 0, 1)
    inner = np.abs(points[:, 0]) < 75
    medial = inner & (points[:, 1] > -15)
    medial[_DOME] = False
    points[medial, 0] *= 1 + (heart - 1) * (0.9 if side > 0 else 0.5)
    points[~inner, 0] += side * flank * low[~inner]
    points[:, 1] += breath * low**2 + apex * (1 - low) ** 2
    points[_DOME, 1] += dome * np.array([0.3, 0.9, 1.0, 0.7, 0.2])
    points[_ANGLE, 1] += blunt
    points[:, 0] *= wide * (1 + bell * (2 * low - 1))
    points[:, 1] *= tall
    return smooth(points, closed=True, per_knot=_PER_KNOT)


def _torso(wide: float, tall: float, shrug: float, rng: np.random.Generator) -> FloatArray:
    """Skin: neck, shoulders, arms that leave the film, flanks."""
    flank = 119 + max(rng.normal(24, 6), 12)
    right_half = np.array([
        (46, -250), (44, -190), (60, -163 + 0.4 * shrug), (110, -150 + shrug), (165, -138 + shrug),
        (210, -110 + shrug), (230, -40), (214, 60), (200, 150), (188, 90), (172, 10),
        (flank + 22, -30), (flank + 4, 10), (flank, 80), (flank + 4, 160), (flank + 6, 260),
    ])  # fmt: skip
    mirrored = right_half[::-1] * (-1, 1)
    return smooth(np.concatenate([right_half, mirrored]) * (wide, tall), closed=True, per_knot=4)


def _heart(size: float, tall: float) -> FloatArray:
    knots = np.array([
        (-14, -130), (-20, -60), (-22, -10), (-34, 40), (-26, 84), (10, 104), (58, 100), (74, 78),
        (60, 40), (34, 2), (30, -42), (24, -64), (16, -130),
    ], np.float64)  # fmt: skip
    lower = knots[:, 1] > -15
    knots[lower, 0] *= size
    return smooth(knots * (1, tall), closed=True, per_knot=4)


def _rib(
    number: int, side: int, wide: float, tall: float, bell: float
) -> tuple[FloatArray, FloatArray]:
    """Back part and front part of one rib, the first being the highest."""
    start = -140 + 24.5 * number
    reach = 120 * (1 - np.exp(-(number + 1.1) / 1.7)) + 2
    fall = 14 + 5.5 * number
    low = np.clip((start + fall + 130) / 240, 0, 1)
    reach *= wide * (1 + bell * (2 * low - 1))
    back = [
        (14, start + 2),
        (0.35 * reach + 6, start - 7),
        (0.68 * reach, start + 0.05 * fall),
        (0.92 * reach, start + 0.5 * fall),
        (reach, start + fall),
    ]
    front = [
        (reach, start + fall),
        (0.93 * reach, start + fall + 20),
        (0.74 * reach, start + fall + 40),
        (0.5 * reach + 6, start + fall + 50),
    ]
    turn = np.array([side, tall])
    return smooth(np.array(back) * turn), smooth(np.array(front) * turn)


def _clavicle(
    side: int, wide: float, tall: float, shrug: float, rng: np.random.Generator
) -> FloatArray:
    lift = rng.normal(0, 3)
    knots = np.array([
        (12, -94), (34, -103 + 0.2 * shrug), (68, -112 + 0.5 * shrug + lift),
        (104, -124 + 0.8 * shrug + lift), (138, -130 + shrug + lift),
    ])  # fmt: skip
    return smooth(knots * (side * wide, tall))


def draw_vessels(chest: ChestShape, rng: np.random.Generator) -> list[Vessel]:
    """Arteries and veins that leave the hila and fork on their way out: lines and half widths."""
    vessels: list[Vessel] = []
    for side in (-1, 1):
        for angle in np.linspace(-80, 84, 10) + rng.normal(0, 7, 10):
            reach = rng.uniform(45, 75) * (0.8 + 0.4 * abs(np.sin(np.deg2rad(angle))))
            start = rng.normal((25, -2 - 4 * side), (3, 7))
            vessels += [
                (line * (side * chest.wide, chest.tall), half)
                for line, half in _forked(start, angle, reach, rng.uniform(1.6, 3.2), 2, rng)
            ]
    return vessels


def _forked(
    start: FloatArray,
    degrees: float,
    reach: float,
    half: float,
    forks: int,
    rng: np.random.Generator,
) -> list[Vessel]:
    """A vessel that bends and tapers, and the ones that leave it."""
    bend, pieces = rng.normal(0, 24), len(_TAPER) - 1
    turns = np.deg2rad(degrees + bend * np.arange(pieces) / (pieces - 1))
    line = np.empty((pieces + 1, 2))
    line[0] = start
    line[1:, 0] = start[0] + reach / pieces * np.cos(turns).cumsum()
    line[1:, 1] = start[1] + reach / pieces * np.sin(turns).cumsum()
    vessels = [(line, half * _TAPER)]
    for _ in range(forks):
        where = int(rng.integers(2, pieces))
        away = rng.choice([-1, 1]) * rng.uniform(22, 45)
        turn = degrees + bend * where / pieces + away
        vessels += _forked(line[where], turn, 0.6 * reach, 0.6 * half, forks - 1, rng)
    return vessels
