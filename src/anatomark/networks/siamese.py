"""The network that both images of a pair go through: where landmarks are likely, and what they are.

Grewal 2020, section 2.2.1: a U-Net with a quarter of the published filters; a map of landmark
probability at the end of the way up, descriptors from the last two blocks of the way down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from anatomark.networks.blocks import Norm, cut_back, extended
from anatomark.networks.tiles import Tile, cut
from anatomark.networks.unet import UNet

AT_ONCE = 1 << 22  # voxels (2048²): a larger image is shown in tiles
_TILE = {2: 1024, 3: 160}  # voxels a side
_WHOLE = 2.0  # numbers a voxel that may be kept of the whole image


class Described(NamedTuple):
    """What the network says of images ``(B, C, *shape)``.

    ``logits`` ``(B, 1, *shape)``; ``levels`` are features ``(B, C, *coarser)`` on voxels that are
    ``strides`` times as large, the first one at the same corner of the image.
    """

    logits: Tensor
    levels: tuple[Tensor, ...]
    strides: tuple[int, ...]

    def only(self, row: int) -> Described:
        """What it says of one image."""
        one = slice(row, row + 1)
        levels = tuple(level[one] for level in self.levels)
        return Described(self.logits[one], levels, self.strides)


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
        self.described, self.widths, self.norm = tuple(described), tuple(widths), norm
        self.multiple: int = self.unet.multiple
        self.features = sum(widths[level] for level in described)

    def forward(self, images: Tensor) -> Described:
        """Describe images of any size: the border is repeated at the far ends."""
        steps = self.unet.descend(extended(images, self.multiple))
        logits = cut_back(self._logits(self.unet.climb(steps)), images)
        return self._described(logits, dict(enumerate(steps)))

    def in_tiles(self, images: Tensor, *, side: int | None = None) -> Described:
        """The same of images that are too large for all their features to be kept at once.

        The upper levels, whose features are the large ones, are computed twice in tiles of about
        ``side`` voxels: on the way down to the level from which on all of the image is kept, and
        again on the way up. A tile sees as much around it as its features depend on, so that the
        answer is that of ``forward``. Small images are shown whole.
        """
        dimension = images.ndim - 2
        small = side is None and math.prod(images.shape[2:]) <= AT_ONCE
        level = self._kept_whole(dimension)
        # Statistics that are not known beforehand are those of the whole image.
        if small or not level or self.training or self.norm == "instance":
            return self.forward(images)
        x = extended(images, self.multiple)
        tiles = tiles_of(x.shape[2:], side or _TILE[dimension], level)
        kept = self._down(x, tiles, level)
        steps = dict(enumerate([kept, *self.unet.descend(kept, slice(level + 1, None))], level))
        deep = self.unet.climb(list(steps.values()))
        steps = {one: steps[one] for one in self.described}
        return self._described(cut_back(self._up(x, tiles, level, deep), images), steps)

    def _kept_whole(self, dimension: int) -> int:
        """The first level that is small beside the image, or that descriptors need."""
        widths = enumerate(self.widths)
        small = (n for n, width in widths if width <= _WHOLE * 2 ** (n * dimension))
        return min(next(small, len(self.widths) - 1), *self.described)

    def _down(self, x: Tensor, tiles: Sequence[Tile], level: int) -> Tensor:
        """Features of one level of the way down, of the whole image."""
        kept: Tensor | None = None
        for tile in tiles:
            shown: Any = (..., *tile.shown)
            part = self.unet.descend(x[shown], slice(level + 1))[-1]
            if kept is None:
                shape = (len(x), part.shape[1], *(n >> level for n in x.shape[2:]))
                kept = part.new_empty(shape).contiguous(memory_format=_layout(x))
            kept[coarser(tile.kept, level)] = part[coarser(tile.inner, level)]
        if kept is None:
            raise ValueError("there are no tiles")
        return kept

    def _up(self, x: Tensor, tiles: Sequence[Tile], level: int, deep: Tensor) -> Tensor:
        """Logits, of what was climbed to ``level`` already."""
        logits = torch.empty(len(x), 1, *x.shape[2:], device=x.device)
        for tile in tiles:
            shown: Any = (..., *tile.shown)
            skips = self.unet.descend(x[shown], slice(level))
            part = self.unet.climb([*skips, deep[coarser(tile.shown, level)]], bottom=level)
            inner: Any = (..., *tile.inner)
            here: Any = (..., *tile.kept)
            logits[here] = self._logits(part)[inner]
        return logits

    def _logits(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # in bfloat16 most peaks would be ties
            logits: Tensor = self.unet.last(x.float())
        return logits

    def _described(self, logits: Tensor, steps: dict[int, Tensor]) -> Described:
        levels = tuple(steps[level] for level in self.described)
        return Described(logits, levels, tuple(2**level for level in self.described))


def reach(level: int) -> int:
    """Voxels about a block of ``2**level`` a side that its features at this level depend on.

    Two convolutions of 3 at each level down to it; of the way up, which needs no more, the skips
    are of levels above it. Rounded up to whole blocks.
    """
    return 4 << level


def tiles_of(shape: Sequence[int], side: int, level: int) -> list[Tile]:
    """Tiles of about ``side`` voxels, of even size, that begin at whole blocks of a level."""
    halo, block = reach(level), 2**level
    core = max(side - 2 * halo, block)
    parts = [-(-n // core) for n in shape]
    tile = [-(-n // (p * block)) * block + 2 * halo for n, p in zip(shape, parts, strict=True)]
    return list(cut(shape, tile, halo, block))


def coarser(box: Sequence[slice], level: int) -> Any:
    """A box of an image, on the voxels of a level."""
    return (..., *(slice(part.start >> level, part.stop >> level) for part in box))


def _layout(x: Tensor) -> torch.memory_format:
    return torch.channels_last if x.ndim == 4 else torch.channels_last_3d
