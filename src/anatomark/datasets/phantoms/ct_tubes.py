"""Many small capsules at once: hundreds of vessel pieces cost no more than a few large solids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from anatomark.datasets.phantoms.ct_solids import Capsule, Field

Window = tuple[slice, ...]
Indices = NDArray[np.int64]

_VOXELS_AT_ONCE = 1 << 18


def covers(
    xyz: Field,
    capsules: Sequence[Capsule],
    windows: Sequence[Window],
    *,
    grow: float,
    edge_mm: float,
) -> Iterator[tuple[Indices, Field]]:
    """Flat voxel numbers and how much (0…1) of each the capsules fill, in a few portions.

    ``xyz (D, *shape)`` are body coordinates; only voxels in a capsule's own window are looked at.
    """
    numbers = [_voxels(window, xyz.shape[1:]) for window in windows]
    volumes = np.array([len(voxels) for voxels in numbers])
    portion = np.cumsum(volumes) // _VOXELS_AT_ONCE
    for part_number in np.unique(portion):
        rows = np.flatnonzero(portion == part_number).tolist()
        owner = np.repeat(np.arange(len(rows)), volumes[rows])
        flat = np.concatenate([numbers[row] for row in rows])
        part = _fill([capsules[row] for row in rows], owner, xyz, flat, grow=grow, edge_mm=edge_mm)
        inside = part > 0
        if inside.any():
            yield _largest(flat[inside], part[inside])


def _voxels(window: Window, shape: tuple[int, ...]) -> Indices:
    """Flat numbers of the voxels of a window."""
    numbers = np.zeros(1, np.int64)
    for part, count in zip(window, shape, strict=True):
        numbers = np.add.outer(numbers * count, np.arange(part.start, part.stop)).ravel()
    return numbers


def _fill(
    capsules: Sequence[Capsule],
    owner: Indices,
    xyz: Field,
    flat: Indices,
    *,
    grow: float,
    edge_mm: float,
) -> Field:
    start = np.array([c.start for c in capsules], np.float32)
    along = np.array([c.end - c.start for c in capsules], np.float32)
    square = np.maximum((along**2).sum(axis=1), np.float32(1e-6))
    radius = np.array([c.radius for c in capsules], np.float32)
    change = np.array([c.end_radius for c in capsules], np.float32) - radius
    thickness = np.array([c.thickness for c in capsules], np.float32) + np.float32(2 * grow)
    parts = [xyz[d].ravel()[flat] - start[owner, d] for d in range(len(xyz))]
    where = sum(part * along[owner, d] for d, part in enumerate(parts)) / square[owner]
    where = np.minimum(np.maximum(where, 0), 1).astype(np.float32)
    apart = sum((part - where * along[owner, d]) ** 2 for d, part in enumerate(parts))
    depth = (radius + np.float32(grow))[owner] + where * change[owner] - np.sqrt(apart)
    share = np.minimum(np.maximum(np.float32(0.5) + depth / np.float32(edge_mm), 0), 1)
    filled: Field = share * np.clip(thickness / np.float32(edge_mm), 0, 1)[owner]
    return filled


def _largest(flat: Indices, part: Field) -> tuple[Indices, Field]:
    """One entry a voxel: where pieces of a tube overlap they count once."""
    order = np.argsort(flat, kind="stable")
    flat, part = flat[order], part[order]
    first = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    return flat[first], np.maximum.reduceat(part, first)
