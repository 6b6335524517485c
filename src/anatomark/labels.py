"""Put names beside points so that they do not cover each other."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from anatomark.geometry import FloatArray
from anatomark.words import width_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.path import Path

_DIRECTIONS = ((1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1), (0, 1), (0, -1))
_DISTANCES = (5.0, 13.0, 24.0, 38.0, 56.0)  # points from the mark to its label
_OUTWARD = np.array([-1, -1, 1, 1])


def place_labels(axes: Axes, spots: FloatArray, names: Sequence[str]) -> None:
    """Write each name near its spot (data coordinates), where it covers least; far ones get a line.

    The limits and the size of ``axes`` must be settled before.
    """
    from matplotlib.collections import LineCollection, PathCollection
    from matplotlib.transforms import Affine2D

    size = 7.5 if len(names) <= 25 else 6.5 if len(names) <= 50 else 5.5
    pixels = axes.transData.transform(spots) if len(spots) else np.zeros((0, 2))
    scale = axes.figure.dpi / 72
    frame = np.array(axes.get_window_extent().extents)
    taken = [np.array([x, y, x, y]) + 4 * scale * _OUTWARD for x, y in pixels]
    lines, words = [], []
    order = np.argsort(pixels[:, 1])
    for i in order:
        wide, high = width_of(names[i], size) * scale, 1.15 * size * scale
        box = _best_place(pixels[i], (wide, high), np.array(taken), frame, scale)
        taken.append(box)
        shift = (box[:2] - pixels[i]) / scale
        words.append(_outline(names[i], size).transformed(Affine2D().translate(*shift)))
        if np.hypot(*shift) > 20:
            lines.append([pixels[i], np.clip(pixels[i], box[:2], box[2:])])
    if lines:  # in data coordinates: those of pixels would be wrong at another resolution
        ends = axes.transData.inverted().transform(np.reshape(lines, (-1, 2)))
        pairs = [*ends.reshape(-1, 2, 2)]
        far = LineCollection(pairs, colors="white", linewidths=0.5, zorder=2.5)
        axes.add_collection(far, autolim=False)
    points = Affine2D().scale(1 / 72) + axes.figure.dpi_scale_trans
    for colour, width in (("black", 1.8), ("white", 0)):
        drawn = PathCollection(
            words, offsets=spots[order], offset_transform=axes.transData, transform=points,
            facecolors=colour, edgecolors=colour, linewidths=width, zorder=3, clip_on=False,
        )  # fmt: skip
        axes.add_collection(drawn, autolim=False)


@lru_cache(maxsize=1024)
def _outline(name: str, size: float) -> Path:
    """The letters of a name in points, from the lower left corner of its line.

    Kept, since all films of a cohort have the same names, and letters are slow to get.
    """
    from matplotlib.font_manager import FontProperties
    from matplotlib.path import Path
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=size)
    per_point = size / text_to_path.FONT_SCALE
    vertices, codes = text_to_path.get_text_path(font, name)
    _, _, below = text_to_path.get_text_width_height_descent("lp", font, False)
    return Path(np.asarray(vertices).reshape(-1, 2) * per_point + [0, below], codes)


def _best_place(
    spot: FloatArray, size: tuple[float, float], taken: FloatArray, frame: FloatArray, scale: float
) -> FloatArray:
    """The box of the label, left, low, right, high in pixels, that overlaps least."""
    shift = np.repeat(_DISTANCES, len(_DIRECTIONS))
    direction = np.tile(_DIRECTIONS, (len(_DISTANCES), 1))
    low = spot + direction * shift[:, None] * scale - np.multiply(size, (1 - direction) / 2)
    boxes = np.concatenate([low, low + size], axis=1)
    outside = size[0] * size[1] - _overlap(boxes, frame)
    covered = _overlap(boxes[:, None], taken).sum(axis=1)
    cost = covered + 3 * outside + 0.02 * shift * scale * size[1]
    return np.asarray(boxes[np.argmin(cost)])


def _overlap(one: FloatArray, other: FloatArray) -> FloatArray:
    """The area that boxes ``(..., 4)`` have in common."""
    sides = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])
    return np.asarray(np.maximum(sides, 0).prod(axis=-1))
