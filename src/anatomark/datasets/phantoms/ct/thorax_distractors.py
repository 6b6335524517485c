"""Calcium, metal and motion: what misleads a reader of the thorax phantom."""

from __future__ import annotations

from typing import Any

import numpy as np

from anatomark.datasets.phantoms.ct.canvas import Canvas
from anatomark.datasets.phantoms.ct.hounsfield import HU, add_streaks
from anatomark.datasets.phantoms.ct.solids import Ellipsoid, smooth_path, tube
from anatomark.datasets.phantoms.ct.thorax_heart import Heart, aorta_path, coronaries
from anatomark.geometry import FloatArray


def paint_distractors(canvas: Canvas, heart: Heart, rng: np.random.Generator) -> dict[str, Any]:
    """Paint each kind with some probability; return what was painted."""
    severity = float(rng.exponential(0.7))
    leaflets = int(rng.poisson(5 * severity)) if rng.random() < 0.5 else 0
    for _ in range(leaflets):
        _paint_leaflet_calcium(canvas, heart, rng)
    plaques = int(rng.poisson(4 * severity))
    for _ in range(plaques):
        _paint_plaque(canvas, heart, rng)
    stent = rng.random() < 0.12
    if stent:
        _paint_stent(canvas, heart, rng)
    lead = rng.random() < 0.07
    if lead:
        _paint_lead(canvas, heart, rng)
    return {"calcified_leaflet_spots": leaflets, "plaques": plaques, "stent": stent, "lead": lead}


def _blob(centre: FloatArray, rng: np.random.Generator, largest_mm: float) -> Ellipsoid:
    axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return Ellipsoid(centre, rng.uniform(0.35, 1.0, 3) * largest_mm, axes)


def _paint_leaflet_calcium(canvas: Canvas, heart: Heart, rng: np.random.Generator) -> None:
    angle, inwards = float(rng.uniform(-np.pi, np.pi)), float(rng.beta(1.3, 1.6))
    spot = heart.root.leaflet_point(angle, inwards)
    canvas.paint(_blob(spot, rng, 2.8), float(rng.uniform(0.6, 1.3) * HU["calcium"]))


def _paint_plaque(canvas: Canvas, heart: Heart, rng: np.random.Generator) -> None:
    """Calcium in the wall of the aorta or of a coronary artery."""
    if rng.random() < 0.4:
        path = aorta_path(heart)
        point = path[rng.integers(1, len(path))]
        radius = heart.root.junction_mm
    else:
        path, radii = coronaries(heart)[rng.integers(0, 4)]
        point = path[rng.integers(3, len(path))]
        radius = float(radii[0])
    aside = rng.normal(size=3)
    spot = point + 0.9 * radius * aside / np.linalg.norm(aside)
    canvas.paint(_blob(spot, rng, 2.4), float(rng.uniform(0.6, 1.2) * HU["calcium"]))


def _paint_stent(canvas: Canvas, heart: Heart, rng: np.random.Generator) -> None:
    """A metal mesh tube in one of the large coronary arteries."""
    path, radii = coronaries(heart)[int(rng.choice([0, 2, 3]))]
    start = int(rng.integers(3, max(len(path) - 5, 4)))
    pieces = tube(path[start : start + 6], float(radii[0]))
    canvas.paint(pieces, 0.35 * HU["metal"], grow=0.4)
    canvas.paint(pieces, heart.contrast.left + 80, grow=-0.7)


def _paint_lead(canvas: Canvas, heart: Heart, rng: np.random.Generator) -> None:
    """The lead of a pacemaker through the upper caval vein to the right ventricle, with streaks."""
    knots = [[-29, 0, 100], [-31, 4, 30], [-36, 6, -5], [-24, -12, -28], [10, -38, -46]]
    path = smooth_path(heart.at(knots) + rng.normal(0, 1.5, (5, 3)), step_mm=4.0)
    canvas.paint(tube(path, 1.0), HU["metal"])
    tip = heart.at(knots[-1:])
    where = canvas.frame.to_world(tip)[0]
    add_streaks(canvas.values, canvas.grid, where, rng, strength_hu=140.0, reach_mm=28.0)


def blur_heartbeat(
    canvas: Canvas, heart: Heart, rng: np.random.Generator, *, motion_mm: float
) -> None:
    """Double the edges of the right and lower heart, as when it moved during the exposure.

    The root hardly moves in the phase that is scanned; the weight falls off towards it.
    """
    from scipy.ndimage import shift

    direction = rng.normal(size=3) * [1, 1, 0.3]
    if motion_mm == 0:
        return
    centre = heart.at([[-15, -15, -38]])[0]
    ball = Ellipsoid(centre, np.full(3, 48.0))
    here = canvas.window(ball)
    if here is None:
        return
    step = motion_mm * direction / np.linalg.norm(direction) / canvas.grid.spacing
    still = canvas.values[here]
    moved = shift(still, step[::-1], order=1, mode="nearest", prefilter=False)
    weight = np.clip(-ball.distance(canvas.xyz[(slice(None), *here)]) / 30, 0, 0.5)
    still += weight * (moved - still)
