"""From matches to a map."""

from __future__ import annotations

import numpy as np

from anatomark.correspondence import Matches
from anatomark.errors import LandmarkError
from anatomark.maps import ThinPlate

_SAME = 1e-3  # parts of a mm (a pixel): closer points are one


def thin_plate(matches: Matches, *, smoothing: float = 0.0) -> ThinPlate:
    """The thin-plate spline that pushes the fixed points onto the moving ones.

    Fixed points at one place become one, with the mean of their partners. ``smoothing`` 0 goes
    through all points; some 1e-4 evens out errors of a pixel or two.
    """
    _, rows = np.unique((matches.fixed_mm / _SAME).round(), axis=0, return_inverse=True)
    rows = rows.ravel()
    count = np.bincount(rows)[:, None]
    fixed, moving = np.zeros((2, len(count), matches.dimension))
    np.add.at(fixed, rows, matches.fixed_mm)
    np.add.at(moving, rows, matches.moving_mm)
    least = matches.dimension + 1
    if len(count) < least:
        raise LandmarkError(
            f"{len(count)} places are too few for a thin-plate spline",
            fix=f"it takes {least} that do not lie in one line or plane",
        )
    return ThinPlate(fixed / count, moving / count, smoothing=smoothing)
