"""Pixels laid over a film of fixed size, and smooth sampling between coarse and fine ones.

The film is measured in millimetres, x then y (downwards) from its upper left corner. A smaller
picture shows the same film with larger pixels. Pixel centres are half a pixel from the edges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from anatomark.errors import UsageError
from anatomark.geometry import FloatArray

Float32 = NDArray[np.float32]
Window = tuple[slice, slice]
Evaluate = Callable[[FloatArray, FloatArray], Float32]

_SMALLEST_PX = 32


@dataclass(frozen=True)
class Raster:
    """``shape`` (y, x) pixels on a film of ``film_mm`` (width, height)."""

    shape: tuple[int, int]
    film_mm: tuple[float, float]

    @property
    def pixel_mm(self) -> FloatArray:
        """Size of a pixel along x and y."""
        width, height = self.film_mm
        return np.array([width / self.shape[1], height / self.shape[0]])

    def normalised(self, points_mm: FloatArray) -> FloatArray:
        """Normalised coordinates (-1…1 between the film's edges) of points ``(N, 2)``."""
        scaled: FloatArray = 2 * points_mm / np.array(self.film_mm) - 1
        return scaled

    def keep(self, points_mm: FloatArray, shift_mm: FloatArray, *, margin: float) -> FloatArray:
        """The shift nearest to ``shift_mm`` that leaves all points on the film.

        ``margin`` is the part of the film's width and height that stays free at each edge.
        """
        film = np.array(self.film_mm)
        low, high = points_mm.min(axis=0), points_mm.max(axis=0)
        return np.clip(shift_mm, margin * film - low, (1 - margin) * film - high)

    def window(self, low_mm: FloatArray, high_mm: FloatArray) -> Window | None:
        """The pixels (rows, columns) whose centres a box can hold; ``None`` if there are none."""
        first = np.maximum(np.floor(low_mm / self.pixel_mm - 0.5), 0).astype(int)
        stop = np.ceil(high_mm / self.pixel_mm - 0.5).astype(int) + 1
        stop = np.minimum(stop, self.shape[::-1])
        if (stop <= first).any():
            return None
        return slice(int(first[1]), int(stop[1])), slice(int(first[0]), int(stop[0]))

    def sample(self, evaluate: Evaluate, window: Window, *, step_px: FloatArray) -> Float32:
        """Evaluate ``f(xs, ys)`` every ``step_px`` (x, y) pixels, cubic in between."""
        (xs, across), (ys, down) = (
            _nodes(part, float(step), float(pixel))
            for part, step, pixel in zip(window[::-1], step_px, self.pixel_mm, strict=True)
        )
        sampled: Float32 = np.asarray(down @ evaluate(xs, ys) @ across.T, np.float32)
        return sampled


def _nodes(part: slice, step: float, pixel: float) -> tuple[FloatArray, Float32]:
    """Film positions of coarse samples and the cubic weights ``(pixels, samples)`` from them."""
    length = part.stop - part.start
    count = int(np.ceil((length - 1) / step)) + 4
    positions = part.start + step * (np.arange(count) - 1.0)
    return (positions + 0.5) * pixel, _cubic(np.arange(length) / step + 1, count)


def _cubic(wanted: FloatArray, count: int) -> Float32:
    """Keys' cubic convolution as a matrix: row r gives the value at sample position wanted[r]."""
    far = np.abs(wanted[:, None] - np.arange(count))
    near = (1.5 * far - 2.5) * far**2 + 1
    outer = ((-0.5 * far + 2.5) * far - 4) * far + 2
    weights = np.where(far < 1, near, np.where(far < 2, outer, 0.0))
    weights /= weights.sum(axis=1, keepdims=True)
    return weights.astype(np.float32)


def resize(picture: Float32, shape: tuple[int, int]) -> Float32:
    """Another number of pixels over the same film: cubic, or averaged where there are fewer."""
    down, across = (_weights(m, n) for m, n in zip(picture.shape, shape, strict=True))
    resized: Float32 = np.asarray(down @ picture @ across.T, np.float32)
    return resized


@lru_cache(maxsize=16)
def _weights(old: int, new: int) -> Float32:
    """Matrix ``(new, old)`` that resamples one axis, pixel centres aligned."""
    if new >= old:
        return _cubic(np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1), old)
    spread = _weights(new, old).T
    averaged: Float32 = spread / spread.sum(axis=1, keepdims=True)
    return averaged


def check_shape(shape: Sequence[int]) -> tuple[int, int]:
    """Return ``shape`` (y, x) as a tuple; raise unless it is large enough to show anything."""
    if len(shape) != 2 or min(shape) < _SMALLEST_PX:
        raise UsageError(
            f"an X-ray phantom cannot have the shape {tuple(shape)}",
            fix="give two sizes (y, x) of at least 32 pixels",
        )
    return int(shape[0]), int(shape[1])
