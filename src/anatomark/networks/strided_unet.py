"""The U-Net of VoxelMorph (Balakrishnan 2019), which Fang 2023 uses: strided convolutions down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from anatomark.networks.blocks import ConvAct, conv, on_multiple
from anatomark.networks.doubled import doubled_conv

# Voxels at full size that are worked on at a time where no gradient is asked for.
_SLAB = {"cpu": 1 << 22, "cuda": 1 << 27}


class StridedUNet(nn.Module):
    """One strided convolution a level down, one convolution a level up, then full resolution.

    ``encoder`` and ``decoder`` are channels from the top down and from the bottom up: a level each,
    each half the size of the one above. ``final`` are the channels of the convolutions at full
    resolution. Kernel 3 and LeakyReLU 0.2 throughout; the last layer has neither.

    With ``coarser`` the way up ends so many levels early: maps on voxels 2, 4, … times as large,
    for images whose sizes are multiples of ``multiple``. Where positions come from whole maps, what
    is lost in detail is little beside what it saves.
    """

    def __init__(
        self,
        dimension: int,
        inputs: int,
        outputs: int,
        *,
        encoder: Sequence[int] = (16, 32, 32, 32),
        decoder: Sequence[int] = (32, 32, 32, 32),
        final: Sequence[int] = (32, 16, 16),
        coarser: int = 0,
    ) -> None:
        super().__init__()
        if len(encoder) != len(decoder) + coarser or not decoder:
            raise ValueError(
                "decoder needs a level for each of encoder that is climbed, at least 1"
            )
        self.coarser = coarser
        self.multiple: int = 2 ** len(encoder)
        down = [inputs, *encoder]
        self.down = nn.ModuleList(
            ConvAct(dimension, a, b, stride=2) for a, b in zip(down, encoder, strict=False)
        )
        self.up = nn.ModuleList()
        channels = encoder[-1]
        for width, skip in zip(decoder, reversed(down[:-1]), strict=False):
            self.up.append(ConvAct(dimension, channels, width))
            channels = width + skip
        self.final = nn.Sequential()
        for width in final:
            self.final.append(ConvAct(dimension, channels, width))
            channels = width
        self.last = conv(dimension, channels, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Maps ``(B, outputs, *shape)`` of images ``(B, inputs, *shape)``."""
        if self.coarser:
            if any(n % self.multiple for n in images.shape[2:]):
                raise ValueError(f"coarser maps need sizes that are multiples of {self.multiple}")
            return self._maps(images)
        return on_multiple(images, self.multiple, self._maps)

    def _maps(self, x: Tensor) -> Tensor:
        skips = []
        for step in self.down:
            skips.append(x)
            x = step(x)
        finest, *skips = skips[self.coarser :]
        first, *ups = self.up
        x = first(x)
        for step, skip in zip(ups, reversed(skips), strict=True):
            x = step.over_doubled(x, skip)  # type: ignore[operator]
        if torch.is_grad_enabled() or finest.numel() <= _SLAB.get(finest.device.type, 1 << 22):
            return self._top(x, finest)
        return self._top_in_slabs(x, finest)

    def _top(self, x: Tensor, finest: Tensor) -> Tensor:
        """What happens at full size."""
        if not len(self.final):
            last: Any = self.last
            return doubled_conv(x, finest, last.weight, last.bias)
        first, *others = self.final
        x = first.over_doubled(x, finest)  # type: ignore[operator]
        for step in others:
            x = step(x)
        maps: Tensor = self.last(x)
        return maps

    def _top_in_slabs(self, x: Tensor, finest: Tensor) -> Tensor:
        """The same, some slices at a time: features at full size are most of the memory."""
        halo = (len(self.final) + 2) // 2  # small slices that convolutions reach over a cut
        count = len(x[0, 0])
        step = max(count * _SLAB.get(finest.device.type, 1 << 22) // finest.numel(), 4)
        maps = None
        for start in range(0, count, step):
            stop = min(start + step, count)
            low, high = max(start - halo, 0), min(stop + halo, count)
            slab = self._top(x[:, :, low:high], finest[:, :, 2 * low : 2 * high])
            if maps is None:
                maps = slab.new_empty(*slab.shape[:2], *finest.shape[2:])
            kept = slice(2 * (start - low), 2 * (stop - low))
            maps[:, :, 2 * start : 2 * stop] = slab[:, :, kept]
        if maps is None:
            raise ValueError("an image without slices has no maps")
        return maps
