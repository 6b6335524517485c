"""Validation of methods that match: always the same pairs, made from the validation cases."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from anatomark.augment import AugmentConfig
from anatomark.methods import Batch, Matcher
from anatomark.methods.base import body_of, drawing, pair_of, pairs_of

RIGHT_VOXELS = 2.0  # a match that is off by more is wrong


class Matched(NamedTuple):
    """What a matcher makes of one pair, a row a match.

    ``errors`` ``(N,)`` in voxels, ``sure`` ``(N,)`` as the method says, how many ``cells`` of
    the body both images show, and whether a second look was ``guided`` by the first.
    """

    errors: Tensor
    sure: Tensor
    cells: float
    guided: bool = False


def lost(found: Sequence[Matched]) -> tuple[float, float]:
    """Right matches less wrong ones, and cells, of all pairs together.

    Percent lost is ``100 (1 - first / second)``: cells of the body without a right match, plus
    wrong matches; 100 where nothing is matched.
    """
    right = sum(int((one.errors <= RIGHT_VOXELS).sum()) for one in found)
    every = sum(len(one.errors) for one in found)
    return float(2 * right - every), sum(one.cells for one in found)


def validation_pair(
    method: Matcher, batch: Batch, case: str, config: AugmentConfig, seed: int, *, number: int = 0
) -> Batch:
    """A pair that is made of a case, the same in every epoch; each ``number`` is another one."""
    said = f"{seed} {case} {number}" if number else f"{seed} {case}"
    generator = torch.Generator().manual_seed(zlib.crc32(said.encode()))
    still = config.model_copy(update={"flip_axes": ()})
    return method.shown(batch, still, drawing(batch, generator))


@torch.inference_mode()
def matched(method: Matcher, batch: Batch, *, again: bool = False) -> Matched:
    """Match the only pair of a batch, and measure where its points are in the first image.

    By what the network alone says, which is what training can mend; ``again``, with all that the
    method does about it at inference.
    """
    pair = pair_of(batch)
    fixed, moving = method.places(batch.images)[0], method.places(pair.images)[0]
    if again:
        found = method.matches((batch.images[0], pair.images[0]), fixed, moving)
    else:
        found = pairs_of(fixed, moving, method.pair(fixed, moving))
    back = pair.to_fixed(found.moving[None])[0]
    errors = (back - found.fixed).norm(dim=-1)
    shown = min(float(body_of(batch).sum()), float(pair.mask.sum()))
    cells = shown / method.cell ** (batch.images.ndim - 2)
    return Matched(errors, found.sure, cells, found.guided)


@torch.inference_mode()
def mistaken(method: Matcher, batch: Batch, other: Batch) -> Matched:
    """What the method takes for the same in two images that show nothing alike: all is wrong."""
    images = batch.images, pair_of(other).images
    places = [method.places(image)[0] for image in images]
    found = method.matches((images[0][0], images[1][0]), *places)
    return Matched(torch.full_like(found.sure, torch.inf), found.sure, 0.0, found.guided)
