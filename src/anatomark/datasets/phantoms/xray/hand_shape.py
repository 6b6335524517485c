"""Shape of the hand phantom: bones as outlines, how hands vary, and where the 37 points lie.

Millimetres of a hand whose wrist is about 50 mm wide, origin in the middle of the wrist, x towards
the thumb, y down (towards the forearm): a left hand, seen from its back, fingers up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from anatomark.datasets.phantoms.xray.outlines import rotation, smooth, xy
from anatomark.geometry import FloatArray

FINGERS = ("thumb", "index", "middle", "ring", "little")
#: Names in the order of the public hand set; the wrist is measured from the first to the fifth.
NAMES = (
    "wrist_ulnar", "ulnar_styloid", "ulna_radial_border", "radius_ulnar_border", "wrist_radial",
    "radial_styloid", "triquetrum", "lunate", "scaphoid", "hamate", "capitate", "trapezoid",
    "trapezium", "little_metacarpal_base", "ring_metacarpal_base", "middle_metacarpal_base",
    "index_metacarpal_base", "thumb_metacarpal_base", "thumb_mcp", "thumb_ip", "thumb_tip",
    "index_mcp", "index_pip", "index_dip", "index_tip",
    "middle_mcp", "middle_pip", "middle_dip", "middle_tip",
    "ring_mcp", "ring_pip", "ring_dip", "ring_tip",
    "little_mcp", "little_pip", "little_dip", "little_tip",
)  # fmt: skip

#: Metacarpal base (x, y), its direction (degrees from straight up to the thumb's side), lengths.
_RAYS = {
    "thumb": ((25.5, -35.5), 36.0, (44, 31, 23)),
    "index": ((14.0, -45.5), 8.0, (67, 41, 24, 17)),
    "middle": ((2.5, -46.5), 0.5, (65, 46, 29, 18)),
    "ring": ((-8.5, -44.5), -6.5, (58, 42, 27, 18.5)),
    "little": ((-17.5, -41.0), -14.0, (53, 33, 19, 16.5)),
}
#: Half widths of base, waist and head of each bone of a ray, in mm.
_GIRTHS = ((6.3, 3.9, 6.5), (6.8, 3.7, 5.2), (6.0, 3.2, 4.6), (5.0, 2.2, 3.4))
_SLENDER = {"thumb": 1.08, "index": 1.0, "middle": 1.02, "ring": 0.94, "little": 0.86}
#: Carpal bones: centre, half width and half height, turn in degrees.
_CARPALS = {
    "triquetrum": ((-17, -21), (6.4, 7.2), 20), "lunate": ((-5, -16.5), (8.0, 7.2), 0),
    "scaphoid": ((11, -19), (7.6, 11.2), 42), "hamate": ((-11, -33), (7.6, 9.8), -12),
    "capitate": ((1.5, -32.5), (7.2, 12.0), 0), "trapezoid": ((13.8, -36.5), (6.0, 6.8), 15),
    "trapezium": ((23, -30), (7.6, 6.8), 30), "pisiform": ((-18.5, -17), (3.8, 4.4), 0),
}  # fmt: skip
_HOLLOW_MM = 0.5  # the base of a bone is hollow: on its axis, its outline begins here
_ADULT = 0.95  # no growth plates from here on
_RADIUS = (
    (-5.5, -7), (-5.8, -2), (-2.5, 6), (3, 20), (5, 60), (5.5, 110), (19, 110), (18.5, 60),
    (20, 24), (24.4, 6), (25.4, -3), (24.4, -10), (21.5, -15.5), (17.5, -12.6), (9, -8.6),
    (1, -7.6),
)  # fmt: skip
_ULNA = (
    (-8.2, -4.5), (-7.8, 0), (-10, 7), (-12, 22), (-11.5, 60), (-9, 110), (-20, 110), (-21.5, 60),
    (-22, 24), (-23, 8), (-24.2, 0), (-24, -6), (-22.4, -10.4), (-19.6, -8), (-14, -8.6),
)  # fmt: skip


@dataclass(frozen=True)
class Bone:
    """A closed outline, half its usual width, and where its growth plate crosses it."""

    outline: FloatArray
    radius: float
    plate: FloatArray | None = None


@dataclass(frozen=True)
class HandShape:
    """One hand: bones, midlines of its rays (from metacarpal base to tip), landmarks, maturity."""

    bones: tuple[Bone, ...]
    rays: dict[str, FloatArray]
    landmarks: dict[str, FloatArray]
    maturity: float  # 0 a small child with wide growth plates, 1 an adult

    @property
    def points(self) -> FloatArray:
        """All landmarks ``(37, 2)`` in the order of ``NAMES``."""
        return np.stack([self.landmarks[name] for name in NAMES])


def draw_hand(rng: np.random.Generator) -> HandShape:
    """Draw one hand of the family."""
    maturity = float(np.clip(rng.uniform(-0.1, 1.5), 0, 1))
    stout = rng.normal(1, 0.06)
    bones, landmarks = _forearm(rng, maturity)
    carpals, centres = _carpals(rng, maturity)
    bones += carpals
    landmarks |= centres
    rays: dict[str, FloatArray] = {}
    spread = np.clip(rng.normal(1.0, 0.4), 0.2, 1.9)
    reach = rng.normal(1, 0.05)
    for finger in FINGERS:
        line, own = _ray(finger, spread, reach, stout, maturity, rng)
        rays[finger] = line
        bones += own
        landmarks |= _ray_landmarks(finger, line)
    if maturity > 0.5:
        joint = landmarks["thumb_mcp"]  # two sesamoid bones lie at its palm side
        bones += [_blob(joint + xy(x, 3.5), xy(2.4, 2.9), 0, rng) for x in (-6.5, 3.5)]
    return HandShape(tuple(bones), rays, landmarks, maturity)


def _ray(
    finger: str,
    spread: float,
    reach: float,
    stout: float,
    maturity: float,
    rng: np.random.Generator,
) -> tuple[FloatArray, list[Bone]]:
    """Ends of the bones of one ray (base and head of each, in turn), and the bones."""
    base, degrees, lengths = _RAYS[finger]
    here = np.array(base) + rng.normal(0, (0.7, 0.9))
    angle = degrees * (0.55 + 0.45 * spread) + rng.normal(0, 7 if finger == "thumb" else 1.2)
    turn = 0.55 * degrees * (spread - 1) if finger != "thumb" else rng.normal(-8, 9)
    bends = [0.0, turn + rng.normal(0, 3.0), rng.normal(0, 3.0), rng.normal(0, 3.0)]
    gap = 1.3 + 0.9 * (1 - maturity)
    kinds = (0, 1, 3) if finger == "thumb" else (0, 1, 2, 3)
    wider = (1.2, 1.0, 1.15) if finger == "thumb" else (1.0, 1.0, 1.0, 1.0)
    ends, bones = [], []
    for k, length in enumerate(lengths):
        angle += bends[k]
        ahead = rotation(angle) @ xy(0, -1)
        there = here + ahead * length * reach * rng.normal(1, 0.03)
        girth = np.array(_GIRTHS[kinds[k]]) * _SLENDER[finger] * stout * wider[k]
        bones.append(_long_bone(here, there, girth, last=k == len(lengths) - 1))
        if maturity < _ADULT:
            bones[-1] = _with_plate(bones[-1], here, there, at_head=k == 0 and finger != "thumb")
        ends += [here + _HOLLOW_MM * ahead, there]
        here = there + ahead * gap
    return np.array(ends), bones


def _long_bone(base: FloatArray, head: FloatArray, girth: ArrayLike, *, last: bool) -> Bone:
    """A bone from base to head, given half widths of base, waist and head."""
    wide, waist, top = np.asarray(girth, np.float64)
    side = [
        (0.0, 0.45 * wide), (0.02, 0.85 * wide), (0.08, wide), (0.17, 0.82 * wide), (0.36, waist),
        (0.62, 0.97 * waist), (0.83, 0.80 * top), (0.92, top), (0.975, 0.82 * top),
        (1.0, 0.35 * top),
    ]  # fmt: skip
    if last:  # a distal phalanx ends in a tuft
        side[5:] = [(0.7, 0.95 * waist), (0.84, 0.85 * top), (0.92, top), (0.98, 0.7 * top)]
        side.append((1.0, 0.2 * top))
    along = head - base
    across = np.array([-along[1], along[0]]) / np.linalg.norm(along)
    there = [base + u * along + v * across for u, v in side]
    back = [base + u * along - v * across for u, v in reversed(side)]
    middle = [] if not last else [head]
    hollow = [base + _HOLLOW_MM * along / np.linalg.norm(along)]
    outline = smooth(np.array(hollow + there + middle + back), closed=True, per_knot=4)
    return Bone(outline, float(waist + 1.2))


def _with_plate(bone: Bone, base: FloatArray, head: FloatArray, *, at_head: bool) -> Bone:
    """Add the growth plate: at the base of a phalanx, near the head of a metacarpal."""
    along = head - base
    length = float(np.linalg.norm(along))
    across = np.array([-along[1], along[0]]) / length
    where = head - along * (9.0 / length) if at_head else base + along * (5.2 / length)
    bow = along / length * (0.8 if at_head else -0.8)
    line = where + np.array([-9, -4, 4, 9])[:, None] * across
    line[1:3] += bow
    return Bone(bone.outline, bone.radius, line)


def _carpals(rng: np.random.Generator, maturity: float) -> tuple[list[Bone], dict[str, FloatArray]]:
    """The bones of the wrist, small in a child, and their middles."""
    size = 0.6 + 0.4 * maturity
    bones, centres = [], {}
    for name, (centre, half, turn) in _CARPALS.items():
        middle = np.array(centre) + rng.normal(0, 0.9, 2)
        own = size if name != "pisiform" else size * (maturity > 0.4)
        if own > 0:
            bones.append(_blob(middle, np.array(half) * own * rng.normal(1, 0.05), turn, rng))
        centres[name] = middle
    return bones, centres


def _blob(centre: FloatArray, half: FloatArray, degrees: float, rng: np.random.Generator) -> Bone:
    """A rounded bone whose outline wavers a little; its middle stays at ``centre``."""
    angles = np.arange(12) * np.pi / 6
    phases = rng.uniform(0, 2 * np.pi, 2)
    waver = 1 + 0.07 * np.sin(3 * angles + phases[0]) + 0.06 * np.sin(4 * angles + phases[1])
    local = np.stack([np.cos(angles), np.sin(angles)], axis=1) * waver[:, None] * half
    outline = smooth(centre + local @ rotation(degrees).T, closed=True, per_knot=4)
    return Bone(outline, float(half.mean()))


def _forearm(rng: np.random.Generator, maturity: float) -> tuple[list[Bone], dict[str, FloatArray]]:
    """Radius and ulna, and the six points on them."""
    wide, sink = rng.normal(1, 0.05), rng.normal(0, 1.3)
    radius = np.array(_RADIUS) * (wide, 1) + rng.normal(0, 0.35, (len(_RADIUS), 2))
    ulna = np.array(_ULNA) * (wide, 1) + xy(0, sink) + rng.normal(0, 0.35, (len(_ULNA), 2))
    fine_radius, fine_ulna = (smooth(knots, closed=True, per_knot=8) for knots in (radius, ulna))
    landmarks = {
        "wrist_ulnar": _extreme(fine_ulna, 9, 12, (-1, 0)),
        "ulnar_styloid": _extreme(fine_ulna, 11, 13, (-0.3, -1)),
        "ulna_radial_border": _extreme(fine_ulna, 0, 3, (1, 0)),
        "radius_ulnar_border": _extreme(fine_radius, 0, 3, (-1, 0)),
        "wrist_radial": _extreme(fine_radius, 8, 12, (1, 0)),
        "radial_styloid": _extreme(fine_radius, 11, 13, (0.2, -1)),
    }
    plates: list[FloatArray | None] = [None, None]
    if maturity < _ADULT:
        plates = [
            np.array([(-8, 1), (3, 2.5), (14, 0.5), (28, -3)]) * (wide, 1),
            np.array([(-27, sink), (-18, 1.5 + sink), (-12, 1.5 + sink), (-5, 0.5 + sink)]),
        ]
    bones = [Bone(fine_radius, 9.0, plates[0]), Bone(fine_ulna, 6.5, plates[1])]
    return bones, landmarks


def _extreme(curve: FloatArray, first: int, last: int, towards: ArrayLike) -> FloatArray:
    """The point between two knots that lies furthest in one direction."""
    part = smooth(curve[first * 8 : last * 8 + 1], per_knot=8)
    found: FloatArray = part[(part @ np.asarray(towards, np.float64)).argmax()]
    return found


def _ray_landmarks(finger: str, ends: FloatArray) -> dict[str, FloatArray]:
    """Base and tip, and between them the middle of each joint space."""
    joints = ("mcp", "ip") if finger == "thumb" else ("mcp", "pip", "dip")
    points = {f"{finger}_metacarpal_base": ends[0], f"{finger}_tip": ends[-1]}
    for k, joint in enumerate(joints):
        points[f"{finger}_{joint}"] = (ends[2 * k + 1] + ends[2 * k + 2]) / 2
    return points
