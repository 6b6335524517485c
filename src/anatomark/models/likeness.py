"""Whether an image is like those that were trained on, and how much of a point's place it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from anatomark.geometry import FloatArray, Grid

MIN_CASES = 8
_LEAST_LIMIT = 4.0  # robust standard deviations
_BINS = 32
_BALL = 6  # sample points along an axis of a ball

WORDS = {
    "balance": "the place of the median grey value",
    "entropy": "the spread of grey values",
    "edges": "the strength of edges",
    "noise": "noise",
    "middle": "the brightness of the middle",
    "tails": "the share of extreme grey values",
    "view": "the part of the image that shows anything",
}


def image_statistics(array: NDArray[Any], view: NDArray[np.bool_]) -> dict[str, float]:
    """Statistics of grey values ``(*shape)`` within ``view``, none of which feels their scale."""
    values = np.asarray(array, np.float64)
    seen = values[view]
    low, middle, high = np.percentile(seen, (2, 50, 98))
    width = high - low
    if not width > 0:
        return {name: (float(view.mean()) if name == "view" else 0.0) for name in WORDS}
    scaled = (values - low) / width
    share = np.histogram(np.clip(scaled[view], 0, 1), _BINS, (0, 1))[0] / len(seen)
    known = share[share > 0]
    slopes = [np.abs(np.diff(scaled, axis=a)).mean() for a in range(values.ndim)]
    bend = sum(
        np.abs(np.diff(scaled, 2, axis=a))[_inner(values.ndim, a)] for a in range(values.ndim)
    )
    return {
        "balance": float((middle - low) / width),
        "entropy": float(-(known * np.log2(known)).sum()),
        "edges": float(np.log(np.mean(slopes) + 1e-6)),
        # The median passes over edges, which are few.
        "noise": float(np.log(np.median(np.asarray(bend)[view[_core(values.ndim)]]) + 1e-3)),
        "middle": float(scaled[_middle(values.shape)].mean() - scaled[view].mean()),
        "tails": float(np.log1p((seen.max() - seen.min()) / width)),
        "view": float(view.mean()),
    }


def raw_statistics(array: NDArray[Any], dimension: int) -> dict[str, float]:
    """Statistics of an image as it was read, first channel, on at most 128 voxels an axis."""
    first = array[0] if array.ndim > dimension else array
    few = first[tuple(slice(None, None, max(n // 128, 1)) for n in first.shape)]
    return image_statistics(few, field_of_view(few))


def _middle(shape: tuple[int, ...]) -> Any:
    return tuple(slice(n // 4, n - n // 4) for n in shape)


def _inner(ndim: int, axis: int) -> Any:
    return tuple(slice(None) if a == axis else slice(1, -1) for a in range(ndim))


def _core(ndim: int) -> Any:
    return (slice(1, -1),) * ndim


def field_of_view(array: NDArray[Any]) -> NDArray[np.bool_]:
    """Voxels ``(*shape)`` that show something: all but a constant background at the border.

    Such a background surrounds the sector of an ultrasound or the circle of a CT.
    """
    from scipy.ndimage import label

    faces = np.concatenate(
        [np.take(array, i, axis=a).ravel() for a in range(array.ndim) for i in (0, -1)]
    )
    values, counts = np.unique(faces, return_counts=True)
    background = values[counts.argmax()]
    if counts.max() < 0.02 * len(faces):
        return np.ones(array.shape, bool)
    same, _ = label(array == background)
    border = np.unique(
        np.concatenate(
            [np.take(same, i, axis=a).ravel() for a in range(array.ndim) for i in (0, -1)]
        )
    )
    outside = np.isin(same, border[border > 0])
    # A film with some black pixels at its edge has no background.
    return ~outside if outside.mean() > 0.02 and not outside.all() else np.ones(array.shape, bool)


def part_in_view(
    points: FloatArray, radii: FloatArray, grid: Grid, view: NDArray[np.bool_]
) -> FloatArray:
    """Part ``(L,)`` of a ball of ``radii`` about each world point that lies in the view."""
    axis = (np.arange(_BALL) + 0.5) / _BALL * 2 - 1
    ball = np.stack(np.meshgrid(*[axis] * grid.dimension, indexing="ij"), -1)
    ball = ball.reshape(-1, grid.dimension)
    ball = ball[(ball**2).sum(1) <= 1]
    parts = np.full(len(points), np.nan)
    for row, (point, radius) in enumerate(zip(points, radii, strict=True)):
        if not np.isfinite(point).all():
            continue
        index = np.rint(np.asarray(grid.to_index(point + ball * radius))).astype(int)
        here = ((index >= 0) & (index < grid.size_xyz)).all(1)
        parts[row] = view[tuple(index[here][:, ::-1].T)].sum() / len(ball)
    return parts


@dataclass(frozen=True)
class Likeness:
    """Centre, spread and limit of each statistic over the training images."""

    centre: Mapping[str, float]
    spread: Mapping[str, float]
    limit: float

    def odd(self, statistics: Mapping[str, float]) -> str:
        """What is unlike the training images, in words; empty if nothing is."""
        apart = {k: abs(statistics[k] - c) / self.spread[k] for k, c in self.centre.items()}
        worst = max(apart, key=lambda k: apart[k])
        if apart[worst] <= self.limit:
            return ""
        c, s = self.centre[worst], self.spread[worst] * self.limit
        return f"{WORDS[worst]} is {statistics[worst]:.2f}, in training {c - s:.2f} to {c + s:.2f}"

    def to_record(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"centre": dict(self.centre), "spread": dict(self.spread), "limit": self.limit}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The inverse."""
        return cls(dict(record["centre"]), dict(record["spread"]), float(record["limit"]))


def learn_likeness(statistics: Sequence[Mapping[str, float]]) -> Likeness | None:
    """From the statistics of the training images; ``None`` if there are too few."""
    if len(statistics) < MIN_CASES:
        return None
    names = list(WORDS)
    table = np.array([[s[k] for k in names] for s in statistics])
    centre, spread = _robust(table)
    # How far a training image is from the others: the limit lies beyond all of them.
    apart = []
    for left_out in range(len(table)):
        c, s = _robust(np.delete(table, left_out, axis=0))
        apart.append(float((np.abs(table[left_out] - c) / s).max()))
    limit = max(1.1 * max(apart), _LEAST_LIMIT)
    return Likeness(
        dict(zip(names, centre.tolist(), strict=True)),
        dict(zip(names, spread.tolist(), strict=True)),
        limit,
    )


def _robust(table: FloatArray) -> tuple[FloatArray, FloatArray]:
    centre = np.median(table, axis=0)
    spread = 1.4826 * np.median(np.abs(table - centre), axis=0)
    return centre, np.maximum(spread, 0.25 * table.std(0) + 0.01)
