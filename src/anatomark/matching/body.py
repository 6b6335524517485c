"""The body in an image: bright against its background, without table and specks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from anatomark.data import Image
from anatomark.models.preparation import body

_LEVELS = 256


def body_of(image: Image) -> NDArray[np.bool_]:
    """Voxels of the body, in the shape of the grid: Otsu's threshold, without what is thin.

    Small pieces go and holes are filled as in training. Where nothing stands out of the background,
    every voxel counts.
    """
    from scipy import ndimage

    values = image.array.astype(np.float32)
    values = values if image.channels is None else values.mean(axis=0)
    if not values.max() > values.min():
        return np.ones(values.shape, bool)
    bright: Any = ndimage.binary_opening(values > _otsu(values), iterations=2)
    found = body(bright[None].astype(np.float32), 0.5)[0]
    return found if found.any() else np.ones(values.shape, bool)


def _otsu(values: NDArray[np.float32]) -> float:
    """The threshold that parts the values into two groups with the least spread within."""
    low, high = np.percentile(values, [0.5, 99.5])
    counts, edges = np.histogram(values.clip(low, high), _LEVELS)
    middles = (edges[:-1] + edges[1:]) / 2
    below = counts.cumsum()
    above = counts.sum() - below
    sums = (counts * middles).cumsum()
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = sums / below - (sums[-1] - sums) / above
        between = np.nan_to_num(below * above * apart**2)
    return float(edges[1:][int(between.argmax())])
