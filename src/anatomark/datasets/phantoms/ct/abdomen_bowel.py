"""Bowel and its vessels in the abdomen phantom: the part where two slices never look alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anatomark.datasets.phantoms.ct.abdomen_body import Belly, ramp
from anatomark.datasets.phantoms.ct.canvas import Canvas, Coat
from anatomark.datasets.phantoms.ct.hounsfield import HU
from anatomark.datasets.phantoms.ct.solids import (
    Capsule,
    Ellipsoid,
    Field,
    smooth_path,
    tube,
)
from anatomark.geometry import FloatArray

_TRIES = 900


def paint_mesentery(canvas: Canvas, belly: Belly, rng: np.random.Generator) -> None:
    """A fan of small vessels through the fat, from in front of the spine to the bowel."""
    root = np.array([0.0, belly.spine_y - 42])
    count = int(11 - 7 * ramp(belly.level, 0.5, 0.8))
    hu = HU["soft"] + 0.5 * belly.vessel_hu
    starts = root + rng.normal(0, [16, 8], (count, 2))
    headings = np.deg2rad(rng.uniform(-200, 20, count))
    radii = rng.uniform(1.1, 2.2, count)
    pieces: list[Capsule] = []
    while len(radii):
        steps = rng.uniform(7, 15, len(radii))[:, None]
        ends = starts + steps * np.stack([np.cos(headings), np.sin(headings)], axis=1)
        inside = belly.cavity.level(ends.T.astype(np.float32)) < 0.97
        alive = np.flatnonzero(inside & (radii > 0.5))
        pieces += [Capsule(starts[n], ends[n], radii[n], 0.9 * radii[n]) for n in alive]
        starts = np.repeat(ends[alive], 2, axis=0)
        headings = np.repeat(headings[alive], 2) + rng.normal(0, 0.55, 2 * len(alive))
        radii = np.repeat(radii[alive], 2) * rng.uniform(0.5, 0.93, 2 * len(alive))
    spots = rng.uniform(-1, 1, (45, 2)) * belly.cavity.radii * 0.9 + belly.cavity.centre
    widths = rng.uniform(0.7, 2.2, 45)
    dots = [Capsule(s, s + rng.normal(0, 2.5, 2), r, r) for s, r in zip(spots, widths, strict=True)]
    canvas.paint(pieces, hu)
    canvas.paint(dots, hu - 15)


def paint_bowel(
    canvas: Canvas, belly: Belly, grain: Field, taken: list[Ellipsoid], rng: np.random.Generator
) -> None:
    """Colon on both sides, loops of small bowel packed between, rectum further down."""
    circles = [(organ.centre, float(np.mean(organ.radii))) for organ in taken]
    circles.append((np.array([0.0, belly.spine_y - 12]), 40.0))
    for side in (-1, 1):
        if belly.level < 0.75:
            circles.append(_paint_colon(canvas, belly, side, grain, rng))
    if belly.level > 0.62:
        rectum = np.array(
            [rng.normal(0, 4), belly.spine_y + 4 - 16 * (1 - ramp(belly.level, 0.62, 0.9))]
        )
        _paint_stool(canvas, rectum, float(rng.uniform(11, 20)), grain, rng)
        circles.append((rectum, 22.0))
    _paint_small_bowel(canvas, belly, circles, grain, rng)


def _paint_colon(
    canvas: Canvas, belly: Belly, side: int, grain: Field, rng: np.random.Generator
) -> tuple[FloatArray, float]:
    radius = float(rng.uniform(14, 25))
    room = belly.cavity
    x = side * (room.radii[0] - radius - 6) * (1 - 0.15 * ramp(belly.level, 0.5, 0.75))
    centre = np.array([x, belly.spine_y - 46 - 8 * ramp(belly.level, 0.2, 0.7)]) + rng.normal(
        0, 4, 2
    )
    _paint_stool(canvas, centre, radius, grain, rng)
    return centre, radius + 3


def _paint_stool(
    canvas: Canvas, centre: FloatArray, radius: float, grain: Field, rng: np.random.Generator
) -> None:
    """A piece of large bowel: pouches, a thin wall, mottled stool, gas above it."""
    turns = np.linspace(0, 2 * np.pi, 5)[:-1] + rng.uniform(0, 1)
    middles = centre + 0.45 * radius * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    pouches = [Ellipsoid(middle, radius * rng.uniform(0.55, 0.8, 2)) for middle in middles]
    stool = float(rng.uniform(-60, 60))
    wall, inside = Coat(HU["soft"] + 15, grain=6.0), Coat(stool, -1.8, float(rng.uniform(40, 190)))
    canvas.coat(pouches, wall, inside, texture=grain)
    if rng.random() < 0.75:
        _paint_gas(canvas, pouches, centre[1] + radius * float(rng.uniform(-0.7, 0.8)))


def _paint_gas(canvas: Canvas, loop: list[Ellipsoid] | list[Capsule], surface_y: float) -> None:
    """Fill what lies in front of a level with gas, which rises in a patient on the back."""
    below = np.float32(surface_y) - canvas.xyz[1]
    canvas.paint(loop, HU["air"] + 60, grow=-1.8, within=-below)


@dataclass(frozen=True)
class Loop:
    """One piece of small bowel: its shape, and what is in it."""

    pieces: list[Capsule]
    kind: float
    shade: float
    wall_mm: float

    def content(self, wall_hu: float) -> tuple[float, float]:
        """HU and roughness of what fills it: nothing, fluid, or contrast that was drunk."""
        if self.kind < 0.3:
            return wall_hu - 18, 14.0
        if self.kind < 0.75:
            return 8 + 30 * self.shade, 10.0
        return 120 + 260 * self.shade, 18.0

    def folds(self, rng: np.random.Generator) -> list[Capsule]:
        """Folds of the lining, from the wall inwards."""
        found = []
        for piece in self.pieces:
            along = piece.end - piece.start
            across = np.array([-along[1], along[0]]) / max(float(np.linalg.norm(along)), 1e-6)
            tip = piece.start + across * piece.radius * rng.choice([-0.9, 0.9])
            inner = tip + (piece.start - tip) * float(rng.uniform(0.3, 0.9))
            found.append(Capsule(tip, inner, 0.9, 0.6))
        return found


def _paint_small_bowel(
    canvas: Canvas,
    belly: Belly,
    circles: list[tuple[FloatArray, float]],
    grain: Field,
    rng: np.random.Generator,
) -> None:
    loops = _pack_loops(belly, circles, rng)
    wall = HU["soft"] + 0.35 * belly.organ_hu
    canvas.paint([piece for loop in loops for piece in loop.pieces], wall, grain=(grain, 8.0))
    for loop in loops:
        hu, rough = loop.content(wall)
        canvas.coat(loop.pieces, Coat(hu, -loop.wall_mm, rough), texture=grain)
    canvas.paint([fold for loop in loops for fold in loop.folds(rng)], wall + 10)
    for loop in loops:
        if 0.6 < loop.kind < 0.88:
            middle = float(np.mean([piece.start[1] for piece in loop.pieces]))
            surface = middle + loop.pieces[0].radius * float(rng.uniform(-0.6, 0.4))
            _paint_gas(canvas, loop.pieces, surface)


def _pack_loops(
    belly: Belly, circles: list[tuple[FloatArray, float]], rng: np.random.Generator
) -> list[Loop]:
    """Throw loops at the cavity and keep those that find room."""
    room = belly.cavity
    # Some have more bowel than fat in there, some less.
    tries = int(_TRIES * rng.uniform(0.3, 1.0))
    radii = rng.uniform(6.0, 15.0, tries)
    lengths = rng.exponential(16, tries)
    middles = room.centre + rng.uniform(-1, 1, (tries, 2)) * room.radii
    turns = rng.uniform(0, np.pi, tries)
    steps = 0.5 * lengths[:, None] * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    bends = rng.normal(0, 1, (tries, 2)) * (0.3 * lengths[:, None] + 0.5)
    paths = np.stack([middles - steps, middles + bends, middles + steps], axis=1)
    deep = -room.distance(paths.transpose(2, 0, 1).astype(np.float32)).max(axis=1)
    looks = rng.uniform(0, 1, (tries, 2))
    walls = rng.uniform(1.4, 2.8, tries)
    spots = np.array([centre for centre, _ in circles])
    sizes = np.array([size for _, size in circles])
    loops: list[Loop] = []
    for n in np.flatnonzero(deep > radii + 1):
        apart = np.linalg.norm(paths[n][:, None] - spots, axis=2)
        if (apart < radii[n] + sizes).any():
            continue
        spots = np.concatenate([spots, paths[n]])
        sizes = np.concatenate([sizes, np.full(3, radii[n] + 0.5)])
        pieces = tube(smooth_path(paths[n], step_mm=7.0), radii[n] * rng.uniform(0.8, 1.05, 4))
        loops.append(Loop(pieces, float(looks[n, 0]), float(looks[n, 1]), float(walls[n])))
    return loops
