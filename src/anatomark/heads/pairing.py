"""Which landmark of one image is which of the other: the matching module of Grewal 2020.

Its one layer sees the product of two unit descriptors, component by component, for every pair.
Being linear, it is a matrix product of weighted descriptors: no ``K1 × K2 × C`` is ever made.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

_AT_ONCE = 1 << 22  # pairs that are compared at a time
_STEEP, _EVEN = 10.0, 0.8  # at first: rise with the cosine of two descriptors, and where p is 0.5


class Compared(NamedTuple):
    """Of every pair ``(…, K1, K2)``: ``logit`` of matching, ``distance`` of unit descriptors."""

    logit: Tensor
    distance: Tensor


class Pairing(nn.Module):
    """One fully connected layer that says how likely two descriptors are of the same place.

    Its weights are alike at first, so that it begins with the order of the distances. From random
    ones it does not learn in a few hundred steps: of the loss, a weighted mean over all pairs of
    which one in hundreds is a match, its part is small.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.layer = nn.Linear(features, 1)
        nn.init.constant_(self.layer.weight, _STEEP)
        nn.init.constant_(self.layer.bias, -_STEEP * _EVEN)

    def forward(self, fixed: Tensor, moving: Tensor) -> Compared:
        """Compare descriptors ``(…, K1, C)`` with ``(…, K2, C)``, in float32."""
        fixed, moving = fixed.float(), moving.float()
        with torch.autocast(fixed.device.type, enabled=False):
            fixed, moving = (
                functional.normalize(fixed, dim=-1),
                functional.normalize(moving, dim=-1),
            )
            other = moving.transpose(-1, -2)
            logit = (fixed * self.layer.weight[0].float()) @ other + self.layer.bias.float()
            # |a-b|² = 2 - 2ab of unit vectors; the root of 0 has no slope.
            return Compared(logit, (2 - 2 * fixed @ other).clamp_min(1e-8).sqrt())

    def likeness(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """The logit ``(N,)`` of each row of descriptors ``(N, C)`` with the same row of others."""
        with torch.autocast(fixed.device.type, enabled=False):
            product = functional.normalize(fixed.float(), dim=-1) * functional.normalize(
                moving.float(), dim=-1
            )
            return product @ self.layer.weight[0].float() + self.layer.bias.float()


class Paired(NamedTuple):
    """Rows that belong together: ``fixed`` and ``moving`` ``(N,)``, with what was said of them."""

    fixed: Tensor
    moving: Tensor
    probability: Tensor
    distance: Tensor


def inverse_consistent(
    pairing: Pairing, fixed: Tensor, moving: Tensor, *, ratio: float | None = None
) -> Paired:
    """Pairs that are each other's best, by probability as well as by distance (section 2.5).

    ``fixed`` ``(K1, C)``, ``moving`` ``(K2, C)``. With ``ratio`` the distance must also be less
    than that part of the one to the second nearest (Lowe 2004). However many there are, only some
    rows are compared at a time.
    """
    if not len(fixed) or not len(moving):
        none = torch.zeros(0, dtype=torch.long, device=fixed.device)
        return Paired(none, none, fixed.new_zeros(0).float(), fixed.new_zeros(0).float())
    step = max(_AT_ONCE // len(moving), 1)
    likely, near = _Best(len(moving), fixed), _Best(len(moving), fixed)
    rows, kept = [], []
    for start in range(0, len(fixed), step):
        logit, distance = pairing(fixed[start : start + step], moving)
        most, by_logit = logit.max(1)
        least, by_distance = distance.min(1)
        likely.see(logit, start)
        near.see(-distance, start)
        same = by_logit == by_distance
        if ratio is not None and len(moving) > 1:
            two = distance.topk(2, dim=1, largest=False).values
            same &= two[:, 0] < ratio * two[:, 1]
        own = same.nonzero()[:, 0]
        rows.append(own + start)
        kept.append((by_logit[own], most[own], least[own]))
    row = torch.cat(rows)
    column, logit, distance = (torch.cat(parts) for parts in zip(*kept, strict=True))
    mutual = (likely.row[column] == row) & (near.row[column] == row)
    return Paired(row[mutual], column[mutual], logit[mutual].sigmoid(), distance[mutual])


class _Best:
    """Which row is best for each column, over parts of the rows."""

    def __init__(self, columns: int, like: Tensor) -> None:
        self.value = torch.full((columns,), -torch.inf, device=like.device)
        self.row = torch.zeros(columns, dtype=torch.long, device=like.device)

    def see(self, values: Tensor, start: int) -> None:
        """Rows from ``start`` on."""
        best, row = values.max(0)
        better = best > self.value
        self.value = torch.where(better, best, self.value)
        self.row = torch.where(better, row + start, self.row)
