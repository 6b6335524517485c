"""Displacement voting (Noothout 2020): every patch says where each landmark is.

Positions are in millimetres from the centre of the image, along its axes, x, y(, z) order.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Tally(NamedTuple):
    """What the votes come to."""

    points_mm: Tensor  # (B, L, D)
    covariance_mm2: Tensor  # (B, L, D, D): spread of the votes, by their weight


def log_displacement(displacement_mm: Tensor, unit_mm: float) -> Tensor:
    """Logarithm that keeps the sign: 0 at 0, there with slope ``1 / unit_mm``."""
    return displacement_mm.sign() * torch.log1p(displacement_mm.abs() / unit_mm)


def from_log(logs: Tensor, unit_mm: float, longest_mm: Tensor) -> Tensor:
    """The displacement that has this logarithm, at most ``longest_mm``, which broadcasts."""
    most = torch.log1p(longest_mm / unit_mm)
    return logs.sign() * torch.expm1(torch.minimum(logs.abs(), most)) * unit_mm


def patch_centres(
    first: Tensor, patches: tuple[int, ...], patch: int, shape: tuple[int, ...], extent_mm: Tensor
) -> Tensor:
    """Centres ``(B, R, D, *patches)`` of patches of ``patch`` voxels an axis.

    ``first`` ``(B, R, D)`` is the voxel index, x, y(, z), at which the first patch begins, of
    each of R boxes; ``shape`` (z, y, x) and ``extent_mm`` ``(B, D)`` are those of the image.
    """
    dimension = len(shape)
    centres = []
    for axis, size in enumerate(reversed(shape)):
        steps = torch.arange(
            patches[dimension - 1 - axis], device=first.device, dtype=extent_mm.dtype
        )
        # The centre of voxel i is i + 1/2 voxels from the outer face.
        faces = first[..., axis, None].to(extent_mm) + (steps + 0.5) * patch
        along = (faces / size - 0.5) * extent_mm[:, None, axis, None]
        spread = [1] * dimension
        spread[dimension - 1 - axis] = len(steps)
        wide = along.reshape(*along.shape[:2], *spread)
        centres.append(wide.expand(*along.shape[:2], *patches))
    return torch.stack(centres, 2)


def holds(centres_mm: Tensor, size_mm: Tensor, target_mm: Tensor) -> Tensor:
    """Which patches a point lies in, ``(B, L, *patches)``; on a face, in the farther one.

    ``size_mm`` ``(B, D)`` of a patch; ``target_mm`` ``(B, L, D)``.
    """
    ones = (1,) * (centres_mm.ndim - 3)
    apart = target_mm.reshape(*target_mm.shape, *ones) - centres_mm
    half = size_mm.reshape(len(size_mm), 1, -1, *ones) / 2
    return ((apart >= -half) & (apart < half)).all(2)


def tally(votes_mm: Tensor, weights: Tensor) -> Tally:
    """Weighted mean and spread of votes ``(B, L, D, *patches)``, weights ``(B, L, *patches)``."""
    votes, share = votes_mm.flatten(3), weights.flatten(2)
    share = share / share.sum(-1, keepdim=True).clamp_min(torch.finfo(share.dtype).tiny)
    mean = (votes * share[:, :, None]).sum(-1)
    off = votes - mean[..., None]
    return Tally(mean, torch.einsum("bln,bldn,blen->blde", share, off, off))
