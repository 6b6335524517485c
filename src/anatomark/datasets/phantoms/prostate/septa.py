"""Thin walls of connective tissue that run through fat and muscle."""

from __future__ import annotations

import numpy as np

from anatomark.datasets.phantoms.ct.solids import Field
from anatomark.datasets.phantoms.texture import smooth_noise
from anatomark.geometry import Grid

_APART_MM = 7.0
_THINNEST = 0.10  # as a part of the field's standard deviation: about 0.7 mm


def draw_septa(grid: Grid, rng: np.random.Generator) -> Field:
    """0 … 1, where 1 is in the middle of a wall: the zeros of a smooth field, drawn thin."""
    spacing = grid.spacing[::-1]
    field = smooth_noise(grid.shape, scale_voxels=_APART_MM / spacing, rng=rng)
    voxel = float(np.prod(spacing)) ** (1 / 3)
    width = _THINNEST * max(1.0, voxel)
    np.square(field, out=field)
    field *= np.float32(-0.5 / width**2)
    walls: Field = np.exp(field, out=field)
    if voxel > 1:  # a wall thinner than a voxel fills only a part of it
        walls *= np.float32(1 / voxel)
    return walls
