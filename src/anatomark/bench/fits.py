"""Fits of points and surfaces, against the loops that they replace.

The naive fit is Arun's method written point by point; the naive consensus tries one sample after
another; the naive ICP uses all points from the first round on.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from anatomark.bench.measure import Setting, Task, Work
from anatomark.data import Image
from anatomark.geometry import FloatArray, Grid
from anatomark.maps import Affine
from anatomark.registration.icp import icp
from anatomark.registration.points import fit_points
from anatomark.registration.robust import fit_robust
from anatomark.registration.splines import fit_thin_plate
from anatomark.registration.surfaces import Mesh, surface_of

_THRESHOLD_MM = 4.0
_DRAWS = 500


class Placed(NamedTuple):
    """A rigid map ``x ↦ matrix @ x + offset`` in mm."""

    matrix: FloatArray
    offset: FloatArray

    def __call__(self, points: FloatArray) -> FloatArray:
        """Points ``(N, 3)`` moved."""
        return np.asarray(points @ self.matrix.T + self.offset)


def naive_rigid(source: FloatArray, target: FloatArray) -> Placed:
    """Arun 1987, a point at a time."""
    count = len(source)
    middle, centre = np.zeros(3), np.zeros(3)
    for i in range(count):
        middle += source[i] / count
        centre += target[i] / count
    cross = np.zeros((3, 3))
    for i in range(count):
        cross += np.outer(target[i] - centre, source[i] - middle)
    u, _, vt = np.linalg.svd(cross)
    matrix = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
    return Placed(matrix, centre - matrix @ middle)


def naive_consensus(source: FloatArray, target: FloatArray) -> Placed:
    """RANSAC, a sample at a time, and a fit of the pairs that agree."""
    rng, best = np.random.default_rng(0), np.zeros(len(source), bool)
    for _ in range(_DRAWS):
        some = rng.choice(len(source), 3, replace=False)
        near = _near(naive_rigid(source[some], target[some]), source, target)
        best = near if near.sum() > best.sum() else best
    return naive_rigid(source[best], target[best])


def _near(found: Placed, source: FloatArray, target: FloatArray) -> Any:
    return np.linalg.norm(found(source) - target, axis=1) <= _THRESHOLD_MM


def naive_icp(source: FloatArray, target: FloatArray, tolerance_mm: float = 1e-4) -> FloatArray:
    """Nearest points and Arun's fit in turn; where the source points end."""
    tree, moved = KDTree(target), source + target.mean(0) - source.mean(0)
    for _ in range(100):
        goal = target[tree.query(moved)[1]]
        a, b = moved - moved.mean(0), goal - goal.mean(0)
        u, _, vt = np.linalg.svd(b.T @ a)
        after = a @ (u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt).T + goal.mean(0)
        step, moved = np.linalg.norm(after - moved, axis=1).max(), after
        if step <= tolerance_mm:
            break
    return np.asarray(moved)


def noisy_pairs(count: int, wrong: float = 0.0) -> tuple[FloatArray, FloatArray]:
    """Points ``(N, 3)`` in mm, and the same turned and moved with noise; a part ``wrong``."""
    rng = np.random.default_rng(0)
    source = rng.uniform(-80, 80, (count, 3))
    turn = Rotation.from_rotvec([0.3, -0.2, 0.5]).as_matrix()
    target = source @ turn.T + 9 + rng.normal(size=source.shape)
    bad = rng.random(count) < wrong
    target[bad] = rng.uniform(-80, 80, (int(bad.sum()), 3))
    return source, target


def _furthest(ours: FloatArray, naive: FloatArray) -> float:
    return float(np.linalg.norm(ours - naive, axis=1).max())


def _rigid(setting: Setting) -> Work:
    source, target = noisy_pairs(setting.size[0])
    return Work(
        lambda: fit_points(source, target).map(source),
        lambda: naive_rigid(source, target)(source),
        _furthest, 1e-6,
    )  # fmt: skip


def _robust(setting: Setting) -> Work:
    source, target = noisy_pairs(setting.size[0], wrong=0.3)
    return Work(
        lambda: fit_robust(source, target, threshold_mm=_THRESHOLD_MM, draws=_DRAWS).map(source),
        lambda: naive_consensus(source, target)(source),
        _furthest, 1.0,  # weights fall with the distance here, there they do not
    )  # fmt: skip


def _spline(setting: Setting) -> Work:
    """Both make the spline and move points with it; ours says its errors as well."""
    from scipy.interpolate import RBFInterpolator

    source, target = noisy_pairs(setting.size[0])
    points = np.random.default_rng(1).uniform(-80, 80, (10_000, 3))
    return Work(
        lambda: fit_thin_plate(source, target).map(points),
        lambda: np.asarray(RBFInterpolator(source, target, kernel="linear", degree=1)(points)),
        _furthest, 1e-6,
    )  # fmt: skip


def _surfaces(setting: Setting) -> Work:
    mesh = _bean(setting.size[0])
    turn = Rotation.from_rotvec([0.1, 0.15, -0.1]).as_matrix()
    # Turned and put on other vertices, so that no point has an exact counterpart.
    push = Affine.about(mesh.vertices_mm.mean(0), turn, [6.0, -4.0, 3.0])
    shifted = mesh.vertices_mm[mesh.faces].mean(1)[::2]
    target = Mesh(push(shifted), np.zeros((0, 3), np.int64))
    return Work(
        lambda: icp(mesh, target).map(mesh.vertices_mm),
        lambda: naive_icp(mesh.vertices_mm, target.vertices_mm),
        _furthest, 0.5,  # an end that creeps depends on where it stops
    )  # fmt: skip


def _bean(side: int) -> Mesh:
    """A surface without symmetry; of 128 voxels a side, some 19 000 vertices."""
    step = 96 / side
    grid = Grid((side,) * 3, [step] * 3)
    z, y, x = (step * (a - (side - 1) / 2) for a in np.mgrid[:side, :side, :side])
    one = (x / 29) ** 2 + (y / 22) ** 2 + (z / 18) ** 2 < 1
    two = ((x - 10) / 13) ** 2 + ((y - 14) / 17) ** 2 + ((z - 4) / 14) ** 2 < 1
    return surface_of(Image(one | two, grid))


TASKS = (
    Task(
        "rigid, with its errors", "Arun's method, point by point", _rigid, (400,), (50,),
        "{0} pairs", unit="mm",
    ),
    Task(
        "rigid, robust", "RANSAC, sample by sample", _robust, (400,), (100,),
        "{0} pairs, 30 % wrong", unit="mm",
    ),
    Task(
        "ICP of two surfaces", "all points in every round", _surfaces, (128,), (32,),
        "bean of {0}³ voxels", unit="mm", repeats=3,
    ),
    Task(
        "thin-plate spline, with its errors", "scipy's RBFInterpolator (no errors)", _spline,
        (400,), (50,), "{0} pairs, 10 000 points moved", unit="mm",
    ),
)  # fmt: skip
