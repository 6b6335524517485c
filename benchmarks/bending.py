"""How often residuals of neighbours are said to agree: by chance, and where a map does bend.

    OMP_NUM_THREADS=1 python benchmarks/bending.py

Points anywhere in a cube of 100 mm, fitted by least squares. Errors of the points are independent:
normal, of two sizes (a fifth four times as large), Student's t with 3 degrees of freedom (common
to the axes of a point), or fifteen times as large along the last axis as along the others. Bent:
normal errors of 1 mm, and a wave 100 mm long of so many times that size along the first axis.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anatomark.pipelines.registration.bending import LIMIT, bends
from anatomark.registration.neighbours import likeness
from anatomark.registration.points import fit_points

Array = NDArray[np.float64]
SETS = 1000
COUNTS = (12, 30, 100, 400)
ERRORS = ("normal", "two sizes", "t", "one axis")


def errors(kind: str, shape: tuple[int, int], rng: np.random.Generator) -> Array:
    found = rng.normal(size=shape)
    if kind == "two sizes":
        found *= np.where(rng.random((shape[0], 1)) < 0.2, 4.0, 1.0)
    elif kind == "t":
        found *= np.sqrt(3 / rng.chisquare(3, (shape[0], 1)))
    elif kind == "one axis":
        found *= np.array([0.2, 0.2, 3.0])[-shape[1] :]
    return found


def chance(dimension: int, count: int, kind: str, rng: np.random.Generator) -> tuple[int, float]:
    """How many sets of independent errors are said to bend, and the most deviations of one."""
    said, most = 0, 0.0
    for number in range(SETS):
        points = rng.uniform(0, 100, (count, dimension))
        off = points + errors(kind, points.shape, rng)
        left = fit_points(off, points, "affine" if number % 2 else "rigid").residuals_mm
        said += bends(points, left, 0.0)
        most = max(most, likeness(points, left).deviations)
    return said, most


def seen(dimension: int, count: int, size: float, rng: np.random.Generator) -> float:
    """The share of bent sets that are said to bend, of rigid fits."""
    said = 0
    for _ in range(SETS // 10):
        points = rng.uniform(0, 100, (count, dimension))
        off = points + errors("normal", points.shape, rng)
        off[:, 0] += size * np.sin(2 * np.pi * points[:, 1] / 100 + rng.uniform(0, 2 * np.pi))
        said += bends(points, fit_points(off, points).residuals_mm, 0.0)
    return said / (SETS // 10)


def main() -> None:
    rng = np.random.default_rng(0)
    print(f"independent errors: sets of {SETS} beyond {LIMIT:g} deviations (the most of one)")
    for dimension in (2, 3):
        for count in COUNTS:
            found = [chance(dimension, count, kind, rng) for kind in ERRORS]
            words = ", ".join(f"{k} {n} ({m:.1f})" for k, (n, m) in zip(ERRORS, found, strict=True))
            print(f"  {dimension}D, {count} pairs: {words}", flush=True)
    print("bent by a wave of 1, 2 and 4 times the error: share that is said")
    for dimension in (2, 3):
        for count in COUNTS:
            words = ", ".join(f"{seen(dimension, count, s, rng):.2f}" for s in (1, 2, 4))
            print(f"  {dimension}D, {count} pairs: {words}", flush=True)


if __name__ == "__main__":
    main()
