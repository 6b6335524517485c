"""DSNT and its regularisers as textbooks write them: a grid of coordinates, the softmax kept."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Textbook(NamedTuple):
    """In millimetres from the middle of the map: ``points_mm`` ``(B, L, D)``; others ``(B, L)``."""

    points_mm: Tensor
    variance_mm2: Tensor
    distance_mm: Tensor | None


def textbook(maps: Tensor, extent_mm: Tensor, target: Tensor | None = None) -> Textbook:
    """Expected point, variance and distance (Fang 2023, eqs. 1, 4, 5) of maps ``(B, L, *shape)``.

    ``extent_mm`` ``(B, D)``, ``target`` ``(B, L, D)`` normalised; both x, y(, z).
    """
    shape = maps.shape[2:]
    ones, spatial = (1,) * len(shape), tuple(range(2, maps.ndim))
    axes = [2 * (torch.arange(n, device=maps.device) + 0.5) / n - 1 for n in shape]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], dim=-1)
    half = extent_mm / 2
    voxels = grid[None, None] * half.reshape(len(half), 1, *ones, -1)

    def beside(points_mm: Tensor) -> Tensor:
        return voxels - points_mm.reshape(*points_mm.shape[:2], *ones, -1)

    share = maps.flatten(2).softmax(-1).view_as(maps)
    points = (share[..., None] * voxels).sum(spatial)
    variance = (share * beside(points).square().sum(-1)).sum(spatial)
    if target is None:
        return Textbook(points, variance, None)
    reach = beside(target * half[:, None]).norm(dim=-1)
    return Textbook(points, variance, (share * reach).sum(spatial))


def furthest(ours: Tensor, naive: Tensor) -> float:
    """The largest difference of two tensors, as a part of the largest value of the second."""
    apart = (ours.double() - naive.double()).abs().max()
    return float(apart / naive.double().abs().max().clamp_min(1e-30))
