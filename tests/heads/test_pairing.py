"""The matching module against plain loops over all pairs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from anatomark.heads import pairing as module
from anatomark.heads.pairing import Pairing, inverse_consistent

K1, K2, C = 13, 9, 5


@pytest.fixture
def made():
    torch.manual_seed(3)
    pairing = Pairing(C)
    torch.nn.init.normal_(pairing.layer.weight)
    return pairing, torch.randn(K1, C), torch.randn(K2, C)


@torch.no_grad()
def naive(pairing, fixed, moving):
    """Logit and distance of each pair, from the products of their components."""
    logit, distance = np.zeros((K1, K2)), np.zeros((K1, K2))
    for i, a in enumerate(fixed):
        for j, b in enumerate(moving):
            one, other = a / a.norm(), b / b.norm()
            logit[i, j] = pairing.layer(one * other).item()
            distance[i, j] = float((one - other).norm())
    return logit, distance


def test_every_pair_is_compared(made):
    pairing, fixed, moving = made
    compared = pairing(fixed, moving)
    logit, distance = naive(*made)
    assert np.allclose(compared.logit.detach().numpy(), logit, atol=1e-5)
    assert np.allclose(compared.distance.detach().numpy(), distance, atol=1e-3)


def wanted_pairs(logit, distance, ratio=None):
    """No other pair of either has a higher probability or a lower distance (section 2.5)."""
    found = []
    for i in range(logit.shape[0]):
        for j in range(logit.shape[1]):
            better = any(logit[i, k] > logit[i, j] or distance[i, k] < distance[i, j]
                         for k in range(logit.shape[1]))  # fmt: skip
            better |= any(logit[k, j] > logit[i, j] or distance[k, j] < distance[i, j]
                          for k in range(logit.shape[0]))  # fmt: skip
            second = np.sort(distance[i])[1]
            if not better and (ratio is None or distance[i, j] < ratio * second):
                found.append((i, j))
    return found


@pytest.mark.parametrize("at_once", [1, 20, 1 << 20])
@pytest.mark.parametrize("ratio", [None, 0.8])
def test_pairs_are_each_others_best_however_they_are_divided(made, at_once, ratio, monkeypatch):
    pairing, fixed, moving = made
    moving = torch.cat([fixed[:6] + 0.05 * torch.randn(6, C), moving[:3]])
    pairing.layer.weight.data.mul_(0.1).add_(1.0)  # so that both often agree
    monkeypatch.setattr(module, "_AT_ONCE", at_once)
    with torch.no_grad():
        found = inverse_consistent(pairing, fixed, moving, ratio=ratio)
    logit, distance = naive(pairing, fixed, moving)
    wanted = wanted_pairs(logit, distance, ratio)
    assert len(wanted) > 2
    assert list(zip(found.fixed.tolist(), found.moving.tolist(), strict=True)) == wanted
    for row, (i, j) in enumerate(wanted):
        assert float(found.probability[row]) == pytest.approx(
            1 / (1 + math.exp(-logit[i, j])), abs=1e-5
        )
        assert float(found.distance[row]) == pytest.approx(distance[i, j], abs=1e-3)


def test_different_counts_and_none_at_all(made):
    pairing, fixed, _ = made
    with torch.no_grad():
        none = inverse_consistent(pairing, fixed, torch.zeros(0, C))
        one = inverse_consistent(pairing, fixed[:1], fixed[:1], ratio=0.5)
    assert len(none.fixed) == len(none.probability) == 0
    assert one.fixed.tolist() == one.moving.tolist() == [0]
