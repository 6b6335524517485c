"""A thorax-like phantom of cardiac CT angiography with eight named points on the aortic root.

It is drawn, not scanned: made to be as hard to read as the task of Noothout et al. 2020 in the
ways that a program sees (place, size, pose, contrast, noise, distractors), and no more than that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anatomark.data import Image, Landmarks, Sample
from anatomark.datasets.phantoms.ct import thorax_chest as around
from anatomark.datasets.phantoms.ct.canvas import BodyFrame, Canvas, draw_ripple
from anatomark.datasets.phantoms.ct.hounsfield import (
    HU,
    add_streaks,
    check_shape,
    scanner_noise,
    stored,
    texture,
)
from anatomark.datasets.phantoms.ct.thorax_distractors import blur_heartbeat, paint_distractors
from anatomark.datasets.phantoms.ct.thorax_heart import Heart, draw_heart, paint_heart
from anatomark.datasets.phantoms.ct.thorax_root import THORAX_LANDMARKS
from anatomark.datasets.phantoms.texture import stream
from anatomark.errors import UsageError
from anatomark.geometry import FloatArray, Grid

__all__ = ["THORAX_LANDMARKS", "thorax_ct", "thorax_layout"]

#: Size of the picture in mm, x, y, z: (96, 136, 136) voxels of 1.5 mm.
FIELD_MM = (204.0, 204.0, 144.0)
_FIELD_OFFSET_MM = np.array([16.0, 2.0, -12.0])  # middle of the picture, seen from the root
_KEEP_INSIDE_MM = 6.0


@dataclass(frozen=True)
class Patient:
    """What is drawn of one seed before anything is painted."""

    frame: BodyFrame
    chest: around.Chest
    heart: Heart
    landmarks_mm: FloatArray


def thorax_ct(
    seed: int,
    *,
    shape: Sequence[int] = (96, 136, 136),
    field_mm: Sequence[float] = FIELD_MM,
    absent_probability: float = 0.0,
    artefacts: bool = True,
) -> Sample:
    """Draw the thorax of one patient, ``seed``, as contrast-enhanced CT in HU (int16).

    ``shape`` is z, y, x; it changes the size of the voxels, not what is shown: ``field_mm`` (x, y,
    z) is the size of the picture. Every patient lies elsewhere in it, in a world with an origin of
    its own; about a third of the grids are tilted or run from left to right or front to back.
    With ``absent_probability`` the picture ends somewhere between the landmarks, and those
    outside are absent. ``artefacts=False`` leaves out noise, motion, streaks, calcium and metal.

    The landmarks are the eight of Noothout et al. 2020, world LPS mm, points of the drawn root.
    """
    grid, landmarks = thorax_layout(
        seed, shape=shape, field_mm=field_mm, absent_probability=absent_probability
    )
    patient = draw_patient(seed)
    canvas = Canvas(grid, patient.frame, background=HU["air"], blur_mm=1.0)
    info: dict[str, Any] = {
        "phantom": "thorax",
        "seed": int(seed),
        "right_from_left_sinus": patient.heart.root.right_from_left_sinus,
    }
    _paint(canvas, patient, seed)
    if artefacts:
        info |= _spoil(canvas, patient, seed)
    image = Image(stored(canvas.values), grid)
    return Sample(f"thorax-{seed:05d}", image, landmarks, domain="thorax-ct", info=info)


def thorax_layout(
    seed: int,
    *,
    shape: Sequence[int] = (96, 136, 136),
    field_mm: Sequence[float] = FIELD_MM,
    absent_probability: float = 0.0,
) -> tuple[Grid, Landmarks]:
    """Tell where voxels and landmarks of ``thorax_ct`` lie, without painting; same options."""
    sizes = check_shape(shape, 3)
    _check_options(field_mm, absent_probability)
    points = draw_patient(seed).landmarks_mm
    grid = _draw_grid(seed, points, sizes, np.asarray(field_mm, np.float64), absent_probability)
    return grid, Landmarks(THORAX_LANDMARKS, points, present=grid.contains(points))


def _check_options(field_mm: Sequence[float], absent_probability: float) -> None:
    sizes = np.asarray(field_mm, np.float64)
    if sizes.shape != (3,) or not (np.isfinite(sizes).all() and (sizes >= 20).all()):
        raise UsageError(f"field_mm needs three lengths (x, y, z) of 20 mm or more, not {field_mm}")
    if not 0 <= absent_probability <= 1:
        raise UsageError(f"a probability lies between 0 and 1, not {absent_probability}")


# -- one patient in one world ------------------------------------------------------------------


def draw_patient(seed: int) -> Patient:
    """Draw anatomy, pose and place; nothing here depends on voxels."""
    from scipy.spatial.transform import Rotation

    chest = around.draw_chest(stream(seed, "thorax", "chest"))
    heart = draw_heart(stream(seed, "thorax", "heart"), descending=chest.descending())
    rng = stream(seed, "thorax", "pose")
    pose = Rotation.from_euler("zyx", rng.normal(0, [6, 3, 4]), degrees=True).as_matrix()
    sizes = np.clip(rng.normal(1.0, 0.05, 3), 0.88, 1.14) * np.clip(rng.normal(1, 0.05), 0.88, 1.12)
    frame = BodyFrame(
        origin=rng.uniform([-40, -220, -900], [40, -120, 200]),
        linear=pose / sizes[:, None],
        ripple=draw_ripple(rng, dimension=3, amplitude_mm=2.5, wavelengths_mm=(90.0, 200.0)),
    )
    return Patient(frame, chest, heart, frame.to_world(heart.root.landmarks()))


def _draw_grid(
    seed: int,
    landmarks_mm: FloatArray,
    shape: tuple[int, ...],
    field_mm: FloatArray,
    absent_probability: float,
) -> Grid:
    rng = stream(seed, "thorax", "grid")
    direction = _draw_direction(rng)
    wanted = landmarks_mm.mean(axis=0) + _FIELD_OFFSET_MM + rng.uniform(-1, 1, 3) * [22, 22, 24]
    local = (landmarks_mm - wanted) @ direction  # along the picture's own axes
    reach = np.maximum(field_mm / 2 - _KEEP_INSIDE_MM, 0)
    shift = np.maximum(local.max(axis=0) - reach, 0) + np.minimum(local.min(axis=0) + reach, 0)
    cut_off = rng.random() < absent_probability
    axis, face, after = (
        int(rng.choice([0, 1, 2, 2, 2])),
        int(rng.integers(2)),
        int(rng.integers(1, 8)),
    )
    if cut_off:
        along = np.sort(local[:, axis])
        edge = (along[after - 1] + along[after]) / 2
        shift[axis] = edge - field_mm[axis] / 2 if face else edge + field_mm[axis] / 2
    spacing = field_mm / np.array(shape[::-1])
    first = -field_mm / 2 + spacing / 2 + shift
    return Grid(shape, spacing, wanted + direction @ first, direction)


def _draw_direction(rng: np.random.Generator) -> FloatArray:
    """Usually as scanned; sometimes axes run the other way, sometimes the picture is tilted."""
    from scipy.spatial.transform import Rotation

    kind, angles = rng.random(), rng.uniform(-9, 9, 3)
    if kind < 0.68:
        return np.eye(3)
    if kind < 0.84:
        return np.diag([-1.0, -1.0, 1.0])
    tilted: FloatArray = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    return tilted


# -- painting ----------------------------------------------------------------------------------


def _paint(canvas: Canvas, patient: Patient, seed: int) -> None:
    chest, heart = patient.chest, patient.heart
    fine = texture(canvas.grid, 2.6, stream(seed, "thorax", "fine"))
    coarse = texture(canvas.grid, 14.0, stream(seed, "thorax", "coarse"))
    around.paint_table(canvas, chest)
    around.paint_trunk(canvas, chest, fine)
    cage = canvas.distance(chest.cage)
    density = float(stream(seed, "thorax", "lung").normal(0, 25))
    around.paint_lungs(canvas, chest, cage, (fine, coarse), density=density)
    around.paint_lung_vessels(canvas, chest, stream(seed, "thorax", "vessels"))
    around.paint_belly(canvas, chest, cage, fine, stream(seed, "thorax", "belly"))
    around.paint_mediastinum(canvas, chest, cage, fine)
    around.paint_ribs(canvas, chest, fine, stream(seed, "thorax", "ribs"))
    around.paint_spine(canvas, chest, fine)
    around.paint_airways(canvas, chest)
    paint_heart(canvas, heart, fine)


def _spoil(canvas: Canvas, patient: Patient, seed: int) -> dict[str, Any]:
    """Add what a real scan would suffer from, and tell what was added."""
    rng = stream(seed, "thorax", "artefacts")
    heart = patient.heart
    found = paint_distractors(canvas, heart, rng)
    motion_mm = float(rng.exponential(1.2)) if rng.random() < 0.5 else 0.0
    blur_heartbeat(canvas, heart, rng, motion_mm=motion_mm)
    if heart.contrast.cava > heart.contrast.right + 150:
        source = patient.frame.to_world(heart.at([[-30, 2, 45]]))[0]
        strength = 0.22 * (heart.contrast.cava - heart.contrast.right)
        add_streaks(canvas.values, canvas.grid, source, rng, strength_hu=strength, reach_mm=45.0)
    sd = float(rng.uniform(16, 46))
    kernel = float(rng.uniform(0.5, 1.1))
    noise = stream(seed, "thorax", "noise")
    canvas.values += scanner_noise(canvas.grid, noise, sd_hu=sd, kernel_mm=kernel, voxel_mm=1.5)
    return {**found, "motion_mm": round(motion_mm, 2), "noise_hu": round(sd, 1)}
