"""Pictures of images with their landmarks: true to spacing, labelled, readable without colour.

A 2D image is shown as it is stored. A volume is cut along the anatomical planes through each
point, oblique grids included: patient left is on the right of axial and coronal planes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anatomark.data import Image, Landmarks
from anatomark.errors import GeometryError, UsageError, listed
from anatomark.frames import DOTS, Extent, flat_extent, flat_places, framed
from anatomark.geometry import FloatArray, Grid
from anatomark.io.files import suffix_of, writing
from anatomark.labels import place_labels
from anatomark.sampling import resample
from anatomark.words import wrapped, write_around

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.path import Path as MplPath

MARK, OUTLINE = "#ffb000", "#000000"  # amber on black: clear on grey for every kind of sight
WORDS = "#ffffff"  # of what is written on an image: on grey, and on what is drawn in amber
DOUBT = "#ff5fa2"  # pink, and a dot in the open middle, so that colour is not all that tells
PICTURE_SUFFIXES = (".png", ".jpg", ".svg", ".pdf")
_WINDOW = (1.0, 99.5)  # percentiles shown as black and white
_AIR = 0.06  # of the range above its lowest value


@dataclass(frozen=True)
class Plane:
    """An anatomical plane: which world axes run to the right and down, and their letters."""

    name: str
    right: int
    down: int
    down_sign: int
    letters: tuple[str, str, str, str]  # left, right, top, bottom

    @property
    def normal(self) -> int:
        """The world axis across the plane."""
        return 3 - self.right - self.down


PLANES = (
    Plane("axial", 0, 1, 1, ("R", "L", "A", "P")),
    Plane("coronal", 0, 2, -1, ("R", "L", "S", "I")),
    Plane("sagittal", 1, 2, -1, ("A", "P", "S", "I")),
)

_THIN = 0.15  # of the largest extent: in a panel so thin letters, scale and points hide each other


def draw(
    image: Image,
    landmarks: Landmarks | None = None,
    *,
    title: str = "",
    radius: Mapping[str, float] | None = None,
    note: str = "",
    doubtful: Iterable[str] = (),
) -> Figure:
    """Draw the image with its landmarks; a volume as three planes through each present point.

    ``radius`` of some landmarks, in the unit of the image, is drawn as a ring; NaN draws none.
    ``note`` is a line below the picture; what it cannot show is said there, too. Names of
    ``doubtful`` landmarks get a question mark and, in 2D, another colour.
    """
    if landmarks is not None and landmarks.dimension != image.grid.dimension:
        raise GeometryError(
            f"the image is {image.grid.dimension}D, the landmarks are {landmarks.dimension}D"
        )
    if landmarks is not None and landmarks.unit != image.grid.unit:
        raise GeometryError(
            f"the landmarks are in {landmarks.unit}, the image in {image.grid.unit}",
            fix="give the image its spacing",
        )
    flat = _shown(image)
    rings = {name: r for name, r in (radius or {}).items() if np.isfinite(r)}
    parts = [note] if note else []
    parts += [] if landmarks is None else _notes(landmarks, image.grid, rings)
    doubts = frozenset(doubtful)
    if doubts:
        parts.append(f"?: doubtful, {len(doubts)} of {0 if landmarks is None else len(landmarks)}")
    drawn = _draw_flat if image.grid.dimension == 2 else _draw_planes
    return drawn(flat, landmarks, title, rings, "; ".join(parts), doubts)


def save_picture(figure: Figure, path: str | PathLike[str]) -> None:
    """Write a figure as PNG (or what the extension says), whole or not at all."""
    import matplotlib.pyplot as plt

    check_picture(path)
    # Level 6, the usual one, takes most of the time of a picture, for a file a tenth smaller.
    quick: dict[str, Any] = (
        {"pil_kwargs": {"compress_level": 2}} if suffix_of(path) == ".png" else {}
    )
    with writing(path) as temporary:
        figure.savefig(temporary, dpi=DOTS, facecolor=figure.get_facecolor(), **quick)
    plt.close(figure)


def check_picture(path: str | PathLike[str]) -> None:
    """Raise unless the extension is one of a picture."""
    if suffix_of(path) not in PICTURE_SUFFIXES:
        raise UsageError(
            "is not a picture file", path=path, fix=f"use one of {', '.join(PICTURE_SUFFIXES)}"
        )


def _shown(image: Image) -> Image:
    """What can be shown: one channel, or the colours of a flat picture."""
    if image.channels is None or (image.channels == 3 and image.grid.dimension == 2):
        return image
    return image.with_array(image.array.mean(axis=0))


def window_of(array: NDArray[Any]) -> tuple[float, float]:
    """Grey values that are shown as black and white; much air around a body does not count."""
    flat = array.ravel()
    some = flat[:: max(flat.size // 500_000, 1)].astype(np.float64)
    if not np.isfinite(some).all():  # many may be blank: take as many of the others
        finite = flat[np.isfinite(flat)]
        if not finite.size:
            return 0.0, 1.0
        some = finite[:: max(finite.size // 500_000, 1)].astype(np.float64)
    # Air around a body would take half of the grey values: it does not count if there is much.
    above = some[some > some.min() + _AIR * (some.max() - some.min())]
    if above.size < 0.75 * some.size and np.unique(above[:1000]).size > 1:
        some = above
    low, high = np.percentile(some, _WINDOW)
    if not high > low:
        low, high = some.min(), some.max()
    return float(low), float(high if high > low else low + 1)


# -- 2D ------------------------------------------------------------------------------------------


def _draw_flat(
    image: Image,
    landmarks: Landmarks | None,
    title: str,
    rings: Mapping[str, float],
    note: str,
    doubts: frozenset[str],
) -> Figure:
    grid = image.grid
    extent = flat_extent(grid)
    crowded = landmarks is not None and len(landmarks) > 25
    longest = 13.0 if crowded else 8.5
    figure, axes = framed(extent, longest, grid.unit, title=title, note=note)
    _show_flat(axes, image, extent)
    if landmarks is not None:
        here = landmarks.present
        spots = flat_places(grid, landmarks.points_mm[here])
        names = [n for n, p in zip(landmarks.names, here, strict=True) if p]
        doubtful = np.array([name in doubts for name in names], bool)
        _mark(axes, spots[~doubtful])
        _mark(axes, spots[doubtful], colour=DOUBT)
        axes.scatter(spots[doubtful, 0], spots[doubtful, 1], s=6, c=DOUBT, linewidths=0)
        _rings(axes, spots, [rings.get(name) for name in names])
        place_labels(axes, spots, [f"{n}?" if n in doubts else n for n in names])
    return figure


def _show_flat(axes: Axes, image: Image, extent: Extent) -> None:
    low, high = window_of(image.array)
    shown, extent = _reduced(image.array, extent, *axes.get_window_extent().size)
    if image.channels is not None:
        shown = np.clip((np.moveaxis(shown.astype(np.float64), 0, -1) - low) / (high - low), 0, 1)
    axes.imshow(
        shown, cmap="gray", vmin=low, vmax=high, extent=extent, interpolation="nearest",
        aspect="equal",
    )  # fmt: skip


def _reduced(
    array: NDArray[Any], extent: Extent, across: float, down: float
) -> tuple[NDArray[Any], Extent]:
    """Means of whole blocks, as small as so many pixels allow: of many pixels none is left out."""
    high, wide = array.shape[-2:]
    step = int(min(wide / across, high / down))
    if step < 2:
        return array, extent
    rows, columns = high // step * step, wide // step * step
    parts = [
        array[..., y:rows:step, x:columns:step].astype(np.float32)
        for y in range(step)
        for x in range(step)
    ]
    left, right, bottom, top = extent
    right, bottom = left + (right - left) * columns / wide, top + (bottom - top) * rows / high
    return sum(parts[1:], start=parts[0]) / step**2, (left, right, bottom, top)


def _cross() -> MplPath:
    """A cross that is open in the middle, so that the point itself can be seen."""
    from matplotlib.path import Path as MplPath

    arms = [((0.3 * x, 0.3 * y), (x, y)) for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1))]
    vertices = [end for arm in arms for end in arm]
    return MplPath(vertices, [MplPath.MOVETO, MplPath.LINETO] * 4)


def _mark(axes: Axes, spots: FloatArray, size: float = 60, colour: str = MARK) -> None:
    axes.scatter(spots[:, 0], spots[:, 1], s=size, marker=_cross(), c=OUTLINE, linewidths=2.6)
    axes.scatter(spots[:, 0], spots[:, 1], s=size, marker=_cross(), c=colour, linewidths=1.2)


def _rings(axes: Axes, spots: FloatArray, radii: Sequence[float | None]) -> None:
    from matplotlib.collections import EllipseCollection

    known = [(spot, 2 * r) for spot, r in zip(spots, radii, strict=True) if r is not None]
    wide = [diameter for _, diameter in known]
    for colour, width in ((OUTLINE, 1.6), (MARK, 0.7)) if known else ():
        rings = EllipseCollection(
            wide, wide, np.zeros(len(wide)), units="xy", offsets=[spot for spot, _ in known],
            offset_transform=axes.transData, facecolors="none", edgecolors=colour,
            linewidths=width,
        )  # fmt: skip
        axes.add_collection(rings, autolim=False)


def _notes(landmarks: Landmarks, grid: Grid, rings: Mapping[str, float]) -> list[str]:
    """Name what cannot be seen, absent landmarks and those beside the image, and what rings are."""
    absent = [n for n, p in zip(landmarks.names, landmarks.present, strict=True) if not p]
    beside = landmarks.present & ~grid.contains(np.nan_to_num(landmarks.points_mm))
    outside = [n for n, out in zip(landmarks.names, beside, strict=True) if out]
    notes = [
        f"{what}: {listed(names, 6)}"
        for what, names in (("absent", absent), ("outside the image", outside))
        if names
    ]
    return [*notes, *(["ring: radius that holds 95 % of errors"] if rings else [])]


# -- 3D ------------------------------------------------------------------------------------------


def _draw_planes(
    image: Image,
    landmarks: Landmarks | None,
    title: str,
    rings: Mapping[str, float],
    note: str,
    doubts: frozenset[str],
) -> Figure:
    from matplotlib.figure import Figure

    rows, planes = _rows(image, landmarks), planes_worth_showing(image.grid)
    across = 1 if len(rows) <= 4 else 2 if len(rows) <= 16 else 3
    height, wide = -(-len(rows) // across), len(planes)
    size = (2.2 * wide * across, 2.35 * height + 0.5) if wide > 1 else (6.0, 6.3 * height)
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    write_around(figure, title, note)
    all_axes = figure.subplots(height, wide * across, squeeze=False)
    window = window_of(image.array)
    if image.array.dtype.kind in "biu":  # outside an oblique volume a plane is empty, not 0
        image = image.with_array(image.array.astype(np.float32))
    for axes in all_axes.ravel():
        axes.set_visible(False)
    for number, (name, point) in enumerate(rows):
        trio = all_axes[number % height, wide * (number // height) :][:wide]
        for axes, plane in zip(trio, planes, strict=True):
            axes.set_visible(True)
            draw_plane(axes, image, plane, point, window=window, mark=landmarks is not None)
            _rings(axes, point[None, [plane.right, plane.down]], [rings.get(name)])
        place = ", ".join(f"{value:.1f}" for value in point)
        where = "" if image.grid.contains(point) else "\noutside the image"
        called = wrapped(f"{name}{'?' if name in doubts else ''}", 2.1 if wide > 1 else 5.5, 8)
        label = f"{called}\n({place}) {image.grid.unit}{where}"
        trio[0].set_ylabel(label, fontsize=8, parse_math=False)
    for number, axes in enumerate(all_axes[0]):
        axes.set_title(planes[number % wide].name, fontsize=8)
    return figure


def planes_worth_showing(grid: Grid) -> tuple[Plane, ...]:
    """All three, but for a thin slab (a few slices, say) only the one that shows its face."""
    corners = grid.corners()
    extent = corners.max(axis=0) - corners.min(axis=0)
    thin = extent < _THIN * extent.max()
    faces = tuple(p for p in PLANES if not (thin[p.right] or thin[p.down]))
    return faces or PLANES


def _rows(image: Image, landmarks: Landmarks | None) -> list[tuple[str, FloatArray]]:
    """Name and point of each row; the middle of the image where there is no landmark."""
    if landmarks is None or not landmarks.present.any():
        return [("centre", image.grid.centre)]
    points = zip(landmarks.names, landmarks.points_mm, landmarks.present, strict=True)
    return [(name, point) for name, point, here in points if here]


def draw_plane(
    axes: Axes,
    image: Image,
    plane: Plane,
    point_mm: FloatArray,
    *,
    window: tuple[float, float],
    mark: bool = True,
) -> None:
    """Draw the plane of a volume through a world point, with orientation letters and a scale."""
    shown, extent = cut(image, plane, point_mm)
    axes.imshow(shown, cmap="gray", vmin=window[0], vmax=window[1], extent=extent)
    if mark:
        _mark(axes, np.array([[point_mm[plane.right], point_mm[plane.down]]]), size=110)
    axes.set_facecolor("black")
    axes.set_xlim(extent[0], extent[1])
    axes.set_ylim(extent[2], extent[3])
    axes.set_xticks([])
    axes.set_yticks([])
    _scale_bar(axes, extent, image.grid.unit)
    places = ((0.03, 0.5), (0.97, 0.5), (0.5, 0.97), (0.5, 0.03))
    aligned = (("left", "center"), ("right", "center"), ("center", "top"), ("center", "bottom"))
    for letter, (x, y), (ha, va) in zip(plane.letters, places, aligned, strict=True):
        # Large and bold: of a small L the foot is lost in some places, and it reads I.
        axes.text(
            x, y, letter, transform=axes.transAxes, ha=ha, va=va, fontsize=9.5, weight="bold",
            color=WORDS, path_effects=halo(2.6),
        )  # fmt: skip


def halo(width: float) -> list[Any]:
    """A dark line around words, so that they can be read on any grey."""
    from matplotlib import patheffects

    return [patheffects.withStroke(linewidth=width, foreground=OUTLINE)]


def _scale_bar(axes: Axes, extent: Extent, unit: str) -> None:
    """A bar of a round length, a sixth to a third of the width, in the lower left corner."""
    left, right, bottom, top = extent
    wanted = (right - left) / 3
    power = 10.0 ** np.floor(np.log10(wanted))
    length = float(max(step * power for step in (1, 2, 5) if step * power <= wanted))
    x, y = left + 0.05 * (right - left), bottom + 0.06 * (top - bottom)
    axes.plot([x, x + length], [y, y], color=OUTLINE, linewidth=3.6, solid_capstyle="butt")
    axes.plot([x, x + length], [y, y], color=WORDS, linewidth=1.6, solid_capstyle="butt")
    label = f"{length:g} {unit}"
    axes.text(
        x, y + 0.03 * (top - bottom), label, fontsize=7, color=WORDS, va="bottom",
        path_effects=halo(2.0),
    )  # fmt: skip


def cut(
    image: Image, plane: Plane, point_mm: FloatArray
) -> tuple[NDArray[Any], tuple[float, float, float, float]]:
    """Resample one world plane at the finest spacing; returns values and their mm extent."""
    target, extent = plane_grid(image.grid, plane, point_mm)
    if image.array.dtype.kind in "biu":
        image = image.with_array(image.array.astype(np.float32))
    return resample(image, target, fill=np.nan).array[0], extent


def plane_grid(grid: Grid, plane: Plane, point_mm: FloatArray) -> tuple[Grid, Extent]:
    """One world plane through a volume, as wide as that, and its left, right, bottom and top."""
    corners = grid.corners()
    low, high = corners.min(axis=0), corners.max(axis=0)
    step = float(max(grid.spacing.min(), (high - low).max() / 600))
    counts = np.maximum(np.ceil((high - low) / step).astype(int), 1)
    columns, lines = int(counts[plane.right]), int(counts[plane.down])
    direction = np.zeros((3, 3))
    direction[plane.right, 0] = 1
    direction[plane.down, 1] = plane.down_sign
    direction[plane.normal, 2] = 1
    origin = np.array(point_mm)
    origin[plane.right] = low[plane.right] + step / 2
    top = low[plane.down] if plane.down_sign > 0 else high[plane.down]
    origin[plane.down] = top + plane.down_sign * step / 2
    target = Grid((1, lines, columns), (step,) * 3, origin, direction, unit=grid.unit)
    left = float(low[plane.right])
    bottom = float(top + plane.down_sign * step * lines)
    return target, (left, left + step * columns, bottom, float(top))
