"""Matchers on known pairs of a cohort's test slices, and the time that a pair takes.

    python benchmarks/matching.py COHORT [MATCHER ...] [--filtered] [--first-look] [--out DIR]

A MATCHER is a shipped model, a run folder or file, or sift, sift-ratio, rootsift.
Times are of 512×512 pairs with at most 400 landmarks each, in the same run, as ratios to SIFT.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np


def main(
    cohort_path: str, names: list[str], out: Path | None, every: int, filtered: bool, first: bool
) -> None:
    from anatomark import load_sample, read_cohort, save_picture
    from anatomark.matching.errors import error_rows
    from anatomark.matching.known import KINDS
    from anatomark.matching.matcher import LearntMatcher
    from anatomark.matching.named import matcher_named
    from anatomark.matching.pictures import draw_errors
    from anatomark.matching.study import compare_matchers
    from anatomark.models.device import keep_freed_memory

    keep_freed_memory()
    cohort = read_cohort(cohort_path).select(split="test")
    images = []
    for case in cohort.cases[::every]:
        image = load_sample(cohort, case, grey=True).image
        images.append(image.with_array(image.array.astype(np.float32)))
    matchers: dict[str, Any] = {}
    for name in names:
        matchers[name] = matcher_named(name)
        if first and isinstance(matchers[name], LearntMatcher):
            matchers[f"{name}, first look"] = matcher_named(name, guided=False)
        if filtered:
            matchers[f"{name}, filtered"] = Filtered(matchers[name])
    study = compare_matchers(matchers, images, seed=100)
    record: dict[str, Any] = {"slices": len(images), "kinds": {}}
    for kind in KINDS:
        low, middle, high = np.percentile(study.moved[kind], (25, 50, 75))
        print(f"\n{kind}: points of the body move {middle:.1f} ({low:.1f}–{high:.1f}) {study.unit}")
        head, rows = error_rows(study.summaries(kind))
        print(" | ".join(head))
        for row in rows:
            print(" | ".join(row))
        record["kinds"][kind] = {
            name: {"matches": own.matches, "errors": own.errors, "within": own.within,
                   "wild": own.wild}
            for name, own in study.summaries(kind).items()
        }  # fmt: skip
    plain = {name: own for name, own in matchers.items() if not isinstance(own, Filtered)}
    record["seconds"] = timed(plain, images[0])
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "matching.json").write_text(json.dumps(record, indent=1))
        curves = {str(kind): errors for kind, errors in study.errors.items()}
        save_picture(draw_errors(curves, unit=study.unit), out / "errors.png")


class Filtered:
    """A matcher without the matches that contradict their neighbours, as ``anatomark match``."""

    def __init__(self, matcher: Any) -> None:
        self._matcher = matcher

    def match(self, fixed: Any, moving: Any) -> Any:
        """What is left."""
        from anatomark.matching.outliers import reject

        return reject(self._matcher.match(fixed, moving)).kept


def timed(matchers: dict[str, Any], image: Any) -> dict[str, float]:
    """Median seconds of a 512×512 pair, of each matcher in turn."""
    from anatomark.matching.known import known_pair
    from anatomark.matching.matcher import LearntMatcher
    from anatomark.matching.named import matcher_named

    full = [max(512 - n, 0) for n in image.grid.size_xyz]
    low = float(image.array.min())
    image = image.pad([n // 2 for n in full], [n - n // 2 for n in full], value=low)
    image = image.crop([0, 0], [512, 512])
    pair = known_pair(image, "affine", seed=1)
    matchers = {
        name: matcher_named(name.split(",")[0], most=400, guided=not name.endswith("look"))
        if isinstance(own, LearntMatcher)
        else own
        for name, own in matchers.items()
    }
    for matcher in matchers.values():
        matcher.match(pair.fixed, pair.moving)  # warm up
    times: dict[str, list[float]] = {name: [] for name in matchers}
    for _ in range(7):
        for name, matcher in matchers.items():
            start = time.perf_counter()
            matcher.match(pair.fixed, pair.moving)
            times[name].append(time.perf_counter() - start)
    middle = {name: statistics.median(own) for name, own in times.items()}
    base = middle.get("sift", min(middle.values()))
    print("\nseconds of a 512×512 pair:")
    for name, seconds in middle.items():
        print(f"{name}: {seconds:.2f} s, {seconds / base:.1f} × sift")
    return middle


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cohort")
    parser.add_argument("matchers", nargs="*", default=["ct-slices", "sift", "sift-ratio"])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--filtered", action="store_true")
    parser.add_argument("--first-look", action="store_true")
    given = parser.parse_args()
    main(given.cohort, given.matchers, given.out, given.every, given.filtered, given.first_look)
