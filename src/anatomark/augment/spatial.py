"""Geometry: one pull map a sample, for images as a sampling grid and for points as its inverse.

From the picture that comes out to the picture that went in, in normalised coordinates::

    seen   = mirror · (zoom · out + shift)          the box of the crop, then the flips
    moved  = seen · extent/2 + displacement(seen)   elastic, mm from the image's centre
    source = (matrix⁻¹ (moved - offset)) · 2/extent affine, mm

The steps up to the displacement act on each axis by itself and the affine one keeps splines
splines, so that the whole map is one B-spline lattice on a separable grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from anatomark.augment.chance import factors, happens, only, uniform
from anatomark.augment.config import AugmentConfig
from anatomark.augment.elastic import at_points, fitted, on_grid, undo
from anatomark.errors import NotConvergedError

_TOLERANCE = 1e-4  # normalised units: a 40th of a voxel on 512


@dataclass(frozen=True, eq=False)
class Spatial:
    """The drawn geometry of a batch; tensors float64 on the CPU, axes in x, y(, z) order.

    ``matrix`` and ``offset`` push points in millimetres from the image's centre.
    """

    extent_mm: Tensor  # (B, D)
    matrix: Tensor  # (B, D, D)
    offset_mm: Tensor  # (B, D)
    controls_mm: Tensor  # (B, D, *K), displacements of the lattice
    flips: Tensor  # (B, D) bool
    zoom: Tensor  # (B, D)
    shift: Tensor  # (B, D)

    @cached_property
    def mirror(self) -> Tensor:
        """-1 along reversed axes, 1 along the others ``(B, D)``."""
        return 1 - 2 * self.flips.to(self.zoom.dtype)

    @cached_property
    def warped(self) -> Tensor:
        """Whether a sample must be resampled ``(B,)``: more than reversed axes."""
        straight = torch.eye(self.matrix.shape[-1], dtype=self.matrix.dtype)
        return (
            (self.matrix != straight).flatten(1).any(1)
            | (self.offset_mm != 0).any(1)
            | (self.controls_mm != 0).flatten(1).any(1)
            | (self.zoom != 1).any(1)
        )

    @cached_property
    def mirrored(self) -> Tensor:
        """Whether left has become right ``(B,)``: two reversed axes are a rotation."""
        return self.flips.sum(1) % 2 == 1

    def rows(self, index: Tensor) -> Spatial:
        """The geometry of some samples."""
        return Spatial(
            extent_mm=self.extent_mm[index],
            matrix=self.matrix[index],
            offset_mm=self.offset_mm[index],
            controls_mm=self.controls_mm[index],
            flips=self.flips[index],
            zoom=self.zoom[index],
            shift=self.shift[index],
        )


def draw_spatial(config: AugmentConfig, extent_mm: Tensor, generator: torch.Generator) -> Spatial:
    """Draw for images of extents ``(B, D)``."""
    batch, dim = extent_mm.shape
    matrix, offset = _draw_affine(config, extent_mm, generator)
    controls = _draw_elastic(config, extent_mm, generator)
    flips = happens(config.flip_probability, (batch, dim), generator)
    flips &= torch.tensor([axis in config.flip_axes for axis in range(dim)])
    cropped = happens(config.crop_probability, (batch,), generator)
    # One size for all axes, so that a crop does not stretch.
    zoom = only(cropped, uniform(config.crop, 1, (batch, 1), generator), 1).expand(batch, dim)
    shift = (1 - zoom) * uniform(-1, 1, (batch, dim), generator)
    return Spatial(extent_mm, matrix, offset, controls, flips, zoom, shift)


def _draw_affine(
    config: AugmentConfig, extent_mm: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    batch, dim = extent_mm.shape
    rows = happens(config.affine_probability, (batch,), generator)
    turn = _draw_rotation(config.rotation_deg, batch, dim, generator)
    size = factors(config.scale, (batch, 1), generator)
    sizes = size * factors(config.stretch, (batch, dim), generator)
    slant = uniform(-config.shear, config.shear, (batch, dim, dim), generator).triu(1)
    straight = torch.eye(dim, dtype=turn.dtype).expand(batch, dim, dim)
    matrix = turn @ (straight + slant) * sizes[:, None]
    shift = uniform(-config.translate, config.translate, (batch, dim), generator) * extent_mm
    return torch.where(rows[:, None, None], matrix, straight), only(rows, shift, 0)


def _draw_rotation(degrees: float, batch: int, dim: int, generator: torch.Generator) -> Tensor:
    """Rotations ``(B, D, D)``: in 3D about an axis that is uniform on the sphere."""
    axis = torch.randn((batch, 3), generator=generator, dtype=torch.float64)
    if dim == 2:
        axis = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand(batch, 3)
    angle = torch.deg2rad(uniform(-degrees, degrees, (batch, 1), generator))
    x, y, z = (axis / axis.norm(dim=1, keepdim=True) * angle).unbind(1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).reshape(-1, 3, 3)
    turn: Tensor = torch.linalg.matrix_exp(skew)
    return turn.narrow(1, 0, dim).narrow(2, 0, dim)


def _draw_elastic(config: AugmentConfig, extent_mm: Tensor, generator: torch.Generator) -> Tensor:
    batch, dim = extent_mm.shape
    rows = happens(config.elastic_probability, (batch,), generator)
    largest = uniform(0, config.elastic, (batch,), generator) * extent_mm.amin(1)
    shape = (batch, dim, *[config.elastic_knots + 3] * dim)
    controls = fitted(uniform(-1, 1, shape, generator), extent_mm, largest)
    return only(rows, controls, 0)


def sampling_grid(spatial: Spatial, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Where each voxel comes from ``(B, *shape, D)``, normalised, in the type of ``like``."""
    controls = _pull_controls(spatial).to(like)
    axes = []
    for axis, count in enumerate(reversed(shape)):
        # Exactly antisymmetric about 0, so that a mirror meets the same voxel centres.
        out = (2 * torch.arange(count, dtype=torch.float64) + 1 - count) / count
        seen = spatial.zoom[:, axis, None] * out + spatial.shift[:, axis, None]
        axes.append((spatial.mirror[:, axis, None] * seen).to(like))
    return on_grid(controls, axes)


def _pull_controls(spatial: Spatial) -> Tensor:
    """Control values of the whole map: a spline reproduces lines, so the affine part goes in."""
    dim = spatial.extent_mm.shape[1]
    intervals = spatial.controls_mm.shape[-1] - 3
    place = 2 * (torch.arange(intervals + 3, dtype=torch.float64) - 1) / intervals - 1
    lattice = torch.stack(torch.meshgrid(*[place] * dim, indexing="ij")[::-1])
    half = (spatial.extent_mm / 2)[:, :, None]
    moved = lattice.flatten(1) * half + spatial.controls_mm.flatten(2)
    source: Tensor = torch.linalg.solve(spatial.matrix, moved - spatial.offset_mm[:, :, None])
    return (source / half).reshape(spatial.controls_mm.shape)


def push(spatial: Spatial, points: Tensor) -> Tensor:
    """Where normalised points ``(B, L, D)`` of the input are in the output; float64.

    Raises ``NotConvergedError`` if a point does not come back through the pull map.
    """
    extent, matrix, offset, controls, mirror, zoom, shift = _parameters(spatial, points)
    half = extent[:, None] / 2
    target = (points * half) @ matrix.transpose(1, 2) + offset[:, None]
    seen = (
        undo(controls, extent, target) / half if bool(spatial.controls_mm.any()) else target / half
    )
    pushed = (seen * mirror[:, None] - shift[:, None]) / zoom[:, None]
    _check(pull(spatial, pushed), points, half)
    return pushed


def pull(spatial: Spatial, points: Tensor) -> Tensor:
    """Where normalised points ``(B, L, D)`` of the output come from in the input; float64."""
    extent, matrix, offset, controls, mirror, zoom, shift = _parameters(spatial, points)
    half = extent[:, None] / 2
    seen = (points * zoom[:, None] + shift[:, None]) * mirror[:, None]
    moved = seen * half + at_points(controls, seen)
    # Without the check of errors, which would wait for a GPU: drawn matrices have an inverse.
    source: Tensor = torch.linalg.solve_ex(matrix, (moved - offset[:, None]).transpose(1, 2))[0]
    return source.transpose(1, 2) / half


def _parameters(spatial: Spatial, points: Tensor) -> tuple[Tensor, ...]:
    """Everything that moves a point, on the device of the points."""
    return tuple(
        value.to(points.device)
        for value in (
            spatial.extent_mm,
            spatial.matrix,
            spatial.offset_mm,
            spatial.controls_mm,
            spatial.mirror,
            spatial.zoom,
            spatial.shift,
        )
    )


def _check(back: Tensor, points: Tensor, half: Tensor) -> None:
    # Of a point far outside, rounding alone leaves more.
    miss = ((back - points).abs() / points.abs().clamp_min(1)).nan_to_num()
    if miss.numel() and float(miss.max()) > _TOLERANCE:
        raise NotConvergedError(
            f"the warp was not undone for a point: {float(miss.max()):.3g} of the image is left",
            residual_mm=float((miss * half).max()),
            fix="make the elastic part weaker",
        )
