"""Surfaces of masks in millimetres, and how far two of them are apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anatomark.data import Image
from anatomark.errors import GeometryError, RegistrationError
from anatomark.geometry import FloatArray, Unit
from anatomark.maps import Map


@dataclass(frozen=True, eq=False)
class Mesh:
    """A closed surface: triangles in 3D, the pieces of a contour in 2D.

    ``vertices_mm`` ``(V, D)`` LPS, x, y(, z), in ``unit``; ``faces`` ``(F, D)`` are rows of it, in
    an order by which normals point outwards.
    """

    vertices_mm: FloatArray
    faces: NDArray[np.int64] = field(repr=False)
    unit: Unit = "mm"

    @property
    def dimension(self) -> int:
        """2 or 3."""
        return int(self.vertices_mm.shape[1])

    @cached_property
    def _face_normals(self) -> FloatArray:
        """Outward normals ``(F, D)``, as long as a face is large."""
        corners = self.vertices_mm[self.faces]
        along = corners[:, 1] - corners[:, 0]
        if self.dimension == 2:
            return along[:, ::-1] * [1.0, -1.0]
        return np.asarray(np.cross(along, corners[:, 2] - corners[:, 0]) / 2)

    @cached_property
    def normals(self) -> FloatArray:
        """Outward unit normals of the vertices ``(V, D)``: the mean of their faces."""
        total = self._gathered(np.repeat(self._face_normals, self.dimension, axis=0))
        length = np.linalg.norm(total, axis=1, keepdims=True)
        return np.asarray(total / np.maximum(length, 1e-12))

    @cached_property
    def areas(self) -> FloatArray:
        """The part ``(V,)`` of the surface that belongs to each vertex, mm² (mm in 2D)."""
        size = np.linalg.norm(self._face_normals, axis=1) / self.dimension
        return self._gathered(np.repeat(size, self.dimension)[:, None])[:, 0]

    def _gathered(self, values: FloatArray) -> FloatArray:
        """Sums ``(V, K)`` over the corners ``(F · D, K)`` at each vertex."""
        at, count = self.faces.ravel(), len(self.vertices_mm)
        columns = [np.bincount(at, column, minlength=count) for column in values.T]
        return np.stack(columns, axis=1)

    @property
    def volume(self) -> float:
        """What the surface encloses, mm³ (mm² in 2D)."""
        corners = self.vertices_mm[self.faces] - self.vertices_mm.mean(axis=0)
        return float((corners[:, 0] * self._face_normals).sum() / self.dimension)

    def moved(self, push: Map) -> Mesh:
        """The surface pushed through a map; a mirror does not turn it inside out."""
        faces = self.faces[:, ::-1] if push.mirrors else self.faces
        return Mesh(push(self.vertices_mm), faces, self.unit)


def surface_of(mask: Image, *, level: float = 0.5) -> Mesh:
    """The surface of a mask, half way between its voxels and those around it.

    A grey image has it where values cross ``level``. What touches the border of the image is
    closed there.
    """
    if mask.channels is not None:
        raise RegistrationError("a surface needs a mask without channels", fix="extract one first")
    inside = mask.array > level
    if not inside.any():
        raise RegistrationError(f"the mask is empty: no voxel is above {level:g}")
    # Only the box of the object is looked at, with a shell around it that closes the surface.
    first, array = _boxed(mask.array, inside, level)
    index, faces = _contours(array, level) if array.ndim == 2 else _marching(array, level)
    vertices = mask.grid.to_world((index + first)[:, ::-1])
    mesh = Mesh(vertices, faces, mask.grid.unit)
    return mesh if mesh.volume > 0 else Mesh(vertices, faces[:, ::-1].copy(), mask.grid.unit)


def _boxed(
    array: NDArray[np.generic], inside: NDArray[np.bool_], level: float
) -> tuple[FloatArray, FloatArray]:
    """First index of a box with a shell of one voxel about the object, and its values."""
    others = [tuple(a for a in range(inside.ndim) if a != axis) for axis in range(inside.ndim)]
    spans = [np.flatnonzero(inside.any(axis=rest)) for rest in others]
    low = np.array([max(span[0] - 1, 0) for span in spans])
    high = [span[-1] + 2 for span in spans]
    part = array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].astype(np.float64)
    below = min(float(part.min()), level - 1.0) if array.dtype.kind == "f" else 0.0
    below = below if below < level else level - 1.0
    return low - 1.0, np.pad(part, 1, constant_values=below)


def _skimage() -> Any:
    """scikit-image, imported late because it takes long, and untyped because it hardly is typed."""
    from skimage import measure

    return measure


def _marching(array: FloatArray, level: float) -> tuple[FloatArray, NDArray[np.int64]]:
    vertices, faces, _, _ = _skimage().marching_cubes(array, level, allow_degenerate=False)
    return np.asarray(vertices, np.float64), np.asarray(faces, np.int64)


def _contours(array: FloatArray, level: float) -> tuple[FloatArray, NDArray[np.int64]]:
    points, faces, count = [], [], 0
    for contour in _skimage().find_contours(array, level):
        ring = contour[:-1]  # closed: the last point is the first
        here = count + np.arange(len(ring))
        points.append(ring)
        faces.append(np.stack([here, np.roll(here, -1)], axis=1))
        count += len(ring)
    return np.concatenate(points), np.concatenate(faces)


# -- distances -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances of two surfaces A and B, in mm; each part of a surface counts by its area.

    ``mean_mm`` and ``rms_mm`` average both directions, ``hd95_mm`` and ``max_mm`` (Hausdorff) are
    the larger of both. ``a_to_b_mm`` ``(V,)`` and ``b_to_a_mm`` are those of each vertex.
    """

    mean_mm: float
    rms_mm: float
    hd95_mm: float
    max_mm: float
    a_to_b_mm: FloatArray = field(repr=False)
    b_to_a_mm: FloatArray = field(repr=False)


def surface_distances(a: Mesh, b: Mesh) -> SurfaceDistances:
    """How far surface A is from B and B from A; see ``SurfaceDistances``."""
    if (a.unit, a.dimension) != (b.unit, b.dimension):
        raise GeometryError(
            f"surfaces in {a.dimension}D {a.unit} and {b.dimension}D {b.unit} cannot be compared"
        )
    ways = [(distances_to(b, a.vertices_mm), a.areas), (distances_to(a, b.vertices_mm), b.areas)]
    means = [np.average(d, weights=area) for d, area in ways]
    squares = [np.average(d**2, weights=area) for d, area in ways]
    return SurfaceDistances(
        float(np.mean(means)), float(np.sqrt(np.mean(squares))),
        max(_quantile(d, area, 0.95) for d, area in ways),
        float(max(d.max() for d, _ in ways)), ways[0][0], ways[1][0],
    )  # fmt: skip


def _quantile(values: FloatArray, weights: FloatArray, share: float) -> float:
    """The value below which this share of the weight lies."""
    order = np.argsort(values)
    summed = np.cumsum(weights[order])
    return float(values[order[np.searchsorted(summed, share * summed[-1])]])


def distances_to(mesh: Mesh, points_mm: ArrayLike) -> FloatArray:
    """Distance in mm ``(N,)`` of points ``(N, D)`` from a surface.

    To the nearest of the faces at the three nearest vertices: on the evenly fine surfaces of masks
    that is the nearest of all.
    """
    from scipy.spatial import KDTree

    points = np.atleast_2d(np.asarray(points_mm, np.float64))
    near = min(3, len(mesh.vertices_mm))
    apart, vertex = KDTree(mesh.vertices_mm).query(points, k=range(1, near + 1))
    best = np.asarray(apart[:, 0], np.float64)
    order, starts = _faces_at(mesh)
    for column in vertex.T:
        counts = starts[column + 1] - starts[column]
        for k in range(int(counts.max(initial=0))):
            rows = np.flatnonzero(counts > k)
            faces = order[starts[column[rows]] + k]
            corners = mesh.vertices_mm[mesh.faces[faces]]
            best[rows] = np.minimum(best[rows], _to_simplices(points[rows], corners))
    return best


def _faces_at(mesh: Mesh) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Faces sorted by vertex, and where in them each vertex begins."""
    at = mesh.faces.ravel()
    order = np.argsort(at, kind="stable") // mesh.faces.shape[1]
    counts = np.bincount(at, minlength=len(mesh.vertices_mm))
    return order, np.concatenate([[0], np.cumsum(counts)])


def _to_simplices(points: FloatArray, corners: FloatArray) -> FloatArray:
    """Distance ``(N,)`` of each point ``(N, D)`` from its own segment or triangle ``(N, D, D)``."""
    count = corners.shape[1]
    edges = [(i, (i + 1) % count) for i in range(count)] if count > 2 else [(0, 1)]
    best = np.min([_to_segments(points, corners[:, i], corners[:, j]) for i, j in edges], axis=0)
    if count == 2:
        return np.asarray(best)
    a, b, away = (
        corners[:, 1] - corners[:, 0],
        corners[:, 2] - corners[:, 0],
        points - corners[:, 0],
    )
    aa, ab, bb = (a * a).sum(1), (a * b).sum(1), (b * b).sum(1)
    pa, pb = (away * a).sum(1), (away * b).sum(1)
    size = np.maximum(aa * bb - ab * ab, np.finfo(np.float64).tiny)
    u, v = (bb * pa - ab * pb) / size, (aa * pb - ab * pa) / size
    above = np.linalg.norm(away - u[:, None] * a - v[:, None] * b, axis=1)
    inside = (u >= 0) & (v >= 0) & (u + v <= 1)
    return np.asarray(np.where(inside, np.minimum(above, best), best))


def _to_segments(points: FloatArray, a: FloatArray, b: FloatArray) -> FloatArray:
    along = b - a
    length = np.maximum((along * along).sum(1), np.finfo(np.float64).tiny)
    t = (((points - a) * along).sum(1) / length).clip(0, 1)
    return np.asarray(np.linalg.norm(points - a - t[:, None] * along, axis=1))
