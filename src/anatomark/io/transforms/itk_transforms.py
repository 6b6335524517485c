"""Between the maps of anatomark and the transforms of SimpleITK, both pushing points the same way.

Nothing is inverted here: ``to_sitk(map).TransformPoint(p)`` is ``map(p)``. Which sense a *file*
has is the business of ``io.transforms``.
"""

from __future__ import annotations

import warnings
from typing import Any, cast

import numpy as np

from anatomark.errors import LossWarning, NotConvergedError, TransformError, UsageError
from anatomark.geometry import FloatArray, Grid
from anatomark.io.native import simpleitk
from anatomark.maps import Affine, BSpline, Chain, Displacement, Inverse, Map

_NOTABLE_MM = 1e-3  # a sampled field further off than this is worth a warning
_PROBES = 20_000


def simplified(warp: Map) -> Map:
    """Return the same map without chains in chains, and with neighbouring affine maps made one."""
    if isinstance(warp, Inverse) and isinstance(warp.forward, Affine):
        return warp.forward.inverse()
    if not isinstance(warp, Chain):
        return warp
    parts: list[Map] = []
    for one in map(simplified, warp.maps):
        for part in one.maps if isinstance(one, Chain) else (one,):
            before = parts[-1] if parts else None
            if isinstance(before, Affine) and isinstance(part, Affine):
                parts[-1] = Affine.from_homogeneous(part.homogeneous @ before.homogeneous)
            else:
                parts.append(part)
    return parts[0] if len(parts) == 1 else Chain(tuple(parts))


# -- to SimpleITK ----------------------------------------------------------------------------------


def to_sitk(warp: Map, *, grid: Grid | None = None) -> Any:
    """SimpleITK transform that moves points ``(x, y(, z))`` LPS millimetres as ``warp`` does.

    A map that ITK has no counterpart for (a thin-plate spline, an iterative inverse, a chain with
    one of those) is sampled on ``grid``; see ``sampled``.
    """
    plain = simplified(warp)
    if not _has_counterpart(plain):
        plain = sampled(plain, grid)
    return _transform(plain)


def _has_counterpart(warp: Map) -> bool:
    if isinstance(warp, Chain):
        return all(_has_counterpart(m) for m in warp.maps)
    return isinstance(warp, Affine | Displacement | BSpline)


def sampled(
    warp: Map, grid: Grid | None, *, advice: str = "a finer grid makes this less"
) -> Displacement:
    """Displacement field of ``warp`` on ``grid``, which lies in the source world of ``warp``.

    Warns with the largest error found between the voxels, and with ``advice``: what the caller can
    do about it. Outside the grid the field is zero.
    """
    if grid is None:
        raise UsageError(
            "this map has no closed form in a transform file and must be sampled on a grid",
            fix="give the grid of the image whose points the file's transform starts from",
        )
    if grid.dimension != warp.dimension:
        raise UsageError(f"a {warp.dimension}D map cannot be sampled on a {grid.dimension}D grid")
    try:
        field = Displacement.of(warp, grid)
        error = _error_between(field, warp)
    except NotConvergedError as fault:
        fault.fix = "use a grid inside the region that the map reaches, or a smoother map"
        raise
    if error > _NOTABLE_MM:
        warnings.warn(
            LossWarning(
                f"the map was sampled on {grid}; between its voxels the field is off by up to "
                f"{error:.2g} mm: {advice}"
            ),
            stacklevel=4,
        )
    return field


def _error_between(field: Displacement, warp: Map) -> float:
    """Largest distance in mm of the field from the map, at points drawn between the voxels."""
    rng = np.random.default_rng(0)
    last = np.asarray(field.grid.size_xyz) - 1
    wanted = min(_PROBES, 4 * int(np.prod(field.grid.shape)))
    cells = np.floor(rng.uniform(0, np.maximum(last, 1), (wanted, len(last))))
    # Half of the probes in the middle of a cell, where linear interpolation is worst.
    inside = np.where(np.arange(wanted)[:, None] % 2, 0.5, rng.random((wanted, len(last))))
    points = field.grid.to_world(np.minimum(cells + inside, last))
    return float(np.linalg.norm(field(points) - warp(points), axis=1).max())


def _transform(warp: Map) -> Any:
    sitk = simpleitk()

    if isinstance(warp, Chain):
        composite = sitk.CompositeTransform(warp.dimension)
        # ITK applies the transform that was added last first.
        for one in reversed(warp.maps):
            composite.AddTransform(_transform(one))
        return composite
    if isinstance(warp, Affine):
        affine = sitk.AffineTransform(warp.dimension)
        affine.SetMatrix(warp.matrix.ravel().tolist())
        affine.SetTranslation(warp.offset.tolist())
        return affine
    if isinstance(warp, BSpline):
        spline = sitk.BSplineTransform(warp.dimension, warp.order)
        spline.SetFixedParameters(_fixed_parameters(warp.grid))
        spline.SetParameters(warp.coefficients_mm.ravel().tolist())
        return spline
    return sitk.DisplacementFieldTransform(field_image(cast("Displacement", warp)))


def _fixed_parameters(grid: Grid) -> list[float]:
    parts = [np.array(grid.size_xyz, np.float64), grid.origin, grid.spacing, grid.direction.ravel()]
    return cast("list[float]", np.concatenate(parts).tolist())


def field_image(field: Displacement) -> Any:
    """SimpleITK vector image of a displacement field."""
    sitk = simpleitk()

    vectors = np.ascontiguousarray(np.moveaxis(field.field_mm, 0, -1))
    image = sitk.GetImageFromArray(vectors, isVector=True)
    image.SetSpacing(field.grid.spacing.tolist())
    image.SetOrigin(field.grid.origin.tolist())
    image.SetDirection(field.grid.direction.ravel().tolist())
    return image


# -- from SimpleITK --------------------------------------------------------------------------------


def from_sitk(transform: Any) -> Map:
    """Map that moves points as a SimpleITK transform does (LPS millimetres)."""
    return simplified(_map(transform))


def _specific(transform: Any) -> Any:
    """Return the transform as its own class, where SimpleITK has one."""
    try:
        return transform.Downcast()
    except (KeyError, TypeError, RuntimeError):
        return transform


def _map(general: Any) -> Map:
    sitk = simpleitk()

    transform = _specific(general)
    if isinstance(transform, sitk.CompositeTransform):
        parts = [
            _map(transform.GetNthTransform(i)) for i in range(transform.GetNumberOfTransforms())
        ]
        if not parts:
            raise TransformError("the composite transform is empty", fix="export it again")
        # ITK applies the transform that was added last first.
        return Chain(tuple(reversed(parts)))
    if isinstance(transform, sitk.DisplacementFieldTransform):
        return field_of(transform.GetDisplacementField())
    if isinstance(transform, sitk.BSplineTransform):
        return _spline(transform)
    if transform.IsLinear():
        return _affine(transform)
    raise _unusable(transform)


def _unusable(transform: Any) -> TransformError:
    return TransformError(
        f"a {transform.GetName()} is not a kind of transform that can be used",
        fix="convert it to a displacement field first",
    )


def _affine(transform: Any) -> Affine:
    """Affine map of any linear transform, from where it takes the origin and the unit vectors."""
    dim = transform.GetDimension()
    offset = np.array(transform.TransformPoint([0.0] * dim))
    columns = [np.array(transform.TransformPoint(unit.tolist())) - offset for unit in np.eye(dim)]
    affine = Affine(np.stack(columns, axis=1), offset)
    # Some transforms of ITK call themselves linear because they inherit from one that is.
    far = np.full(dim, 100.0)
    if not np.allclose(transform.TransformPoint(far.tolist()), affine(far), rtol=1e-6, atol=1e-6):
        raise _unusable(transform)
    return affine


def _spline(transform: Any) -> BSpline:
    grid = _grid_of_fixed_parameters(np.array(transform.GetFixedParameters()))
    values = np.array(transform.GetParameters())
    return BSpline(grid, values.reshape(grid.dimension, *grid.shape), transform.GetOrder())


def _grid_of_fixed_parameters(values: FloatArray) -> Grid:
    dim = 3 if len(values) == 18 else 2
    return Grid(
        shape=tuple(values[:dim].astype(int).tolist())[::-1],
        origin=values[dim : 2 * dim],
        spacing=values[2 * dim : 3 * dim],
        direction=values[3 * dim :].reshape(dim, dim),
    )


def field_of(image: Any) -> Displacement:
    """Displacement field of a SimpleITK vector image, vectors in LPS millimetres."""
    sitk = simpleitk()

    dim = image.GetDimension()
    if dim not in {2, 3} or image.GetNumberOfComponentsPerPixel() != dim:
        raise TransformError(
            f"is not a displacement field: {dim} axes, "
            f"{image.GetNumberOfComponentsPerPixel()} components a voxel",
            fix="give an image of vectors with one component an axis",
        )
    vectors = sitk.GetArrayFromImage(image)
    grid = Grid(
        shape=vectors.shape[:-1],
        spacing=np.array(image.GetSpacing()),
        origin=np.array(image.GetOrigin()),
        direction=np.array(image.GetDirection()).reshape(dim, dim),
    )
    return Displacement(grid, np.moveaxis(vectors, -1, 0))
