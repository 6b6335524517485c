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
    one. A place that would move farther than ``farthest`` stays where it is.
    """
    around = 2 * radius + 1
    step = max(_AT_ONCE // around**fixed.ndim, 1)
    images, places = (fixed.float(), moving.float()), (there.float(), here.float(), slopes.float())
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
    steps, weight = _window(fixed.ndim, radius, fixed)
    pattern, size = _levelled(values_at(fixed, there[:, None] + steps), weight)
    rise = torch.stack(
        [
            values_at(fixed, there[:, None] + steps + half)
            - values_at(fixed, there[:, None] + steps - half)
            for half in torch.eye(fixed.ndim, device=fixed.device) / 2
        ],
        -1,
    ) / size[..., None]  # fmt: skip
    rise = rise - (rise * weight[:, None]).sum(1, keepdim=True)
    bend = torch.einsum("npi,npj,p->nij", rise, rise, weight)
    bend = bend + _SLACK * torch.eye(fixed.ndim, device=fixed.device)
    stretched = torch.einsum("nij,pj->npi", slopes, steps)
    shift, best = torch.zeros_like(here), torch.zeros_like(here)
    likeness = torch.full_like(here[:, 0], -torch.inf)
    for _ in range(_STEPS):
        seen, _ = _levelled(values_at(moving, (here + shift)[:, None] + stretched), weight)
        alike = (seen * pattern * weight).sum(1)
        better = alike > likeness
        likeness = torch.where(better, alike, likeness)
        best = torch.where(better[:, None], shift, best)
        back = torch.einsum("npi,np,p->ni", rise, seen - pattern, weight)
        move = torch.einsum("nij,nj->ni", slopes, torch.linalg.solve(bend, back))
        shift = (shift - move.clamp(-1, 1)).clamp(-farthest, farthest)
    still = best.norm(dim=1) >= farthest
    return Aligned(torch.where(still[:, None], here, here + best), likeness)


def _window(dimension: int, radius: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Steps ``(P, D)`` from the middle of a patch, and how much each counts ``(P,)``."""
    axis = torch.arange(-radius, radius + 1, dtype=torch.float32, device=like.device)
    steps = torch.stack(torch.meshgrid(*[axis] * dimension, indexing="ij"), -1)
    steps = steps.reshape(-1, dimension)
    weight = torch.exp(-(steps**2).sum(1) / (2 * (radius / 1.5) ** 2))
    return steps, weight / weight.sum()


def _levelled(values: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Patches ``(N, P)`` with mean 0 and SD 1, and what their SD was ``(N, 1)``."""
    values = values - (values * weight).sum(1, keepdim=True)
    size = (values**2 * weight).sum(1, keepdim=True).sqrt()
    shown = size > _DARK
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
