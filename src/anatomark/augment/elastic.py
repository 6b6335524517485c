"""Cubic B-spline lattices: smooth functions of normalised coordinates, and how to undo them.

A lattice with ``n`` intervals spans -1…1 along each axis and has ``n + 3`` control values there;
control ``k`` sits at ``2 (k - 1) / n - 1``. Beyond its ends a lattice keeps its outermost values.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# Bound of the slope of a displacement. Below 1, "point + displacement" is one to one and cannot
# fold; at 0.5 every step of ``undo`` at least halves what is left.
STEEPEST = 0.5
_FINE = 16  # intervals at which bounds are taken
_STEPS = 20  # from the largest displacement that a config allows to 1e-6 of normalised units


def basis(coordinates: Tensor, intervals: int) -> Tensor:
    """Weights ``(…, K)`` of the control values at normalised coordinates ``(…)``."""
    place = (coordinates.clamp(-1, 1) + 1) * (intervals / 2) + 1
    control = torch.arange(intervals + 3, dtype=place.dtype, device=place.device)
    apart = (place[..., None] - control).abs()
    near = 2 / 3 - apart.square() + apart.pow(3) / 2
    far = (2 - apart).clamp_min(0).pow(3) / 6
    return torch.where(apart < 1, near, far)


def at_points(controls: Tensor, points: Tensor) -> Tensor:
    """Values ``(B, L, C)`` of the lattices ``(B, C, *K)`` at normalised points ``(B, L, D)``."""
    count, dim = controls.shape[-1], points.shape[-1]
    weights = basis(points, count - 3).unbind(2)
    # z, then y, then x; the first by one product, so that no lattice is copied for every point.
    total = weights[-1] @ controls.movedim(1, -1).reshape(len(points), count, -1)
    for axis in reversed(range(dim - 1)):
        split = total.reshape(*points.shape[:2], count, controls.shape[1] * count**axis)
        total = (weights[axis][:, :, None] @ split).squeeze(2)
    return total


def on_grid(controls: Tensor, axes_xyz: Sequence[Tensor]) -> Tensor:
    """Values ``(B, *shape, C)`` on the grid whose axes have the coordinates ``(B, N)``.

    One matrix product an axis. Components stay innermost, as ``grid_sample`` wants them: in the
    last product they are carried along by a block matrix.
    """
    batch, components = controls.shape[:2]
    intervals = controls.shape[-1] - 3
    shape = [axis.shape[1] for axis in reversed(axes_xyz)]
    total, done = controls.movedim(1, -1), 1
    for axis in list(axes_xyz)[:0:-1]:  # slowest first, so that the products grow late
        total = basis(axis, intervals)[:, None] @ total.reshape(batch, done, intervals + 3, -1)
        done *= axis.shape[1]
    weights = basis(axes_xyz[0], intervals).transpose(1, 2)
    block = torch.einsum("bkn,cd->bkcnd", weights, torch.eye(components).to(weights))
    total = total.reshape(batch, done, -1) @ block.flatten(3).flatten(1, 2)
    return total.reshape(batch, *shape, components)


def refined(controls: Tensor) -> Tensor:
    """The same splines on a lattice of twice the intervals (knot insertion)."""
    for axis in range(2, controls.ndim):
        along = controls.movedim(axis, -1)
        between = (along[..., :-1] + along[..., 1:]) / 2
        at = (along[..., :-2] + 6 * along[..., 1:-1] + along[..., 2:]) / 8
        both = torch.stack([between[..., :-1], at], dim=-1).flatten(-2)
        controls = torch.cat([both, between[..., -1:]], dim=-1).movedim(-1, axis)
    return controls


def bounds(controls_mm: Tensor, extent_mm: Tensor) -> tuple[Tensor, Tensor]:
    """Largest displacement in mm and largest slope (row sum) ``(B,)`` of the lattices.

    A spline lies among its control values and its slopes among their differences, so that both
    hold everywhere, not only where somebody looked; on a finer lattice they are tighter.
    """
    while controls_mm.shape[-1] - 3 < _FINE:
        controls_mm = refined(controls_mm)
    intervals = controls_mm.shape[-1] - 3
    rows = torch.zeros(controls_mm.shape[:2], dtype=controls_mm.dtype)
    for axis in range(controls_mm.shape[1]):
        jump = controls_mm.diff(dim=-1 - axis).abs().flatten(2).amax(-1)
        rows = rows + jump * intervals / extent_mm[:, axis, None]
    return controls_mm.abs().flatten(1).amax(-1), rows.amax(-1)


def fitted(controls: Tensor, extent_mm: Tensor, largest_mm: Tensor) -> Tensor:
    """Lattices ``(B, D, *K)`` scaled to a largest displacement ``(B,)``, but never to a fold."""
    reach, slope = bounds(controls, extent_mm)
    factor = torch.minimum(largest_mm / reach, STEEPEST / slope)
    return controls * factor.reshape(-1, *[1] * (controls.ndim - 1))


def undo(controls_mm: Tensor, extent_mm: Tensor, target_mm: Tensor) -> Tensor:
    """Points ``(B, L, D)``, mm from the centre, that the displacements carry to ``target_mm``.

    Fixed-point steps: ``STEEPEST`` makes them contract, from anywhere.
    """
    half = extent_mm[:, None] / 2
    found = target_mm
    for _ in range(_STEPS):
        found = target_mm - at_points(controls_mm, found / half)
    return found
