"""Kinds of point fits and of ICP beside those that ``anatomark bench fits`` measures.

    OMP_NUM_THREADS=1 python benchmarks/fits.py

Times are of the processor, not of the clock, so that other work on the machine does not count;
the least of several repetitions. What there is a naive way to is in ``anatomark bench``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
from scipy.spatial.transform import Rotation

from anatomark.bench.fits import noisy_pairs
from anatomark.data import Image
from anatomark.geometry import Grid
from anatomark.maps import Affine
from anatomark.registration.icp import icp
from anatomark.registration.points import fit_points
from anatomark.registration.robust import fit_reweighted, fit_robust
from anatomark.registration.splines import fit_thin_plate
from anatomark.registration.surfaces import Mesh, surface_of

PAIRS = 400


def milliseconds(work: Callable[[], object], repeats: int) -> float:
    work()
    found = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return 1e3 * min(found)


def bean() -> Mesh:
    """A surface of some 20 000 vertices, without symmetry."""
    grid = Grid((128, 128, 128), [0.75, 0.75, 0.75])
    z, y, x = (0.75 * (a - 63.5) for a in np.mgrid[:128, :128, :128])
    one = (x / 29) ** 2 + (y / 22) ** 2 + (z / 18) ** 2 < 1
    two = ((x - 10) / 13) ** 2 + ((y - 14) / 17) ** 2 + ((z - 4) / 14) ** 2 < 1
    return surface_of(Image(one | two, grid))


def say(what: str, ours: float) -> None:
    print(f"{what}: {ours:.2f} ms", flush=True)


def fits() -> None:
    source, target = noisy_pairs(PAIRS, 0.0)
    for kind in ("rigid", "similarity", "affine"):
        fast = milliseconds(lambda k=kind: fit_points(source, target, k), 30)
        say(f"{kind}, {PAIRS} pairs", fast)
    covariance = np.tile(np.diag([1.0, 2.0, 3.0]), (PAIRS, 1, 1))
    known = {"source_covariance_mm2": covariance, "target_covariance_mm2": covariance}
    say("rigid, with covariances", milliseconds(lambda: fit_points(source, target, **known), 10))
    wrong = noisy_pairs(PAIRS, 0.3)
    say("rigid, robust", milliseconds(lambda: fit_robust(*wrong, threshold_mm=4.0), 10))
    say("rigid, reweighted", milliseconds(lambda: fit_reweighted(*wrong), 10))
    say("thin plate", milliseconds(lambda: fit_thin_plate(source, target, smoothing=0.1), 3))


def surfaces() -> None:
    mesh = bean()
    turn = Rotation.from_rotvec([0.1, 0.15, -0.1]).as_matrix()
    # Turned and put on other vertices, so that no point has an exact counterpart.
    push = Affine.about(mesh.vertices_mm.mean(0), turn, [6.0, -4.0, 3.0])
    shifted = mesh.vertices_mm[mesh.faces].mean(1)[::2]
    target = Mesh(push(shifted), np.zeros((0, 3), np.int64))
    print(f"{len(mesh.vertices_mm)} and {len(shifted)} vertices")
    for trim in (0.0, 0.1):
        found = icp(mesh, target, trim=trim)
        apart = np.linalg.norm(found.map(shifted) - target.vertices_mm, axis=1).mean()
        print(f"  {found.iterations} rounds, {apart:.3f} mm off, converged: {found.converged}")
        fast = milliseconds(lambda t=trim: icp(mesh, target, trim=t), 2)
        say(f"ICP, points, trim {trim:g}", fast)
    whole = mesh.moved(push)
    fast = milliseconds(lambda: icp(mesh, whole, distance="plane"), 2)
    say(f"ICP, planes, {icp(mesh, whole, distance='plane').iterations} rounds", fast)


def main() -> None:
    chosen = sys.argv[1:] or ["fits", "surfaces"]
    for name in chosen:
        {"fits": fits, "surfaces": surfaces}[name]()


if __name__ == "__main__":
    main()
