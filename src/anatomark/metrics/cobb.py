"""Cobb angles of a spine from the corners of its vertebrae, and the error of AASCE 2019.

The rule is that of the challenge, which made the angles of its own table from its corners. A
vertebra has the direction from the middle of its left edge to the middle of its right edge in the
image. The main angle is the largest between any two. The upper and the lower one lie between these
two and the ends of the spine; of an S-shaped spine, between these two and the most tilted vertebra
beyond them, and if its main angle is in the lower half, both are above it. A turned image changes
nothing but which half is the lower one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from anatomark.data import Landmarks
from anatomark.geometry import FloatArray

_CORNER = re.compile(r"v(\d+)_(tl|tr|bl|br)")


class Cobb(NamedTuple):
    """Degrees, in the order of the challenge's table."""

    main: float
    upper: float
    lower: float


@dataclass(frozen=True)
class CobbError:
    """Over ``cases``: ``smape`` in percent, and mean differences of the angles in degrees."""

    cases: int
    smape: float
    differences: Cobb

    def to_record(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "cases": self.cases, "smape_percent": self.smape,
            "mean_differences_deg": self.differences._asdict(),
        }  # fmt: skip


def has_corners(names: Sequence[str]) -> bool:
    """Whether all are corners: ``v01_tl``, ``v01_tr``, ``v01_bl``, ``v01_br``, and so on."""
    return len(names) >= 8 and all(_CORNER.fullmatch(name) for name in names)


def cobb_angles(corners: Landmarks) -> Cobb | None:
    """The angles of a spine; ``None`` where fewer than two vertebrae have all four corners."""
    vertebrae: dict[int, dict[str, FloatArray]] = {}
    for name, point, there in zip(corners.names, corners.points_mm, corners.present, strict=True):
        found = _CORNER.fullmatch(name)
        if found and there:
            vertebrae.setdefault(int(found[1]), {})[found[2]] = point
    whole = [v for _, v in sorted(vertebrae.items()) if len(v) == 4]
    if len(whole) < 2:
        return None
    across = np.array([(v["tr"] + v["br"] - v["tl"] - v["bl"]) / 2 for v in whole])
    centres = np.array([sum(v.values()) / 4 for v in whole])
    tilt = np.unwrap(np.arctan2(across[:, 1], across[:, 0]))
    apart = np.rad2deg(np.abs(tilt[:, None] - tilt))
    top, bottom = np.unravel_index(int(np.argmax(np.triu(apart))), apart.shape)
    main = float(apart[top, bottom])
    if not _s_shaped(centres):
        return Cobb(main, float(apart[0, top]), float(apart[bottom, -1]))
    upper = int(np.argmax(apart[top, : top + 1]))
    if centres[top, 1] + centres[bottom, 1] < centres[0, 1] + centres[-1, 1]:
        return Cobb(main, float(apart[top, upper]), float(apart[bottom, bottom:].max()))
    return Cobb(main, float(apart[top, upper]), float(apart[upper, : upper + 1].max()))


def _s_shaped(centres: FloatArray) -> bool:
    """Whether vertebrae lie on both sides of the line from the first to the last."""
    along, rest = centres[-1] - centres[0], centres[1:-1] - centres[0]
    side = along[0] * rest[:, 1] - along[1] * rest[:, 0]
    return bool((side > 0).any() and (side < 0).any())


def cobb_error(truth: Mapping[str, Landmarks], found: Mapping[str, Landmarks]) -> CobbError | None:
    """Angles of found corners against those of the true ones; ``None`` where there are none.

    SMAPE: of each case the sum of the differences over the sum of all angles, then the mean.
    """
    pairs = []
    for case, true in truth.items():
        angles = cobb_angles(true), cobb_angles(found[case]) if case in found else None
        if angles[0] is not None and angles[1] is not None:
            pairs.append(angles)
    if not pairs:
        return None
    both = np.array(pairs, np.float64)  # (N, 2, 3)
    apart, total = np.abs(both[:, 0] - both[:, 1]), both.sum(axis=(1, 2))
    each = np.where(total > 0, apart.sum(axis=1) / np.where(total > 0, total, 1.0), 0.0)
    return CobbError(len(pairs), 100 * float(each.mean()), Cobb(*apart.mean(axis=0).tolist()))
