"""Resampling: seconds as a ratio to SimpleITK and scipy in the same run, and peak memory.

python benchmarks/resampling.py [SIDE]        # default 512: a 512³ float32 volume
"""

from __future__ import annotations

import multiprocessing as mp
import resource
import sys
import time
from collections.abc import Callable

import numpy as np

from anatomark import Affine, Grid, Image, resample


def volume(side: int) -> tuple[Image, Affine]:
    grid = Grid((side,) * 3, (0.5,) * 3)
    array = np.random.default_rng(0).random((side,) * 3, dtype=np.float32)
    turn = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]])
    return Image(array, grid), Affine.about(grid.centre, turn)


def with_anatomark(image: Image, pull: Affine) -> None:
    resample(image, image.grid, pull=pull)


def with_simpleitk(image: Image, pull: Affine) -> None:
    import SimpleITK as sitk

    picture = sitk.GetImageFromArray(image.array)
    picture.SetSpacing(image.grid.spacing.tolist())
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(pull.matrix.ravel().tolist())
    transform.SetTranslation(pull.offset.tolist())
    sitk.GetArrayFromImage(sitk.Resample(picture, picture, transform, sitk.sitkLinear, 0.0))


def with_scipy(image: Image, pull: Affine) -> None:
    from scipy.ndimage import affine_transform

    full = np.linalg.inv(image.grid.affine) @ pull.homogeneous @ image.grid.affine
    affine_transform(image.array, full[:3, :3][::-1, ::-1], full[:3, 3][::-1], order=1)


def measure(name: str, work: Callable[[Image, Affine], None], side: int, queue: mp.Queue) -> None:
    image, pull = volume(side)
    work(*volume(16))  # imports and start-up are not what is measured
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    work(image, pull)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    queue.put((name, seconds, peak / 2**20, (peak - before) / 2**20))


def main() -> None:
    side = int(sys.argv[1]) if len(sys.argv) > 1 else 512
    context = mp.get_context("spawn")
    queue = context.Queue()
    rows = []
    for name, work in (
        ("anatomark", with_anatomark),
        ("SimpleITK", with_simpleitk),
        ("scipy", with_scipy),
    ):
        process = context.Process(target=measure, args=(name, work, side, queue))
        process.start()
        rows.append(queue.get())
        process.join()
    print(f"oblique linear resampling of {side}³ float32, one run each")
    print(f"{'':12}{'seconds':>9}{'ratio':>8}{'peak GiB':>10}{'added GiB':>11}")
    for name, seconds, peak, added in rows:
        print(f"{name:12}{seconds:9.2f}{seconds / rows[0][1]:8.2f}{peak:10.2f}{added:11.2f}")


if __name__ == "__main__":
    main()
