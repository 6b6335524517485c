"""Random numbers of a draw: float64 on the CPU, so that a seed means the same on every device."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def uniform(low: float, high: float, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Numbers between ``low`` and ``high``."""
    share = torch.rand(tuple(shape), generator=generator, dtype=torch.float64)
    return low + (high - low) * share


def factors(more: float, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Factors from ``1 / (1 + more)`` to ``1 + more``, as often below 1 as above it."""
    limit = math.log1p(more)
    return uniform(-limit, limit, shape, generator).exp()


def happens(probability: float, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """True with a probability."""
    # rand is below 1 always, so that probability 1 is certain and 0 is never.
    return torch.rand(tuple(shape), generator=generator, dtype=torch.float64) < probability


def only(rows: Tensor, values: Tensor, neutral: float) -> Tensor:
    """``values`` ``(B, …)`` in the samples that ``rows`` ``(B,)`` marks, ``neutral`` elsewhere."""
    mark = rows.reshape(-1, *[1] * (values.ndim - 1))
    return torch.where(mark, values, torch.full_like(values, neutral))
