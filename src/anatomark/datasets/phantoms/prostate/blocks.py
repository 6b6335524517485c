"""Work through a volume block by block, so that what is computed stays in the processor's cache."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise, product

import numpy as np

from anatomark.datasets.phantoms.ct.solids import Field
from anatomark.datasets.phantoms.prostate.ovals import dot
from anatomark.geometry import FloatArray, Grid
from anatomark.processes import cores

Block = tuple[slice, ...]

# Smaller blocks take more calls; in larger ones there is more to look at that is far from a solid.
_EDGE, _EDGE_OF_SMALL = 40, 64
_MOST_THREADS = 4
_SMALL = 1_000_000  # voxels; threads are not worth their while there


def blocks(shape: tuple[int, ...]) -> list[Block]:
    """Slices that cut an array into blocks of nearly the same size."""
    edge = _EDGE_OF_SMALL if math.prod(shape) < _SMALL else _EDGE
    cuts = []
    for n in shape:
        ends = np.linspace(0, n, math.ceil(n / edge) + 1).astype(int).tolist()
        cuts.append([slice(first, last) for first, last in pairwise(ends)])
    return list(product(*cuts))


def each_block(work: Callable[[Block], None], shape: tuple[int, ...]) -> None:
    """Call ``work`` for every block, on the processors there are; blocks must not share output."""
    everything = blocks(shape)
    threads = min(_MOST_THREADS, cores(), len(everything))
    if threads < 2 or math.prod(shape) < _SMALL:
        for block in everything:
            work(block)
        return
    with ThreadPoolExecutor(threads) as pool:
        _finish(pool.map(work, everything))


def _finish(results: Iterable[None]) -> None:
    """Wait for all, and let an error in one of them out."""
    for _ in results:
        pass


def local_steps(grid: Grid) -> list[Field]:
    """Voxel centres along x, y and z in mm about the centre of the grid."""
    return [
        ((np.arange(n) - (n - 1) / 2) * s).astype(np.float32)
        for n, s in zip(grid.size_xyz, grid.spacing, strict=True)
    ]


def local_points(steps: list[Field], block: Block) -> Field:
    """Local coordinates ``(3, z, y, x)`` of the voxels of a block."""
    z, y, x = (steps[axis][cut] for axis, cut in zip((2, 1, 0), block, strict=True))
    points = np.empty((3, len(z), len(y), len(x)), np.float32)
    points[0], points[1], points[2] = x, y[:, None], z[:, None, None]
    return points


def rigid(matrix: FloatArray, points: Field, shift: FloatArray) -> Field:
    """``matrix @ points + shift`` for coordinates ``(3, ...)``, in a fixed order of additions."""
    moved, spare = np.empty_like(points), np.empty(points.shape[1:], np.float32)
    for row in range(3):
        moved[row] = dot(points, matrix[row], float(shift[row]), spare=spare)
    return moved
