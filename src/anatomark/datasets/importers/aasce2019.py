"""AASCE 2019 front-view spine X-rays: 17 vertebrae × 4 corners, three Cobb angles, no spacing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Unpack

import numpy as np

from anatomark.data import Cohort
from anatomark.datasets.importers.common import (
    Common,
    Found,
    Layout,
    PathLike,
    Reading,
    Spacing,
    in_pixels,
    save,
)
from anatomark.datasets.importers.sources import (
    find_image,
    first_file,
    first_folder,
    folder,
    images_in,
    numbers,
    rows_of,
)
from anatomark.errors import CohortError
from anatomark.io.files import stem_of

CORNERS = ("tl", "tr", "bl", "br")
SPINE_NAMES = tuple(f"v{v:02d}_{corner}" for v in range(1, 18) for corner in CORNERS)
# Left and right of the image, which is what a mirror exchanges.
SPINE_PAIRS = tuple(
    (f"v{v:02d}_{end}l", f"v{v:02d}_{end}r") for v in range(1, 18) for end in ("t", "b")
)
ANGLES = ("cobb_pt", "cobb_mt", "cobb_tl")
_PARTS = {"training": "train", "test": "test"}
_ABOUT = {
    "title": "AASCE 2019 spine X-rays",
    "source": "Accurate Automated Spinal Curvature Estimation challenge, MICCAI 2019",
    "citation": "Wu et al., Automatic landmark estimation for adolescent idiopathic scoliosis "
    "assessment using BoostNet, MICCAI 2017",
    "terms": "research only",
    "splits": "as in the challenge: training is train, test is test",
}


def import_aasce2019(
    source: PathLike, out: PathLike, *, spacing: Spacing = None, **common: Unpack[Common]
) -> Cohort:
    """Import ``data`` and ``labels``; coordinates are parts of the width and the height."""
    root = folder(source)
    parts = [part for part in _PARTS if (root / "labels" / part).is_dir()]
    if not parts:
        first_folder(root, "labels/training", "labels/test")
    found = [one for part in parts for one in _part(root, part)]
    layout = Layout(SPINE_NAMES, pairs=SPINE_PAIRS, spacing=spacing, about=_ABOUT)
    return save(found, out, layout, **common)


def _part(root: Path, part: str) -> Iterator[Found]:
    labels = root / "labels" / part
    images = images_in(first_folder(root, f"data/{part}"))
    tables = {
        name: first_file(labels, f"{name}.csv") for name in ("filenames", "landmarks", "angles")
    }
    rows = {name: rows_of(path) for name, path in tables.items()}
    lengths = {f"{name}.csv has {len(table)}" for name, table in rows.items()}
    if len({len(table) for table in rows.values()}) > 1:
        raise CohortError(f"the tables differ in length: {', '.join(sorted(lengths))}", path=labels)
    for line, (name, values, angles) in enumerate(zip(*rows.values(), strict=True), 1):
        image = find_image(images, ",".join(name))
        if image is None:
            raise CohortError(
                f"line {line}: there is no image {name[0]!r}", path=tables["filenames"]
            )
        yield Found(
            case=stem_of(image),
            image=image,
            readings={"": _points(values, tables["landmarks"], line)},
            split=_PARTS[part],
            info=dict(zip(ANGLES, _three(angles, tables["angles"], line), strict=True)),
        )


def _points(cells: list[str], path: Path, line: int) -> Reading:
    """All x, then all y."""
    count = len(SPINE_NAMES)
    if len(cells) != 2 * count:
        raise CohortError(f"line {line} has {len(cells)} numbers, not {2 * count}", path=path)
    values = np.array(numbers(cells, path, f"line {line}")).reshape(2, count).T
    return in_pixels(SPINE_NAMES, values, relative=True)


def _three(cells: list[str], path: Path, line: int) -> list[str]:
    if len(cells) != len(ANGLES):
        raise CohortError(f"line {line} has {len(cells)} angles, not {len(ANGLES)}", path=path)
    numbers(cells, path, f"line {line}")
    return cells
