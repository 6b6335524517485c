"""Head phantom: a lateral cephalogram-like picture with the 19 points of ISBI 2015."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from anatomark.data import Image, Landmarks, Sample
from anatomark.datasets.phantoms.texture import stream
from anatomark.datasets.phantoms.xray.film import (
    as_integers,
    collimate,
    draw_exposure,
    expose,
    label,
)
from anatomark.datasets.phantoms.xray.head_shape import (
    EAR_CANAL,
    EAR_CANAL_MM,
    NAMES,
    HeadShape,
    draw_head,
)
from anatomark.datasets.phantoms.xray.outlines import Outline, Stroke, ellipse, rotation, smooth, xy
from anatomark.datasets.phantoms.xray.raster import Float32, Raster, check_shape
from anatomark.datasets.phantoms.xray.thickness import (
    Profile,
    Projection,
    chord,
    dome,
    plate,
    shell,
)
from anatomark.geometry import FloatArray, Grid
from anatomark.maps import Affine

_FULL = (800, 640)
_FILM_MM = (192.0, 240.0)
_BOTH = ("bone", "soft")


@dataclass(frozen=True)
class _Side:
    """A projection with one side of the head laid on it; ``place`` carries its mm to the film."""

    view: Projection
    head: HeadShape
    place: Affine

    def curve(self, name: str) -> FloatArray:
        """A curve of the head, in film mm."""
        return np.asarray(self.place(self.head.curves[name]))

    def row(self, name: str) -> FloatArray:
        """Places ``(6, 2)`` of the cheek teeth along a curve."""
        curve = self.curve(name)
        index = np.linspace(0.03, 0.97, 6) * (len(curve) - 1)
        steps = np.arange(len(curve))
        return np.stack([np.interp(index, steps, curve[:, k]) for k in (0, 1)], axis=1)

    def at(self, *template: tuple[float, float]) -> FloatArray:
        """Points of the template, in film mm."""
        return np.asarray(self.place(self.head.at(*template)))

    def fill(
        self,
        material: str,
        name: str,
        profile: Profile,
        amount: float = 1.0,
        *,
        texture: Float32 | None = None,
    ) -> None:
        """Draw a closed curve."""
        self.view.add(material, Outline(self.curve(name)), profile, amount, texture=texture)

    def lines(self, half_widths: Mapping[str, ArrayLike], thickness: float) -> None:
        """Draw open curves as sheets of bone seen along their edge."""
        strokes = [Stroke.of(self.curve(name), half) for name, half in half_widths.items()]
        self.view.add("bone", Stroke.joined(strokes), plate(thickness, 0.6))

    def moved(self, shift_mm: FloatArray, scale: float) -> _Side:
        """The other side of the head: further from the film, so larger and not quite in line."""
        centre = np.array(_FILM_MM) / 2
        return replace(
            self, place=_then(self.place, Affine.about(centre, scale * np.eye(2), shift_mm))
        )


def _then(first: Affine, second: Affine) -> Affine:
    return Affine(second.matrix @ first.matrix, second(first.offset))


def head_xray(seed: int, *, shape: Sequence[int] = _FULL, spacing: float = 0.3) -> Sample:
    """Draw one lateral head film with 19 landmarks, in mm.

    ``shape`` is ``(y, x)``; the film is always the same, so a smaller picture has larger pixels
    and the landmarks stay where they are. ``spacing`` is the size in mm of a pixel of the full
    800×640 picture: it sets the scale of the film, not what is seen on it.
    """
    raster = Raster(check_shape(shape), _FILM_MM)
    head = draw_head(stream(seed, "head shape"))
    place = _pose(head, raster, stream(seed, "head pose"))
    view = Projection(raster)
    near = _Side(view, head, place)
    look = stream(seed, "head look")
    far = near.moved(look.normal(0, (1.3, 1.0)), look.uniform(1.0, 1.02))
    _draw(near, far, look, stream(seed, "head texture"))
    _equipment(view, place, look)
    exposure = draw_exposure(
        look, soft_per_mm=(0.018, 0.024), bone_per_mm=(0.042, 0.062), window=(3, 97)
    )
    grey = expose(view, exposure, stream(seed, "head noise"))
    grey = collimate(grey, raster, look, widest_mm=5)
    full = Grid(_FULL, spacing * np.ones(2))
    points_mm = full.from_normalised(raster.normalised(place(head.points)))
    return Sample(
        case=f"head-{seed}",
        image=Image(as_integers(grey, np.uint8), full.resized(raster.shape)),
        landmarks=Landmarks(NAMES, points_mm),
        domain="head",
    )


def _pose(head: HeadShape, raster: Raster, rng: np.random.Generator) -> Affine:
    """From the head's own millimetres to the film's."""
    matrix = rng.normal(1, 0.02) * rotation(rng.normal(0, 3.0))
    shift = rng.normal((82.0, 103.0), (4.0, 4.5))
    return Affine(matrix, raster.keep(head.points @ matrix.T, shift, margin=0.02))


# -- anatomy ---------------------------------------------------------------------------------------


def _draw(near: _Side, far: _Side, look: np.random.Generator, rng: np.random.Generator) -> None:
    near.fill("soft", "skin", dome(130, look.uniform(14, 24)))
    _vault(near, look, rng)
    floor = Stroke.of(
        near.at((54, -3), (34, 4), (16, 10), (4, 20), (-8, 32), (-22, 42), (-36, 46)),
        (3, 9, 11, 11, 8, 7, 4),
    )
    near.view.carve(("bone",), floor, 0.7, 6)
    for side in (near, far):
        _base(side)
        _orbit(side)
    fine, coarse = near.view.texture(2, rng), near.view.texture(5, rng)
    _petrous(near, far, np.float32(0.2) * (fine + coarse))
    _air(near, look)
    _neck(near)
    trabeculae = np.float32(0.1) * (fine + coarse)
    for side, amount in ((near, 1.0), (far, 0.85)):
        _mandible(side, amount, trabeculae)
    _maxilla(near, trabeculae)
    _teeth(near, far, look)


def _vault(side: _Side, look: np.random.Generator, rng: np.random.Generator) -> None:
    wall = look.uniform(3.5, 6.0)
    clouds = np.float32(0.10) * side.view.texture(14, rng)
    clouds += np.float32(0.05) * side.view.texture(4, rng)
    side.fill("bone", "skull", shell(72, wall, 0.0), texture=clouds)


def _base(side: _Side) -> None:
    side.fill("bone", "sphenoid", shell(9, 1.2, 0.35), 0.4)
    side.lines({"cranial_floor": 0.8, "middle_fossa": 0.8, "pterygoid": (1.2, 0.7)}, 6)


def _orbit(side: _Side) -> None:
    rim: dict[str, ArrayLike] = {
        "orbital_roof": 0.8,
        "orbital_rim": (1.0, 1.3, 1.0),
        "cheek": (1.6, 1.6, 1.1),
    }
    side.lines(rim, 9)
    side.view.carve(_BOTH, Outline(side.curve("orbit")), 0.12, 4)


def _petrous(near: _Side, far: _Side, cells: Float32) -> None:
    """The dense bone round the ear, with its air cells, and the ear canal."""
    view = near.view
    for side in (near, far):
        side.fill("bone", "petrous", dome(12, 5), texture=cells)
    for side in (near, far):
        canal = side.at(EAR_CANAL)[0]
        ring = ellipse(canal, EAR_CANAL_MM, EAR_CANAL_MM)
        view.add("bone", Stroke.of(np.vstack([ring, ring[:1]]), 0.6), plate(12, 0.5))
        view.carve(("bone",), Outline(ring), 0.6, 1.2)


def _air(side: _Side, look: np.random.Generator) -> None:
    view = side.view
    view.carve(_BOTH, Outline(side.curve("maxillary_sinus")), 0.30, 3)
    view.carve(_BOTH, Outline(side.curve("sphenoid_sinus")), look.uniform(0.1, 0.35), 2)
    view.carve(_BOTH, Outline(side.curve("frontal_sinus")), look.uniform(0.1, 0.5), 1.5)
    view.carve(_BOTH, Outline(side.curve("fissure")), 0.35, 1.5)
    airway = Stroke.of(side.curve("airway"), (5, 6, 4.5, 5, 6, 7))
    view.add("soft", airway, plate(-30, 3.0))
    view.add("soft", Stroke.of(side.curve("soft_palate"), (2.5, 3.8)), plate(14, 2.0))
    view.carve(("bone",), Outline(side.curve("fossa")), 0.5, 1.0)
    side.lines({"sella_wall": (0.6, 0.9, 0.9, 0.6)}, 10)


def _neck(side: _Side) -> None:
    for name in ("atlas", "dens", "hyoid"):
        side.fill("bone", name, shell(6, 1.2, 0.45))
    back = side.at((-50, 50), (-45, 56), (-52, 60))
    side.view.add("bone", Stroke.of(back, 3), chord(3))
    line = side.curve("spine")
    steps = line[4::8]
    for centre, ahead in pairwise(steps):
        _vertebra(side.view, centre, ahead - centre)


def _vertebra(view: Projection, centre: FloatArray, step: FloatArray) -> None:
    """A body and a spinous process of one cervical vertebra; ``step`` leads to the next."""
    down = step / np.linalg.norm(step)
    back = np.array([-down[1], down[0]])
    half = 0.40 * np.linalg.norm(step)
    corners = [(7, 0.8), (6.2, -1), (0, -0.85), (-6.5, -0.95), (-6, 0), (-6.5, 0.95), (0, 0.9)]
    body = [centre - back * x + down * half * y for x, y in corners]
    view.add("bone", Outline(smooth(body, closed=True)), shell(6, 1.1, 0.4))
    process = [centre + back * x + down * y for x, y in ((7, 0), (13, 2.5), (20, 7), (29, 11))]
    view.add("bone", Stroke.of(smooth(process), (4.2, 3.2, 1.8, 2.4)), shell(4, 1.0, 0.3), 0.8)


def _mandible(side: _Side, amount: float, trabeculae: Float32) -> None:
    side.fill("bone", "mandible", shell(7, 1.6, 0.30), 0.8 * amount, texture=trabeculae)
    side.lines({"symphysis_back": (0.8, 1.4)}, 5 * amount)
    canal = Stroke.of(side.curve("canal"), 1.2)
    side.view.carve(("bone",), canal, 0.15, 0.8)


def _maxilla(side: _Side, trabeculae: Float32) -> None:
    side.fill("bone", "palate", shell(5, 1.0, 0.6), 1.1)
    side.fill("bone", "maxilla", shell(6, 0.9, 0.30), 0.75, texture=trabeculae)
    side.fill("bone", "nasal_bone", plate(10, 1.0))
    side.lines({"nose_floor": 0.5}, 3)


# -- teeth -----------------------------------------------------------------------------------------


def _teeth(near: _Side, far: _Side, look: np.random.Generator) -> None:
    braces = look.random() < 0.2
    fillings = look.random(2) < (0.35, 0.35)
    for jaw, filled in zip(("upper", "lower"), fillings, strict=True):
        for side in (near, far):
            edges, apexes = side.row(f"occlusal_{jaw}"), side.row(f"roots_{jaw}")
            teeth = [(a, e, 3.6) for a, e in zip(apexes, edges, strict=True)]
            _set_teeth(near.view, teeth, 0.75)
        edges, apexes = near.row(f"occlusal_{jaw}"), near.row(f"roots_{jaw}")
        if filled:
            _fill_teeth(near.view, edges, apexes, look)
        if braces:
            _brackets(near.view, edges, apexes)
    _incisors(near, look)


def _incisors(side: _Side, look: np.random.Generator) -> None:
    for jaw in ("upper", "lower"):
        apex, edge = side.curve(f"{jaw}_incisor")
        _set_teeth(side.view, [(apex, edge, 2.7)], 1.0)
        others = []
        for _ in range(2):  # the other incisors, not quite in line
            other = edge + look.normal(0, (0.1, 0.5)) - xy(abs(look.normal(0.6, 0.7)), 0)
            others.append((apex - xy(0.7, 0), _behind(edge, other, apex), 2.6))
        _set_teeth(side.view, others, 0.9)


def _behind(edge: FloatArray, other: FloatArray, apex: FloatArray) -> FloatArray:
    """Keep ``other`` from reaching past the edge of the foremost tooth."""
    along = (edge - apex) / np.linalg.norm(edge - apex)
    return other - max(float((other - edge) @ along) + 0.4, 0.0) * along


def _set_teeth(
    view: Projection, teeth: Sequence[tuple[FloatArray, FloatArray, float]], amount: float
) -> None:
    """Draw teeth of one depth, each given as root tip, edge and half width."""
    roots = [_tooth(*tooth) for tooth in teeth]
    crowns = [Stroke.of(line[2:], widths[2:]) for line, widths in roots]
    view.add(
        "bone", Stroke.joined(Stroke.of(*root) for root in roots), shell(3.4, 1.2, 0.75), amount
    )
    view.add("bone", Stroke.joined(crowns), shell(3.4, 1.0, 0.5), 0.9 * amount)


def _tooth(apex: FloatArray, edge: FloatArray, half: float) -> tuple[FloatArray, FloatArray]:
    """Midline and half widths of a tooth that ends exactly at ``edge``."""
    along = (edge - apex) / np.linalg.norm(edge - apex)
    end = edge - 0.45 * half * along
    line = apex + np.array([(0.0,), (0.35,), (0.62,), (0.8,), (1.0,)]) * (end - apex)
    return line, half * np.array([0.28, 0.55, 0.85, 0.95, 0.45])


def _fill_teeth(
    view: Projection, edges: FloatArray, apexes: FloatArray, look: np.random.Generator
) -> None:
    for k in look.choice(np.arange(1, len(edges)), size=3, replace=False):
        crown = edges[k] + look.uniform(0.1, 0.22) * (apexes[k] - edges[k])
        size = look.uniform(1.4, 3.0)
        view.add(
            "metal", Outline(ellipse(crown, size, 0.7 * size)), plate(look.uniform(0.8, 2.0), 0.8)
        )


def _brackets(view: Projection, edges: FloatArray, apexes: FloatArray) -> None:
    middles = edges + 0.24 * (apexes - edges)
    view.add("metal", Stroke.of(middles, 0.35), plate(0.7, 0.3))
    half = np.array([(-1.1, 0), (1.1, 0)])
    view.add("metal", Stroke.joined(Stroke.of(m + half, 1.2) for m in middles), plate(0.9, 0.4))


# -- equipment and exposure ------------------------------------------------------------------------


def _equipment(view: Projection, place: Affine, look: np.random.Generator) -> None:
    """Ear rods of the head holder, a nasion ruler, a film label."""
    if look.random() < 0.6:
        rod, size = place(xy(-20, 21)) + look.normal(0, 1.8, 2), look.uniform(2.0, 3.4)
        view.add("metal", Outline(ellipse(rod, size, size)), plate(0.35, 0.6))
    if look.random() < 0.6:
        x, bottom = look.uniform(160, 182), look.uniform(60, 95)
        view.add("metal", Outline(_box(x, 0, x + 5, bottom)), plate(0.25, 0.4))
        ticks = [np.array([(x - 2.5, y), (x, y)]) for y in np.arange(0, bottom, 5)]
        view.add("metal", Stroke.joined(Stroke.of(t, 0.35) for t in ticks), plate(0.6, 0.3))
    label(view, look, side=str(look.choice(["L", "R"])))


def _box(left: float, top: float, right: float, bottom: float) -> FloatArray:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)
