"""From the coordinates of a landmark file to the world, and back: frame, dimension, pixels."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from anatomark.data import Landmarks
from anatomark.errors import LandmarkError
from anatomark.geometry import Grid
from anatomark.io.landmarks.parsing import Frame, flipped

PixelOrigin = Literal["centre", "corner"]
_FLAT_MM = 1e-6
# A point too far away to be a number ends in the LandmarkError of a point that is not finite.
_overflow_is_not_finite = np.errstate(over="ignore", invalid="ignore")


def to_lps(landmarks: Landmarks, frame: Frame | None) -> Landmarks:
    """Turn landmarks as they stand in a file into LPS; ``None`` is a file that does not say."""
    if frame is None:
        raise LandmarkError(
            "does not say whether its coordinates are LPS or RAS",
            fix="add the coordinate system (coordinateSystem in Slicer's files, a column frame in "
            "a CSV), or say frame='LPS' or frame='RAS'",
        )
    return flip(landmarks) if frame == "RAS" and landmarks.unit == "mm" else landmarks


def flip(landmarks: Landmarks) -> Landmarks:
    """Exchange LPS and RAS."""
    covariance = landmarks.covariance_mm2
    if covariance is not None:
        covariance = flipped(flipped(covariance).swapaxes(1, 2))
    return replace(landmarks, points_mm=flipped(landmarks.points_mm), covariance_mm2=covariance)


def of_dimension(landmarks: Landmarks, dimension: int | None) -> Landmarks:
    """Drop z where 2D landmarks are asked for and all have z = 0."""
    if dimension in {None, landmarks.dimension}:
        return landmarks
    if dimension != 2:
        raise LandmarkError(f"the points are {landmarks.dimension}D, {dimension}D ones are needed")
    height = np.abs(landmarks.points_mm[landmarks.present, 2])
    if (height > _FLAT_MM).any():
        raise LandmarkError(
            f"the points are not in one plane: z reaches {height.max():g}, 2D ones have z = 0",
            fix="check that the landmarks belong to this image",
        )
    covariance = landmarks.covariance_mm2
    return replace(
        landmarks,
        points_mm=landmarks.points_mm[:, :2],
        covariance_mm2=None if covariance is None else covariance[:, :2, :2],
    )


@_overflow_is_not_finite
def place(landmarks: Landmarks, grid: Grid, *, pixel_origin: PixelOrigin = "centre") -> Landmarks:
    """Move landmarks from pixels of an image to its world, covariance included.

    Landmarks in mm are in the world already, unless they are counted from the ``corner`` of the
    first pixel along the axes of the image.
    """
    _check_dimension(landmarks, grid)
    if landmarks.unit == "mm" and grid.unit == "px":
        raise LandmarkError(
            "the landmarks are in mm, the image is in pixels", fix="give the image's spacing"
        )
    corner = pixel_origin == "corner"
    if landmarks.unit == "mm" and not corner:
        return landmarks
    step = grid.spacing if landmarks.unit == "mm" else np.ones(grid.dimension)
    matrix = grid.index_to_world_matrix / step
    covariance = landmarks.covariance_mm2
    return replace(
        landmarks,
        points_mm=grid.to_world(landmarks.points_mm / step - 0.5 * corner),
        covariance_mm2=None if covariance is None else matrix @ covariance @ matrix.T,
        unit=grid.unit,
    )


@_overflow_is_not_finite
def to_indices(landmarks: Landmarks, grid: Grid) -> Landmarks:
    """Move landmarks from the world to indices of an image: undo ``place``."""
    _check_dimension(landmarks, grid)
    matrix = np.linalg.inv(grid.index_to_world_matrix)
    covariance = landmarks.covariance_mm2
    return replace(
        landmarks,
        points_mm=grid.to_index(landmarks.points_mm),
        covariance_mm2=None if covariance is None else matrix @ covariance @ matrix.T,
        unit="px",
    )


def counted_from(landmarks: Landmarks, origin: PixelOrigin) -> Landmarks:
    """Indices in pixels, as a file that counts from there states them."""
    if origin == "centre":
        return landmarks
    return replace(landmarks, points_mm=landmarks.points_mm + 0.5)


def _check_dimension(landmarks: Landmarks, grid: Grid) -> None:
    if landmarks.dimension != grid.dimension:
        raise LandmarkError(
            f"the landmarks are {landmarks.dimension}D, the image is {grid.dimension}D"
        )
