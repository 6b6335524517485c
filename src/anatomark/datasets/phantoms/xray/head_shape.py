"""Shape of the head phantom: template curves, how faces vary, and where the 19 points lie.

Millimetres on the film, origin in the sella, x forwards, y down, Frankfort plane level. The
template was drawn by hand after textbook norms; faces vary along the directions in which faces
do: length of the front and of the back of the face, jaw forward or back, jaw angle, skull.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from anatomark.datasets.phantoms.xray.outlines import rotation, smooth, xy
from anatomark.geometry import FloatArray
from anatomark.maps import ThinPlate

NAMES = (
    "sella", "nasion", "orbitale", "porion", "subspinale", "supramentale", "pogonion", "menton",
    "gnathion", "gonion", "lower_incisal_incision", "upper_incisal_incision", "upper_lip",
    "lower_lip", "subnasale", "soft_tissue_pogonion", "posterior_nasal_spine",
    "anterior_nasal_spine", "articulare",
)  # fmt: skip

Knots = tuple[tuple[float, float], ...]
PER_KNOT = 6
EAR_CANAL, EAR_CANAL_MM = (-20.0, 22.2), 4.2  # its middle in the template, and its radius
_REFINE = 8

#: Closed curves of the template.
CLOSED: Mapping[str, Knots] = {
    "skull": (
        (58, -7), (61.5, -17), (60.5, -38), (49, -63), (24, -82), (-8, -88), (-42, -80), (-69, -57),
        (-82, -22), (-81, 8), (-70, 30), (-54, 42), (-36, 44), (-17, 37), (-4, 24), (8, 12),
        (25, 5), (44, 0),
    ),
    "petrous": (
        (-40, 6), (-24, 0), (-11, 3), (-5, 13), (-8, 23), (-13.5, 29), (-21, 36), (-29, 47),
        (-37, 43), (-44, 26),
    ),
    "sphenoid": (
        (8, -5), (19, -4), (24, 6), (20, 18), (9, 25), (-3, 37), (-13, 38), (-10, 20), (-7, -3),
    ),
    "sphenoid_sinus": ((10, 0), (19, 0), (21.5, 8), (17, 15), (9, 17), (4.5, 10)),
    "fossa": ((5.2, -4), (5, 1.2), (0.3, 5), (-4.4, 1.8), (-5, -4.2), (0, -5)),
    "palate": (
        (15.5, 38.6), (22, 36.9), (36, 37.6), (50, 38.2), (60, 39.6), (55, 42.6), (44, 42.4),
        (30, 42), (20, 41.2),
    ),
    "maxilla": (
        (60, 39.8), (57.8, 43.6), (57, 48.5), (58.4, 54), (60.3, 58.5), (52, 60), (38, 60),
        (25, 57), (19.5, 50), (18, 40), (34, 38), (50, 38.6),
    ),
    "maxillary_sinus": ((23, 21), (42, 20), (47, 30), (43, 41), (31, 44), (22, 38)),
    "orbit": ((27, -6), (42, -8), (51, 0), (50, 12), (44, 17.5), (33, 14), (26, 5)),
    "frontal_sinus": ((57.6, -10), (58.6, -17), (56.5, -27), (53.5, -24), (54, -14)),
    "nasal_bone": ((59.2, -5.2), (62.3, -1), (66.5, 6), (69, 12), (66, 9.5), (61.5, 3), (58, -2.4)),
    "mandible": (
        (58.2, 74), (55, 81), (56.3, 88.5), (57, 94), (54.2, 99), (48.5, 101.6), (40, 101.2),
        (27, 95.5), (11, 86), (1, 80), (-6, 70), (-8.8, 58), (-11, 44), (-13.5, 29), (-14.6, 22),
        (-11, 17.6), (-6.5, 20), (-4, 27), (2, 33), (8, 27), (12, 21.5), (15, 32), (17.5, 47),
        (23, 59), (36, 66.5), (50, 71.5),
    ),
    "fissure": ((13.6, 16), (17.4, 15), (18, 22), (15.6, 36), (14.2, 26)),
    "atlas": ((-15, 48), (-11.5, 51), (-11.5, 57), (-15, 59), (-17, 53)),
    "dens": ((-24, 44), (-19, 44.5), (-18.5, 60), (-17.5, 73), (-31, 73), (-29, 60), (-25.5, 56)),
    "hyoid": ((4, 103), (13, 99.5), (15.5, 102), (11, 106)),
}  # fmt: skip

#: Open curves of the template.
OPEN: Mapping[str, Knots] = {
    "sella_wall": (
        (20, -7), (11, -8), (8, -6), (5.4, -4.6), (5.3, 1.2), (0.3, 5.4), (-4.8, 1.9), (-5.6, -4),
        (-4.8, -7.4), (-8, -5.5), (-10.5, 8), (-16, 30),
    ),
    "cranial_floor": ((20, -6), (34, -7), (46, -4), (56, -8)),
    "orbital_roof": ((20, -8), (32, -14), (46, -13), (55, -9)),
    "orbital_rim": (
        (50.5, -8), (45.5, 0), (43, 8), (43.4, 14.4), (46, 18), (49.6, 15), (52.6, 8.5),
    ),
    "cheek": ((46, 18.5), (41, 27), (39, 36), (35, 40.5), (30, 35), (23, 26), (10, 20)),
    "pterygoid": ((12.5, 13), (12.8, 24), (14, 37)),
    "nose_floor": ((60.5, 14), (60, 27), (59.4, 36)),
    "symphysis_back": ((54.5, 75), (48.5, 84), (45, 93), (45.5, 100)),
    "canal": ((3, 42), (7, 60), (18, 76), (36, 88), (47, 87)),
    "airway": ((8, 26), (4, 44), (-1, 62), (-5, 80), (-3, 98), (2, 118), (2, 150)),
    "soft_palate": ((15.5, 40), (9, 46), (4, 56), (3, 63)),
    "middle_fossa": ((16, -6), (22, 8), (20, 17), (6, 22), (-10, 15)),
    "occlusal_upper": ((58.5, 63.5), (48, 63.4), (36, 62), (24, 59)),
    "occlusal_lower": ((57.5, 65), (48, 64.6), (36, 63.2), (24, 60.2)),
    "roots_upper": ((53.5, 45), (45, 45), (36, 46), (27, 46.5)),
    "roots_lower": ((51, 84), (42, 83), (32, 79), (22, 74)),
    "spine": ((-25, 79), (-26, 93), (-29, 107), (-33, 121), (-38, 135), (-43, 149)),
    "back_of_head": (
        (63, -32), (52, -69), (25, -89), (-8, -95), (-45, -87), (-74, -63), (-88, -24), (-88, 10),
        (-80, 38), (-72, 68), (-74, 105), (-84, 140), (-90, 180),
    ),
}  # fmt: skip

#: Points that steer the thin-plate spline from the template to one face.
STEERING: Mapping[str, tuple[float, float]] = {
    "sella": (0, 0), "nasion": (58, -7), "orbitale": (46, 18), "porion": (-20, 18),
    "articulare": (-13.5, 29), "posterior_spine": (15.5, 38.6), "anterior_spine": (60, 39.6),
    "prosthion": (60.3, 58.5), "molar": (26, 60), "infradentale": (58.2, 74),
    "pogonion": (57, 94), "menton": (48.5, 101.6), "gonion": (-6, 70), "basion": (-15, 38),
    "forehead": (60.5, -38), "vertex": (-8, -88), "back": (-82, -8), "nape": (-54, 42),
    "neck": (-38, 135), "throat": (10, 140),
}  # fmt: skip
_UPPER_JAW = ("posterior_spine", "anterior_spine", "prosthion", "molar")
_LOWER_JAW = ("infradentale", "pogonion", "menton", "gonion")


@dataclass(frozen=True)
class HeadShape:
    """One head: curves by name (mm from the sella), landmarks, and the spline from the template."""

    curves: Mapping[str, FloatArray]
    landmarks: Mapping[str, FloatArray]
    warp: ThinPlate

    @property
    def points(self) -> FloatArray:
        """All landmarks ``(19, 2)`` in the order of ``NAMES``."""
        return np.stack([self.landmarks[name] for name in NAMES])

    def at(self, *template: tuple[float, float]) -> FloatArray:
        """Where points ``(N, 2)`` of the template lie in this head."""
        return np.asarray(self.warp(np.array(template, np.float64)))


def draw_head(rng: np.random.Generator) -> HeadShape:
    """Draw one head of the family."""
    warp, jaw_forward = _face(rng)
    curves = _warped(warp)
    upper, lower = _incisors(warp, jaw_forward, rng)
    profile, soft = _profile(warp, curves["back_of_head"], upper[1], lower[1], rng)
    curves |= {"upper_incisor": upper, "lower_incisor": lower, "skin": profile}
    points = _bone_landmarks(warp, curves) | soft
    points |= {"upper_incisal_incision": upper[1], "lower_incisal_incision": lower[1]}
    return HeadShape(curves, points, warp)


def _warped(warp: ThinPlate) -> dict[str, FloatArray]:
    """All curves of the template in one face."""
    curves = {name: smooth(knots, closed=True, per_knot=PER_KNOT) for name, knots in CLOSED.items()}
    curves |= {name: smooth(knots, per_knot=PER_KNOT) for name, knots in OPEN.items()}
    ends = np.cumsum([len(curve) for curve in curves.values()])
    moved = np.asarray(warp(np.concatenate(list(curves.values()))))
    return dict(zip(curves, np.split(moved, ends[:-1]), strict=True))


def _face(rng: np.random.Generator) -> tuple[ThinPlate, float]:
    """Spline from the template to one face, and how far the lower jaw is ahead of the upper."""
    source = np.array(list(STEERING.values()))
    row = {name: k for k, name in enumerate(STEERING)}
    target = source + rng.normal(0, 0.7, source.shape)
    front, back = rng.normal(1, 0.055), rng.normal(1, 0.065)
    share = np.clip((source[:, 0] + 10) / 70, -0.5, 1.2)
    stretch = back + (front - back) * share
    below = source[:, 1] > 5
    target[below, 1] = 5 + (target[below, 1] - 5) * stretch[below]
    upper, lower = rng.normal(0, 2.2), rng.normal(0, 3.6)
    target[[row[n] for n in _UPPER_JAW], 0] += upper
    target[[row[n] for n in _LOWER_JAW], 0] += lower
    target[row["gonion"], 0] -= 0.6 * lower
    _turn(target, [row[n] for n in _LOWER_JAW], row["articulare"], rng.normal(0, 2.6))
    _turn(target, [row[n] for n in _UPPER_JAW], row["posterior_spine"], rng.normal(0, 2.0))
    brow = rng.normal(0, (2.0, 1.5))
    target[row["nasion"]] += brow
    target[row["forehead"], 0] += brow[0]
    target[row["porion"]] += rng.normal(0, (1.5, 1.5))
    for name, spread in (
        ("vertex", (3, 4)),
        ("back", (5, 4)),
        ("forehead", (1.5, 3)),
        ("nape", (4, 3)),
    ):
        target[row[name]] += rng.normal(0, spread)
    target[row["neck"], 0] += rng.normal(0, 5)
    return ThinPlate(source, target * rng.normal(1, 0.05)), lower - upper


def _turn(points: FloatArray, rows: list[int], pivot: int, degrees: float) -> None:
    points[rows] = points[pivot] + (points[rows] - points[pivot]) @ rotation(degrees).T


def _incisors(
    warp: ThinPlate, jaw_forward: float, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Root tip and edge ``(2, 2)`` of the upper and the lower central incisor."""
    apexes = warp(np.array([(54.5, 44.5), (51.5, 86)]))
    upper_edge, between = warp(np.array([(62.8, 67.0), (61.5, 66.5)]))
    upper_edge = upper_edge + rng.normal(0, (1.2, 0.8))
    overjet = 2.0 - 0.55 * jaw_forward + rng.normal(0, 1.0)
    lower_edge = np.array([upper_edge[0] - overjet, between[1] - rng.normal(0.6, 1.3)])
    return np.stack([apexes[0], upper_edge]), np.stack([apexes[1], lower_edge])


def _profile(
    warp: ThinPlate,
    back: FloatArray,
    upper_edge: FloatArray,
    lower_edge: FloatArray,
    rng: np.random.Generator,
) -> tuple[FloatArray, dict[str, FloatArray]]:
    """Skin outline (closed) and the four soft-tissue landmarks on it."""
    thick = rng.normal(1, 0.12)
    nose = rng.normal((9.0 * (thick - 1), 0), 2.2)
    glabella, root, bridge, tip, under, wing, base = warp(
        np.array([(66.5, -18), (63.8, -6), (71, 10), (84, 29), (82.5, 36), (76, 40.5), (69.8, 45)])
    )
    bridge, tip, under, wing = bridge + 0.6 * nose, tip + nose, under + nose, wing + 0.5 * nose
    upper, lower = _lips(upper_edge, lower_edge, thick, rng)
    gap = (upper + lower) / 2 + xy(-5.5, -0.3)
    b_point, chin, below, under_chin = warp(np.array([(55, 81), (57, 94), (46, 101.6), (30, 99)]))
    fold = b_point + xy(10.5 * thick, 3.5)
    chin = chin + xy(9.8 * thick, 1.5) + rng.normal(0, (0.8, 1.0))
    half = rng.uniform(0.25, 1.0)  # how deep the lips part
    knots = np.array([
        glabella, root, bridge, tip, under, wing, base,
        0.55 * base + 0.45 * upper + xy(-1.2, 0.3), upper, upper + xy(-2.2, 5.4 * half + 1.2), gap,
        lower + xy(-1.8, -5.2 * half - 1.0), lower, (lower + fold) / 2 + xy(-0.8, 0), fold, chin,
        chin + xy(-3.6, 8), below + xy(0, 8 * thick), under_chin + xy(0, 9 * thick),
    ])  # fmt: skip
    throat = warp(np.array([(17, 107), (11, 122), (9, 150), (8, 180)]))
    throat[0, 1] += rng.normal(0, 3)
    front_curve = smooth(np.concatenate([knots, throat]), per_knot=PER_KNOT)
    soft = {
        "subnasale": _deepest(front_curve, 5, 8),
        "upper_lip": _furthest(front_curve, 7, 10),
        "lower_lip": _furthest(front_curve, 10, 13),
        "soft_tissue_pogonion": _furthest(front_curve, 14, 17),
    }
    return np.concatenate([front_curve, back[::-1]]), soft


def _lips(
    upper_edge: FloatArray, lower_edge: FloatArray, thick: float, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """The most forward points of the lips, which rest on the incisors."""
    front = max(lower_edge[0], upper_edge[0] - 2.5)
    upper = upper_edge + xy(12.5 * thick, -8.6) + rng.normal(0, (1.0, 1.3))
    lower = xy(front + 11.2 * thick, lower_edge[1] + 10.0) + rng.normal(0, (1.0, 1.4))
    return upper, lower


def _bone_landmarks(warp: ThinPlate, curves: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """The landmarks on bone, found on the curves of this head by their textbook definitions."""
    jaw, upper_jaw = curves["mandible"], curves["maxilla"]
    sella, nasion, canal, articulare = warp(np.array([(0, 0), (58, -7), EAR_CANAL, (-13.5, 29)]))
    return {
        "sella": sella,
        "nasion": nasion,
        "orbitale": _furthest(curves["orbital_rim"], 2, 6, axis=1),
        "porion": canal - xy(0, EAR_CANAL_MM),
        "subspinale": _deepest(upper_jaw, 0, 4),
        "supramentale": _deepest(jaw, 0, 3),
        "pogonion": _furthest(jaw, 2, 4),
        "menton": _furthest(jaw, 4, 6, axis=1),
        "gnathion": _deepest(jaw, 3, 5),
        "gonion": _deepest(jaw, 8, 12),
        "posterior_nasal_spine": curves["palate"][0],
        "anterior_nasal_spine": curves["palate"][4 * PER_KNOT],
        "articulare": articulare,
    }


def _section(curve: FloatArray, first: int, last: int) -> FloatArray:
    """Part of a curve between two of its knots, much finer than it is drawn."""
    return smooth(curve[first * PER_KNOT : last * PER_KNOT + 1], per_knot=_REFINE)


def _furthest(curve: FloatArray, first: int, last: int, *, axis: int = 0) -> FloatArray:
    """The most forward (or lowest) point between two knots."""
    part = _section(curve, first, last)
    found: FloatArray = part[part[:, axis].argmax()]
    return found


def _deepest(curve: FloatArray, first: int, last: int) -> FloatArray:
    """The point between two knots that is furthest from the line that joins them."""
    part = _section(curve, first, last)
    along = part[-1] - part[0]
    away = np.abs((part - part[0]) @ np.array([-along[1], along[0]]))
    found: FloatArray = part[away.argmax()]
    return found
