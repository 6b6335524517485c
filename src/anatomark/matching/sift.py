"""Hand-made matchers behind the call that the learnt one has: SIFT and what was made of it.

``sift`` and ``sift-ratio`` are the two baselines of Grewal et al. 2020. OpenCV has learnt matchers
too (DISK, ALIKED, LightGlue), but their weights must be fetched from elsewhere. What is learnt and
comes with its weights are descriptors of OpenCV's contributed modules: ``teblid``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from anatomark.correspondence import Matches
from anatomark.data import Image
from anatomark.errors import AnatomarkWarning, GeometryError, UsageError
from anatomark.geometry import FloatArray, Grid

SiftKind = Literal["sift", "sift-ratio", "rootsift", "asift", "teblid"]
KINDS: tuple[SiftKind, ...] = get_args(SiftKind)
LOWE_RATIO = 0.8  # Lowe 2004, section 7.1
WINDOW = (0.5, 99.5)  # percentiles that become black and white
_TEBLID_SCALE = 6.75  # the width of its patches that OpenCV's manual gives for SIFT's points
_TILT = 2  # views of ASIFT: tilts of √2 and 2; every further one takes several times as long
_TEBLID_BITS = 256

Window = Literal["shared", "own"] | tuple[float, float]


class _Points(NamedTuple):
    """What was found in one image: indices ``(N, 2)`` x, y and descriptors ``(N, C)``."""

    index_xy: FloatArray
    described: NDArray[Any]


class _Pairs(NamedTuple):
    """Rows of the fixed and of the moving image, and the distance of their descriptors, 0…1."""

    fixed: NDArray[np.intp]
    moving: NDArray[np.intp]
    apart: FloatArray


@dataclass(frozen=True)
class SiftMatcher:
    """A matcher of two grey 2D images that learns nothing of them; needs OpenCV.

    ``kind`` is one of

    * ``sift``: SIFT, pairs that are each other's nearest (the paper's inverse consistency);
    * ``sift-ratio``: SIFT, the nearest if the second nearest is 1/0.8 times as far (Lowe 2004);
    * ``rootsift``: as ``sift``, with the square roots of descriptors (Arandjelović 2012);
    * ``asift``: as ``sift``, in views of both images under several tilts (Yu and Morel 2011);
    * ``teblid``: SIFT's points with learnt binary descriptors (Suárez 2021), whose weights are in
      ``opencv-contrib-python-headless``; each other's nearest.

    Images become 8 bit between two grey values. ``window`` says which: ``shared``, percentiles 0.5
    and 99.5 of both images together, for one modality; ``own``, of each by itself; or two values.
    """

    kind: SiftKind = "sift"
    window: Window = "shared"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"there is no matcher {self.kind!r}", fix=f"use {', '.join(KINDS)}")

    def check(self, image: Image) -> None:
        """Refuse a volume, and an image in colours."""
        _check_kind(image, "image")

    def match(self, fixed: Image, moving: Image) -> Matches:
        """Pairs of points that look alike, LPS, x, y, the surest first.

        ``confidence`` is 1 - the distance of the descriptors, as a part of the largest possible.
        No place of an image is in two pairs. An image without contrast has no pairs, and a
        warning says so.
        """
        cv2 = opencv()
        _check(fixed, moving)
        detect = _DETECTORS[self.kind]
        pictures = to_8_bit(fixed, moving, self.window)
        found = [detect(cv2, picture) for picture in pictures]
        for name, points in zip(("fixed", "moving"), found, strict=True):
            if not len(points.index_xy):
                warnings.warn(
                    AnatomarkWarning(
                        f"no point stands out in the {name} image: there are no pairs"
                    ),
                    stacklevel=2,
                )
        least = 2 if self.kind == "sift-ratio" else 1  # which compares with the second nearest
        if any(len(points.index_xy) < least for points in found):
            empty = np.zeros((0, 2))
            return Matches(empty, empty, unit=fixed.grid.unit, meta={"matcher": self.kind})
        pairs = _ratio(cv2, *found) if self.kind == "sift-ratio" else _mutual(cv2, *found)
        return self._matches(pairs, found, fixed.grid, moving.grid)

    def _matches(self, pairs: _Pairs, found: list[_Points], fixed: Grid, moving: Grid) -> Matches:
        order = np.argsort(pairs.apart, kind="stable")
        one, other = found[0].index_xy[pairs.fixed[order]], found[1].index_xy[pairs.moving[order]]
        single = _first_of_each(one) & _first_of_each(other)
        return Matches(
            fixed.to_world(one[single]),
            moving.to_world(other[single]),
            confidence=np.clip(1 - pairs.apart[order][single], 0, 1),
            unit=fixed.unit,
            meta={"matcher": self.kind},
        )


def opencv() -> ModuleType:
    """OpenCV, or an error that says how to get it."""
    try:
        import cv2
    except ImportError:
        raise UsageError("this matcher needs OpenCV", fix="pip install 'anatomark[sift]'") from None
    return cv2


def _check_kind(image: Image, name: str) -> None:
    if image.grid.dimension != 2:
        raise GeometryError(
            f"the {name} is 3D, SIFT is for 2D images",
            fix="match slices (--slice), or cut them out with anatomark slice",
        )
    if image.channels is not None:
        raise GeometryError(
            f"the {name} has {image.channels} channels", fix="read it with --grey (grey=True)"
        )


def _check(fixed: Image, moving: Image) -> None:
    _check_kind(fixed, "fixed image")
    _check_kind(moving, "moving image")
    if fixed.grid.unit != moving.grid.unit:
        raise GeometryError(
            f"the fixed image is in {fixed.grid.unit}, the moving one in {moving.grid.unit}",
            fix="give both images their spacing, --fixed-spacing or --moving-spacing",
        )


# -- grey values -----------------------------------------------------------------------------------


def to_8_bit(fixed: Image, moving: Image, window: Window) -> list[NDArray[np.uint8]]:
    """Both images between the two grey values that ``window`` says, as 0…255."""
    arrays = [np.nan_to_num(image.array.astype(np.float64)) for image in (fixed, moving)]
    if window == "shared":
        limits = [_limits(np.concatenate([a.ravel() for a in arrays]))] * 2
    elif window == "own":
        limits = [_limits(a) for a in arrays]
    else:
        limits = [(float(window[0]), float(window[1]))] * 2
    return [_scaled(a, *two) for a, two in zip(arrays, limits, strict=True)]


def _limits(values: FloatArray) -> tuple[float, float]:
    low, high = np.percentile(values, WINDOW)
    if not high > low:  # a few bright pixels on black
        low, high = values.min(), values.max()
    return float(low), float(high)


def _scaled(values: FloatArray, low: float, high: float) -> NDArray[np.uint8]:
    if not high > low:
        return np.zeros(values.shape, np.uint8)
    parts: FloatArray = np.clip((values - low) / (high - low), 0, 1)
    return np.ascontiguousarray(np.rint(255 * parts).astype(np.uint8))


# -- points ----------------------------------------------------------------------------------------


def _sift(cv2: Any, picture: NDArray[np.uint8]) -> _Points:
    points, described = _sift_of(cv2).detectAndCompute(picture, None)
    return _points(points, described)


def _sift_of(cv2: Any) -> Any:
    # By default OpenCV doubles the image with an error of a quarter of a pixel, to the left and up.
    return cv2.SIFT_create(enable_precise_upscale=True)


def _points(points: Any, described: NDArray[Any] | None) -> _Points:
    index = np.array([point.pt for point in points], np.float64).reshape(-1, 2)
    if described is None:
        described = np.zeros((len(index), 1), np.float32)
    return _Points(index, _unit(described) if described.dtype == np.float32 else described)


def _unit(described: NDArray[Any]) -> NDArray[Any]:
    """Descriptors of length 1, whose distances reach from 0 to √2."""
    length = np.linalg.norm(described, axis=1, keepdims=True)
    return np.asarray(described / np.maximum(length, 1e-12), np.float32)


def _rootsift(cv2: Any, picture: NDArray[np.uint8]) -> _Points:
    index, described = _sift(cv2, picture)
    total = np.maximum(described.sum(axis=1, keepdims=True), 1e-12)
    return _Points(index, np.sqrt(described / total).astype(np.float32))


def _asift(cv2: Any, picture: NDArray[np.uint8]) -> _Points:
    views = cv2.AffineFeature_create(_sift_of(cv2), maxTilt=_TILT)
    index, described = _points(*views.detectAndCompute(picture, None))
    # Beside a tilted view is nothing; what is found at its border may lie there.
    inside = ((index >= -0.5) & (index <= np.array(picture.shape[::-1]) - 0.5)).all(axis=1)
    return _Points(index[inside], described[inside])


def _teblid(cv2: Any, picture: NDArray[np.uint8]) -> _Points:
    if not hasattr(cv2, "xfeatures2d"):
        raise UsageError(
            "teblid is in OpenCV's contributed modules",
            fix="replace opencv-python-headless by opencv-contrib-python-headless",
        )
    describe = cv2.xfeatures2d.TEBLID_create(_TEBLID_SCALE)
    points = _sift_of(cv2).detect(picture, None)
    points, described = describe.compute(picture, points) if points else ((), None)
    return _points(points, described)


_DETECTORS: Mapping[str, Callable[[Any, NDArray[np.uint8]], _Points]] = {
    "sift": _sift,
    "sift-ratio": _sift,
    "rootsift": _rootsift,
    "asift": _asift,
    "teblid": _teblid,
}


# -- pairs -----------------------------------------------------------------------------------------


def _mutual(cv2: Any, fixed: _Points, moving: _Points) -> _Pairs:
    """Pairs that are each other's nearest."""
    bits = fixed.described.dtype == np.uint8
    finder = cv2.BFMatcher(cv2.NORM_HAMMING if bits else cv2.NORM_L2, crossCheck=True)
    found = finder.match(fixed.described, moving.described)
    return _pairs(found, _TEBLID_BITS if bits else 2**0.5)


def _ratio(cv2: Any, fixed: _Points, moving: _Points) -> _Pairs:
    """The nearest of each point of the fixed image, if the second nearest is much farther."""
    finder = cv2.BFMatcher(cv2.NORM_L2)
    two = finder.knnMatch(fixed.described, moving.described, k=2)
    return _pairs([a for a, b in two if a.distance < LOWE_RATIO * b.distance], 2**0.5)


def _pairs(found: Any, largest: float) -> _Pairs:
    return _Pairs(
        np.array([m.queryIdx for m in found], np.intp),
        np.array([m.trainIdx for m in found], np.intp),
        np.array([m.distance for m in found], np.float64) / largest,
    )


def _first_of_each(index_xy: FloatArray) -> NDArray[np.bool_]:
    """Whether a row is the first of its place: SIFT gives one place several orientations."""
    first = np.zeros(len(index_xy), bool)
    first[np.unique(index_xy.round(3), axis=0, return_index=True)[1]] = True
    return first
