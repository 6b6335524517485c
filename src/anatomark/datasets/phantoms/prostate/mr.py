"""Draw a pelvis as a T2-weighted MR image would show it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anatomark.datasets.phantoms.ct.solids import Field
from anatomark.datasets.phantoms.prostate.blocks import (
    Block,
    each_block,
    local_points,
    local_steps,
    rigid,
)
from anatomark.datasets.phantoms.prostate.painting import Pelvis, paint
from anatomark.datasets.phantoms.prostate.pose import Pose
from anatomark.datasets.phantoms.prostate.septa import draw_septa
from anatomark.datasets.phantoms.texture import rician, smooth_noise, stream
from anatomark.geometry import FloatArray, Grid

_SHARPNESS_MM = 0.7  # width of an edge where voxels are smaller than that
_WALLS = 1.7  # how much darker walls are, in standard deviations of the texture

#: Usual signal of each tissue (1: brightest), how far it varies between patients, and the
#: part by which it varies from place to place.
_SIGNALS: dict[str, tuple[float, float, float]] = {
    "fat": (0.75, 0.15, 0.14),
    "plexus": (0.58, 0.15, 0.25),
    "muscle": (0.20, 0.05, 0.12),
    "levator": (0.20, 0.05, 0.10),
    "cortex": (0.07, 0.03, 0.20),
    "marrow": (0.50, 0.15, 0.12),
    "cartilage": (0.30, 0.08, 0.15),
    "rectal wall": (0.38, 0.08, 0.18),
    "gas": (0.04, 0.02, 0.50),
    "stool": (0.42, 0.15, 0.35),
    "gel": (0.85, 0.12, 0.05),
    "bladder wall": (0.26, 0.06, 0.12),
    "urine": (0.95, 0.12, 0.02),
    "vesicle": (0.75, 0.20, 0.45),
    "veins": (0.70, 0.15, 0.35),
    "bundle": (0.45, 0.10, 0.30),
    "bulb": (0.72, 0.12, 0.12),
    "sphincter": (0.33, 0.08, 0.10),
    "urethra": (0.62, 0.12, 0.10),
    "peripheral zone": (0.66, 0.17, 0.15),
    "central zone": (0.32, 0.07, 0.15),
    "transition zone": (0.42, 0.10, 0.24),
    "rim": (0.22, 0.06, 0.10),
    "glandular nodule": (0.66, 0.15, 0.20),
    "stromal nodule": (0.27, 0.06, 0.15),
    "mixed nodule": (0.45, 0.12, 0.30),
    "stroma": (0.20, 0.05, 0.12),
    "urethral wall": (0.32, 0.07, 0.10),
    "lesion": (0.28, 0.07, 0.12),
    "stone": (0.08, 0.03, 0.10),
}


def render_mr(pelvis: Pelvis, pose: Pose, seed: int) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Return the image and the mask of the gland, both on ``pose.grid``."""
    grid = pose.grid
    rng = stream(seed, "prostate", "mr look")
    looks = _draw_looks(rng)
    capsule, capsule_mm = rng.uniform(0.35, 0.6), rng.uniform(0.8, 1.2)
    texture = _texture(grid, stream(seed, "prostate", "mr texture"))
    signal = np.empty(grid.shape, np.float32)
    mask = np.zeros(grid.shape, np.uint8)
    edge = max(_SHARPNESS_MM, float(np.prod(grid.spacing)) ** (1 / 3))
    steps, turn = local_steps(grid), pose.turn.T

    def work(block: Block) -> None:
        points = rigid(turn, local_points(steps, block), -turn @ pose.shift)
        painted = paint(pelvis, points, looks, edge_mm=edge)
        value, vary = painted.values
        value *= np.maximum(1 + vary * texture[block], np.float32(0.1))
        if painted.surface is not None:
            here, distance = painted.surface
            mask[block][here] = distance < 0
            value[here] *= 1 - capsule * _shell(distance, capsule_mm, edge)
        signal[block] = value

    each_block(work, grid.shape)
    signal *= _bias(grid, pose, pelvis, stream(seed, "prostate", "mr bias"))
    return _scanned(signal, stream(seed, "prostate", "mr noise")), mask


def _draw_looks(rng: np.random.Generator) -> dict[str, FloatArray]:
    """Signal and variation of each tissue, for one patient and one sequence."""
    contrast = rng.uniform(0.8, 1.35)  # a longer echo time spreads the greys
    return {
        tissue: np.array(
            [
                max(middle + rng.uniform(-spread, spread), 0.02) ** contrast,
                vary * rng.uniform(0.7, 1.3),
            ]
        )
        for tissue, (middle, spread, vary) in _SIGNALS.items()
    }


def _texture(grid: Grid, rng: np.random.Generator) -> Field:
    """Grain of about 1.5 mm on blotches of about 5 mm, cut up by thin dark walls."""
    fine = smooth_noise(grid.shape, scale_voxels=1.2 / grid.spacing[::-1], rng=rng)
    fine += smooth_noise(grid.shape, scale_voxels=4.0 / grid.spacing[::-1], rng=rng)
    fine *= np.float32(0.7)
    fine -= np.float32(_WALLS * rng.uniform(0.4, 1.2)) * draw_septa(grid, rng)
    return fine


def _shell(distance: Field, thickness_mm: float, edge_mm: float) -> Field:
    """How much of a voxel is capsule: a thin layer about the surface."""
    half = max(thickness_mm, edge_mm) / 2
    part = np.maximum(1 - np.abs(distance) / np.float32(2 * half), 0)
    shell: Field = part * np.float32(min(thickness_mm / edge_mm, 1.0))
    return shell


def _bias(grid: Grid, pose: Pose, pelvis: Pelvis, rng: np.random.Generator) -> Field:
    """Uneven brightness of the receive coil; in some scans a coil in the rectum shines."""
    bias = smooth_noise(grid.shape, scale_voxels=np.array(grid.shape) / 2.5, rng=rng)
    bias *= np.float32(rng.uniform(0.06, 0.18))
    np.exp(bias, out=bias)
    if rng.random() < 0.25:
        behind = pelvis.gland.landmarks[2] + [0, rng.uniform(8, 14), rng.uniform(-5, 5)]
        x, y, z = local_steps(grid)
        centre = pose.local(behind[None])[0].astype(np.float32)
        apart = np.square(z - centre[2])[:, None, None] + np.square(y - centre[1])[:, None]
        apart = apart + np.square(x - centre[0])
        bias *= 1 + np.float32(rng.uniform(0.8, 2.0)) / (
            1 + apart / np.float32(rng.uniform(18, 26) ** 2)
        )
    return bias


def _scanned(signal: Field, rng: np.random.Generator) -> NDArray[np.int16]:
    """Add Rician noise and give the signal a scanner's arbitrary scale."""
    noisy = rician(signal, float(rng.uniform(0.02, 0.06)), rng)
    noisy *= np.float32(rng.uniform(350, 1400))
    np.rint(noisy, out=noisy)
    image: NDArray[np.int16] = np.clip(noisy, 0, 32767).astype(np.int16)
    return image
