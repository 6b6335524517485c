"""Pictures of votes (Noothout 2020, Fig. 5): where patches say that a landmark is.

They show what the network sees: its own grid and grey values. A volume is cut across its last
axis, through the point.
"""

from __future__ import annotations

import math
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from anatomark.data import Landmarks
from anatomark.geometry import FloatArray
from anatomark.inference.detector import Detector
from anatomark.methods.base import Ballot
from anatomark.models.preparation import Prepared
from anatomark.pictures import save_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ARROW, _PATCH, _POINT = "#e69f00", "#009e73", "#cc79a7"  # told apart by every kind of sight
_LIKELY = 0.5
_ACROSS = 4
_MOST = 900  # arrows in a panel
_LEAST = 0.02  # posterior of a patch, relative to the highest, whose arrow is shown


def write_votes(
    detector: Detector, ready: Prepared, landmarks: Landmarks, path: str | PathLike[str]
) -> list[str]:
    """Draw the votes on one image, ``PATH-global.png`` and so on; returns the files."""
    written = []
    for stage, ballot in detector.votes(ready).items():
        file = f"{path}-{stage}.png"
        save_picture(draw_votes(ballot, ready, landmarks, title=f"{stage} votes"), file)
        written.append(file)
    return written


def draw_votes(ballot: Ballot, ready: Prepared, landmarks: Landmarks, *, title: str) -> Figure:
    """A panel for each landmark: its patches, what they say, and where the point is."""
    from matplotlib.figure import Figure as NewFigure

    across = min(_ACROSS, len(landmarks))
    down = -(-len(landmarks) // across)
    figure = NewFigure(
        figsize=(3.2 * across, 3.4 * down + 0.6), layout="constrained", facecolor="white"
    )
    panels = figure.subplots(down, across, squeeze=False)
    for axes in panels.ravel():
        axes.set_axis_off()
    points = np.asarray(ready.grid.to_index(landmarks.points_mm))
    for row, axes in enumerate(panels.ravel()[: len(landmarks)]):
        _panel(axes, ballot, ready, row, points[row], shown=bool(landmarks.present[row]))
        words = (
            landmarks.names[row] if landmarks.present[row] else f"{landmarks.names[row]}: absent"
        )
        axes.set_title(words, fontsize=9, parse_math=False)
    figure.suptitle(title, fontsize=11, parse_math=False)
    figure.supxlabel(
        "arrows: from a patch towards where it says the landmark is; squares: patches that hold it "
        "with more than 0.5; cross: the point as reported",
        fontsize=8,
    )
    return figure


def _panel(
    axes: Axes, ballot: Ballot, ready: Prepared, row: int, point: FloatArray, *, shown: bool
) -> None:
    size = np.array(ready.grid.size_xyz)
    centres = _indices(ballot.centres[0, row].numpy(), size)
    votes = _indices(ballot.votes[0, row].numpy(), size)
    patch = ballot.size[0].numpy() * size / 2
    weight = np.ones(len(centres))
    if ballot.posterior is not None:
        weight = ballot.posterior[0, row].numpy().ravel()
    image, here = ready.array[0], np.ones(len(centres), bool)
    if len(size) == 3:
        depth = float(np.clip(point[2] if shown else votes[weight.argmax(), 2], 0, size[2] - 1))
        image = image[round(depth)]
        here = np.abs(centres[:, 2] - depth) <= patch[2] / 2
    _background(axes, image, centres, patch)
    _arrows(axes, centres[here, :2], votes[here, :2], weight[here], patch[:2])
    _likely(axes, centres[here & (weight > _LIKELY), :2], patch[:2])
    if shown:
        axes.plot(*point[:2], marker="x", color=_POINT, markersize=9, markeredgewidth=2)


def _indices(normalised: FloatArray, size: FloatArray) -> FloatArray:
    """Voxel indices ``(N, D)`` of normalised positions ``(D, *patches)``."""
    flat = normalised.reshape(len(size), -1).T.astype(np.float64)
    return (flat + 1) / 2 * size - 0.5


def _background(axes: Axes, image: FloatArray, centres: FloatArray, patch: FloatArray) -> None:
    low, high = np.percentile(image, (1, 99))
    axes.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="nearest")
    first, last = centres[:, :2].min(0) - patch[:2] / 2, centres[:, :2].max(0) + patch[:2] / 2
    axes.set_xlim(first[0], last[0])
    axes.set_ylim(last[1], first[1])


def _arrows(
    axes: Axes, centres: FloatArray, votes: FloatArray, weight: FloatArray, patch: FloatArray
) -> None:
    """Arrows no longer than a patch, so that neighbours do not cover each other."""
    kept = weight >= _LEAST * weight.max(initial=0)
    step = max(math.ceil(kept.sum() / _MOST), 1)
    chosen = np.flatnonzero(kept)[::step]
    away = votes[chosen] - centres[chosen]
    length = np.linalg.norm(away, axis=1, keepdims=True)
    reach = patch.min() * step ** (1 / 2)
    away = away * np.minimum(1.0, 0.9 * reach / np.maximum(length, 1e-6))
    axes.quiver(
        *centres[chosen].T, *away.T, color=_ARROW, angles="xy", scale_units="xy", scale=1,
        width=0.004, headwidth=4,
    )  # fmt: skip


def _likely(axes: Axes, centres: FloatArray, patch: FloatArray) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    width, height = (float(v) for v in patch)
    boxes = [Rectangle((float(x) - width / 2, float(y) - height / 2), width, height)
             for x, y in centres]  # fmt: skip
    axes.add_collection(PatchCollection(boxes, facecolor="none", edgecolor=_PATCH, linewidth=1.4))
