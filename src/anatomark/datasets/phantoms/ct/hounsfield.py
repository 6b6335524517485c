"""What the CT phantoms share: Hounsfield values, scanner noise, streaks and whole-number output."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from anatomark.datasets.phantoms.ct.solids import Field
from anatomark.datasets.phantoms.texture import blur, smooth_noise
from anatomark.errors import UsageError
from anatomark.geometry import FloatArray, Grid

#: Typical values in HU; each patient's differ a little.
HU = {
    "air": -1000.0,
    "lung": -860.0,
    "fat": -100.0,
    "water": 5.0,
    "skin": 25.0,
    "muscle": 55.0,
    "soft": 40.0,
    "vein": 110.0,
    "liver": 95.0,
    "spleen": 110.0,
    "cartilage": 90.0,
    "marrow": 170.0,
    "bone": 650.0,
    "calcium": 900.0,
    "metal": 2600.0,
}

LOWEST_HU, HIGHEST_HU = -1024, 3071


def check_shape(shape: Sequence[int], dimension: int) -> tuple[int, ...]:
    """Return the shape as whole numbers, or say what is wrong with it."""
    sizes = tuple(int(n) for n in shape)
    if len(sizes) != dimension or min(sizes) < 8:
        raise UsageError(
            f"this phantom needs a shape of {dimension} numbers of 8 or more, not {tuple(shape)}"
        )
    return sizes


def texture(grid: Grid, scale_mm: float, rng: np.random.Generator) -> Field:
    """Smooth field of unit deviation whose grains are ``scale_mm`` wide at every resolution.

    Where the grains are finer than the voxels, they average out: the deviation falls.
    """
    steps = (scale_mm / grid.spacing[::-1]).tolist()
    field: Field = smooth_noise(grid.shape, scale_voxels=steps, rng=rng)
    field *= np.float32(np.prod(np.minimum(steps, 1)) ** 0.5)
    return field


def scanner_noise(
    grid: Grid, rng: np.random.Generator, *, sd_hu: float, kernel_mm: float, voxel_mm: float
) -> Field:
    """Noise with the grain of a reconstruction kernel: correlated, and without its lowest tones.

    ``sd_hu`` is the deviation in voxels of ``voxel_mm``; larger ones average more and have less.
    """
    white = rng.standard_normal(grid.shape, np.float32)
    # Filtered back projection takes the low frequencies out of the noise, the kernel the high ones.
    sigma = np.minimum(kernel_mm / grid.spacing[::-1], 4)
    fine = blur(white, sigma.tolist())
    in_slice = 2 * sigma * np.array([0, 1, 1][-grid.dimension :])
    fine -= np.float32(0.6) * blur(fine, in_slice.tolist())
    grain = (4 * np.pi * kernel_mm**2) ** (grid.dimension / 2)
    averaged = (grain + voxel_mm**grid.dimension) / (grain + float(np.prod(grid.spacing)))
    fine *= np.float32(sd_hu * np.sqrt(averaged) / max(float(fine.std()), 1e-6))
    return fine


def add_streaks(
    values: Field,
    grid: Grid,
    source: FloatArray,
    rng: np.random.Generator,
    *,
    strength_hu: float,
    reach_mm: float,
) -> None:
    """Add rays of bright and dark around the vertical line through a dense object.

    ``source (D,)`` world LPS mm. The rays lie in the slices, as in a scanner, and fade along
    ``reach_mm`` from the object, in the slices and across them.
    """
    at = grid.to_index(source)
    rays = rng.normal(size=72)
    rays = np.interp(np.linspace(0, 144, 721), np.arange(145), np.tile(rays, 3)[:145])
    x = ((np.arange(grid.size_xyz[0]) - at[0]) * grid.spacing[0]).astype(np.float32)
    y = ((np.arange(grid.size_xyz[1]) - at[1]) * grid.spacing[1]).astype(np.float32)
    radius = np.hypot(x[None, :], y[:, None])
    angle = np.arctan2(y[:, None], x[None, :])
    place = np.rint((angle / (2 * np.pi) + 0.5) * 360).astype(int)
    plane = rays[place].astype(np.float32) * np.exp(-radius / np.float32(reach_mm))
    plane *= np.minimum(radius / np.float32(4), 1) * np.float32(strength_hu)
    if grid.dimension == 2:
        values += plane
        return
    z = (np.arange(grid.size_xyz[2]) - at[2]) * grid.spacing[2]
    for row, weight in enumerate(np.exp(-((z / (0.4 * reach_mm)) ** 2))):
        if weight > 0.02:
            values[row] += np.float32(weight) * plane


def stored(values: Field) -> NDArray[np.int16]:
    """Whole HU within the twelve bits of a scanner."""
    whole: NDArray[np.int16] = np.rint(np.clip(values, LOWEST_HU, HIGHEST_HU)).astype(np.int16)
    return whole
