"""Cobb angles of a spine from the corners of its vertebrae, and the error of AASCE 2019.

The rule is that of the challenge, which made the angles of its own table from its corners. A
vertebra has the direction from the middle of its left edge to the middle of its right edge in the
image. The main angle is the largest between any two. The upper and the lower one lie between these
two and the ends of the spine; of an S-shaped spine, between these two and the most tilted vertebra
beyond them, and if its main angle is in the lower half, both are above it. A turned image changes
nothing but which half is the lower one.

Corners are named ``v01_tl``, ``v01_tr``, ``v01_bl``, ``v01_br`` and so on; a vertebra without all
of its corners is left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from anatomark.geometry import FloatArray
from anatomark.metrics.measures.base import Measure, MeasureSet

CORNERS = ("tl", "tr", "bl", "br")
_CORNER = re.compile(rf"(v\d+)_({'|'.join(CORNERS)})")
_TITLES = {
    "cobb_main": "main Cobb angle",
    "cobb_upper": "Cobb angle above",
    "cobb_lower": "Cobb angle below",
}
_SOURCE = "AASCE 2019"


def _table(names: Sequence[str]) -> tuple[Measure, ...]:
    """The three angles, of names with at least two whole vertebrae."""
    found = dict.fromkeys(match[1] for name in names if (match := _CORNER.fullmatch(name)))
    whole = [v for v in found if all(f"{v}_{c}" in names for c in CORNERS)]
    if len(whole) < 2:
        return ()
    whole.sort(key=lambda name: int(name[1:]))
    points = tuple(f"{v}_{c}" for v in whole for c in CORNERS)
    return tuple(
        Measure(name, title, "angle", points, partial(_angle, which), (), _SOURCE, partial=True)
        for which, (name, title) in enumerate(_TITLES.items())
    )


def _angle(which: int, *corners: FloatArray) -> FloatArray:
    points = np.stack(corners, axis=-2)
    spines = points.reshape(-1, len(corners) // 4, 4, 2)
    # Points that are moved a little are absent together.
    spines = spines[:, np.isfinite(spines[0]).all(axis=(1, 2))]
    if spines.shape[1] < 2:
        return np.full(points.shape[:-2], np.nan)
    return np.asarray(_angles(spines)[which].reshape(points.shape[:-2]))


def _angles(spines: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Main, upper and lower angle of spines ``(N, vertebrae, corner, 2)``."""
    across = (spines[:, :, 1] + spines[:, :, 3] - spines[:, :, 0] - spines[:, :, 2]) / 2
    tilt = np.unwrap(np.arctan2(across[..., 1], across[..., 0]), axis=1)
    apart = np.rad2deg(np.abs(tilt[:, :, None] - tilt[:, None]))
    count, each = apart.shape[1], np.arange(len(apart))
    top, bottom = np.divmod(np.triu(apart).reshape(len(apart), -1).argmax(axis=1), count)
    main, from_top, from_bottom = apart[each, top, bottom], apart[each, top], apart[each, bottom]
    centres = spines.mean(axis=2)
    upper, lower = _beyond(apart, from_top, from_bottom, top, bottom, _low(centres, top, bottom))
    bowed = ~_s_shaped(centres)
    return (
        main,
        np.asarray(np.where(bowed, from_top[:, 0], upper)),
        np.asarray(np.where(bowed, from_bottom[:, -1], lower)),
    )


def _beyond(
    apart: FloatArray, from_top: FloatArray, from_bottom: FloatArray,
    top: NDArray[np.intp], bottom: NDArray[np.intp], low: NDArray[np.bool_],
) -> tuple[FloatArray, FloatArray]:  # fmt: skip
    """The other two angles of S-shaped spines."""
    place, each = np.arange(apart.shape[1]), np.arange(len(apart))
    above = np.where(place <= top[:, None], from_top, -1.0)
    most = above.argmax(axis=1)
    below = np.where(place >= bottom[:, None], from_bottom, -1.0).max(axis=1)
    further = np.where(place <= most[:, None], apart[each, most], -1.0).max(axis=1)
    return above.max(axis=1), np.asarray(np.where(low, further, below))


def _low(centres: FloatArray, top: NDArray[np.intp], bottom: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Whether the main angle is in the lower half of the spine."""
    each, down = np.arange(len(centres)), centres[..., 1]
    return np.asarray(down[each, top] + down[each, bottom] >= down[:, 0] + down[:, -1])


def _s_shaped(centres: FloatArray) -> NDArray[np.bool_]:
    """Whether vertebrae lie on both sides of the line from the first to the last."""
    line, rest = centres[:, -1:] - centres[:, :1], centres[:, 1:-1] - centres[:, :1]
    side = line[..., 0] * rest[..., 1] - line[..., 1] * rest[..., 0]
    return np.asarray((side > 0).any(axis=1) & (side < 0).any(axis=1))


def smape(truth: FloatArray, found: FloatArray) -> float:
    """Percent: of each case the sum of the differences over the sum of all angles, the mean."""
    both = np.isfinite(truth).all(axis=1) & np.isfinite(found).all(axis=1)
    if not both.any():
        return float("nan")
    apart = np.abs(truth[both] - found[both]).sum(axis=1)
    total = (truth[both] + found[both]).sum(axis=1)
    return 100 * float(np.where(total > 0, apart / np.where(total > 0, total, 1.0), 0.0).mean())


COBB = MeasureSet(
    "cobb", "Cobb angles", _table, tuple(f"v{v}_{c}" for v in ("01", "02") for c in CORNERS),
    automatic=True, overall={"smape_percent": smape},
)  # fmt: skip
