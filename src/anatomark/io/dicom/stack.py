"""Planes in the patient become one volume: sorted, checked for gaps, repeats and gantry tilt."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anatomark.errors import ImageError, ImageWarning, counted
from anatomark.geometry import FloatArray, Grid
from anatomark.io.dicom.headers import REPEATS, Plane
from anatomark.io.dicom.pixels import read_values

# Parts of a pixel (repeats) and of a slice distance (uneven slices).
_SAME_PLACE = 0.01
_UNEVEN_WARNING, _UNEVEN_ERROR = 0.01, 0.1
_TURNED_WARNING, _TURNED_ERROR = 0.05, 0.5  # pixels, at the far corner
_LONGEST_FILL = 3
_TILT_DEGREES = 0.05
_MOST_NAMED = 10


@dataclass(frozen=True)
class Stack:
    """A grid and the plane of each slice, first to last; ``None`` where one is missing."""

    grid: Grid
    slices: tuple[Plane | None, ...]

    @property
    def missing(self) -> list[int]:
        """Index of each slice that no file holds."""
        return [i for i, plane in enumerate(self.slices) if plane is None]


def stack_planes(planes: Sequence[Plane], path: Path) -> Stack:
    """Order planes along their common normal and find the one grid that they lie on."""
    axes = np.mean([plane.axes for plane in planes], axis=0)
    axes /= np.linalg.norm(axes, axis=0)
    _check_parallel(planes, axes, path)
    normal = np.cross(axes[:, 0], axes[:, 1])
    normal /= np.linalg.norm(normal)
    unique = _without_repeats(planes, normal, path)
    positions = np.array([plane.position for plane in unique])
    if len(unique) == 1:
        step, places = normal * _depth(unique[0], path), np.zeros(1, int)
    else:
        places = _places(positions @ normal, path)
        step = (positions[-1] - positions[0]) / places[-1]
        _check_line(positions, step, places, path)
        _report_tilt(step, normal, path)
    slices: list[Plane | None] = [None] * (int(places[-1]) + 1)
    for place, plane in zip(places, unique, strict=True):
        slices[place] = plane
    stack = Stack(_grid(unique[0], axes, positions[0], step, len(slices)), tuple(slices))
    _report_missing(stack, normal, path)
    return stack


def _check_parallel(planes: Sequence[Plane], axes: FloatArray, path: Path) -> None:
    """Slices that are turned against each other have no common grid."""
    # The far corner moves by as many pixels as there are, times the difference of directions.
    far = np.array(planes[0].shape[::-1], np.float64)
    turned = max(float((np.linalg.norm(p.axes - axes, axis=0) * far).max()) for p in planes)
    if turned > _TURNED_ERROR:
        raise ImageError(
            f"its slices are turned against each other by up to {turned:.1f} pixels", path=path,
            fix="choose fewer slices, or resample them first",
        )  # fmt: skip
    if turned > _TURNED_WARNING:
        _warn(path, f"its slices are turned against each other by up to {turned:.2f} pixels")


def _grid(first: Plane, axes: FloatArray, origin: FloatArray, step: FloatArray, n: int) -> Grid:
    depth = float(np.linalg.norm(step))
    return Grid(
        shape=(n, *first.shape),
        spacing=np.array([*first.measured.spacing, depth]),
        origin=origin,
        direction=np.column_stack([axes, step / depth]),
    )


def _depth(plane: Plane, path: Path) -> float:
    if plane.measured.depth > 0:
        return plane.measured.depth
    _warn(path, "the thickness of its one slice is not stated; 1 mm is assumed")
    return 1.0


def _warn(path: Path, what: str) -> None:
    warnings.warn(ImageWarning(f"{path}: {what}"), stacklevel=3)


# -- repeats ---------------------------------------------------------------------------------------


def _without_repeats(planes: Sequence[Plane], normal: FloatArray, path: Path) -> list[Plane]:
    """Planes in order along the normal, each position once."""
    along = np.array([plane.position @ normal for plane in planes])
    close = _SAME_PLACE * min(planes[0].measured.spacing)
    kept: list[int] = []
    repeats: list[tuple[Plane, Plane]] = []
    for i in np.argsort(along, kind="stable"):
        if kept and along[i] - along[kept[-1]] < close:
            repeats.append((planes[kept[-1]], planes[i]))
        else:
            kept.append(int(i))
    if repeats:
        _check_repeats(repeats, path)
    return [planes[i] for i in kept]


def _check_repeats(repeats: Sequence[tuple[Plane, Plane]], path: Path) -> None:
    """Let copies pass with a warning; different pixels at one place are not one volume."""
    for first, second in repeats:
        a, b = read_values([first]), read_values([second])
        if a.shape == b.shape and (a == b).all():
            continue
        differ = [
            name
            for tag, name in REPEATS.items()
            if first.repeats.get(tag) != second.repeats.get(tag)
        ]
        by = f" (they differ in {', '.join(differ)})" if differ else ""
        some = counted(len(repeats), "image shows", "images show")
        raise ImageError(
            f"{some} a place that another image shows with other pixels{by}",
            path=path,
            fix="export each volume (time, echo, phase) as a series of its own",
        )
    _warn(path, f"{counted(len(repeats), 'duplicate slice is', 'duplicate slices are')} left out")


# -- gaps and tilt ---------------------------------------------------------------------------------


def _places(along: FloatArray, path: Path) -> NDArray[np.int_]:
    """Slice number of each plane, by its distance to the one before."""
    gaps = np.diff(along)
    usual = float(np.sort(gaps)[(len(gaps) - 1) // 2])  # most gaps are not at a missing slice
    counts = np.maximum(np.rint(gaps / usual), 1).astype(int)
    if counts.max() - 1 > _LONGEST_FILL:
        at = int(counts.argmax())
        raise ImageError(
            f"{counts.max() - 1} slices in a row are missing between {along[at]:.2f} and "
            f"{along[at + 1]:.2f} mm along the slice axis",
            path=path,
            fix="copy the series again, or split it into two",
        )
    return np.concatenate([[0], np.cumsum(counts)])


def _check_line(
    positions: FloatArray, step: FloatArray, places: NDArray[np.int_], path: Path
) -> None:
    """Raise or warn where planes do not lie at equal steps on a straight line."""
    expected = positions[0] + places[:, None] * step
    off = float(np.linalg.norm(positions - expected, axis=1).max())
    depth = float(np.linalg.norm(step))
    if off > _UNEVEN_ERROR * depth:
        raise ImageError(
            f"its slices are not equally spaced: one lies {off:.3g} mm from where equal steps of "
            f"{depth:.4g} mm would put it",
            path=path,
            fix="split the series at the change of spacing, or resample it first",
        )
    if off > _UNEVEN_WARNING * depth:
        _warn(path, f"its slices are not quite equally spaced (up to {off:.3g} mm off)")


def _report_tilt(step: FloatArray, normal: FloatArray, path: Path) -> None:
    cosine = float(np.clip(step @ normal / np.linalg.norm(step), -1, 1))
    tilt = float(np.degrees(np.arccos(cosine)))
    if tilt > _TILT_DEGREES:
        _warn(
            path,
            f"the slices are shifted sideways (gantry tilt of {tilt:.2f}°); "
            "the grid is sheared to fit them",
        )


def _report_missing(stack: Stack, normal: FloatArray, path: Path) -> None:
    if not stack.missing:
        return
    origins = stack.grid.to_world(np.array([[0, 0, k] for k in stack.missing]))
    named = ", ".join(f"{value:.2f}" for value in (origins @ normal)[:_MOST_NAMED])
    more = ", …" if len(stack.missing) > _MOST_NAMED else ""
    gone = counted(len(stack.missing), "slice is", "slices are")
    _warn(
        path,
        f"{gone} missing, at {named}{more} mm along the slice axis, and interpolated from "
        "the neighbours",
    )


def fill_gaps(values: NDArray[np.generic], stack: Stack) -> NDArray[np.generic]:
    """Values of all slices ``(…, z, y, x)`` from those that exist, linear across the gaps."""
    known = [i for i, plane in enumerate(stack.slices) if plane is not None]
    if len(known) == len(stack.slices):
        return values
    shape = (*values.shape[:-3], len(stack.slices), *values.shape[-2:])
    whole = np.empty(shape, values.dtype)
    whole[..., known, :, :] = values
    for k in stack.missing:
        low = max(i for i in known if i < k)
        high = min(i for i in known if i > k)
        part = (k - low) / (high - low)
        below, above = (whole[..., i, :, :].astype(np.float64) for i in (low, high))
        between = (1 - part) * below + part * above
        whole[..., k, :, :] = np.rint(between) if values.dtype.kind in "ui" else between
    return whole
