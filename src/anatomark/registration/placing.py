"""Whether points belong to an image: a look for coordinates in the wrong frame."""

from __future__ import annotations

import os

import numpy as np

from anatomark.data import Landmarks
from anatomark.errors import LandmarkError
from anatomark.geometry import FloatArray, Grid

_MARGIN = 0.1  # of the longest side: an annotation may lie a little outside
_ENOUGH = 0.9  # of the points must fit for a reading of them to explain the mismatch


def check_placed(
    landmarks: Landmarks, grid: Grid, *, path: str | os.PathLike[str] | None = None
) -> None:
    """Refuse landmarks of which most lie far outside the image, and say what would explain it.

    ``grid`` is that of the image. Where the points would lie inside with x and y negated, they are
    RAS coordinates read as LPS (or the reverse); where they would as indices, they are voxels.
    """
    if landmarks.unit != grid.unit:
        raise LandmarkError(
            f"the landmarks are in {landmarks.unit}, the image in {grid.unit}", path=path
        )
    points = landmarks.points_mm[landmarks.present]
    inside = _share_inside(points, grid)
    if not len(points) or inside >= 0.5:
        return
    outside = round((1 - inside) * len(points))
    raise LandmarkError(
        f"{outside} of {len(points)} landmarks lie far outside the image {grid}",
        fix=_explanation(points, grid), path=path,
    )  # fmt: skip


def _share_inside(points: FloatArray, grid: Grid) -> float:
    margin = _MARGIN * float(grid.extent.max())
    return float(grid.contains(points, margin=margin).mean()) if len(points) else 1.0


def _explanation(points: FloatArray, grid: Grid) -> str:
    flip = np.ones(grid.dimension)
    flip[:2] = -1
    if grid.dimension == 3 and _share_inside(points * flip, grid) >= _ENOUGH:
        return (
            "with x and y negated they would lie inside: they are RAS read as LPS, or the "
            "reverse; mend the frame that the file names, or that was said of it"
        )
    if _share_inside(grid.to_world(points), grid) >= _ENOUGH:
        return "as voxel indices they would lie inside: convert them to world coordinates"
    return "check that they belong to this image"
