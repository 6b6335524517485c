"""Moments and mean distance of a softmax over a whole volume, streamed block by block.

The textbook way makes the softmax, a grid of coordinates, their product and a distance map: five
to ten copies of the heatmaps. Here the maps are read in blocks that stay in the processor's cache;
what is summed per block is small, and the backward pass reads the maps once more and writes the
gradient. Nothing else of the size of the maps is made.

Coordinates are millimetres along x, y(, z), **relative to the highest voxel of each map**: so the
second moments of a sharp map far from the middle of the image lose no digits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

# Elements worked on at a time: few enough for the cache, many enough to outweigh a call's cost.
_BLOCK_CPU = 1 << 18
_BLOCK_GPU = 1 << 25
# A share of a voxel that no sum can feel. Kept, it would become denormal numbers in the gradient,
# with which processors compute ten times as slowly, all the way back through the network.
_NOTHING = 1e-20


class Sums(NamedTuple):
    """What a softmax expects of the coordinates ``u``, millimetres from the highest voxel.

    ``first`` ``(N, D)`` is E[u], ``second`` ``(N, D, D)`` E[u uᵀ], ``distance`` ``(N,)`` E‖u − t‖
    for the target ``t`` (zeros where there is none), ``log_sum`` ``(N,)`` the log of the sum of
    exponentials, in the working precision of the sums.
    """

    first: Tensor
    second: Tensor
    distance: Tensor
    log_sum: Tensor


class _Plan(NamedTuple):
    """How maps ``(N, rows, X)`` are cut, and where their voxels are."""

    maps: Tensor  # (N, rows, X), as given
    along: Tensor  # (N, X): millimetres along x from the peak
    across: Tensor  # (N, rows, D-1): the same along y(, z)
    peak_value: Tensor  # (N,)

    def blocks(self) -> Iterator[tuple[slice, slice]]:
        count, rows, width = self.maps.shape
        budget = _BLOCK_GPU if self.maps.is_cuda else _BLOCK_CPU
        at_once = max(budget // (rows * width), 1)
        step = rows if at_once > 1 or rows * width <= budget else max(budget // width, 1)
        for n in range(0, count, at_once):
            for r in range(0, rows, step):
                yield slice(n, n + at_once), slice(r, r + step)


def peaks(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Highest value ``(N,)`` and its index ``(N, D)``, x, y(, z), of maps ``(N, *shape)``."""
    shape = maps.shape[1:]
    rows = maps.flatten(1, -2).amax(-1) if len(shape) > 1 else maps
    row = rows.argmax(1)
    line = maps.flatten(1, -2)[torch.arange(len(maps), device=maps.device), row]
    column = line.argmax(1)
    index = [column]
    for size in reversed(shape[:-1]):
        index.append(row % size)
        row = row // size
    return line.gather(1, column[:, None])[:, 0], torch.stack(index, dim=1)


def _plan(maps: Tensor, step_mm: Tensor, index: Tensor, value: Tensor) -> _Plan:
    dtype = torch.promote_types(maps.dtype, torch.float32)
    sizes = tuple(maps.shape[:0:-1])
    axes = [
        (torch.arange(n, device=maps.device) - index[:, d, None]) * step_mm[:, d, None].to(dtype)
        for d, n in enumerate(sizes)
    ]
    across = axes[1][..., None]
    if len(sizes) == 3:
        y = axes[1][:, None, :].expand(-1, sizes[2], -1).flatten(1)
        z = axes[2][:, :, None].expand(-1, -1, sizes[1]).flatten(1)
        across = torch.stack([y, z], dim=-1)
    return _Plan(maps.flatten(1, -2), axes[0].to(dtype), across.to(dtype), value.to(dtype))


def _exponentials(plan: _Plan, which: slice, rows: slice, base: Tensor) -> Tensor:
    block = plan.maps[which, rows].to(base.dtype)
    weight = torch.sub(block, base[which, None, None]).exp_()
    return torch.threshold_(weight, _NOTHING, 0.0)


def _distances(plan: _Plan, target: Tensor, which: slice, rows: slice) -> Tensor:
    """Distance in mm ``(n, rows, X)`` of the voxels of a block to the target of their map."""
    x = (plan.along[which] - target[which, :1]).square_()
    rest = (plan.across[which, rows] - target[which, None, 1:]).square_().sum(-1)
    return torch.add(x[:, None, :], rest[:, :, None]).sqrt_()


def _powers(along: Tensor) -> Tensor:
    """``(N, X, 3)``: 1, x and x²; one thin product with these sums a row's moments."""
    return torch.stack([torch.ones_like(along), along, along.square()], dim=-1)


def _sum_up(plan: _Plan, target: Tensor | None) -> Sums:
    powers = _powers(plan.along)
    row = powers.new_empty(*plan.maps.shape[:2], 3)  # sums of each row against 1, x, x²
    distance = torch.zeros(len(row), dtype=torch.float64, device=row.device)
    for which, rows in plan.blocks():
        weight = _exponentials(plan, which, rows, plan.peak_value)
        row[which, rows] = torch.bmm(weight, powers[which])
        if target is not None:
            distance[which] += weight.mul_(_distances(plan, target, which, rows)).sum((1, 2))
    weight, tilt, bend = row.double().unbind(-1)
    total, across = weight.sum(1), plan.across.double()
    first = torch.cat([tilt.sum(1)[:, None], _against(weight, across)], dim=1)
    second = first.new_empty(*first.shape, first.shape[1])
    second[:, 0, 0] = bend.sum(1)
    second[:, 0, 1:] = second[:, 1:, 0] = _against(tilt, across)
    second[:, 1:, 1:] = (weight[..., None] * across).transpose(1, 2) @ across
    return Sums(
        first / total[:, None],
        second / total[:, None, None],
        distance / total,
        plan.peak_value.double() + total.log(),
    )


def _against(row: Tensor, across: Tensor) -> Tensor:
    """Sum ``(N, D-1)`` of values ``(N, rows)`` times the rows' coordinates."""
    return torch.stack([(row * axis).sum(1) for axis in across.unbind(-1)], dim=-1)


class _Streamed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, step_mm: Tensor, index: Tensor, value: Tensor, target: Tensor | None
    ) -> tuple[Tensor, ...]:
        plan = _plan(maps, step_mm, index, value)
        sums = _sum_up(plan, target)
        ctx.has_target = target is not None
        ctx.save_for_backward(
            maps, step_mm, index, value, target if target is not None else value, *sums
        )
        return tuple(sums)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        maps, step_mm, index, value, target, *rest = ctx.saved_tensors
        sums = Sums(*rest)
        plan = _plan(maps, step_mm, index, value)
        gradient = _backward(plan, sums, Sums(*slopes), target if ctx.has_target else None)
        return gradient.view_as(maps), None, None, None, None


def _backward(plan: _Plan, sums: Sums, slopes: Sums, target: Tensor | None) -> Tensor:
    """Gradient by the maps: ``p (q(u) + s_d ‖u − t‖ − mean)`` for a quadratic ``q``.

    ``q`` holds the slopes of the moments. The mean under ``p`` is known from the forward pass, so
    one reading of the maps is enough.
    """
    dtype = plan.along.dtype
    coefficients = _row_coefficients(plan, sums, slopes).to(dtype)
    base, powers = sums.log_sum.to(dtype), _powers(plan.along).transpose(1, 2)
    scale = slopes.distance[:, None, None].to(dtype)
    out = torch.empty(plan.maps.shape, dtype=plan.maps.dtype, device=plan.maps.device)
    for which, rows in plan.blocks():
        slope = torch.bmm(coefficients[which, rows], powers[which])
        if target is not None:
            slope.addcmul_(_distances(plan, target, which, rows), scale[which])
        out[which, rows] = slope.mul_(_exponentials(plan, which, rows, base))
    return out


def _row_coefficients(plan: _Plan, sums: Sums, slopes: Sums) -> Tensor:
    """``(N, rows, 3)``: what 1, x and x² are multiplied by along each row of the gradient."""
    bend = (slopes.second + slopes.second.transpose(1, 2)) / 2
    mean = (slopes.first * sums.first).sum(1) + (bend * sums.second).sum((1, 2))
    mean = mean + slopes.distance * sums.distance - slopes.log_sum
    across = plan.across.double()
    level = torch.bmm(across, slopes.first[:, 1:, None])[..., 0] - mean[:, None]
    level = level + ((across @ bend[:, 1:, 1:]) * across).sum(-1)
    tilt = slopes.first[:, :1] + 2 * torch.bmm(across, bend[:, 0, 1:, None])[..., 0]
    return torch.stack([level, tilt, bend[:, 0, 0, None].expand_as(tilt)], dim=-1)


def streamed_sums(
    maps: Tensor, step_mm: Tensor, index: Tensor, value: Tensor, target: Tensor | None
) -> Sums:
    """Sums of maps ``(N, *shape)``, differentiable by the maps.

    ``step_mm`` ``(N, D)`` is the voxel size x, y(, z); ``index`` ``(N, D)`` and ``value`` ``(N,)``
    come from ``peaks``; ``target`` ``(N, D)`` is in millimetres from that voxel.
    """
    # Called outside autocast: half precision would lose the coordinates.
    with torch.autocast(maps.device.type, enabled=False):
        return Sums(*cast("Any", _Streamed.apply)(maps, step_mm, index, value, target))
