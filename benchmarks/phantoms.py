"""Phantoms: seconds to draw one, and how far off a guess is that looks at no image.

python benchmarks/phantoms.py [WORD]          # only rows whose name has WORD in it

Seconds are the fastest and the median of a few seeds, in this process, without imports. The guess
is the mean normalised position of each landmark over 100 other seeds, as in docs/phantoms.md.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from anatomark import Grid, Landmarks, Sample
from anatomark.datasets.phantoms import PHANTOMS
from anatomark.datasets.phantoms.ct.abdomen import abdomen_slice
from anatomark.datasets.phantoms.ct.thorax import thorax_ct, thorax_layout
from anatomark.datasets.phantoms.olfactory.mr import olfactory_layout, olfactory_mr
from anatomark.datasets.phantoms.prostate.pair import prostate_pair
from anatomark.datasets.phantoms.xray.chest import chest_xray
from anatomark.datasets.phantoms.xray.hand import hand_xray
from anatomark.datasets.phantoms.xray.head import head_xray

Place = tuple[Grid, Landmarks]

_PRIOR, _JUDGED = 100, 100
_TINY = (32, 32)


@dataclass(frozen=True)
class Row:
    """``draw(seed)`` is timed on ``seeds`` seeds; ``place(seed)`` says where landmarks lie."""

    name: str
    draw: Callable[[int], object]
    place: Callable[[int], Place] | None = None
    seeds: int = 5


def prostate_place(modality: str) -> Callable[[int], Place]:
    def place(seed: int) -> Place:
        pair = prostate_pair(seed, modalities=())
        if modality == "mr":
            return pair.mr_pose.grid, pair.mr_landmarks
        return pair.us_pose.grid, pair.us_landmarks

    return place


def film_place(name: str, film: Callable[..., Sample]) -> Callable[[int], Place]:
    def place(seed: int) -> Place:
        sample = film(seed, shape=_TINY)  # another shape, the same field of view
        tiny = sample.image.grid
        if tiny.unit == "mm":
            return tiny, sample.landmarks
        full = Grid(PHANTOMS[name].shape, unit="px")
        points = full.from_normalised(tiny.to_normalised(sample.landmarks.points_mm))
        return full, replace(sample.landmarks, points_mm=points)

    return place


ROWS = [
    Row(
        "prostate pair, both 32×64×64",
        lambda seed: prostate_pair(seed, mr_shape=(32, 64, 64), us_shape=(32, 64, 64)),
        seeds=15,
    ),
    Row(
        "prostate pair, 32×64×64 and 64×64×64",
        lambda seed: prostate_pair(seed, mr_shape=(32, 64, 64), us_shape=(64, 64, 64)),
        seeds=15,
    ),
    Row(
        "prostate MR, 128×256×256",
        lambda seed: prostate_pair(seed, modalities=("mr",)),
        prostate_place("mr"),
        seeds=3,
    ),
    Row(
        "prostate ultrasound, 256×256×256",
        lambda seed: prostate_pair(seed, modalities=("us",)),
        prostate_place("us"),
        seeds=3,
    ),
    Row("head film, full size", head_xray, film_place("head", head_xray), seeds=3),
    Row("hand film, full size", hand_xray, film_place("hand", hand_xray), seeds=3),
    Row("chest film, full size", chest_xray, film_place("chest", chest_xray), seeds=3),
    Row("thorax CT, 96×136×136", thorax_ct, thorax_layout, seeds=3),
    Row("abdomen slice, full size", abdomen_slice, seeds=3),
    Row(
        "olfactory MR, 14×64×64",
        lambda seed: olfactory_mr(seed, shape=(14, 64, 64)),
        lambda seed: olfactory_layout(seed, shape=(14, 64, 64)),
        seeds=9,
    ),
    Row("olfactory MR, 28×256×256", olfactory_mr, olfactory_layout, seeds=5),
]


def seconds(row: Row) -> tuple[float, float, float]:
    """Fastest and median seconds on the clock, median seconds of processor time."""
    row.draw(1000)
    clock, busy = [], []
    for seed in range(row.seeds):
        start, worked = time.perf_counter(), time.process_time()
        row.draw(seed)
        clock.append(time.perf_counter() - start)
        busy.append(time.process_time() - worked)
    return min(clock), statistics.median(clock), statistics.median(busy)


def guess_error(place: Callable[[int], Place]) -> tuple[float, str]:
    """Mean error of the mean place over other seeds, and its unit."""
    found = [place(seed) for seed in range(_PRIOR + _JUDGED)]
    normalised = np.stack([grid.to_normalised(marks.points_mm) for grid, marks in found])
    guess = np.nanmean(normalised[:_PRIOR], axis=0)
    errors = [
        np.linalg.norm(grid.from_normalised(guess) - marks.points_mm, axis=1)
        for grid, marks in found[_PRIOR:]
    ]
    return float(np.nanmean(errors)), found[0][0].unit


def main() -> None:
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    load = os.getloadavg()[0]
    print(
        f"{os.cpu_count()} processors, load {load:.1f} at the start (1 s of processor ≠ 1 s then)"
    )
    print(f"{'phantom':40}{'fastest s':>10}{'median s':>10}{'busy s':>10}{'guess':>12}")
    for row in ROWS:
        if word not in row.name:
            continue
        fastest, median, busy = seconds(row)
        guess = ""
        if row.place is not None:
            error, unit = guess_error(row.place)
            guess = f"{error:.1f} {unit}"
        print(f"{row.name:40}{fastest:10.2f}{median:10.2f}{busy:10.2f}{guess:>12}", flush=True)


if __name__ == "__main__":
    main()
