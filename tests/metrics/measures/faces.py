"""A face drawn by hand on a level Frankfort plane, so that its measures follow from slopes."""

from __future__ import annotations

import numpy as np

from anatomark import Landmarks
from anatomark.metrics.measures.cephalometry import MORE_POINTS, POINTS

#: mm, x forwards, y down.
FACE = {
    "S": (0, 0), "N": (60, 0), "Or": (40, 20), "Po": (-20, 20), "A": (65, 50), "B": (50, 80),
    "Pog": (60, 100), "Me": (50, 110), "Gn": (54, 112), "Go": (-10, 80), "L1": (63, 70),
    "U1": (66, 72), "UL": (78, 66), "LL": (76.5, 76), "Sn": (74, 55), "Pog'": (74, 105),
    "PNS": (20, 45), "ANS": (65, 50), "Ar": (-15, 30),
    "L1r": (53, 90), "U1r": (56, 52), "Prn": (94, 45),
}  # fmt: skip


def face(*, moved=None, without=(), more=True, covariance=None, unit="mm", **places):
    """The face with other ``places`` of some points, seen through ``moved``."""
    names = {**POINTS, **MORE_POINTS} if more else POINTS
    points = np.array([(FACE | places)[letter] for letter in names], float)
    points = points if moved is None else moved(points)
    for letter in without:
        points[list(names).index(letter)] = np.nan
    spread = None if covariance is None else np.broadcast_to(covariance, (len(names), 2, 2))
    return Landmarks(names.values(), points, covariance_mm2=spread, unit=unit)
