"""Everything about a registration in one folder: transforms, image, points, pictures, report."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anatomark.data import Image, Landmarks
from anatomark.io.dicom.registration import (
    can_register,
    different_patients,
    write_spatial_registration,
)
from anatomark.io.files import check_free, check_not_a_file, suffix_of
from anatomark.io.images.reading import write_image
from anatomark.io.json_files import write_json
from anatomark.io.landmarks.formats import write_landmarks
from anatomark.io.transforms.formats import write_transform
from anatomark.maps import Affine
from anatomark.pictures import save_picture
from anatomark.pipelines.registration.evidence import used_points
from anatomark.pipelines.registration.overlay import draw_overlay
from anatomark.pipelines.registration.plan import Plan
from anatomark.pipelines.registration.report import page_of, to_record
from anatomark.pipelines.registration.run import Registered
from anatomark.registration.results import Progress

REPORT_FILE, PAGE_FILE, OVERLAY_FILE = "report.json", "report.html", "overlay.png"
DICOM_FILE = "registration.dcm"
TRANSFORM_FILES = ("transform.tfm", "transform.h5")
_EVER = (
    DICOM_FILE, OVERLAY_FILE, "warped.nii.gz", "warped.png", "warped.nrrd",
    *(f"{side}.{kind}" for side in ("fixed", "moving", "moved") for kind in ("mrk.json", "json")),
)  # fmt: skip
_RASTERS = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"}


@dataclass(frozen=True)
class Names:
    """What is written into a folder; known from the images, so that it can be checked first."""

    warped: str
    points: tuple[str, str, str]
    picture: bool
    dicom: bool = False

    def all(self) -> tuple[str, ...]:
        """Every file, in the order of writing; the report comes last."""
        drawn = (OVERLAY_FILE,) if self.picture else ()
        spatial = (DICOM_FILE,) if self.dicom else ()
        return (
            *TRANSFORM_FILES, *spatial, self.warped, *self.points, *drawn, PAGE_FILE, REPORT_FILE,
        )  # fmt: skip


def names_for(
    fixed: Image,
    moving: Image,
    paths: Sequence[str | os.PathLike[str]],
    *,
    picture: bool = True,
    plan: Plan | None = None,
    patients_differ: bool = False,
) -> Names:
    """Names of the files: volumes as NIfTI, pictures as PNG, points as Slicer's where it can.

    A PNG has no place in the world: it is written where both images, at ``paths``, were of such
    files; any other flat image becomes NRRD, which keeps it. Two DICOM volumes get a DICOM
    registration, where ``plan`` makes a map that such a file can hold; those of different patients
    only if ``patients_differ`` says that they may be linked.
    """
    warped = "warped.nii.gz"
    if fixed.grid.dimension == 2:
        plain = {suffix_of(p) for p in paths} <= _RASTERS and str(moving.array.dtype) in {
            "uint8", "uint16",
        }  # fmt: skip
        warped = "warped.png" if plain else "warped.nrrd"
    kind = "mrk.json" if fixed.grid.unit == "mm" else "json"
    plain = plan is None or (
        plan.transform in {"rigid", "similarity", "affine"} and plan.refine != "bspline"
    )
    return Names(
        warped, (f"fixed.{kind}", f"moving.{kind}", f"moved.{kind}"), picture,
        plain and can_register(fixed, moving)
        and (patients_differ or different_patients(fixed, moving) is None),
    )  # fmt: skip


def check_folder(
    out: Path, names: Names, used: Sequence[str | os.PathLike[str]], *, overwrite: bool
) -> None:
    """Refuse to write over what went in, or over what is there unless ``overwrite``."""
    check_not_a_file(out)
    check_free([out / name for name in names.all()], used, overwrite=overwrite)


def write_registered(
    found: Registered,
    out: str | os.PathLike[str],
    names: Names,
    *,
    given: Mapping[str, str],
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write all files into the folder ``out`` and return the record of ``report.json``.

    Transforms have ITK's direction, from fixed to moving points: what ``SimpleITK.Resample`` and
    3D Slicer use. ``given`` names what went in.
    """
    folder = Path(out)
    tell = progress or (lambda _stage, _done: None)
    record = to_record(found, names=given, files=names.all())
    tell("writing", 0.0)
    _remove_stale(folder, names)
    for name in TRANSFORM_FILES:
        write_transform(found.pull.inverse(), folder / name, direction="image")
    tell("writing", 0.3)
    if names.dicom and isinstance(found.map, Affine):
        kept = any(stage.kept for r in found.refinements for stage in r.stages)
        how = "points and grey values" if kept else "points"
        write_spatial_registration(
            found.map, found.fixed, found.moving, folder / DICOM_FILE, how=f"by {how}",
            patients_differ=True,  # or ``names`` would not have it
        )  # fmt: skip
    write_image(found.warped, folder / names.warped)
    _write_points(found, folder, names, record)
    tell("drawing", 0.0)
    title = " onto ".join(Path(given.get(side, side)).name for side in ("moving", "fixed"))
    overlay = draw_overlay(found, title=title) if names.picture else None
    page = page_of(record, overlay)
    if overlay is not None:
        save_picture(overlay, folder / OVERLAY_FILE)
    page.write(folder / PAGE_FILE)
    # The report says that all the others are there: it comes last.
    write_json(folder / REPORT_FILE, record)
    tell("drawing", 1.0)
    return record


def _remove_stale(folder: Path, names: Names) -> None:
    """What only an earlier registration wrote here would be taken for one of this."""
    for name in {*_EVER, *names.all()} - set(names.all()):
        (folder / name).unlink(missing_ok=True)


def _write_points(found: Registered, folder: Path, names: Names, record: Any) -> None:
    fixed, moving = used_points(found.pairs)
    moved = Landmarks(fixed.names, found.moved, unit=fixed.unit)
    notes = {one["name"]: _note(one, found.pairs.unit) for one in record["landmarks"]}
    for name, marks, grid in zip(
        names.points, (fixed, moving, moved),
        (found.fixed.grid, found.moving.grid, found.fixed.grid), strict=True,
    ):  # fmt: skip
        said = replace(marks, meta={"descriptions": notes})
        write_landmarks(said, folder / name, grid=grid)


def _note(one: Mapping[str, Any], unit: str) -> str:
    words = [f"{one['residual']:.2f} {unit} apart"]
    words += [] if one["used"] else ["not used"]
    return "; ".join([*words, *one["flags"]])
