"""Decoding: from maps to points, with the regularisers of training and without."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from anatomark.bench.measure import Setting, Task, Work
from anatomark.bench.textbook import furthest, textbook
from anatomark.heads import expect, find_peak_window
from anatomark.losses import variance_mm2

_EVERYWHERE = ("cpu", "cuda")
_EXACT = 1e-3  # of the largest value: both sum millions of float32
_RADIUS, _LANDMARKS = 4, 19


def _maps(side: int, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Maps ``(1, 3, side, side, side)``, their extent in mm and targets."""
    source = torch.Generator().manual_seed(0)
    maps = torch.randn(1, 3, side, side, side, generator=source).mul_(3)
    target = torch.tensor([[[0.1, -0.2, 0.3], [0.5, 0.5, -0.5], [-0.7, 0.2, 0.0]]])
    extent = torch.tensor([[120.0, 110.0, 100.0]])
    return maps.to(device), extent.to(device), target.to(device)


def _training(setting: Setting) -> Work:
    maps, extent, target = _maps(setting.size[0], setting.device)
    maps.requires_grad_()

    def slopes(points_mm: Tensor, variance: Tensor, distance: Tensor | None) -> tuple[Tensor, ...]:
        assert distance is not None  # noqa: S101
        maps.grad = None
        (points_mm.sum() + variance.sum() + distance.sum()).backward()  # type: ignore[no-untyped-call]
        slope: Any = maps.grad
        return points_mm.detach(), variance.detach(), distance.detach(), slope

    def ours() -> tuple[Tensor, ...]:
        found = expect(maps, extent, target=target)
        points = found.points * (extent[:, None] / 2)
        return slopes(points, variance_mm2(found.covariance_mm2), found.distance_mm)

    def naive() -> tuple[Tensor, ...]:
        return slopes(*textbook(maps, extent, target))

    return Work(ours, naive, _worst, _EXACT)


def _inference(setting: Setting) -> Work:
    maps, extent, _ = _maps(setting.size[0], setting.device)

    @torch.inference_mode()
    def ours() -> tuple[Tensor, ...]:
        found = expect(maps, extent)
        return found.points * (extent[:, None] / 2), variance_mm2(found.covariance_mm2)

    @torch.inference_mode()
    def naive() -> tuple[Tensor, ...]:
        return textbook(maps, extent)[:2]

    return Work(ours, naive, _worst, _EXACT)


def _worst(ours: tuple[Tensor, ...], naive: tuple[Tensor, ...]) -> float:
    return max(furthest(a, b) for a, b in zip(ours, naive, strict=True))


def _peaks(setting: Setting) -> Work:
    source = torch.Generator().manual_seed(0)
    maps = torch.randn(1, _LANDMARKS, *setting.size, generator=source).to(setting.device)
    extent = torch.tensor([[*setting.size[::-1]]], device=setting.device).float()
    # Both only in the unit of the image: how far apart in pixels.
    ours = torch.inference_mode()(partial(find_peak_window, maps, extent, radius=_RADIUS))

    def naive() -> Tensor:
        return one_by_one(maps, _RADIUS)

    def apart(found: Tensor, other: Tensor) -> float:
        return float((found - other).abs().max() * max(setting.size) / 2)

    return Work(lambda: ours().points, naive, apart, _EXACT)


@torch.inference_mode()
def one_by_one(maps: Tensor, radius: int) -> Tensor:
    """Centre of mass of the softmax about the highest pixel of ``(1, L, y, x)``, map by map."""
    found = []
    for heat in maps[0]:
        y, x = divmod(int(heat.argmax()), heat.shape[1])
        high, wide = heat.shape
        down, across = min(radius, y, high - 1 - y), min(radius, x, wide - 1 - x)
        part = heat[y - down : y + down + 1, x - across : x + across + 1].double()
        weight = part.flatten().softmax(0).view_as(part)
        rows = torch.arange(y - down, y + down + 1, device=heat.device)
        columns = torch.arange(x - across, x + across + 1, device=heat.device)
        place = (weight.sum(0) @ columns.double(), weight.sum(1) @ rows.double())
        found.append([(2 * float(p) + 1) / n - 1 for p, n in zip(place, (wide, high), strict=True)])
    return torch.tensor([found], device=maps.device)


TASKS = (
    Task(
        "DSNT with variance and distance, forward and backward", "textbook: grid of coordinates",
        _training, (128,), (24,), "3 maps of {0}³", unit="of the largest value",
        devices=_EVERYWHERE,
    ),
    Task(
        "DSNT with covariance, forward", "textbook: grid of coordinates", _inference, (128,), (24,),
        "3 maps of {0}³", unit="of the largest value", devices=_EVERYWHERE,
    ),
    Task(
        "highest pixel and a window about it", "map by map", _peaks, (512, 416), (64, 48),
        f"{_LANDMARKS} maps of {{0}}×{{1}}", unit="px", devices=_EVERYWHERE,
    ),
)  # fmt: skip
