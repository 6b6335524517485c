"""Boxes of images: where they begin, and what is in them. Indices are in x, y(, z) order."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def voxel_of(points: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The voxel index ``(B, L, D)`` that normalised points lie in, within the image."""
    size = points.new_tensor(shape[::-1])
    index = torch.floor((points + 1) / 2 * size)
    return torch.minimum(index.clamp_min(0), size - 1).long()


def middle_of(points: Tensor, shape: tuple[int, ...], side: int) -> Tensor:
    """Where boxes of ``side`` voxels begin that have normalised points in their middle."""
    size = points.new_tensor(shape[::-1])
    kept = points.clamp(-1, 1)
    return torch.round((kept + 1) / 2 * size - side / 2).long()


def random_boxes(count: int, shape: tuple[int, ...], size: tuple[int, ...], device: Any) -> Tensor:
    """Where ``count`` boxes of ``size`` (z, y, x) begin, anywhere in the image, ``(count, D)``."""
    room = [n - s + 1 for n, s in zip(reversed(shape), reversed(size), strict=True)]
    return torch.stack([torch.randint(0, n, (count,), device=device) for n in room], 1)


def cut_boxes(images: Tensor, first: Tensor, size: tuple[int, ...]) -> Tensor:
    """Boxes ``(B, R, C, *size)`` of images ``(B, C, *shape)``; 0 outside, as convolutions pad.

    ``first`` ``(B, R, D)`` may lie outside. One gather for all boxes.
    """
    shape, dimension = images.shape[2:], images.ndim - 2
    index: list[Tensor] = []
    there = torch.ones((), dtype=torch.bool, device=images.device)
    for axis, n in enumerate(shape):
        steps = torch.arange(size[axis], device=images.device)
        own = first[..., dimension - 1 - axis, None] + steps
        spread = [1] * dimension
        spread[axis] = size[axis]
        inside = ((own >= 0) & (own < n)).reshape(*own.shape[:2], *spread)
        there = there & inside
        index.append(own.clamp(0, n - 1).reshape(*own.shape[:2], *spread))
    sample = torch.arange(len(images), device=images.device).reshape(-1, *(1,) * (dimension + 1))
    # Channels last while gathering: what is indexed comes first.
    rows = images.movedim(1, -1)[(sample, *index)]
    return (rows * there[..., None]).movedim(-1, 2)
