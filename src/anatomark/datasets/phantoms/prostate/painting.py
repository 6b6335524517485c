"""``Pelvis``: parts to paint in order, and how a block of voxels is painted.

The body frame is that of ``Gland``: mm, x left, y posterior, z superior.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from anatomark.datasets.phantoms.ct.solids import Field, Solid
from anatomark.datasets.phantoms.prostate.gland import Gland
from anatomark.datasets.phantoms.prostate.ovals import dot
from anatomark.datasets.phantoms.prostate.windows import Hulls, Window, windows
from anatomark.datasets.phantoms.texture import soft_inside
from anatomark.geometry import FloatArray

BACKGROUND = "fat"
GLAND_TISSUE = "peripheral zone"

_STILL_MM = 27.0  # within this radius the surroundings keep to the gland's landmarks
_FADE_MM = 30.0
_FAR_MM = 99.0


@dataclass(frozen=True)
class Part:
    """A solid of one tissue, with a ``coat`` of another about it: its name and thickness in mm.

    ``depth_mm`` keeps what is in the gland so far below its surface.
    """

    tissue: str
    solid: Solid
    depth_mm: float = 0.0
    coat: tuple[str, float] | None = None

    @property
    def coat_mm(self) -> float:
        """Thickness of the coat, 0 where there is none."""
        return 0.0 if self.coat is None else self.coat[1]


@dataclass(frozen=True)
class Pelvis:
    """Everything that is drawn, in painting order: around the gland, then within it.

    ``waves`` bends the surroundings: rad/mm ``(K, 3)``, phases ``(K,)``, amplitudes mm ``(K, 3)``.
    """

    gland: Gland
    around: tuple[Part, ...]
    within: tuple[Part, ...]
    waves: tuple[FloatArray, FloatArray, FloatArray]

    def bent(self, xyz: Field) -> Field:
        """Where to look up the surroundings: bent more and more with the distance to the gland."""
        share, spare = np.zeros(xyz.shape[1:], np.float32), np.empty(xyz.shape[1:], np.float32)
        for part in xyz:
            share += np.square(part, out=spare)
        np.sqrt(share, out=share)
        share -= np.float32(_STILL_MM)
        share /= np.float32(_FADE_MM)
        np.clip(share, 0, 1, out=share)
        if not share.any():
            return xyz
        share *= share * (3 - 2 * share)
        bent = xyz.copy()
        for wave, phase, amplitude in zip(*self.waves, strict=True):
            turn = dot(xyz, wave, float(phase), spare=spare)
            np.sin(turn, out=turn)
            turn *= share
            for axis, size in enumerate(amplitude):
                bent[axis] += np.multiply(turn, np.float32(size), out=spare)
        return bent

    @cached_property
    def hulls_around(self) -> Hulls:
        """What the parts around can touch."""
        return Hulls.of([(part.solid, part.coat_mm) for part in self.around])

    @cached_property
    def hulls_within(self) -> Hulls:
        """What the parts within can touch."""
        return Hulls.of([(part.solid, part.coat_mm) for part in self.within])

    @cached_property
    def hull_of_gland(self) -> Hulls:
        """What the gland can touch."""
        return Hulls.of([(self.gland, 0.0)])

    def surface(self, xyz: Field, margin_mm: float) -> tuple[Window, Field] | None:
        """The window of a block where the gland may be, and the distance to its surface there."""
        for _, here in windows(xyz, self.hull_of_gland, margin_mm):
            return here, self.gland.distance(_cut_out(xyz, here))
        return None


@dataclass(frozen=True)
class Painted:
    """A painted block: channels ``(C, z, y, x)`` and, where the gland is near, its surface.

    ``surface`` is a window of the block and in it the distance to the gland's surface in mm.
    """

    values: Field
    surface: tuple[Window, Field] | None = None


def paint(
    pelvis: Pelvis, xyz: Field, looks: Mapping[str, FloatArray], *, edge_mm: float
) -> Painted:
    """Paint a block of voxels.

    ``xyz`` is ``(3, z, y, x)`` body frame mm; ``looks`` gives each tissue its channels ``(C,)``.
    """
    base = looks[BACKGROUND].astype(np.float32)
    values = np.empty((len(base), *xyz.shape[1:]), np.float32)
    values[...] = base[:, None, None, None]
    bent = pelvis.bent(xyz)
    for row, here in windows(bent, pelvis.hulls_around, edge_mm):
        part = pelvis.around[row]
        distance = part.solid.distance(_cut_out(bent, here))
        _lay_part(values[(slice(None), *here)], part, distance, None, looks, edge_mm)
    surface = pelvis.surface(xyz, edge_mm)
    if surface is None:
        return Painted(values)
    here, near = surface
    _lay(values[(slice(None), *here)], soft_inside(near, edge_mm), looks[GLAND_TISSUE])
    depth = np.full(xyz.shape[1:], _FAR_MM, np.float32)
    depth[here] = near
    for row, inner in windows(xyz, pelvis.hulls_within, edge_mm):
        part = pelvis.within[row]
        distance = part.solid.distance(_cut_out(xyz, inner))
        _lay_part(values[(slice(None), *inner)], part, distance, depth[inner], looks, edge_mm)
    return Painted(values, surface)


def _cut_out(points: Field, here: Window) -> Field:
    """The points of a window, in a piece of memory of their own: several times faster to use."""
    return np.ascontiguousarray(points[(slice(None), *here)])


def _lay_part(
    values: Field,
    part: Part,
    distance: Field,
    depth: Field | None,
    looks: Mapping[str, FloatArray],
    edge_mm: float,
) -> None:
    """Paint a part and first its coat; ``depth`` is the distance to the gland's surface."""
    layers = [(part.tissue, 0.0, part.solid.thickness)]
    if part.coat is not None:
        tissue, thick = part.coat
        layers.insert(0, (tissue, thick, part.solid.thickness + 2 * thick))
    for tissue, grown, thickness in layers:
        reach = distance - np.float32(grown)
        if depth is not None:
            np.maximum(reach, depth + np.float32(part.depth_mm), out=reach)
        cover: Field = soft_inside(reach, edge_mm)
        if thickness < edge_mm:  # thinner than a voxel: it fills only a part of it
            cover *= np.float32(thickness / edge_mm)
        _lay(values, cover, looks[tissue])


def _lay(values: Field, cover: Field, look: FloatArray) -> None:
    if not cover.any():
        return
    for row, target in enumerate(look):
        if target or values[row].any():  # most tissues leave some channel at 0
            change = np.float32(target) - values[row]
            change *= cover
            values[row] += change
