"""Hand phantom: an X-ray-like picture of a left hand with the 37 points of the public hand set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anatomark.data import Image, Landmarks, Sample
from anatomark.datasets.phantoms.texture import stream
from anatomark.datasets.phantoms.xray.film import (
    as_integers,
    collimate,
    draw_exposure,
    expose,
    label,
)
from anatomark.datasets.phantoms.xray.hand_shape import NAMES, HandShape, draw_hand
from anatomark.datasets.phantoms.xray.outlines import Outline, Stroke, Union, rotation, smooth, xy
from anatomark.datasets.phantoms.xray.raster import Raster, check_shape
from anatomark.datasets.phantoms.xray.thickness import Projection, chord, plate, shell
from anatomark.geometry import FloatArray, Grid
from anatomark.maps import Affine

_FULL = (640, 512)
_FILM_MM = (192.0, 240.0)
_FLESH = {
    "thumb": (10.5, 8.5),
    "index": (9.6, 7.4),
    "middle": (9.8, 7.6),
    "ring": (9.2, 7.2),
    "little": (8.4, 6.4),
}  # half widths at the knuckle and at the tip


@dataclass(frozen=True)
class _Hand:
    """A hand laid on the film: ``place`` carries its millimetres to the film's."""

    view: Projection
    shape: HandShape
    place: Affine
    scale: float


def hand_xray(seed: int, *, shape: Sequence[int] = _FULL) -> Sample:
    """Draw one film of a left hand (thumb to the right) with 37 landmarks, in pixels.

    ``shape`` is ``(y, x)``; the film is always the same, so a smaller picture shows the same hand
    in larger pixels. Nothing says how large a pixel is: as in the public set, millimetres come
    from the wrist (``wrist_ulnar`` to ``wrist_radial``), which counts as 50 mm wide.
    """
    raster = Raster(check_shape(shape), _FILM_MM)
    hand = draw_hand(stream(seed, "hand shape"))
    place, scale = _pose(hand, stream(seed, "hand pose"))
    view = Projection(raster)
    look = stream(seed, "hand look")
    _draw(_Hand(view, hand, place, scale), look, stream(seed, "hand texture"))
    label(view, look, side="L")
    exposure = draw_exposure(
        look, soft_per_mm=(0.018, 0.028), bone_per_mm=(0.05, 0.08), window=(15, 99.7)
    )
    grey = expose(view, exposure, stream(seed, "hand noise"))
    grey = collimate(grey, raster, look, widest_mm=7)
    grid = Grid(raster.shape, unit="px")
    points_px = grid.from_normalised(raster.normalised(place(hand.points)))
    return Sample(
        case=f"hand-{seed}",
        image=Image(as_integers(grey, np.uint8), grid),
        landmarks=Landmarks(NAMES, points_px, unit="px"),
        domain="hand",
    )


def _pose(hand: HandShape, rng: np.random.Generator) -> tuple[Affine, float]:
    """Turn the hand, then let it fill most of the film, the wrist not far from the lower edge."""
    turn = rotation(rng.normal(0, 7))
    points = hand.points @ turn.T
    low, high = points.min(axis=0) - xy(9, 9), points.max(axis=0) + xy(9, 14)
    film = np.array(_FILM_MM)
    scale = float((film / (high - low)).min() * rng.uniform(0.84, 0.98))
    free = film - scale * (high - low)
    corner = free * rng.uniform(0.15, 0.85, 2)
    return Affine(scale * turn, corner - scale * low), scale


def _draw(hand: _Hand, look: np.random.Generator, rng: np.random.Generator) -> None:
    view, scale = hand.view, hand.scale
    view.add("soft", _flesh(hand, look), chord(13 * scale))
    trabeculae = np.float32(0.07) * view.texture(1.3, rng) + np.float32(0.06) * view.texture(5, rng)
    wall, filling = look.uniform(0.9, 1.7) * scale, look.uniform(0.22, 0.42)
    for bone in hand.shape.bones:
        outline = Outline(hand.place(bone.outline))
        view.add("bone", outline, shell(bone.radius * scale, wall, filling), texture=trabeculae)
    _growth_plates(hand)
    if look.random() < 0.1:
        _ring(hand, look)


def _flesh(hand: _Hand, look: np.random.Generator) -> Union:
    """Outline of the skin: fingers, palm, ball of the thumb, forearm, melted together."""
    plump = look.uniform(0.9, 1.15) * hand.scale
    parts: list[Outline | Stroke] = []
    for finger, ends in hand.shape.rays.items():
        line = ends[2 if finger != "thumb" else 1 :]
        parts.append(Stroke.of(hand.place(line), np.array(_FLESH[finger]) * plump))
    heads = {finger: ends[1] for finger, ends in hand.shape.rays.items()}  # of the metacarpals
    palm = [
        xy(-23, -2), xy(-27, -24), heads["little"] + xy(-7.5, 4), heads["little"] + xy(-3, -8),
        heads["ring"] + xy(0, -9), heads["middle"] + xy(0, -9), heads["index"] + xy(3, -8),
        heads["index"] + xy(8.5, 6), xy(29, -62), heads["thumb"] + xy(0, 8), xy(33, -34),
        xy(24, -4), xy(0, 4),
    ]  # fmt: skip
    parts.append(Outline(hand.place(smooth(palm, closed=True, per_knot=3))))
    arm = hand.place(np.array([(0, -12), (0, 20), (-1, 60), (-2, 130)]))
    parts.append(Stroke.of(arm, np.array([26, 28, 31, 36]) * plump))
    return Union(tuple(parts), 2.6 * hand.scale, step_mm=1.5)


def _growth_plates(hand: _Hand) -> None:
    """Cartilage lets the rays through: dark lines that fade as the hand matures."""
    lines = [hand.place(b.plate) for b in hand.shape.bones if b.plate is not None]
    if lines:
        half = (0.25 + 1.0 * (1 - hand.shape.maturity)) * hand.scale
        gaps = Stroke.joined(Stroke.of(smooth(line, per_knot=3), half) for line in lines)
        hand.view.carve(("bone",), gaps, 0.25 + 0.65 * (1 - hand.shape.maturity), 0.6 * half)


def _ring(hand: _Hand, look: np.random.Generator) -> None:
    ends: FloatArray = hand.place(hand.shape.rays[str(look.choice(["ring", "middle"]))])
    along = (ends[3] - ends[2]) / np.linalg.norm(ends[3] - ends[2])
    across = np.array([-along[1], along[0]]) * 8.3 * hand.scale
    middle = ends[2] + look.uniform(0.35, 0.5) * (ends[3] - ends[2])
    band = Stroke.of(np.array([middle - across, middle + across]), look.uniform(1.0, 2.2))
    hand.view.add("metal", band, plate(1.6, 0.5))
