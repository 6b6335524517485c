"""Numbers and JSON out of text that may be bad: what cannot be used ends in a ``LandmarkError``."""

from __future__ import annotations

import csv
import io
import json
import os
import reprlib
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np

from anatomark.data import Landmarks
from anatomark.errors import LandmarkError
from anatomark.geometry import FloatArray
from anatomark.io.files import check_readable, read_text, write_text

Frame = Literal["LPS", "RAS"]
# What a reader returns: landmarks as they stand in the file, and the frame that the file states.
Reading = tuple[Landmarks, Frame | None]

_LARGEST_JSON = 64 * 2**20


def read_object(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the object that a JSON file holds; not too large, not nested too deeply."""
    size = check_readable(path, LandmarkError).stat().st_size
    if size > _LARGEST_JSON:
        raise LandmarkError(
            f"has {size / 2**20:.0f} MiB, landmark files have at most {_LARGEST_JSON // 2**20}",
            path=path,
            fix="check that it is a landmark file",
        )
    try:
        data = json.loads(read_text(path, LandmarkError))
    except RecursionError:
        raise LandmarkError(
            "the JSON is nested too deeply", path=path, fix="check that it is a landmark file"
        ) from None
    except ValueError as fault:
        raise LandmarkError(
            f"is not valid JSON: {fault}", path=path, fix="copy or export it again"
        ) from None
    if not isinstance(data, dict):
        raise LandmarkError(
            f"holds a JSON {type(data).__name__}, not an object",
            path=path,
            fix="check that it is a landmark file",
        )
    return data


def write_object(path: str | os.PathLike[str], data: dict[str, Any]) -> None:
    """Write a JSON object; floats keep every bit."""
    try:
        text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as fault:
        raise LandmarkError(
            f"something in the landmarks cannot be written as JSON: {fault}",
            path=path,
            fix="keep only text, finite numbers, lists and dictionaries in 'meta'",
        ) from None
    write_text(path, text + "\n")


def frame_of(code: object) -> Frame:
    """Return the frame that a file names: LPS or RAS, or 1 or 0 as old versions of Slicer do."""
    if isinstance(code, str | int):
        match str(code).strip().upper():
            case "LPS" | "1":
                return "LPS"
            case "RAS" | "0":
                return "RAS"
    raise LandmarkError(
        f"the coordinate system {reprlib.repr(code)} is neither LPS nor RAS",
        fix="save the points in LPS or RAS",
    )


def vector(value: object, length: int, where: str) -> list[float]:
    """Check that a JSON value is a list of so many finite numbers."""
    if isinstance(value, list) and len(value) == length and all(map(_is_finite_number, value)):
        return [float(v) for v in value]
    raise LandmarkError(f"{where} must be {length} finite numbers, not {reprlib.repr(value)}")


def objects(value: object, where: str) -> list[dict[str, Any]]:
    """Check that a JSON value is a list of objects with at least one in it."""
    if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
        raise LandmarkError(f"{where} must be a list of objects, not {reprlib.repr(value)}")
    if not value:
        raise LandmarkError(f"{where} is empty: the file has no landmarks")
    return value


def number(text: str, where: str) -> float:
    """Return the finite number that a cell of a text file holds."""
    try:
        value = float(text) if "_" not in text else np.nan  # float() reads 1_0 as ten
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise LandmarkError(f"{where}: {reprlib.repr(text)} is not a number")
    return value


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Return rows as CSV, one line each."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    for row in rows:
        cells = [str(cell) for cell in row]
        broken = [c for c in cells if "\n" in c or "\r" in c]
        if broken:
            raise LandmarkError(
                f"a line of a table cannot hold the line break in {broken[0]!r}",
                fix="rename it, or use .json",
            )
        writer.writerow(cells)
    return stream.getvalue()


def flipped(values: FloatArray) -> FloatArray:
    """Return LPS points or vectors ``(..., D)`` as RAS, or the other way round."""
    sign: FloatArray = np.array([-1.0, -1.0, 1.0])[: values.shape[-1]]
    return values * sign


def described(descriptions: Mapping[str, str]) -> dict[str, Any]:
    """Return metadata that keeps a text about each of some landmarks."""
    return {"descriptions": dict(descriptions)} if descriptions else {}


def descriptions_of(landmarks: Landmarks) -> dict[str, str]:
    """Return the texts that the metadata keep about landmarks, each on one line."""
    texts = landmarks.meta.get("descriptions")
    if not isinstance(texts, Mapping):
        return {}
    return {str(name): " ".join(str(text).split()) for name, text in texts.items()}


def _is_finite_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max  # also for an integer too large to be a float
