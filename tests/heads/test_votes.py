"""Votes of patches against loops that follow the definitions."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anatomark.heads.votes import from_log, holds, log_displacement, patch_centres, tally

SHAPE, PATCH = (8, 12, 20), 4  # z, y, x
EXTENT = torch.tensor([[30.0, 24.0, 40.0], [10.0, 12.0, 8.0]], dtype=torch.float64)  # x, y, z


@given(st.floats(-1e4, 1e4), st.floats(0.1, 10))
def test_the_logarithm_keeps_the_sign_and_comes_back(value, unit):
    given_ = torch.tensor([value], dtype=torch.float64)
    log = log_displacement(given_, unit)
    assert float(log) == pytest.approx(math.copysign(math.log(1 + abs(value) / unit), value))
    back = from_log(log, unit, torch.tensor([2e4], dtype=torch.float64))
    assert float(back) == pytest.approx(value, rel=1e-9, abs=1e-9)


def test_no_vote_is_longer_than_the_image():
    logs = torch.tensor([80.0, -80.0])  # exp(80) is no place
    assert from_log(logs, 1.0, torch.tensor([50.0])).tolist() == pytest.approx([50, -50])


def test_centres_are_those_of_the_boxes_of_voxels():
    first = torch.tensor([[[0, 0, 0], [4, -4, 2]], [[1, 2, 3], [8, 0, 4]]])
    centres = patch_centres(first, (2, 3, 5), PATCH, SHAPE, EXTENT)
    assert centres.shape == (2, 2, 3, 2, 3, 5)
    for b, r, k, j, i in itertools.product(*map(range, (2, 2, 2, 3, 5))):
        for axis, step in enumerate((i, j, k)):
            voxels = [int(first[b, r, axis]) + PATCH * step + v for v in range(PATCH)]
            size = SHAPE[2 - axis]
            mm = [(v + 0.5) * float(EXTENT[b, axis]) / size for v in voxels]
            middle = sum(mm) / PATCH - float(EXTENT[b, axis]) / 2
            assert float(centres[b, r, axis, k, j, i]) == pytest.approx(middle)


def test_every_point_of_the_image_lies_in_one_patch():
    first = torch.zeros(2, 1, 3).long()
    centres = patch_centres(first, (2, 3, 5), PATCH, SHAPE, EXTENT)
    size = PATCH * EXTENT / torch.tensor(SHAPE[::-1])
    rng = torch.Generator().manual_seed(0)
    target = (torch.rand(2, 40, 3, generator=rng, dtype=torch.float64) - 0.5) * EXTENT[:, None]
    target[:, 0] = -EXTENT / 2  # a corner of the image
    target[:, 1] = 0.0  # where patches meet, along x and z
    here = holds(centres, size, target)
    assert here.shape == (2, 40, 2, 3, 5)
    assert (here.flatten(2).sum(-1) == 1).all()
    for b, point in itertools.product(range(2), range(40)):
        index = (target[b, point] / EXTENT[b] + 0.5) * torch.tensor(SHAPE[::-1])
        i, j, k = (torch.floor(index / PATCH)).long().tolist()
        assert here[b, point, k, j, i]


def test_the_tally_is_the_weighted_mean_and_spread():
    rng = torch.Generator().manual_seed(1)
    votes = torch.randn(2, 3, 2, 4, 5, generator=rng, dtype=torch.float64) * 10
    weights = torch.rand(2, 3, 4, 5, generator=rng, dtype=torch.float64)
    found = tally(votes, weights)
    for b, p in itertools.product(range(2), range(3)):
        total, mean, spread = 0.0, torch.zeros(2).double(), torch.zeros(2, 2).double()
        places = list(itertools.product(range(4), range(5)))
        for place in places:
            w = float(weights[(b, p, *place)])
            total += w
            mean += w * votes[(b, p, slice(None), *place)]
        mean /= total
        for place in places:
            off = votes[(b, p, slice(None), *place)] - mean
            spread += float(weights[(b, p, *place)]) / total * torch.outer(off, off)
        torch.testing.assert_close(found.points_mm[b, p], mean)
        torch.testing.assert_close(found.covariance_mm2[b, p], spread)


def test_votes_have_gradients():
    votes = torch.randn(1, 2, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(1, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v, w: tally(v, w).points_mm, (votes, weights))
