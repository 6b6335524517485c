"""ISBI 2015 cephalometric X-rays: 400 heads, 19 points, two observers, 0.1 mm a pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

import numpy as np

from anatomark.data import Cohort, Landmarks
from anatomark.datasets.importers.common import (
    Common,
    Found,
    Layout,
    PathLike,
    Reading,
    Spacing,
    save,
)
from anatomark.datasets.importers.sources import first_folder, folder, images_in, numbers, rows_of
from anatomark.errors import CohortError, UsageError
from anatomark.io.files import stem_of
from anatomark.io.landmarks.formats import read_landmarks
from anatomark.io.landmarks.isbi import ISBI_NAMES

_SPLITS = {"TrainingData": "train", "Test1Data": "test1", "Test2Data": "test2"}
_OBSERVERS = ("senior", "junior")
_ABOUT = {
    "title": "ISBI 2015 cephalometric X-rays",
    "source": "Grand Challenges in Dental X-ray Image Analysis, ISBI 2015, challenge 1",
    "citation": "Wang et al., A benchmark for comparison of dental radiography analysis "
    "algorithms, Medical Image Analysis 31, 2016; Lindner et al., Scientific Reports 6, 2016",
    "terms": "research only",
    "splits": "as in the challenge: train 001-150, test1 151-300, test2 301-400",
}


def import_isbi2015(
    source: PathLike,
    out: PathLike,
    *,
    spacing: Spacing = 0.1,
    truth: str = "mean",
    challenge: PathLike | None = None,
    **common: Unpack[Common],
) -> Cohort:
    """Import ``RawImage`` and ``AnnotationsByMD``.

    ``truth`` is ``mean`` of the observers, ``senior``, ``junior``, or ``challenge``. The truth of
    the challenge is the senior's but for point 16 of Test2, which ``AnnotationsByMD`` does not
    hold; so with Test2 images ``challenge`` must name a table of it (image, then x, y in mm for
    each point, no header).
    """
    root = folder(source)
    labels = _label_folders(root)
    if truth not in {"mean", "challenge", *labels}:
        raise UsageError(
            f"truth is 'mean', 'challenge', {' or '.join(map(repr, labels))}, not {truth!r}"
        )
    if truth == "mean" and len(labels) < 2:
        raise UsageError(f"only the {next(iter(labels))} observer is there", fix="set truth to it")
    images = _images(root)
    splits = {name: _split(image, name) for name, image in images.items()}
    found = [
        Found(name, images[name], _readings(labels, name), split=splits[name])
        for name in sorted(images)
    ]
    if truth == "challenge":
        found = _with_challenge(found, challenge)
    layout = Layout(ISBI_NAMES, spacing=spacing, truth=truth, about=_ABOUT)
    return save(found, out, layout, **common)


def _images(root: Path) -> dict[str, Path]:
    base = first_folder(root, "RawImage", "raw", ".")
    images: dict[str, Path] = {}
    for path in images_in(base, recursive=True).values():
        if stem_of(path) in images:
            raise CohortError(f"two images are named {stem_of(path)}", path=base, fix="keep one")
        images[stem_of(path)] = path
    return images


def _label_folders(root: Path) -> dict[str, Path]:
    base = first_folder(root, "AnnotationsByMD", ".")
    labels = {name: base / f"400_{name}" for name in _OBSERVERS if (base / f"400_{name}").is_dir()}
    if not labels:
        raise CohortError(
            "has neither 400_senior nor 400_junior",
            path=base,
            fix="unpack AnnotationsByMD beside RawImage",
        )
    return labels


def _split(image: Path, name: str) -> str:
    """The part of the challenge: the folder says it, else the number."""
    if image.parent.name in _SPLITS:
        return _SPLITS[image.parent.name]
    if not name.isdecimal():
        raise CohortError(
            "is neither in TrainingData, Test1Data or Test2Data nor named by its number", path=image
        )
    return "train" if int(name) <= 150 else "test1" if int(name) <= 300 else "test2"


def _readings(labels: dict[str, Path], name: str) -> dict[str, Reading]:
    # The set counts from the outer corner of the first pixel: 0.1 mm × number.
    return {
        observer: Reading(
            read_landmarks(base / f"{name}.txt", format="isbi", pixel_origin="centre"), "corner"
        )
        for observer, base in labels.items()
    }


def _with_challenge(found: Sequence[Found], table: PathLike | None) -> list[Found]:
    """Add the observer ``challenge`` to every case."""
    if table is not None:
        values = _table(Path(table))
        missing = [one.case for one in found if one.case not in values]
        if missing:
            raise CohortError(f"has no row for image {missing[0]}", path=table)
        return [replace(f, readings={**f.readings, "challenge": values[f.case]}) for f in found]
    if any(one.split == "test2" for one in found):
        raise UsageError(
            "the challenge's own point 16 of Test2 is not in AnnotationsByMD",
            fix="give challenge=TABLE (image, then x, y in mm), or set truth to mean or senior",
        )
    if any("senior" not in one.readings for one in found):
        raise UsageError("the challenge's truth is the senior's, and 400_senior is not there")
    return [replace(f, readings={**f.readings, "challenge": f.readings["senior"]}) for f in found]


def _table(path: Path) -> dict[str, Reading]:
    values: dict[str, Reading] = {}
    for line, row in enumerate(rows_of(path), 1):
        if len(row) != 1 + 2 * len(ISBI_NAMES):
            raise CohortError(f"line {line} has {len(row)} cells, not 39", path=path)
        if row[0] in values:
            raise CohortError(f"line {line} repeats image {row[0]}", path=path, fix="keep one")
        points = np.array(numbers(row[1:], path, f"line {line}")).reshape(-1, 2)
        values[row[0]] = Reading(Landmarks(ISBI_NAMES, points), "corner")
    return values
