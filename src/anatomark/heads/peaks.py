"""The highest voxel of a map, and the centre of mass of a window about it."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from anatomark.errors import UsageError
from anatomark.heads.streamed import peaks

Weighting = Literal["softmax", "linear"]


class Peak(NamedTuple):
    """Where a map is highest.

    ``points`` ``(B, L, D)`` normalised, x, y(, z); ``value`` ``(B, L)`` of the highest voxel;
    ``covariance_mm2`` ``(B, L, D, D)`` of the window, ``None`` for a single voxel.
    """

    points: Tensor
    value: Tensor
    covariance_mm2: Tensor | None


def find_peak(maps: Tensor) -> Peak:
    """Centre of the highest voxel of maps ``(B, L, *shape)``; not differentiable."""
    value, index = peaks(maps.detach().flatten(0, 1))
    points = _normalised(index.double(), maps)
    return Peak(points.to(_precision(maps)), value.reshape(maps.shape[:2]), None)


def find_peak_window(
    maps: Tensor, extent_mm: Tensor, *, radius: int = 3, weighting: Weighting = "softmax"
) -> Peak:
    """Centre of mass of the window of ``radius`` voxels about the highest one; differentiable.

    ``softmax`` weighs by the exponential of the maps (logits), ``linear`` by their positive part
    (heatmaps). Near the border of the map the window gets smaller on both sides: cut on one, it
    would pull every point inwards. ``extent_mm`` ``(B, D)`` as in
    ``expect``.
    """
    if radius < 1 or weighting not in {"softmax", "linear"}:
        raise UsageError(f"radius {radius} must be at least 1, weighting 'softmax' or 'linear'")
    flat = maps.flatten(0, 1)
    with torch.no_grad():
        value, index = peaks(flat)
    offsets, values = _window(flat, index, radius)
    inside = torch.isfinite(values)
    if weighting == "softmax":
        weight = torch.softmax(values, dim=1)
    else:
        # A window without a positive value falls back to its highest voxel.
        positive = torch.where(inside, values, values.new_zeros(())).clamp_min(0)
        alone = (offsets == 0).all(-1) & (positive.sum(1, keepdim=True) <= 0)
        weight = torch.where(alone, torch.ones_like(positive), positive)
        weight = weight / weight.sum(1, keepdim=True)
    shift = torch.einsum("nk,nkd->nd", weight, offsets)
    second = torch.einsum("nk,nkd,nke->nde", weight, offsets, offsets)
    spread = second - shift[:, :, None] * shift[:, None, :]
    step = extent_mm.double() / maps.new_tensor(maps.shape[:1:-1], dtype=torch.float64)
    scale = step[:, None, :, None] * step[:, None, None, :]
    covariance = spread.reshape(*maps.shape[:2], *spread.shape[1:]) * scale
    precision = _precision(maps)
    points = _normalised(index + shift, maps)
    return Peak(points.to(precision), value.reshape(maps.shape[:2]), covariance.to(precision))


def _window(flat: Tensor, index: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """Offsets ``(1, K, D)`` x, y(, z) and values ``(N, K)`` about ``index``, -inf left out."""
    sizes = torch.tensor(flat.shape[:0:-1], device=flat.device)
    span = torch.arange(-radius, radius + 1, device=flat.device)
    offsets = torch.cartesian_prod(*[span] * len(sizes))  # (K, D)
    places = index[:, None, :] + offsets
    reach = torch.minimum(index, sizes - 1 - index).clamp_max(radius)
    inside = (offsets.abs() <= reach[:, None, :]).all(-1)
    places = torch.minimum(places.clamp_min(0), sizes - 1)
    linear = places[..., -1]
    for d in range(len(sizes) - 2, -1, -1):
        linear = linear * sizes[d] + places[..., d]
    values = flat.flatten(1).gather(1, linear).double()
    return offsets[None].double(), values.masked_fill(~inside, float("-inf"))


def _normalised(index: Tensor, maps: Tensor) -> Tensor:
    """Normalised points ``(B, L, D)`` of indices ``(N, D)``, x, y(, z)."""
    size = index.new_tensor(maps.shape[:1:-1])
    return ((2 * index + 1) / size - 1).reshape(*maps.shape[:2], len(size))


def _precision(maps: Tensor) -> torch.dtype:
    return torch.promote_types(maps.dtype, torch.float32)
