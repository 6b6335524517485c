"""The network that both images of a pair go through: where landmarks are likely, and what they are.

Grewal 2020, section 2.2.1: a U-Net with a quarter of the published filters; a map of landmark
probability at the end of the way up, descriptors from the last two blocks of the way down.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from anatomark.networks.blocks import Norm, cut_back, extended
from anatomark.networks.unet import UNet


class Described(NamedTuple):
    """What the network says of images ``(B, C, *shape)``.

    ``logits`` ``(B, 1, *shape)``; ``levels`` are features ``(B, C, *coarser)`` on voxels that are
    ``strides`` times as large, the first one at the same corner of the image.
    """

    logits: Tensor
    levels: tuple[Tensor, ...]
    strides: tuple[int, ...]


class SiameseUNet(nn.Module):
    """One branch; the other one is the same with the same weights.

    ``described`` are the levels of the way down whose features are descriptors, 0 at full size.
    """

    def __init__(
        self,
        dimension: int,
        inputs: int,
        *,
        widths: Sequence[int] = (16, 32, 64, 128, 256),
        described: Sequence[int] = (3, 4),
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        if not described or not all(0 <= level < len(widths) for level in described):
            raise ValueError(f"levels {tuple(described)} are not among {len(widths)}")
        self.unet = UNet(dimension, inputs, 1, widths=widths, block="double", norm=norm)
        self.described = tuple(described)
        self.multiple: int = self.unet.multiple
        self.features = sum(widths[level] for level in described)

    def forward(self, images: Tensor) -> Described:
        """Describe images of any size: the border is repeated at the far ends."""
        steps = self.unet.descend(extended(images, self.multiple))
        x = self.unet.climb(steps)
        with torch.autocast(x.device.type, enabled=False):  # in bfloat16 most peaks would be ties
            logits = cut_back(self.unet.last(x.float()), images)
        levels = tuple(steps[level] for level in self.described)
        return Described(logits, levels, tuple(2**level for level in self.described))
