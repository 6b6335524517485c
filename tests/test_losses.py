"""Each loss against the formula with whole volumes, B ≠ L ≠ D ≠ H ≠ W."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.nn import functional

from anatomark import losses

SHAPES = [(5, 7), (4, 5, 6)]
SIGMA = 3.0


def example(shape, seed=0):
    make = torch.Generator().manual_seed(seed)
    dim = len(shape)
    maps = torch.randn(2, 3, *shape, generator=make).double()
    points = (torch.rand(2, 3, dim, generator=make) * 2 - 1).double()
    target = (torch.rand(2, 3, dim, generator=make) * 2 - 1).double()
    extent = (torch.rand(2, dim, generator=make) * 30 + 10).double()
    return maps, points, target, extent


def gaussians(target, extent, shape):
    """The target volumes, voxel by voxel."""
    out = torch.zeros(*target.shape[:2], *shape, dtype=torch.float64)
    for b, c in itertools.product(*map(range, target.shape[:2])):
        for voxel in itertools.product(*map(range, shape)):
            apart = 0.0
            for d, (i, n) in enumerate(zip(voxel[::-1], shape[::-1], strict=True)):
                centre = (i + 0.5) / n * extent[b, d].item()
                aim = (target[b, c, d].item() + 1) / 2 * extent[b, d].item()
                apart += (centre - aim) ** 2
            out[b, c][voxel] = math.exp(-apart / (2 * SIGMA**2))
    return out


def test_coordinate_losses_by_hand():
    """extent 20×10 mm: 0.3 of half the width is 3 mm, 0.8 of half the height 4 mm."""
    points = torch.tensor([[[0.3, -0.3], [0.0, 0.0]]])
    target = torch.tensor([[[0.0, 0.5], [0.0, 0.0]]])
    extent = torch.tensor([[20.0, 10.0]])
    torch.testing.assert_close(losses.l1_mm(points, target, extent), torch.tensor([[7.0, 0.0]]))
    torch.testing.assert_close(losses.l2_mm(points, target, extent), torch.tensor([[5.0, 0.0]]))


def test_distance_has_a_finite_slope_at_zero():
    points = torch.zeros(1, 2, 3, requires_grad=True)
    losses.l2_mm(points, torch.zeros(1, 2, 3), torch.ones(1, 3)).sum().backward()
    assert torch.equal(points.grad, torch.zeros(1, 2, 3))


def test_variance_is_the_trace():
    spread = torch.tensor([[[[2.0, 1.0], [1.0, 5.0]]]])
    assert losses.variance_mm2(spread).tolist() == [[7.0]]


@pytest.mark.parametrize("shape", SHAPES)
def test_heatmap_losses_against_whole_volumes(shape):
    maps, _, target, extent = example(shape)
    volumes = gaussians(target, extent, shape)
    profiles = losses.gaussian_profiles(target, extent, shape, SIGMA)
    torch.testing.assert_close(
        losses.gaussian_l2(maps, profiles), (maps - volumes).square().flatten(2).sum(-1)
    )
    share = volumes / volumes.flatten(2).sum(-1).reshape(2, 3, *[1] * len(shape))
    divergence = functional.kl_div(
        maps.flatten(2).log_softmax(-1), share.flatten(2), reduction="none"
    ).sum(-1)
    shares = losses.gaussian_shares(target, extent, shape, SIGMA)
    torch.testing.assert_close(losses.gaussian_cross_entropy(maps, shares), divergence)
    binary = functional.binary_cross_entropy_with_logits(maps, volumes, reduction="none")
    torch.testing.assert_close(
        losses.gaussian_binary_cross_entropy(maps, profiles), binary.flatten(2).sum(-1)
    )


@pytest.mark.parametrize(
    "loss",
    [
        losses.gaussian_l2,
        losses.gaussian_cross_entropy,
        losses.gaussian_binary_cross_entropy,
    ],
)
def test_heatmap_losses_pass_gradients(loss):
    maps, _, target, extent = example((4, 3, 5))
    profiles = losses.gaussian_profiles(target, extent, (4, 3, 5), SIGMA)
    assert torch.autograd.gradcheck(lambda m: loss(m, profiles), maps.requires_grad_())


def test_a_perfect_map_costs_nothing():
    _, _, target, extent = example((4, 5, 6))
    volumes = gaussians(target, extent, (4, 5, 6))
    profiles = losses.gaussian_profiles(target, extent, (4, 5, 6), SIGMA)
    shares = losses.gaussian_shares(target, extent, (4, 5, 6), SIGMA)
    zero = torch.zeros(2, 3, dtype=torch.float64)
    torch.testing.assert_close(losses.gaussian_l2(volumes, profiles), zero, atol=1e-9, rtol=0)
    torch.testing.assert_close(
        losses.gaussian_cross_entropy(volumes.log(), shares), zero, atol=1e-9, rtol=0
    )


def test_a_target_far_outside_the_image_stays_finite():
    maps, _, target, extent = example((5, 7))
    shares = losses.gaussian_shares(target + 1e4, extent, (5, 7), 0.1)
    assert losses.gaussian_cross_entropy(maps, shares).isfinite().all()


def test_a_gaussian_narrower_than_a_voxel_is_its_nearest_voxel():
    """Its samples all vanish between two voxels; the loss must have a least value all the same."""
    maps = torch.zeros(1, 1, 4, 6)
    target, extent = torch.tensor([[[0.30, -0.2]]]), torch.tensor([[12.0, 8.0]])
    shares = losses.gaussian_shares(target, extent, (4, 6), 0.05)
    assert [s.argmax().item() for s in shares] == [3, 1]  # x 7.8 mm of 12, y 3.2 mm of 8
    assert [s.max().item() for s in shares] == [1.0, 1.0]
    uniform = losses.gaussian_cross_entropy(maps, shares)
    torch.testing.assert_close(uniform, torch.full((1, 1), 24.0).log())
    torch.testing.assert_close(losses.gaussian_cross_entropy(maps - 100, shares), uniform)


@pytest.mark.parametrize("size", [24, 33])
def test_losses_of_heatmaps_keep_their_precision_in_a_bf16_network(size):
    maps, _, target, extent = example((size, size))
    maps, target, extent = maps.float(), target.float(), extent.float()
    profiles = losses.gaussian_profiles(target, extent, (size, size), SIGMA)
    shares = losses.gaussian_shares(target, extent, (size, size), SIGMA)
    for loss, given in (
        (losses.gaussian_l2, profiles),
        (losses.gaussian_binary_cross_entropy, profiles),
        (losses.gaussian_cross_entropy, shares),
    ):
        exact = loss(maps.double(), [g.double() for g in given])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = loss(maps, given)
        torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-4)


def test_pooled_is_the_mean_over_present_landmarks():
    values = torch.tensor([[1.0, 2.0, float("nan")], [3.0, 50.0, 60.0]], requires_grad=True)
    present = torch.tensor([[True, True, False], [True, False, False]])
    assert losses.pooled(values, present).item() == 2.0
    losses.pooled(values, present).backward()
    assert torch.equal(values.grad, torch.tensor([[1, 1, 0], [1, 0, 0]]) / 3)


def test_a_batch_without_any_landmark_has_no_slope():
    values = torch.ones(2, 3, requires_grad=True)
    total = losses.pooled(values, torch.zeros(2, 3, dtype=torch.bool))
    total.backward()
    assert total.item() == 0
    assert torch.equal(values.grad, torch.zeros(2, 3))
