"""Colour pictures of grey things: reduced to grey where nothing is lost, or on request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anatomark.errors import UsageError

# Rec. 601, as JPEG and scanners use.
_LUMINANCE = (0.299, 0.587, 0.114)


def to_grey(array: NDArray[Any], path: Path, *, forced: bool, tolerance: int = 0) -> NDArray[Any]:
    """One channel of ``array (C, …)`` with 2, 3 or 4 colour channels, transparency last.

    Without ``forced`` only where nothing is lost: colours equal (within ``tolerance``) and
    transparency the same everywhere.
    """
    channels = len(array)
    if not 2 <= channels <= 4:
        raise UsageError(
            f"has {channels} channels, which are not colours", path=path, fix="do not ask for grey"
        )
    colours = array[: 3 if channels >= 3 else 1]
    veil = array[len(colours) :]
    if not forced:
        spread = _spread(colours)
        if spread > tolerance:
            raise UsageError(
                f"is in colour: its channels differ by up to {spread:g}",
                path=path,
                fix="pass --grey (grey=True) to use its luminance",
            )
        if veil.size and np.ptp(veil) != 0:
            raise UsageError(
                "has a transparency that varies",
                path=path,
                fix="pass --grey (grey=True) to ignore it",
            )
    if len(colours) == 1 or (colours == colours[0]).all():
        return np.ascontiguousarray(colours[0])
    return luminance(colours)


def has_colours(array: NDArray[Any], tolerance: int = 0) -> bool:
    """Tell whether red, green and blue of ``array (C, …)`` differ by more than ``tolerance``."""
    if array.ndim < 3 or not 3 <= len(array) <= 4:
        return False
    return _spread(array[:3]) > tolerance


def _spread(colours: NDArray[Any]) -> float:
    """The largest difference of the channels at one pixel, in a type that can hold it."""
    wide = np.int64 if colours.dtype.kind in "iu" else np.float64
    return float(np.ptp(colours.astype(wide), axis=0).max())


def luminance(colours: NDArray[Any]) -> NDArray[Any]:
    """Weighted mean of red, green and blue ``(3, …)`` in the same dtype, rounded if integer."""
    grey = np.tensordot(_LUMINANCE, colours.astype(np.float64), axes=1)
    return (np.rint(grey) if colours.dtype.kind in "ui" else grey).astype(colours.dtype)
