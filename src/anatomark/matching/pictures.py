"""Pictures of matches (Grewal 2020, Fig. 3) and of their errors (Fig. 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from anatomark.colours import curves
from anatomark.correspondence import Matches
from anatomark.data import Image
from anatomark.errors import GeometryError
from anatomark.frames import flat_extent, flat_places
from anatomark.geometry import FloatArray, Unit
from anatomark.matching.errors import percent_within
from anatomark.pictures import PLANES, Plane, draw_plane, window_of
from anatomark.words import plain_legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Across from blue through pink to yellow, down from light to dark: two directions that every kind
# of sight keeps apart, and no grey, which would be lost on the image.
_STOPS = np.array(
    [
        [[0.56, 0.80, 1.00], [1.00, 0.62, 0.82], [1.00, 0.92, 0.36]],
        [[0.04, 0.16, 0.70], [0.60, 0.04, 0.42], [0.68, 0.36, 0.00]],
    ]
)  # top and bottom; left, middle, right
_WIDE = 4.6  # inches of one image
_THICK = 0.04  # of the extent, either way: points so near to a plane are shown on it
_SMALLEST = 0.1  # start of the axis of errors


def place_colours(places: FloatArray) -> FloatArray:
    """Colours ``(N, 3)`` of places ``(N, 2)``, right and down, spread over all that are used."""
    if not len(places):
        return np.zeros((0, 3))
    low, span = places.min(axis=0), np.maximum(np.ptp(places, axis=0), 1e-9)
    across, down = ((places - low) / span).T[:, :, None]
    first = np.minimum(2 * across, 1)
    second = np.maximum(2 * across - 1, 0)
    top, bottom = (
        row[0] + first * (row[1] - row[0]) + second * (row[2] - row[1]) for row in _STOPS
    )
    return np.asarray(top + down * (bottom - top))


def draw_matches(fixed: Image, moving: Image, matches: Matches, *, title: str = "") -> Figure:
    """Both images side by side, a dot an end of a match; equal colours are a pair.

    The colour says where in the fixed image a point is. Volumes are cut along the three anatomical
    planes through their middles, with the points near the plane of the fixed one, and those near
    the plane of the moving one.
    """
    dims = {fixed.grid.dimension, moving.grid.dimension, matches.dimension}
    if len(dims) > 1 or len({fixed.grid.unit, moving.grid.unit, matches.unit}) > 1:
        raise GeometryError(
            f"{fixed.grid}, {moving.grid} and {matches} do not go together",
            fix="use one dimension and one unit",
        )
    said = f"{_counted(matches)}, a pair has one colour"
    head = f"{title}: {said}" if title else said
    return (_draw_flat if dims == {2} else _draw_planes)(fixed, moving, matches, head)


def _counted(matches: Matches) -> str:
    return "1 match" if len(matches) == 1 else f"{len(matches)} matches"


def _new_figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def _dots(axes: Axes, spots: FloatArray, shades: FloatArray, count: int) -> None:
    size = float(np.clip(9000 / max(count, 1), 9, 30))
    axes.scatter(spots[:, 0], spots[:, 1], s=size, c=shades, edgecolors="black", linewidths=0.4)


def _draw_flat(fixed: Image, moving: Image, matches: Matches, title: str) -> Figure:
    wide = np.clip([i.grid.extent[0] / i.grid.extent[1] for i in (fixed, moving)], 0.3, 3)
    figure = _new_figure(2 * _WIDE + 0.5, min(2 * _WIDE / wide.sum(), 2 * _WIDE) + 0.8)
    shades = place_colours(np.asarray(fixed.grid.to_index(matches.fixed_mm)))
    panels = figure.subplots(1, 2, squeeze=False, width_ratios=wide)[0]
    ends = (matches.fixed_mm, matches.moving_mm)
    for axes, image, points, name in zip(
        panels, (fixed, moving), ends, ("fixed", "moving"), strict=True
    ):
        _show(axes, image)
        _dots(axes, flat_places(image.grid, points), shades, len(matches))
        axes.set_title(name, fontsize=9)
        axes.set_xlabel(f"x ({image.grid.unit})", fontsize=8)
        axes.set_ylabel(f"y ({image.grid.unit})", fontsize=8)
    figure.suptitle(title, fontsize=10, parse_math=False)
    return figure


def _show(axes: Axes, image: Image) -> None:
    values = image.array if image.channels is None else image.array.mean(axis=0)
    low, high = window_of(values)
    extent = flat_extent(image.grid)
    axes.imshow(values, cmap="gray", vmin=low, vmax=high, extent=extent, aspect="equal")
    axes.autoscale(False)
    axes.tick_params(labelsize=7)


def _draw_planes(fixed: Image, moving: Image, matches: Matches, title: str) -> Figure:
    figure = _new_figure(6.4, 9.2)
    panels = figure.subplots(len(PLANES), 2, squeeze=False)
    for row, plane in zip(panels, PLANES, strict=True):
        for axes, image, points, name in zip(
            row, (fixed, moving), (matches.fixed_mm, matches.moving_mm), ("fixed", "moving"),
            strict=True,
        ):  # fmt: skip
            shown = _draw_cut(axes, image, plane, points, matches)
            axes.set_title(f"{name}, {plane.name}: {shown} near this plane", fontsize=8)
    figure.suptitle(title, fontsize=10, parse_math=False)
    return figure


def _draw_cut(axes: Axes, image: Image, plane: Plane, points: FloatArray, matches: Matches) -> int:
    grid = image.grid
    flat = image if image.channels is None else image.with_array(image.array.mean(axis=0))
    flat = flat.with_array(flat.array.astype(np.float32))  # beside an oblique volume is nothing
    draw_plane(axes, flat, plane, grid.centre, window=window_of(image.array), mark=False)
    corners = grid.corners()
    thick = _THICK * float(np.ptp(corners[:, plane.normal]))
    near = np.abs(points[:, plane.normal] - grid.centre[plane.normal]) <= thick
    ends = [plane.right, plane.down]
    shades = place_colours(matches.fixed_mm[:, ends] * [1, plane.down_sign])
    _dots(axes, points[near][:, ends], shades[near], int(near.sum()))
    return int(near.sum())


# -- errors ----------------------------------------------------------------------------------------


def draw_errors(
    panels: Mapping[str, Mapping[str, Sequence[FloatArray] | FloatArray]],
    *,
    unit: Unit = "mm",
    thresholds: Sequence[float] = (1, 2, 4, 8, 64),
) -> Figure:
    """Cumulative curves of errors: a panel a kind of map, a line a matcher.

    ``panels[kind][matcher]`` are the errors of all matches, or those of each pair of images. The
    axis of errors is logarithmic and reaches from 0.1 past the largest of ``thresholds``; what lies
    beyond it is counted in the legend.
    """
    lines = max((len(runs) for runs in panels.values()), default=0)
    figure = _new_figure(3.6 * max(len(panels), 1) + 0.3, 3.7 + 0.15 * lines)
    row = figure.subplots(1, max(len(panels), 1), squeeze=False, sharey=True)[0]
    end = 2.0 * max(thresholds)
    for axes, (kind, runs) in zip(row, panels.items(), strict=False):
        _curves(axes, runs, thresholds, end, unit)
        axes.set_title(kind, fontsize=10, parse_math=False)
    row[0].set_ylabel("matches with at most this error (%)", fontsize=9)
    return figure


def _curves(
    axes: Axes,
    runs: Mapping[str, Sequence[FloatArray] | FloatArray],
    thresholds: Sequence[float],
    end: float,
    unit: Unit,
) -> None:
    at = np.geomspace(_SMALLEST, end, 400)
    for place in thresholds:
        axes.axvline(place, color="#d0d7de", linewidth=0.8, zorder=0)
    handles, labels = [], []
    for (name, given), style in zip(runs.items(), curves(len(runs)), strict=True):
        values = np.concatenate([np.zeros(0), *(np.atleast_1d(g) for g in given)])
        beyond = 100 * float((values > end).mean()) if values.size else 0.0
        note = f" ({beyond:.1f} % beyond)" if beyond >= 0.05 else ""
        percent = percent_within(values, at)
        handles += axes.plot(at, percent, linewidth=1.5, **style)
        labels.append(name + note)
    axes.set(xscale="log", xlim=(_SMALLEST, end), ylim=(0, 101))
    ticks = [_SMALLEST, *thresholds]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.minorticks_off()
    axes.set_xlabel(f"error ({unit})", fontsize=9)
    axes.tick_params(labelsize=8)
    # Above the panel and its title: curves may run anywhere in it.
    plain_legend(axes, handles, labels, loc="lower left", bbox_to_anchor=(0, 1.08), fontsize=7,
                 frameon=False)  # fmt: skip
    axes.spines[["top", "right"]].set_visible(False)
