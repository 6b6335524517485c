"""Peak memory and time of matching two large images, each in a process of its own.

    python benchmarks/matching_memory.py SIDE [SIDE ...] [--volume] [--most N] [--whole]

Images of SIDE pixels a side at 1 mm, of smooth noise in the grey values of soft tissue, and the
same moved by some pixels; the shipped model, on the processor. ``--volume`` takes SIDE³ with an
untrained network of the published widths, for no shipped model is for volumes.
``--whole`` shows the network the image in one piece.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np

SHIFT = 6  # voxels


def noise(side: int, dimension: int) -> Any:
    """Smooth noise about 40 HU, float32."""
    from scipy import ndimage

    rng = np.random.default_rng(0)
    values = rng.standard_normal((side,) * dimension, dtype=np.float32)
    values = ndimage.gaussian_filter(values, 3)
    return 40 + values * np.float32(120 / values.std())


def untrained(most: int | None) -> Any:
    """A matcher of volumes that says of every place that it is a landmark, likely or not."""
    import torch

    from anatomark.matching.matcher import LearntMatcher
    from anatomark.models.files import MatchingModel, ModelInfo, make_method
    from anatomark.models.recipe import parse_recipe

    torch.manual_seed(0)
    recipe = parse_recipe({
        "name": "untrained", "method": "grewal2020", "grid": {"size": [64] * 3, "spacing": 1.0},
        "intensity": {"kind": "window", "low": -600, "high": 400},
        "settings": {"least_probability": 0.0},
    })  # fmt: skip
    model = MatchingModel(ModelInfo(recipe=recipe.complete()), recipe, make_method(recipe, 0))
    return LearntMatcher(model, most=most, device="cpu")


def one(side: int, *, volume: bool, most: int | None, whole: bool) -> None:
    """Match one pair; what it took goes to standard output as JSON."""
    from anatomark.data import Image
    from anatomark.geometry import Grid
    from anatomark.matching.matcher import LearntMatcher
    from anatomark.models.files import load_matcher

    dimension = 3 if volume else 2
    values = noise(side, dimension)
    grid = Grid(values.shape, (1.0,) * dimension)
    moved = np.roll(values, (SHIFT,) * dimension, tuple(range(dimension)))
    fixed, moving = Image(values, grid), Image(moved, grid)
    if volume:
        matcher = untrained(most)
    else:
        matcher = LearntMatcher(load_matcher("ct-slices"), most=most, device="cpu")
    if whole:
        from anatomark.networks import siamese

        siamese.AT_ONCE = 1 << 62
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, work = time.perf_counter(), time.process_time()
    found = matcher.match(fixed, moving)
    seconds, work = time.perf_counter() - start, time.process_time() - work
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # A place that the roll brought to the other side is wrong: there are few.
    right = np.abs(found.moving_mm - found.fixed_mm - SHIFT).max(axis=1) < 2
    print(json.dumps({
        "before_gib": before / 2**20, "peak_gib": peak / 2**20, "seconds": seconds, "work": work,
        "matches": len(found), "right": int(right.sum()),
    }))  # fmt: skip


def main(sides: list[int], words: list[str]) -> None:
    """A process for each, for a peak is never forgotten."""
    for side in sides:
        command = [sys.executable, "-W", "ignore", __file__, str(side), "--alone", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{side}: failed ({done.returncode}) {done.stderr[-300:]}")
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{side}: peak {found['peak_gib']:.2f} GiB, {found['before_gib']:.2f} GiB of it before "
            f"matching; {found['seconds']:.1f} s, {found['work']:.1f} s of processor time; "
            f"{found['matches']} matches, {found['right']} right"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sides", nargs="+", type=int)
    parser.add_argument("--volume", action="store_true")
    parser.add_argument("--most", type=int)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone:
        one(given.sides[0], volume=given.volume, most=given.most, whole=given.whole)
    else:
        own = [f"--{n}" for n in ("volume", "whole") if getattr(given, n)]
        main(given.sides, [*own, *(["--most", str(given.most)] if given.most else [])])
