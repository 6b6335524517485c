"""Validation of methods that match: always the same pairs, made from the validation cases."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from anatomark.augment import AugmentConfig
from anatomark.methods import Batch, Matcher
from anatomark.methods.base import body_of, drawing, pair_of, surety

RIGHT_VOXELS = 2.0  # a match that is off by more is wrong


class Matched(NamedTuple):
    """What a matcher makes of one pair, a row a match.

    ``errors`` ``(N,)`` in voxels, ``sure`` ``(N,)`` as the method says, and how many ``cells`` of
    the body both images show.
    """

    errors: Tensor
    sure: Tensor
    cells: float


def lost(found: Sequence[Matched]) -> tuple[float, float]:
    """Right matches less wrong ones, and cells, of all pairs together.

    Percent lost is ``100 (1 - first / second)``: cells of the body without a right match, plus
    wrong matches; 100 where nothing is matched.
    """
    right = sum(int((one.errors <= RIGHT_VOXELS).sum()) for one in found)
    every = sum(len(one.errors) for one in found)
    return float(2 * right - every), sum(one.cells for one in found)


def validation_pair(
    method: Matcher, batch: Batch, case: str, config: AugmentConfig, seed: int
) -> Batch:
    """The pair that is made of a case, the same in every epoch."""
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {case}".encode()))

    still = config.model_copy(update={"flip_axes": ()})
    return method.shown(batch, still, drawing(batch, generator))


@torch.inference_mode()
def matched(method: Matcher, batch: Batch) -> Matched:
    """Match the only pair of a batch, and measure where its points are in the first image."""
    pair = pair_of(batch)
    fixed, moving = method.places(batch.images)[0], method.places(pair.images)[0]
    rows = method.pair(fixed, moving)
    back = pair.to_fixed(moving.voxel[rows.moving][None])[0]
    errors = (back - fixed.voxel[rows.fixed]).norm(dim=-1)
    shown = min(float(body_of(batch).sum()), float(pair.mask.sum()))
    sure = surety(fixed, moving, rows)
    return Matched(errors, sure, shown / method.cell ** (batch.images.ndim - 2))
