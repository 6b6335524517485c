"""Matching of tissue sections in different stains: how much of the target error it takes away.

python benchmarks/histology.py FOLDER [MATCHER ...]   # default: ct-slices sift sift-ratio rootsift

FOLDER has pairs as the CIMA data set keeps them: images, and CSV files of points (X, Y in pixels)
of the same name. rTRE is the distance of a point from its partner, as a part of the image's
diagonal; the median over the points of a pair is shown, before anything, after a robust affine map,
and after a thin-plate spline through the matches that a smooth map can explain.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from anatomark import Image, Map, read_image
from anatomark.correspondence import Matches
from anatomark.errors import AnatomarkError, AnatomarkWarning
from anatomark.geometry import FloatArray
from anatomark.matching.named import matcher_named
from anatomark.matching.outliers import reject
from anatomark.matching.sift import KINDS, SiftMatcher
from anatomark.registration.points import fit_points
from anatomark.registration.splines import fit_thin_plate

# fixed image and points, moving image and points
PAIRS = {
    "artificial, rigid": ("artificial_reference", "artificial_moving-rigid"),
    "artificial, affine": ("artificial_reference", "artificial_moving-affine"),
    "artificial, elastic": ("artificial_reference", "artificial_moving-elastic"),
    "lesions, HE to proSPC": ("Izd2-29-041-w35_HE", "Izd2-29-041-w35_proSPC"),
    "rat kidney, HE to PanCK": ("Rat-Kidney_HE", "Rat-Kidney_PanCytokeratin"),
}
TOLERANCE = 0.02  # of the diagonal: what one affine map of two sections may leave


class Matcher(Protocol):
    """Anything that finds pairs of points."""

    def match(self, fixed: Image, moving: Image) -> Matches:
        """Pairs of points of two images."""


@dataclass(frozen=True)
class Pair:
    """Two sections in pixels, and points (N, 2) x, y that belong together."""

    name: str
    fixed: Image
    moving: Image
    fixed_px: FloatArray
    moving_px: FloatArray

    @property
    def diagonal(self) -> float:
        """Of the moving image, in pixels."""
        return float(np.linalg.norm(self.moving.grid.extent))

    def rtre(self, to_moving: Map | None) -> float:
        """Median distance of pushed points from their partners, as a part of the diagonal."""
        there = self.fixed_px if to_moving is None else to_moving(self.fixed_px)
        return float(np.median(np.linalg.norm(there - self.moving_px, axis=1)) / self.diagonal)


def pairs(folder: Path) -> Iterator[Pair]:
    for name, stems in PAIRS.items():
        images = [next(folder.rglob(f"{stem}.jpg"), None) for stem in stems]
        tables = [next(folder.rglob(f"{stem}.csv"), None) for stem in stems]
        if None in images or None in tables:
            continue
        fixed, moving = (read_image(path, grey=True) for path in images)
        points = [
            np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)[:, -2:].astype(float)
            for path in tables
        ]
        count = min(map(len, points))  # some have points at the end that the other lacks
        yield Pair(name, fixed, moving, points[0][:count], points[1][:count])


class AsCt:
    """A model of CT slices on sections: bright tissue on dark ground, in its range of values."""

    def __init__(self, name: str) -> None:
        self._matcher = matcher_named(name)

    def match(self, fixed: Image, moving: Image) -> Matches:
        """Pairs of points of two sections."""
        return self._matcher.match(self._shown(fixed), self._shown(moving))

    @staticmethod
    def _shown(image: Image) -> Image:
        values = image.array.astype(np.float32)
        low, high = np.percentile(values, (0.5, 99.5))
        part = np.clip((high - values) / max(high - low, 1), 0, 1)
        return image.with_array((-600 + 1000 * part).astype(np.float32))


def named(name: str) -> Matcher:
    # Stains differ: each image by its own grey values.
    return SiftMatcher(name, window="own") if name in KINDS else AsCt(name)


def measured(pair: Pair, matcher: Matcher) -> list[str]:
    start = time.process_time()
    matches = matcher.match(pair.fixed, pair.moving)
    seconds = time.process_time() - start
    affine = reject(matches, how="ransac", tolerance_mm=TOLERANCE * pair.diagonal).kept
    smooth = reject(affine, how="smooth", floor_mm=0.005 * pair.diagonal).kept
    cells = [str(len(matches)), str(len(smooth))]
    for make in (
        lambda: fit_points(affine.fixed_mm, affine.moving_mm, "affine"),
        lambda: fit_thin_plate(smooth.fixed_mm, smooth.moving_mm, smoothing=1e-3),
    ):
        try:
            cells.append(f"{100 * pair.rtre(make().map):.2f}")
        except (AnatomarkError, np.linalg.LinAlgError):
            cells.append("–")
    return [*cells, f"{seconds:.1f}"]


def main(folder: str, *names: str) -> None:
    warnings.simplefilter("ignore", AnatomarkWarning)
    heads = ["pair", "matcher", "before %", "matches", "smooth", "affine %", "spline %", "CPU s"]
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for pair in pairs(Path(folder)):
        for name in names or ("ct-slices", "sift", "sift-ratio", "rootsift"):
            cells = measured(pair, named(name))
            print(
                "| " + " | ".join([pair.name, name, f"{100 * pair.rtre(None):.2f}", *cells]) + " |"
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
