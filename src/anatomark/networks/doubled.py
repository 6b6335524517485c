"""A convolution over doubled features, computed where they are still small.

On the way up a U-Net doubles features by nearest neighbours, puts those of the way down beside
them and convolves both with a kernel of 3. Along an axis a voxel of the result sees only 2 of the
small voxels, one of them twice. So the same sums come from a kernel of 2 on the small grid, with a
set of weights for each of the 2ᴰ places that a voxel can have within a small one: 27 products
become 8 in 3D, and the doubled features, the largest tensor of the network, are never made.
"""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

# Features of the way down that are folded in as well: 2ᴰ of them make one on the small grid. That
# takes more products than a convolution of their own, but one of so few channels is slow.
_FEW = 4

_CONV: dict[int, Any] = {2: functional.conv2d, 3: functional.conv3d}
_LAYOUT = {2: torch.channels_last, 3: torch.channels_last_3d}

# Along one axis (place in the small voxel, small voxel of the two, fine voxel within that, tap):
# 1 where that tap of the kernel meets that fine voxel.
_MEETS = torch.zeros(2, 2, 2, 3)
for _where in ((0, 0, 1, 0), (0, 1, 0, 1), (0, 1, 1, 2), (1, 0, 0, 0), (1, 0, 1, 1), (1, 1, 0, 2)):
    _MEETS[_where] = 1


def doubled_conv(below: Tensor, skip: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``conv(cat([doubled(below), skip]), weight, bias)`` with kernel 3 and zero padding.

    ``below`` ``(B, C, *shape)``, ``skip`` ``(B, S, *2 shape)``, ``weight`` ``(O, C + S, 3, …)``.
    """
    dimension, channels = below.ndim - 2, below.shape[1]
    from_below = _on_small(weight[:, :channels], dimension).sum(-1)
    kernel = from_below
    few = skip.shape[1] <= _FEW
    if few:
        # (places · O, C, fine places, 2, …) with the fine places counted as channels.
        from_skip = _on_small(weight[:, channels:], dimension).movedim(-1, 2).flatten(1, 2)
        kernel = torch.cat([from_below, from_skip], dim=1)
        below = torch.cat([below, _folded(skip)], dim=1)
    places = None if bias is None else bias.repeat(2**dimension)
    small = _CONV[dimension](below, kernel, places, padding=1)
    out = cast("Tensor", _Interleaved.apply(small))  # type: ignore[no-untyped-call]
    if few:
        return out
    beside: Tensor = _CONV[dimension](skip, weight[:, channels:], padding=1)
    return out + beside


def _on_small(weight: Tensor, dimension: int) -> Tensor:
    """``(places · O, C, 2, …, fine places)`` of weights ``(O, C, 3, …)``."""
    meets = _meets(dimension).to(weight)
    with torch.autocast(weight.device.type, enabled=False):
        flat = weight.flatten(2) @ meets.flatten(0, 2).T
    sides = [2] * dimension
    split = flat.reshape(*weight.shape[:2], 2**dimension, *sides, 2**dimension)
    return split.movedim(2, 0).flatten(0, 1)


@cache
def _meets(dimension: int) -> Tensor:
    """``_MEETS`` of all axes: places, small voxels of the window, fine voxels, taps."""
    with torch.inference_mode(False):  # what is kept must serve training too
        all_axes = _MEETS
        for _ in range(dimension - 1):
            outer = torch.einsum("pwit,PWIT->pPwWiItT", all_axes, _MEETS)
            all_axes = outer.flatten(6).flatten(4, 5).flatten(2, 3).flatten(0, 1)
        return all_axes


def _folded(fine: Tensor) -> Tensor:
    """``(B, S · 2ᴰ, *shape)`` of ``(B, S, *2 shape)``: the fine places as channels."""
    dimension = fine.ndim - 2
    pairs = [size for n in fine.shape[2:] for size in (n // 2, 2)]
    split = fine.reshape(*fine.shape[:2], *pairs)
    inside = [3 + 2 * axis for axis in range(dimension)]
    small = [2 + 2 * axis for axis in range(dimension)]
    folded = split.permute(0, *small, 1, *inside).flatten(-1 - dimension)
    return folded.movedim(-1, 1)  # channels last, where convolutions are fast


class _Interleaved(torch.autograd.Function):
    """``(B, O, *2 shape)`` of the sums ``(B, places · O, *shape + 1)`` on the small grid."""

    @staticmethod
    def forward(ctx: Any, small: Tensor) -> Tensor:
        ctx.small_shape = small.shape
        channels = small.shape[1] // 2 ** (small.ndim - 2)
        full = [2 * (n - 1) for n in small.shape[2:]]
        out = torch.empty(
            (len(small), channels, *full), dtype=small.dtype, device=small.device,
            memory_format=_LAYOUT[len(full)],
        )  # fmt: skip
        split, last = _in_pairs(out), small.movedim(1, -1)
        for fine, coarse in _places(small.shape):
            split[fine] = last[coarse]
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        shape = ctx.small_shape
        fine_slope = _in_pairs(slope)
        out = slope.new_zeros(shape[0], *shape[2:], shape[1])
        for fine, coarse in _places(shape):
            out[coarse] = fine_slope[fine]
        return out.movedim(-1, 1)


def _in_pairs(fine: Tensor) -> Tensor:
    """``(B, Z, 2, Y, 2, X, 2, O)`` of ``(B, O, 2 Z, 2 Y, 2 X)``."""
    pairs = [size for n in fine.shape[2:] for size in (n // 2, 2)]
    return fine.movedim(1, -1).reshape(len(fine), *pairs, fine.shape[1])


def _places(shape: torch.Size) -> list[tuple[Any, Any]]:
    """For each place, where its voxels are: on the fine grid in pairs, and on the small one."""
    dimension = len(shape) - 2
    channels = shape[1] // 2**dimension
    found: list[tuple[Any, Any]] = []
    for number, place in enumerate(product((0, 1), repeat=dimension)):
        fine = [part for p in place for part in (slice(None), p)]
        coarse = [slice(p, p + n - 1) for p, n in zip(place, shape[2:], strict=True)]
        own = slice(number * channels, (number + 1) * channels)
        found.append(((slice(None), *fine), (slice(None), *coarse, own)))
    return found
