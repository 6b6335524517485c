"""A phantom of coronal T2-weighted MR with the centre of each olfactory bulb.

It is drawn, not scanned: made to be as hard to read as the task of Noothout et al. 2020 in the
ways that a program sees (small bulbs, place, pose, look-alikes, noise), and no more than that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anatomark.data import Image, Landmarks, Sample
from anatomark.datasets.phantoms.ct.canvas import Canvas
from anatomark.datasets.phantoms.ct.hounsfield import check_shape, texture
from anatomark.datasets.phantoms.ct.solids import Field
from anatomark.datasets.phantoms.olfactory.brain import draw_brain, paint_brain, paint_bulbs
from anatomark.datasets.phantoms.olfactory.bulbs import (
    OLFACTORY_LANDMARKS,
    OLFACTORY_PAIRS,
    bulb_labels,
)
from anatomark.datasets.phantoms.olfactory.face import paint_face
from anatomark.datasets.phantoms.olfactory.head import Easel, Head, draw_head
from anatomark.datasets.phantoms.texture import rician, smooth_noise, stream
from anatomark.errors import UsageError
from anatomark.geometry import FloatArray, Grid

__all__ = ["OLFACTORY_LANDMARKS", "OLFACTORY_PAIRS", "olfactory_layout", "olfactory_mr"]

#: Slices, rows and columns of the paper's scans, and the size of the picture along x, y and z of
#: the array in mm: in-plane 120 mm, 28 slices of 1 mm.
OLFACTORY_SHAPE = (28, 256, 256)
FIELD_MM = (120.0, 120.0, 28.0)
ABSENT = 0.05

#: Columns run to the left, rows downwards, slices from front to back.
_CORONAL = np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])
_MIDDLE_MM = np.array([0.0, 0.0, 4.0])  # of the picture, seen from the plate
_SHIFT_MM = np.array([9.0, 4.5, 12.0])


def olfactory_mr(
    seed: int,
    *,
    shape: Sequence[int] = OLFACTORY_SHAPE,
    absent_probability: float = ABSENT,
    artefacts: bool = True,
) -> Sample:
    """Draw the front of one head, ``seed``, as coronal T2-weighted MR (int16, arbitrary units).

    ``shape`` is slices, rows, columns; it changes the size of the voxels, not what is shown. Each
    bulb is missing with ``absent_probability``: then its groove is empty and its landmark absent.
    ``artefacts=False`` leaves out noise and the coil's uneven brightness.

    The landmarks are the centroids of the painted bulbs, world LPS mm; ``mask`` (uint8) is 1 in
    the right and 2 in the left bulb.
    """
    head, grid, landmarks = _layout(seed, shape, absent_probability)
    canvas = Canvas(grid, head.frame, background=head.looks["air"], blur_mm=0.55)
    easel = Easel(canvas, head.looks, texture(grid, 1.3, stream(seed, "olfactory", "texture")))
    paint_face(easel, head.skull, stream(seed, "olfactory", "face"))
    rng = stream(seed, "olfactory", "brain")
    paint_brain(easel, head, draw_brain(rng), rng)
    paint_bulbs(easel, head.bulbs)
    return Sample(
        f"olfactory-{seed:05d}",
        Image(_scanned(canvas.values, stream(seed, "olfactory", "scan"), artefacts), grid),
        landmarks,
        mask=Image(bulb_labels(canvas, head.bulbs), grid),
        domain="olfactory-mr",
        info=_told(seed, head),
    )


def olfactory_layout(
    seed: int,
    *,
    shape: Sequence[int] = OLFACTORY_SHAPE,
    absent_probability: float = ABSENT,
) -> tuple[Grid, Landmarks]:
    """Tell where voxels and landmarks of ``olfactory_mr`` lie, without painting; same options."""
    _, grid, landmarks = _layout(seed, shape, absent_probability)
    return grid, landmarks


def _layout(
    seed: int, shape: Sequence[int], absent_probability: float
) -> tuple[Head, Grid, Landmarks]:
    sizes = check_shape(shape, 3)
    if not 0 <= absent_probability <= 1:
        raise UsageError(f"a probability lies between 0 and 1, not {absent_probability}")
    head = draw_head(seed, absent_probability=absent_probability)
    points = np.stack([bulb.centroid_mm(head.frame) for bulb in head.bulbs])
    here = [bulb.present for bulb in head.bulbs]
    landmarks = Landmarks(OLFACTORY_LANDMARKS, points, present=here, pairs=OLFACTORY_PAIRS)
    return head, _draw_grid(seed, head, sizes), landmarks


def _draw_grid(seed: int, head: Head, shape: tuple[int, ...]) -> Grid:
    """A coronal stack as a scanner stores it, tilted as it was planned."""
    rng = stream(seed, "olfactory", "grid")
    direction = head.plan @ _CORONAL
    shift = _MIDDLE_MM + rng.uniform(-1, 1, 3) * _SHIFT_MM
    spacing = np.array(FIELD_MM) / shape[::-1]
    centre = head.frame.origin + head.turn @ shift
    half: FloatArray = (np.array(shape[::-1]) - 1) / 2 * spacing
    return Grid(shape, spacing, centre - direction @ half, direction)


def _told(seed: int, head: Head) -> dict[str, Any]:
    """What a reader of the cohort may want to know: width, height and length of each bulb."""
    stretch = 1 / np.linalg.norm(head.frame.linear, axis=1)[[0, 2, 1]]
    return {"phantom": "olfactory", "seed": int(seed)} | {
        f"{name}_mm": tuple(np.round(bulb.size_mm * stretch, 1).tolist()) if bulb.present else ()
        for name, bulb in zip(OLFACTORY_LANDMARKS, head.bulbs, strict=True)
    }


def _scanned(signal: Field, rng: np.random.Generator, artefacts: bool) -> NDArray[np.int16]:
    """Give the signal a coil, a scanner's arbitrary scale and Rician noise."""
    scale, noise = rng.uniform(400, 1200), float(rng.uniform(0.02, 0.055))
    image = np.maximum(signal, 0)
    if artefacts:
        steps = np.array(signal.shape) / np.array([1.5, 2.5, 2.5])
        coil = smooth_noise(signal.shape, scale_voxels=steps, rng=rng)
        coil *= np.float32(rng.uniform(0.05, 0.17))
        image *= np.exp(coil, out=coil)
        # Larger voxels hold more signal: noise is given for those of the paper.
        image = rician(image, noise * float(np.prod(OLFACTORY_SHAPE) / signal.size) ** -0.5, rng)
    image *= np.float32(scale)
    whole: NDArray[np.int16] = np.rint(np.clip(image, 0, 32767)).astype(np.int16)
    return whole
