"""Coordinates straight from a fully connected layer: the baseline that has no map."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from anatomark.networks.blocks import ConvAct


class Regressor(nn.Module):
    """Strided convolutions, features averaged onto a fixed lattice, two fully connected layers."""

    def __init__(
        self,
        dimension: int,
        inputs: int,
        outputs: int,
        *,
        encoder: Sequence[int] = (16, 32, 64, 128),
        lattice: int = 4,
        hidden: int = 256,
    ) -> None:
        super().__init__()
        widths = [inputs, *encoder]
        self.encoder = nn.Sequential(
            *(ConvAct(dimension, a, b, stride=2) for a, b in zip(widths, encoder, strict=False))
        )
        self.dimension, self.lattice = dimension, lattice
        self.hidden = nn.Linear(widths[-1] * lattice**dimension, hidden)
        self.last = nn.Linear(hidden, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Numbers ``(B, outputs)`` of images ``(B, inputs, *shape)``."""
        features = self.encoder(images)
        n = self.lattice
        if self.dimension == 2:
            features = functional.adaptive_avg_pool2d(features, (n, n))
        else:
            features = functional.adaptive_avg_pool3d(features, (n, n, n))
        # Half precision has steps of 1/256 of the image here.
        with torch.autocast(images.device.type, enabled=False):
            hidden = self.hidden(features.flatten(1).to(self.hidden.weight.dtype))
            numbers: Tensor = self.last(functional.leaky_relu(hidden, negative_slope=0.2))
        return numbers
