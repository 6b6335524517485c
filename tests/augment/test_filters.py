"""Blur against scipy, low resolution against torch, and neither shifts anything."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import center_of_mass, gaussian_filter
from torch.nn.functional import interpolate

from anatomark.augment.filters import along_axes, coarse, gaussian, smoothing

SHAPES = {2: (17, 24), 3: (9, 12, 14)}


@pytest.mark.parametrize("dimension", [2, 3])
def test_blur_is_that_of_scipy(dimension):
    images = torch.rand(3, 2, *SHAPES[dimension], dtype=torch.float64)
    sigma = torch.tensor([0.4, 1.3, 3.0])
    matrices = smoothing(sigma, torch.ones(3, dimension), SHAPES[dimension], torch.float64)
    done = along_axes(images, matrices)
    for b in range(3):
        for c in range(2):
            truth = gaussian_filter(images[b, c].numpy(), float(sigma[b]), mode="nearest")
            np.testing.assert_allclose(done[b, c].numpy(), truth, atol=1e-9)


@pytest.mark.parametrize("factor", [1.0, 1.7, 2.0, 3.0, 50.0])
@pytest.mark.parametrize("count", [9, 16])
def test_low_resolution_is_that_of_torch(factor, count):
    image = torch.rand(1, 1, count, count, dtype=torch.float64)
    fewer = max(round(count / factor), 1)
    truth = image
    if fewer != count:
        small = interpolate(image, (fewer, fewer), mode="bilinear", antialias=True)
        truth = interpolate(small, (count, count), mode="bilinear", align_corners=False)
    matrix = coarse(factor, torch.eye(count, dtype=torch.float64))
    torch.testing.assert_close(along_axes(image, [matrix[None]] * 2), truth)


@pytest.mark.parametrize("count", [20, 33])
@pytest.mark.parametrize("factor", [1.5, 2.0, 2.7, 4.0])
def test_neither_shifts_nor_changes_a_constant(count, factor):
    both = coarse(factor, gaussian(1.4, count, torch.float64))
    torch.testing.assert_close(both.sum(1), torch.ones(count, dtype=torch.float64))
    torch.testing.assert_close(both, both.flip(0, 1))  # mirror symmetric: no half voxel either way


def test_a_spot_stays_where_it_is():
    """Within the part of a voxel that a position between coarse voxels costs."""
    z, y, x = np.mgrid[:24, :28, :26]
    spot = np.exp(-0.5 * ((z - 11.2) ** 2 + (y - 13.7) ** 2 + (x - 12.4) ** 2) / 9)
    coarser = torch.tensor([[2.0, 1.0, 3.0]])
    matrices = smoothing(torch.tensor([1.0]), coarser, (24, 28, 26), torch.float64)
    done = along_axes(torch.tensor(spot)[None, None], matrices)[0, 0].numpy()
    assert np.abs(np.subtract(center_of_mass(done), center_of_mass(spot))).max() < 0.1
