"""What lies below the brain: orbits with eyeballs, nose and sinuses, muscles, jaw.

Much of it looks like a bulb in one slice: the optic nerve is a grey oval in bright fluid too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from anatomark.datasets.phantoms.ct.solids import Block, Capsule, Ellipsoid, smooth_path, tube
from anatomark.datasets.phantoms.olfactory.head import Easel, Skull
from anatomark.geometry import FloatArray

_SIDES = (-1, 1)

#: Direction from the eye's axis in degrees (0: outwards, 90: up), radius, and distance from the
#: eyeball's centre, both in mm.
_EYE_MUSCLES = {
    0: (2.0, 13.0),
    90: (2.1, 13.0),
    180: (1.9, 13.0),
    270: (2.2, 13.0),
    78: (1.3, 15.2),
    140: (1.5, 13.0),
}

#: Turbinates, and a plate beside them: x, z, half width, half height (mm), tilt (degrees).
_TURBINATES = (
    (7.0, -20.0, 1.9, 6.5, 15.0),
    (8.5, -36.0, 3.9, 4.8, -20.0),
    (11.0, -30.0, 1.6, 5.0, 35.0),
)


def paint_face(easel: Easel, skull: Skull, rng: np.random.Generator) -> None:
    """Paint everything below the floor of the braincase, and the soft parts around it."""
    _paint_outside(easel, skull)
    _paint_muscles(easel, rng)
    _paint_mouth(easel, rng)
    _paint_nose(easel, rng)
    _paint_ethmoid(easel, rng)
    _paint_orbits(easel, rng)


def _at(side: int, x: float, y: float, z: float) -> FloatArray:
    return np.array([side * x, y, z])


def _paint_outside(easel: Easel, skull: Skull) -> None:
    face = Ellipsoid(np.array([0.0, 40.0, -26.0]), np.array([77.0, 98.0, 82.0]))
    scalp = Ellipsoid(skull.case.centre, skull.case.radii + skull.scalp_mm)
    easel.paint("skin", face, scalp)
    easel.paint("fat", face, scalp, grow=-2.2, rough=0.08)


def _paint_muscles(easel: Easel, rng: np.random.Generator) -> None:
    for side in _SIDES:
        temporal = Ellipsoid(
            _at(side, rng.normal(53, 1), 16.0, 2.0), np.array([rng.uniform(6, 9), 30.0, 27.0])
        )
        chewing = Ellipsoid(_at(side, 50.0, 20.0, -42.0), np.array([8.0, 26.0, 24.0]))
        easel.paint("muscle", temporal, chewing, rough=0.2)
        cheek = Capsule(_at(side, 47.0, -8.0, 8.0), _at(side, 45.0, -4.0, -26.0), 4.5, 6.5)
        easel.paint("bone", cheek, grow=1.3)
        easel.paint("marrow", cheek, rough=0.12)


def _paint_mouth(easel: Easel, rng: np.random.Generator) -> None:
    low = rng.normal(-46, 2)
    tongue = Ellipsoid(np.array([0.0, 18.0, low - 19]), np.array([26.0, 50.0, 15.0]))
    gap = Ellipsoid(np.array([0.0, 10.0, low - 6]), np.array([20.0, 60.0, 5.0]))
    easel.paint("air", gap)
    easel.paint("tongue", tongue, rough=0.2)
    palate = Block(np.array([0.0, 0.0, low]), np.array([24.0, 60.0, 2.0]), 1.5)
    easel.paint("mucosa", palate, grow=2.6)
    easel.paint("bone", palate, grow=1.0)
    easel.paint("marrow", palate, rough=0.15)
    for side in _SIDES:
        ridge = Capsule(_at(side, 24.0, -30.0, low - 5), _at(side, 31.0, 20.0, low - 5), 6.5, 6.5)
        easel.paint("bone", ridge, grow=1.0)
        easel.paint("marrow", ridge, rough=0.2)
        teeth = [
            Ellipsoid(_at(side, 26 + 0.1 * y, y, low - 12), np.array([3.6, 3.8, 9.0]))
            for y in np.arange(-24.0, 20.0, 8.5).tolist()
        ]
        easel.paint("bone", *teeth)


def _paint_nose(easel: Easel, rng: np.random.Generator) -> None:
    cavity = Block(np.array([0.0, 0.0, -25.0]), np.array([14.5, 60.0, 18.5]), 9.0)
    easel.paint("bone", cavity, grow=2.2)
    easel.paint("mucosa", cavity, grow=1.2)
    easel.paint("air", cavity)
    for side in _SIDES:
        _paint_turbinates(easel, rng, side)
        _paint_maxilla(easel, rng, side)
    lean = float(rng.normal(0, 2.0))
    middle = [[0, 0, -1], [0.5 * lean, 0, -14], [lean, 0, -26], [0.3 * lean, 0, -44]]
    line = smooth_path(np.array(middle, np.float64), step_mm=3.0)
    plates = [
        Block(np.array([x, 0.0, z]), np.array([0.7, 60.0, 2.6]), 0.6, None) for x, _, z in line
    ]
    easel.paint("mucosa", *plates, grow=rng.uniform(0.7, 1.2))
    easel.paint("cartilage", *plates)


def _paint_turbinates(easel: Easel, rng: np.random.Generator, side: int) -> None:
    swollen = rng.uniform(0.75, 1.15)
    soft, hard = [], []
    for x, z, wide, high, tilt in _TURBINATES:
        centre = _at(side, x + rng.normal(0, 0.5), rng.normal(4, 3), z + rng.normal(0, 0.8))
        axes = _upright(side * (tilt + rng.normal(0, 8)))
        soft.append(Ellipsoid(centre, np.array([wide * swollen, 28.0, high * swollen]), axes))
        hard.append(Ellipsoid(centre, np.array([0.5, 24.0, 0.65 * high]), axes))
    easel.paint("mucosa", *soft, rough=0.15)
    easel.paint("bone", *hard)


def _upright(degrees: float) -> FloatArray:
    """Rows ``(3, 3)``: axes turned within the coronal plane, from x towards z."""
    angle = np.deg2rad(degrees)
    c, s = float(np.cos(angle)), float(np.sin(angle))
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def _paint_maxilla(easel: Easel, rng: np.random.Generator, side: int) -> None:
    """The maxillary sinus: mostly air, sometimes with fluid in it or a cyst on its wall."""
    centre = _at(side, rng.normal(29, 1), 4.0, rng.normal(-35, 1.2))
    half = np.array([11.0, 24.0, 11.5]) * rng.normal(1, 0.07, 3)
    axes = _upright(-side * rng.normal(24, 8))
    recess = centre + _at(side, rng.uniform(3, 6), 0, -rng.uniform(3, 6))
    sinus = (Block(centre, half, 6.0, axes), Ellipsoid(recess, np.array([9.0, 20.0, 9.5])))
    lining = min(float(rng.exponential(0.5)) + 0.5, 4.0)
    easel.paint("bone", *sinus, grow=1.4)
    easel.paint("mucosa", *sinus)
    easel.paint("air", *sinus, grow=-lining)
    if rng.random() < 0.3:
        spot = centre + half * rng.uniform([-0.5, -0.4, -0.8], [0.5, 0.4, -0.5])
        within = easel.canvas.distance(sinus[0])
        easel.paint("secretion", Ellipsoid(spot, rng.uniform(3.5, 9, 3)), within=within)


def _paint_ethmoid(easel: Easel, rng: np.random.Generator) -> None:
    """A honeycomb of air cells below the floor; some are full of secretion."""
    for side in _SIDES:
        maze = Block(_at(side, 9.5, 4.0, -6.0), np.array([7.0, 40.0, 13.0]), 3.0)
        easel.paint("cells", maze, rough=0.2)
        air: list[Ellipsoid] = []
        full: list[Ellipsoid] = []
        sick = 0.35 if rng.random() < 0.2 else 0.0
        for y in np.arange(-34.0, 40.0, 7.4):
            for z in (-15.0, -8.0, -1.0, 6.0):
                for x in (5.6, 12.0):
                    middle = _at(side, x, y, z) + rng.normal(0, [0.6, 1.8, 1.0])
                    radii = np.array([3.7, 4.8, 4.1]) * rng.uniform(0.8, 1.15, 3)
                    (full if rng.random() < sick else air).append(Ellipsoid(middle, radii))
        easel.paint("air", *air)
        easel.paint("secretion", *full)
    # Between the labyrinths hangs the septum, with a cleft on each side.
    easel.paint("mucosa", Block(np.array([0.0, 4.0, -8.0]), np.array([3.0, 40.0, 8.0]), 1.0))
    for side in _SIDES:
        cleft = Block(_at(side, 1.9, 4.0, -8.5), np.array([0.7, 40.0, 6.5]), 0.5)
        easel.paint("air", cleft)


class Orbit(NamedTuple):
    """What one orbit holds, in mm of the body."""

    cone: tuple[Capsule, ...]
    muscles: list[Capsule]
    vein: list[Capsule]
    gland: Ellipsoid
    nerve: list[Capsule]
    ball: Ellipsoid


def _paint_orbits(easel: Easel, rng: np.random.Generator) -> None:
    middle = np.array([33.0, -10.0, -8.5]) + rng.normal(0, [1.5, 2.0, 1.5])
    orbits = [_draw_orbit(rng, middle + rng.normal(0, 0.7, 3), side) for side in _SIDES]
    cones = [piece for orbit in orbits for piece in orbit.cone]
    easel.paint("bone", *cones, grow=rng.uniform(0.9, 1.5))
    easel.paint("fat", *cones, rough=0.10)
    easel.paint("muscle", *(piece for orbit in orbits for piece in orbit.muscles), rough=0.15)
    easel.paint("vessel", *(piece for orbit in orbits for piece in orbit.vein))
    easel.paint("cartilage", *(orbit.gland for orbit in orbits), rough=0.2)
    nerves = [piece for orbit in orbits for piece in orbit.nerve]
    sheath = rng.uniform(0.5, 1.3)
    easel.paint("dura", *nerves, grow=sheath + 0.5)
    easel.paint("fluid", *nerves, grow=sheath)
    easel.paint("nerve", *nerves)
    balls = [orbit.ball for orbit in orbits]
    easel.paint("sclera", *balls)
    easel.paint("vitreous", *balls, grow=-1.0, rough=0.01)
    easel.paint("lens", *(_lens(ball) for ball in balls))


def _draw_orbit(rng: np.random.Generator, eye: FloatArray, side: int) -> Orbit:
    centre = eye * [side, 1, 1]
    apex = _at(side, 15.0, 31.0, -3.0) + rng.normal(0, 0.8, 3)
    front = centre + _at(side, 0.0, -14.0, 0.0)
    behind = centre + _at(side, -1.5, 6.0, 0.5)
    room, radius = rng.normal(16.6, 0.5), rng.normal(12.0, 0.4)
    sag = 0.55 * centre + 0.45 * apex + rng.normal(0, 1.2, 3)
    course = np.stack([centre + _at(side, -1.5, radius - 1, 0), sag, apex])
    vein = [
        centre + _at(side, -9, 4, 9),
        centre + _at(side, 1, 14, 8.5),
        apex + _at(side, 3, -4, 4),
    ]
    return Orbit(
        cone=(Capsule(front, behind, room + 1.0, room), Capsule(behind, apex, room, 3.5)),
        muscles=_eye_muscles(rng, centre, apex, side),
        vein=tube(smooth_path(np.stack(vein), step_mm=4.0), 0.8),
        gland=Ellipsoid(centre + _at(side, 12.5, -5, 8.0), np.array([3.0, 7.0, 5.0])),
        nerve=tube(smooth_path(course, step_mm=3.0), [1.75, 1.6, 1.5]),
        ball=Ellipsoid(centre, np.full(3, radius)),
    )


def _eye_muscles(
    rng: np.random.Generator, centre: FloatArray, apex: FloatArray, side: int
) -> list[Capsule]:
    """Four straight muscles, the lid's and an oblique one, from the apex to the eyeball."""
    pieces: list[Capsule] = []
    for angle, (thick, reach) in _EYE_MUSCLES.items():
        turn = np.deg2rad(angle + rng.normal(0, 4))
        out = np.array([side * np.cos(turn), 0, np.sin(turn)])
        path = [
            centre + reach * out + [0, -3, 0],
            centre + (reach - 0.8) * out + [0, 9, 0],
            0.25 * centre + 0.75 * apex + 4.6 * out,
            apex + 2.2 * out,
        ]
        radii = thick * rng.normal(1, 0.1) * np.array([0.5, 1.0, 1.05, 0.7])
        pieces += tube(smooth_path(np.stack(path), step_mm=4.0), radii)
    return pieces


def _lens(ball: Ellipsoid) -> Ellipsoid:
    """The lens, in the front of an eyeball."""
    forwards = [0, 0.62 * float(ball.radii[1]), 0]
    return Ellipsoid(ball.centre - forwards, np.array([4.6, 2.0, 4.6]))
