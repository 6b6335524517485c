"""One slice of a volume as a 2D image, and points of it back in the world of the volume."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from anatomark.correspondence import Matches
from anatomark.data import Image
from anatomark.errors import GeometryError, UsageError
from anatomark.geometry import FloatArray, Grid
from anatomark.orientation import turn

PlaneName = Literal["axial", "coronal", "sagittal"]
_ACROSS = {"axial": 2, "coronal": 1, "sagittal": 0}  # the world axis that a plane lies across
_KEPT = ("modality", "body_part", "source_files")
_SQUARE = 1e-3  # cosine of the angle between the two axes of a slice


@dataclass(frozen=True, eq=False)
class Slice:
    """A slice as radiologists look at it: ``image`` has the patient's right on its left.

    In the 2D world of ``image``, x runs to the right and y down: towards L and P in an axial slice,
    L and I in a coronal, P and I in a sagittal one. Where the volume is not oblique they are its
    own coordinates (LPS mm), that towards I with the other sign: ``y = -z``. ``at_mm`` is where the
    middle of the slice lies on the axis across it (LPS). ``turned`` is the grid of the volume with
    its index axes towards L, P and I, ``index`` the number of the slice there.
    """

    image: Image
    plane: PlaneName
    at_mm: float
    index: int
    turned: Grid

    @property
    def tilt_degrees(self) -> float:
        """How far the volume's axes are turned away from the patient's: 0 unless it is oblique."""
        nearest = np.abs(np.diagonal(self.turned.direction)).min()
        return float(np.degrees(np.arccos(min(nearest, 1.0))))

    def to_world(self, points_mm: ArrayLike) -> FloatArray:
        """Points ``(N, 2)`` in the world of the slice as points ``(N, 3)`` of the volume's."""
        flat = np.asarray(self.image.grid.to_index(np.asarray(points_mm, np.float64)))
        index = np.insert(flat, _ACROSS[self.plane], self.index, axis=-1)
        return np.asarray(self.turned.to_world(index))


def slice_of(volume: Image, plane: PlaneName = "axial", at_mm: float | None = None) -> Slice:
    """The slice nearest to ``at_mm`` on the axis across ``plane`` (LPS mm), or the middle one.

    Voxels are taken as they are, so a slice is one of the volume's own; of an oblique volume, that
    of the index axis which is nearest to the patient's.
    """
    if volume.grid.dimension != 3:
        raise GeometryError("is 2D: slices are cut out of volumes", fix="use the image as it is")
    across = _ACROSS[plane]
    turned = turn(volume, "LPI")
    grid = turned.grid
    count = grid.size_xyz[across]
    middle = (np.asarray(grid.size_xyz) - 1) / 2
    step = float(grid.index_to_world_matrix[across, across])
    first = float(grid.centre[across]) - middle[across] * step
    if at_mm is not None and not np.isfinite(at_mm):
        raise UsageError(f"{at_mm} is no place", fix="give mm along the axis across the slice")
    row = int(middle[across]) if at_mm is None else round((at_mm - first) / step)
    if not 0 <= row < count:
        low, high = sorted((first, first + (count - 1) * step))
        raise UsageError(
            f"there is no {plane} slice at {at_mm:g} {grid.unit}",
            fix=f"the first and the last lie at {low:.1f} and {high:.1f}",
        )
    taken = np.take(turned.array, row, axis=-1 - across)
    meta = {name: volume.meta[name] for name in _KEPT if name in volume.meta}
    image = Image(np.ascontiguousarray(taken), _flat(grid, across, row), meta)
    return Slice(image, plane, first + row * step, row, grid)


def of_volumes(matches: Matches, fixed: Slice, moving: Slice) -> Matches:
    """Matches of two slices as matches of the volumes that they were cut out of."""
    return replace(
        matches, fixed_mm=fixed.to_world(matches.fixed_mm),
        moving_mm=moving.to_world(matches.moving_mm),
    )  # fmt: skip


def _flat(grid: Grid, across: int, row: int) -> Grid:
    """Where the pixels of a slice are along its own two axes."""
    own = [axis for axis in range(3) if axis != across]
    right, down = grid.direction[:, own].T
    if abs(float(right @ down)) > _SQUARE:
        raise GeometryError("the axes of its slices are not at right angles", fix="resample it")
    index = np.zeros(3)
    index[across] = row
    start = np.asarray(grid.to_world(index))
    return Grid(
        [grid.shape[2 - axis] for axis in reversed(own)], grid.spacing[own],
        [right @ start, down @ start], unit=grid.unit,
    )  # fmt: skip
