"""DSNT with both regularisers, forward and backward, against the textbook way in the same run.

    python benchmarks/heads.py [SIDE]        3×SIDE³ float32 maps, 128 unless told

Each way runs in processes of its own, in turn; memory is the peak of the resident set above what
the process held with the maps in place.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from anatomark.heads import expect
from anatomark.losses import variance_mm2

REPEATS = 7
# What is freed goes back to the system at once, so that none of it is missed (memory only: slow).
RETURNED = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
EXTENT = torch.tensor([[120.0, 110.0, 100.0]])
TARGET = torch.tensor([[[0.1, -0.2, 0.3], [0.5, 0.5, -0.5], [-0.7, 0.2, 0.0]]])


def streamed(maps: Tensor) -> Tensor:
    found = expect(maps, EXTENT, target=TARGET)
    assert found.distance_mm is not None
    points = (found.points + 1) / 2 * EXTENT[:, None]
    return points.sum() + variance_mm2(found.covariance_mm2).sum() + found.distance_mm.sum()


def textbook(maps: Tensor) -> Tensor:
    """Softmax, a grid of voxel positions in mm, sums over their products (eq. 1, 4 and 5)."""
    axes = [torch.arange(n, dtype=maps.dtype) + 0.5 for n in maps.shape[2:]]
    voxels = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], dim=-1)
    voxels = voxels * (EXTENT[0] / torch.tensor(maps.shape[:1:-1]))
    share = maps.flatten(2).softmax(-1).view_as(maps)
    points = (share[..., None] * voxels).flatten(2, 4).sum(2)
    apart = (voxels - points[:, :, None, None, None]).square().sum(-1)
    variance = (share * apart).flatten(2).sum(-1)
    aim = (TARGET + 1) / 2 * EXTENT[:, None]
    reach = (voxels - aim[:, :, None, None, None]).norm(dim=-1)
    return points.sum() + variance.sum() + (share * reach).flatten(2).sum(-1).sum()


WAYS = {"streamed": streamed, "textbook": textbook}


def peak_mib() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise SystemExit("no VmHWM: this benchmark needs Linux")


def measure(way: str, side: int) -> dict[str, float]:
    torch.manual_seed(0)
    maps = torch.randn(1, 3, side, side, side).mul_(3).requires_grad_()
    WAYS[way](maps[..., :8, :8, :8]).backward()  # libraries and threads are there now
    maps.grad = None
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = peak_mib()
    seconds = []
    for _ in range(REPEATS):
        maps.grad = None
        start = time.perf_counter()
        WAYS[way](maps).backward()
        seconds.append(time.perf_counter() - start)
    return {"ms": 1e3 * sorted(seconds)[REPEATS // 2], "mib": peak_mib() - before}


def main() -> None:
    side = int(sys.argv[1]) if len(sys.argv) > 1 else 128
    if len(sys.argv) > 2:
        print(json.dumps(measure(sys.argv[2], side)))
        return
    found: dict[str, dict[str, float]] = {way: {"ms": float("inf")} for way in WAYS}
    for way, environment in itertools.product((*WAYS, *WAYS), (os.environ, RETURNED)):
        call = [sys.executable, __file__, str(side), way]
        done = subprocess.run(call, capture_output=True, text=True, check=True, env=environment)
        one = json.loads(done.stdout)
        if environment is RETURNED:
            found[way]["mib"] = one["mib"]
        else:
            found[way]["ms"] = min(one["ms"], found[way]["ms"])  # twice, in turn: the better one
    print(f"3×{side}³ float32, forward and backward, {torch.get_num_threads()} threads")
    for way, one in found.items():
        time_ratio, memory_ratio = (one[k] / found["textbook"][k] for k in ("ms", "mib"))
        print(
            f"{way:10} {one['ms']:8.1f} ms ({time_ratio:4.2f})  "
            f"{one['mib']:7.1f} MiB ({memory_ratio:4.2f})"
        )


if __name__ == "__main__":
    main()
