"""The U-Net of VoxelMorph (Balakrishnan 2019), which Fang 2023 uses: strided convolutions down."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from anatomark.networks.blocks import ConvAct, conv, joined, on_multiple


class StridedUNet(nn.Module):
    """One strided convolution a level down, one convolution a level up, then full resolution.

    ``encoder`` and ``decoder`` are channels from the top down and from the bottom up: a level each,
    each half the size of the one above. ``final`` are the channels of the convolutions at full
    resolution. Kernel 3 and LeakyReLU 0.2 throughout; the last layer has neither.
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
    ) -> None:
        super().__init__()
        if len(encoder) != len(decoder) or not encoder:
            raise ValueError("encoder and decoder need the same number of levels, at least one")
        self.multiple: int = 2 ** len(encoder)
        down = [inputs, *encoder]
        self.down = nn.ModuleList(
            ConvAct(dimension, a, b, stride=2) for a, b in zip(down, encoder, strict=False)
        )
        self.up = nn.ModuleList()
        channels = encoder[-1]
        for width, skip in zip(decoder, reversed(down[:-1]), strict=True):
            self.up.append(ConvAct(dimension, channels, width))
            channels = width + skip
        self.final = nn.Sequential()
        for width in final:
            self.final.append(ConvAct(dimension, channels, width))
            channels = width
        self.last = conv(dimension, channels, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Maps ``(B, outputs, *shape)`` of images ``(B, inputs, *shape)``."""
        return on_multiple(images, self.multiple, self._maps)

    def _maps(self, x: Tensor) -> Tensor:
        skips = []
        for step in self.down:
            skips.append(x)
            x = step(x)
        for step, skip in zip(self.up, reversed(skips), strict=True):
            x = joined(step(x), skip)
        maps: Tensor = self.last(self.final(x))
        return maps
