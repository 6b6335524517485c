"""Importers: from the folders in which public data come to a cohort."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anatomark.data import Cohort
from anatomark.datasets.importers.aasce2019 import import_aasce2019
from anatomark.datasets.importers.chest_xray import import_chest_xray
from anatomark.datasets.importers.common import Common, PathLike
from anatomark.datasets.importers.csv_table import import_csv
from anatomark.datasets.importers.hand_xray import import_hand_xray
from anatomark.datasets.importers.images import import_images
from anatomark.datasets.importers.isbi2015 import import_isbi2015
from anatomark.datasets.importers.jsrt import import_jsrt
from anatomark.datasets.importers.slicer import import_slicer
from anatomark.errors import UsageError

__all__ = ["IMPORTERS", "Importer"]


@dataclass(frozen=True)
class Importer:
    """A layout that can be imported; called as ``importer(source, out, **options)``."""

    run: Callable[..., Cohort]
    description: str

    @property
    def options(self) -> tuple[str, ...]:
        """The names of the options, those of this layout first."""
        parameters = inspect.signature(self.run).parameters.values()
        own = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
        return (*own, *Common.__annotations__)

    def __call__(self, source: PathLike, out: PathLike, **options: Any) -> Cohort:
        """Import ``source`` and write the cohort to ``out``."""
        unknown = [name for name in options if name not in self.options]
        if unknown:
            raise UsageError(
                f"this layout has no option {unknown[0]!r}", fix=f"it has {', '.join(self.options)}"
            )
        target, origin = Path(out).resolve(), Path(source).resolve()
        if target.is_relative_to(origin):
            raise UsageError(
                "the cohort would lie inside its source", path=out, fix="name a folder elsewhere"
            )
        if origin.is_relative_to(target):
            raise UsageError(
                "the source lies inside this folder", path=out, fix="name a folder elsewhere"
            )
        return self.run(source, out, **options)


IMPORTERS: Mapping[str, Importer] = {
    "isbi2015": Importer(import_isbi2015, "ISBI 2015 head X-rays: RawImage and AnnotationsByMD"),
    "aasce2019": Importer(import_aasce2019, "AASCE 2019 spine X-rays: data and labels"),
    "hand-xray": Importer(import_hand_xray, "Digital Hand Atlas: a folder of images and all.csv"),
    "chest-xray": Importer(import_chest_xray, "chest X-rays: CXR_png and one .txt a case"),
    "jsrt": Importer(import_jsrt, "JSRT chest X-rays: images and tables of contours"),
    "slicer": Importer(import_slicer, "images with .mrk.json or .fcsv of the same name"),
    "images": Importer(import_images, "a folder of images without landmarks, for matching"),
    "csv": Importer(import_csv, "images and CSV tables: long, wide, a list, or one an image"),
}
