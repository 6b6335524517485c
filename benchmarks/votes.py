"""Noothout 2020 on whole volumes: time of all stages, cost against voxels, memory.

    python benchmarks/votes.py [--device cpu] [--repeat 3] [--plot votes.png]

A volume of 136×136×96 voxels and eight landmarks with the published network, then a sweep of cubes,
each in a process of its own; the last column is the time of a voxel relative to the first cube.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

SHAPES = ((96, 136, 136), (64, 64, 64), (96, 96, 96), (128, 128, 128), (192, 192, 192),
          (256, 256, 256))  # fmt: skip


def measure(shape: tuple[int, ...], device: str, repeat: int) -> dict[str, float]:
    import numpy as np
    import torch

    from anatomark.methods import METHODS
    from anatomark.models.device import half_precision, keep_freed_memory
    from anatomark.models.predicting import placed, predict

    if shape[0] < 200:
        keep_freed_memory()
    kind = METHODS["noothout2020"]
    method = placed(kind(kind.Config(), landmarks=8, dimension=3, channels=1), 3, device)
    volume = np.random.default_rng(0).random((1, *shape), np.float32)
    extent = 1.5 * np.array(shape[::-1], float)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        predict(method, [volume], [extent], device=device, half=half_precision("auto", device))
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": min(seconds), "peak_gib": peak / 2**20, "added_gib": (peak - before) / 2**20}


def main(device: str, repeat: int, plot: str | None) -> None:
    rows = []
    for shape in SHAPES:
        words = [sys.executable, __file__, "--shape", ",".join(map(str, shape))]
        done = subprocess.run(
            [*words, "--device", device, "--repeat", str(repeat)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        found = json.loads(done.stdout)
        voxels = shape[0] * shape[1] * shape[2]
        rows.append((shape, voxels, found))
        first = rows[1] if len(rows) > 1 else rows[0]
        relative = found["seconds"] / voxels / (first[2]["seconds"] / first[1])
        print(
            f"{'×'.join(map(str, shape[::-1])):12s} {found['seconds']:7.2f} s "
            f"{1e6 * found['seconds'] / voxels:7.3f} µs a voxel {relative:5.2f}× "
            f"peak {found['peak_gib']:5.2f} GiB",
            flush=True,
        )
    if plot:
        _plot(rows[1:], plot)


def _plot(rows: list, path: str) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 3.6), layout="constrained")
    voxels = [row[1] / 1e6 for row in rows]
    axes.plot(voxels, [row[2]["seconds"] for row in rows], "o-", color="#0072b2", label="measured")
    slope = rows[-1][2]["seconds"] / voxels[-1]
    axes.plot(voxels, [slope * v for v in voxels], "--", color="#999999", label="linear")
    axes.set(xlabel="million voxels", ylabel="seconds, all stages")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--plot")
    given = parser.parse_args()
    if given.shape:
        shape = tuple(int(n) for n in given.shape.split(","))
        print(json.dumps(measure(shape, given.device, given.repeat)))
    else:
        main(given.device, given.repeat, given.plot)
