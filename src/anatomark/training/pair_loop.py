"""The training loop of methods that match: judged by what they lose of known pairs."""

from __future__ import annotations

import math
from typing import Any

import torch

from anatomark.training.batches import CaseBatch
from anatomark.training.known_pairs import Matched, lost, matched, validation_pair
from anatomark.training.loop import TrainingLoop


class PairLoop(TrainingLoop):
    """Validation makes one pair of each case, the same every time."""

    judged_by = "val/lost"

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.found: list[Matched] = []

    def on_validation_epoch_start(self) -> None:
        """Forget the last validation."""
        self.found = []
        self.judged.eval()

    def validation_step(self, given: CaseBatch) -> None:
        """Match the pair of one case."""
        augment = self.seen[given.batch.domain].augment
        batch = validation_pair(self.judged, given.batch, given.cases[0], augment, self.recipe.seed)
        self.found.append(matched(self.judged, batch))

    def on_validation_epoch_end(self) -> None:
        """Over the pairs of all processes together."""
        sums = torch.tensor(lost(self.found), dtype=torch.float64)
        sums = sums.to(self.device)
        several = self.trainer.world_size > 1
        if several:
            torch.distributed.all_reduce(sums)
        part = float(sums[0] / sums[1]) if float(sums[1]) else math.nan
        self.log(self.judged_by, 100 * (1 - part), prog_bar=True, batch_size=1, sync_dist=several)
