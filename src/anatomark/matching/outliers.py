"""Wild matches, told by what all others, or those nearby, say."""

from __future__ import annotations

import warnings
from typing import Literal, NamedTuple

import numpy as np

from anatomark.correspondence import Matches
from anatomark.errors import AnatomarkWarning, UsageError, counted
from anatomark.geometry import FloatArray
from anatomark.maps import Affine
from anatomark.registration.checks import least_pairs
from anatomark.registration.closed import Kind, fit_closed
from anatomark.registration.neighbours import Mask, agreeing, foretell
from anatomark.registration.robust import consensus

_ROUNDS = 10


class Rejection(NamedTuple):
    """What is left, and for every match that was given whether it was kept ``(N,)``."""

    kept: Matches
    good: Mask

    @property
    def rejected(self) -> int:
        """How many matches were rejected."""
        return int((~self.good).sum())


def reject(
    matches: Matches,
    *,
    how: Literal["smooth", "ransac"] = "smooth",
    model: Kind = "affine",
    tolerance_mm: float = 10.0,
    trials: int = 2000,
    seed: int = 0,
    neighbours: int = 12,
    floor_mm: float = 3.0,
    factor: float = 5.0,
) -> Rejection:
    """Leave out matches that contradict the others; 2D and 3D, lengths in the unit of the matches.

    ``smooth`` is for images that differ by any smooth map: a match goes if it lies farther than a
    threshold from where an affine map of its ``neighbours`` sends it. The threshold is ``factor``
    times the usual distance (MAD), and at least ``floor_mm``.

    ``ransac`` is for images that differ by one ``model``: of ``trials`` maps through few matches
    that were drawn with ``seed``, the one that most follow to ``tolerance_mm``.

    Matches too few to judge are kept, and a warning says so; another one says where even those that
    are left contradict each other.
    """
    _check(how, model, tolerance_mm, floor_mm, factor)
    fixed, moving, dim = matches.fixed_mm, matches.moving_mm, matches.dimension
    least = dim + 3
    if len(matches) < least:
        few = counted(len(matches), "match is", "matches are")
        text = f"{few} too few to tell wild ones: all are kept"
        warnings.warn(AnatomarkWarning(text), stacklevel=2)
        good = np.ones(len(matches), bool)
    elif how == "ransac":
        good = _ransac(fixed, moving, model, tolerance_mm, trials, seed)
    else:
        good = agreeing(fixed, moving, floor=floor_mm, factor=factor, count=neighbours)
        _check_agreement(fixed[good], moving[good], floor_mm, matches.unit)
    return Rejection(matches.select(good), good)


def _check(how: str, model: str, *lengths: float) -> None:
    if how not in {"smooth", "ransac"}:
        raise UsageError(f"how is 'smooth' or 'ransac', not {how!r}")
    if model not in {"rigid", "similarity", "affine"}:
        raise UsageError(f"model is 'rigid', 'similarity' or 'affine', not {model!r}")
    if not all(np.isfinite(length) and length > 0 for length in lengths):
        raise UsageError("tolerance_mm, floor_mm and factor must be positive")


def _check_agreement(fixed: FloatArray, moving: FloatArray, floor: float, unit: str) -> None:
    """Warn where matches are usually not where their neighbours go: most may be wrong."""
    if len(fixed) < fixed.shape[1] + 3:
        return
    said = foretell(fixed, fixed, moving, own=np.arange(len(fixed)))
    usual = float(np.median(np.linalg.norm(said.points - moving, axis=1)))
    if usual > 2 * floor:
        text = f"the matches contradict each other: usually {usual:.3g} {unit} from where their "
        warnings.warn(AnatomarkWarning(f"{text}neighbours go; most may be wrong"), stacklevel=3)


def _ransac(
    fixed: FloatArray, moving: FloatArray, model: Kind, tolerance: float, trials: int, seed: int
) -> Mask:
    even = np.ones(len(fixed))
    good = consensus(fixed, moving, even, model, threshold_mm=tolerance, draws=trials, seed=seed)
    for _ in range(_ROUNDS):  # all that follow say better what the map is than the few drawn
        if good.sum() < least_pairs(model, fixed.shape[1]):
            break
        found = Affine(*fit_closed(fixed[good], moving[good], even[good], model))
        again = np.linalg.norm(found(fixed) - moving, axis=1) <= tolerance
        if (again == good).all():
            break
        good = again
    return np.asarray(good, bool)
