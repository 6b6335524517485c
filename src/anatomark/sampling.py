"""Resample an image onto a grid, straight or through a map, on the CPU or a GPU.

Points push, images pull: to show the ``source`` image on a target ``grid``, every target voxel
asks where in the source it comes from. So a caller says which of the two maps it holds:
``push`` (source points → target points, as ``Landmarks.moved`` uses) or ``pull`` (its inverse).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from anatomark.data import Image
from anatomark.errors import GeometryError, UsageError
from anatomark.geometry import Grid, check_value
from anatomark.maps import Affine, Chain, Inverse, Map

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

Interpolation = Literal["linear", "nearest"]

_HOLE = 1e-4  # weight below which a neighbour does not count
_SHORT = 2048  # voxels along an axis
_EXACT = 1 << 53  # integers beyond it are not all held by float64
_VOXELS_AT_ONCE = 1 << 20  # target voxels per slab: bounds the memory that coordinates take
# Types whose every value float32 holds exactly; the others are resampled in float64.
_FLOAT32_TYPES = {np.dtype(t) for t in ("u1", "i1", "u2", "i2", "f2", "f4", "?")}


def resample(
    image: Image,
    grid: Grid,
    *,
    push: Map | None = None,
    pull: Map | None = None,
    interpolation: Interpolation = "linear",
    fill: float = 0.0,
    device: str | torch.device = "cpu",
) -> Image:
    """Show ``image`` on ``grid``, through at most one of ``push`` and ``pull``.

    Voxels whose origin lies outside the image get ``fill``; up to its outer faces the image is
    extended by its border voxels, as in ITK. The type of the values is kept (integers are
    rounded). Memory beyond the two images stays within a slab of the target.
    """
    _check_values(image.array, fill)
    warp = _pull_map(image, grid, push, pull)
    array = image.array if image.channels is not None else image.array[None]
    out = np.empty((array.shape[0], *grid.shape), array.dtype)
    for rows, values in _slabs(array, image.grid, grid, warp, interpolation, fill, device):
        out[:, rows] = values
    return replace(image, array=out if image.channels is not None else out[0], grid=grid)


def _check_values(array: NDArray[Any], fill: float) -> None:
    dtype = array.dtype
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise UsageError(
            f"values of type {dtype} cannot be resampled", fix="split them into channels"
        )
    check_value(fill, dtype)
    wide = dtype.kind in "iu" and dtype.itemsize == 8 and array.size
    if wide and not -_EXACT <= int(array.min()) <= int(array.max()) <= _EXACT:
        raise UsageError("the values are too large to be resampled exactly", fix="rescale them")


def _pull_map(image: Image, grid: Grid, push: Map | None, pull: Map | None) -> Map:
    if push is not None and pull is not None:
        raise UsageError("resample takes 'push' or 'pull', not both")
    dim = image.grid.dimension
    if pull is None:
        pull = Affine.identity(dim) if push is None else _lenient(push.inverse())
    if not dim == grid.dimension == pull.dimension:
        raise GeometryError(
            f"image, grid and map differ in dimension: {dim}D, {grid.dimension}D, {pull.dimension}D"
        )
    if image.grid.unit != grid.unit:
        raise GeometryError(
            f"the image is in {image.grid.unit}, the grid in {grid.unit}",
            fix="give the image its spacing",
        )
    return pull


def _lenient(inverse: Map) -> Map:
    """The inverse for images: a voxel to which nothing is pushed is empty, not an error."""
    if isinstance(inverse, Chain):
        return Chain(tuple(_lenient(part) for part in inverse.maps))
    return replace(inverse, missing="nan") if isinstance(inverse, Inverse) else inverse


def _slabs(
    array: NDArray[Any],
    source: Grid,
    target: Grid,
    warp: Map,
    interpolation: Interpolation,
    fill: float,
    device: str | torch.device,
) -> Any:
    """Yield ``(slice of the first spatial axis, values (C, rows, …))`` slab by slab."""
    import torch

    # float32 holds a coordinate to a 10 000th of a voxel up to some 2000 of them; a film is long.
    short = source.dimension == 3 and max(source.shape) <= _SHORT
    working = torch.float32 if array.dtype in _FLOAT32_TYPES and short else torch.float64
    # Nearest neighbours are decided in float64: half-way points must not go by rounding noise.
    precision = working if interpolation == "linear" else torch.float64
    with torch.no_grad():
        volume = _to_tensor(array, working, device)
        whole = bool(volume.isfinite().all())
        step = max(_VOXELS_AT_ONCE // int(np.prod(target.shape[1:])), 1)
        for start in range(0, target.shape[0], step):
            rows = slice(start, min(start + step, target.shape[0]))
            where = _origins(source, target, warp, rows, precision, device)
            values = sample_at(volume, where, interpolation=interpolation, fill=fill, whole=whole)
            yield rows, _to_array(values, array.dtype)


def _to_tensor(array: NDArray[Any], working: torch.dtype, device: str | torch.device) -> Any:
    import torch

    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    if native.dtype in {np.dtype("u2"), np.dtype("u4"), np.dtype("u8")}:
        native = native.astype(np.float32 if working == torch.float32 else np.float64)
    if not native.flags.writeable or any(s < 0 for s in native.strides):
        native = native.copy()
    return torch.from_numpy(native).to(device, working)


def _to_array(values: torch.Tensor, dtype: np.dtype[Any]) -> NDArray[Any]:
    array: NDArray[Any] = values.cpu().numpy()
    if dtype.kind == "b":
        return array >= 0.5
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        array = np.clip(np.floor(array + 0.5), limits.min, limits.max)
    return array.astype(dtype, copy=False)


def _origins(
    source: Grid,
    target: Grid,
    pull: Map,
    rows: slice,
    precision: torch.dtype,
    device: str | torch.device,
) -> torch.Tensor:
    """Where in ``source`` the target voxels of these rows come from.

    Returns normalised coordinates ``(rows, …, D)`` in x, y(, z) order. An affine pull becomes one
    matrix; any other map is asked point by point, in float64.
    """
    import torch

    dim = target.dimension
    axes = [torch.arange(n, dtype=torch.float64, device=device) for n in target.size_xyz]
    axes[-1] = axes[-1][rows]
    if not isinstance(pull, Affine):
        index = torch.stack(torch.meshgrid(*axes[::-1], indexing="ij")[::-1], dim=-1)
        world = target.to_world(index.reshape(-1, dim))
        parts = [source.to_normalised(pull(part)) for part in torch.split(world, 1 << 18)]
        return torch.cat(parts).reshape(index.shape).to(precision)
    # One column of the matrix per axis, added by broadcasting: no grid of indices is made, and
    # only the last, large sum is in working precision (a 10 000th of a voxel in float32).
    matrix = _index_to_normalised(source, target, pull)
    total = torch.tensor(matrix.offset, device=device)
    for d, axis in enumerate(axes):
        column = axis[:, None] * torch.tensor(matrix.matrix[:, d], device=device)
        shape = [1] * dim + [dim]
        shape[dim - 1 - d] = len(axis)
        if d == dim - 1:
            return total.to(precision) + column.reshape(shape).to(precision)
        total = total + column.reshape(shape)
    return total


def _index_to_normalised(source: Grid, target: Grid, pull: Affine) -> Affine:
    size = np.asarray(source.size_xyz, np.float64)
    full = np.linalg.inv(source.affine) @ pull.homogeneous @ target.affine
    scale = 2 / size
    return Affine(scale[:, None] * full[:-1, :-1], scale * full[:-1, -1] + 1 / size - 1)


def sample_at(
    volume: torch.Tensor,
    normalised: torch.Tensor,
    *,
    interpolation: Interpolation = "linear",
    fill: float = 0.0,
    whole: bool | None = None,
) -> torch.Tensor:
    """Values ``(C, …)`` of ``volume`` ``(C, *shape)`` at normalised ``(…, D)``, x, y(, z).

    ``whole`` says that every voxel is a number, where that is known; else they are looked at.
    """
    import torch
    from torch.nn.functional import grid_sample

    dim = normalised.shape[-1]
    # Half a voxel around the centres still belongs to the image; the slack absorbs rounding.
    farthest = normalised.abs().amax(-1)  # NaN where a coordinate is
    inside = farthest <= 1 + 1e-6
    if interpolation == "nearest":
        # Halves go up, as in ITK; grid_sample would send them to the even neighbour.
        size = normalised.new_tensor(volume.shape[:0:-1])
        index = torch.floor((normalised + 1) * size / 2 + 1e-9)
        normalised = (2 * torch.minimum(index.clamp_min(0), size - 1) + 1) / size - 1
    elif interpolation != "linear":
        raise UsageError(f"interpolation is 'linear' or 'nearest', not {interpolation!r}")
    if whole is None:
        whole = interpolation == "nearest" or bool(volume.isfinite().all())
    if interpolation == "linear" and not whole:
        return _around_holes(volume, normalised, fill)
    # On the CPU torch works on the items of a batch in parallel, not on the points of one.
    workers = torch.get_num_threads() if volume.device.type == "cpu" else 1
    parts = workers if inside.numel() % workers == 0 else 1
    known = normalised if bool(farthest.isfinite().all()) else normalised.nan_to_num(2.0)
    flat = known.to(volume.dtype).reshape(parts, *([1] * (dim - 1)), -1, dim)
    batch = volume[None].expand(parts, *volume.shape)
    mode = "bilinear" if interpolation == "linear" else "nearest"
    values = grid_sample(batch, flat, mode=mode, padding_mode="border", align_corners=False)
    values = values.transpose(0, 1).reshape(volume.shape[0], *inside.shape)
    return values.masked_fill(~inside, fill)


def _around_holes(volume: torch.Tensor, normalised: torch.Tensor, fill: float) -> torch.Tensor:
    """Linear values of a volume with voxels that are no numbers, which spread where they weigh."""
    import torch

    holes = ~volume.isfinite()
    values = sample_at(volume.masked_fill(holes, 0), normalised, fill=fill, whole=True)
    weight = sample_at(holes.to(volume.dtype), normalised, whole=True)
    return values.masked_fill(weight > _HOLE, torch.nan)
