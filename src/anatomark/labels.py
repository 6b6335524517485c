"""Put names beside points so that they do not cover each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from anatomark.geometry import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DIRECTIONS = ((1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1), (0, 1), (0, -1))
_DISTANCES = (5.0, 13.0, 24.0, 38.0, 56.0)  # points from the mark to its label


def place_labels(axes: Axes, spots: FloatArray, names: Sequence[str]) -> None:
    """Write each name near its spot (data coordinates), where it covers least; far ones get a line.

    The limits and the size of ``axes`` must be settled before.
    """
    from matplotlib import patheffects

    size = 7.5 if len(names) <= 25 else 6.5 if len(names) <= 50 else 5.5
    pixels = axes.transData.transform(spots) if len(spots) else np.zeros((0, 2))
    scale = axes.figure.dpi / 72
    frame = axes.get_window_extent()
    taken: list[Box] = [
        (x - 4 * scale, y - 4 * scale, x + 4 * scale, y + 4 * scale) for x, y in pixels
    ]
    halo = [patheffects.withStroke(linewidth=1.8, foreground="black")]
    for i in np.argsort(pixels[:, 1]):
        wide, high = 0.6 * size * len(names[i]) * scale, 1.15 * size * scale
        limits = (frame.x0, frame.y0, frame.x1, frame.y1)
        shift, box = _best_place(pixels[i], (wide, high), taken, limits, scale)
        taken.append(box)
        far = float(np.hypot(*shift)) > 20
        axes.annotate(
            names[i], spots[i], xytext=shift, textcoords="offset points", fontsize=size,
            color="white", path_effects=halo, ha="left", va="bottom", parse_math=False,
            arrowprops={"arrowstyle": "-", "color": "white", "lw": 0.5} if far else None,
        )  # fmt: skip


Box = tuple[float, float, float, float]  # left, low, right, high in pixels


def _best_place(
    spot: FloatArray, size: tuple[float, float], taken: Sequence[Box], frame: Box, scale: float
) -> tuple[tuple[float, float], Box]:
    """Offset in points of the lower left corner, and the box, that overlap least."""

    def cost(candidate: tuple[float, Box]) -> float:
        distance, box = candidate
        outside = size[0] * size[1] - _overlap(box, frame)
        covered = sum(_overlap(box, other) for other in taken)
        return covered + 3 * outside + 0.02 * distance * size[1]

    candidates = [
        (distance, _box(spot, size, direction, distance * scale))
        for distance in _DISTANCES
        for direction in _DIRECTIONS
    ]
    box = min(candidates, key=cost)[1]
    return ((box[0] - spot[0]) / scale, (box[1] - spot[1]) / scale), box


def _box(
    spot: FloatArray, size: tuple[float, float], direction: tuple[int, int], distance: float
) -> Box:
    """The box of a label that lies so far from the spot in one of eight directions."""
    low = [
        float(spot[k] + direction[k] * distance - size[k] * (1 - direction[k]) / 2) for k in (0, 1)
    ]
    return low[0], low[1], low[0] + size[0], low[1] + size[1]


def _overlap(one: Box, other: Box) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return float(max(wide, 0) * max(high, 0))
