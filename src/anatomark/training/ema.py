"""A moving average of the weights, which generalises better than the last ones."""

from __future__ import annotations

import copy

import torch
from torch import nn

from anatomark.methods import Learner


class Average(nn.Module):
    """A copy of a method whose weights follow it: ``average += (1 - decay)(weights - average)``.

    ``decay`` grows from 0 in the first steps, so that the fresh weights are soon forgotten.
    """

    steps: torch.Tensor

    def __init__(self, method: Learner, decay: float) -> None:
        super().__init__()
        self.method = copy.deepcopy(method).requires_grad_(requires_grad=False).eval()
        self.decay = decay
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def follow(self, method: Learner) -> None:
        """One step after the optimiser's."""
        self.steps += 1
        count = int(self.steps)
        decay = min(self.decay, count / (count + 9))
        own = dict(self.method.named_parameters())
        for name, value in method.named_parameters():
            own[name].lerp_(value.detach(), 1 - decay)
        buffers = dict(self.method.named_buffers())
        for name, buffer in method.named_buffers():
            buffers[name].copy_(buffer)
