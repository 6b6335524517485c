"""One step of training of each method: augmentation, forward, loss, backward, optimiser.

The reference takes the same step of the same weights on the same batch, with the loss as one would
write it first (``plain.py``) and without the layout in which convolutions are fast.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from anatomark.bench.measure import Setting, Task, Work
from anatomark.bench.plain import PlainFang2023, PlainZhu2021, one_by_one, with_all_products
from anatomark.losses import pooled
from anatomark.methods.base import Batch, drawing
from anatomark.models.device import channels_last, half_precision
from anatomark.models.files import make_method
from anatomark.models.recipe import Recipe, read_recipe

_EVERYWHERE = ("cpu", "cuda")
_LANDMARKS = {"fang2023": 3, "zhu2021": 19, "noothout2020": 8, "grewal2020": 0}


def _half(device: str) -> bool:
    """Whether steps are in bfloat16: where a GPU has it, never on a processor.

    There torch (2.13 with oneDNN, avx512_bf16) leaves some of the gradient of the weights of a 3D
    convolution over few voxels unwritten, and two ways could not be compared.
    """
    return device == "cuda" and half_precision("auto", device)


class Step:
    """Steps of one method on one batch; each gives its loss and the length of its gradient."""

    def __init__(self, method: Any, recipe: Recipe, batch: Batch, *, fast: bool) -> None:
        self.method = method.to(batch.images.device).train()
        self.recipe, self.batch, self.fast = recipe, batch, fast
        self.layout = channels_last(batch.images.ndim - 2)
        if fast:
            self.method = self.method.to(memory_format=self.layout)
        rate = recipe.training.learning_rate
        self.optimiser = torch.optim.Adam(self.method.parameters(), lr=rate)

    def __call__(self) -> tuple[float, float]:
        """The first step of both ways starts from the same weights, and draws the same."""
        device = self.batch.images.device.type
        torch.manual_seed(0)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=_half(device)):
            batch = self._shown()
            losses: Any = sum(self.method.losses(self.method(batch), batch).values())
            loss = pooled(losses, self.method.counted(batch))
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        slopes = [p.grad.norm() for p in self.method.parameters() if p.grad is not None]
        self.optimiser.step()
        return float(loss.detach()), float(torch.stack(slopes).norm())

    def _shown(self) -> Batch:
        seeded = torch.Generator().manual_seed(0)
        changes = drawing(self.batch, seeded)
        shown: Batch = self.method.shown(self.batch, self.recipe.augment, changes)
        if not self.fast:
            return shown
        shown = replace(shown, images=self._in_layout(shown.images))
        if shown.pair is not None:
            moving = self._in_layout(shown.pair.images)
            shown = replace(shown, pair=replace(shown.pair, images=moving))
        return shown

    def _in_layout(self, images: Tensor) -> Tensor:
        return images.contiguous(memory_format=self.layout)


def _steps(recipe: Recipe, plainly: Callable[[Any], Any], setting: Setting) -> Work:
    """Steps on blotchy images of a size ``(batch, z, y, x)`` or ``(batch, y, x)``."""
    torch.manual_seed(0)
    landmarks = _LANDMARKS[recipe.method]
    method = make_method(recipe, landmarks)
    count, *shape = setting.size
    batch = _batch(count, shape, landmarks).to(setting.device)
    batch = replace(batch, domain=next(iter(recipe.domains), ""))
    plain = plainly(copy.deepcopy(method))
    ours = Step(method, recipe, batch, fast=True)
    naive = Step(plain, recipe, batch, fast=False)
    return Work(ours, naive, _apart, 0.05 if _half(setting.device) else 0.002)


def _batch(count: int, shape: list[int], landmarks: int) -> Batch:
    """Smooth noise, so that there is something to match, and points anywhere."""
    dimension = len(shape)
    noise = torch.randn(count, 1, *(max(n // 6, 2) for n in shape))
    mode = "bilinear" if dimension == 2 else "trilinear"
    images = torch.nn.functional.interpolate(noise, shape, mode=mode, align_corners=False)
    return Batch(
        images=images,
        extent_mm=torch.tensor([[float(n) for n in reversed(shape)]] * count),
        points=torch.rand(count, landmarks, dimension) - 0.5,
        present=torch.ones(count, landmarks, dtype=torch.bool),
    )


def _apart(ours: tuple[float, float], naive: tuple[float, float]) -> float:
    return max(abs(a - b) / abs(b) for a, b in zip(ours, naive, strict=True))


def _as(kind: type[Any], method: Any) -> Any:
    """The same method, which computes its losses as ``kind`` does."""
    method.__class__ = kind
    return method


def _task(
    title: str, against: str, recipe: Recipe, plainly: Callable[[Any], Any],
    size: tuple[int, ...], quick: tuple[int, ...],
) -> Task:  # fmt: skip
    voxels = "×".join(f"{{{i}}}" for i in range(1, len(size)))
    return Task(
        title, f"{against}; contiguous", partial(_steps, recipe, plainly), size, quick,
        f"{{0}} of {voxels}", unit="of loss and gradient", devices=_EVERYWHERE, repeats=3,
        rate="steps",
    )  # fmt: skip


TASKS = (
    _task(
        "fang2023: prostate-phantom-us", "grid of coordinates", read_recipe("prostate-phantom-us"),
        partial(_as, PlainFang2023), (4, 32, 48, 48), (2, 16, 16, 16),
    ),
    _task(
        "zhu2021: universal, heads", "heatmaps that are built", read_recipe("universal").of("head"),
        partial(_as, PlainZhu2021), (2, 256, 224), (2, 64, 64),
    ),
    _task(
        "noothout2020: noothout2020-ccta", "a local network at a time",
        read_recipe("noothout2020-ccta"), one_by_one, (1, 72, 96, 96), (2, 32, 32, 32),
    ),
    _task(
        "grewal2020: ct-slices", "products of all pairs made", read_recipe("ct-slices"),
        with_all_products, (2, 128, 128), (2, 64, 64),
    ),
)  # fmt: skip
