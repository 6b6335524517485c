"""The training loop of methods that match: judged by what they lose of known pairs."""

from __future__ import annotations

import math
from typing import Any

import torch

from anatomark.training.batches import CaseBatch
from anatomark.training.known_pairs import known_pair, matched
from anatomark.training.loop import TrainingLoop


class PairLoop(TrainingLoop):
    """Validation makes one pair of each case, the same every time."""

    judged_by = "val/lost"

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.lost: list[float] = []

    def on_validation_epoch_start(self) -> None:
        """Forget the last validation."""
        self.lost = []
        self.judged.eval()

    def validation_step(self, given: CaseBatch) -> None:
        """Match the pair of one case."""
        augment = self.seen[given.batch.domain].augment
        batch = known_pair(self.judged, given.batch, given.cases[0], augment, self.recipe.seed)
        self.lost.append(matched(self.judged, batch).lost)

    def on_validation_epoch_end(self) -> None:
        """Mean over the pairs of all processes."""
        sums = torch.tensor([sum(self.lost), len(self.lost)], dtype=torch.float64)
        sums = sums.to(self.device)
        several = self.trainer.world_size > 1
        if several:
            torch.distributed.all_reduce(sums)
        mean = float(sums[0] / sums[1]) if float(sums[1]) else math.nan
        self.log(self.judged_by, mean, prog_bar=True, batch_size=1, sync_dist=several)
