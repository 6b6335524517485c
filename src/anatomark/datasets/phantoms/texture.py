"""Seeded building blocks that every phantom shares: random streams, smooth fields, noise, edges.

Everything here is elementwise or summed in a fixed order, so the same seed gives the same bits
whatever the number of threads.
"""

from __future__ import annotations

import operator
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from anatomark.errors import UsageError
from anatomark.geometry import FloatArray

_CHUNK = 1 << 16
_PLANE = 8192  # values from which on a plane is worth a turn of a Python loop


def stream(seed: int, *names: str) -> np.random.Generator:
    """Return a random generator of its own for each purpose.

    ``stream(seed, "gland")`` and ``stream(seed, "noise")`` are independent, so that drawing one
    number more for the one does not change the other.
    """
    try:
        whole = operator.index(seed)
    except TypeError:
        whole = -1
    if whole < 0 or isinstance(seed, bool):
        raise UsageError(f"a seed is a whole number from 0 up, not {seed!r}")
    return np.random.default_rng([whole, *(zlib.crc32(name.encode()) for name in names)])


def smooth_noise(
    shape: Sequence[int],
    *,
    scale_voxels: float | Sequence[float] | FloatArray,
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> NDArray[Any]:
    """Return a smooth random field of any dimension with zero mean and unit standard deviation.

    White noise on a lattice of step ``scale_voxels`` (one number, or one per array axis) is joined
    by cubic B-splines: the correlation falls to one half about 0.9 steps away. An axis whose step
    is below one voxel stays white. The lattice depends on ``shape / scale_voxels`` only, so the
    same generator gives the same field, sampled more finely, when both grow together.
    """
    steps = np.broadcast_to(np.asarray(scale_voxels, np.float64), (len(shape),))
    if not (steps > 0).all():
        raise UsageError(f"the scale of smooth noise must be positive, not {scale_voxels}")
    nodes = [_node_count(n, step) for n, step in zip(shape, steps, strict=True)]
    field: NDArray[Any] = rng.standard_normal(nodes, np.float32)
    # Last axis first: gathering along it is the slowest, and the array is still small.
    for axis in reversed(range(len(shape))):
        if steps[axis] >= 1:
            field = _refine(field, axis, shape[axis], steps[axis])
    return _standardised(field).astype(dtype, copy=False)


def _standardised(field: NDArray[Any]) -> NDArray[Any]:
    """Shift and scale in place to zero mean and unit standard deviation (a constant to zero)."""
    field -= field.mean(dtype=np.float64).astype(np.float32)
    flat = field.reshape(-1)
    parts = [flat[first : first + _CHUNK] for first in range(0, flat.size, _CHUNK)]
    variance = sum(float(np.square(part).sum(dtype=np.float64)) for part in parts) / flat.size
    field *= np.float32(1 / np.sqrt(variance) if variance > 0 else 1)
    return field


def _node_count(size: int, step: float) -> int:
    # Rounding first: 32 / 6.4 and 64 / 12.8 must give the same lattice.
    return int(size) if step < 1 else int(np.ceil(round(size / step, 6))) + 3


def _refine(field: NDArray[Any], axis: int, size: int, step: float) -> NDArray[Any]:
    """Evaluate cubic B-splines along one axis at the ``size`` voxel centres."""
    at = (np.arange(size) + 0.5) / step
    base = np.floor(at).astype(np.intp)
    weights = _cubic_weights(at - base)
    weights /= np.sqrt((weights**2).sum(axis=0))  # as strong between the nodes as at them
    table = weights.astype(np.float32).reshape(4, size, *(1,) * (field.ndim - axis - 1))
    refined = np.empty((*field.shape[:axis], size, *field.shape[axis + 1 :]), np.float32)
    if axis == 0 and field[0].size >= _PLANE:
        _refine_planes(field, base, table, refined)
        return refined
    spare = np.empty_like(refined)
    for offset in range(4):
        part = refined if offset == 0 else spare
        np.take(field, base + offset, axis=axis, out=part, mode="clip")
        part *= table[offset]
        if offset > 0:
            refined += part
    return refined


def _refine_planes(
    field: NDArray[Any], base: NDArray[np.intp], table: NDArray[Any], refined: NDArray[Any]
) -> None:
    """Do the same along the first axis, one plane at a time: it stays in the processor's cache."""
    spare = np.empty_like(refined[0])
    for row, first in enumerate(base):
        np.multiply(field[first], table[0, row], out=refined[row])
        for offset in (1, 2, 3):
            refined[row] += np.multiply(field[first + offset], table[offset, row], out=spare)


def _cubic_weights(t: FloatArray) -> FloatArray:
    """The four cubic B-spline weights ``(4, N)`` at fractions ``t`` of a lattice step."""
    weights: FloatArray = np.stack(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    )
    return weights / 6


def rician(array: ArrayLike, sigma: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the magnitude of the signal plus complex Gaussian noise, as a scanner shows it."""
    real = np.array(array, np.float32)
    noise = rng.standard_normal(real.shape, np.float32)
    noise *= np.float32(sigma)
    real += noise
    real *= real
    rng.standard_normal(real.shape, np.float32, out=noise)
    noise *= np.float32(sigma)
    noise *= noise
    real += noise
    return np.sqrt(real, out=real)


def blur(array: ArrayLike, sigma_voxels: float | Sequence[float]) -> NDArray[np.float32]:
    """Gaussian blur of a few voxels (a detector's or scanner's point spread), edges repeated."""
    from scipy.ndimage import gaussian_filter

    blurred: NDArray[np.float32] = gaussian_filter(
        np.asarray(array, np.float32), sigma_voxels, mode="nearest", truncate=3.0
    )
    return blurred


def soft_inside(distance_mm: NDArray[Any], width_mm: float) -> NDArray[Any]:
    """Return how much of a voxel lies inside a surface: 1 inside, 0 outside, linear over a width.

    ``distance_mm`` is signed, negative inside. Drawing edges this way keeps the place of a surface
    to a fraction of a voxel, which a hard yes or no would lose.
    """
    share = distance_mm * np.asarray(-1 / width_mm, distance_mm.dtype)
    share += np.asarray(0.5, share.dtype)
    inside: NDArray[Any] = np.clip(share, 0, 1, out=share)
    return inside
