"""Hand X-rays of the Digital Hand Atlas: 37 points by Payer et al., scale from the wrist."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Unpack

import numpy as np

from anatomark.data import Cohort
from anatomark.datasets.importers.common import (
    Common,
    Found,
    Layout,
    Origin,
    PathLike,
    Spacing,
    in_pixels,
    save,
)
from anatomark.datasets.importers.sources import (
    find_image,
    first_file,
    folder,
    images_in,
    left_out,
    natural,
    numbers,
    rows_of,
)
from anatomark.errors import CohortError, UsageError
from anatomark.geometry import FloatArray
from anatomark.io.files import stem_of

_FINGERS = ("index", "middle", "ring", "little")
# The public table gives no names: these were read off its coordinates. The first and the fifth
# point are the two ends of the wrist; the carpal points are only numbered.
HAND_NAMES = (
    *("ulna_outer", "ulna_tip", "ulna_inner", "radius_inner", "radius_outer", "radius_tip"),
    *(f"carpal_{number}" for number in range(1, 8)),
    *(f"metacarpal_{number}_base" for number in (5, 4, 3, 2, 1)),
    *("thumb_knuckle", "thumb_joint", "thumb_tip"),
    *(
        f"{finger}_{part}"
        for finger in _FINGERS
        for part in ("knuckle", "middle_joint", "end_joint", "tip")
    ),
)
WRIST = ("ulna_outer", "radius_outer")
_ABOUT = {
    "title": "Hand X-rays of the Digital Hand Atlas, 37 points",
    "source": "Digital Hand Atlas, Image Processing and Informatics Lab, USC",
    "citation": "Gertych et al., Bone age assessment of children using a digital hand atlas, 2007; "
    "Payer et al., Medical Image Analysis 54, 2019",
    "terms": "research only",
}


def import_hand_xray(
    source: PathLike,
    out: PathLike,
    *,
    spacing: Spacing = None,
    wrist_mm: float | None = 50.0,
    pixel_origin: Origin = "centre",
    **common: Unpack[Common],
) -> Cohort:
    """Import a folder of images and ``all.csv`` (image, then x, y of each point in pixels).

    The images have no spacing. As in the literature the wrist is taken to be ``wrist_mm`` wide in
    the original image, which gives each case its own spacing; ``spacing`` is used instead where
    it is given, and with ``wrist_mm=None`` everything stays in pixels.
    """
    root = folder(source)
    table = first_file(root, "all.csv", "labels/all.csv")
    points = _points(table)
    matched = _matched(root, table, points)
    found = [
        Found(
            case=stem_of(image),
            image=image,
            readings={"": in_pixels(HAND_NAMES, points[name], origin=pixel_origin)},
            spacing=_spacing(points[name], wrist_mm, name) if spacing is None else None,
        )
        for name, image in sorted(matched.items(), key=lambda item: natural(item[0]))
    ]
    return save(
        found, out, Layout(HAND_NAMES, spacing=spacing, about=_about(spacing, wrist_mm)), **common
    )


def _matched(root: Path, table: Path, points: Mapping[str, FloatArray]) -> dict[str, Path]:
    """The image of each row; what has no partner is left out with a warning."""
    images = images_in(root, recursive=True)
    by_name = {Path(name).name: path for name, path in images.items()}
    if len(by_name) < len(images):
        raise CohortError("two images have one name in different folders", path=root)
    found = {name: find_image(by_name, name) for name in points}
    matched = {name: image for name, image in found.items() if image is not None}
    left_out(table, "rows without an image were", [n for n in points if n not in matched])
    used = set(matched.values())
    unused = [name for name, image in images.items() if image not in used]
    left_out(root, "images without a row were", unused)
    return matched


def _about(spacing: Spacing, wrist_mm: float | None) -> dict[str, str]:
    if spacing is not None or wrist_mm is None:
        return _ABOUT
    return {**_ABOUT, "scale": f"the wrist of each hand is taken to be {wrist_mm:g} mm wide"}


def _points(path: Path) -> dict[str, FloatArray]:
    count = len(HAND_NAMES)
    points: dict[str, FloatArray] = {}
    for line, row in enumerate(rows_of(path), 1):
        if len(row) != 1 + 2 * count:
            raise CohortError(f"line {line} has {len(row)} cells, not {1 + 2 * count}", path=path)
        if row[0] in points:
            raise CohortError(f"line {line}: image {row[0]!r} is listed twice", path=path)
        points[row[0]] = np.array(numbers(row[1:], path, f"line {line}")).reshape(count, 2)
    return points


def _spacing(points: FloatArray, wrist_mm: float | None, name: str) -> tuple[float, ...] | None:
    """Millimetres a pixel, from the two ends of the wrist in the original image."""
    if wrist_mm is None:
        return None
    if not wrist_mm > 0:
        raise UsageError(f"wrist_mm must be positive, not {wrist_mm}")
    first, second = (points[HAND_NAMES.index(end)] for end in WRIST)
    width = float(np.linalg.norm(first - second))
    if width == 0:
        raise CohortError(f"image {name!r}: the two ends of the wrist are one point")
    return (wrist_mm / width,) * 2
