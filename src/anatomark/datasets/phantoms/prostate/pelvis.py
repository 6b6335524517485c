"""Draw what lies in and around a prostate: zones, muscles, bones, rectum, bladder, vessels.

The body frame is that of ``Gland``: mm, x left, y posterior, z superior. A later part covers an
earlier one. Tissues are words; what a tissue looks like is for each modality to say.
"""

from __future__ import annotations

import numpy as np

from anatomark.datasets.phantoms.ct.solids import Cut
from anatomark.datasets.phantoms.prostate.gland import Gland
from anatomark.datasets.phantoms.prostate.ovals import Oval, Stem
from anatomark.datasets.phantoms.prostate.painting import Part, Pelvis
from anatomark.datasets.phantoms.prostate.pose import turned
from anatomark.geometry import FloatArray

_WAVES = 2


def draw_pelvis(rng: np.random.Generator, gland: Gland) -> Pelvis:
    """Draw the surroundings and the zones of a gland."""
    around = (
        *_sling(rng, gland),
        *_muscles(rng, gland),
        *_bones(rng, gland),
        *_rectum(rng, gland),
        *_bladder(rng, gland),
        *_vesicles(rng, gland),
        *_vessels(rng, gland),
        *_below_apex(rng, gland),
    )
    directions = rng.normal(size=(_WAVES, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    waves = 2 * np.pi / rng.uniform(35, 80, (_WAVES, 1)) * directions
    bend = waves, rng.uniform(0, 2 * np.pi, _WAVES), rng.normal(0, 2.2, (_WAVES, 3))
    return Pelvis(gland, around, tuple(_zones(rng, gland)), bend)


def _ball(
    centre: tuple[float, float, float] | FloatArray,
    radii: tuple[float, float, float],
    rng: np.random.Generator,
    *,
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0),
    vary: float = 0.12,
) -> Oval:
    """An ellipsoid with radii that vary by a part; ``turn`` is a rotation vector in degrees."""
    drawn = np.array(radii) * rng.uniform(1 - vary, 1 + vary, 3)
    axes = turned(np.deg2rad(turn) + rng.normal(0, 0.06, 3)).T
    return Oval(np.asarray(centre, np.float64), drawn, axes)


def _sling(rng: np.random.Generator, gland: Gland) -> list[Part]:
    """The levator muscle, a hammock around gland and rectum, and the tissue that it holds."""
    a, _, c = gland.half
    top = rng.uniform(24, 32)
    radii = (a + rng.uniform(5, 10), 48, top + c + rng.uniform(5, 9))
    outer = _ball((0, 8, top), radii, rng, vary=0.02)
    inner = Oval(outer.centre, outer.radii - rng.uniform(2.8, 4.2), outer.axes)
    below = Cut(outer, between=(-200.0, float(rng.uniform(2, 12))))
    return [Part("levator", below), Part("plexus", inner)]


def _muscles(rng: np.random.Generator, gland: Gland) -> list[Part]:
    parts = []
    for side in (1, -1):
        wall = side * max(gland.half[0] + rng.uniform(9, 14), 36)
        shapes: list[tuple[tuple[float, float, float], tuple[float, float, float], float]] = [
            ((wall + 8 * side, -4, 6), (11, 32, 46), 10.0 * side),  # internal obturator
            ((side * 52, 60, -6), (36, 18, 60), -28.0 * side),  # gluteal
            ((side * 34, -52, -34), (22, 12, 30), 25.0 * side),  # adductors
        ]
        for centre, radii, spin in shapes:
            parts.append(Part("muscle", _ball(centre, radii, rng, turn=(0, 0, spin))))
    return parts


def _bones(rng: np.random.Generator, gland: Gland) -> list[Part]:
    b = gland.half[1]
    front = -(b + rng.uniform(13, 21))
    height = rng.uniform(-12, 0)
    parts = []
    for side in (1, -1):
        shapes: list[tuple[tuple[float, float, float], tuple[float, float, float], float]] = [
            ((side * 18.0, front - 2, height), (15, 6, 17), -28.0 * side),
            ((side * 70.0, -4, 14), (13, 25, 38), 0.0),
            ((side * 50.0, 14, -42), (9, 13, 18), 12.0 * side),
        ]
        for centre, radii, spin in shapes:
            marrow = _ball(centre, radii, rng, turn=(0, 0, spin))
            parts.append(Part("marrow", marrow, coat=("cortex", float(rng.uniform(1.4, 2.2)))))
    parts.append(Part("cartilage", _ball((0, front, height), (3.2, 8, 16), rng)))
    tail = _ball((rng.normal(0, 2), 68, 22), (12, 5, 30), rng, turn=(-22, 0, 0))
    return [*parts, Part("marrow", tail, coat=("cortex", 1.6))]


def _rectum(rng: np.random.Generator, gland: Gland) -> list[Part]:
    """A tube behind the gland; its front wall follows the back of the gland, then turns away."""
    radius = rng.uniform(9, 17)
    back = gland.landmarks[2, 1] + rng.uniform(2.5, 5.0) + radius
    tube = Stem(
        x=np.array([rng.normal(0, 1.5), rng.uniform(-0.08, 0.08), rng.uniform(-0.002, 0.002)]),
        y=np.array([back, rng.uniform(-0.05, 0.15), rng.uniform(0.003, 0.007)]),
        radius=np.array([radius - 0.5, 0.04, -0.0016]),  # narrow at the anus, far below
        low=-75.0,
        high=80.0,
    )
    content = str(rng.choice(["gas", "stool", "gel"]))
    return [Part(content, tube, coat=("rectal wall", float(rng.uniform(2.5, 4.0))))]


def _bladder(rng: np.random.Generator, gland: Gland) -> list[Part]:
    """The bladder, more or less full; its outlet is the bladder neck."""
    neck = gland.landmarks[1]
    tall = rng.uniform(11, 34)
    lumen = np.array([rng.uniform(24, 38), rng.uniform(17, 30), tall])
    centre = neck + np.array([rng.normal(0, 1.5), rng.uniform(-6, 2), tall - 1.0])
    tilt = _ball(centre, (1, 1, 1), rng).axes
    wall = rng.uniform(2.5, 5.5)
    funnel = _ball(neck + np.array([0, 0, 1.0]), (4.5, 4.0, 5.0), rng)
    return [
        Part("urine", Oval(centre, lumen, tilt), coat=("bladder wall", float(wall))),
        Part("urine", funnel),
    ]


def _vesicles(rng: np.random.Generator, gland: Gland) -> list[Part]:
    """Seminal vesicles: two lobulated wings behind the bladder, above the base."""
    _, b, c = gland.half
    parts = []
    back = gland.axis(1.0)[1] + 0.55 * b
    for side in (1, -1):
        for step in range(4):
            out = 6.0 + 6.0 * step
            at = (side * out, back + 1.5 + 0.10 * out + rng.normal(0, 1), 0.93 * c + 3 + 0.30 * out)
            parts.append(Part("vesicle", _ball(at, (5.5, 3.8, 4.2), rng, vary=0.25)))
    return parts


def _vessels(rng: np.random.Generator, gland: Gland) -> list[Part]:
    """Dorsal veins in front, the two neurovascular bundles behind."""
    a, b, c = gland.half
    parts = [Part("veins", _ball((0, gland.axis(-0.5)[1] - b - 1, -0.5 * c), (12, 4.5, 11), rng))]
    for side in (1, -1):
        heights = np.linspace(-0.8, 1.1, 5)
        path = np.stack(
            [
                side * (0.72 * a + rng.normal(0, 1) + 2 * heights),
                gland.axis(heights)[1] + 0.92 * b + rng.normal(0, 0.8),
                heights * c,
            ],
            axis=1,
        )
        parts.append(Part("bundle", Stem.through(path, [1.6, 1.9, 2.2, 2.3, 2.4])))
    return parts


def _below_apex(rng: np.random.Generator, gland: Gland) -> list[Part]:
    """The urethra on its way down, its sphincter, and the bulb below."""
    apex = gland.landmarks[0]
    down = rng.uniform(11, 17)
    end = apex + np.array([rng.normal(0, 1), rng.uniform(-1, 4), -down - 6])
    path = np.stack([apex + np.array([0, 0, 2.0]), (apex + end) / 2, end])
    bulb = Part("bulb", _ball(end - [0, 0, 3.0], (9, 8, 8), rng))
    return [bulb, Part("urethra", Stem.through(path, [1.7] * 3), coat=("sphincter", 3.4))]


def _zones(rng: np.random.Generator, gland: Gland) -> list[Part]:
    a, b, c = gland.half
    growth = float(np.clip((b - 13) / 12 + rng.uniform(-0.15, 0.15), 0.0, 1.0))
    x, y = gland.urethra(0.25)
    radii = (0.52 + 0.24 * growth) * a, (0.50 + 0.28 * growth) * b, (0.55 + 0.2 * growth) * c
    middle = np.array([x, y - (0.05 - 0.12 * growth) * b, 0.18 * c])
    inner = _ball(middle, radii, rng, vary=0.05)
    back = np.array([x, gland.axis(0.7)[1] + 0.35 * b, 0.72 * c])
    front = np.array([x, gland.axis(0.0)[1] - 0.86 * b, 0.05 * c])
    path = gland.urethra_path(np.linspace(-1.02, 1.02, 5))
    channel = Stem.through(path, [1.3, 1.7, 1.9, 1.8, 1.6])
    return [
        Part("central zone", _ball(back, (0.5 * a, 0.3 * b, 0.32 * c), rng), 1.5),
        Part("transition zone", inner, 1.8),
        *_nodules(rng, inner, growth),
        Part("stroma", _ball(front, (0.42 * a, 0.26 * b, 0.75 * c), rng), 0.8),
        Part("urethra", channel, -1.0, coat=("urethral wall", 1.9)),
        *_lesions(rng, gland),
        *_stones(rng, gland, inner),
    ]


def _nodules(rng: np.random.Generator, zone: Oval, growth: float) -> list[Part]:
    """Nodules of benign growth, each with a thin dark rim."""
    parts = []
    for _ in range(int(rng.integers(2, 5) + round(7 * growth))):
        place = rng.normal(size=3)
        place *= rng.uniform(0.2, 0.8) / np.linalg.norm(place)
        radius = rng.uniform(1.6, 3.0 + 3.5 * growth)
        radii = (radius, radius * 0.9, radius)
        nodule = _ball(zone.centre + place * zone.radii, radii, rng, vary=0.2)
        kind = str(rng.choice(["glandular nodule", "stromal nodule", "mixed nodule"]))
        parts.append(Part(kind, nodule, 1.5, coat=("rim", 0.7)))
    return parts


def _lesions(rng: np.random.Generator, gland: Gland) -> list[Part]:
    """None to two dark spots in the peripheral zone."""
    a, b, c = gland.half
    parts = []
    for _ in range(int(rng.choice([0, 1, 2], p=[0.4, 0.4, 0.2]))):
        angle, height = rng.uniform(0.1, 0.9) * np.pi, rng.uniform(-0.6, 0.6)
        x, y = gland.axis(height)
        centre = (x + 0.72 * a * np.cos(angle), y + 0.72 * b * np.sin(angle), height * c)
        size = rng.uniform(2.5, 6.0)
        parts.append(Part("lesion", _ball(centre, (size, 0.7 * size, size), rng, vary=0.25), 0.5))
    return parts


def _stones(rng: np.random.Generator, gland: Gland, zone: Oval) -> list[Part]:
    """None to three calcifications between the zones or beside the urethra."""
    parts = []
    for _ in range(int(rng.integers(0, 4))):
        if rng.random() < 0.5:
            x, y, z = gland.urethra_path(rng.uniform(-0.3, 0.5, 1))[0]
            centre = (x + rng.normal(0, 3), y + rng.uniform(0, 4), z)
        else:
            side = rng.uniform(0.15, 0.85) * np.pi
            out = np.array([np.cos(side), np.sin(side), rng.uniform(-0.5, 0.5)])
            x, y, z = zone.centre + zone.radii * out
            centre = (x, y, z)
        size = rng.uniform(0.8, 2.0)
        parts.append(Part("stone", _ball(centre, (size, 0.8 * size, size), rng, vary=0.25), 2.0))
    return parts
