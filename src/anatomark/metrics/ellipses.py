"""Where the errors of each landmark point: signed errors with their mean and 95 % ellipse.

All landmarks are drawn at one scale, so that they can be compared; in 3D each has three planes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from anatomark.colours import colours
from anatomark.geometry import FloatArray
from anatomark.metrics.errors import ErrorTable
from anatomark.pictures import PLANES
from anatomark.words import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Radius in standard deviations that holds 95 % of a 2D normal distribution: sqrt(-2 ln 0.05).
_RADIUS_95 = 2.447746830680816
_GAP = 0.12  # between cells, in half cells
_ROOM = 0.55  # above a cell, for its name


@dataclass(frozen=True)
class _View:
    """Two axes of the world as they are drawn: to the right and down (or up, if ``-1``)."""

    name: str
    right: int
    down: int
    down_sign: int
    letters: tuple[str, str, str, str]


_FLAT = (_View("", 0, 1, 1, ("", "", "", "")),)
_SOLID = tuple(_View(p.name, p.right, p.down, p.down_sign, p.letters) for p in PLANES)


def ellipse(points: FloatArray, count: int = 73) -> FloatArray:
    """Outline ``(count, 2)`` of the 95 % ellipse of points ``(N, 2)``; empty for less than 3."""
    if len(points) < 3:
        return np.zeros((0, 2))
    values, vectors = np.linalg.eigh(np.cov(points.T))
    half = _RADIUS_95 * np.sqrt(np.maximum(values, 0))
    angle = np.linspace(0, 2 * np.pi, count)
    circle = np.column_stack([np.cos(angle), np.sin(angle)])
    return np.asarray(points.mean(axis=0) + (circle * half) @ vectors.T)


def ellipses(table: ErrorTable, *, thresholds: Sequence[float]) -> Figure:
    """A cell for each landmark (three in 3D) with all its signed errors, prediction − truth."""
    import matplotlib.pyplot as plt

    views = _FLAT if table.dimension == 2 else _SOLID
    half = _half_width(table.offsets)
    across = _across(len(table.names), len(views))
    down = -(-len(table.names) // across)
    inch = 1.25 if len(table.names) <= 24 else 1.05
    wide, high = across * len(views) * (2 + _GAP), down * (2 + _ROOM)
    figure, axes = plt.subplots(
        figsize=(max(wide * inch / 2, 4.2) + 0.2, high * inch / 2 + 0.6), layout="constrained"
    )
    for k, name in enumerate(shortened(table.names, int(1.45 * 20 * len(views)))):
        offsets = table.offsets[:, k]
        offsets = offsets[np.isfinite(offsets).all(axis=1)]
        for v, view in enumerate(views):
            column = (k % across) * len(views) + v
            corner = (1 + column * (2 + _GAP), 1 + _ROOM + (k // across) * (2 + _ROOM))
            _cell(axes, view, offsets / half, np.array(corner), thresholds[0] / half)
            if v == 0:
                _title(axes, name, len(offsets), np.array(corner), len(views))
    axes.set(xlim=(-_GAP, wide), ylim=(high + 0.1, 0), aspect="equal")
    axes.set_axis_off()
    figure.supxlabel(_legend(table, half, thresholds[0]), fontsize=8)
    return figure


def _half_width(offsets: FloatArray) -> float:
    """Half a cell: all ellipses fit in, unless wild errors stretch one; those are only counted."""
    size = np.abs(offsets[np.isfinite(offsets)])
    if not size.size:
        return 1.0
    reach = 1.05 * max(_reach(offsets[:, k]) for k in range(offsets.shape[1]))
    most = 2.5 * float(np.percentile(size, 95))
    wanted = min(max(reach, 1.05 * float(np.percentile(size, 99))), most)
    return float(f"{wanted:.2g}") or 1.0


def _reach(offsets: FloatArray) -> float:
    """How far the 95 % ellipse of errors ``(N, D)`` comes from 0 along an axis."""
    known = offsets[np.isfinite(offsets).all(axis=1)]
    if len(known) < 3:
        return 0.0
    return float((np.abs(known.mean(axis=0)) + _RADIUS_95 * known.std(axis=0, ddof=1)).max())


def _across(count: int, planes: int) -> int:
    most = 8 if planes == 1 else 3
    best = int(np.ceil(np.sqrt(1.3 * count))) if planes == 1 else int(np.ceil(count / 8))
    return max(1, min(most, best, count))


def _legend(table: ErrorTable, half: float, threshold: float) -> str:
    circle = f"; dotted circle: {threshold:g} {table.unit}" if _fits(threshold / half) else ""
    axes = "x to the right, y down" if table.dimension == 2 else "planes: axial, coronal, sagittal"
    return (
        f"prediction − truth, each cell ±{half:g} {table.unit} ({axes});\n"
        f"line: 95 % ellipse of the covariance; + mean{circle}"
    )


def _fits(radius: float) -> bool:
    return 0.05 < radius <= 1


def _title(axes: Axes, name: str, count: int, corner: FloatArray, cells: int) -> None:
    room = 20 * cells
    text = name if count else f"{name}: none"
    size = 6.5 if len(text) <= room else 4.8
    axes.text(corner[0] - 1, corner[1] - 1.08, text, fontsize=size, ha="left", va="bottom",
              parse_math=False)  # fmt: skip


def _cell(axes: Axes, view: _View, offsets: FloatArray, centre: FloatArray, radius: float) -> None:
    """One cell about ``centre``; offsets are in half cells. The drawing's y axis runs down."""
    from matplotlib.patches import Circle, Rectangle

    points = offsets[:, [view.right, view.down]] * [1, view.down_sign]
    axes.add_patch(
        Rectangle(tuple(centre - 1), 2, 2, facecolor="#f6f8fa", edgecolor="#d0d7de", lw=0.6)
    )
    for ends in _cross(centre):
        axes.plot(*ends.T, color="#d0d7de", linewidth=0.6)
    if _fits(radius):
        axes.add_patch(Circle(tuple(centre), radius, fill=False, ls=":", lw=0.6, ec="#59636e"))
    inside = (np.abs(points) <= 1).all(axis=1)
    blue, _, _, _, _, red = colours(6)
    axes.plot(
        *(points[inside] + centre).T, ".", color=blue, markersize=3.4, alpha=0.65, markeredgewidth=0
    )
    outline = ellipse(points)
    outline = np.where((np.abs(outline) <= 1).all(axis=1, keepdims=True), outline, np.nan)
    axes.plot(*(outline + centre).T, color=red, linewidth=1.1)
    mean = points.mean(axis=0) if len(points) else np.full(2, np.inf)
    if (np.abs(mean) <= 1).all():
        axes.plot(*(mean + centre), "+", color="black", markersize=5)
    _notes(axes, view, centre, int((~inside).sum()))


def _cross(centre: FloatArray) -> Iterator[FloatArray]:
    yield centre + np.array([[-1, 0], [1, 0]])
    yield centre + np.array([[0, -1], [0, 1]])


def _notes(axes: Axes, view: _View, centre: FloatArray, beyond: int) -> None:
    places = ((-0.95, 0), (0.95, 0), (0, -0.93), (0, 0.93))
    aligned = (("left", "center"), ("right", "center"), ("center", "top"), ("center", "bottom"))
    for letter, place, (ha, va) in zip(view.letters, places, aligned, strict=True):
        x, y = centre + place
        axes.text(x, y, letter, fontsize=5, color="#59636e", ha=ha, va=va)
    if beyond:
        x, y = centre + 0.94
        axes.text(x, y, f"{beyond} beyond", fontsize=5, color="#d55e00", ha="right", va="bottom")
