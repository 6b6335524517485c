"""Write phantoms to disk as a cohort, in the files that users have: NIfTI, PNG, our landmarks."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from anatomark.data import Case, Cohort, Sample
from anatomark.datasets.importers.splits import divide
from anatomark.datasets.phantoms import PHANTOMS, Drawn, Phantom, phantom_shape
from anatomark.errors import LossWarning, UsageError
from anatomark.geometry import Grid
from anatomark.io.cohorts.files import read_cohort, staged_folder, write_cohort
from anatomark.io.images.reading import write_image
from anatomark.io.landmarks.formats import write_landmarks
from anatomark.io.transforms.formats import write_transform


def write_phantoms(
    name: str,
    out: str | os.PathLike[str],
    *,
    cases: int,
    seed: int = 0,
    shape: Sequence[int] | None = None,
    split: str = "",
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Cohort:
    """Write the phantoms of ``cases`` seeds, from ``seed`` on, as a cohort; returns it.

    ``split`` divides them as in ``0.7,0.1,0.2`` (train, validation, test); empty for none.
    """
    if name not in PHANTOMS:
        raise UsageError(f"there is no phantom {name!r}", fix=f"known: {', '.join(PHANTOMS)}")
    kind = PHANTOMS[name]
    voxels = phantom_shape(kind, shape)
    if len(voxels) != len(kind.shape):
        raise UsageError(f"the {name} phantom has {len(kind.shape)} axes, not {len(voxels)}")
    with staged_folder(out, overwrite=overwrite) as folder:
        found: list[Case] = []
        samples: list[Sample] = []
        for number in range(cases):
            drawn = kind.draw(seed + number, voxels)
            found += _write_case(drawn, f"{name}_{seed + number:04d}", folder)
            samples = list(drawn.samples)
            if progress is not None:
                progress(number + 1, cases)
        if split:
            found = divide(found, split, seed=seed)
        write_cohort(_cohort(kind, found, samples, folder, seed), folder)
    return read_cohort(out)


def _write_case(drawn: Drawn, name: str, folder: Path) -> list[Case]:
    """Write the images of one seed; the first of a pair carries the transform to the second."""
    several = len(drawn.samples) > 1
    names = [f"{name}_{s.domain}" if several else name for s in drawn.samples]
    cases = [
        _write_sample(sample, case, name, folder)
        for sample, case in zip(drawn.samples, names, strict=True)
    ]
    if drawn.to_pair is None:
        return cases
    first, second = cases
    moving, fixed = drawn.samples
    path = folder / "transforms" / f"{name}_{moving.domain}_to_{fixed.domain}.image.h5"
    # As registration writes it, the file resamples the first image onto the second one's grid:
    # its direction, which it cannot state itself, is "image". The name says so.
    _quietly(write_transform, drawn.to_pair, path, direction="image", grid=_wide(fixed.image.grid))
    return [
        replace(first, pair=second.case, transform=path),
        replace(second, pair=first.case),
    ]


def _wide(grid: Grid) -> Grid:
    """A coarse grid a quarter wider than the image: a smooth map needs no more."""
    margin = [-(-n // 8) for n in grid.size_xyz]
    wide = grid.pad(margin, margin)
    return wide.resized([max(round(float(e) / 4), 8) for e in wide.extent[::-1]])


def _write_sample(sample: Sample, case: str, patient: str, folder: Path) -> Case:
    grid = sample.image.grid
    image = folder / "images" / (case + _suffix(sample))
    # PNG holds no spacing, but the table does: nothing is lost.
    _quietly(write_image, sample.image, image)
    mask = marks = None
    if sample.mask is not None:
        mask = folder / "masks" / (case + _suffix(sample))
        _quietly(write_image, sample.mask, mask)
    if sample.landmarks is not None:
        marks = folder / "landmarks" / f"{case}.json"
        write_landmarks(sample.landmarks, marks)
    return Case(
        case=case,
        image=image,
        landmarks=marks,
        mask=mask,
        patient=patient,
        domain=sample.domain,
        spacing=tuple(grid.spacing.tolist())
        if image.suffix == ".png" and grid.unit == "mm"
        else None,
        info={key: _text(value) for key, value in sample.info.items()},
    )


def _suffix(sample: Sample) -> str:
    if sample.image.grid.dimension == 3:
        return ".nii.gz"
    return ".png" if sample.image.array.dtype.kind == "u" else ".nrrd"


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _quietly(write: Callable[..., None], *arguments: Any, **options: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LossWarning)
        write(*arguments, **options)


def _cohort(
    kind: Phantom, cases: Sequence[Case], samples: Sequence[Sample], folder: Path, seed: int
) -> Cohort:
    marked = {s.domain: s.landmarks for s in samples if s.landmarks is not None}
    some = next(iter(marked.values()), None)
    return Cohort(
        root=folder,
        cases=tuple(cases),
        names={domain: marks.names for domain, marks in marked.items()},
        pairs=() if some is None else some.pairs,
        unit=samples[0].image.grid.unit,
        seed=seed,
        about={"title": kind.title, "description": kind.description, "source": "anatomark phantom"},
    )
