"""Everything around the heart of the thorax phantom: trunk, lungs, bones, airways, upper belly.

Body coordinates as for the heart: mm, the middle of the aortic valve is the origin, x to the
left, y to the back, z up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anatomark.datasets.phantoms.ct.canvas import Canvas, Coat
from anatomark.datasets.phantoms.ct.hounsfield import HU
from anatomark.datasets.phantoms.ct.solids import (
    Block,
    Box,
    Capsule,
    Column,
    Cut,
    Ellipsoid,
    Field,
    smooth_path,
    tube,
    vector,
)
from anatomark.geometry import FloatArray

_FAR = 400.0
_THINNEST_VESSEL_MM = 0.65


@dataclass(frozen=True)
class Chest:
    """Size and place of one trunk about its heart."""

    middle: FloatArray  # (2,) x, y of the axis of the rib cage
    cage_mm: FloatArray  # (2,) inner radii of the rib cage
    squareness: float
    wall_mm: float
    fat_mm: float
    vertebra_mm: float  # distance between two vertebrae
    vertebra_phase: float
    dome_mm: FloatArray  # (2,) height of the right and of the left half of the diaphragm
    rib_drop_mm: float
    table_mm: float

    @property
    def cage(self) -> Column:
        """The inside of the rib cage."""
        return Column(self.middle, self.cage_mm, self.squareness, taper=-0.0012)

    @property
    def spine(self) -> FloatArray:
        """x, y of the middle of the vertebral bodies."""
        return vector([self.middle[0], self.middle[1] + 0.64 * self.cage_mm[1]])

    @property
    def trunk(self) -> Column:
        """The outside of the body."""
        radii = self.cage_mm + self.wall_mm + self.fat_mm
        middle = self.middle + np.array([0, 4.0])
        return Column(middle, radii + np.array([8.0, 4.0]), 0.75 * self.squareness)

    def descending(self) -> FloatArray:
        """Knots ``(N, 3)`` of the aorta beside the spine, from the arch down."""
        x, y = self.spine + np.array([23.0, -15.0])
        return np.array([[x, y, 58.0], [x + 2, y + 2, 10], [x - 2, y, -50], [x - 8, y - 3, -160]])


@dataclass(frozen=True)
class Diaphragm:
    """Everything in the rib cage below the two domes."""

    chest: Chest
    thickness: float = 50.0

    def box(self) -> Box:
        """See ``Solid``."""
        low, high = self.chest.cage.box()
        return np.append(low, -_FAR), np.append(high, float(self.chest.dome_mm.max()) + 2)

    def distance(self, xyz: Field) -> Field:
        """See ``Solid``."""
        chest = self.chest
        right = np.float32(1) / (1 + np.exp((xyz[0] - np.float32(chest.middle[0] + 6)) / 12))
        top = chest.dome_mm[1] + right * np.float32(chest.dome_mm[0] - chest.dome_mm[1])
        fall = np.minimum(chest.cage.level(xyz), 1.3) ** 4
        valley = 9 * np.exp(-(((xyz[0] - np.float32(chest.middle[0] + 6)) / 22) ** 2))
        height: Field = ((xyz[2] - top + 62 * fall + valley) * 0.7).astype(np.float32)
        return height


def draw_chest(rng: np.random.Generator) -> Chest:
    """Draw one patient's trunk."""
    size = rng.normal(1.0, 0.05)
    cage = size * np.array([rng.normal(126, 5), rng.normal(82, 4)])
    offset = rng.normal([-5.0, 17.0], [5.0, 5.0])
    right_dome = rng.normal(-51, 8)
    return Chest(
        middle=offset,
        cage_mm=cage,
        squareness=float(rng.uniform(0.15, 0.55)),
        wall_mm=float(rng.uniform(11, 19)),
        fat_mm=float(rng.uniform(8, 28)),
        vertebra_mm=float(size * rng.normal(24, 1.2)),
        vertebra_phase=float(rng.uniform(0, 1)),
        dome_mm=np.array([right_dome, right_dome - rng.uniform(4, 16)]),
        rib_drop_mm=float(rng.uniform(55, 85)),
        table_mm=float(rng.uniform(0, 6)),
    )


# -- trunk and lungs ---------------------------------------------------------------------------


def paint_trunk(canvas: Canvas, chest: Chest, grain: Field) -> None:
    """Skin, fat and muscle from the outside in, and the strong muscles of the back."""
    skin = canvas.distance(chest.trunk)
    canvas.fill(skin, HU["skin"])
    canvas.fill(skin + np.float32(2.0), HU["fat"], grain=(grain, 8.0))
    canvas.fill(skin + np.float32(chest.fat_mm), HU["muscle"], grain=(grain, 16.0))
    x, y = chest.spine
    for side in (-1, 1):
        back = Column(np.array([x + side * 27.0, y + 36]), np.array([22.0, 17.0]))
        canvas.paint(back, HU["fat"], grow=2.0)
        canvas.paint(back, HU["muscle"], grain=(grain, 14.0))


def paint_table(canvas: Canvas, chest: Chest) -> None:
    """A curved table top of carbon fibre around foam, under the back."""
    trunk = chest.trunk
    lowest = trunk.centre[1] + trunk.radii[1] + chest.table_mm
    width = np.array([640.0, 420.0])
    centre = np.array([trunk.centre[0], lowest - width[1]])
    top = Column(np.array([centre[0], lowest + 15.0]), np.array([220.0, 32.0]), 1.0)
    for depth, thick, hu in ((0.0, 2.0, -250.0), (2.0, 34.0, -940.0), (36.0, 2.0, -250.0)):
        shell = Column(centre, width + depth + thick)
        inner = Column(centre, width + depth)
        canvas.paint(Cut(shell, minus=(inner, trunk), within=(top,)), hu)


def paint_lungs(
    canvas: Canvas, chest: Chest, cage: Field, textures: tuple[Field, Field], *, density: float
) -> None:
    """Fill the rib cage with lung; what lies between the lungs is painted over it."""
    fine, coarse = textures
    canvas.fill(cage - np.float32(2.2), HU["fat"])
    # Blood sinks to the back, and the smallest vessels make the lung look mottled.
    mottled = np.maximum(fine, 0)
    mottled *= np.float32(55)
    mottled += np.float32(28) * coarse
    mottled += np.float32(0.5) * (canvas.xyz[1] - np.float32(chest.middle[1]))
    canvas.fill(cage, HU["lung"] + density, grain=(mottled, 1.0))


def paint_lung_vessels(canvas: Canvas, chest: Chest, rng: np.random.Generator) -> None:
    """Trees of arteries and veins from both hila, thinner at every fork."""
    pieces: list[Capsule] = []
    for hilum in ((-46.0, 30.0, 30.0), (50.0, 36.0, 28.0)):
        outwards = np.sign(hilum[0])
        headings = rng.normal([1.1 * outwards, 0.15, -0.25], [0.5, 0.75, 0.75], (9, 3))
        starts = np.array(hilum) + rng.normal(0, 6, (9, 3))
        radii = rng.uniform(3.0, 4.6, 9)
        while len(radii):
            headings /= np.linalg.norm(headings, axis=1, keepdims=True)
            lengths = 8.5 * radii**0.75 * rng.uniform(0.7, 1.3, len(radii))
            ends = starts + lengths[:, None] * headings
            inside = chest.cage.level(ends.T.astype(np.float32)) < 0.97
            alive = np.flatnonzero(inside & (radii > _THINNEST_VESSEL_MM))
            pieces += [Capsule(starts[n], ends[n], radii[n], 0.85 * radii[n]) for n in alive]
            starts = np.repeat(ends[alive], 2, axis=0)
            headings = np.repeat(headings[alive], 2, axis=0) + rng.normal(0, 0.36, starts.shape)
            radii = np.repeat(radii[alive], 2) * rng.uniform(0.6, 0.88, len(starts))
    canvas.paint(pieces, HU["soft"] + 60)


# -- between and below the lungs ---------------------------------------------------------------


def paint_belly(
    canvas: Canvas, chest: Chest, cage: Field, grain: Field, rng: np.random.Generator
) -> None:
    """Liver, stomach with gas and spleen under the diaphragm."""
    below = np.maximum(canvas.distance(Diaphragm(chest)), cage)
    x, y = chest.middle
    dome = float(chest.dome_mm.min())
    canvas.fill(below - np.float32(2.0), HU["muscle"])
    canvas.fill(below, HU["fat"], grain=(grain, 12.0))
    parts = [
        (Ellipsoid(np.array([x - 62, y + 2, dome - 50]), np.array([85.0, 88, 80])), HU["liver"], 7),
        (
            Ellipsoid(np.array([x + 15, y - 40, dome - 30]), np.array([60.0, 36, 42])),
            HU["liver"],
            7,
        ),
        (
            Ellipsoid(np.array([x + 92, y + 38, dome - 40]), np.array([26.0, 40, 50])),
            HU["spleen"],
            7,
        ),
        (Ellipsoid(np.array([x + 66, y - 6, dome - 32]), np.array([38.0, 42, 38])), HU["soft"], 20),
    ]
    change = float(rng.normal(0, 12))
    for solid, hu, rough in parts:
        canvas.paint(solid, hu + change, grain=(grain, rough), within=below)
    if rng.random() < 0.7:
        gas = Ellipsoid(np.array([x + 62, y - 24, dome - 16]), np.array([24.0, 20, 13]))
        canvas.paint(gas, HU["air"] + 40, within=below)


def paint_mediastinum(canvas: Canvas, chest: Chest, cage: Field, grain: Field) -> None:
    """Fat between the lungs, from the breast bone to the spine."""
    x, y = chest.middle
    front = y - chest.cage_mm[1]
    upper = Column(np.array([x, 4.0]), np.array([37.0, abs(front) - 4.0]))
    behind = Column(chest.spine + np.array([4.0, -4.0]), np.array([34.0, 26.0]))
    lining = Column(np.array([x + 6, front + 4]), np.array([30.0, 16.0]))
    above = Cut(upper, between=(2.0, _FAR))
    canvas.paint(above, HU["fat"], grain=(grain, 12.0), within=cage)
    canvas.paint([behind, lining], HU["fat"], grain=(grain, 12.0), within=cage)


def paint_airways(canvas: Canvas, chest: Chest) -> None:
    """Windpipe, main bronchi and gullet."""
    x = float(chest.middle[0]) + 2
    trunk = smooth_path([[x, 22, 150], [x, 24, 90], [x, 28, 66]], step_mm=8.0)
    right = smooth_path(
        [[x, 28, 66], [x - 20, 33, 46], [x - 44, 38, 30], [x - 58, 48, 2]], step_mm=6
    )
    left = smooth_path(
        [[x, 28, 66], [x + 22, 36, 50], [x + 46, 44, 38], [x + 58, 56, 8]], step_mm=6
    )
    branches = [(trunk, [9.0, 8.5]), (right, [7.5, 6.5, 5.0, 3.0]), (left, [6.8, 6.0, 4.8, 3.0])]
    pieces = [piece for path, radii in branches for piece in tube(path, radii)]
    canvas.coat(pieces, Coat(HU["soft"], 1.4), Coat(HU["air"] + 10))
    spine_y = float(chest.spine[1])
    gullet = smooth_path([[x + 4, 42, 120], [x + 6, 46, 50], [x + 9, spine_y - 24, 0],
                          [x + 16, spine_y - 30, -90]], step_mm=10.0)  # fmt: skip
    canvas.paint(tube(gullet, [6.0, 6.5, 7.0, 7.5]), HU["soft"] + 5)


# -- bones -------------------------------------------------------------------------------------


def paint_spine(canvas: Canvas, chest: Chest, grain: Field) -> None:
    """Vertebrae with discs, arches and processes, and the canal with its cord."""
    x, y = chest.spine
    step = chest.vertebra_mm
    body = Column(np.array([x, y]), np.array([17.5, 15.0]), 0.3)
    canvas.paint(Cut(body, between=(-_FAR, _FAR)), HU["cartilage"])
    levels = (np.arange(-7, 7) + chest.vertebra_phase) * step
    inner = Column(body.centre, body.radii - 1.6, 0.3)
    reach = 0.41 * step
    outsides = [Cut(body, between=(level - reach, level + reach)) for level in levels]
    insides = [Cut(inner, between=(level - reach + 1.4, level + reach - 1.4)) for level in levels]
    canvas.paint(outsides, HU["bone"] * 0.75)
    canvas.paint(insides, HU["marrow"] + 30, grain=(grain, 40.0))
    arches = [bone for level in levels for bone in _arch(np.array([x, y, level]), step)]
    canvas.paint(arches, HU["bone"] * 0.8)
    canvas.paint(arches, HU["marrow"] + 60, grow=-1.8, grain=(grain, 40.0))
    canal = Column(np.array([x, y + 23.5]), np.array([9.5, 8.5]))
    canvas.paint(canal, HU["fat"] * 0.3)
    canvas.paint(Column(canal.centre, np.array([5.0, 4.0])), HU["soft"])


def _arch(body: FloatArray, step: float) -> list[Capsule]:
    """Pedicles, laminae, spinous and transverse processes of one vertebra."""

    def at(x: float, y: float, z: float) -> FloatArray:
        point: FloatArray = body + np.array([x, y, z])
        return point

    back = at(0, 38, -0.15 * step)
    bones = [Capsule(back, at(0, 58, -0.75 * step), 4.2, 3.4)]
    for side in (-1, 1):
        bones += [
            Capsule(at(side * 11, 12, 0.15 * step), at(side * 15, 28, 0.1 * step), 4.5, 5.0),
            Capsule(at(side * 15, 28, 0.1 * step), back, 4.6, 4.2),
            Capsule(at(side * 15, 28, 0.1 * step), at(side * 35, 37, 0.2 * step), 4.6, 4.0),
        ]
    return bones


def paint_ribs(canvas: Canvas, chest: Chest, grain: Field, rng: np.random.Generator) -> None:
    """Ribs from each vertebra down and forwards, their cartilage, and the breast bone."""
    front = float(chest.middle[1] - chest.cage_mm[1])
    bones: list[Capsule] = []
    cartilages: list[Capsule] = []
    for number in range(-4, 10):
        level = (number + chest.vertebra_phase) * chest.vertebra_mm + 8
        for side in (-1, 1):
            path = _rib_path(chest, level, side, float(rng.normal(0, 2.0)))
            bones += tube(path[:-3], [5.0, 5.8, 6.0, 5.6])
            cartilages += tube(path[-4:], 5.0)
    canvas.paint(cartilages, HU["cartilage"], grain=(grain, 25.0))
    canvas.paint(bones, HU["bone"] * 0.85)
    canvas.paint(bones, HU["marrow"] - 20, grow=-1.8, grain=(grain, 35.0))
    tilt = np.deg2rad(rng.normal(8, 4))
    axes = np.array([[1, 0, 0], [0, np.cos(tilt), np.sin(tilt)], [0, -np.sin(tilt), np.cos(tilt)]])
    middle = np.array([chest.middle[0], front - 7.5, 20.0])
    plate = Block(middle, np.array([17.0, 6.0, 85.0]), 4.0, axes)
    inside = Block(middle, plate.half - 1.5, 3.0, axes)
    canvas.paint(plate, HU["bone"] * 0.7)
    canvas.paint(inside, HU["marrow"] - 60, grain=(grain, 30.0))


def _rib_path(chest: Chest, level: float, side: int, shake: float) -> FloatArray:
    """Points ``(N, 3)`` from the spine around the cage to the breast bone."""
    turn = np.linspace(np.deg2rad(80), np.deg2rad(-82), 14)
    radii = chest.cage_mm + 6.5
    x = chest.middle[0] + side * radii[0] * np.cos(turn) ** (1 - 0.25 * chest.squareness)
    y = chest.middle[1] + radii[1] * np.sin(turn)
    forwards = (1 - np.sin(turn) / np.sin(turn[0])) / 2
    z = level + shake - chest.rib_drop_mm * forwards
    z[-3:] += np.array([3.0, 12.0, 26.0])  # the cartilage climbs back to the breast bone
    path: FloatArray = np.stack([x, y, z], axis=1)
    return path
