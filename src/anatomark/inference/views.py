"""Several looks at one image: turned, scaled and shifted as in training, and what they agree on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from anatomark.augment import AugmentConfig
from anatomark.data import Image, Landmarks
from anatomark.geometry import FloatArray, Grid
from anatomark.models.preparation import Prepared, normalise, on_grid
from anatomark.models.recipe import Recipe

_FAR = 2.0  # median distances from the median: what is further off is another place


def views_of(image: Image, grid: Grid, recipe: Recipe, count: int) -> Iterator[Prepared]:
    """``count`` looks at an image besides the one on ``grid``, the same for every call."""
    rng = np.random.default_rng([recipe.seed, 6])
    for _ in range(count):
        target = posed(grid, recipe.augment, rng)
        array, inside = on_grid(image, target)
        yield Prepared(normalise(array, inside, recipe.intensity), target, inside)


def posed(grid: Grid, augment: AugmentConfig, rng: np.random.Generator) -> Grid:
    """``grid`` in another pose about its centre; at least half a voxel away."""
    angle = np.deg2rad(augment.rotation_deg) * rng.uniform(-1, 1)
    if grid.dimension == 2:
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    else:
        axis = rng.normal(size=3)
        turn = Rotation.from_rotvec(angle * axis / np.linalg.norm(axis)).as_matrix()
    spacing = grid.spacing * (1 + augment.scale) ** rng.uniform(-1, 1)
    reach = np.maximum(augment.translate * grid.extent, grid.spacing / 2)
    direction = turn @ grid.direction
    centre = grid.centre + grid.direction @ (reach * rng.uniform(-1, 1, grid.dimension))
    first = centre - direction @ (spacing * (np.array(grid.size_xyz) - 1) / 2)
    return Grid(grid.shape, spacing, first, direction, unit=grid.unit)


def agreed(looks: Sequence[Landmarks]) -> Landmarks:
    """What several looks agree on, in the world.

    A point is the mean of the looks that are near their median; its covariance is their mean one
    and how far they are apart. It is there if most looks say so.
    """
    first = looks[0]
    present = np.array([look.present for look in looks])
    points = np.where(present[..., None], [look.points_mm for look in looks], np.nan)
    there = present.mean(axis=0) > 0.5
    found, spread = np.array(first.points_mm), np.zeros((len(first), *[first.dimension] * 2))
    kept = np.zeros(present.shape, bool)
    for row in np.flatnonzero(there):
        mine = points[:, row]
        off = np.linalg.norm(mine - np.nanmedian(mine, axis=0), axis=1)
        kept[:, row] = off <= _FAR * np.nanmedian(off)
        near = mine[kept[:, row]]
        found[row] = near.mean(axis=0)
        spread[row] = np.cov(near.T, bias=True)
    return _replaced(first, looks, found, spread, kept, there)


def _replaced(
    first: Landmarks,
    looks: Sequence[Landmarks],
    points: FloatArray,
    spread: FloatArray,
    kept: NDArray[np.bool_],
    there: NDArray[np.bool_],
) -> Landmarks:
    """``first`` with the points that were agreed on."""
    weight = kept / np.maximum(kept.sum(axis=0), 1)
    covariance = confidence = None
    if first.covariance_mm2 is not None:
        each = np.array([look.covariance_mm2 for look in looks])
        covariance = np.einsum("vl,vlij->lij", weight, np.where(kept[..., None, None], each, 0))
        covariance += spread
    if first.confidence is not None:
        each = np.array([look.confidence for look in looks])
        confidence = np.where(
            there, (weight * np.where(kept, each, 0)).sum(axis=0), first.confidence
        )
    return replace(
        first, points_mm=points, present=there, covariance_mm2=covariance, confidence=confidence
    )
