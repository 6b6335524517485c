"""Blur and low resolution: linear along each axis, so both are one matrix an axis and sample."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate


def gaussian(sigma: float, count: int, dtype: torch.dtype) -> Tensor:
    """Matrix ``(N, N)`` of a Gaussian blur; beyond the ends the last voxel goes on.

    The kernel is odd, reaches four standard deviations and sums to 1.
    """
    reach = int(4 * sigma + 0.5)
    steps = torch.arange(-reach, reach + 1)
    weights = torch.exp(-0.5 * (steps / max(sigma, 1e-30)).double().square())
    weights = (weights / weights.sum()).to(dtype)
    columns = (torch.arange(count)[:, None] + steps).clamp(0, count - 1)
    empty = torch.zeros(count, count, dtype=dtype)
    return empty.scatter_add_(1, columns, weights.expand(count, -1))


def coarse(factor: float, matrix: Tensor) -> Tensor:
    """``matrix`` ``(N, N)``, then to fewer, thicker voxels and back by linear interpolation.

    Both ways are symmetric about the voxel centres, so that nothing shifts.
    """
    count = len(matrix)
    fewer = max(round(count / factor), 1)
    if fewer == count:
        return matrix
    # Resizing the rows of a matrix is what resizing its result would be.
    down = interpolate(matrix[None, None], (fewer, count), mode="bilinear", antialias=True)
    return interpolate(down, (count, count), mode="bilinear", align_corners=False)[0, 0]


def along_axes(images: Tensor, matrices_xyz: Sequence[Tensor]) -> Tensor:
    """Apply the matrices ``(B, N, N)`` along x, y(, z) of images ``(B, C, *shape)``."""
    for axis, matrix in enumerate(matrices_xyz):
        size, where = images.shape, images.ndim - 1 - axis
        if axis == 0:
            flat = images.flatten(1, -2)
            images = (flat @ matrix.transpose(1, 2)).reshape(size)
            continue
        # The axis stands before everything faster than it: one product each slower row.
        flat = images.reshape(size[0], size[1:where].numel(), size[where], -1)
        images = (matrix[:, None] @ flat).reshape(size)
    return images


def smoothing(
    sigma: Tensor, factors: Tensor, shape: Sequence[int], dtype: torch.dtype
) -> list[Tensor]:
    """Matrices ``(B, N, N)``, one each axis x, y(, z): blur by ``(B,)``, then make coarser.

    ``factors`` is ``(B, D)``. They are small, so that they are made on the CPU, sample by sample.
    """
    return [
        torch.stack(
            [
                coarse(float(factor), gaussian(float(one), count, dtype))
                for one, factor in zip(sigma, factors[:, axis], strict=True)
            ]
        )
        for axis, count in enumerate(reversed(shape))
    ]
