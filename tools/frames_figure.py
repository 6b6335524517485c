"""Draw ``docs/figures/frames.png``: the frames of docs/coordinates.md, and which way maps go.

    python tools/frames_figure.py

Every place in the picture is computed by ``Grid`` and ``Affine``: it shows what the code does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Polygon, Rectangle

from anatomark import Affine, Grid
from anatomark.geometry import FloatArray

OUT = Path(__file__).resolve().parents[1] / "docs" / "figures" / "frames.png"
# Okabe and Ito's colours, told apart by colour-blind readers; black text on white.
INDEX, WORLD, RAS, POINT = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
GREY, SHADE = "#555555", "#DCE9F3"
BOLD: dict[str, Any] = {"fontweight": "bold"}


def _arrow(axes: Any, start: Any, end: Any, colour: str, text: str, at: Any, **style: Any) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 2.2})
    axes.text(*at, text, color=colour, ha="center", va="center", fontsize=11, **style)


def _bare(axes: Any, title: str) -> None:
    axes.set_aspect("equal")
    axes.axis("off")
    axes.set_title(title, fontsize=12.5, loc="left", **BOLD)


def draw_pixels(axes: Any) -> None:
    """Pixels of 2 mm: centre, outer corner, normalised."""
    grid = Grid((2, 4), spacing=(2.0, 2.0), origin=(0.0, 0.0))
    for x in range(4):
        for y in range(2):
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fc=SHADE, ec=GREY, lw=1.2))
            axes.plot(x, y, "o", color=INDEX, ms=6)
    for x in range(4):
        axes.text(x, 1.85, f"{x}", color=INDEX, ha="center", va="center", fontsize=11, **BOLD)
        mm = grid.to_world(np.array([float(x), 0.0]))[0]
        axes.text(x, 2.4, f"{mm:g}", color=WORLD, ha="center", va="center", fontsize=11, **BOLD)
    for x in (-0.5, 3.5):
        ends = grid.to_normalised(grid.to_world(np.array([x, 0.0])))[0]
        axes.text(
            x, 2.95, f"{ends:+.0f}".replace("-", "−"), ha="center", va="center", fontsize=11, **BOLD
        )
        axes.plot([x, x], [1.5, 2.75], color="black", lw=0.8, ls=":")
    middle = grid.to_normalised(grid.to_world(np.array([1.5, 0.0])))[0]
    axes.text(1.5, 2.95, f"{abs(middle):.0f}", ha="center", va="center", fontsize=11, **BOLD)
    for y, text, colour in (
        (1.85, "index", INDEX), (2.4, "mm", WORLD), (2.95, "normalised", "black"),
    ):  # fmt: skip
        axes.text(-0.95, y, text, color=colour, ha="right", va="center", fontsize=11)
    axes.annotate(
        "index 0 = CENTRE\nof the first pixel", (0, 0), (0.7, -1.25), color=INDEX, fontsize=11,
        ha="left", va="center", arrowprops={"arrowstyle": "->", "color": INDEX},
    )  # fmt: skip
    axes.annotate(
        "outer CORNER: −0.5\n(0 in some tables)", (-0.5, -0.5), (-0.9, -1.25), color="black",
        fontsize=11, ha="right", va="center", arrowprops={"arrowstyle": "->", "color": "black"},
    )  # fmt: skip
    axes.plot(-0.5, -0.5, "s", color="black", ms=6)
    axes.set(xlim=(-3.4, 4.2), ylim=(3.4, -1.9))
    _bare(axes, "1  A pixel's index is its centre")


def draw_worlds(axes: Any) -> None:
    """An oblique axial slice in the patient: index axes, LPS axes, RAS axes, and one point."""
    turn = np.deg2rad(-20.0)
    direction = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    grid = Grid((3, 4), spacing=(15.0, 15.0), origin=(-34.0, 22.0), direction=direction)
    around = np.linspace(0, 2 * np.pi, 200)  # a body seen from the feet: left is right
    axes.fill(88 * np.cos(around), 66 * np.sin(around), fc="#F3F0EA", ec=GREY, lw=1.2)
    for x in range(4):
        for y in range(3):
            face = [[x - 0.5, y - 0.5], [x + 0.5, y - 0.5], [x + 0.5, y + 0.5], [x - 0.5, y + 0.5]]
            axes.add_patch(Polygon(_at(grid, face), fc=SHADE, ec=GREY, lw=1.0))
    first, along, down, point = _at(grid, [[0, 0], [2.2, 0], [0, 2.2], [3, 2]])
    _arrow(axes, first, along, INDEX, "index x", _at(grid, [1.3, -0.85]), rotation=20)
    _arrow(axes, first, down, INDEX, "index y", _at(grid, [-0.95, 1.2]), rotation=-70)
    axes.plot(*first, "o", color=INDEX, ms=7)
    axes.plot(*point, "P", color=POINT, ms=13, mec="black")
    _arrow(axes, (-62, -30), (-20, -30), WORLD, "x: left", (-36, -37), **BOLD)
    _arrow(axes, (-62, -30), (-62, 12), WORLD, "y: back", (-62, 19), **BOLD)
    axes.text(-42, -12, "LPS", color=WORLD, ha="center", fontsize=13, **BOLD)
    _arrow(axes, (64, -12), (24, -12), RAS, "x: right", (43, -5), **BOLD)
    _arrow(axes, (64, -12), (64, -36), RAS, "y: front", (46, -38), **BOLD)
    axes.text(43, -19, "RAS", color=RAS, ha="center", fontsize=13, **BOLD)
    for text, at in (("R", (-97, 0)), ("L", (97, 0)), ("A", (0, -75)), ("P", (0, 77))):
        axes.text(*at, text, ha="center", va="center", fontsize=12, **BOLD)
    x, y = point
    told = f"LPS ({x:.1f}, {y:.1f}) mm = RAS ({-x:.1f}, {-y:.1f}) mm".replace("-", "−")
    told = f"the point is at index (3, 2),\n{told}"
    axes.annotate(
        told, point, (0, 100), ha="center", va="center", fontsize=11,
        arrowprops={"arrowstyle": "->", "color": "black"},
    )  # fmt: skip
    axes.text(
        0,
        118,
        "axial, seen from the feet; z runs to the head in LPS and RAS",
        ha="center",
        fontsize=10,
    )
    axes.set(xlim=(-112, 112), ylim=(122, -84))
    _bare(axes, "2  One point, three frames")


def _at(grid: Grid, index: Any) -> FloatArray:
    return grid.to_world(np.asarray(index, dtype=float))


def draw_maps(axes: Any) -> None:
    """Points are pushed from the moving to the fixed image; voxels are pulled the other way."""
    push = Affine([[1.0, 0.0], [0.0, 1.0]], [9.0, 0.0])
    for left, name in ((0.0, "moving image"), (9.0, "fixed image")):
        for x in range(4):
            for y in range(4):
                axes.add_patch(Rectangle((left + x, y), 1, 1, fc=SHADE, ec=GREY, lw=1.0))
        axes.text(left + 2, 4.55, name, ha="center", va="center", fontsize=12, **BOLD)
    here = np.array([[2.6, 1.1]])
    there = push(here)
    for place in (here[0], there[0]):
        axes.plot(*place, "P", color=POINT, ms=13, mec="black", zorder=5)
    _curve(axes, here[0], there[0], WORLD, -0.35)
    axes.text(6.6, -1.75, "push: where does this POINT go?", color=WORLD, ha="center", fontsize=11)
    axes.text(6.6, -1.15, "map(point)", color=WORLD, ha="center", fontsize=11, **BOLD)
    voxel = np.array([[10.5, 2.5]])
    source = push.inverse()(voxel)
    axes.add_patch(Rectangle((10, 2), 1, 1, fc="none", ec=INDEX, lw=2.6, zorder=4))
    axes.plot(*source[0], "o", color=INDEX, ms=8, zorder=5)
    _curve(axes, voxel[0], source[0], INDEX, -0.42)
    axes.text(6.2, 5.45, "map.inverse()(voxel)", color=INDEX, ha="center", fontsize=11, **BOLD)
    axes.text(
        6.2, 6.05, "pull: where does this VOXEL take its value from?", color=INDEX, ha="center",
        fontsize=11,
    )  # fmt: skip
    axes.text(
        6.2, 7.2, "same movement, opposite arrows: "
        "resample(…, push=map) is resample(…, pull=map.inverse());\n"
        'transform files of ITK, elastix and 3D Slicer hold the pull: direction="image"',
        ha="center", va="center", fontsize=11,
    )  # fmt: skip
    axes.set(xlim=(-3.2, 16.2), ylim=(8.0, -2.4))
    _bare(axes, "3  Points push, images pull")


def _curve(axes: Any, start: Any, end: Any, colour: str, bend: float) -> None:
    axes.annotate(
        "", end, start, zorder=6,
        arrowprops={
            "arrowstyle": "-|>", "color": colour, "lw": 2.2, "shrinkA": 6, "shrinkB": 7,
            "connectionstyle": f"arc3,rad={bend}",
        },
    )  # fmt: skip


def main() -> None:
    figure = plt.figure(figsize=(9.8, 9.6), facecolor="white", layout="constrained")
    figure.get_layout_engine().set(h_pad=0.12, w_pad=0.12)
    top, bottom = figure.subfigures(2, 1, height_ratios=(0.9, 1.0))
    left, right = top.subplots(1, 2, width_ratios=(1.0, 1.25))
    draw_pixels(left)
    draw_worlds(right)
    draw_maps(bottom.subplots())
    for part in (top, bottom):
        part.set_facecolor("white")
    figure.savefig(OUT, dpi=110, facecolor="white")


if __name__ == "__main__":
    main()
