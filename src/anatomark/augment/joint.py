"""``draw`` and ``apply``: images and points together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from anatomark.augment.config import AugmentConfig
from anatomark.augment.intensity import Intensity, apply_intensity, draw_intensity, on_rows
from anatomark.augment.spatial import Spatial, draw_spatial, pull, push, sampling_grid
from anatomark.errors import UsageError

Pairs = Sequence[tuple[int, int]]

# Labels of these types are exact in float32.
_SMALL = {torch.bool, torch.uint8, torch.int8, torch.int16, torch.float16, torch.bfloat16}


@dataclass(frozen=True, eq=False)
class Drawn:
    """What happens to each sample of one batch; made by ``draw``, used by ``apply``."""

    spatial: Spatial
    intensity: Intensity
    pairs: tuple[tuple[int, int], ...]  # rows of landmarks that a mirror exchanges
    outside: str  # "border" or "zeros"


class Augmented(NamedTuple):
    """Images ``(B, C, *shape)``, points ``(B, L, D)`` (NaN where absent), present ``(B, L)``."""

    images: Tensor
    points: Tensor
    present: Tensor


def draw(
    config: AugmentConfig,
    batch: int,
    dimension: int,
    *,
    extent_mm: Tensor | Sequence[float] | Sequence[Sequence[float]],
    generator: torch.Generator,
    pairs: Pairs = (),
) -> Drawn:
    """Decide what happens to each of ``batch`` samples; anew at each call.

    ``extent_mm`` ``(D,)`` or ``(B, D)`` is the full size of the images along x, y(, z), from outer
    face to outer face, in millimetres (pixels, where there is no spacing). ``pairs`` are the rows
    of left and right landmarks. ``generator`` is one of the CPU: a seed means the same changes on
    every device.
    """
    if generator.device.type != "cpu":
        raise UsageError("augmentation is drawn on the CPU", fix="use torch.Generator()")
    extent = _extents(extent_mm, batch, dimension)
    _check_flips(config, dimension, pairs)
    rows = [row for pair in pairs for row in pair]
    if len(set(rows)) != len(rows) or min(rows, default=0) < 0:
        raise UsageError(f"left/right pairs must name each row once: {list(pairs)}")
    return Drawn(
        spatial=draw_spatial(config, extent, generator),
        intensity=draw_intensity(config, batch, dimension, generator),
        pairs=tuple((int(a), int(b)) for a, b in pairs),
        outside=config.outside,
    )


def _extents(
    extent_mm: Tensor | Sequence[float] | Sequence[Sequence[float]], batch: int, dimension: int
) -> Tensor:
    given = torch.as_tensor(extent_mm, dtype=torch.float64).cpu()
    if (
        dimension not in {2, 3}
        or batch < 1
        or given.shape not in {(dimension,), (batch, dimension)}
    ):
        raise UsageError(
            f"{batch} samples in {dimension}D do not go with extents {tuple(given.shape)}"
        )
    if not (given.isfinite().all() and (given > 0).all()):
        raise UsageError(f"the extent must be positive, it is {given.tolist()}")
    return given.expand(batch, dimension)


def _check_flips(config: AugmentConfig, dimension: int, pairs: Pairs) -> None:
    if max(config.flip_axes, default=0) >= dimension:
        raise UsageError(f"a {dimension}D image has no axes {config.flip_axes}")
    if config.flip_axes and config.flip_probability and not (pairs or config.mirror_without_pairs):
        raise UsageError(
            "a mirror turns left landmarks into right ones, and no pairs are known",
            fix="give left/right pairs, drop flip_axes, or set mirror_without_pairs",
        )


def apply(drawn: Drawn, images: Tensor, points: Tensor, present: Tensor | None = None) -> Augmented:
    """Change images ``(B, C, *shape)`` and normalised points ``(B, L, D)`` together.

    Absent points stay absent; a point that ends outside the outer faces of the image becomes
    absent (NaN, ``present`` False), one under an occlusion does not. Types and devices are kept.
    No gradients are recorded.
    """
    _check(drawn, images)
    with torch.no_grad():
        # Points first: the check of their residual then waits for little work of a GPU.
        moved, here = _move_points(drawn, points, present)
        work = images if images.dtype == torch.float64 else images.float()
        work = apply_intensity(drawn.intensity, _move(drawn, work, "bilinear", drawn.outside))
        return Augmented(work.to(images.dtype), moved, here)


def apply_to_masks(drawn: Drawn, masks: Tensor) -> Tensor:
    """Move labels ``(B, C, *shape)`` of any type as the images move: nearest voxel, 0 outside."""
    _check(drawn, masks, floating=False)
    with torch.no_grad():
        work = masks.float() if masks.dtype in _SMALL else masks
        work = work if work.is_floating_point() else work.double()
        return _move(drawn, work, "nearest", "zeros").to(masks.dtype)


def landmark_order(drawn: Drawn, landmarks: int) -> Tensor:
    """Row ``(B, L)`` of the input that each landmark of the output comes from, on the CPU.

    For whatever else belongs to a landmark (weights, spreads): ``values.gather(1, order)``.
    """
    order = torch.arange(landmarks).repeat(len(drawn.spatial.flips), 1)
    if any(max(pair) >= landmarks for pair in drawn.pairs):
        raise UsageError(f"the pairs {list(drawn.pairs)} name more than {landmarks} landmarks")
    for left, right in drawn.pairs:
        order[drawn.spatial.mirrored, left] = right
        order[drawn.spatial.mirrored, right] = left
    return order


def pull_points(drawn: Drawn, points: Tensor) -> Tensor:
    """Bring normalised points ``(B, L, D)`` of the output back to the input; rows stay. float64."""
    return pull(drawn.spatial, points.double())


def _check(drawn: Drawn, images: Tensor, *, floating: bool = True) -> None:
    batch, dim = drawn.spatial.flips.shape
    if images.ndim != dim + 2 or len(images) != batch:
        raise UsageError(
            f"the draw is for {batch} images in {dim}D, not for a tensor {tuple(images.shape)}"
        )
    if floating and not images.is_floating_point():
        raise UsageError(
            f"images of type {images.dtype} cannot be augmented", fix="convert them to float32"
        )


def _move(drawn: Drawn, images: Tensor, mode: str, outside: str) -> Tensor:
    """Reverse axes where that is all, resample the other samples: together, once."""

    def warp(some: Tensor, index: Tensor) -> Tensor:
        grid = sampling_grid(drawn.spatial.rows(index), tuple(some.shape[2:]), some)
        return grid_sample(some, grid, mode=mode, padding_mode=outside, align_corners=False)

    flips, warped = drawn.spatial.flips, drawn.spatial.warped
    moved = on_rows(images, warped, warp)
    for axes in {tuple(row) for row in flips[~warped].tolist() if any(row)}:
        moved = _reverse(moved, axes, (flips == torch.tensor(axes)).all(1) & ~warped)
    return moved


def _reverse(images: Tensor, axes_xyz: Sequence[bool], rows: Tensor) -> Tensor:
    dims = [images.ndim - 1 - axis for axis, reversed_ in enumerate(axes_xyz) if reversed_]
    return on_rows(images, rows, lambda some, _: some.flip(dims))


def _move_points(drawn: Drawn, points: Tensor, present: Tensor | None) -> tuple[Tensor, Tensor]:
    spatial = drawn.spatial
    batch, dim = spatial.flips.shape
    if points.ndim != 3 or (points.shape[0], points.shape[2]) != (batch, dim):
        raise UsageError(
            f"the draw is for {batch} sets of points in {dim}D, not for {tuple(points.shape)}"
        )
    here = points.isfinite().all(-1)
    here = here if present is None else here & present.to(here)
    # In less than float32 a coordinate is off by voxels.
    kept = points if points.dtype in {torch.float32, torch.float64} else points.float()
    # Whatever stands in the place of an absent point must not count as one that is not found.
    kept = torch.where(here[..., None], kept, torch.full_like(kept, torch.nan))
    mirrored = kept * spatial.mirror.to(kept)[:, None]
    moved = on_rows(
        mirrored,
        spatial.warped,
        lambda _, index: push(spatial.rows(index), kept[index.to(kept.device)].double()).to(kept),
    )
    # A point that was outside without any warp is the caller's affair: nothing left the image.
    inside = (moved.abs() <= 1).all(-1)
    here = here & (inside | ~spatial.warped.to(inside.device)[:, None])
    order = landmark_order(drawn, points.shape[1]).to(points.device)
    moved = torch.where(here[..., None], moved, torch.full_like(moved, torch.nan))
    return moved.gather(1, order[..., None].expand(-1, -1, dim)), here.gather(1, order)
