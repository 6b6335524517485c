"""Chest X-rays with the six lung points of Zhu et al. 2021; pixels, no spacing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

import numpy as np

from anatomark.data import Cohort
from anatomark.datasets.importers.common import (
    Common,
    Found,
    Layout,
    PathLike,
    Spacing,
    in_pixels,
    save,
)
from anatomark.datasets.importers.sources import first_folder, folder, images_in, left_out, numbers
from anatomark.errors import CohortError, listed
from anatomark.geometry import FloatArray
from anatomark.io.files import read_text, stem_of

# The patient's right lung is on the left of the image.
LUNG_NAMES = (
    "right_lung_top",
    "right_lung_bottom",
    "right_lung_outer",
    "left_lung_top",
    "left_lung_bottom",
    "left_lung_outer",
)
LUNG_PAIRS = tuple(
    (f"left_lung_{part}", f"right_lung_{part}") for part in ("top", "bottom", "outer")
)
_SHENZHEN = re.compile(r"(?:CHNCXR|MCUCXR)_\d+_([01])")
_ABOUT = {
    "title": "Chest X-rays with six lung points",
    "source": "Shenzhen and Montgomery sets, US National Library of Medicine; points by Zhu et al.",
    "citation": "Jaeger et al., Quantitative Imaging in Medicine and Surgery 4, 2014; "
    "Zhu et al., You Only Learn Once, MICCAI 2021",
    "terms": "research only",
}


def import_chest_xray(
    source: PathLike,
    out: PathLike,
    *,
    spacing: Spacing = None,
    names: Sequence[str] = LUNG_NAMES,
    **common: Unpack[Common],
) -> Cohort:
    """Import ``CXR_png/*.png`` and one ``.txt`` a case: the number of points, then relative x y.

    ``names`` gives the order of the points in the files, where it is another.
    """
    root = folder(source)
    images = images_in(first_folder(root, "CXR_png", "pngs", "."))
    labels = {name: _label(root, image) for name, image in images.items()}
    left_out(
        root, "images without a .txt were", [n for n, label in labels.items() if label is None]
    )
    points = {n: _points(label, tuple(names)) for n, label in labels.items() if label is not None}
    _check_order(points, tuple(names), root)
    found = [
        Found(
            case=name,
            image=images[name],
            readings={"": in_pixels(names, xy, relative=True)},
            info=_abnormal(name),
        )
        for name, xy in points.items()
    ]
    pairs = LUNG_PAIRS if set(names) == set(LUNG_NAMES) else ()
    layout = Layout(tuple(names), pairs=pairs, spacing=spacing, about=_ABOUT)
    return save(found, out, layout, **common)


def _label(root: Path, image: Path) -> Path | None:
    """The text file of an image; ``ClinicalReadings`` has others of the same name."""
    name = f"{stem_of(image)}.txt"
    for place in (root / "labels", root / "chest_labels", image.parent, root):
        if (place / name).is_file():
            return place / name
    return None


def _points(path: Path, names: tuple[str, ...]) -> FloatArray:
    lines = [line.split() for line in read_text(path, CohortError).splitlines() if line.strip()]
    if lines[:1] != [[str(len(names))]] or len(lines) != 1 + len(names):
        raise CohortError(
            f"is not a count of {len(names)} and as many lines 'x y'",
            path=path,
            fix="give names for another number of points",
        )
    if any(len(line) != 2 for line in lines[1:]):
        raise CohortError("has a line that is not 'x y'", path=path)
    values = [numbers(line, path, f"line {i}") for i, line in enumerate(lines[1:], 2)]
    return np.array(values)


def _check_order(points: dict[str, FloatArray], names: tuple[str, ...], root: Path) -> None:
    """Refuse files whose points come in another order than ``names``."""
    if set(names) != set(LUNG_NAMES) or not points:
        return
    wrong = [case for case, one in points.items() if not _in_order(one, names)]
    if wrong:
        raise CohortError(
            f"the points of {listed(wrong)} are not in the order {', '.join(names)}",
            path=root,
            fix="give names in the order of the files, or mend those files",
        )


def _in_order(points: FloatArray, names: tuple[str, ...]) -> bool:
    """Tops above bottoms, and from the patient's right, which is on the left, to the left."""
    x, y = ({name: float(v) for name, v in zip(names, axis, strict=True)} for axis in points.T)
    lungs = ("right_lung", "left_lung")
    upright = all(y[f"{lung}_top"] < y[f"{lung}_bottom"] for lung in lungs)
    outward = x["right_lung_outer"] < x["right_lung_top"] < x["left_lung_top"]
    return upright and outward and x["left_lung_top"] < x["left_lung_outer"]


def _abnormal(name: str) -> dict[str, str]:
    """The Shenzhen and Montgomery sets write into the name whether a lung is diseased."""
    match = _SHENZHEN.fullmatch(name)
    return {} if match is None else {"abnormal": match[1]}
