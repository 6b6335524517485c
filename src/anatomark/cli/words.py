"""From the words of a command line to values, with errors that name the option."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

from anatomark.errors import UsageError


def numbers(text: str | None, *, option: str, example: str) -> tuple[float, ...] | None:
    """Comma-separated numbers, as in ``example``; ``None`` stays ``None``."""
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(
            f"{option} {text!r} is not a list of numbers", fix=f"write {option} {example}"
        ) from None


def spacing_of(text: str | None, *, option: str = "--spacing") -> tuple[float, ...] | float | None:
    """``--spacing``: one number for all axes, or one each in x, y(, z) order."""
    values = numbers(text, option=option, example="0.5,0.5,1")
    if values is not None and any(not 0 < value < float("inf") for value in values):
        raise UsageError(f"{option} must be positive, not {text!r}", fix="give mm, as 0.1,0.1")
    return values[0] if values is not None and len(values) == 1 else values


def spacings_of(
    both: str | None, fixed: str | None, moving: str | None
) -> tuple[tuple[float, ...] | float | None, tuple[float, ...] | float | None]:
    """``--spacing`` of two images, and of each what was said of it alone."""
    fixed, moving = fixed or both, moving or both
    return (
        spacing_of(fixed, option="--spacing" if fixed == both else "--fixed-spacing"),
        spacing_of(moving, option="--spacing" if moving == both else "--moving-spacing"),
    )


def shape_of(text: str | None, *, option: str = "--shape") -> tuple[int, ...] | None:
    """Voxels in array order, as in ``32,64,64`` (z, y, x) or ``512,416`` (y, x)."""
    values = numbers(text, option=option, example="32,64,64")
    if values is None:
        return None
    if len(values) not in {2, 3} or any(v != int(v) or v < 1 for v in values):
        raise UsageError(
            f"{option} {text!r} is not a shape", fix="write 32,64,64 (z,y,x) or 512,416 (y,x)"
        )
    return tuple(int(v) for v in values)


def slice_place(text: str | None, *, option: str) -> tuple[Any, float | None] | None:
    """``axial:-695`` as plane and place in mm (LPS); ``axial`` alone is the middle slice."""
    if text is None:
        return None
    plane, _, place = text.partition(":")
    try:
        at = float(place) if place else None
    except ValueError:
        at = float("nan")
    if plane not in {"axial", "coronal", "sagittal"} or (at is not None and not isfinite(at)):
        raise UsageError(
            f"{option} {text!r} is not a slice",
            fix=f"write {option} axial:-695 (mm, LPS), coronal:… or sagittal:…, or a plane alone "
            "for the middle",
        )
    return plane, at


def slice_places(
    both: str | None, fixed: str | None, moving: str | None
) -> tuple[tuple[Any, float | None] | None, tuple[Any, float | None] | None]:
    """``--slice`` of two volumes, and of each what was said of it alone; both or neither."""
    places = (
        slice_place(fixed or both, option="--fixed-slice" if fixed else "--slice"),
        slice_place(moving or both, option="--moving-slice" if moving else "--slice"),
    )
    if (places[0] is None) != (places[1] is None):
        lacking = "fixed" if places[0] is None else "moving"
        raise UsageError("slices of both volumes are needed", fix=f"say --{lacking}-slice as well")
    return places


def two_each(words: Sequence[str] | None, *, option: str) -> list[tuple[str, str]] | None:
    """``LEFT:RIGHT`` words as pairs; ``None`` where there are none."""
    if not words:
        return None
    pairs = [word.split(":") for word in words]
    wrong = [word for word, pair in zip(words, pairs, strict=True) if len(pair) != 2]
    if wrong:
        raise UsageError(f"{option} {wrong[0]!r} is not a pair", fix=f"write {option} left:right")
    return [(left, right) for left, right in pairs]
