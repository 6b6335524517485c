"""A folder of images without landmarks, to learn or to test matching on."""

from __future__ import annotations

from typing import Unpack

from anatomark.data import Cohort
from anatomark.datasets.importers.common import Common, Found, Layout, PathLike, Spacing, save
from anatomark.datasets.importers.sources import folder, images_in
from anatomark.errors import CohortError


def import_images(
    source: PathLike, out: PathLike, *, spacing: Spacing = None, **common: Unpack[Common]
) -> Cohort:
    """Import all images of a folder, subfolders included, as cases without landmarks.

    The files stay as they are; ``spacing`` (mm) is for those that have none.
    """
    root = folder(source)
    images = images_in(root, recursive=True)
    if not images:
        raise CohortError("has no image", path=root, fix="check the folder")
    found = [Found(name, image) for name, image in images.items()]
    about = {"title": root.resolve().name, "source": "a folder of images without landmarks"}
    return save(found, out, Layout((), spacing=spacing, about=about), **common)
