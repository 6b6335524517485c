"""Argmax and local soft-argmax against numpy and a naive loop over the window."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from anatomark.errors import UsageError
from anatomark.heads import find_peak, find_peak_window

SHAPES = [(5, 7), (4, 5, 6)]


def example(shape, seed=0):
    return 2 * torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(seed)).double()


def highest(one_map):
    """Index in array order, by numpy."""
    return np.array(np.unravel_index(one_map.numpy().argmax(), one_map.shape))


@pytest.mark.parametrize("shape", SHAPES)
def test_peak_is_the_highest_voxel(shape):
    maps = example(shape)
    found = find_peak(maps)
    for b, c in itertools.product(range(2), range(3)):
        index = highest(maps[b, c])
        expected = (2 * index[::-1] + 1) / np.array(shape[::-1]) - 1
        np.testing.assert_allclose(found.points[b, c].numpy(), expected, atol=1e-12)
        assert found.value[b, c] == maps[b, c].max()


@pytest.mark.parametrize("weighting", ["softmax", "linear"])
@pytest.mark.parametrize("radius", [1, 2, 9])
@pytest.mark.parametrize("shape", SHAPES)
def test_window_is_a_centre_of_mass(shape, radius, weighting):
    maps = example(shape, seed=radius)
    extent = torch.rand(2, len(shape)).double() * 50 + 10
    found = find_peak_window(maps, extent, radius=radius, weighting=weighting)
    for b, c in itertools.product(range(2), range(3)):
        peak = highest(maps[b, c])
        size = np.array(shape[::-1])
        step = extent[b].numpy() / size
        reach = np.minimum(np.minimum(peak, np.array(shape) - 1 - peak), radius)
        voxels, weights = [], []
        for voxel in itertools.product(*map(range, shape)):
            if (np.abs(np.array(voxel) - peak) <= reach).all():
                value = maps[b, c][voxel].item()
                weights.append(np.exp(value) if weighting == "softmax" else max(value, 0))
                voxels.append(np.array(voxel[::-1]))
        mean = np.average(voxels, axis=0, weights=weights)
        spread = np.cov(np.array(voxels).T, aweights=weights, ddof=0) * np.outer(step, step)
        np.testing.assert_allclose(found.points[b, c], (2 * mean + 1) / size - 1, atol=1e-9)
        np.testing.assert_allclose(found.covariance_mm2[b, c], spread, atol=1e-9)


def test_window_finds_a_gaussian_between_voxels():
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(30.0), indexing="ij")
    maps = torch.exp(-((x - 11.3) ** 2 + (y - 8.6) ** 2) / (2 * 1.2**2))[None, None]
    extent = torch.tensor([[30.0, 20.0]])
    found = find_peak_window(maps, extent, radius=5, weighting="linear")
    index = (found.points[0, 0] + 1) * torch.tensor([30, 20]) / 2 - 0.5
    assert (index - torch.tensor([11.3, 8.6])).abs().max() < 2e-3
    assert found.covariance_mm2[0, 0].diagonal().tolist() == pytest.approx([1.44, 1.44], rel=0.01)


@pytest.mark.parametrize("weighting", ["softmax", "linear"])
@pytest.mark.parametrize("at", [0, 1, 2, 12, 13])
def test_a_window_at_the_border_does_not_pull_inwards(at, weighting):
    y, x = torch.meshgrid(torch.arange(14.0), torch.arange(14.0), indexing="ij")
    maps = torch.exp(-((x - at) ** 2 + (y - 6) ** 2) / (2 * 5.0**2))[None, None]
    found = find_peak_window(maps, torch.full((1, 2), 14.0), radius=3, weighting=weighting)
    index = (found.points[0, 0] + 1) * 7 - 0.5
    torch.testing.assert_close(index, torch.tensor([float(at), 6.0]), rtol=0, atol=1e-5)


def test_a_window_without_a_positive_value_is_its_peak():
    maps = -1 - torch.rand(1, 1, 6, 6)
    found = find_peak_window(maps, torch.ones(1, 2), weighting="linear")
    torch.testing.assert_close(found.points, find_peak(maps).points)


def test_window_passes_gradients():
    maps = example((5, 6)).requires_grad_()
    assert torch.autograd.gradcheck(lambda m: find_peak_window(m, torch.ones(2, 2))[0], maps)


def test_bad_radius_and_weighting_are_refused():
    for bad in ({"radius": 0}, {"weighting": "max"}):
        with pytest.raises(UsageError, match="radius"):
            find_peak_window(example((5, 6)), torch.ones(2, 2), **bad)
