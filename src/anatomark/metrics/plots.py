"""Figures of errors: cumulative curves, box plots, ellipses of the signed errors.

Colours are those of Okabe and Ito, and every line has a second mark (dash or marker) for those
who cannot tell them apart. Axes carry the unit of the errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from anatomark.colours import colours, curves
from anatomark.geometry import FloatArray, Unit
from anatomark.io.files import writing
from anatomark.metrics.errors import ErrorTable
from anatomark.metrics.observers import NOTES, Line
from anatomark.words import plain_legend, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Greys, since the colours are those of runs: mark, shade and dash of each kind of observers' line.
_LINE_MARKS: dict[str, tuple[str, str, tuple[float, tuple[float, ...]]]] = {
    "inter": ("D", "#424a53", (0, (1, 1))),
    "mean": ("s", "#8c959f", (0, (5, 1.5))),
    "intra": ("^", "#aab2bb", (0, (7, 1.5, 1, 1.5, 1, 1.5))),
}
_LETTERS = 40  # of a name
_WILD = 3.0  # times the axis of a good run: a run whose errors reach farther is cut off


def cumulative(
    runs: Mapping[str, FloatArray],
    *,
    unit: Unit,
    thresholds: Sequence[float],
    lines: Mapping[str, Line] | None = None,
) -> Figure:
    """Percentage of errors up to each size, one curve a run; observers as thin grey curves.

    The axis follows the better runs; the legend counts the errors of each that lie beyond it.
    """
    import matplotlib.pyplot as plt

    known = {name: np.sort(e[np.isfinite(e)]) for name, e in runs.items()}
    end = _end(list(known.values()), thresholds)
    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    for t in thresholds:
        axes.axvline(t, color="#d0d7de", linewidth=0.8, zorder=0)
    labels = []
    names = shortened(list(known), _LETTERS)
    for name, values, style in zip(names, known.values(), curves(len(known)), strict=True):
        beyond = int((values > end).sum())
        note = f" ({beyond} of {values.size} beyond {end:g} {unit})" if beyond else ""
        labels.append(name + (note if values.size else ": no errors"))
        _step(axes, values, end, label=labels[-1], **style)
    for kind, line in (lines or {}).items():
        values = np.sort(line.distances[np.isfinite(line.distances)])
        labels.append(f"{kind}: {NOTES[kind]}" + ("" if values.size else ": no errors"))
        _, shade, dash = _LINE_MARKS[kind]
        _step(axes, values, end, color=shade, linewidth=1.2, linestyle=dash)
    axes.set(xlim=(0, end), ylim=(0, 101), xlabel=f"radial error ({unit})")
    axes.set_ylabel("landmarks with at most this error (%)")
    handles = axes.lines[len(axes.lines) - len(labels) :]
    if len(labels) > 6:  # so many would cover the curves
        figure.set_size_inches(6.4, 4.2 + 0.165 * len(labels))
        place = {"loc": "lower left", "bbox_to_anchor": (0, 1)}
    else:
        place = {"loc": "lower right"}
    plain_legend(axes, handles, labels, fontsize=8, frameon=False, **place)
    _open(axes)
    return figure


def _end(values: Sequence[FloatArray], thresholds: Sequence[float]) -> float:
    """End of the axis: past the thresholds and most errors; a few wild ones do not count.

    Neither do runs that are far worse than the better half: they would leave it a corner.
    """
    wanted = sorted(min(float(np.percentile(v, 98)), tukey(v)) for v in values if v.size)
    usual = wanted[(len(wanted) - 1) // 2] if wanted else 0.0
    base = max(1.25 * max(thresholds), usual)
    end = max([base, *(w for w in wanted if w <= _WILD * base)])
    return float(f"{end:.2g}")


def tukey(values: FloatArray) -> float:
    """Upper quartile plus three interquartile ranges: what lies beyond is far out."""
    q1, q3 = np.percentile(values, [25, 75])
    return float(q3 + 3 * (q3 - q1))


def save_plot(figure: Figure, path: str | PathLike[str]) -> None:
    """Write a plot at 300 dots an inch, whole or not at all."""
    with writing(path) as temporary:
        figure.savefig(temporary, dpi=300, facecolor="white")


def _step(axes: Axes, values: FloatArray, end: float, **style: object) -> None:
    if not values.size:
        axes.plot([], [], **style)  # type: ignore[arg-type]
        return
    x = np.concatenate([[0.0], values, [max(end, float(values[-1]))]])
    y = np.concatenate([np.arange(values.size + 1), [values.size]]) * (100 / values.size)
    axes.plot(x, y, drawstyle="steps-post", **style)  # type: ignore[arg-type]


def _open(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)


# -- boxes ---------------------------------------------------------------------------------------


def boxes(
    table: ErrorTable,
    *,
    thresholds: Sequence[float],
    lines: Mapping[str, Line] | None = None,
) -> Figure:
    """A box of the errors of each landmark (whiskers: 1.5 IQR), with the observers' means."""
    import matplotlib.pyplot as plt

    count = len(table.names)
    columns = [e[np.isfinite(e)] for e in table.errors.T]
    wide = 0.075 * min(max((len(n) for n in table.names), default=0), _LETTERS)
    figure, axes = plt.subplots(
        figsize=(5.6 + wide, 1.3 + max(0.24 * count, 0.6)), layout="constrained"
    )
    for t in thresholds:
        axes.axvline(t, color="#d0d7de", linewidth=0.8, zorder=0)
    _draw_boxes(axes, columns)
    handles = [_line_marks(axes, table.names, line) for line in (lines or {}).values()]
    names = shortened(table.names, _LETTERS)
    ticks = [n if c.size else f"{n} (none)" for n, c in zip(names, columns, strict=True)]
    axes.set_yticks(range(count), ticks, parse_math=False)
    axes.set(ylim=(count - 0.4, -0.6), xlabel=f"radial error ({table.unit})")
    axes.tick_params(axis="y", length=0, labelsize=8)
    _limit(axes, columns, thresholds)
    if handles:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=8, frameon=False)
    _open(axes)
    return figure


def _draw_boxes(axes: Axes, columns: Sequence[FloatArray]) -> None:
    blue = colours(1)[0]
    axes.boxplot(
        columns, positions=range(len(columns)), orientation="horizontal", widths=0.62,
        patch_artist=True, manage_ticks=False,
        boxprops={"facecolor": "#cfe3f1", "edgecolor": blue, "linewidth": 0.9},
        medianprops={"color": "#000000", "linewidth": 1.4},
        whiskerprops={"color": blue, "linewidth": 0.9},
        capprops={"color": blue, "linewidth": 0.9},
        flierprops={"marker": "o", "markersize": 2.2, "markeredgewidth": 0.5,
                    "markeredgecolor": blue, "markerfacecolor": "none", "alpha": 0.8},
    )  # fmt: skip


def _line_marks(axes: Axes, names: Sequence[str], line: Line) -> object:
    values = [line.per_landmark.get(name, np.nan) for name in names]
    shape, colour, _ = _LINE_MARKS[line.kind]
    return axes.scatter(
        values, range(len(names)), marker=shape, s=16, color=colour, edgecolors="black",
        linewidths=0.4, zorder=5, label=f"{line.kind}: {NOTES[line.kind]}",
    )  # fmt: skip


def _limit(axes: Axes, columns: Sequence[FloatArray], thresholds: Sequence[float]) -> None:
    """End the axis before a few wild points make all boxes flat; they are counted at the edge."""
    known = np.concatenate([*columns, np.zeros(1)])
    usual = float(np.median([tukey(c) for c in columns if c.size] or [0.0]))
    shown = float(known[known <= 2 * usual].max())
    end = max(1.05 * shown, 1.1 * max(thresholds))
    axes.set_xlim(-0.012 * end, end)  # a box at zero shows
    beyond = [int((errors > end).sum()) for errors in columns]
    for place, count in enumerate(beyond):
        if count:
            axes.annotate(
                f"{count} ▸", (end, place), ha="right", va="center", fontsize=7, color="#d55e00"
            )
    if any(beyond):
        axes.set_xlabel(f"{axes.get_xlabel()}   n ▸: beyond this axis, up to {known.max():.3g}")
