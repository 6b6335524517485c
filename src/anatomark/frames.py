"""The frame of a flat picture: its size, and where its axes, ticks and words lie.

Matplotlib finds room for words by measuring all of them, several times for each picture. It depends
on few things, the same for all films of a cohort, so it is done once for them and kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from anatomark.geometry import Grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS = 110  # per inch
Extent = tuple[float, float, float, float]  # left, right, bottom, top
_MARGIN = (0.7, 0.8)  # inches


def flat_extent(grid: Grid) -> Extent:
    """Of a flat image along its own axes, in its unit, from the centre of its first pixel."""
    (left, top), (width, height) = -grid.spacing / 2, grid.extent
    return float(left), float(left + width), float(top + height), float(top)


class _Places(NamedTuple):
    """Parts of the figure, of the axes those of the words beside them."""

    axes: tuple[float, float, float, float]
    x_label: tuple[float, float]
    y_label: tuple[float, float]
    note: float


@dataclass(frozen=True)
class Frame:
    """Of a picture that shows ``extent`` in ``unit``, with its longer side so many inches long."""

    extent: Extent
    longest: float
    unit: str
    more_lines: int  # of the title
    note: bool

    def draw(self, title: str, note: str) -> tuple[Figure, Axes]:
        """Figure and empty axes, with everything where it will stay."""
        places = _places(self)
        figure, axes = self._bare(title, note)
        axes.set_position(places.axes)
        axes.xaxis.set_label_coords(*places.x_label)
        axes.yaxis.set_label_coords(*places.y_label)
        if note:
            figure.supxlabel(note, y=places.note, fontsize=8, parse_math=False)
        return figure, axes

    def _bare(self, title: str, note: str) -> tuple[Figure, Axes]:
        from matplotlib.figure import Figure

        width, height = self.extent[1] - self.extent[0], self.extent[2] - self.extent[3]
        scale = self.longest / max(width, height)
        size = (max(width * scale, 3.5) + _MARGIN[0], height * scale + _MARGIN[1])
        # Not pyplot's: such a figure is gone when nobody holds it, and any thread may draw it.
        figure = Figure(figsize=size, dpi=DOTS)
        axes = figure.add_subplot(xlim=self.extent[:2], ylim=self.extent[2:], aspect="equal")
        axes.autoscale(False)
        axes.set_xlabel(f"x ({self.unit})")
        axes.set_ylabel(f"y ({self.unit})")
        if title:  # with a height, or it would be looked for in every drawing
            axes.set_title(title, y=1.0, fontsize=10, parse_math=False)
        if note:
            figure.supxlabel(note, fontsize=8, parse_math=False)
        return figure, axes


@lru_cache(maxsize=256)
def _places(frame: Frame) -> _Places:
    """Where Matplotlib's own layout puts everything; ``frame.draw`` then need not ask for it."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure, axes = frame._bare("A" + "\nA" * frame.more_lines, "A" if frame.note else "")
    ConstrainedLayoutEngine().execute(figure)
    figure.draw_without_rendering()
    inside = axes.transAxes.inverted()
    _, below = inside.transform((0, axes.xaxis.label.get_position()[1]))
    beside, _ = inside.transform((axes.yaxis.label.get_position()[0], 0))
    note = figure.texts[-1].get_position()[1] if frame.note else 0.0
    return _Places(axes.get_position().bounds, (0.5, below), (beside, 0.5), note)
