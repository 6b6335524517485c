"""The frame of a flat picture: its size, and where its axes, ticks and words lie.

Matplotlib finds room for words by measuring all of them, several times for each picture. It depends
on few things, the same for all films of a cohort, so it is done once for them and kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from anatomark.geometry import FloatArray, Grid
from anatomark.words import height_of, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS = 110  # per inch
Extent = tuple[float, float, float, float]  # left, right, bottom, top
_MARGIN = (0.7, 0.8)  # inches
_TITLE, _NOTE = 10.0, 8.0  # sizes of letters


def flat_extent(grid: Grid) -> Extent:
    """What a picture of a flat image shows: its world, or along its own axes if these are turned.

    In its unit; from the centre of the first pixel where the axes are not those of the world.
    """
    (left, top), (width, height) = _start(grid) - grid.spacing / 2, grid.extent
    return float(left), float(left + width), float(top + height), float(top)


def flat_places(grid: Grid, points: FloatArray) -> FloatArray:
    """Where points ``(N, 2)`` of the world are in a picture that shows ``flat_extent``."""
    return np.asarray(grid.to_index(points) * grid.spacing + _start(grid))


def _start(grid: Grid) -> FloatArray:
    straight = np.allclose(grid.direction, np.eye(2), atol=1e-6)
    return np.array(grid.origin) if straight else np.zeros(2)


class _Places(NamedTuple):
    """Parts of the figure, of the axes those of the words beside them."""

    axes: tuple[float, float, float, float]
    x_label: tuple[float, float]
    y_label: tuple[float, float]
    note: float


def framed(
    extent: Extent, longest: float, unit: str, *, title: str = "", note: str = ""
) -> tuple[Figure, Axes]:
    """Figure and empty axes, with everything where it will stay.

    The picture shows ``extent`` in ``unit``, with its longer side so many inches long. Words that
    are wider than the figure go on in further lines, which make it higher.
    """
    wide, _ = _size(extent, longest)
    # The title stands over the axes, which the numbers beside them move out of the middle.
    title = wrapped(title, wide - _MARGIN[0], _TITLE) if title else ""
    note = wrapped(note, wide - 0.2, _NOTE) if note else ""
    return Frame(extent, longest, unit, _lines(title), _lines(note)).draw(title, note)


def _lines(text: str) -> int:
    return text.count("\n") + 1 if text else 0


def _size(extent: Extent, longest: float) -> tuple[float, float]:
    """Width and height in inches, with one line above and one below."""
    width, height = extent[1] - extent[0], extent[2] - extent[3]
    scale = longest / max(width, height)
    return max(width * scale, 3.5) + _MARGIN[0], height * scale + _MARGIN[1]


@dataclass(frozen=True)
class Frame:
    """Of a picture that shows ``extent`` in ``unit``; how many lines its title and note have."""

    extent: Extent
    longest: float
    unit: str
    title: int
    note: int

    def draw(self, title: str, note: str) -> tuple[Figure, Axes]:
        """Figure and empty axes, with everything where it will stay."""
        places = _places(self)
        figure, axes = self._bare(title, note)
        axes.set_position(places.axes)
        axes.xaxis.set_label_coords(*places.x_label)
        axes.yaxis.set_label_coords(*places.y_label)
        if note:
            figure.supxlabel(note, y=places.note, fontsize=_NOTE, parse_math=False)
        return figure, axes

    def _bare(self, title: str, note: str) -> tuple[Figure, Axes]:
        from matplotlib.figure import Figure

        wide, high = _size(self.extent, self.longest)
        high += sum(height_of(n - 1, s) for n, s in ((self.title, _TITLE), (self.note, _NOTE)) if n)
        # Not pyplot's: such a figure is gone when nobody holds it, and any thread may draw it.
        figure = Figure(figsize=(wide, high), dpi=DOTS)
        axes = figure.add_subplot(xlim=self.extent[:2], ylim=self.extent[2:], aspect="equal")
        axes.autoscale(False)
        axes.set_xlabel(f"x ({self.unit})")
        axes.set_ylabel(f"y ({self.unit})")
        if title:  # with a height, or it would be looked for in every drawing
            axes.set_title(title, y=1.0, fontsize=_TITLE, parse_math=False)
        if note:
            figure.supxlabel(note, fontsize=_NOTE, parse_math=False)
        return figure, axes


@lru_cache(maxsize=256)
def _places(frame: Frame) -> _Places:
    """Where Matplotlib's own layout puts everything; ``frame.draw`` then need not ask for it."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    title, note = ("\n".join(["Äg_|"] * lines) for lines in (frame.title, frame.note))
    figure, axes = frame._bare(title, note)
    ConstrainedLayoutEngine().execute(figure)
    figure.draw_without_rendering()
    inside = axes.transAxes.inverted()
    _, below = inside.transform((0, axes.xaxis.label.get_position()[1]))
    beside, _ = inside.transform((axes.yaxis.label.get_position()[0], 0))
    low = figure.texts[-1].get_position()[1] if frame.note else 0.0
    return _Places(axes.get_position().bounds, (0.5, below), (beside, 0.5), low)
