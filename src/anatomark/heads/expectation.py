"""DSNT: a point as the expectation of the voxel position under a softmax (Fang 2023, eq. 1)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from anatomark.heads.streamed import peaks, streamed_sums


class Expectation(NamedTuple):
    """What a softmax over a map expects; all differentiable by the maps but ``peak``.

    ``points`` ``(B, L, D)`` normalised, x, y(, z); ``covariance_mm2`` ``(B, L, D, D)`` along the
    axes of the map; ``peak`` ``(B, L)``, the largest probability of one voxel; ``distance_mm``
    ``(B, L)``, the expected distance to the target, ``None`` where none was given.
    """

    points: Tensor
    covariance_mm2: Tensor
    peak: Tensor
    distance_mm: Tensor | None


def expect(maps: Tensor, extent_mm: Tensor, *, target: Tensor | None = None) -> Expectation:
    """Expectation of position over softmax(``maps``), maps ``(B, L, *shape)``.

    ``extent_mm`` ``(B, D)``, x, y(, z): size of the image from outer face to outer face.
    ``target`` ``(B, L, D)``, normalised, asks for the mean distance to it (eq. 5) as well; it is
    a constant (no gradient) and must be finite. Computed in float32 or better, whatever the maps
    are in, without a copy of them where they are contiguous.
    """
    batch, landmarks = maps.shape[:2]
    size = maps.new_tensor(maps.shape[:1:-1], dtype=torch.float64)
    step = (extent_mm.double() / size).repeat_interleave(landmarks, dim=0)
    flat = maps.flatten(0, 1)
    with torch.no_grad():
        value, index = peaks(flat)
        centre = (index + 0.5) * step  # from the outer corner of the first voxel
        aim = None if target is None else _to_mm(target, step, size) - centre
        precision = torch.promote_types(maps.dtype, torch.float32)
        aim = None if aim is None else aim.to(precision)
    sums = streamed_sums(flat, step, index, value, aim)
    points = 2 * (centre + sums.first) / (step * size) - 1
    covariance = sums.second - sums.first[:, :, None] * sums.first[:, None, :]
    peak = (value.double() - sums.log_sum.detach()).exp()

    def shaped(values: Tensor) -> Tensor:
        return values.to(precision).reshape(batch, landmarks, *values.shape[1:])

    return Expectation(
        shaped(points),
        shaped(covariance),
        shaped(peak),
        None if target is None else shaped(sums.distance),
    )


def _to_mm(normalised: Tensor, step: Tensor, size: Tensor) -> Tensor:
    """Millimetres ``(N, D)`` from the outer corner of the first voxel."""
    flat = normalised.detach().double().flatten(0, 1)
    return (flat + 1) / 2 * step * size
