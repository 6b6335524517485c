"""The U-Net of Ronneberger 2015, plain or with residual blocks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from anatomark.networks.blocks import (
    ConvAct,
    Norm,
    Residual,
    conv,
    conv_up,
    max_pool,
    on_multiple,
)

Block = Literal["double", "residual"]


class UNet(nn.Module):
    """Contracting and expanding path with skip connections.

    ``double``: two convolutions a level, maximum pooling down, as published but with padding, so
    that maps keep the size of the image. ``residual``: a residual block a level, strided on the way
    down. ``widths`` are the channels from the top level to the bottom.
    """

    def __init__(
        self,
        dimension: int,
        inputs: int,
        outputs: int,
        *,
        widths: Sequence[int] = (64, 128, 256, 512, 1024),
        block: Block = "double",
        norm: Norm = "none",
    ) -> None:
        super().__init__()
        if not widths or block not in {"double", "residual"}:
            raise ValueError(f"widths {tuple(widths)} must not be empty, block double or residual")
        self.multiple: int = 2 ** (len(widths) - 1)

        def level(a: int, b: int, stride: int = 1) -> nn.Module:
            if block == "residual":
                return Residual(dimension, a, b, stride=stride, norm_kind=norm)
            pair = [
                ConvAct(dimension, a, b, norm_kind=norm, slope=0.0),
                ConvAct(dimension, b, b, norm_kind=norm, slope=0.0),
            ]
            return nn.Sequential(*([max_pool(dimension)] if stride == 2 else []), *pair)

        self.top = level(inputs, widths[0])
        steps = list(pairwise(widths))
        self.down = nn.ModuleList(level(a, b, 2) for a, b in steps)
        self.grow = nn.ModuleList(conv_up(dimension, b, a) for a, b in reversed(steps))
        self.up = nn.ModuleList(level(2 * a, a) for a, _ in reversed(steps))
        self.last = conv(dimension, widths[0], outputs, kernel=1)

    def forward(self, images: Tensor) -> Tensor:
        """Maps ``(B, outputs, *shape)`` of images ``(B, inputs, *shape)``."""
        return on_multiple(images, self.multiple, self._maps)

    def _maps(self, x: Tensor) -> Tensor:
        maps: Tensor = self.last(self.climb(self.descend(x)))
        return maps

    def descend(self, x: Tensor, levels: slice = slice(None)) -> list[Tensor]:
        """Features of each level of the way down, full size first.

        Of some ``levels`` only, ``x`` is what comes out of the one before the first of them.
        """
        found = []
        for step in [self.top, *self.down][levels]:
            x = step(x)
            found.append(x)
        return found

    def climb(self, levels: Sequence[Tensor], *, bottom: int | None = None) -> Tensor:
        """Features at the size of the first of ``levels``, of those of the way down.

        The last of them is at the lowest level, or at level ``bottom`` and was climbed to already.
        """
        *skips, x = levels
        first = 0 if bottom is None else len(self.up) - bottom
        some = slice(first, first + len(skips))
        for grow, step, skip in zip(self.grow[some], self.up[some], reversed(skips), strict=True):
            x = step(torch.cat([grow(x), skip], dim=1))
        return x
