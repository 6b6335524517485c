"""What is around a place in two images laid on each other: places to a tenth of a voxel.

Lucas and Kanade's alignment in its inverse form (Baker and Matthews 2004), of many patches at
once, blind to brightness and contrast. Positions are indices ``(N, D)`` in x, y(, z) order, a
voxel's centre at whole numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

_STEPS = 6
_SLACK = 1e-3  # of the slopes of patches: along an edge, nothing says how far
_DARK = 1e-4  # a patch whose values vary by less shows nothing
_LEAST = 0.3  # of a patch that has to be in both images
_AT_ONCE = 1 << 22  # values of patches that are held at a time


class Aligned(NamedTuple):
    """Places in the moving image ``(N, D)``, and how alike the patches are there ``(N,)``.

    ``likeness`` is their correlation, -1…1; 0 where a patch shows nothing.
    """

    voxel: Tensor
    likeness: Tensor


def align_patches(
    fixed: Tensor,
    moving: Tensor,
    there: Tensor,
    here: Tensor,
    slopes: Tensor,
    *,
    radius: int = 6,
    farthest: float = 3.0,
) -> Aligned:
    """Move places of the moving image so that what is around them is most alike.

    ``fixed`` and ``moving`` ``(*shape)`` are images, ``there`` and ``here`` ``(N, D)`` places in
    them, ``slopes`` ``(N, D, D)`` how a step in the fixed image turns and stretches in the moving
    one. A place that would move farther than ``farthest`` stays where it is, with the likeness
    there. What lies outside of an image does not count.
    """
    around = 2 * radius + 1
    step = max(_AT_ONCE // around**fixed.ndim, 1)
    # In full precision wherever the network is not: systems of equations are solved.
    with torch.autocast(fixed.device.type, enabled=False):
        images = fixed.float(), moving.float()
        places = there.float(), here.float(), slopes.float()
        parts = [
            _aligned(
                images, places[0][start : start + step], places[1][start : start + step],
                places[2][start : start + step], radius, farthest,
            )
            for start in range(0, len(here), step)
        ]  # fmt: skip
    if not parts:
        return Aligned(here.float(), here.new_zeros(0).float())
    return Aligned(torch.cat([p.voxel for p in parts]), torch.cat([p.likeness for p in parts]))


def _aligned(
    images: tuple[Tensor, Tensor],
    there: Tensor,
    here: Tensor,
    slopes: Tensor,
    radius: int,
    farthest: float,
) -> Aligned:
    fixed, moving = images
    steps, even = _window(fixed.ndim, radius, fixed)
    at = there[:, None] + steps
    drawn, weight = values_at(fixed, at), even * _within(fixed, at)
    bend, rise = _bend(fixed, at, drawn, weight)
    stretched = torch.einsum("nij,pj->npi", slopes, steps)
    shift, best = torch.zeros_like(here), torch.zeros_like(here)
    first = likeness = torch.full_like(here[:, 0], -torch.inf)
    for number in range(_STEPS):
        at = (here + shift)[:, None] + stretched
        both = weight * _within(moving, at)
        seen, pattern = (_levelled(v, both)[0] for v in (values_at(moving, at), drawn))
        alike = _mean(seen * pattern, both)[:, 0]
        first = alike if not number else first
        better = alike > likeness
        likeness = torch.where(better, alike, likeness)
        best = torch.where(better[:, None], shift, best)
        back = torch.einsum("npi,np,np->ni", rise, seen - pattern, both)
        move = torch.einsum("nij,nj->ni", slopes, torch.linalg.solve(bend, back))
        shift = (shift - move.clamp(-1, 1)).clamp(-farthest, farthest)
    still = best.norm(dim=1) >= farthest
    return Aligned(
        torch.where(still[:, None], here, here + best), torch.where(still, first, likeness)
    )


def _bend(fixed: Tensor, at: Tensor, drawn: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """How steep levelled patches are ``(N, P, D)``, and the matrix ``(N, D, D)`` of the slopes."""
    size = _levelled(drawn, weight)[1]
    halves = torch.eye(fixed.ndim, device=fixed.device) / 2
    rise = torch.stack([values_at(fixed, at + h) - values_at(fixed, at - h) for h in halves], -1)
    rise = rise / size[..., None]
    rise = rise - torch.einsum("npi,np->ni", rise, weight)[:, None] / _total(weight)[..., None]
    bend = torch.einsum("npi,npj,np->nij", rise, rise, weight)
    return bend + _SLACK * torch.eye(fixed.ndim, device=fixed.device), rise


def _within(image: Tensor, index: Tensor) -> Tensor:
    """1 where ``index`` ``(N, P, D)`` is between the voxels of an image, 0 beyond ``(N, P)``."""
    last = index.new_tensor(image.shape[::-1]) - 1
    return ((index >= 0) & (index <= last)).all(-1).to(index)


def _window(dimension: int, radius: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Steps ``(P, D)`` from the middle of a patch, and how much each counts ``(P,)``."""
    axis = torch.arange(-radius, radius + 1, dtype=torch.float32, device=like.device)
    steps = torch.stack(torch.meshgrid(*[axis] * dimension, indexing="ij"), -1)
    steps = steps.reshape(-1, dimension)
    weight = torch.exp(-(steps**2).sum(1) / (2 * (radius / 1.5) ** 2))
    return steps, weight / weight.sum()


def _total(weight: Tensor) -> Tensor:
    return weight.sum(1, keepdim=True).clamp_min(_SLACK)


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum(1, keepdim=True) / _total(weight)


def _levelled(values: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Patches ``(N, P)`` with mean 0 and SD 1, and what their SD was ``(N, 1)``.

    All 0 where they show nothing, or where hardly anything of them is in the image.
    """
    values = values - _mean(values, weight)
    size = _mean(values**2, weight).sqrt()
    shown = (size > _DARK) & (weight.sum(1, keepdim=True) > _LEAST)
    return torch.where(shown, values / size.clamp_min(_DARK), 0), size.clamp_min(_DARK)


def values_at(image: Tensor, index: Tensor) -> Tensor:
    """Values ``(N, P)`` of an image ``(*shape)`` at ``index`` ``(N, P, D)``, linear between voxels.

    Beyond the outermost centres they are those of the border.
    """
    size = index.new_tensor(image.shape[::-1])
    where = (2 * (index + 0.5) / size - 1).reshape(1, *[1] * (image.ndim - 2), *index.shape)
    values: Tensor = functional.grid_sample(
        image[None, None], where, mode="bilinear", padding_mode="border", align_corners=False
    )
    return values.reshape(index.shape[:-1])
