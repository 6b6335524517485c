"""Whether a batch fits in memory, found out before the first step."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anatomark.augment import AugmentConfig
from anatomark.errors import TrainingError, counted
from anatomark.losses import pooled
from anatomark.methods import Batch, Learner
from anatomark.methods.base import drawing
from anatomark.models.device import channels_last, half_precision
from anatomark.models.recipe import Recipe

_GIB = 2**30


def check_memory(
    recipe: Recipe, method: Learner, landmarks: int, *, device: str, share: int
) -> None:
    """Refuse a batch that will not fit, before hours are spent on reading images.

    ``share`` is the number of cases on this device. A GPU is tried; for the processor, where
    the system would kill the process without a word, what a small image keeps is scaled up.
    """
    size = recipe.grid.size[::-1]
    voxels = "×".join(map(str, recipe.grid.size))
    what = f"a batch of {counted(share, 'image')} of {voxels} voxels"
    fix = "lower training.batch, grid.size or the channels of the network"
    half = half_precision(
        recipe.training.precision, device, training_dimension=recipe.grid.dimension
    )
    if device == "cuda":
        try:
            tried = copy.deepcopy(method)  # running statistics must not see a blank image
            _step(tried, _blank(recipe, size, landmarks, share).to(device), half, device)
        except torch.OutOfMemoryError:
            here = torch.cuda.current_device()
            total = torch.cuda.get_device_properties(here).total_memory / _GIB
            raise TrainingError(
                f"{what} does not fit in the {total:.0f} GiB of the GPU", fix=fix
            ) from None
        finally:
            torch.cuda.empty_cache()
        return
    needed = estimated_bytes(recipe, method, landmarks, share, half=half)
    free = free_bytes()
    if free is not None and needed > free:
        raise TrainingError(
            f"{what} needs about {needed / _GIB:.1f} GiB, {free / _GIB:.1f} GiB are free", fix=fix
        )


def estimated_bytes(
    recipe: Recipe, method: Learner, landmarks: int, share: int, *, half: bool
) -> float:
    """Bytes that one step keeps for its backward pass, from steps on two smaller images.

    Part of it may not grow with the image: of boxes about landmarks, say, or of the comparison of
    as many landmarks as a matcher has.
    """
    size = method.trained_shape(recipe.grid.size[::-1])
    # At least two voxels on the coarsest level, or statistics have nothing to count.
    least = max(32, 2 * method.multiple)
    small = tuple(min(n, least) for n in size)
    while not method.grows_evenly(small) and small != size:
        small = _doubled(small, size)
    larger = _doubled(small, size)
    first, second = (
        # Copies: running statistics must not see blank images. Two, for statistics of one are none.
        _step(copy.deepcopy(method), _blank(recipe, shape, landmarks, 2), half, "cpu") / 2
        for shape in (small, larger)
    )
    before, after, whole = (math.prod(shape) for shape in (small, larger, size))
    slope = (second - first) / (after - before) if after > before else first / before
    # The gradients of the largest activations live beside what was kept.
    return 1.5 * share * (first + slope * (whole - before))


def _doubled(shape: tuple[int, ...], size: tuple[int, ...]) -> tuple[int, ...]:
    """A shape twice as long along the axis that lacks most of ``size``, and no longer than that."""
    parts = [one / whole for one, whole in zip(shape, size, strict=True)]
    axis = parts.index(min(parts))
    return (*shape[:axis], min(2 * shape[axis], size[axis]), *shape[axis + 1 :])


def _blank(recipe: Recipe, size: tuple[int, ...], landmarks: int, batch: int) -> Batch:
    images = torch.zeros(batch, recipe.data.channels, *size)
    if recipe.training.channels_last:
        images = images.contiguous(memory_format=channels_last(len(size)))
    return Batch(
        images=images,
        extent_mm=torch.ones(batch, len(size)),
        points=torch.zeros(batch, landmarks, len(size)),
        present=torch.ones(batch, landmarks, dtype=torch.bool),
        domain=next(iter(recipe.domains), ""),
    )


def _step(method: Learner, batch: Batch, half: bool, device: str) -> int:
    """Forward and backward once; returns the bytes of features that were kept in between."""
    held: dict[int, int] = {}
    weights = {p.untyped_storage().data_ptr() for p in method.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:  # they do not grow with the image
            held[storage.data_ptr()] = storage.nbytes()
        return tensor

    nothing = drawing(batch, torch.Generator().manual_seed(0))
    batch = method.shown(batch, AugmentConfig(), nothing)
    with torch.random.fork_rng(), torch.enable_grad():
        with (
            torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t),
            torch.autocast(device, dtype=torch.bfloat16, enabled=half),
        ):
            losses = method.losses(method(batch), batch)
            total: Any = sum(losses.values())
            loss = pooled(total, method.counted(batch))
        loss.backward()  # type: ignore[no-untyped-call]
    return sum(held.values())


def free_bytes() -> int | None:
    """Memory that can be had without swapping, the limit of a container included."""
    found = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found += [int(x.split()[1]) * 1024 for x in lines if x.startswith("MemAvailable")]
    except OSError:
        return None
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        if limit != "max":
            # Cached files count as used, but they go when memory is asked for.
            stat = Path("/sys/fs/cgroup/memory.stat").read_text().split()
            cached = int(stat[stat.index("inactive_file") + 1])
            found.append(int(limit) - used + cached)
    except (OSError, ValueError):
        pass
    return min(found) if found else None
