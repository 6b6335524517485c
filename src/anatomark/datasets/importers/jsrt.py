"""JSRT chest X-rays with contours of both lungs and the heart as tables; six lung points."""

from __future__ import annotations

from typing import Literal, Unpack

import numpy as np

from anatomark.data import Cohort, Landmarks
from anatomark.datasets.importers.chest_xray import LUNG_NAMES, LUNG_PAIRS
from anatomark.datasets.importers.common import (
    Common,
    Found,
    Layout,
    Origin,
    PathLike,
    Reading,
    Spacing,
    save,
)
from anatomark.datasets.importers.sources import find_image, first_folder, folder, images_in
from anatomark.errors import CohortError, UsageError
from anatomark.io.landmarks.formats import read_landmark_table

_TABLES = {"train.csv": "train", "val.csv": "val", "test.csv": "test"}
_ABOUT = {
    "title": "JSRT chest X-rays with contours",
    "source": "Japanese Society of Radiological Technology",
    "citation": "Shiraishi et al., American Journal of Roentgenology 174, 2000; "
    "contours: Gaggion et al., IEEE Transactions on Medical Imaging 42, 2023",
    "terms": "research only",
}


def import_jsrt(
    source: PathLike,
    out: PathLike,
    *,
    spacing: Spacing = None,
    points: Literal["lungs", "contours", "both"] = "lungs",
    pixel_origin: Origin = "centre",
    **common: Unpack[Common],
) -> Cohort:
    """Import ``images`` and ``train.csv``, ``val.csv`` (image, split, contour, index, x_px, y_px).

    ``points`` asks for the six lung points, for all points of the contours (``RL_0``…, ``LL_0``…,
    ``H_0``…), or for both. The top and the bottom of a lung are the highest and the lowest point
    of its contour, its outer border the point farthest from the other lung.
    """
    if points not in {"lungs", "contours", "both"}:
        raise UsageError(f"points is 'lungs', 'contours' or 'both', not {points!r}")
    root = folder(source)
    images = images_in(first_folder(root, "images", "."))
    tables = [name for name in _TABLES if (root / name).is_file()]
    if not tables:
        raise CohortError(f"has none of {', '.join(_TABLES)}", path=root, fix="check the folder")
    found = []
    for table in tables:
        contours = read_landmark_table(root / table, by="image", names=("contour", "index"))
        for name, contour in contours.items():
            image = find_image(images, name)
            if image is None:
                raise CohortError(f"there is no image {name!r} in {root}", path=root / table)
            reading = Reading(_wanted(contour, points, name), pixel_origin)
            split = str(contour.meta.get("split", _TABLES[table]))
            found.append(Found(name, image, {"": reading}, split=split))
    names = tuple(dict.fromkeys(n for f in found for n in f.readings[""].landmarks.names))
    layout = Layout(names, pairs=LUNG_PAIRS, spacing=spacing, about=_ABOUT)
    return save(found, out, layout, **common)


def _wanted(contour: Landmarks, points: str, name: str) -> Landmarks:
    if points == "contours":
        return contour
    lungs = lung_points(contour, name)
    if points == "lungs":
        return lungs
    return Landmarks(
        names=(*lungs.names, *contour.names),
        points_mm=np.concatenate([lungs.points_mm, contour.points_mm]),
        unit=contour.unit,
    )


def lung_points(contour: Landmarks, name: str = "") -> Landmarks:
    """The six lung points of contours ``RL_…`` and ``LL_…``, in the contours' own coordinates."""
    chosen = []
    for side, outward in (("RL_", -1), ("LL_", 1)):
        rows = [i for i, n in enumerate(contour.names) if n.startswith(side) and contour.present[i]]
        if not rows:
            raise CohortError(f"image {name!r} has no contour {side[:2]}")
        x, y = contour.points_mm[rows].T
        # The right lung is on the left of the image, so its outer border has the smallest x.
        chosen += [rows[np.argmin(y)], rows[np.argmax(y)], rows[np.argmax(outward * x)]]
    return Landmarks(LUNG_NAMES, contour.points_mm[chosen], unit=contour.unit)
