"""Draw a pelvis as a transrectal ultrasound probe would show it.

Everything is in decibels until the end: how much a tissue scatters, what each beam adds (speckle,
attenuation, shadows; kept on a lattice of depth, angle and sweep), and bright interfaces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anatomark.datasets.phantoms.ct.solids import Field
from anatomark.datasets.phantoms.prostate.beams import beam_lattice, coarse, sampled
from anatomark.datasets.phantoms.prostate.blocks import (
    Block,
    each_block,
    local_points,
    local_steps,
    rigid,
)
from anatomark.datasets.phantoms.prostate.painting import Pelvis, paint
from anatomark.datasets.phantoms.prostate.pose import Pose
from anatomark.datasets.phantoms.prostate.probe import View, inside
from anatomark.datasets.phantoms.prostate.septa import draw_septa
from anatomark.datasets.phantoms.texture import smooth_noise, stream
from anatomark.geometry import FloatArray, Grid
from anatomark.maps import Displacement

_SHARPNESS_MM = 0.6  # width of an edge where voxels are smaller than that
_WALLS = 1.8  # how much brighter walls are, in standard deviations of the texture

#: Usual echo of each tissue in dB, how far it varies between patients, how far it varies from
#: place to place (dB), and how much sound is lost in it (dB per mm, there and back).
_ECHOES: dict[str, tuple[float, float, float, float]] = {
    "fat": (-19, 4, 3.0, 0.0),
    "plexus": (-21, 4, 4.0, 0.0),
    "muscle": (-24, 3, 3.0, 0.0),
    "levator": (-22, 3, 3.0, 0.0),
    "cortex": (2, 2, 2.0, 9.0),
    "marrow": (-22, 4, 3.0, 3.0),
    "cartilage": (-18, 3, 2.0, 1.0),
    "rectal wall": (-17, 3, 3.0, 0.0),
    "gas": (-17, 3, 3.0, 0.0),  # the probe has pushed it out
    "stool": (-17, 3, 3.0, 0.0),
    "gel": (-17, 3, 3.0, 0.0),
    "bladder wall": (-14, 3, 2.0, 0.0),
    "urine": (-48, 4, 1.0, -0.08),  # sound is not lost in fluid: what lies behind is brighter
    "vesicle": (-30, 4, 4.0, 0.0),
    "veins": (-32, 4, 3.0, 0.0),
    "bundle": (-26, 4, 3.0, 0.0),
    "bulb": (-24, 3, 2.0, 0.0),
    "sphincter": (-24, 3, 2.0, 0.0),
    "urethra": (-33, 4, 2.0, 0.0),
    "peripheral zone": (-18, 3, 1.2, 0.0),
    "central zone": (-20, 3, 1.2, 0.0),
    "transition zone": (-23, 4, 2.2, 0.02),
    "rim": (-27, 3, 2.0, 0.0),
    "glandular nodule": (-20, 4, 2.0, 0.0),
    "stromal nodule": (-27, 4, 2.0, 0.05),
    "mixed nodule": (-23, 5, 3.0, 0.0),
    "stroma": (-28, 3, 2.0, 0.15),
    "urethral wall": (-26, 3, 2.0, 0.0),
    "lesion": (-25, 4, 2.0, 0.0),
    "stone": (2, 3, 1.0, 9.0),
}


@dataclass(frozen=True)
class UltrasoundImages:
    """What is drawn on one grid: the image, the gland's mask and the field of view."""

    image: NDArray[np.uint8]
    gland: NDArray[np.uint8]
    view: NDArray[np.uint8]


def render_ultrasound(
    pelvis: Pelvis, pose: Pose, view: View, deformation: Displacement, seed: int
) -> UltrasoundImages:
    """Draw the deformed body that the probe sees, on ``pose.grid``."""
    echo, loss, gland, seen = _painted(pelvis, pose, view, deformation, seed)
    rng = stream(seed, "prostate", "us beams")
    lattice = beam_lattice(view, loss, pose.grid, rng)
    display = stream(seed, "prostate", "us display")
    image = _displayed(echo, seen, lattice, view, pose.grid, display)
    return UltrasoundImages(image, gland, seen)


def _painted(
    pelvis: Pelvis, pose: Pose, view: View, deformation: Displacement, seed: int
) -> tuple[Field, Field, NDArray[np.uint8], NDArray[np.uint8]]:
    """Echo in dB, loss in dB per mm, the gland's mask and the field of view."""
    grid, turn = pose.grid, pose.turn.T
    rng = stream(seed, "prostate", "us look")
    looks = _draw_looks(rng)
    bright, thick = rng.uniform(4, 14), rng.uniform(0.7, 1.1)
    texture = _texture(grid, stream(seed, "prostate", "us texture"))
    echo, loss = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.float32)
    gland, seen = np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, np.uint8)
    edge = max(_SHARPNESS_MM, float(np.prod(grid.spacing)) ** (1 / 3))
    steps, pull = local_steps(grid), LatticePull(deformation, grid)

    def work(block: Block) -> None:
        local = local_points(steps, block)
        body = rigid(turn, local + pull(block), -turn @ pose.shift)
        seen[block] = inside(view.polar(local))
        if not seen[block].any():  # nobody sees it, but the mask goes on
            surface = pelvis.surface(body, edge)
            if surface is not None:
                gland[block][surface[0]] = surface[1] < 0
            return
        painted = paint(pelvis, body, looks, edge_mm=edge)
        value, vary, lost = painted.values
        value += vary * texture[block]
        if painted.surface is not None:
            here, distance = painted.surface
            gland[block][here] = distance < 0
            beam = rigid(turn, view.beam(local[(slice(None), *here)]), np.zeros(3))
            shine = np.exp(-np.square(distance / np.float32(max(thick, 0.7 * edge))))
            shine *= np.float32(bright) * _facing(pelvis, body[(slice(None), *here)], beam)
            value[here] += shine
        echo[block], loss[block] = value, lost

    each_block(work, grid.shape)
    return echo, loss, gland, seen


class LatticePull:
    """The deformation, in local mm, at the voxels of a block.

    The lattice of the field lies along the grid's own axes, so its linear interpolation is done
    one axis after the other: the same numbers as the map gives, at a fraction of the cost.
    """

    def __init__(self, deformation: Displacement, grid: Grid) -> None:
        lattice = deformation.grid
        field = np.einsum("ji,j...->i...", grid.direction, deformation.field_mm)
        self._field: Field = field.astype(np.float32)
        self._at = []
        for axis in (2, 1, 0):
            place = (np.arange(grid.size_xyz[axis]) + 0.5) * grid.spacing[axis]
            place = (place - grid.extent[axis] / 2) / lattice.spacing[axis]
            self._at.append(place + (lattice.size_xyz[axis] - 1) / 2)

    def __call__(self, block: Block) -> Field:
        """Displacement ``(3, z, y, x)``."""
        field = self._field
        places = [at[cut] for at, cut in zip(self._at, block, strict=True)]
        starts = [np.floor(place).astype(np.intp) for place in places]
        box = tuple(slice(s[0], s[-1] + 2) for s in starts)
        field = field[(slice(None), *box)]
        for axis in (3, 2, 1):  # the innermost while the array is small
            place, first = places[axis - 1], starts[axis - 1]
            part = (place - first).astype(np.float32).reshape(-1, *(1,) * (3 - axis))
            low = field.take(first - first[0], axis=axis)
            field = field.take(first - first[0] + 1, axis=axis)
            field -= low
            field *= part
            field += low
        return field


def _draw_looks(rng: np.random.Generator) -> dict[str, FloatArray]:
    """Echo, variation and loss of each tissue, for one patient and one machine."""
    return {
        tissue: np.array(
            [middle + rng.uniform(-spread, spread), vary * rng.uniform(0.7, 1.3), loss]
        )
        for tissue, (middle, spread, vary, loss) in _ECHOES.items()
    }


def _texture(grid: Grid, rng: np.random.Generator) -> Field:
    """Blotches of a few mm, cut up by thin bright walls."""
    texture = smooth_noise(grid.shape, scale_voxels=2.5 / grid.spacing[::-1], rng=rng)
    texture += np.float32(_WALLS * rng.uniform(0.3, 1.2)) * draw_septa(grid, rng)
    return texture


def _facing(pelvis: Pelvis, body: Field, beam: Field) -> Field:
    """How squarely (0…1) a beam meets the gland's surface; an oval's normal is near enough."""
    normal = [
        part / np.float32(half**2) for part, half in zip(body, pelvis.gland.half, strict=True)
    ]
    length = np.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2) + np.float32(1e-6)
    along = normal[0] * beam[0] + normal[1] * beam[1] + normal[2] * beam[2]
    facing: Field = np.abs(along / length)
    return facing


def _displayed(
    echo: Field,
    seen: NDArray[np.uint8],
    lattice: Field,
    view: View,
    grid: Grid,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Grey levels of a machine's log compression, 0 outside the field of view."""
    span, gain = rng.uniform(46, 60), rng.uniform(-3, 5)
    curve = np.float32(rng.uniform(0.85, 1.25))
    noise = rng.standard_normal(grid.shape, np.float32)
    noise *= np.float32(rng.uniform(0.006, 0.015))
    image = np.zeros(grid.shape, np.uint8)
    steps = local_steps(grid)

    def work(block: Block) -> None:
        if not seen[block].any():
            return
        polar = view.polar(local_points(steps, block))
        beams = sampled(lattice, polar, linear=not coarse(grid))
        grey = (echo[block] + beams + np.float32(span + gain)) / np.float32(span)
        grey = np.power(np.clip(grey, 0, 1), curve) + noise[block]
        image[block] = np.rint(255 * np.clip(grey, 0, 1)).astype(np.uint8) * seen[block]

    each_block(work, grid.shape)
    return image
