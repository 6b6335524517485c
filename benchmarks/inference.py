"""A whole 256³ volume, network and decoding: time and memory, in a process of its own each.

    python benchmarks/inference.py [--size 256] [--landmarks 3] [--device cpu]

The network is the one of the published recipe (VoxelMorph's U-Net) on all voxels of the volume. The
naive version decodes with a grid of coordinates and the softmax kept, as textbooks do.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time


def measure(kind: str, size: int, landmarks: int, device: str) -> dict[str, float]:
    import numpy as np
    import torch

    from anatomark.methods.base import Maps
    from anatomark.methods.fang2023 import Fang2023, Fang2023Config
    from anatomark.models.device import half_precision, keep_freed_memory
    from anatomark.models.predicting import placed, predict

    keep_freed_memory()  # as the commands do
    torch.manual_seed(0)
    method = Fang2023(Fang2023Config(), landmarks=landmarks, dimension=3, channels=1)
    method = placed(method, 3, device)
    if kind == "naive":
        plain = method.predict

        def naive(out: Maps):
            maps = torch.softmax(out.maps.float().flatten(2), -1).reshape(out.maps.shape)
            axes = [torch.linspace(-1 + 1 / n, 1 - 1 / n, n, device=maps.device)
                    for n in maps.shape[2:]]  # fmt: skip
            grid = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1)
            points = (maps[..., None] * grid).sum((2, 3, 4))
            spread = (maps[..., None] * (grid - points[:, :, None, None, None]) ** 2).sum((2, 3, 4))
            return plain(Maps(out.maps[..., :1, :1, :1], out.extent_mm))._replace(
                points=points, covariance_mm2=torch.diag_embed(spread)
            )

        method.predict = naive
    volume = np.random.default_rng(0).random((1, size, size, size), np.float32)
    extent = np.full(3, 100.0)
    half = half_precision("auto", device)
    seconds = []
    for _ in range(3 if device == "cpu" else 5):
        start = time.perf_counter()
        predict(method, [volume], [extent], device=device, half=half)
        seconds.append(time.perf_counter() - start)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    if device == "cuda":
        memory = torch.cuda.max_memory_allocated() / 2**30
    return {"seconds": min(seconds), "gib": memory, "bf16": float(half)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--landmarks", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--kind")
    given = parser.parse_args()
    if given.kind:
        print(json.dumps(measure(given.kind, given.size, given.landmarks, given.device)))
        return
    found = {}
    for kind in ("anatomark", "naive"):
        words = [sys.executable, __file__, "--kind", kind, "--size", str(given.size)]
        words += ["--landmarks", str(given.landmarks), "--device", given.device]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{kind:10s} failed: {done.stderr.strip().splitlines()[-1:]}")
            continue
        found[kind] = json.loads(done.stdout.splitlines()[-1])
        f = found[kind]
        print(
            f"{kind:10s} {given.size}³ × {given.landmarks}: {f['seconds']:.2f} s, "
            f"peak {f['gib']:.2f} GiB, {'bf16' if f['bf16'] else 'float32'}"
        )
    if len(found) == 2:
        print(f"ratio of times {found['naive']['seconds'] / found['anatomark']['seconds']:.2f}")


if __name__ == "__main__":
    main()
