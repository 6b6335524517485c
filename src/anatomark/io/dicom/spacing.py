"""How large a DICOM pixel is, and which of several tags says so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anatomark.errors import ImageError

_CENTIMETRES = 3
_SAME = 1e-3


@dataclass(frozen=True)
class Measured:
    """Pixel size ``spacing`` x, y in mm (empty: not known), its tag, and a doubt about it.

    ``depth`` is the distance to the next slice in mm, 0 where it is not stated.
    """

    spacing: tuple[float, ...] = ()
    source: str = ""
    doubt: str = ""
    depth: float = 0.0


def numbers(holder: Any, name: str) -> list[float]:
    """Values of a numeric tag, empty where it is missing or empty."""
    value = holder.get(name, None)
    if value is None or value == "":
        return []
    return (
        [float(v) for v in value]
        if isinstance(value, Sequence | tuple) and not isinstance(value, str)
        else [float(value)]
    )


def frame_spacing(measures: Any, header: Any) -> Measured:
    """Pixel size of one frame of an enhanced file."""
    spacing = _rows_columns(measures, "PixelSpacing")
    if not spacing:
        return image_spacing(header)
    return Measured(spacing, "PixelSpacing", depth=_depth(measures))


def image_spacing(header: Any) -> Measured:
    """Pixel size of a plain file: in the patient if it is known, else at the detector."""
    depth = _depth(header)
    detector = _rows_columns(header, "ImagerPixelSpacing")
    spacing = _rows_columns(header, "PixelSpacing")
    # Where both are the same and nobody calibrated it, nothing has been corrected (PS3.3, 10.7).
    calibrated = header.get("PixelSpacingCalibrationType", None)
    if spacing and (calibrated or not detector or not np.allclose(spacing, detector, rtol=1e-6)):
        return Measured(spacing, "PixelSpacing", depth=depth)
    if detector:
        return _at_detector(header, detector)
    if spacing := _rows_columns(header, "NominalScannedPixelSpacing"):
        return Measured(spacing, "NominalScannedPixelSpacing", depth=depth)
    return _ultrasound(header) or Measured(doubt=_aspect(header))


def _at_detector(header: Any, spacing: tuple[float, ...]) -> Measured:
    factor = numbers(header, "EstimatedRadiographicMagnificationFactor")
    if factor and math.isfinite(factor[0]) and factor[0] > 0:
        smaller = tuple(s / factor[0] for s in spacing)
        return Measured(smaller, "ImagerPixelSpacing / EstimatedRadiographicMagnificationFactor")
    doubt = (
        "its spacing is that of the detector: what it shows is magnified, so lengths are too large"
    )
    return Measured(spacing, "ImagerPixelSpacing", doubt)


def _ultrasound(header: Any) -> Measured | None:
    """Pixel size of an ultrasound picture whose regions in centimetres all agree."""
    sizes = [
        tuple(abs(10 * numbers(region, f"PhysicalDelta{axis}")[0]) for axis in "XY")
        for region in header.get("SequenceOfUltrasoundRegions", None) or ()
        if all(numbers(region, f"PhysicalUnits{axis}Direction") == [_CENTIMETRES] for axis in "XY")
    ]
    if not sizes:
        return None
    if any(
        not math.isclose(a, b, rel_tol=_SAME)
        for s in sizes
        for a, b in zip(s, sizes[0], strict=True)
    ):
        return Measured(doubt="its ultrasound regions differ in scale, so it is read in pixels")
    return Measured(_positive(sizes[0], "PhysicalDelta"), "SequenceOfUltrasoundRegions")


def _aspect(header: Any) -> str:
    ratio = numbers(header, "PixelAspectRatio")
    if len(ratio) == 2 and ratio[0] != ratio[1]:
        return f"its pixels are not square ({ratio[0]:g}:{ratio[1]:g}), which pixels cannot tell"
    return ""


def _depth(holder: Any) -> float:
    for name in ("SpacingBetweenSlices", "SliceThickness"):
        values = numbers(holder, name)
        # A negative spacing is legal in nuclear medicine and only tells the order of slices.
        if values and math.isfinite(values[0]) and values[0] != 0:
            return abs(values[0])
    return 0.0


def _rows_columns(holder: Any, name: str) -> tuple[float, ...]:
    """Spacing x, y from a tag that lists the distance of rows (y) first."""
    values = numbers(holder, name)
    return _positive(tuple(reversed(values)), name) if values else ()


def _positive(values: tuple[float, ...], name: str) -> tuple[float, ...]:
    if len(values) != 2 or not all(math.isfinite(v) and v > 0 for v in values):
        raise ImageError(
            f"the spacing must be two positive numbers, {name} says {list(values)}",
            fix="mend the header",
        )
    return values
