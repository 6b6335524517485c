"""What each beam of an ultrasound probe adds to the echo, in dB, on a lattice of its own.

The lattice ``(sweep, angle, depth)`` fills the sector; see ``View.polar`` for its coordinates.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anatomark.datasets.phantoms.ct.canvas import spread
from anatomark.datasets.phantoms.ct.solids import Field
from anatomark.datasets.phantoms.prostate.probe import View
from anatomark.datasets.phantoms.texture import smooth_noise
from anatomark.geometry import FloatArray, Grid

# Sweep, angle, depth: where shadows are followed, for images of fine and of coarse voxels.
_FINE, _COARSE = (32, 48, 64), (24, 32, 48)
_DARKEST_DB = -45.0
_MOST_NODES = 320


def coarse(grid: Grid) -> bool:
    """Whether voxels are so large that speckle need not be drawn smoothly."""
    return float(np.prod(grid.spacing)) > 1.0


def beam_lattice(view: View, loss: Field, grid: Grid, rng: np.random.Generator) -> Field:
    """Speckle, attenuation, shadows and near-field rings in dB ``(sweep, angle, depth)``.

    ``loss`` is on ``grid``, in dB per mm.
    """
    nodes = _COARSE if coarse(grid) else _FINE
    shadow = _shadows(view, loss, grid, nodes)
    shadow += _lost_contact(rng, nodes)
    lattice = _speckle(view, grid, rng)
    lattice += spread(shadow, lattice.shape)
    sweep, angle, depth = (_nodes(n) for n in lattice.shape)
    lattice += _by_depth(view, depth, rng).astype(np.float32)
    fade = rng.uniform(2, 9) * np.abs(angle) ** 3
    lattice -= fade.astype(np.float32)[:, None]
    lattice -= (rng.uniform(0, 4) * np.abs(sweep) ** 3).astype(np.float32)[:, None, None]
    return lattice


def sampled(lattice: Field, polar: Field, *, linear: bool) -> Field:
    """Value of a lattice at normalised depth, angle and sweep ``(3, ...)``.

    Linear between the nodes, or that of the nearest where voxels are as large as its cells.
    """
    base, parts, strides = np.zeros(polar.shape[1:], np.intp), [], []
    stride = 1
    for place, count in zip(polar, lattice.shape[::-1], strict=True):
        at = place * np.float32(count / 2)
        at += np.float32(count / 2 - (0.5 if linear else 0.0))
        np.clip(at, 0, np.float32(count - 1.001 if linear else count - 0.001), out=at)
        first = at.astype(np.intp)
        if linear:
            at -= first
            parts.append(at)
            strides.append(stride)
        first *= stride
        base += first
        stride *= count
    return _between(lattice.reshape(-1), base, parts, strides)


def _between(flat: Field, base: NDArray[np.intp], parts: list[Field], strides: list[int]) -> Field:
    """Interpolate from ``flat[base]`` along the last of several directions, then the others."""
    if not parts:
        return np.take(flat, base, mode="clip")
    near = _between(flat, base, parts[:-1], strides[:-1])
    far = _between(flat, base + strides[-1], parts[:-1], strides[:-1])
    far -= near
    far *= parts[-1]
    near += far
    return near


def _nodes(count: int) -> FloatArray:
    """Normalised places of ``count`` lattice nodes."""
    places: FloatArray = (2 * np.arange(count) + 1) / count - 1
    return places


def _shadows(view: View, loss: Field, grid: Grid, nodes: tuple[int, ...]) -> Field:
    """Sound lost on the way to each node, followed along the beams."""
    sweep, angle, depth = (_nodes(n).astype(np.float32) for n in nodes)
    local = view.points(depth, angle[:, None], sweep[:, None, None])
    found = np.ones(nodes, bool)
    flat = np.zeros(nodes, np.intp)
    stride = 1
    for part, count, step in zip(local, grid.size_xyz, grid.spacing, strict=True):
        index = np.rint(part / np.float32(step) + np.float32((count - 1) / 2)).astype(np.intp)
        found &= (index >= 0) & (index < count)
        flat += np.clip(index, 0, count - 1) * stride
        stride *= count
    lost = np.where(found, loss.reshape(-1).take(flat), np.float32(0))
    lost *= np.float32(view.lengths_mm[0] / nodes[2])
    passed = np.cumsum(lost, axis=-1)
    passed -= lost  # an echo is not dimmed by what lies behind it
    shadows: Field = np.maximum(-passed, np.float32(_DARKEST_DB))
    return shadows


def _lost_contact(rng: np.random.Generator, nodes: tuple[int, ...]) -> Field:
    """Beams that gas or lost contact at the probe's surface has darkened."""
    patch = smooth_noise(nodes[:2], scale_voxels=np.array(nodes[:2]) / 6, rng=rng)
    threshold = rng.uniform(1.4, 3.0)
    dim: Field = -np.float32(rng.uniform(8, 25)) * np.clip(
        (patch - np.float32(threshold)) * 3, 0, 1
    )
    return dim[:, :, None]


def _speckle(view: View, grid: Grid, rng: np.random.Generator) -> Field:
    """Fully developed speckle in dB: the size of a sum of many echoes that meet at random.

    Where voxels are larger than a speckle, each shows the mean of several.
    """
    voxel = float(np.prod(grid.spacing)) ** (1 / 3)
    sizes = np.array([rng.uniform(1.2, 2.2), rng.uniform(0.8, 1.6), rng.uniform(0.4, 0.6)])
    steps = np.maximum(0.6 * sizes, 0.9 * voxel)
    lengths = np.array(view.lengths_mm[::-1])
    shape = tuple(int(n) for n in np.clip(np.ceil(lengths / steps), 8, _MOST_NODES))
    joined = tuple(int(axis) for axis in np.flatnonzero(steps < 0.95 * sizes))
    power = np.square(_joined(rng.standard_normal(shape, np.float32), joined))
    power += np.square(_joined(rng.standard_normal(shape, np.float32), joined))
    looks = max(1.0, float(np.prod(steps / (0.75 * sizes))))
    power /= power.mean()
    level: Field = np.sqrt(power, out=power)
    level -= 1
    level *= np.float32(looks**-0.3)
    level += np.float32(1.001)
    np.log10(level, out=level)
    level *= 20
    return np.maximum(level, np.float32(-30), out=level)


def _joined(noise: Field, axes: tuple[int, ...]) -> Field:
    """Join neighbours with weights 1, 2, 1 along some axes, periodic at the ends."""
    for axis in axes:
        view = np.moveaxis(noise, axis, 0)
        joined = view + np.roll(view, 1, axis=0)
        joined += np.roll(joined, -1, axis=0)
        noise = np.moveaxis(joined, 0, axis)
    return np.ascontiguousarray(noise)


def _by_depth(view: View, depth: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Attenuation that the machine did not make up for, its focus, and rings near the probe."""
    away = (depth + 1) / 2 * view.lengths_mm[0]
    slope = rng.uniform(0.04, 0.22)
    focus = rng.uniform(0, 4) * np.exp(-(((away - rng.uniform(15, 40)) / 14) ** 2))
    rings = rng.uniform(4, 12) * np.exp(-away / 2.5) * np.cos(away * rng.uniform(2.5, 4.0))
    total: FloatArray = focus + rings - slope * away
    return total
