"""Iterative closest points: the rigid map that brings one surface onto another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from anatomark.errors import RegistrationError
from anatomark.geometry import FloatArray
from anatomark.maps import Affine
from anatomark.registration.checks import check_spread
from anatomark.registration.closed import fit_closed
from anatomark.registration.parameters import adapt, change
from anatomark.registration.surfaces import Mesh

Distance = Literal["point", "plane"]

_COARSE = (500, 4000)  # points for the first rounds, before all of them


@dataclass(frozen=True, eq=False)
class Closest:
    """What ICP found: ``map`` pushes the source onto the target.

    ``rms_mm`` is the root mean square distance of the source points that count from their nearest
    target points, ``share`` the part of all that counts. ``iterations`` are those of the best
    start, ``converged`` tells whether its last one changed less than asked for.
    """

    map: Affine
    rms_mm: float
    iterations: int
    converged: bool
    share: float


def icp(
    source: Mesh | ArrayLike,
    target: Mesh | ArrayLike,
    *,
    distance: Distance = "point",
    start: Affine | None = None,
    trim: float = 0.0,
    iterations: int = 100,
    tolerance_mm: float = 1e-4,
    turned_starts: int = 0,
    turn_degrees: float = 45.0,
    seed: int = 0,
) -> Closest:
    """The rigid map of ``source`` onto ``target``, surfaces or points ``(N, D)`` in mm, LPS.

    From ``start`` (without one the centres are put together), nearest points are paired and fitted
    again and again until no point moves by more than ``tolerance_mm``; distances are those of
    points or along the normals of the target, a ``Mesh`` then. ``trim`` is the share of the
    farthest pairs that is left out: what has no counterpart. With ``turned_starts`` the start is
    also turned by up to ``turn_degrees`` about a random axis so many times, and the best end kept.
    """
    search = _Search(source, target, distance, trim, iterations, tolerance_mm)
    first = search.centred() if start is None else _rigid(start)
    ends = [search.run(s) for s in _starts(first, search, turned_starts, turn_degrees, seed)]
    return min(ends, key=lambda end: end.rms_mm)


def _rigid(start: Affine) -> Affine:
    if np.abs(start.matrix @ start.matrix.T - np.eye(start.dimension)).max() > 1e-6:
        raise RegistrationError("the start of ICP must be rigid", fix="fit a rigid map first")
    return start


def _starts(first: Affine, search: _Search, turned: int, degrees: float, seed: int) -> list[Affine]:
    dim, rng, starts = first.dimension, np.random.default_rng(seed), [first]
    for _ in range(turned):
        axis = rng.normal(size=1 if dim == 2 else 3)
        turn = axis / np.linalg.norm(axis) * np.radians(rng.uniform(0, degrees))
        starts.append(adapt("rigid", first, np.concatenate([np.zeros(dim), turn]), search.centre))
    return starts


class _Search:
    """One pair of surfaces, for any number of starts."""

    def __init__(
        self,
        source: Mesh | ArrayLike,
        target: Mesh | ArrayLike,
        distance: Distance,
        trim: float,
        iterations: int,
        tolerance_mm: float,
    ) -> None:
        from scipy.spatial import KDTree

        if not 0 <= trim < 1:
            raise RegistrationError(f"the share that is trimmed must be in 0…1, not {trim:g}")
        if distance not in {"point", "plane"}:
            raise RegistrationError(f"the distance is 'point' or 'plane', not {distance!r}")
        if distance == "plane" and not isinstance(target, Mesh):
            raise RegistrationError(
                "distances from planes need the normals of the target",
                fix="give the target as a surface, or use distance='point'",
            )
        self.source, self.target = _points(source, "source"), _points(target, "target")
        if self.source.shape[1] != self.target.shape[1]:
            raise RegistrationError("the surfaces differ in dimension")
        self.normals = target.normals if isinstance(target, Mesh) and distance == "plane" else None
        self.tree = KDTree(self.target)
        self.centre = self.source.mean(axis=0)
        self.trim, self.iterations, self.tolerance_mm = trim, iterations, tolerance_mm

    def centred(self) -> Affine:
        return Affine(np.eye(len(self.centre)), self.target.mean(axis=0) - self.centre)

    def run(self, found: Affine) -> Closest:
        """Few points until they rest, then more, then all: most of the way needs no detail."""
        done, converged = 0, False
        order = np.random.default_rng(0).permutation(len(self.source))
        for count in (*[c for c in _COARSE if c < len(self.source)], len(self.source)):
            points = self.source[order[:count]] if count < len(order) else self.source
            converged = False
            while done < self.iterations and not converged:
                found, moved = self._step(found, points)
                converged, done = moved <= self.tolerance_mm, done + 1
        apart = np.sort(self.tree.query(found(self.source))[0])
        kept = apart[: self._kept(len(apart))]
        rms = float(np.sqrt(np.mean(kept**2)))
        return Closest(found, rms, done, converged, len(kept) / len(apart))

    def _kept(self, count: int) -> int:
        return max(round((1 - self.trim) * count), 3)

    def _step(self, found: Affine, points: FloatArray) -> tuple[Affine, float]:
        """Pair nearest points and fit; how far that moved the points at most."""
        moved = found(points)
        apart, nearest = self.tree.query(moved)
        if self.trim:
            near = np.argpartition(apart, self._kept(len(apart)) - 1)[: self._kept(len(apart))]
            points, moved, nearest = points[near], moved[near], nearest[near]
        goal = self.target[nearest]
        if self.normals is None:
            after = Affine(*fit_closed(points, goal, np.ones(len(points)), "rigid"))
        else:
            after = self._along(found, points, goal - moved, self.normals[nearest])
        return after, float(np.linalg.norm(after(points) - moved, axis=1).max())

    def _along(
        self, found: Affine, points: FloatArray, miss: FloatArray, normals: FloatArray
    ) -> Affine:
        """One Gauss-Newton step for the distances along the normals."""
        slope = change("rigid", found.matrix, points - self.centre)
        along = np.einsum("nd,ndp->np", normals, slope)
        # What the planes do not hold, as a sphere does not hold turns, must not wander.
        step = np.linalg.pinv(along.T @ along, rcond=1e-9) @ (along.T @ (normals * miss).sum(1))
        return adapt("rigid", found, step, self.centre)


def _points(surface: Mesh | ArrayLike, side: str) -> FloatArray:
    points = surface.vertices_mm if isinstance(surface, Mesh) else np.asarray(surface, np.float64)
    if points.ndim != 2 or points.shape[1] not in {2, 3} or not np.isfinite(points).all():
        raise RegistrationError(f"the {side} is no list of finite points, but {points.shape}")
    check_spread(points, points, "rigid")
    return points
