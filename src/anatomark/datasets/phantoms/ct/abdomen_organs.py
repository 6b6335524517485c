"""Kidneys, liver, spleen, bladder, womb and the large vessels of the abdomen phantom."""

from __future__ import annotations

import numpy as np

from anatomark.datasets.phantoms.ct.abdomen_body import Belly, ramp
from anatomark.datasets.phantoms.ct.canvas import Canvas, Coat
from anatomark.datasets.phantoms.ct.hounsfield import HU
from anatomark.datasets.phantoms.ct.solids import Ellipsoid, Field, tube, turned


def paint_organs(
    canvas: Canvas, belly: Belly, inside: Field, grain: Field, rng: np.random.Generator
) -> list[Ellipsoid]:
    """Paint the solid organs of this level; return the room they take from the bowel.

    ``inside`` is the distance to the cavity.
    """
    taken = _paint_upper(canvas, belly, inside, grain, rng)
    return taken + _paint_pelvic(canvas, belly, grain, rng)


def _paint_upper(
    canvas: Canvas, belly: Belly, inside: Field, grain: Field, rng: np.random.Generator
) -> list[Ellipsoid]:
    taken: list[Ellipsoid] = []
    wide = float(belly.cavity.radii[0])
    level, y = belly.level, belly.spine_y
    liver = 1 - ramp(level + rng.normal(0, 0.04), 0.0, 0.33)
    if liver > 0.1:
        organ = Ellipsoid(
            np.array([-wide + 18, y - 52]), np.array([18 + 38 * liver, 22 + 44 * liver]), turned(8)
        )
        canvas.paint(organ, belly.organ_hu, grain=(grain, 7.0), within=inside)
        spots = organ.centre + rng.uniform(-0.7, 0.7, (int(14 * liver), 2)) * organ.radii
        veins = [Ellipsoid(spot, rng.uniform(1.0, 3.2, 2)) for spot in spots]
        canvas.paint(veins, 0.5 * (belly.vessel_hu + belly.organ_hu) + 8, within=inside)
        taken.append(organ)
    spleen = 1 - ramp(level, 0.0, 0.14)
    if spleen > 0.1:
        organ = Ellipsoid(
            np.array([wide - 12, y - 14]),
            np.array([12 + 14 * spleen, 20 + 25 * spleen]),
            turned(-10),
        )
        canvas.paint(organ, belly.organ_hu + 8, grain=(grain, 7.0), within=inside)
        taken.append(organ)
    for side in (-1, 1):
        size = 1 - ramp(level + 0.05 * side + rng.normal(0, 0.03), 0.22, 0.38)
        if size > 0.15:
            taken.append(_paint_kidney(canvas, belly, side, size, grain, rng))
    return taken


def _paint_kidney(
    canvas: Canvas, belly: Belly, side: int, size: float, grain: Field, rng: np.random.Generator
) -> Ellipsoid:
    """Cortex, darker pyramids, and the fat and collecting system in the middle."""
    centre = np.array([side * 68.0, belly.spine_y - 4]) + rng.normal(0, 3, 2)
    radii = np.array([26.0, 30.0]) * np.sqrt(size) * rng.uniform(0.9, 1.1)
    angle = side * float(rng.normal(25, 8))
    whole = Ellipsoid(centre, radii, turned(angle))
    bright = belly.vessel_hu if belly.vessel_hu > 60 else 36.0
    canvas.paint(whole, HU["fat"], grow=7.0, grain=(grain, 11.0))
    canvas.paint(whole, bright, grain=(grain, 8.0))
    turn = rng.uniform(0, 2 * np.pi, 7)
    spots = centre + 0.62 * radii * np.stack([np.cos(turn), np.sin(turn)], axis=1) @ turned(angle)
    pyramids = [Ellipsoid(spot, np.array([4.5, 5.5])) for spot in spots]
    canvas.paint(pyramids, 0.75 * bright, grain=(grain, 8.0))
    hilum = centre - np.array([side * 0.38 * radii[0], 0.0])
    canvas.paint(Ellipsoid(hilum, 0.46 * radii, turned(angle)), HU["fat"], grain=(grain, 14.0))
    urine = HU["water"] if rng.random() < 0.6 else 300.0
    pelvis = np.stack([centre, hilum - np.array([side * 12.0, 2.0])])
    canvas.paint(tube(pelvis, [3.0, 5.0]), urine)
    canvas.paint(Ellipsoid(centre + rng.normal(0, 6, 2), np.full(2, 3.0)), urine)
    return Ellipsoid(centre, radii + 7)


def _paint_pelvic(
    canvas: Canvas, belly: Belly, grain: Field, rng: np.random.Generator
) -> list[Ellipsoid]:
    full = ramp(belly.level + rng.normal(0, 0.05), 0.7, 0.9) * float(rng.uniform(0.5, 1))
    if full < 0.1:
        return []
    y = belly.spine_y
    bladder = Ellipsoid(
        np.array([rng.normal(0, 5), y - 72]), np.array([16 + 34 * full, 12 + 25 * full])
    )
    womb = Ellipsoid(
        np.array([rng.normal(0, 8), y - 30]),
        np.array([24.0, 15.0]) * rng.uniform(0.7, 1.15),
        turned(float(rng.normal(0, 15))),
    )
    canvas.paint(womb, 0.6 * belly.organ_hu + 25, grain=(grain, 12.0))
    canvas.paint(Ellipsoid(womb.centre, 0.3 * womb.radii, womb.axes), 0.5 * belly.organ_hu)
    canvas.coat(
        [bladder], Coat(HU["soft"], 2.5, 8.0), Coat(HU["water"] + 3, grain=3.0), texture=grain
    )
    if rng.random() < 0.35:  # contrast has sunk to the back of the bladder
        level = Ellipsoid(bladder.centre + np.array([0, 0.75 * bladder.radii[1]]), bladder.radii)
        canvas.paint(bladder, float(rng.uniform(150, 400)), within=canvas.distance(level))
    for side in (-1, 1):
        ovary = Ellipsoid(
            np.array([side * 48.0, y - 38]) + rng.normal(0, 5, 2), rng.uniform(6, 12, 2)
        )
        canvas.paint(ovary, HU["soft"], grain=(grain, 12.0))
        canvas.paint(Ellipsoid(ovary.centre + 2, 0.4 * ovary.radii), HU["water"])
    return [bladder, womb]


def paint_vessels(canvas: Canvas, belly: Belly, rng: np.random.Generator) -> None:
    """Aorta and caval vein, further down the iliac vessels, and what lies beside them."""
    level, y, blood = belly.level, belly.spine_y, belly.vessel_hu
    apart = ramp(level, 0.38, 0.95)
    front = y - 33 - 22 * apart + 8 * ramp(level, 0.38, 0.5)
    pairs = []
    if apart == 0:
        pairs = [((7.0, front), (9.5, 9.5), 1.0), ((-19.0, front + 3), (12.5, 9.0), 0.85)]
    else:
        small = 9.0 - 3.5 * ramp(level, 0.38, 0.6)
        for side in (-1, 1):
            x = side * (9 + 62 * apart)
            pairs.append(((x, front), (small, small), 1.0))
            pairs.append(((x - side * 2, front + 2.2 * small), (1.25 * small, small), 0.85))
    for centre, radii, part in pairs:
        place = np.array(centre) + rng.normal(0, 1.5, 2)
        vessel = Ellipsoid(
            place, np.array(radii) * rng.uniform(0.85, 1.1), turned(rng.uniform(-30, 30))
        )
        canvas.coat([vessel], Coat(HU["fat"], 3.0), Coat(HU["soft"], 1.0), Coat(part * blood))
        if part == 1.0 and rng.random() < 0.4:  # calcium in the wall
            aside = rng.normal(size=2)
            spot = place + np.array(radii) * aside / np.linalg.norm(aside)
            canvas.paint(Ellipsoid(spot, rng.uniform(0.8, 2.2, 2)), HU["calcium"] * 0.9)
    beside = np.array([0, front + 4]) + rng.normal(
        0, [30 + 35 * apart, 8], (int(rng.integers(5, 12)), 2)
    )
    nodes = [Ellipsoid(spot, rng.uniform(1.3, 3.6, 2)) for spot in beside]
    canvas.paint(nodes, HU["soft"] + 0.3 * blood)  # lymph nodes, ureters, side branches
