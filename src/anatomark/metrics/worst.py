"""The worst of an evaluation: lists, and pictures of truth beside prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from anatomark.data import Image, Landmarks
from anatomark.errors import listed
from anatomark.frames import flat_places
from anatomark.geometry import FloatArray
from anatomark.metrics.errors import ErrorTable
from anatomark.pictures import MARK, OUTLINE, PLANES, draw, draw_plane
from anatomark.words import wrapped, write_around

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PREDICTED = "#56b4e9"  # sky blue beside the amber of the truth: clear to every kind of sight
_NAMED = 4  # points whose names are written into a picture of a film
_MARKS = "amber cross: truth · blue ring: prediction"
_ROWS = 3  # points of a volume that are shown, three planes each


class Outlier(NamedTuple):
    """A point and its radial error, in the unit of the table."""

    case: str
    name: str
    error: float


def largest_errors(table: ErrorTable, count: int = 10) -> list[Outlier]:
    """The points with the largest errors, the worst first."""
    flat = np.where(np.isfinite(table.errors), table.errors, -1.0).ravel()
    order = np.argsort(-flat, kind="stable")[:count]
    rows, columns = np.unravel_index(order, table.errors.shape)
    return [
        Outlier(table.cases[i], table.names[k], float(table.errors[i, k]))
        for i, k in zip(rows, columns, strict=True)
        if np.isfinite(table.errors[i, k])
    ]


def worst_cases(table: ErrorTable, count: int = 5) -> list[int]:
    """Rows of the cases with the largest mean error, the worst first.

    Cases none of whose points were found come before all others.
    """
    known = np.isfinite(table.errors)
    sums = np.where(known, table.errors, 0.0).sum(axis=1)
    counts = known.sum(axis=1)
    lost = (counts == 0) & (table.truth & table.asked).any(axis=1)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.where(lost, np.inf, -1.0))
    order = np.argsort(-means, kind="stable")[:count]
    return [int(i) for i in order if counts[i] or lost[i]]


def draw_case(image: Image, true: Landmarks, found: Landmarks, *, title: str) -> Figure:
    """The image with the truth (amber crosses) and the prediction (blue rings), joined by lines.

    Of a volume the planes through the true points with the largest errors are shown.
    """
    found = found.select(true.names, missing="absent")
    if image.grid.dimension == 2:
        return _film(image, true, found, title)
    return _volume(image, true, found, title)


def _ranked(true: Landmarks, found: Landmarks) -> list[int]:
    """Rows by error, the largest first; points that only one of both has come before all."""
    errors = np.linalg.norm(found.points_mm - true.points_mm, axis=1)
    errors = np.where(true.present ^ found.present, np.inf, errors)
    order = np.argsort(-np.where(np.isnan(errors), -1.0, errors), kind="stable")
    return [int(k) for k in order if not np.isnan(errors[k])]


def _film(image: Image, true: Landmarks, found: Landmarks, title: str) -> Figure:
    figure = draw(image, title=title, note=_note(image, found))
    axes = figure.axes[0]
    limits = axes.get_xlim(), axes.get_ylim()
    both = [flat_places(image.grid, m.points_mm) for m in (true, found)]
    _pairs(axes, both[0], both[1])
    for k in _ranked(true, found)[:_NAMED]:
        spot = both[0][k] if true.present[k] else both[1][k]
        _write(axes, spot, _named(true, found, k))
    # A prediction far outside must not shrink the image.
    axes.set_xlim(limits[0])
    axes.set_ylim(limits[1])
    return figure


def _note(image: Image, found: Landmarks) -> str:
    """What the marks are, and which predictions lie where no picture of the image shows them."""
    beside = found.present & ~image.grid.contains(np.nan_to_num(found.points_mm))
    names = [name for name, out in zip(found.names, beside, strict=True) if out]
    return f"{_MARKS} · predicted outside the image: {listed(names, 6)}" if names else _MARKS


def _named(true: Landmarks, found: Landmarks, k: int) -> str:
    name = true.names[k]
    if not found.present[k]:
        return f"{name}: missed"
    if not true.present[k]:
        return f"{name}: not there"
    error = float(np.linalg.norm(found.points_mm[k] - true.points_mm[k]))
    return f"{name}: {error:.1f} {true.unit}"


def _write(axes: Axes, spot: FloatArray, text: str) -> None:
    from matplotlib import patheffects

    left, right = sorted(axes.get_xlim())
    side = "right" if spot[0] > left + 0.6 * (right - left) else "left"
    shift = -7 if side == "right" else 7
    axes.annotate(
        text, tuple(spot), xytext=(shift, 5), textcoords="offset points", fontsize=8, color="white",
        ha=side, path_effects=[patheffects.withStroke(linewidth=2, foreground="black")],
        annotation_clip=False, parse_math=False,
        zorder=6,
    )  # fmt: skip


def _pairs(axes: Axes, true: FloatArray, found: FloatArray) -> None:
    """Lines, crosses and rings; NaN draws nothing."""
    for a, b in zip(true, found, strict=True):
        for width, colour in ((2.6, OUTLINE), (1.1, "white")):
            axes.plot([a[0], b[0]], [a[1], b[1]], color=colour, linewidth=width, zorder=3)
    for width, cross, ring in ((2.8, OUTLINE, OUTLINE), (1.3, MARK, PREDICTED)):
        axes.scatter(true[:, 0], true[:, 1], s=42, marker="x", c=cross, linewidths=width, zorder=4)
        axes.scatter(
            found[:, 0], found[:, 1], s=42, marker="o", facecolors="none", edgecolors=ring,
            linewidths=width, zorder=5,
        )  # fmt: skip


def _volume(image: Image, true: Landmarks, found: Landmarks, title: str) -> Figure:
    import matplotlib.pyplot as plt

    rows = _ranked(true, found)[:_ROWS]
    figure, all_axes = plt.subplots(
        max(len(rows), 1), 3, figsize=(8.4, 2.9 * max(len(rows), 1) + 0.7), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    window = _window(image)
    for trio, k in zip(all_axes, rows, strict=False):
        point = true.points_mm[k] if true.present[k] else found.points_mm[k]
        trio[0].set_ylabel(wrapped(_named(true, found, k), 2.6, 8), fontsize=8, parse_math=False)
        for axes, plane in zip(trio, PLANES, strict=True):
            draw_plane(axes, image, plane, point, window=window, mark=False)
            axes.set_title(plane.name, fontsize=8)
            place = [plane.right, plane.down]
            limits = axes.get_xlim(), axes.get_ylim()
            _pairs(axes, true.points_mm[[k]][:, place], found.points_mm[[k]][:, place])
            axes.set_xlim(limits[0])
            axes.set_ylim(limits[1])
    write_around(figure, title, _note(image, found))
    return figure


def _window(image: Image) -> tuple[float, float]:
    values: Sequence[float] = np.nanpercentile(image.array, [1, 99.5]).tolist()
    return float(values[0]), float(max(values[1], values[0] + 1e-6))
