"""Figures of errors: cumulative curves, box plots, ellipses of the signed errors.

Colours are those of Okabe and Ito, and every line has a second mark (dash or marker) for those
who cannot tell them apart. Axes carry the unit of the errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from anatomark.geometry import FloatArray, Unit
from anatomark.io.files import writing
from anatomark.metrics.errors import ErrorTable
from anatomark.metrics.observers import NOTES, Line
from anatomark.pictures import colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DASHES = ("-", "--", "-.", ":")
_LINE_MARKS = {"inter": ("D", "#009e73"), "mean": ("s", "#cc79a7"), "intra": ("^", "#e69f00")}


def cumulative(
    runs: Mapping[str, FloatArray],
    *,
    unit: Unit,
    thresholds: Sequence[float],
    lines: Mapping[str, Line] | None = None,
) -> Figure:
    """Percentage of errors up to each size, one curve a run; observers as thin dashed curves."""
    import matplotlib.pyplot as plt

    known = {name: np.sort(e[np.isfinite(e)]) for name, e in runs.items()}
    end = _end(list(known.values()), thresholds)
    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    for t in thresholds:
        axes.axvline(t, color="#d0d7de", linewidth=0.8, zorder=0)
    wheel = colours(len(known))
    for k, (name, values) in enumerate(known.items()):
        beyond = int((values > end).sum())
        note = f" ({beyond} of {values.size} beyond {end:g} {unit})" if beyond else ""
        _step(axes, values, end, color=wheel[k], linestyle=_DASHES[k % 4], label=name + note)
    for kind, line in (lines or {}).items():
        values = np.sort(line.distances[np.isfinite(line.distances)])
        label = f"{kind}: {NOTES[kind]}"
        _step(axes, values, end, color=_LINE_MARKS[kind][1], linewidth=1, linestyle=(0, (2, 2)),
              label=label)  # fmt: skip
    axes.set(xlim=(0, end), ylim=(0, 101), xlabel=f"radial error ({unit})")
    axes.set_ylabel("landmarks with at most this error (%)")
    axes.legend(loc="lower right", fontsize=8, frameon=False)
    _open(axes)
    return figure


def _end(values: Sequence[FloatArray], thresholds: Sequence[float]) -> float:
    """End of the axis: past the thresholds and most errors; a few wild ones do not count."""
    wanted = [min(float(np.percentile(v, 98)), tukey(v)) for v in values if v.size]
    end = max(1.25 * max(thresholds), max(wanted, default=0.0))
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
        axes.plot([], [], **{**style, "label": f"{style['label']}: no errors"})  # type: ignore[arg-type]
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
    wide = 0.075 * min(max((len(n) for n in table.names), default=0), 40)
    figure, axes = plt.subplots(
        figsize=(5.6 + wide, 1.3 + max(0.24 * count, 0.6)), layout="constrained"
    )
    for t in thresholds:
        axes.axvline(t, color="#d0d7de", linewidth=0.8, zorder=0)
    _draw_boxes(axes, columns)
    handles = [_line_marks(axes, table.names, line) for line in (lines or {}).values()]
    axes.set_yticks(range(count), [_label(n, c) for n, c in zip(table.names, columns, strict=True)])
    axes.set(ylim=(count - 0.4, -0.6), xlabel=f"radial error ({table.unit})")
    axes.tick_params(axis="y", length=0, labelsize=8)
    _limit(axes, columns, thresholds)
    if handles:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=8, frameon=False)
    _open(axes)
    return figure


def _label(name: str, errors: FloatArray) -> str:
    short = name if len(name) <= 40 else f"{name[:39]}…"
    return short if errors.size else f"{short} (none)"


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
    shape, colour = _LINE_MARKS[line.kind]
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
