"""The sampling layer of Grewal 2020: the likeliest place of each cell, and what is said there.

Everything stays on the device of the maps; there is no parameter. Positions are indices
``(B, K, D)`` in x, y(, z) order on the voxels of the map at full size, a voxel's centre at whole
numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

_EACH = 40  # places that a region has of those that are spread, about
_POOL: dict[int, Any] = {2: functional.max_pool2d, 3: functional.max_pool3d}


class Salient(NamedTuple):
    """Places ``voxel`` ``(B, K, D)``, float32, the likeliest first; ``logit`` there ``(B, K)``."""

    voxel: Tensor
    logit: Tensor

    def only(self, row: int) -> Salient:
        """Those of one image."""
        return Salient(self.voxel[row : row + 1], self.logit[row : row + 1])


def salient(logits: Tensor, *, cell: int, count: int | None = None) -> Salient:
    """The largest value of each cell of ``cell`` voxels a side, of them the ``count`` largest.

    ``logits`` ``(B, 1, *shape)``. Cells that the far border cuts count as well. An image with
    fewer cells gives fewer places. The values keep their gradient; places have none.
    """
    shape = logits.shape[2:]
    dimension = len(shape)
    best, flat = _POOL[dimension](logits.float(), cell, cell, ceil_mode=True, return_indices=True)
    best, flat = best.flatten(1), flat.flatten(1)
    some, order = best.topk(min(count or best.shape[1], best.shape[1]), dim=1)
    left = flat.gather(1, order)
    axes = []
    for size in reversed(shape):  # x runs fastest
        axes.append(left % size)
        left = left // size
    return Salient(torch.stack(axes, -1).to(some), some)


def spread(voxel: Tensor, shape: Sequence[int], *, count: int) -> Tensor:
    """Rows of ``count`` of the places ``(K, D)``, which are in order, all over an image.

    Of each region the first, then of each the second, and so on: an image of ``shape`` z, y, x is
    parted into cubes, one for each 40 of ``count``. The rows come in the order of the places.
    """
    regions = max(count // _EACH, 1)
    side = max((math.prod(shape) / regions) ** (1 / len(shape)), 1.0)
    own = torch.zeros(len(voxel), dtype=torch.long, device=voxel.device)
    for axis, size in reversed(list(enumerate(reversed(shape)))):
        own = own * (int(size / side) + 1) + (voxel[:, axis] / side).long()
    order = own.argsort(stable=True)  # region by region, each from its first place on
    counts = torch.unique_consecutive(own[order], return_counts=True)[1]
    first = (counts.cumsum(0) - counts).repeat_interleave(counts)
    turn = torch.empty_like(own)
    turn[order] = torch.arange(len(own), device=own.device) - first
    chosen: Tensor = turn.argsort(stable=True)[:count].sort().values
    return chosen


def between_voxels(logits: Tensor, index: Tensor) -> Tensor:
    """``index`` moved to the top of a parabola through each voxel and its two neighbours.

    Each axis by itself, by at most half a voxel; along an axis without a peak, or at the border,
    nothing is moved.
    """
    shift = []
    logits = logits.float()
    here = at_voxels(logits, index)
    for axis, size in enumerate(reversed(logits.shape[2:])):
        step = torch.zeros_like(index)
        step[..., axis] = 1
        before, after = at_voxels(logits, index - step), at_voxels(logits, index + step)
        bend = before + after - 2 * here
        peak = (bend < 0) & (before <= here) & (after <= here)
        peak &= (index[..., axis] > 0) & (index[..., axis] < size - 1)
        top = (before - after) / (2 * torch.where(peak, bend, torch.ones_like(bend)))
        shift.append(torch.where(peak, top.clamp(-0.5, 0.5), torch.zeros_like(top)))
    return index + torch.stack(shift, -1)


def at_voxels(maps: Tensor, index: Tensor) -> Tensor:
    """Values ``(B, K)`` of ``maps`` ``(B, 1, *shape)`` at whole indices ``(B, K, D)``.

    Beyond the border they are those of the border.
    """
    shape = maps.shape[2:]
    flat = torch.zeros(index.shape[:-1], dtype=torch.long, device=index.device)
    for axis, size in reversed(list(enumerate(reversed(shape)))):
        flat = flat * size + index[..., axis].long().clamp(0, size - 1)
    return maps.flatten(1).gather(1, flat)


def sampled(maps: Tensor, index: Tensor, *, stride: int = 1) -> Tensor:
    """Values ``(B, K, C)`` of maps ``(B, C, *shape)`` at ``index``, linear between voxels.

    Voxels of ``maps`` are ``stride`` times as large as those that ``index`` counts. Beyond the
    outermost centres the value is that of the border.
    """
    size = index.new_tensor(maps.shape[:1:-1])
    own = (index + 0.5) / stride  # from the outer face, in voxels of the maps
    where = (2 * own / size - 1).to(maps.dtype if maps.dtype == torch.float64 else torch.float32)
    grid = where.reshape(len(index), -1, *[1] * (maps.ndim - 3), maps.ndim - 2)
    values = functional.grid_sample(
        maps.to(where.dtype), grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return values.flatten(2).transpose(1, 2)
