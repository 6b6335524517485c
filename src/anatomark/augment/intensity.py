"""Intensities: every change works on values scaled to 0…1 by the range of each channel.

The order is that of a scanner: what tissue looks like (inversion, gamma, contrast), then the
receiver (bias field), then the resolution, then noise, and boxes in front of it all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from anatomark.augment.chance import factors, happens, only, uniform
from anatomark.augment.config import AugmentConfig
from anatomark.augment.elastic import on_grid
from anatomark.augment.filters import along_axes, smoothing


@dataclass(frozen=True, eq=False)
class Intensity:
    """The drawn changes of a batch, on the CPU; a neutral value leaves a sample as it is."""

    invert: Tensor  # (B,) bool
    gamma: Tensor  # (B,), neutral 1
    contrast: Tensor  # (B,), neutral 1
    brightness: Tensor  # (B,), neutral 0
    bias: Tensor  # (B, 1, *K), controls of the logarithm of the gain, neutral 0
    blur: Tensor  # (B,), standard deviation in voxels, neutral 0
    coarser: Tensor  # (B, D), neutral 1
    noise: Tensor  # (B,), neutral 0
    rician: bool
    noise_seed: int
    occluded: Tensor  # (B,) bool
    boxes: Tensor  # (B, N, D, 2), first and last normalised coordinate along x, y(, z)
    box_values: Tensor  # (B, N)

    @cached_property
    def toned(self) -> Tensor:
        """Whether contrast or brightness changes ``(B,)``."""
        return (self.contrast != 1) | (self.brightness != 0)

    @cached_property
    def biased(self) -> Tensor:
        """Whether there is a bias field ``(B,)``."""
        return (self.bias != 0).flatten(1).any(1)

    @cached_property
    def smoothed(self) -> Tensor:
        """Whether there is blur or low resolution ``(B,)``."""
        return (self.blur != 0) | (self.coarser != 1).any(1)

    @cached_property
    def changed(self) -> Tensor:
        """Whether anything changes ``(B,)``."""
        tissue = self.invert | (self.gamma != 1) | self.toned
        return tissue | self.biased | self.smoothed | (self.noise != 0) | self.occluded


def draw_intensity(
    config: AugmentConfig, batch: int, dimension: int, generator: torch.Generator
) -> Intensity:
    """Draw for a batch; all numbers, used or not, so that no probability reshuffles the others."""

    def rows(probability: float) -> Tensor:
        return happens(probability, (batch,), generator)

    def one(low: float, high: float, *shape: int) -> Tensor:
        return uniform(low, high, (batch, *shape), generator)

    toned = rows(config.contrast_probability)
    bias = one(-config.bias, config.bias, 1, *[config.bias_knots + 3] * dimension)
    coarser = one(0, 1, dimension).mul(torch.tensor(config.low_resolution).log()).exp()
    occluded = rows(config.occlusion_probability) & (config.occlusion > 0)
    side = one(0, config.occlusion, config.occlusion_boxes, dimension)
    first = -1 + one(0, 2, config.occlusion_boxes, dimension) * (1 - side)
    return Intensity(
        invert=rows(config.invert_probability),
        gamma=only(rows(config.gamma_probability), factors(config.gamma, (batch,), generator), 1),
        contrast=only(toned, factors(config.contrast, (batch,), generator), 1),
        brightness=only(toned, one(-config.brightness, config.brightness), 0),
        bias=only(rows(config.bias_probability), bias, 0),
        blur=only(rows(config.blur_probability), one(0, config.blur_voxels), 0),
        coarser=only(rows(config.low_resolution_probability), coarser, 1),
        noise=only(rows(config.noise_probability), one(0, config.noise), 0),
        rician=config.noise_kind == "rician",
        noise_seed=int(torch.randint(0, 2**62, (1,), generator=generator)),
        occluded=occluded,
        boxes=torch.stack([first, first + 2 * side], dim=-1),
        box_values=one(0, 1, config.occlusion_boxes),
    )


def apply_intensity(drawn: Intensity, images: Tensor) -> Tensor:
    """Change images ``(B, C, *shape)``, float32 or float64; others stay bit for bit."""

    def in_range(some: Tensor, index: Tensor) -> Tensor:
        space = tuple(range(2, some.ndim))
        low, high = some.amin(space, keepdim=True), some.amax(space, keepdim=True)
        span = torch.where(high > low, high - low, torch.ones_like(low))
        return low + span * _changes(drawn, index, (some - low) / span)

    return on_rows(images, drawn.changed, in_range)


def on_rows(images: Tensor, rows: Tensor, change: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """``change(samples, their numbers)`` for the samples that ``rows`` ``(B,)`` marks."""
    index = torch.nonzero(rows).flatten()
    if not len(index):
        return images
    if len(index) == len(rows):
        return change(images, index)
    there = index.to(images.device)
    return images.index_copy(0, there, change(images.index_select(0, there), index))


def _changes(drawn: Intensity, index: Tensor, unit: Tensor) -> Tensor:
    """All changes, in order, for the samples ``index`` scaled to 0…1."""

    def per_sample(values: Tensor, some: Tensor) -> Tensor:
        return values[index][some].to(unit).reshape(-1, *[1] * (unit.ndim - 1))

    def tone(x: Tensor, some: Tensor) -> Tensor:
        middle = 0.5 + per_sample(drawn.brightness, some)
        return (x - 0.5) * per_sample(drawn.contrast, some) + middle

    def smooth(x: Tensor, some: Tensor) -> Tensor:
        sigma, coarser = drawn.blur[index][some], drawn.coarser[index][some]
        matrices = smoothing(sigma, coarser, unit.shape[2:], unit.dtype)
        return along_axes(x, [matrix.to(unit.device) for matrix in matrices])

    unit = on_rows(unit, drawn.invert[index], lambda x, _: 1 - x)
    unit = on_rows(
        unit,
        drawn.gamma[index] != 1,
        lambda x, some: x.clamp(0, 1).pow(per_sample(drawn.gamma, some)),
    )
    unit = on_rows(unit, drawn.toned[index], tone)
    unit = on_rows(unit, drawn.biased[index], lambda x, some: x * gain(drawn.bias[index][some], x))
    unit = on_rows(unit, drawn.smoothed[index], smooth)
    unit = on_rows(
        unit,
        drawn.noise[index] != 0,
        lambda x, some: noisy(x, per_sample(drawn.noise, some), drawn.noise_seed, drawn.rician),
    )
    return on_rows(
        unit,
        drawn.occluded[index],
        lambda x, some: covered(x, drawn.boxes[index][some], drawn.box_values[index][some]),
    )


def gain(controls: Tensor, like: Tensor) -> Tensor:
    """Bias field ``(B, 1, *shape)``: the exponential of the lattice ``(B, 1, *K)``."""
    axes = [_centres(count, like).expand(len(controls), -1) for count in like.shape[:1:-1]]
    return on_grid(controls.to(like), axes).squeeze(-1).exp_()[:, None]


def noisy(images: Tensor, sigma: Tensor, seed: int, rician: bool) -> Tensor:
    """Add noise. Its values come from the device's own generator: one seed, one device, one noise.

    Millions of numbers would take longer to carry to the device than to draw there.
    """
    generator = torch.Generator(images.device).manual_seed(seed)

    def normal() -> Tensor:
        return torch.empty_like(images).normal_(generator=generator)

    real = images + sigma * normal()
    return torch.hypot(real, sigma * normal()) if rician else real


def covered(images: Tensor, boxes: Tensor, values: Tensor) -> Tensor:
    """Fill boxes ``(B, N, D, 2)`` with ``values`` ``(B, N)``: voxels whose centres lie within."""
    dim = boxes.shape[2]
    for number in range(boxes.shape[1]):
        inside = torch.ones([len(images)] + [1] * (dim + 1), dtype=torch.bool, device=images.device)
        for axis, count in enumerate(images.shape[:1:-1]):
            place = _centres(count, images)
            first, last = boxes[:, number, axis].to(images).unbind(1)
            along = (place >= first[:, None]) & (place < last[:, None])
            inside = inside & along.reshape(-1, *[1] * (dim - axis), count, *[1] * axis)
        value = values[:, number].to(images).reshape(-1, *[1] * (dim + 1))
        images = torch.where(inside, value, images)
    return images


def _centres(count: int, like: Tensor) -> Tensor:
    """Normalised coordinates of the voxel centres of an axis ``(N,)``."""
    return (2 * torch.arange(count, device=like.device).to(like) + 1 - count) / count
