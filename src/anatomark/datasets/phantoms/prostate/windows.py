"""Which voxels of a block a solid can touch, so that only those are computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from anatomark.datasets.phantoms.ct.solids import Ellipsoid, Field, Solid
from anatomark.geometry import FloatArray

Window = tuple[slice, slice, slice]  # z, y, x

_SLACK_MM = 0.3
_BEND = 1.3  # points between those that were looked at may bend more


@dataclass(frozen=True)
class Hulls:
    """A simple hull of each of N solids: a turned box swept along a turned ellipsoid, in mm.

    ``boxes`` and ``ovals`` ``(N, 3, 3)`` hold their half axes as columns, ``coats`` ``(N,)`` how
    much wider all is.
    """

    centres: FloatArray
    boxes: FloatArray
    ovals: FloatArray
    coats: FloatArray

    @classmethod
    def of(cls, solids: Sequence[tuple[Solid, float]]) -> Hulls:
        """Find the hulls of solids, each with a coat of so many mm."""
        hulls = [_hull(solid) for solid, _ in solids]
        centres, boxes, ovals = (np.stack(values) for values in zip(*hulls, strict=True))
        return cls(centres, boxes, ovals, np.array([coat for _, coat in solids]))

    def reach(self, to_index: FloatArray, margin_mm: float) -> FloatArray:
        """How far ``(N, 3)`` each hull, a margin wider, reaches from its centre in x, y, z."""
        boxes = np.abs(to_index @ self.boxes).sum(axis=2)
        ovals = np.linalg.norm(to_index @ self.ovals, axis=2)
        margin = (self.coats + margin_mm)[:, None] * np.linalg.norm(to_index, axis=1)
        reach: FloatArray = boxes + ovals + margin
        return reach


def _hull(solid: Solid) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Centre, box and ellipsoid of one solid."""
    nothing = np.zeros((3, 3))
    if isinstance(solid, Ellipsoid):
        axes = np.eye(3) if solid.axes is None else solid.axes
        return solid.centre, nothing, axes.T * solid.radii
    low, high = solid.box()
    return (low + high) / 2, np.diag((high - low) / 2), nothing


def windows(xyz: Field, hulls: Hulls, margin_mm: float) -> Iterator[tuple[int, Window]]:
    """Row and window of each hull that the points ``(3, z, y, x)`` of a block touch, in order.

    Within a block the points follow their indices almost linearly, so a hull in the body becomes
    a box of indices.
    """
    size = xyz.shape[:0:-1]  # x, y, z
    if min(size) < 2:
        everything = (slice(None), slice(None), slice(None))
        yield from ((row, everything) for row in range(len(hulls.centres)))
        return
    step, first, bend = _straightened(xyz, size)
    to_index: FloatArray = np.linalg.inv(step).astype(np.float64)
    middle = (hulls.centres - first) @ to_index.T
    reach = hulls.reach(to_index, margin_mm + _BEND * bend + _SLACK_MM)
    low = np.maximum(np.ceil(middle - reach), 0).astype(int)
    high = np.minimum(np.floor(middle + reach) + 1, size).astype(int)
    for row in np.flatnonzero((low < high).all(axis=1)).tolist():
        x, y, z = (slice(a, b) for a, b in zip(low[row].tolist(), high[row].tolist(), strict=True))
        yield row, (z, y, x)


def _straightened(xyz: Field, size: tuple[int, ...]) -> tuple[FloatArray, FloatArray, float]:
    """The affine map from index (x, y, z) that fits a block's 27 main points, and its miss."""
    index, solve = _main_points(size)
    points = xyz[:, index[:, 2], index[:, 1], index[:, 0]].T.astype(np.float64)
    fitted = solve @ points
    miss = float(np.sqrt(np.square(points - index @ fitted[:3] - fitted[3]).sum(axis=1).max()))
    return fitted[:3].T, fitted[3], miss


@lru_cache(maxsize=64)
def _main_points(size: tuple[int, ...]) -> tuple[NDArray[np.intp], FloatArray]:
    """Indices ``(27, 3)`` of corners, edges, faces and middle; and what fits a map to values."""
    picks = np.array([[i, j, k] for k in (0, 0.5, 1) for j in (0, 0.5, 1) for i in (0, 0.5, 1)])
    index = np.floor(picks * (np.array(size) - 1)).astype(np.intp)
    solve = np.linalg.pinv(np.hstack([index, np.ones((27, 1))]))
    return index, solve.astype(np.float64)
