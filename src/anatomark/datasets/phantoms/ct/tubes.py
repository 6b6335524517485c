"""Many small capsules at once: hundreds of vessel pieces cost no more than a few large solids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from anatomark.datasets.phantoms.ct.solids import Capsule, Field

Window = tuple[slice, ...]
Indices = NDArray[np.intp]

_VOXELS_AT_ONCE = 1 << 17


def covers(
    xyz: Field,
    numbers: Indices,
    pieces: Sequence[tuple[Capsule, Window]],
    *,
    grow: float,
    edge_mm: float,
) -> Iterator[tuple[Indices, Field]]:
    """Flat voxel numbers and how much (0…1) of each the capsules fill, in a few portions.

    ``xyz (D, *shape)`` are body coordinates, ``numbers`` the flat number of each voxel; only
    voxels in a capsule's own window are looked at.
    """
    volumes = np.array([numbers[window].size for _, window in pieces])
    portions = np.cumsum(volumes) // _VOXELS_AT_ONCE
    for portion in np.unique(portions):
        rows = np.flatnonzero(portions == portion).tolist()
        windows = [pieces[row][1] for row in rows]
        places = [xyz[(slice(None), *window)].reshape(len(xyz), -1) for window in windows]
        part = _fill(
            [pieces[row][0] for row in rows],
            volumes[rows],
            np.concatenate(places, axis=1),
            grow=grow,
            edge_mm=edge_mm,
        )
        inside = part > 0
        if inside.any():
            flat = np.concatenate([numbers[window].ravel() for window in windows])
            yield _largest(flat[inside], part[inside])


def _fill(
    capsules: Sequence[Capsule], volumes: Indices, places: Field, *, grow: float, edge_mm: float
) -> Field:
    """How much of each voxel its capsule fills; ``volumes`` voxels belong to each capsule."""

    def each(values: Sequence[float] | Field) -> Field:
        return np.repeat(np.asarray(values, np.float32), volumes)

    start = np.array([c.start for c in capsules], np.float32)
    step = np.array([c.end - c.start for c in capsules], np.float32)
    square = np.maximum((step**2).sum(axis=1), np.float32(1e-6))
    parts = [part - each(first) for part, first in zip(places, start.T, strict=True)]
    steps = [each(values) for values in step.T]
    where = parts[0] * steps[0]
    for part, along in zip(parts[1:], steps[1:], strict=True):
        where += part * along
    where *= each(1 / square)
    np.minimum(np.maximum(where, 0, out=where), 1, out=where)
    apart = np.zeros_like(where)
    for part, along in zip(parts, steps, strict=True):
        aside = part - where * along
        apart += aside * aside
    depth = each([c.radius + grow for c in capsules]) - np.sqrt(apart, out=apart)
    depth += where * each([c.end_radius - c.radius for c in capsules])
    filled: Field = depth / np.float32(edge_mm) + np.float32(0.5)
    np.minimum(np.maximum(filled, 0, out=filled), 1, out=filled)
    filled *= each([min(max(c.thickness + 2 * grow, 0.0) / edge_mm, 1.0) for c in capsules])
    return filled


def _largest(flat: Indices, part: Field) -> tuple[Indices, Field]:
    """One entry a voxel: where pieces of a tube overlap they count once."""
    order = np.argsort(flat, kind="stable")
    flat, part = flat[order], part[order]
    first = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    return flat[first], np.maximum.reduceat(part, first)
