"""What point fits refuse, and why."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from anatomark.errors import RegistrationError, with_article
from anatomark.geometry import FloatArray
from anatomark.registration.closed import Kind

_FLAT = 1e-6  # of the largest extent: what is thinner has no direction
_TINY = 1e-9  # of the distance from the origin, which is where rounding is


def least_pairs(kind: Kind, dimension: int) -> int:
    """Fewest pairs that fix a map; one less has infinitely many."""
    return dimension + 1 if kind == "affine" else dimension


def checked_pairs(source_mm: ArrayLike, target_mm: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Both as float64 ``(N, D)``, finite."""
    source, target = (np.asarray(p, np.float64) for p in (source_mm, target_mm))
    if source.ndim != 2 or source.shape != target.shape or source.shape[1] not in {2, 3}:
        raise RegistrationError(
            f"a fit needs two equal lists of points, not {source.shape} and {target.shape}"
        )
    if not (np.isfinite(source).all() and np.isfinite(target).all()):
        raise RegistrationError("a point is not finite", fix="leave out absent points")
    return source, target


def checked_weights(weights: ArrayLike | None, count: int) -> FloatArray:
    """Weights ``(N,)``, 0 or more; all 1 where none are given."""
    if weights is None:
        return np.ones(count)
    given = np.asarray(weights, np.float64)
    if given.shape != (count,) or not np.isfinite(given).all() or (given < 0).any():
        raise RegistrationError(f"weights must be {count} numbers that are 0 or more")
    return given


def checked_covariances(
    given: ArrayLike | None, shape: tuple[int, ...], side: str
) -> FloatArray | None:
    """Covariances ``(N, D, D)`` of one side; an exact point has zeros."""
    if given is None:
        return None
    found = np.asarray(given, np.float64)
    wanted = (*shape, shape[1])
    if found.shape != wanted or not np.isfinite(found).all():
        raise RegistrationError(f"the {side} covariances must be {wanted} finite numbers")
    scale = np.abs(found).max(initial=0.0)
    skew = np.abs(found - found.transpose(0, 2, 1)).max(initial=0.0)
    if skew > 1e-6 * scale or (np.linalg.eigvalsh(found) < -1e-6 * scale).any():
        raise RegistrationError(f"a {side} covariance is not one: not symmetric, or negative")
    return found


def check_spread(source: FloatArray, target: FloatArray, kind: Kind) -> None:
    """Refuse points that do not fix a map of this kind, with the reason."""
    dim = source.shape[1]
    least = least_pairs(kind, dim)
    said = f"{with_article(kind)} map in {dim}D"
    if len(source) < least:
        pairs = "1 pair does" if len(source) == 1 else f"{len(source)} pairs do"
        raise RegistrationError(f"{pairs} not fix {said}", fix=f"give {least} at least")
    needed = dim if kind == "affine" else dim - 1
    for side, points in (("source", source), ("target", target)):
        rank = _rank(points)
        # An affine map may flatten what it maps; it only asks for a source with all directions.
        if rank < needed and (side == "source" or kind != "affine"):
            lying = ("at one place", "on one line", "in one plane")[rank]
            raise RegistrationError(
                f"the {side} points lie {lying}, so they do not fix {said}",
                fix="add a point elsewhere, or fit a simpler map",
            )


def _rank(points: FloatArray) -> int:
    centred = points - points.mean(0)
    sizes = np.sqrt(np.maximum(np.linalg.eigvalsh(centred.T @ centred), 0.0))
    if sizes[-1] <= _TINY * max(float(np.abs(points).max()), 1.0):
        return 0
    if sizes[0] < 1e-4 * sizes[-1]:  # the roots of tiny eigenvalues are only noise
        sizes = np.linalg.svd(centred, compute_uv=False)
    return int((sizes > _FLAT * sizes.max()).sum())
