"""A folder of images with 3D Slicer markups beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from anatomark.data import Cohort
from anatomark.datasets.importers.common import (
    Common,
    Found,
    Layout,
    PathLike,
    Reading,
    Spacing,
    save,
)
from anatomark.datasets.importers.sources import folder, images_in, left_out
from anatomark.errors import CohortError
from anatomark.io.files import stem_of, suffix_of
from anatomark.io.landmarks.formats import read_landmarks

_MARKUPS = (".mrk.json", ".fcsv")


def import_slicer(
    source: PathLike, out: PathLike, *, spacing: Spacing = None, **common: Unpack[Common]
) -> Cohort:
    """Import images with ``.mrk.json`` or ``.fcsv`` of the same name, subfolders included.

    The landmark names are those of all files, in the order of their first appearance; a point
    that a file does not have is absent. Images without markups are kept without landmarks.
    """
    root = folder(source)
    images = images_in(root, recursive=True)
    markups = _markups(root)
    left_out(root, "markups without an image were", [n for n in markups if n not in images])
    readings = {name: Reading(read_landmarks(markups[name])) for name in images if name in markups}
    if not readings:
        raise CohortError(
            "has no image with a .mrk.json or .fcsv of the same name", path=root, fix="rename them"
        )
    names = tuple(dict.fromkeys(n for r in readings.values() for n in r.landmarks.names))
    found = [
        Found(name, image, {"": readings[name]} if name in readings else {})
        for name, image in images.items()
    ]
    about = {"title": root.resolve().name, "source": "a folder of 3D Slicer markups"}
    return save(found, out, Layout(names, spacing=spacing, about=about), **common)


def _markups(root: Path) -> dict[str, Path]:
    markups: dict[str, Path] = {}
    for path in sorted(root.rglob("*")):
        if suffix_of(path) not in _MARKUPS or path.name.startswith("."):
            continue
        name = (path.relative_to(root).parent / stem_of(path)).as_posix()
        if name in markups:
            raise CohortError(
                f"{markups[name].name} and {path.name} are for the same image",
                path=path.parent,
                fix="keep one of them",
            )
        markups[name] = path
    return markups
