"""Whether an image is like the training images, and whether it shows the place of a point.

Statistics are of the image as it was read. None feels a factor or an offset of the grey values,
but for the levels that are added where the values are physical (Hounsfield units). Those of edges
and noise feel the size of voxels: another resolution is another kind of image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr

from anatomark.errors import ImageError, UsageError
from anatomark.field_of_view import field_of_view
from anatomark.geometry import FloatArray

MIN_CASES = 8
ALPHA = 0.01
_SAMPLES = 96  # along an axis, at most
_BINS = 32
_CLIP = 4.0  # SD: a single strange training image must not widen the range

WORDS = {
    "view": "the part that shows anything",
    "constant": "the share of one grey value",
    "median": "the place of the median grey value",
    "skew": "the skew of grey values",
    "bright": "the reach of bright values",
    "dark": "the reach of dark values",
    "entropy": "the variety of grey values",
    "edges": "the strength of edges",
    "noise": "noise",
    "middle": "the brightness of the middle",
    "peaks": "bright against dark detail",
    "low_level": "the level of dark tissue",
    "mid_level": "the level of median tissue",
    "high_level": "the level of bright tissue",
}
# Positive by nature: their ratios count, not their differences.
_RATIOS = {"constant", "bright", "dark", "edges", "noise"}
_LEAST = 1e-3


def image_statistics(
    array: ArrayLike, inside: NDArray[np.bool_] | None = None, *, absolute: bool = False
) -> dict[str, float]:
    """Statistics of grey values ``(C, *shape)``, z, y, x, where ``inside`` ``(*shape)`` holds.

    ``inside`` is that of ``field_of_view`` where it is not given. ``absolute`` adds levels in the
    unit of the image, for units that mean something. Of several channels, names are numbered.
    """
    channels = np.asarray(array)
    if channels.ndim not in {3, 4} or not channels.size:
        raise ImageError(
            f"an array of shape {channels.shape} is no image", fix="give (C, *shape) in 2D or 3D"
        )
    view = field_of_view(channels[0]) if inside is None else np.asarray(inside, bool)
    if len(channels) == 1:
        return _of_channel(channels[0], view, absolute)
    found = {}
    for number, channel in enumerate(channels):
        for name, value in _of_channel(channel, view, absolute).items():
            found[f"{name}.{number}"] = value
    return found


def _of_channel(array: NDArray[Any], view: NDArray[np.bool_], absolute: bool) -> dict[str, float]:
    steps = tuple(slice(None, None, max(-(-n // _SAMPLES), 1)) for n in array.shape)
    coarse = np.asarray(array[steps], np.float64)
    seen = view[steps] & np.isfinite(coarse)
    values = coarse[seen] if seen.any() else np.zeros(1)
    low, dark, mid, light, high = np.percentile(values, (5, 25, 50, 75, 95))
    width = high - low
    found = dict.fromkeys(list(WORDS)[:11], 0.0) | {"view": float(seen.mean()), "constant": 1.0}
    if width > 0:
        found |= _histogram(values, low, width)
        found["median"] = float((mid - low) / width)
        found["skew"] = float((light + dark - 2 * mid) / max(light - dark, 1e-3 * width))
        found |= _details(array, view, width)
        found["middle"] = float((_middle(coarse, seen).mean() - values.mean()) / width)
    if absolute:
        found |= {"low_level": float(low), "mid_level": float(mid), "high_level": float(high)}
    return found


def _histogram(values: FloatArray, low: float, width: float) -> dict[str, float]:
    first, last = np.percentile(values, (0.5, 99.5))
    share = np.histogram(np.clip((values - low) / width, -0.5, 1.5), _BINS, (-0.5, 1.5))[0]
    share = share[share > 0] / len(values)
    return {
        "constant": float(np.unique(values, return_counts=True)[1].max() / len(values)),
        "entropy": float(-(share * np.log2(share)).sum()),
        "bright": float((last - low) / width - 1),
        "dark": float((low - first) / width),
    }


def _details(array: NDArray[Any], view: NDArray[np.bool_], width: float) -> dict[str, float]:
    """Slopes and bends between neighbouring voxels, looked at on a coarse grid."""
    slopes, bends = [], []
    for axis in range(array.ndim):
        before, here, after = (_shifted(array, axis, k) for k in (0, 1, 2))
        kept = np.asarray(_shifted(view, axis, 1), bool)
        kept &= np.isfinite(before) & np.isfinite(here) & np.isfinite(after)
        slopes.append(((after - before)[kept] / (2 * width)) ** 2)
        bends.append((before - 2 * here + after)[kept] / width)
    slope, bend = np.concatenate(slopes), np.concatenate(bends)
    if not len(bend):
        return {}
    spread = np.sqrt(np.mean(bend**2)) + 1e-12
    return {
        "edges": float(np.sqrt(slope.mean())),
        # The median passes over edges, which are few; √6 is the gain of the second difference.
        "noise": float(1.4826 * np.median(np.abs(bend)) / math.sqrt(6)),
        # A bright spot has a negative bend: an inverted image has the opposite skewness.
        "peaks": float(np.clip(-np.mean((bend / spread) ** 3), -10, 10)),
    }


def _shifted(array: NDArray[Any], axis: int, by: int) -> FloatArray:
    """Every so-many-th voxel, ``by`` neighbours along an axis, both ends cut off."""
    steps = [slice(None, None, max(-(-n // _SAMPLES), 1)) for n in array.shape]
    size = array.shape[axis]
    steps[axis] = slice(by, max(size - 2 + by, by), steps[axis].step)
    return np.asarray(array[tuple(steps)], np.float64)


def _middle(array: FloatArray, seen: NDArray[np.bool_]) -> FloatArray:
    box = tuple(slice(n // 4, n - n // 4) for n in array.shape)
    values = array[box][seen[box]]
    return values if len(values) else array[seen]


# -- range of the training images ----------------------------------------------------------------


@dataclass(frozen=True)
class QualityRange:
    """What statistics were like in training: none of the images is kept.

    Statistics are compared as ``(value - centre) / spread`` (of logarithms, for those that are
    ratios), together by the precision ``(K, K)`` of these. Logarithms of the distance of a fresh
    training image are normal with ``log_distance`` (mean, SD), known from ``cases``.
    ``low`` and ``high`` are the values that occurred.
    """

    names: tuple[str, ...]
    centre: tuple[float, ...]
    spread: tuple[float, ...]
    precision: tuple[tuple[float, ...], ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    log_distance: tuple[float, float]
    cases: int

    def to_record(self) -> dict[str, Any]:
        """Plain JSON."""
        return {k: _lists(v) for k, v in asdict(self).items()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The inverse."""
        return cls(**{k: _tuples(v) for k, v in record.items()})


def _lists(value: Any) -> Any:
    return [_lists(v) for v in value] if isinstance(value, tuple) else value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


@dataclass(frozen=True)
class QualityCheck:
    """How unlike the training images an image is.

    ``p_value``: share of images like those of training that are as unlike them as this one, or
    more. ``worst`` is the statistic that is furthest off; ``sentence`` says what is odd, empty if
    nothing is.
    """

    p_value: float
    score: float
    worst: str
    sentence: str


def fit_quality(statistics: Sequence[Mapping[str, float]]) -> QualityRange | None:
    """From ``image_statistics`` of training images; ``None`` if there are fewer than eight."""
    if len(statistics) < MIN_CASES:
        return None
    names = tuple(statistics[0])
    table = np.array([[_scaled(n, s[n]) for n in names] for s in statistics])
    centre, spread, precision = _robust(table)
    apart = []
    for left_out in range(len(table)):
        c, s, p = _robust(np.delete(table, left_out, axis=0))
        apart.append(_distance((table[left_out] - c) / s, p))
    logs = np.log(np.maximum(apart, _LEAST))
    raw = np.array([[s[n] for n in names] for s in statistics], np.float64)
    return QualityRange(
        names=names,
        centre=tuple(centre.tolist()),
        spread=tuple(spread.tolist()),
        precision=tuple(tuple(row) for row in precision.tolist()),
        low=tuple(raw.min(axis=0).tolist()),
        high=tuple(raw.max(axis=0).tolist()),
        log_distance=(float(logs.mean()), float(max(logs.std(ddof=1), 0.05))),
        cases=len(table),
    )


def check_quality(
    training: QualityRange, statistics: Mapping[str, float], *, alpha: float = ALPHA
) -> QualityCheck:
    """Compare an image with the training images; odd if its p-value is below ``alpha``."""
    missing = [n for n in training.names if n not in statistics]
    if missing:
        raise UsageError(
            f"no statistic {missing[0]!r}", fix="take those of training, same channels"
        )
    values = np.array([_scaled(n, statistics[n]) for n in training.names])
    z = (values - np.array(training.centre)) / np.array(training.spread)
    score = _distance(z, np.array(training.precision))
    mean, sd = training.log_distance
    n = training.cases
    off = (math.log(max(score, _LEAST)) - mean) / (sd * math.sqrt(1 + 1 / n))
    p = float(stdtr(n - 1, -off))  # the upper tail of Student's t
    worst = training.names[int(np.abs(z).argmax())]
    return QualityCheck(p, score, worst, _sentence(training, statistics, z) if p < alpha else "")


def _sentence(training: QualityRange, statistics: Mapping[str, float], z: FloatArray) -> str:
    """The statistic that is furthest off, or the two that do not fit together."""
    for k in np.argsort(-np.abs(z)).tolist():
        name, low, high = training.names[k], training.low[k], training.high[k]
        if not low <= statistics[name] <= high:
            return f"{_words(name)} {statistics[name]:.2g}, training images {low:.2g}–{high:.2g}"
    precision = np.array(training.precision)
    pairs = list(combinations(range(len(z)), 2))
    if not pairs:
        return f"{_words(training.names[0])} is unusual"
    a, b = max(pairs, key=lambda ab: z[ab[0]] * precision[ab] * z[ab[1]])
    names = f"{_words(training.names[a])} and {_words(training.names[b])}"
    return f"{names} are unusual together"


def _words(name: str) -> str:
    plain, _, channel = name.partition(".")
    words = WORDS.get(plain, plain)
    return f"{words} of channel {channel}" if channel else words


def _scaled(name: str, value: float) -> float:
    ratio = name.partition(".")[0] in _RATIOS
    return math.log(max(value, 0.0) + _LEAST) if ratio else float(value)


def _robust(table: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Median, robust SD, and precision ``(K, K)`` of the standardised statistics, shrunk."""
    centre = np.median(table, axis=0)
    mad = 1.4826 * np.median(np.abs(table - centre), axis=0)
    spread = np.maximum(mad, 0.3 * table.std(axis=0)) + 0.01
    z = np.clip((table - centre) / spread, -_CLIP, _CLIP)
    n, k = z.shape
    sample = z.T @ z / n
    apart = float(((sample - np.eye(k)) ** 2).sum())
    noise = float(((z**2).T @ (z**2) / n - sample**2).sum()) / n
    part = min(max(noise / apart, 0.1), 1.0) if apart > 0 else 1.0
    return centre, spread, np.linalg.inv((1 - part) * sample + part * np.eye(k))


def _distance(z: FloatArray, precision: FloatArray) -> float:
    """Mahalanobis distance per statistic."""
    return math.sqrt(float(z @ precision @ z) / len(z))
