"""Pictures of a registration: edges of the moving image and squares of it on the fixed one.

What the files say is on the left, what was found on the right. A volume is cut along the
anatomical planes through the point in the middle of those that are used, so that there is one to be
seen, a thin slab only along its face; a flat image is shown whole, along its axes. Points of the
fixed image are crosses, those of the moving one circles, in the planes that they are near to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anatomark.data import Image
from anatomark.frames import Extent, flat_extent, flat_places
from anatomark.geometry import FloatArray, Grid
from anatomark.maps import Affine, Map
from anatomark.pictures import (
    OUTLINE,
    WORDS,
    Plane,
    draw_plane,
    halo,
    plane_grid,
    planes_worth_showing,
    window_of,
)
from anatomark.pipelines.registration.run import Registered
from anatomark.sampling import resample

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EDGES, FIXED_MASK, MOVING_MASK = "#ffb000", "#56b4e9", "#ff5fa2"  # apart for every kind of sight
_SMOOTH = 0.012  # of the longest side: edges of structures, not of speckle
_STRONG = 0.92  # quantile of the gradients that an edge begins with
_WEAK = 0.8
_SQUARES = 8  # along the longest side
_NEAR = 0.02  # of the extent across a plane: so near a point is drawn in it
_MANY = 40  # pairs that are drawn at most: more would hide the image
_COLUMNS = ("edges, before", "edges, after", "squares, before", "squares, after")


@dataclass(frozen=True, eq=False)
class _View:
    """A plane of the fixed image, and where it is drawn."""

    grid: Grid
    extent: Extent
    plane: Plane | None


def draw_overlay(found: Registered, *, title: str = "") -> Figure:
    """Both images on each other, before and after: edges of the moving one, squares of it."""
    from matplotlib.figure import Figure

    views = _views(found)
    flat = len(views) == 1
    rows, columns = (2, 2) if flat else (len(views), 4)
    tall = 1.0 if not flat else float(np.clip(_ratio(views[0]), 0.4, 2.0))
    wide = 4.4 if flat else 2.6
    figure = Figure(
        figsize=(wide * columns, wide * tall * rows + 0.7), layout="constrained", facecolor="white"
    )
    all_axes = figure.subplots(rows, columns, squeeze=False)
    pulls = (Affine.identity(found.fixed.grid.dimension), found.pull)
    for number, view in enumerate(views):
        _row(all_axes if flat else all_axes[number : number + 1], view, found, pulls)
    for axes, name in zip(all_axes.ravel() if flat else all_axes[0], _COLUMNS, strict=True):
        axes.set_title(name, fontsize=9)
    if title:
        figure.suptitle(title, fontsize=10, parse_math=False)
    figure.supxlabel(_legend(found), fontsize=8)
    return figure


def _ratio(view: _View) -> float:
    left, right, bottom, top = view.extent
    return abs(top - bottom) / abs(right - left)


def _legend(found: Registered) -> str:
    said = ["amber: edges of the moving image on the fixed one"]
    said += ["blue: fixed mask"] if found.fixed_mask is not None else []
    said += ["pink: moving mask"] if found.moving_mask is not None else []
    drawn, used = len(_drawn(found)), int(found.fit.inliers.sum())
    some = f" ({drawn} of {used})" if drawn < used else ""
    said += [f"crosses: fixed points, circles: moving ones{some}"]
    return "; ".join([*said, "thin frames: squares of the moving image"])


def _views(found: Registered) -> list[_View]:
    grid = found.fixed.grid
    if grid.dimension == 2:
        return [_View(grid, flat_extent(grid), None)]
    middle = _central(found)
    return [_View(*plane_grid(grid, plane, middle), plane) for plane in planes_worth_showing(grid)]


def _central(found: Registered) -> FloatArray:
    """The used point of the fixed image that is nearest to the middle of them."""
    grid = found.fixed.grid
    points = found.pairs.fixed_mm[found.fit.inliers]
    inside = points[grid.contains(points)]
    if not len(inside):
        return grid.centre
    away = np.linalg.norm(inside - points.mean(axis=0), axis=1)
    return np.asarray(inside[away.argmin()])


def _row(all_axes: Any, view: _View, found: Registered, pulls: tuple[Map, Map]) -> None:
    """Edges before and after, squares before and after, of one plane."""
    fixed, moving = _floats(found.fixed), _floats(found.moving)
    window, other = window_of(found.fixed.array), window_of(found.moving.array)
    shown = [_flat(resample(moving, view.grid, pull=pull, fill=np.nan)) for pull in pulls]
    for number, axes in enumerate(all_axes.ravel()):
        _background(axes, fixed, view, window)
        values = shown[number % 2]
        if np.isfinite(values).any():
            (_edges if number < 2 else _squares)(axes, values, view, other)
        else:
            axes.text(
                0.5, 0.8, "the moving image is not here", transform=axes.transAxes, ha="center",
                fontsize=8, color=WORDS, path_effects=halo(2.2),
            )  # fmt: skip
        if number < 2:
            _outlines(axes, found, view, pulls[number])
        _points(axes, found, view, after=number % 2 == 1)
    if view.plane is not None:
        all_axes.ravel()[0].set_ylabel(view.plane.name, fontsize=9)


def _floats(image: Image) -> Image:
    return image.with_array(image.array.astype(np.float32))


def _flat(image: Image) -> NDArray[Any]:
    return image.array[0] if image.grid.dimension == 3 else image.array


def _background(axes: Axes, fixed: Image, view: _View, window: tuple[float, float]) -> None:
    if view.plane is not None:
        draw_plane(axes, fixed, view.plane, view.grid.origin, window=window, mark=False)
        return
    axes.imshow(fixed.array, cmap="gray", vmin=window[0], vmax=window[1], extent=view.extent)
    axes.autoscale(False)
    axes.tick_params(labelsize=6)


def _edges(axes: Axes, values: NDArray[Any], view: _View, _window: tuple[float, float]) -> None:
    from skimage import feature

    seen = np.isfinite(values)
    filled = np.where(seen, values, np.median(values[seen]))
    sigma = max(_SMOOTH * max(values.shape), 1.0)
    untyped: Any = feature
    lines = untyped.canny(
        filled, sigma=sigma, low_threshold=_WEAK, high_threshold=_STRONG, use_quantiles=True,
        mask=seen,
    )  # fmt: skip
    painted = np.zeros((*lines.shape, 4))
    painted[lines] = _colour(EDGES)
    axes.imshow(painted, extent=view.extent, interpolation="nearest")


def _colour(text: str) -> tuple[float, float, float, float]:
    from matplotlib.colors import to_rgba

    return to_rgba(text)


def _outlines(axes: Axes, found: Registered, view: _View, pull: Map) -> None:
    still = Affine.identity(found.fixed.grid.dimension)
    sides = ((found.fixed_mask, still, FIXED_MASK), (found.moving_mask, pull, MOVING_MASK))
    left, right, bottom, top = view.extent
    for mask, way, colour in sides:
        if mask is None:
            continue
        inside = mask.with_array((mask.array > 0).astype(np.float32))
        values = _flat(resample(inside, view.grid, pull=way))
        if values.max() > 0.5:
            across, down = (
                a + (np.arange(n) + 0.5) * (b - a) / n
                for a, b, n in ((left, right, values.shape[1]), (top, bottom, values.shape[0]))
            )
            axes.contour(across, down, values, levels=[0.5], colors=[colour], linewidths=1.1)


def _points(axes: Axes, found: Registered, view: _View, *, after: bool) -> None:
    """Fixed points as crosses and moving ones as circles, as they lie or where the map takes them.

    Only pairs that were used, and of those what is near the plane.
    """
    used = _drawn(found)
    moving = (found.moved if after else found.pairs.moving_mm)[used]
    for points, marker in ((found.pairs.fixed_mm[used], "+"), (moving, "o")):
        spots = _spots(points, found.fixed.grid, view)
        left, right, bottom, top = view.extent
        low, high = (min(left, right), min(bottom, top)), (max(left, right), max(bottom, top))
        spots = spots[((spots >= low) & (spots <= high)).all(axis=1)]
        for colour, width in ((OUTLINE, 2.4), (WORDS, 1.0)):
            drawn = axes.scatter(
                spots[:, 0], spots[:, 1], s=45, marker=marker, color=colour, linewidths=width,
            )  # fmt: skip
            if marker == "o":
                drawn.set_facecolor("none")


def _drawn(found: Registered) -> NDArray[np.intp]:
    """Rows of the pairs that are drawn: those that were used, of hundreds some."""
    used = np.flatnonzero(found.fit.inliers)
    return used[:: -(-len(used) // _MANY) or 1]


def _spots(points: FloatArray, grid: Grid, view: _View) -> FloatArray:
    """Where points ``(N, D)`` are in the axes of a view, ``(K, 2)``; those far from it are not."""
    if view.plane is None:
        return flat_places(grid, points)
    plane, corners = view.plane, grid.corners()
    reach = _NEAR * float(np.ptp(corners[:, plane.normal])) + float(view.grid.spacing[2])
    away = np.abs(points[:, plane.normal] - view.grid.origin[plane.normal])
    return np.asarray(points[away <= reach][:, [plane.right, plane.down]])


def _squares(axes: Axes, values: NDArray[Any], view: _View, window: tuple[float, float]) -> None:
    """Every other square shows the moving image, within a thin frame of another colour."""
    high, wide = values.shape
    side = max(high, wide) / _SQUARES
    rows, columns = (np.arange(n) // side for n in (high, wide))
    chosen = (rows[:, None] + columns) % 2 == 1
    part = np.where(chosen, values, np.nan)
    axes.imshow(part, cmap="gray", vmin=window[0], vmax=window[1], extent=view.extent)
    painted = np.zeros((high, wide, 4))
    painted[_border(chosen) & np.isfinite(values)] = (*_colour(EDGES)[:3], 0.45)
    axes.imshow(painted, extent=view.extent, interpolation="nearest")


def _border(chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of the chosen squares that touch others."""
    border = np.zeros_like(chosen)
    for axis in (0, 1):
        for step in (1, -1):
            border |= chosen & ~np.roll(chosen, step, axis)
    return border
