"""The olfactory bulbs, their tracts and the grooves that hold them.

The body frame is that of ``Skull``: mm, x left, y posterior, z superior, from a point on the
cribriform plate between the bulbs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anatomark.datasets.phantoms.ct.canvas import BodyFrame, Canvas
from anatomark.datasets.phantoms.ct.solids import Capsule, Ellipsoid, smooth_path, tube
from anatomark.geometry import FloatArray

OLFACTORY_LANDMARKS = ("right_bulb", "left_bulb")
OLFACTORY_PAIRS = (("left_bulb", "right_bulb"),)

#: Least and most width, height and length in mm. The paper reports 1.4-5.2 mm in-plane and
#: 5-13 mm along the slices; the bent head may stretch a bulb by some percent.
_LEAST, _MOST = np.array([1.6, 1.55, 5.6]), np.array([4.8, 4.6, 11.9])
_BALL_STEPS = 11
_FIXED_POINT_STEPS = 30


@dataclass(frozen=True)
class Bulb:
    """One side: the bulb, the tract behind it, the groove about both.

    An absent bulb keeps its place and its groove; it is not painted, and neither is its tract.
    """

    solid: Ellipsoid
    present: bool
    tract: tuple[Capsule, ...]
    groove: tuple[Capsule, ...]
    side: int  # -1: right, 1: left
    size_mm: FloatArray  # width, height, length

    def centroid_mm(self, frame: BodyFrame) -> FloatArray:
        """Centre of mass ``(3,)`` LPS mm of the bulb as it is painted in the bent body.

        It is not quite where the middle of the ellipsoid comes to lie: the bend is not linear.
        """
        inner = _ball() * self.solid.radii
        body = self.solid.centre + (inner if self.solid.axes is None else inner @ self.solid.axes)
        upright = frame.upright(body, steps=_FIXED_POINT_STEPS)
        # Where the body frame is stretched, a piece of it takes up less room in the world.
        shrink = np.linalg.det(np.eye(3) + frame.ripple.slope(upright))
        world = upright @ np.linalg.inv(frame.linear).T + frame.origin
        centre: FloatArray = np.average(world, axis=0, weights=1 / np.abs(shrink))
        return centre


def _ball() -> FloatArray:
    """Points ``(N, 3)`` spread evenly in the unit ball."""
    ticks = (np.arange(_BALL_STEPS) + 0.5) * 2 / _BALL_STEPS - 1
    cube = np.stack(np.meshgrid(ticks, ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 3)
    ball: FloatArray = cube[(cube**2).sum(axis=1) <= 1]
    return ball


def draw_bulbs(rng: np.random.Generator, *, absent_probability: float) -> tuple[Bulb, Bulb]:
    """Draw the right and the left bulb: alike, but not the same."""
    usual = rng.normal([3.3, 0.76, 8.8], [0.7, 0.1, 1.5])  # width, height by width, length
    apart, ahead = rng.normal(5.4, 0.5), rng.normal(0, 0.8)
    missing = rng.random(2) < absent_probability
    right, left = (
        _draw_bulb(rng, side, usual, apart=apart, ahead=ahead, present=not gone)
        for side, gone in zip((-1, 1), missing, strict=True)
    )
    return right, left


def _draw_bulb(
    rng: np.random.Generator,
    side: int,
    usual: FloatArray,
    *,
    apart: float,
    ahead: float,
    present: bool,
) -> Bulb:
    from scipy.spatial.transform import Rotation

    width, flat, length = usual * rng.normal(1, [0.13, 0.07, 0.1])
    size = np.clip([width, width * np.clip(flat, 0.55, 1.0), length], _LEAST, _MOST)
    width, height, length = size
    room = rng.uniform(0.4, 1.2)  # between the bulb and the plate
    # Clear of the crest in the middle and of the wall beside the plate.
    aside = np.clip(apart + rng.normal(0, 0.5), 1.6 + width / 2, 8.4 - width / 2)
    place = [side * aside, ahead + rng.normal(0, 0.8), 0.5 + height / 2 + room]
    centre = np.array(place, np.float64)
    # Rows are the directions of width, length and height; the front ends lie closer together.
    turns = rng.normal([0, 5, -3 * side], [6, 4, 3])
    turns[0] += 12 * side * rng.normal(1, 0.5)
    axes = Rotation.from_euler("yxz", turns, degrees=True).as_matrix().T
    solid = Ellipsoid(centre, np.array([width, length, height]) / 2, axes)
    tract, groove = _behind(rng, solid, side)
    return Bulb(solid, present, tract, groove, side, size)


def _behind(
    rng: np.random.Generator, solid: Ellipsoid, side: int
) -> tuple[tuple[Capsule, ...], tuple[Capsule, ...]]:
    """The tract from the bulb's rear end backwards, and the groove around bulb and tract."""
    width, length, height = 2 * solid.radii
    along = np.eye(3)[1] if solid.axes is None else solid.axes[1]
    tail = solid.centre + 0.36 * length * along
    end = np.array([side * rng.normal(8.5, 0.6), 40.0, rng.normal(9.0, 1.0)])
    half_way = 0.5 * (tail + end) + [0, 0, rng.normal(-0.8, 0.4)]
    path = smooth_path(np.stack([tail, half_way, end]), step_mm=4.0)
    thin = float(np.clip(0.24 * width, 0.45, 0.85))
    front = solid.centre - (0.5 * length + rng.uniform(0.5, 2.5)) * along
    room = rng.uniform(0.5, 1.5)
    wide = max(width, height) / 2 + room
    whole = np.concatenate([[front, solid.centre], path])
    radii = [0.7 * wide, wide, 0.9 * wide, *np.linspace(0.8 * wide, thin + 0.7, len(path) - 1)]
    groove = [
        Capsule(a, b, float(r), float(s))
        for a, b, r, s in zip(whole[:-1], whole[1:], radii[:-1], radii[1:], strict=True)
    ]
    return tuple(tube(path, thin)), tuple(groove)


def bulb_labels(canvas: Canvas, bulbs: Sequence[Bulb]) -> NDArray[np.uint8]:
    """Which bulb the centre of each voxel lies in, 0: none, 1: right, 2: left."""
    labels = np.zeros(canvas.grid.shape, np.uint8)
    for number, bulb in enumerate(bulbs, 1):
        if bulb.present:
            labels[canvas.distance(bulb.solid) < 0] = number
    return labels
