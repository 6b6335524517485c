"""Open the files of one case: its grid, its landmarks and, all together, a ``Sample``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from anatomark.data import Case, Cohort, Landmarks, Sample, mean_landmarks, names_of
from anatomark.errors import AnatomarkError, CohortError
from anatomark.geometry import Grid
from anatomark.io.images.reading import read_grid, read_image, read_mask
from anatomark.io.landmarks.formats import read_landmarks

Spacing = tuple[float, ...] | float | None
_SAME_VOXEL = 0.01  # of a voxel: headers round differently


def case_spacing(cohort: Cohort, case: Case) -> Spacing:
    """The spacing with which to read the images of a case; ``None`` leaves it to the file.

    What the cohort says is only for images that have none; what the case says must not
    contradict its image.
    """
    if case.spacing is not None:
        return _one_or_all(case.spacing)
    if cohort.spacing is None or read_grid(case.image).unit == "mm":
        return None
    return _one_or_all(cohort.spacing)


def _one_or_all(spacing: tuple[float, ...]) -> tuple[float, ...] | float:
    return spacing[0] if len(spacing) == 1 else spacing


def case_grid(cohort: Cohort, case: Case) -> Grid:
    """The grid of a case's image, from its header alone."""
    return read_grid(case.image, spacing=case_spacing(cohort, case))


def case_readings(case: Case, grid: Grid) -> dict[str, Landmarks]:
    """All landmark files of a case by observer; ``""`` is the one that has no observer."""
    files = {} if case.landmarks is None else {"": case.landmarks}
    return {
        name: read_landmarks(path, grid=grid) for name, path in {**files, **case.observers}.items()
    }


def truth_of(cohort: Cohort, case: Case, readings: Mapping[str, Landmarks]) -> Landmarks | None:
    """The landmarks that count, as ``truth`` says; observers are never pooled unasked."""
    observers = {name: reading for name, reading in readings.items() if name}
    if cohort.truth == "mean" and observers:
        return mean_landmarks(list(observers.values()))
    if cohort.truth and observers:
        if cohort.truth not in observers:
            raise CohortError(
                f"case {case.case!r} has no reading of observer {cohort.truth!r}",
                path=cohort.root,
                fix=f"truth may be 'mean' or one of {', '.join(observers)}",
            )
        return observers[cohort.truth]
    if "" in readings or not observers:
        return readings.get("")
    if len(observers) > 1:
        raise CohortError(
            f"case {case.case!r} was read by {', '.join(observers)} and the cohort does not say "
            "whose reading is the truth",
            path=cohort.root,
            fix="set truth = 'mean' or an observer's name in cohort.toml",
        )
    return next(iter(observers.values()))


def load_sample(cohort: Cohort, case: Case, *, grey: bool = False) -> Sample:
    """Read the image, the landmarks and the mask of a case.

    Landmarks come in the order of the cohort's names with its left/right pairs, in LPS
    millimetres (pixels where the cohort's unit is ``px``). ``grey`` reduces colours to luminance;
    else a colour image keeps its channels in front.
    """
    spacing = case_spacing(cohort, case)
    image = read_image(case.image, spacing=spacing, grey=grey, colour=True)
    readings = {
        observer: _in_order(cohort, case, observer, reading)
        for observer, reading in case_readings(case, image.grid).items()
    }
    mask = None if case.mask is None else read_mask(case.mask, spacing=spacing)
    fault = "" if mask is None else mask_fault(mask.grid, image.grid)
    if fault:
        raise CohortError(fault, path=case.mask, fix="resample the mask onto its image")
    return Sample(
        case=case.case,
        image=image,
        landmarks=truth_of(cohort, case, readings),
        mask=mask,
        observers={name: reading for name, reading in readings.items() if name},
        domain=case.domain,
        info=case.info,
    )


def mask_fault(mask: Grid, image: Grid) -> str:
    """Why a mask does not belong to its image; empty where it does."""
    if mask.shape != image.shape:
        return f"the mask has {mask.size_xyz} voxels, the image {image.size_xyz}"
    if not mask.same_as(image, tolerance=_SAME_VOXEL):
        starts, image_starts = np.round(mask.origin, 2).tolist(), np.round(image.origin, 2).tolist()
        return (
            f"the mask does not lie where its image does: it is {mask!r} from {starts}, "
            f"the image {image!r} from {image_starts}"
        )
    return ""


def _in_order(cohort: Cohort, case: Case, observer: str, reading: Landmarks) -> Landmarks:
    names = names_of(cohort, case.domain)
    try:
        chosen = reading.select(names)
    except AnatomarkError as fault:
        raise fault.at(case.observers.get(observer) or case.landmarks or cohort.root) from None
    return replace(chosen, pairs=pairs_of(cohort, names))


def pairs_of(cohort: Cohort, names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """The cohort's left/right pairs among these names."""
    return tuple(pair for pair in cohort.pairs if pair[0] in names and pair[1] in names)
