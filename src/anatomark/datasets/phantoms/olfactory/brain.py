"""The frontal lobes in their fluid: folds, the fissure, the olfactory sulci, vessels, falx."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anatomark.datasets.phantoms.ct.canvas import (
    Canvas,
    Ripple,
    body_coordinates,
    draw_ripple,
    lattice_shape,
    spread,
)
from anatomark.datasets.phantoms.ct.solids import Box, Ellipsoid, Field, Solid, smooth_path, tube
from anatomark.datasets.phantoms.olfactory.bulbs import Bulb
from anatomark.datasets.phantoms.olfactory.head import Easel, Head, Skull
from anatomark.datasets.phantoms.texture import soft_inside
from anatomark.geometry import FloatArray

_FOLD_LATTICE_MM = 2.5
_FOLDS_AT_MM = 50.0  # where the wavelength of the folds is what it says
_STRAIGHT_MM = 11.0  # no random folds within this distance of the gyri recti
_AROUND_MM = 4.0  # reaches past the grey matter
_FAR_MM = 99.0


@dataclass(frozen=True)
class Brain:
    """What differs between brains. ``folds`` and ``swirl`` make the sulci."""

    folds: Ripple
    swirl: Ripple
    deep_mm: float
    fluid_mm: float
    open_mm: float  # half the width of a sulcus
    fissure_mm: float
    lean: Ripple
    ribbon_mm: float
    sulci: FloatArray  # (2, 2): height in mm and tilt of the olfactory sulci, right and left


def draw_brain(rng: np.random.Generator) -> Brain:
    """Draw one brain; with age there is more fluid everywhere."""
    age = rng.uniform(0, 1)
    return Brain(
        folds=draw_ripple(rng, dimension=3, amplitude_mm=1.0, wavelengths_mm=(13.0, 22.0)),
        swirl=draw_ripple(rng, dimension=3, amplitude_mm=2.8, wavelengths_mm=(28.0, 60.0)),
        deep_mm=rng.uniform(10, 15),
        fluid_mm=0.8 + 2.2 * age * rng.uniform(0.7, 1.3),
        open_mm=0.35 + 0.65 * age * rng.uniform(0.7, 1.3),
        fissure_mm=0.5 + 0.9 * age * rng.uniform(0.7, 1.3),
        lean=draw_ripple(rng, dimension=3, amplitude_mm=0.8, wavelengths_mm=(30.0, 70.0)),
        ribbon_mm=rng.uniform(2.3, 3.1),
        sulci=np.stack([rng.normal(9.5, 1.3, 2), rng.normal(0.12, 0.1, 2)], axis=1),
    )


def paint_brain(easel: Easel, head: Head, brain: Brain, rng: np.random.Generator) -> None:
    """Paint skull, dura, fluid and brain, and what lies in the fluid but the bulbs."""
    inside = _paint_skull(easel, head.skull)
    _paint_lobes(easel, head, brain, inside)
    _paint_midline(easel, brain, inside, rng)
    _paint_vessels(easel, head, rng)


def paint_bulbs(easel: Easel, bulbs: tuple[Bulb, ...]) -> None:
    """Paint the bulbs that there are, with their tracts."""
    for bulb in bulbs:
        if bulb.present:
            easel.paint("white", *bulb.tract)
            easel.paint("bulb", bulb.solid, rough=0.05)


def _paint_skull(easel: Easel, skull: Skull) -> Field:
    """Paint bone, dura and fluid; returns the distance in mm to the fluid's outer surface."""
    xyz = easel.canvas.xyz
    below, case = skull.below(xyz), skull.case.distance(xyz)
    # The roof of the orbits is thicker than the plate.
    thick = 1 + np.float32(1.3) * np.clip((np.abs(xyz[0]) - 9) / np.float32(6), 0, 1)
    easel.fill("bone", np.maximum(below - thick, case), rough=0.2)
    shell = np.abs(case + np.float32(0.5 * skull.thick_mm)) - np.float32(0.5 * skull.thick_mm - 1.3)
    easel.fill("marrow", np.maximum(shell, below - np.float32(0.5)), rough=0.2)
    case += np.float32(skull.thick_mm)
    inside: Field = np.maximum(case, below, out=case)
    easel.fill("dura", inside)
    inside += np.float32(0.5)
    easel.fill("fluid", inside, rough=0.02)
    return inside


# -- lobes ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OlfactorySulcus:
    """The sheet that rises from a groove: ``path (N, 3)`` is its foot, from front to back."""

    path: FloatArray
    tilt: float
    height_mm: float
    open_mm: float

    @property
    def thickness(self) -> float:
        """See ``Solid``."""
        return 2 * self.open_mm

    def box(self) -> Box:
        """See ``Solid``."""
        aside = np.array([2 * self.open_mm + abs(self.tilt) * self.height_mm, 0, 0])
        high = self.path.max(axis=0) + aside
        high[2] += self.height_mm
        return self.path.min(axis=0) - aside, high

    def distance(self, xyz: Field) -> Field:
        """See ``Solid``."""
        foot, base = (
            np.interp(xyz[1], self.path[:, 1], self.path[:, axis]).astype(np.float32)
            for axis in (0, 2)
        )
        rise = xyz[2] - base
        aside = xyz[0] - foot - np.float32(self.tilt) * rise
        beyond = np.maximum(rise - np.float32(self.height_mm), -rise)
        np.maximum(beyond, 0, out=beyond)
        wide = np.float32(self.open_mm) * (1 + np.exp(-np.maximum(rise, 0) / np.float32(3)))
        distance: Field = np.sqrt(aside**2 + beyond**2) - wide
        return distance


def _hollows(canvas: Canvas, head: Head, brain: Brain) -> Field:
    """Distance in mm to the grooves and the olfactory sulci, right where the grey matter is."""
    solids: list[Solid] = []
    for bulb, (height, tilt) in zip(head.bulbs, brain.sulci.tolist(), strict=True):
        foot = np.array([bulb.solid.centre, *(piece.start for piece in bulb.tract)])
        solids.append(OlfactorySulcus(foot, bulb.side * tilt, height, brain.open_mm))
        solids += bulb.groove
    nearest = np.full(canvas.grid.shape, _FAR_MM, np.float32)
    boxes = [solid.box() for solid in solids]
    for solid, here in zip(solids, canvas.windows(boxes, grow=_AROUND_MM), strict=True):
        if here is not None:
            distance = solid.distance(canvas.xyz[(slice(None), *here)])
            nearest[here] = np.minimum(nearest[here], distance)
    return nearest


def _paint_lobes(easel: Easel, head: Head, brain: Brain, inside: Field) -> None:
    canvas = easel.canvas
    sheets, hollows = _random_sulci(canvas, head, brain), _hollows(canvas, head, brain)
    grey, white = np.float32(easel.signal("grey")), np.float32(easel.signal("white"))
    edge = canvas.edge_mm
    for row in range(canvas.grid.shape[0]):  # a slice at a time stays in the processor's cache
        near = inside[row] < edge
        lines, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
        if not len(lines):
            continue
        here = (row, slice(lines[0], lines[-1] + 1), slice(columns[0], columns[-1] + 1))
        xyz = np.ascontiguousarray(canvas.xyz[(slice(None), *here)])
        pial = _depth(xyz, inside[here], sheets[here], head.skull, brain)
        np.minimum(pial, hollows[here], out=pial)
        core = soft_inside(np.float32(brain.ribbon_mm) - pial, max(edge, 0.9))
        brainy = soft_inside(-pial, edge)
        brainy *= grey + core * (white - grey) - canvas.values[here]
        canvas.values[here] += brainy


def _depth(xyz: Field, inside: Field, sheets: Field, skull: Skull, brain: Brain) -> Field:
    """How deep in mm below the brain's surface points lie, folds and fissure included."""
    surface = inside + np.float32(brain.fluid_mm)
    # Over the plate the gyri recti end higher, in a basin of fluid.
    basin = np.exp(-np.square((np.abs(xyz[0]) - np.float32(5.5)) / np.float32(2.4)))
    lower = skull.below(xyz) + np.float32(1.6) * basin + np.float32(0.6 + 0.5 * brain.fluid_mm)
    depth: Field = -np.maximum(surface, lower, out=surface)
    deep = np.maximum(depth, 0)
    wide = np.float32(brain.open_mm) * (1 + 1.2 * np.exp(deep * np.float32(-0.4)))
    beyond = np.maximum(deep - np.float32(brain.deep_mm), 0)
    near = np.sqrt(np.square(xyz[0]) + np.square(xyz[2] - np.float32(6)))
    beyond += np.maximum(np.float32(_STRAIGHT_MM) - near, 0) * np.float32(1.2)
    np.minimum(depth, np.sqrt(np.square(sheets) + np.square(beyond)) - wide, out=depth)
    return np.minimum(depth, _fissure(xyz, brain), out=depth)


def _fissure(xyz: Field, brain: Brain) -> Field:
    """Distance to the fissure between the hemispheres."""
    aside = np.abs(xyz[0] + _leaning(xyz, brain))
    # It opens towards the base.
    flare = np.exp(np.abs(xyz[2] - np.float32(3)) * np.float32(-1 / 3))
    distance: Field = aside - np.float32(brain.fissure_mm) * (1 + flare)
    return distance


def _leaning(xyz: Field, brain: Brain) -> Field:
    """How far the fissure wanders from the middle, in mm: nothing at the base, more above."""
    z, y = xyz[2], xyz[1]
    away = np.clip((z - np.float32(8)) / np.float32(20), 0, 1)
    wave, phase = brain.lean.waves[:, 1:], brain.lean.phases
    wander = np.zeros_like(z)
    for (along, up), start, size in zip(wave[:3], phase, brain.lean.amplitudes_mm, strict=False):
        turn = y * np.float32(along) + z * np.float32(up)
        wander += np.float32(size[0]) * np.sin(turn + np.float32(start))
    leaning: Field = away * wander
    return leaning


def _random_sulci(canvas: Canvas, head: Head, brain: Brain) -> Field:
    """Distance in mm, at every voxel, to the sheets that fold the lobes.

    The sheets are the zeros of a wave that hardly changes along rays from within the brain, so
    that they go in from the surface.
    """
    coarse = canvas.grid.resized(lattice_shape(canvas.grid, _FOLD_LATTICE_MM))
    body = np.moveaxis(body_coordinates(coarse, head.frame), 0, -1).astype(np.float64)
    middle = np.array([0.0, 48.0, 14.0])
    middle = middle + np.sign(body[..., :1]) * [12.0, 0, 0]
    ray = body - middle
    length = np.linalg.norm(ray, axis=-1, keepdims=True)
    on_sphere = ray * (_FOLDS_AT_MM / np.maximum(length, 5.0))
    on_sphere[..., 0] += 40 * np.sign(body[..., 0])  # the two lobes are folded differently
    value = brain.folds(on_sphere + brain.swirl(body))[..., 0]
    slopes = np.gradient(value, *coarse.spacing[::-1])
    steep = np.sqrt(sum(slope**2 for slope in slopes))
    distance = np.abs(spread(value.astype(np.float32), canvas.grid.shape))
    distance /= np.maximum(spread(steep.astype(np.float32), canvas.grid.shape), np.float32(0.03))
    return distance


# -- in the fluid --------------------------------------------------------------------------------


def _paint_midline(easel: Easel, brain: Brain, inside: Field, rng: np.random.Generator) -> None:
    """The crista galli in front, and the falx that starts from it."""
    y = rng.normal(-11, 1.5)
    crest = Ellipsoid(
        np.array([0.0, y, 3.0]), np.array([rng.uniform(1.3, 2.2), 7.5, rng.uniform(6.5, 9.5)])
    )
    xyz = easel.canvas.xyz
    # The falx reaches the base in front and rises backwards.
    edge = np.float32(6) + np.maximum(xyz[1] - np.float32(y), 0) * np.float32(rng.uniform(0.7, 1.2))
    sheet = np.abs(xyz[0] + _leaning(xyz, brain)) - np.float32(0.4)
    np.maximum(sheet, np.maximum(edge - xyz[2], inside), out=sheet)
    part = soft_inside(sheet, easel.canvas.edge_mm)
    part *= np.float32(min(0.8 / easel.canvas.edge_mm, 1.0))
    easel.canvas.values += part * (np.float32(easel.signal("dura")) - easel.canvas.values)
    easel.paint("bone", crest)
    if rng.random() < 0.6:
        easel.paint("marrow", crest, grow=-0.7)


def _paint_vessels(easel: Easel, head: Head, rng: np.random.Generator) -> None:
    """Arteries in the fissure and by the olfactory sulci: dark dots in bright fluid."""
    for side in (-1, 1):
        rise, y = rng.uniform(10, 16), rng.uniform(-14, -4)
        path = [
            [side * 1.0, 30, 12],
            [side * 0.8, 12, rise],
            [side * 0.9, y, rise + 8],
            [side, y, 45],
        ]
        main = smooth_path(np.array(path, np.float64), step_mm=4.0)
        easel.paint("vessel", *tube(main, rng.uniform(0.55, 0.95)))
        bulb = head.bulbs[0 if side < 0 else 1]
        lift = rng.uniform(2.6, 4.5)
        start = bulb.solid.centre + np.array([-side * rng.uniform(0.5, 2.5), 22, 5])
        aside, ahead = -side * rng.uniform(-1, 2), rng.uniform(-8, 4)
        end = bulb.solid.centre + np.array([aside, ahead, lift])
        along = smooth_path(np.stack([start, 0.5 * (start + end), end]), step_mm=4.0)
        easel.paint("vessel", *tube(along, rng.uniform(0.35, 0.6)))
