"""Networks that say something of each patch of an image (Noothout 2020).

A patch is the box of voxels that one output position stands for: ``2 ** n`` voxels along each
axis after ``n`` steps down. Outputs are ``(B, channels, *patches)``; images whose size is no
multiple of a patch are extended at the far ends, so that no voxel changes its index.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from anatomark.networks.blocks import Residual, conv, norm
from anatomark.networks.tiles import tile_shape, tiled_maps

_POOL: dict[int, Any] = {2: nn.AvgPool2d, 3: nn.AvgPool3d}
_AT_ONCE = 1 << 25  # voxels whose first features are held at once


class PatchMaps(NamedTuple):
    """What is said of each patch, for each landmark; ``None`` where a network has no such head."""

    displacement: Tensor | None  # (B, L, D, *patches), x, y(, z), as the head was trained
    logits: Tensor | None  # (B, L, *patches)


def default_pools(dimension: int) -> tuple[bool, ...]:
    """Before which of the four blocks the published network pools."""
    return (True, True, dimension == 2, dimension == 2)


class PatchNet(nn.Module):
    """ResNet34 with average pooling, and two heads of 1×1 convolutions: the global network."""

    def __init__(
        self,
        dimension: int,
        inputs: int,
        landmarks: int,
        *,
        widths: Sequence[int] = (16, 32, 64, 128, 256),
        pairs: Sequence[int] = (3, 4, 6, 3),
        pools: Sequence[bool] | None = None,
        head: int = 256,
        displacement: bool = True,
        classify: bool = True,
    ) -> None:
        super().__init__()
        self.pools = tuple(default_pools(dimension) if pools is None else pools)
        self.patch = 2 ** (1 + sum(self.pools))
        self.dimension, self.landmarks = dimension, landmarks
        blocks = []
        for number, (a, b) in enumerate(pairwise(widths)):
            down = [_POOL[dimension](2)] if self.pools[number] else []
            first = _pair(dimension, a, b)
            rest = [_pair(dimension, b, b) for _ in range(pairs[number] - 1)]
            blocks.append(nn.Sequential(*down, first, *rest))
        stem = (
            conv(dimension, inputs, widths[0], kernel=7, stride=2, bias=False),
            norm("batch", dimension, widths[0]),
            nn.ReLU(inplace=True),
        )
        # Most of the memory is here, and what a voxel of it depends on is near.
        self.top = nn.Sequential(*stem, blocks[0])
        self.deep = nn.Sequential(*blocks[1:])
        self.step = 4 if self.pools[0] else 2
        # The 7³ convolution reaches 3 voxels, each 3³ one as many as lie between its inputs.
        self.halo = _up(3 + self.step * (2 * pairs[0] + 1), self.patch)
        made = (dimension, widths[-1], head)
        self.displacement = _head(*made, landmarks * dimension) if displacement else None
        self.presence = _head(*made, landmarks) if classify else None

    def forward(self, images: Tensor) -> PatchMaps:
        """Of images ``(B, C, *shape)``, what is said of each patch."""
        deep = self.deep(self._features(_whole_patches(images, self.patch)))
        return _said(deep, self.displacement, self.presence, self.landmarks, self.dimension)

    def _features(self, images: Tensor, at_once: int = _AT_ONCE) -> Tensor:
        """The first features, of a large image in tiles: equal to those of the whole.

        Not while training: normalisation by the batch sees all of it.
        """
        shape = tuple(images.shape[2:])
        tile = shape if self.training else tile_shape(shape, self.halo, self.patch, at_once)
        return tiled_maps(self.top, images, tile, self.halo, self.patch)


class LocalNets(nn.Module):
    """The small local networks of all landmarks at once, as grouped convolutions."""

    patch = 2

    def __init__(
        self,
        dimension: int,
        inputs: int,
        landmarks: int,
        *,
        widths: Sequence[int] = (32, 64),
        head: int = 64,
        displacement: bool = True,
        classify: bool = True,
    ) -> None:
        super().__init__()
        self.dimension, self.landmarks = dimension, landmarks
        self.body = nn.Sequential(
            _pair(dimension, inputs, widths[0], landmarks),
            _POOL[dimension](2),
            _pair(dimension, widths[0], widths[1], landmarks),
        )
        made = (dimension, widths[1], head)
        self.displacement = _head(*made, dimension, landmarks) if displacement else None
        self.presence = _head(*made, 1, landmarks) if classify else None

    def forward(self, images: Tensor) -> PatchMaps:
        """Of sub-images ``(B, L, C, *shape)``, one for each landmark."""
        deep = self.body(_whole_patches(images.flatten(1, 2), self.patch))
        return _said(deep, self.displacement, self.presence, self.landmarks, self.dimension)


def _pair(dimension: int, inputs: int, outputs: int, groups: int = 1) -> nn.Module:
    return Residual(dimension, inputs, outputs, norm_kind="batch", slope=0.0, groups=groups)


def _head(dimension: int, inputs: int, width: int, outputs: int, groups: int = 1) -> nn.Module:
    layers: list[nn.Module] = []
    for a in (inputs, width):
        layers += [
            conv(dimension, a * groups, width * groups, kernel=1, bias=False, groups=groups),
            norm("batch", dimension, width * groups),
            nn.ReLU(inplace=True),
        ]
    last = conv(dimension, width * groups, outputs * groups, kernel=1, groups=groups)
    return nn.Sequential(*layers, last)


def _said(
    deep: Tensor,
    displacement: nn.Module | None,
    presence: nn.Module | None,
    landmarks: int,
    dimension: int,
) -> PatchMaps:
    moved = None if displacement is None else _precise(displacement, deep)
    return PatchMaps(
        None if moved is None else moved.reshape(len(moved), landmarks, dimension, *deep.shape[2:]),
        None if presence is None else _precise(presence, deep),
    )


def _precise(head: Any, deep: Tensor) -> Tensor:
    """What a head says; its last layer in float32, or a vote from afar would be off by a mm."""
    features = head[:-1](deep)
    with torch.autocast(deep.device.type, enabled=False):
        last: Tensor = head[-1](features.to(torch.promote_types(features.dtype, torch.float32)))
    return last


def _whole_patches(images: Tensor, patch: int) -> Tensor:
    """Images extended to a multiple of the patch; the border is repeated at the far ends."""
    after = [-n % patch for n in images.shape[2:]]
    if not any(after):
        return images
    return functional.pad(images, [w for n in reversed(after) for w in (0, n)], mode="replicate")


def _up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple
