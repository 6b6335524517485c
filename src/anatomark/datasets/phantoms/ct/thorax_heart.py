"""Heart and great vessels of the thorax phantom, drawn around its aortic root.

The standard heart has the middle of the aortic valve at the origin, axes as the patient's (LPS:
x to the left, y to the back, z up), in mm; ``Heart.at`` turns and scales it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anatomark.datasets.phantoms.ct.canvas import Canvas, Coat
from anatomark.datasets.phantoms.ct.hounsfield import HU
from anatomark.datasets.phantoms.ct.solids import (
    Capsule,
    Ellipsoid,
    Field,
    Solid,
    frame_along,
    smooth_path,
    tube,
)
from anatomark.datasets.phantoms.ct.thorax_root import Leaflets, Lumen, Root, draw_root
from anatomark.geometry import FloatArray

Knots = Sequence[Sequence[float]]
Arteries = list[tuple[FloatArray, FloatArray]]

_ROOT_AXIS = np.array([-0.33, -0.28, 0.90])
_RIGHT_SINUS = np.array([-0.22, -1.0, 0.0])
_LONG_AXIS = np.array([0.60, -0.58, -0.55])  # of the left ventricle, base to apex

#: Branches of both coronary arteries: knots, radius at the start and at the end.
_DESCENDING: Knots = [[20, -2, 13], [27, -19, 9], [40, -41, -9], [54, -55, -33], [67, -58, -58]]
_CIRCUMFLEX: Knots = [[20, -2, 13], [33, 4, 8], [46, 18, -5], [49, 30, -24], [40, 36, -42]]
_DIAGONALS: tuple[Knots, ...] = (
    [[30, -26, 4], [47, -30, -4], [62, -34, -22], [70, -36, -40]],
    [[43, -45, -15], [58, -48, -25], [69, -47, -42]],
)
_MARGINALS: tuple[Knots, ...] = (
    [[42, 13, 0], [56, 8, -13], [68, 0, -32], [72, -10, -50]],
    [[48, 27, -20], [60, 17, -34], [66, 8, -50]],
)
_RIGHT_MAIN: Knots = [
    [-12, -30, 8], [-27, -38, -2], [-42, -32, -20], [-44, -15, -40], [-32, 5, -52], [-12, 20, -53],
    [6, 16, -60], [28, 0, -70],
]  # fmt: skip
_RIGHT_MARGINAL: Knots = [[-43, -28, -25], [-30, -42, -42], [-8, -50, -55]]


@dataclass(frozen=True)
class Contrast:
    """How bright the blood is, in HU: left heart, right heart, upper caval vein; and the muscle."""

    left: float
    right: float
    cava: float
    muscle: float


@dataclass(frozen=True)
class Heart:
    """One heart: its root, and how the standard heart is turned, scaled and filled."""

    root: Root
    turn: FloatArray
    scale: float
    contrast: Contrast
    wall_mm: float
    descending: FloatArray
    jitter: FloatArray

    def at(self, knots: Knots | FloatArray) -> FloatArray:
        """Body coordinates ``(N, 3)`` of points of the standard heart."""
        points: FloatArray = self.scale * np.atleast_2d(np.asarray(knots, np.float64)) @ self.turn.T
        return points

    def chamber(
        self, centre: Sequence[float], radii: Sequence[float], along: Sequence[float] | FloatArray
    ) -> Ellipsoid:
        """An ellipsoid whose first radius lies ``along`` a direction of the standard heart."""
        axes = frame_along(self.turn @ np.asarray(along, np.float64))
        return Ellipsoid(self.at([centre])[0], self.scale * np.asarray(radii, np.float64), axes)

    def vessel(self, knots: Knots, radii: float | Sequence[float]) -> list[Capsule]:
        """A tube through points of the standard heart."""
        widths = self.scale * np.atleast_1d(np.asarray(radii, np.float64))
        path = smooth_path(self.at(knots), step_mm=max(5.0, 0.8 * float(widths.min())))
        return tube(path, widths)

    @property
    def ventricle(self) -> Ellipsoid:
        """The cavity of the left ventricle."""
        return self.chamber([35, -17, -29], [43, 22, 21], _LONG_AXIS)

    @property
    def outflow(self) -> Capsule:
        """The way from the left ventricle to the valve."""
        root = self.root
        low = root.origin - 6 * root.axes[2]
        return Capsule(
            low, self.at([[20, -6, -22]])[0], 0.95 * root.annulus_mm, 1.1 * root.annulus_mm
        )

    @property
    def hull(self) -> Ellipsoid:
        """The pericardium."""
        return self.chamber([14, -6, -16], [67, 51, 55], [0.75, -0.35, -0.55])


def draw_heart(rng: np.random.Generator, *, descending: FloatArray) -> Heart:
    """Draw one patient's heart; ``descending (N, 3)`` are knots of the aorta beside the spine."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_euler("zyx", rng.normal(0, [9, 7, 7]), degrees=True).as_matrix()
    left = float(rng.uniform(280, 560))
    right = float(rng.uniform(70, 1.05 * left))
    contrast = Contrast(
        left=left,
        right=right,
        cava=right + float(rng.uniform(0, 600) * (rng.random() < 0.6)),
        muscle=float(rng.uniform(80, 125)),
    )
    return Heart(
        root=draw_root(rng, axis=turn @ _ROOT_AXIS, forwards=turn @ _RIGHT_SINUS),
        turn=turn,
        scale=float(np.clip(rng.normal(1.0, 0.07), 0.84, 1.2)),
        contrast=contrast,
        wall_mm=float(rng.uniform(8, 13)),
        descending=descending,
        jitter=rng.normal(0, 2.0, (24, 3)),
    )


# -- chambers ----------------------------------------------------------------------------------


def paint_heart(canvas: Canvas, heart: Heart, grain: Field) -> None:
    """Paint fat, chambers and great vessels, and the root last, so that it is whole."""
    canvas.coat([heart.hull], Coat(30.0, 0.8), Coat(HU["fat"], -0.8, 14.0), texture=grain)
    _paint_left_atrium(canvas, heart, grain)
    _paint_right_side(canvas, heart, grain)
    _paint_left_ventricle(canvas, heart, grain)
    arteries = coronaries(heart)
    _paint_grooves(canvas, heart, arteries)
    _paint_pulmonary_artery(canvas, heart, grain)
    _paint_aorta(canvas, heart, grain)
    _paint_coronaries(canvas, heart, arteries)


def _paint_left_atrium(canvas: Canvas, heart: Heart, grain: Field) -> None:
    body = heart.chamber([9, 34, 9], [34, 17, 23], [1, 0.1, 0])
    veins = [
        *heart.vessel([[-15, 36, 18], [-34, 40, 24], [-58, 46, 34]], [8, 7, 5]),
        *heart.vessel([[-14, 42, 2], [-32, 49, -4], [-52, 58, -16]], [7.5, 7, 5]),
        *heart.vessel([[32, 40, 20], [48, 44, 27], [68, 48, 38]], [7.5, 7, 5]),
        *heart.vessel([[32, 45, 4], [46, 52, -2], [62, 62, -16]], [7, 6.5, 5]),
    ]
    appendage = heart.vessel([[32, 24, 14], [42, 8, 17], [44, -9, 15]], [8, 7, 3.5])
    blood = Coat(heart.contrast.left * 1.03, grain=8.0)
    canvas.coat([*veins, *appendage, body], Coat(HU["soft"] + 30, 1.8), blood, texture=grain)


def _paint_right_side(canvas: Canvas, heart: Heart, grain: Field) -> None:
    contrast = heart.contrast
    atrium = heart.chamber([-35, 4, -14], [29, 22, 24], [0.1, -0.2, 1])
    appendage = heart.vessel([[-30, -16, 2], [-22, -27, 12], [-10, -31, 17]], [12, 9, 5])
    lower = heart.vessel([[-30, 14, -34], [-25, 20, -58], [-22, 22, -110]], [13, 13, 12])
    upper = heart.vessel([[-31, 4, 10], [-30, 3, 40], [-29, -2, 100]], [10, 9, 8.5])
    ventricle = heart.chamber([4, -30, -29], [44, 31, 27], [0.75, -0.25, -0.55])
    outflow = heart.vessel([[-2, -38, -20], [5, -38, 0], [12, -32, 14]], [17, 14, 12])
    wall = Coat(HU["soft"] + 25, 2.2)
    from_below = Coat(min(contrast.right, 120.0), grain=15.0)
    mixed = Coat(contrast.right, grain=0.12 * contrast.right)
    canvas.coat(lower, wall, from_below, texture=grain)
    canvas.coat([atrium, *appendage, *outflow, ventricle], wall, mixed, texture=grain)
    canvas.coat(upper, wall, Coat(contrast.cava, grain=0.1 * contrast.cava), texture=grain)


def _paint_left_ventricle(canvas: Canvas, heart: Heart, grain: Field) -> None:
    cavity, contrast = heart.ventricle, heart.contrast
    muscle = Coat(contrast.muscle, heart.wall_mm, 9.0)
    below: list[Solid] = [heart.outflow, Lumen(heart.root)]
    canvas.coat(below, Coat(contrast.muscle, 2.5, 9.0), texture=grain)
    canvas.coat([cavity], muscle, Coat(contrast.left, grain=10.0), texture=grain)
    papillary = [
        *heart.vessel([[62, -22, -44], [50, -8, -38], [40, 4, -28]], [5.5, 5, 2.5]),
        *heart.vessel([[58, -40, -52], [42, -26, -48], [28, -6, -38]], [5, 5, 2.5]),
        *heart.vessel([[17, 22, -12], [26, 12, -16], [36, 20, -20]], 1.2),
    ]
    canvas.paint(papillary, contrast.muscle, grain=(grain, 9.0))


def _paint_grooves(canvas: Canvas, heart: Heart, arteries: Arteries) -> None:
    """Fat around the coronary arteries, and the coronary sinus."""
    pieces = [piece for path, radii in arteries for piece in tube(path[2:], radii)]
    canvas.paint(pieces, HU["fat"] + 10, grow=2.6)
    sinus = heart.vessel([[46, 26, -12], [30, 38, -26], [2, 34, -34], [-22, 22, -36]], [3, 4, 6])
    canvas.coat(sinus, Coat(HU["soft"], 1.2), Coat(HU["vein"] + 40))


def _paint_pulmonary_artery(canvas: Canvas, heart: Heart, grain: Field) -> None:
    trunk = [
        *heart.vessel([[12, -32, 14], [20, -22, 32], [22, -2, 48], [20, 10, 52]], [13, 14, 13]),
        *heart.vessel([[20, 10, 52], [-4, 16, 48], [-32, 18, 44], [-60, 24, 36]], [11, 10, 9, 6]),
        *heart.vessel([[20, 10, 52], [36, 22, 54], [52, 36, 46], [64, 44, 26]], [11, 10, 9, 6]),
    ]
    blood = Coat(0.5 * (heart.contrast.right + heart.contrast.left), grain=10.0)
    canvas.coat(trunk, Coat(HU["soft"], 1.5), blood, texture=grain)


# -- aorta and coronary arteries ---------------------------------------------------------------


def aorta_path(heart: Heart) -> FloatArray:
    """Centre line ``(N, 3)`` from the top of the root over the arch down beside the spine."""
    root = heart.root
    start = root.origin + root.axes[2] * np.array([[root.top_mm - 3], [root.top_mm + 4]])
    arch = heart.at([[-16, -12, 44], [-15, -3, 64], [-4, 12, 82], [12, 34, 84]])
    return smooth_path(np.concatenate([start, arch, heart.descending]), step_mm=10.0)


def _paint_aorta(canvas: Canvas, heart: Heart, grain: Field) -> None:
    root, blood = heart.root, heart.contrast.left
    narrow = heart.scale * 12.0
    pieces = tube(aorta_path(heart), [root.junction_mm, root.junction_mm + 1.5, narrow, narrow - 1])
    # Below the ring there is muscle instead of wall and fat.
    fat, wall = Coat(HU["fat"], 3.6, 14.0), Coat(HU["soft"] + 15, 1.7)
    tube_walls: list[Solid] = [*pieces, Lumen(root, below_mm=-3.0)]
    canvas.coat(tube_walls, fat, wall, Coat(blood, grain=6.0), texture=grain)
    canvas.paint([heart.outflow, Lumen(root)], blood, grain=(grain, 6.0))
    canvas.paint(Leaflets(root), HU["soft"] + 60)


def _paint_coronaries(canvas: Canvas, heart: Heart, arteries: Arteries) -> None:
    # The wall leaves the very start out, so that the mouth stays open.
    walls = [piece for path, radii in arteries for piece in tube(path, radii)[2:]]
    blood = [piece for path, radii in arteries for piece in tube(path, radii)]
    canvas.paint(walls, HU["soft"], grow=0.7)
    canvas.paint(blood, 0.97 * heart.contrast.left)


def _from_ostium(heart: Heart, side: str, knots: FloatArray) -> FloatArray:
    """A path that leaves the root through an ostium, straight outwards, and goes on by knots."""
    root = heart.root
    mouth = [root.ostium(side, outwards_mm=out) for out in (-1.5, 1.0, 4.5)]
    return smooth_path(np.concatenate([mouth, knots]), step_mm=3.5)


def coronaries(heart: Heart) -> Arteries:
    """Path ``(N, 3)`` and radii of each coronary artery; the first two start in the ostia."""
    shaken = [heart.at(k) + heart.jitter[: len(k)] for k in (_RIGHT_MAIN, _DESCENDING)]
    fork = shaken[1][0]
    right = _from_ostium(heart, "right", shaken[0])
    left = _from_ostium(heart, "left", shaken[1][:1])
    forks = [smooth_path(shaken[1], step_mm=4.0)]
    around = np.concatenate([fork[None], heart.at(_CIRCUMFLEX[1:]) + heart.jitter[8:12]])
    forks.append(smooth_path(around, step_mm=4.0))
    small = [
        smooth_path(heart.at(knots) + heart.jitter[12 + 2 * n], step_mm=4.0)
        for n, knots in enumerate((*_DIAGONALS, *_MARGINALS, _RIGHT_MARGINAL))
    ]
    sizes = [(2.0, 1.2), (2.3, 2.1), (1.9, 0.9), (1.7, 0.8), *[(1.1, 0.6)] * len(small)]
    return [
        (path, heart.scale * np.array(size))
        for path, size in zip([right, left, *forks, *small], sizes, strict=True)
    ]
