"""From an image to what a network sees, and the grid that leads back to the world."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anatomark.data import Image, Landmarks
from anatomark.errors import ImageError
from anatomark.geometry import FloatArray, Grid
from anatomark.models.recipe import GridRecipe, IntensityRecipe
from anatomark.orientation import turn
from anatomark.sampling import resample

Pixels = NDArray[np.float32]
_GREYS = 1024  # that histogram equalisation tells apart
_SMALL_PIECE = 0.05  # of the largest one


@dataclass(frozen=True, eq=False)
class Prepared:
    """An image on the grid of a network: ``array`` ``(C, *shape)`` float32."""

    array: Pixels
    grid: Grid
    inside: NDArray[np.bool_]  # (*shape): where there was an image


def prepare(
    image: Image, grid: GridRecipe, intensity: IntensityRecipe, *, channels: int = 1
) -> Prepared:
    """Turn, resample and normalise an image; landmarks stay where they are in the world."""
    check_kind(image, grid.dimension, channels)
    turned = turn(image) if grid.orientation == "LPS" and grid.dimension == 3 else image
    target = network_grid(turned.grid, grid)
    array, inside = _shown(turned, target)
    return Prepared(normalise(array, inside, intensity), target, inside)


def check_kind(image: Image, dimension: int, channels: int) -> None:
    """Refuse an image of another dimension or number of channels than the model's."""
    if image.grid.dimension != dimension:
        raise ImageError(
            f"the image is {image.grid.dimension}D, the model is for {dimension}D images",
            fix="cut slices out with anatomark slice (match: --slice), or choose another model"
            if dimension == 2
            else "choose another model",
        )
    if (image.channels or 1) != channels:
        raise ImageError(
            f"the image has {image.channels or 1} channels, the model is for {channels}",
            fix="reduce colours with --grey" if channels == 1 else "choose another model",
        )


def network_grid(grid: Grid, recipe: GridRecipe) -> Grid:
    """The voxels that the network sees of an image on ``grid``; with spacing, at least ``size``."""
    size = recipe.size
    if recipe.spacing is None and recipe.fit == "stretch":
        return grid.resized(size[::-1])
    if recipe.spacing is None:
        spacing = float((grid.extent / np.asarray(size)).max())
        return _about_centre(grid, np.full(grid.dimension, spacing), size)
    spacings = np.broadcast_to(np.asarray(recipe.spacing, np.float64), (grid.dimension,))
    resized = grid.with_spacing(spacings)
    wanted = np.maximum(resized.size_xyz, size)
    # Smaller than a window: the network is shown as many voxels as it was trained on.
    if (wanted == resized.size_xyz).all():
        return resized
    return _about_centre(resized, spacings, tuple(int(n) for n in wanted))


def _about_centre(grid: Grid, spacing: FloatArray, size: tuple[int, ...]) -> Grid:
    matrix = grid.direction * spacing
    origin = grid.centre - matrix @ ((np.asarray(size) - 1) / 2)
    return Grid(size[::-1], spacing, origin, grid.direction, unit=grid.unit)


def _shown(image: Image, target: Grid) -> tuple[Pixels, NDArray[np.bool_]]:
    """Values ``(C, *shape)`` on ``target``, NaN-free, and where they come from the image."""
    values = _values(image, target, target.spacing)
    index = [
        (np.arange(n) - (n - 1) / 2) * s
        for n, s in zip(target.size_xyz, target.spacing, strict=True)
    ]
    half = image.grid.extent / 2 * (1 + 1e-9)
    # The grids share their axes and their centre, so that the image is a box of voxels.
    rows = [np.abs(v) <= h for v, h in zip(index, half, strict=True)][::-1]
    inside = np.ones(target.shape, bool)
    for axis, row in enumerate(rows):
        inside &= np.expand_dims(row, [a for a in range(len(rows)) if a != axis])
    return values, inside


def on_grid(image: Image, target: Grid) -> tuple[Pixels, NDArray[np.bool_]]:
    """The same on a grid in any pose, one voxel size for all its axes or nearly so."""
    values = _values(image, target, np.full(target.dimension, target.spacing.min()))
    inside = np.empty(target.shape, bool)
    size = np.array(image.grid.size_xyz)
    rest = np.indices(target.shape[1:])[::-1].reshape(target.dimension - 1, -1)
    for row in range(target.shape[0]):  # a slab at a time: a volume of points is large
        voxels = np.column_stack([*rest, np.full(rest.shape[1], row)])
        index = np.asarray(image.grid.to_index(target.to_world(voxels)))
        inside[row] = ((index >= -0.5) & (index <= size - 0.5)).all(1).reshape(target.shape[1:])
    return values, inside


def _values(image: Image, target: Grid, spacing: FloatArray) -> Pixels:
    """Values ``(C, *shape)`` on ``target``, of an image that was made as coarse as ``spacing``."""
    array = np.asarray(image.array, np.float32)
    full = image.with_array(array if image.channels is not None else array[None])
    fewer = averaged(full, spacing)
    low = float(array.min())
    shown = fewer if fewer.grid.same_as(target) else resample(fewer, target, fill=low)
    return np.asarray(shown.array, np.float32)


def averaged(image: Image, spacing: FloatArray) -> Image:
    """Means over whole blocks of voxels where ``spacing`` is coarser: linear sampling would alias.

    ``image`` has its channel axis. The border is repeated where blocks do not come out even.
    """
    factors = np.maximum(np.floor(spacing / image.grid.spacing + 1e-6), 1).astype(int)
    factors = np.minimum(factors, image.grid.size_xyz)
    if (factors == 1).all():
        return image
    array, grid = image.array, image.grid
    for axis, factor in enumerate(factors.tolist()):
        array = _block_means(array, array.ndim - 1 - axis, factor)
    shape = array.shape[1:]
    first = (factors - 1) / 2
    coarse = Grid(
        shape, grid.spacing * factors, grid.to_world(first), grid.direction, unit=grid.unit
    )
    return Image(array, coarse, image.meta)


def _block_means(array: Pixels, axis: int, factor: int) -> Pixels:
    if factor == 1:
        return array
    count = array.shape[axis]
    # Only a last block that is cut by the border needs it repeated.
    missing = -count % factor
    if missing:
        widths = [(0, missing if a == axis else 0) for a in range(array.ndim)]
        array = np.pad(array, widths, mode="edge")
    shape = (*array.shape[:axis], array.shape[axis] // factor, factor, *array.shape[axis + 1 :])
    return np.asarray(array.reshape(shape).mean(axis + 1, dtype=np.float32))


def normalise(array: Pixels, inside: NDArray[np.bool_], recipe: IntensityRecipe) -> Pixels:
    """Grey values ``(C, *shape)`` as the network sees them, each channel by itself."""
    if recipe.kind == "none":
        return array
    out = np.empty_like(array)
    for channel, values in enumerate(array):
        seen = values[inside]
        if recipe.kind == "zscore":
            spread = float(seen.std())
            out[channel] = (values - float(seen.mean())) / (spread if spread > 0 else 1.0)
            continue
        if recipe.kind == "equalise":
            out[channel] = _equalised(values, seen)
            continue
        low, high = recipe.low, recipe.high
        if recipe.kind == "percentiles":
            low, high = (float(v) for v in np.percentile(seen, (low, high)))
        width = high - low
        out[channel] = np.clip((values - low) / (width if width > 0 else 1.0), 0, 1)
    return out


def _equalised(values: Pixels, seen: Pixels) -> Pixels:
    """The part of ``seen`` that is darker than each value, 0…1 (histogram equalisation)."""
    parts = np.linspace(0, 1, _GREYS + 1)
    greys, first = np.unique(np.quantile(seen, parts), return_index=True)
    last = np.append(first[1:], len(parts)) - 1  # of equal greys, all count as no brighter
    return np.asarray(np.interp(values, greys, parts[last]), np.float32)


def body(array: Pixels, above: float) -> NDArray[np.bool_]:
    """Where a prepared image ``(C, *shape)`` shows a body ``(1, *shape)``.

    Its first channel is above the value, in pieces that are not small beside the largest (a table,
    a cable); what they enclose, air in the bowel and the lungs, belongs to them.
    """
    from scipy import ndimage

    pieces, count = ndimage.label(array[0] > above)
    if not count:
        return np.zeros((1, *array.shape[1:]), bool)
    sizes = np.bincount(pieces.ravel())[1:]
    large = np.flatnonzero(sizes >= _SMALL_PIECE * sizes.max()) + 1
    kept = np.isin(pieces, large)
    if kept.ndim == 2:
        return np.asarray(ndimage.binary_fill_holes(kept), bool)[None]
    # Slice by slice: lungs that the first or the last one cuts are open to the outside in 3D.
    return np.stack([ndimage.binary_fill_holes(one) for one in kept])[None]


def to_network(landmarks: Landmarks, grid: Grid) -> tuple[Pixels, NDArray[np.bool_]]:
    """Normalised points ``(L, D)`` (0 where absent) and presence ``(L,)`` on a network's grid."""
    normalised = np.asarray(grid.to_normalised(landmarks.points_mm))
    present = landmarks.present & (np.abs(normalised) <= 1 + 1e-6).all(1)
    return np.where(present[:, None], normalised, 0).astype(np.float32), present
