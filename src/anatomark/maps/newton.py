"""Invert a smooth map point by point: Newton steps that are only taken when they help."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from anatomark.errors import NotConvergedError

if TYPE_CHECKING:
    import torch

    Push = Callable[[torch.Tensor], torch.Tensor]


def push_with_slope(push: Push, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Pushed points ``(N, D)`` and derivatives ``(N, D, D)``; one backward pass a coordinate."""
    import torch

    # Leaving inference mode as well: tensors made in it never carry gradients.
    with torch.inference_mode(False), torch.enable_grad():
        source = points.detach().clone().requires_grad_()
        target = push(source)
        if not target.requires_grad:
            return target, source.new_zeros(*points.shape, points.shape[-1])
        rows = [
            torch.autograd.grad(target[:, d].sum(), source, retain_graph=True)[0]
            for d in range(points.shape[-1])
        ]
    return target.detach(), torch.stack(rows, dim=1)


def solve(
    push: Push,
    target: torch.Tensor,
    start: torch.Tensor,
    *,
    tolerance_mm: float,
    max_steps: int,
    missing: str = "raise",
) -> torch.Tensor:
    """Source points ``(N, D)`` that ``push`` sends onto ``target``, float64, from ``start`` on.

    Raises ``NotConvergedError`` with the largest residual when a point is not found, or leaves
    it as not a number if ``missing`` is ``"nan"``.
    """
    import torch

    found = start.clone()
    # A point that is not a number has no source, as for every other map; it is left as it is.
    open_ = torch.nonzero(target.isfinite().all(-1)).flatten()
    left = torch.zeros(0, dtype=target.dtype, device=target.device)
    for _ in range(max_steps):
        goal, current = target[open_], found[open_]
        pushed, slope = push_with_slope(push, current)
        miss = goal - pushed
        left = miss.norm(dim=-1)
        bad = ~(left <= tolerance_mm)
        open_, current, miss, slope, left = (v[bad] for v in (open_, current, miss, slope, left))
        if not len(open_):
            return found
        found[open_] = _step(push, goal[bad], current, miss, slope, left)
    if missing == "nan":
        found[open_] = torch.nan
        return found
    raise NotConvergedError(
        f"the inverse map was not found for {len(open_)} of {len(target)} points: "
        f"{float(left.max()):.3g} mm are left after {max_steps} steps",
        residual_mm=float(left.max()),
        fix="the map may fold or jump there; use a smoother one",
    )


def _step(
    push: Push,
    goal: torch.Tensor,
    current: torch.Tensor,
    miss: torch.Tensor,
    slope: torch.Tensor,
    left: torch.Tensor,
) -> torch.Tensor:
    """Take the longest of a few Newton or fixed-point steps that brings each point closer."""
    import torch

    newton, info = torch.linalg.solve_ex(slope, miss[..., None])
    full = torch.where((info == 0)[:, None], newton[..., 0], miss)
    full = torch.where(full.isfinite().all(-1, keepdim=True), full, miss)
    best, best_left = current.clone(), left.clone()
    for step in (full, full / 2, full / 8, miss, miss / 4, full / 64):
        trial = current + step
        trial_left = (goal - push(trial)).norm(dim=-1)
        better = trial_left < best_left
        best = torch.where(better[:, None], trial, best)
        best_left = torch.where(better, trial_left, best_left)
    return best
