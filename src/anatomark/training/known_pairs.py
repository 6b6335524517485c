"""Validation of methods that match: always the same pairs, made from the validation cases."""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

import torch
from torch import Tensor

from anatomark.augment import AugmentConfig, Drawn, draw
from anatomark.methods import Batch, Matcher
from anatomark.methods.base import body_of, pair_of

RIGHT_VOXELS = 2.0  # a match that is off by more is wrong


class Matched(NamedTuple):
    """What a matcher makes of one pair: ``errors`` ``(N,)`` in voxels, ``cells`` it could match."""

    errors: Tensor
    cells: float

    @property
    def lost(self) -> float:
        """Percent of the body's cells without a right match, plus its wrong ones; 100 at first."""
        right = int((self.errors <= RIGHT_VOXELS).sum())
        wrong = len(self.errors) - right
        return 100 * (1 - (right - wrong) / max(self.cells, 1.0))


def known_pair(method: Matcher, batch: Batch, case: str, config: AugmentConfig, seed: int) -> Batch:
    """The pair that is made of a case, the same in every epoch."""
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {case}".encode()))

    def drawn(config: AugmentConfig) -> Drawn:
        return draw(
            config, len(batch.images), batch.images.ndim - 2,
            extent_mm=batch.extent_mm.double(), generator=generator,
        )  # fmt: skip

    still = config.model_copy(update={"flip_axes": ()})
    return method.shown(batch, still, drawn)


@torch.inference_mode()
def matched(method: Matcher, batch: Batch) -> Matched:
    """Match the only pair of a batch, and measure where its points are in the first image."""
    pair = pair_of(batch)
    fixed, moving = method.places(batch.images)[0], method.places(pair.images)[0]
    rows = method.pair(fixed, moving)
    size = fixed.voxel.new_tensor(batch.images.shape[:1:-1])
    points = (2 * moving.voxel[rows.moving] + 1) / size - 1
    back: Any = ((pair.to_fixed(points[None])[0] + 1) * size - 1) / 2
    errors = (back - fixed.voxel[rows.fixed]).norm(dim=-1)
    return Matched(errors, float(body_of(batch).sum()) / method.cell ** (batch.images.ndim - 2))
