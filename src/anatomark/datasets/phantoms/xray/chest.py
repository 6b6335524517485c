"""Chest phantom: a frontal chest film-like picture with the six lung points of Zhu 2021."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from anatomark.data import Image, Landmarks, Sample
from anatomark.datasets.phantoms.texture import stream
from anatomark.datasets.phantoms.xray.chest_shape import RIBS, ChestShape, draw_chest, draw_vessels
from anatomark.datasets.phantoms.xray.film import (
    as_integers,
    collimate,
    draw_exposure,
    expose,
    label,
)
from anatomark.datasets.phantoms.xray.outlines import Outline, Stroke, ellipse, rotation, smooth, xy
from anatomark.datasets.phantoms.xray.raster import Float32, Raster, check_shape
from anatomark.datasets.phantoms.xray.thickness import Projection, chord, dome, plate, shell
from anatomark.geometry import FloatArray, Grid
from anatomark.maps import Affine

NAMES = (
    "right_lung_top", "right_lung_bottom", "right_lung_outer",
    "left_lung_top", "left_lung_bottom", "left_lung_outer",
)  # fmt: skip
PAIRS = tuple((name.replace("right", "left"), name) for name in NAMES[:3])
_FULL = (512, 512)
_FILM_MM = (350.0, 350.0)


@dataclass(frozen=True)
class _Chest:
    """A chest laid on the film: ``place`` carries its millimetres to the film's."""

    view: Projection
    shape: ChestShape
    place: Affine

    def put(self, points: ArrayLike) -> FloatArray:
        """From the chest's millimetres to the film's."""
        return np.asarray(self.place(np.asarray(points, np.float64)))


def chest_xray(seed: int, *, shape: Sequence[int] = _FULL) -> Sample:
    """Draw one frontal chest film with six lung landmarks, in pixels; 16-bit grey values.

    The patient's right lung is on the left of the picture, as films are read. Top, bottom and
    outer are the extreme points of each lung's outline along the axes of the picture. ``shape`` is
    ``(y, x)``; the film is always the same, so a smaller picture has larger pixels.
    """
    raster = Raster(check_shape(shape), _FILM_MM)
    chest = draw_chest(stream(seed, "chest shape"))
    place = _pose(chest, raster, stream(seed, "chest pose"))
    view = Projection(raster)
    look = stream(seed, "chest look")
    _draw(_Chest(view, chest, place), look, stream(seed, "chest texture"))
    exposure = draw_exposure(
        look, soft_per_mm=(0.015, 0.021), bone_per_mm=(0.016, 0.032), window=(2, 97)
    )
    grey = expose(view, exposure, stream(seed, "chest noise"))
    grey = collimate(grey, raster, look, widest_mm=9)
    grid = Grid(raster.shape, unit="px")
    points = np.concatenate([_extremes(place(chest.lungs[s]), s) for s in ("right", "left")])
    points_px = grid.from_normalised(raster.normalised(points))
    landmarks = Landmarks(NAMES, points_px, pairs=PAIRS, unit="px")
    return Sample(
        case=f"chest-{seed}",
        image=Image(as_integers(grey, np.uint16), grid),
        landmarks=landmarks,
        domain="chest",
    )


def _pose(chest: ChestShape, raster: Raster, rng: np.random.Generator) -> Affine:
    """Lay the chest on the film a little crooked, both lungs on it."""
    film, turn = np.array(_FILM_MM), rotation(rng.normal(0, 2))
    lungs = np.concatenate(list(chest.lungs.values())) @ turn.T
    largest = (0.94 * film / np.ptp(lungs, axis=0)).min()
    scale = min(rng.normal(1.0, 0.06), float(largest))
    shift = film / 2 + rng.normal((0, -3), (7, 10))
    return Affine(scale * turn, raster.keep(scale * lungs, shift, margin=0.025))


def _extremes(outline: FloatArray, side: str) -> FloatArray:
    """Top, bottom and outer point ``(3, 2)`` of a lung's outline on the film."""
    fine = smooth(outline, closed=True, per_knot=6)
    outer = fine[:, 0].argmin() if side == "right" else fine[:, 0].argmax()
    return fine[[fine[:, 1].argmin(), fine[:, 1].argmax(), outer]]


# -- anatomy ---------------------------------------------------------------------------------------


def _draw(chest: _Chest, look: np.random.Generator, rng: np.random.Generator) -> None:
    view = chest.view
    flesh = np.float32(0.05) * view.texture(25, rng)
    view.add("soft", Outline(chest.put(chest.shape.torso)), dome(175, 38), texture=flesh)
    _breasts(chest, look)
    _lungs(chest, look, rng)
    view.add("soft", Outline(chest.put(chest.shape.heart)), dome(55, 18))
    _windpipe(chest)
    _stomach(chest, look)
    _vessels(chest, rng)
    _bones(chest)
    _devices(chest, look)
    label(view, look, side="L", at_right=True)


def _lungs(chest: _Chest, look: np.random.Generator, rng: np.random.Generator) -> None:
    """Air in place of flesh, unevenly."""
    deep = look.uniform(100, 135)
    mist = np.float32(0.04) * (chest.view.texture(9, rng) + chest.view.texture(40, rng))
    for outline in chest.shape.lungs.values():
        chest.view.add("soft", Outline(chest.put(outline)), dome(-deep, 12), texture=mist)


def _breasts(chest: _Chest, look: np.random.Generator) -> None:
    size = look.uniform(38, 62)
    thick = look.uniform(10, 45) if look.random() < 0.5 else 0
    for side in (-1, 1):
        centre = xy(side * 68 * chest.shape.wide, 66 * chest.shape.tall)
        ring = ellipse(centre, size, 0.85 * size)
        chest.view.add("soft", Outline(chest.put(ring)), dome(thick, 14))


def _windpipe(chest: _Chest) -> None:
    tall = chest.shape.tall
    trunk = [(0, -230), (-1, -150), (1, -90), (3, -48 * tall)]
    branches = ([trunk[-1], (-14, -28), (-26, -14)], [trunk[-1], (20, -30), (36, -20)])
    air = [Stroke.of(chest.put(smooth(trunk)), (8, 8.5, 7.5, 8))]
    air += [Stroke.of(chest.put(smooth(branch)), (6.5, 4.0)) for branch in branches]
    chest.view.add("soft", Stroke.joined(air), plate(-34, 4))


def _stomach(chest: _Chest, look: np.random.Generator) -> None:
    """Gas under the left dome of the diaphragm, in most people."""
    below = xy(look.normal(-8, 6), look.uniform(13, 20))
    size = look.uniform(7, 20)
    bubble = ellipse(chest.shape.left_dome + below, 1.3 * size, 0.6 * size)
    if look.random() < 0.7:
        chest.view.add("soft", Outline(chest.put(bubble)), dome(-60, 7))


def _vessels(chest: _Chest, rng: np.random.Generator) -> None:
    """Arteries and veins, as far as there is lung."""
    vessels = draw_vessels(chest.shape, rng)
    lines = chest.put([line for line, _ in vessels])
    strokes = Stroke.joined(
        Stroke.of(line, half) for line, (_, half) in zip(lines, vessels, strict=True)
    )
    chest.view.add("soft", strokes, chord(3.0), 4.5, texture=_in_lungs(chest) - 1)


def _in_lungs(chest: _Chest) -> Float32:
    """1 in the lungs, 0 outside, rising over some millimetres at their edges."""
    part = np.zeros(chest.view.raster.shape, np.float32)
    for outline in chest.shape.lungs.values():
        found = Outline(chest.put(outline)).depth(chest.view.raster)
        if found is not None:
            window, depth = found
            part[window] = np.maximum(part[window], np.clip((depth + 3) / 10, 0, 1))
    return part


def _bones(chest: _Chest) -> None:
    view, shape = chest.view, chest.shape
    sizes = 3.2 + 0.25 * (np.arange(len(shape.ribs)) % RIBS)
    backs = [Stroke.of(chest.put(b), half) for (b, _), half in zip(shape.ribs, sizes, strict=True)]
    fronts = [
        Stroke.of(chest.put(f), (half, 1.2 * half))
        for (_, f), half in zip(shape.ribs, sizes, strict=True)
    ]
    view.add("bone", Stroke.joined(backs), shell(4.4, 1.1, 0.35), 1.9)
    view.add("bone", Stroke.joined(fronts), shell(4.4, 0.9, 0.3), 1.0)
    collar = [Stroke.of(chest.put(line), (7.0, 4.6, 4.6, 6.0)) for line in shape.clavicles]
    view.add("bone", Stroke.joined(collar), shell(4.6, 1.2, 0.4), 2.4)
    _shoulders(chest)
    _spine(chest)


def _shoulders(chest: _Chest) -> None:
    """Scapulae and upper arms, mostly outside the lungs."""
    arms = []
    for side in (-1, 1):
        place = (side * chest.shape.wide, 1)
        edge = np.array([(148, -122), (124, -96), (116, -40), (122, 6), (132, -10), (146, -70)])
        blade = Outline(chest.put(smooth(edge * place, closed=True)))
        chest.view.add("bone", blade, shell(5, 1.2, 0.15), 1.5)
        arm = smooth(np.array([(160, -112), (168, -96), (176, -40), (182, 60)]) * place)
        arms.append(Stroke.of(chest.put(arm), (16, 14, 9, 9)))
    chest.view.add("bone", Stroke.joined(arms), shell(11, 2, 0.35))


def _spine(chest: _Chest) -> None:
    """Vertebral bodies with discs between them."""
    line = chest.shape.spine
    bodies = []
    for y in np.arange(-190, 210, 24.0):
        x, half = np.interp(y, line[:, 1], line[:, 0]), 13 + (y + 190) / 60
        ends = [xy(x - half + 8, y), xy(x, y), xy(x + half - 8, y)]
        bodies.append(Stroke.of(chest.put(ends), (10, 9, 10)))
    chest.view.add("bone", Stroke.joined(bodies), shell(10, 1.5, 0.5), 0.7)


def _devices(chest: _Chest, look: np.random.Generator) -> None:
    """Now and then a pacemaker with its lead, or electrodes."""
    if look.random() < 0.08:
        side = look.choice([-1, 1])
        centre = xy(side * look.uniform(70, 88), look.uniform(-90, -70))
        chest.view.add("metal", Outline(chest.put(ellipse(centre, 20, 17))), plate(0.8, 1.5))
        lead = smooth([centre, xy(side * 40, -100), xy(-12, -60), xy(-20, 20), xy(28, 72)])
        chest.view.add("metal", Stroke.of(chest.put(lead), 0.9), plate(0.5, 0.5))
    if look.random() < 0.12:
        for spot in look.uniform((-90, -60), (90, 90), (3, 2)):
            chest.view.add("metal", Outline(chest.put(ellipse(spot, 3.5, 3.5))), plate(0.25, 1.0))
