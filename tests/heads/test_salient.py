"""The sampling layer: one place a cell, the likeliest first, and values between voxels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from anatomark.heads import salient as module
from anatomark.heads.salient import between_voxels, salient, sampled

SHAPES = {2: (19, 26), 3: (9, 14, 11)}


def naive_places(values, cell):
    """Of each cell its largest value and where that is, x first, by plain loops."""
    found = []
    starts = [range(0, n, cell) for n in values.shape]
    for corner in np.stack(np.meshgrid(*starts, indexing="ij"), -1).reshape(-1, values.ndim):
        box = tuple(slice(a, a + cell) for a in corner)
        place = np.unravel_index(values[box].argmax(), values[box].shape)
        found.append((values[box].max(), tuple((corner + place)[::-1])))
    return sorted(found, reverse=True)


@pytest.mark.parametrize("dimension", [2, 3])
def test_places_are_the_largest_of_each_cell(dimension):
    logits = torch.randn(2, 1, *SHAPES[dimension], generator=torch.Generator().manual_seed(0))
    found = salient(logits, cell=4, count=7)
    assert found.voxel.shape == (2, 7, dimension)
    for row in range(2):
        wanted = naive_places(logits[row, 0].numpy(), 4)[:7]
        assert np.allclose(found.logit[row].numpy(), [value for value, _ in wanted])
        assert [tuple(map(int, p)) for p in found.voxel[row]] == [place for _, place in wanted]


def test_an_image_with_fewer_cells_gives_fewer_places():
    assert salient(torch.randn(1, 1, 8, 9), cell=4, count=400).voxel.shape == (1, 6, 2)


def test_values_keep_their_gradient():
    logits = torch.randn(1, 1, 8, 8, requires_grad=True)
    salient(logits, cell=4).logit.sum().backward()
    assert int((logits.grad != 0).sum()) == 4


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_peak_between_voxels_is_found(dimension):
    shape = SHAPES[dimension]
    centre = np.array([6.3, 4.8, 4.1][:dimension])  # x, y(, z)
    axes = np.indices(shape)[::-1]
    bowl = -sum((a - c) ** 2 for a, c in zip(axes, centre, strict=True))
    logits = torch.from_numpy(np.asarray(bowl, np.float32))[None, None]
    found = salient(logits, cell=64)
    assert found.voxel[0, 0].tolist() == centre.round().tolist()
    assert np.allclose(between_voxels(logits, found.voxel)[0, 0].numpy(), centre, atol=1e-4)


def test_the_border_and_a_plateau_are_not_left():
    logits = torch.zeros(1, 1, 5, 7)
    corner = torch.zeros(1, 1, 2)
    assert torch.equal(between_voxels(logits, corner), corner)
    logits[0, 0, 0, 0], logits[0, 0, 0, 1] = 1.0, 0.9
    assert torch.equal(between_voxels(logits, corner), corner)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_values_between_voxels_are_those_of_scipy(dimension, stride):
    rng = np.random.default_rng(1)
    maps = rng.normal(size=(1, 3, *SHAPES[dimension])).astype(np.float32)
    full = np.array(maps.shape[:1:-1]) * stride
    index = rng.uniform(0, full - 1, size=(1, 20, dimension))
    found = sampled(torch.from_numpy(maps), torch.from_numpy(index).float(), stride=stride)
    # The centre of a voxel of the maps lies in the middle of its `stride` voxels.
    own = ((index[0] + 0.5) / stride - 0.5)[:, ::-1].T
    for channel in range(3):
        wanted = ndimage.map_coordinates(maps[0, channel], own, order=1, mode="nearest")
        assert np.allclose(found[0, :, channel].numpy(), wanted, atol=1e-5)


@pytest.mark.parametrize("shape", [(40, 90), (20, 16, 30)])
def test_spread_takes_from_each_region_in_turn(shape, monkeypatch):
    """A loop with a list a region."""
    monkeypatch.setattr(module, "_EACH", 5)
    rng = np.random.default_rng(0)
    count, size = 60, np.array(shape[::-1])
    places = (rng.random((300, len(shape))) ** 3 * size).astype(int)  # crowded in a corner
    found = module.spread(torch.tensor(places).float(), shape, count=count).tolist()
    side = (np.prod(shape) / (count // 5)) ** (1 / len(shape))
    regions = {}
    for row, place in enumerate(places):
        regions.setdefault(tuple((place / side).astype(int)), []).append(row)
    turns = sorted((turn, row) for own in regions.values() for turn, row in enumerate(own))
    assert found == sorted(row for _, row in turns[:count])
    assert {own[0] for own in regions.values()} <= set(found)  # the likeliest of each
