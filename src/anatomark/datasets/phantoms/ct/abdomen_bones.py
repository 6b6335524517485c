"""Bones of the abdomen phantom: lumbar spine, sacrum, iliac wings and hips, as the level says."""

from __future__ import annotations

import numpy as np

from anatomark.datasets.phantoms.ct.abdomen_body import Belly, ramp
from anatomark.datasets.phantoms.ct.canvas import Canvas
from anatomark.datasets.phantoms.ct.hounsfield import HU
from anatomark.datasets.phantoms.ct.solids import (
    Capsule,
    Cut,
    Ellipsoid,
    Field,
    Solid,
    smooth_path,
    tube,
    turned,
)

_SHELL_MM = 1.7


def paint_bones(canvas: Canvas, belly: Belly, grain: Field, rng: np.random.Generator) -> None:
    """Paint the bones of this level: a dense shell, spongy inside."""
    bones: list[Solid] = [*_hips(belly, rng)]
    if belly.level < 0.56:
        _paint_vertebra(canvas, belly, grain, rng)
    elif belly.level < 0.95:
        _paint_sacrum(canvas, belly, grain, rng)
    if belly.level > 0.4:
        bones += _wings(belly, rng)
    _paint_bone(canvas, belly, bones, grain)


def _paint_bone(canvas: Canvas, belly: Belly, bones: list[Solid], grain: Field) -> None:
    canvas.paint(bones, belly.bone * HU["bone"])
    sponge = belly.bone * HU["marrow"]
    canvas.paint(bones, sponge, grow=-_SHELL_MM, grain=(grain, 0.2 * sponge))


def _paint_vertebra(canvas: Canvas, belly: Belly, grain: Field, rng: np.random.Generator) -> None:
    y, wide = belly.spine_y, float(rng.normal(25, 1.2))
    body = Ellipsoid(np.array([0.0, y]), np.array([wide, 0.74 * wide]))
    notch = Ellipsoid(np.array([0.0, y + 0.95 * wide]), np.array([13.0, 9.0]))
    disc = rng.random() < 0.3
    if disc:
        canvas.paint(body, HU["cartilage"] + 20, grow=1.0, grain=(grain, 6.0))
    else:
        _paint_bone(canvas, belly, [Cut(body, minus=(notch,))], grain)
    canal = y + 0.74 * wide + 7.5
    arches: list[Solid] = [
        *tube(
            smooth_path([[0, canal + 9], [0, canal + 20], [0, canal + 31]], step_mm=6), [4, 3, 4.5]
        )
    ]
    for side in (-1, 1):
        arches += [
            Capsule(
                np.array([side * 13.0, canal - 6]), np.array([side * 15.0, canal + 4]), 4.0, 4.5
            ),
            Capsule(np.array([side * 15.0, canal + 4]), np.array([0.0, canal + 11]), 4.0, 3.4),
            Ellipsoid(
                np.array([side * 21.0, canal + 5]), np.array([7.0, 10.0]), turned(-side * 25)
            ),
        ]
        if not disc:
            tip = np.array([side * (42 + rng.normal(0, 2)), canal + 2])
            arches.append(Capsule(np.array([side * 19.0, canal]), tip, 3.8, 3.0))
    _paint_bone(canvas, belly, arches, grain)
    cord = Ellipsoid(np.array([0.0, canal]), np.array([9.5, 7.0]))
    canvas.paint(cord, HU["fat"] * 0.5, grow=1.2)
    canvas.paint(cord, HU["water"] + 15, grain=(grain, 9.0))
    for side in (-1, 1):  # the slits between the joints' facets
        slit = np.array([[side * 17.0, canal + 1], [side * 24.0, canal + 9]])
        canvas.paint(tube(slit, 0.5), HU["soft"])


def _paint_sacrum(canvas: Canvas, belly: Belly, grain: Field, rng: np.random.Generator) -> None:
    y, small = belly.spine_y + 6, 1 - ramp(belly.level, 0.6, 0.98)
    back = y + 20 * ramp(belly.level, 0.6, 0.9)
    bones: list[Solid] = [
        Ellipsoid(np.array([0.0, back]), np.array([10 + 16 * small, 8 + 9 * small])),
        Capsule(np.array([0.0, back + 10]), np.array([0.0, back + 14 + 15 * small]), 4.5, 3.5),
    ]
    for side in (-1, 1):
        wing = np.array([side * (10 + 34 * small), back + 4])
        bones.append(Capsule(np.array([side * 8.0, back]), wing, 8 + 7 * small, 5 + 9 * small))
    _paint_bone(canvas, belly, bones, grain)
    for side in (-1, 1):  # holes of the nerves
        for out, deep in ((17.0, -2.0), (14.0, 12.0)):
            place = np.array([side * out * (0.5 + 0.5 * small), back + deep * small + 2])
            hole = Ellipsoid(
                place + rng.normal(0, 0.8, 2), np.array([4.5, 3.5]) * (0.5 + 0.5 * small)
            )
            canvas.paint(hole, HU["fat"] * 0.7)
    canal = Ellipsoid(np.array([0.0, back + 11 * small + 4]), np.array([7.5, 3.5]) * (0.3 + small))
    canvas.paint(canal, HU["water"])


def _wings(belly: Belly, rng: np.random.Generator) -> list[Solid]:
    """The iliac wings: from the sacrum forwards and outwards, shorter further down."""
    level, y = belly.level, belly.spine_y
    rise, fall = ramp(level, 0.38, 0.55), ramp(level, 0.62, 0.86)
    if fall >= 1:
        return []
    reach = rise * (1 - 0.55 * fall)
    found: list[Solid] = []
    for side in (-1, 1):
        joint = np.array([side * (50 - 6 * fall), y + 24 + 6 * fall])
        if rise < 1:
            joint = joint + (1 - rise) * np.array([side * 38.0, -26])
        tip = np.array([side * (88 + 32 * reach), y + 10 - 62 * reach])
        middle = (joint + tip) / 2 + np.array([side * 10.0, 10.0]) * reach
        shaken = np.stack([joint, middle, tip]) + rng.normal(0, 1.5, (3, 2))
        thick = 1 + 0.9 * fall
        radii = np.array([9.0, 5.0, 4.2, 5.5, 8.0]) * thick * (0.6 + 0.4 * rise)
        found += tube(smooth_path(shaken, step_mm=9.0), radii)
    return found


def _hips(belly: Belly, rng: np.random.Generator) -> list[Solid]:
    """Femoral heads in their sockets, trochanters, sitting bones, and the pubic bones in front."""
    level, y = belly.level, belly.spine_y - 22
    grown = ramp(level, 0.8, 0.9)
    if grown <= 0:
        return []
    found: list[Solid] = []
    for side in (-1, 1):
        head = np.array([side * 93.0, y]) + rng.normal(0, 1.5, 2)
        found.append(Ellipsoid(head, np.full(2, 8 + 15 * grown)))
        around = np.deg2rad(np.linspace(60, 280, 9) if side > 0 else np.linspace(120, -100, 9))
        cup = head + (17 + 15 * grown) * np.stack([np.cos(around), np.sin(around)], axis=1)
        found += tube(cup, [4.5, 5.5, 6.0, 4.0, 3.0, 4.0, 6.5, 5.0])
        sitting = head + np.array([-side * 8.0, 36.0])
        found.append(Capsule(sitting, sitting + np.array([-side * 12.0, 12.0]), 7.0, 5.0))
        if level > 0.88:
            out = head + np.array([side * 40.0, 14.0])
            found.append(Ellipsoid(out, np.array([13.0, 16.0]) * ramp(level, 0.85, 0.95)))
        if level > 0.93:
            pubis = np.array([side * 7.0, y - 52])
            arch = np.stack([cup[-1], (cup[-1] + pubis) / 2 - np.array([0, 6.0]), pubis])
            found += tube(smooth_path(arch, step_mm=9.0), 7.0)
    return found
