"""GU2Net, one 512×416 film: how fast, against a plain float32 forward of the same network.

    python benchmarks/universal.py [--device cpu] [--repeat 5]

The plain forward is the network as written, contiguous, float32. Each variant is in a process of
its own; landmarks of all are compared.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

VARIANTS = ("plain", "channels last", "as detect does")
HEIGHT, WIDTH, LANDMARKS = 512, 416, 19


def measure(variant: str, device: str, repeat: int) -> dict[str, object]:
    import numpy as np
    import torch

    from anatomark.methods import METHODS, Batch
    from anatomark.models.device import half_precision, keep_freed_memory
    from anatomark.models.predicting import placed, predict

    keep_freed_memory()
    torch.manual_seed(0)
    kind = METHODS["zhu2021"]
    method = kind(kind.Config(), landmarks=LANDMARKS, dimension=2, channels=1).eval()
    film = np.random.default_rng(0).random((1, HEIGHT, WIDTH), np.float32)
    extent = np.array([WIDTH, HEIGHT], float)
    half = half_precision("auto", device) and variant == "as detect does"
    method = method.to(device) if variant == "plain" else placed(method, 2, device)
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        if variant == "plain":
            with torch.inference_mode():
                batch = Batch(
                    torch.from_numpy(film)[None].to(device), torch.tensor([extent]).float()
                )
                points = method.predict(method(batch.to(device))).points.cpu()
        else:
            points = predict(method, [film], [extent], device=device, half=half).points
        seconds.append(time.perf_counter() - start)
    return {"seconds": min(seconds), "points": points[0].tolist(), "bf16": half}


def main(device: str, repeat: int) -> None:
    import numpy as np

    found = {}
    for variant in VARIANTS:
        words = [sys.executable, __file__, "--variant", variant, "--device", device]
        done = subprocess.run(
            [*words, "--repeat", str(repeat)], capture_output=True, text=True, check=True
        )
        found[variant] = json.loads(done.stdout)
    plain = found["plain"]
    size = np.array([WIDTH, HEIGHT]) / 2
    for variant, own in found.items():
        apart = np.abs(np.subtract(own["points"], plain["points"]) * size).max()
        ratio = plain["seconds"] / own["seconds"]
        print(
            f"{variant:16s} {1000 * own['seconds']:8.1f} ms  {ratio:5.2f}× "
            f"points within {apart:.3f} px{'  bf16' if own['bf16'] else ''}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variant", choices=VARIANTS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeat", type=int, default=5)
    given = parser.parse_args()
    if given.variant:
        print(json.dumps(measure(given.variant, given.device, given.repeat)))
    else:
        main(given.device, given.repeat)
