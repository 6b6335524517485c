"""Maps of an image that does not fit at once: overlapping tiles, put together before decoding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Tile(NamedTuple):
    """What the network is shown of an image, and which part of its answer is kept."""

    shown: tuple[slice, ...]
    kept: tuple[slice, ...]  # within the image
    inner: tuple[slice, ...]  # the same, within what is shown


def cut(shape: Sequence[int], tile: Sequence[int], halo: int, multiple: int = 1) -> Iterator[Tile]:
    """Tiles of ``tile`` voxels an axis with ``halo`` voxels of surroundings within it.

    Every voxel is kept once; at the border of the image there is no halo to lose. Tiles begin at
    multiples of ``multiple``, as the steps of a network do that goes down by so much in all.
    """
    axes = [list(_axis(n, t, halo, multiple)) for n, t in zip(shape, tile, strict=True)]
    for parts in product(*axes):
        shown, kept, inner = zip(*parts, strict=True)
        yield Tile(shown, kept, inner)


def _axis(length: int, tile: int, halo: int, multiple: int) -> Iterator[tuple[slice, slice, slice]]:
    if length <= tile:
        yield slice(0, length), slice(0, length), slice(0, length)
        return
    step = tile - 2 * halo
    if step < 1:
        raise ValueError(f"a tile of {tile} voxels has no middle with a halo of {halo}")
    if tile % multiple or halo % multiple:
        raise ValueError(f"a tile of {tile} and a halo of {halo} are not multiples of {multiple}")
    start = 0
    while start < length:
        # The last tile is moved back, so that all are of about one size.
        first = min(max(start - halo, 0), (length - tile) // multiple * multiple)
        end = first + tile if first + tile + multiple <= length else length
        stop = end if end == length else end - halo
        yield slice(first, end), slice(start, stop), slice(start - first, stop - first)
        start = stop


def tiled_maps(
    network: Callable[[Tensor], Tensor],
    images: Tensor,
    tile: Sequence[int],
    halo: int,
    multiple: int = 1,
) -> Tensor:
    """Maps ``(B, L, *shape)`` of images ``(B, C, *shape)``, tile by tile.

    A network whose maps are coarser by a whole factor needs tiles and halos that it divides.
    """
    shape = images.shape[2:]
    if all(n <= t for n, t in zip(shape, tile, strict=True)):
        return network(images)
    maps: Tensor | None = None
    for part in cut(shape, tile, halo, multiple):
        shown: Any = (..., *part.shown)
        answer = network(images[shown])
        factor = (part.shown[0].stop - part.shown[0].start) // answer.shape[2]
        if maps is None:
            size = [n // factor for n in shape]
            maps = torch.empty((*answer.shape[:2], *size), dtype=answer.dtype, device=answer.device)
        maps[_coarser(part.kept, factor)] = answer[_coarser(part.inner, factor)]
    if maps is None:
        raise ValueError(f"an image of shape {tuple(shape)} has no voxels")
    return maps


def _coarser(box: tuple[slice, ...], factor: int) -> Any:
    return (..., *(slice(part.start // factor, part.stop // factor) for part in box))


def tile_shape(
    shape: tuple[int, ...], halo: int, multiple: int = 1, at_once: int = 1 << 24
) -> tuple[int, ...]:
    """The largest tile of at most ``at_once`` voxels (256³), made by halving the longest axis.

    An axis that is halved becomes a multiple of ``multiple``.
    """
    tile = list(shape)
    count = 1
    for n in shape:
        count *= n
    while count > at_once:
        axis = tile.index(max(tile))
        if tile[axis] <= 4 * halo:
            break
        count //= tile[axis]
        tile[axis] = max(-(-tile[axis] // (2 * multiple)) * multiple, 4 * halo)
        count *= tile[axis]
    return tuple(tile)
