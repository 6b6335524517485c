"""Axial slices like CT of the lower abdomen, from the kidneys down to the hip joints.

For matching without marked points (Grewal et al. 2020): what counts is a wealth of small structures
that a program can find again after a known warp. They are drawn, not scanned; bowel, muscles
and bones lie where they belong, but no slice is a patient's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anatomark.data import Image, Sample
from anatomark.datasets.phantoms.ct.abdomen_body import Belly, draw_belly, paint_body, paint_muscles
from anatomark.datasets.phantoms.ct.abdomen_bones import paint_bones
from anatomark.datasets.phantoms.ct.abdomen_bowel import paint_bowel, paint_mesentery
from anatomark.datasets.phantoms.ct.abdomen_organs import paint_organs, paint_vessels
from anatomark.datasets.phantoms.ct.canvas import BodyFrame, Canvas, draw_ripple
from anatomark.datasets.phantoms.ct.hounsfield import (
    HU,
    add_streaks,
    check_shape,
    scanner_noise,
    stored,
    texture,
)
from anatomark.datasets.phantoms.ct.solids import Capsule, Field, turned
from anatomark.datasets.phantoms.texture import blur, stream
from anatomark.errors import UsageError
from anatomark.geometry import FloatArray, Grid

__all__ = ["abdomen_slice"]

#: Width and height of the picture where no spacing is given.
FIELD_MM = 480.0


def abdomen_slice(
    seed: int,
    *,
    shape: Sequence[int] = (512, 512),
    spacing: float | Sequence[float] | None = None,
    level: float | None = None,
    artefacts: bool = True,
) -> Sample:
    """Draw one axial slice through the lower abdomen of patient ``seed``, in HU (int16).

    ``shape`` is y, x. Without ``spacing`` (x, y mm) the picture is 480 mm wide and high, whatever
    its number of pixels; with it, a smaller picture shows less. ``level`` goes from the kidneys (0)
    to the hip joints (1) and is drawn from the seed where it is not given. ``artefacts=False``
    leaves out noise and streaks. The sample has no landmarks; its mask (uint8) is the body.
    """
    sizes = check_shape(shape, 2)
    if level is not None and not 0 <= level <= 1:
        raise UsageError(f"the level goes from 0 (kidneys) to 1 (hips), it is {level}")
    rng = stream(seed, "abdomen", "frame")
    drawn_level = float(rng.uniform(0, 1))
    belly = draw_belly(seed, drawn_level if level is None else float(level))
    size = np.clip(rng.normal(1.0, 0.06), 0.85, 1.18)
    frame = BodyFrame(
        origin=rng.uniform([-30, -250], [30, -150]),
        linear=turned(float(rng.normal(0, 4))) / size,
        ripple=draw_ripple(rng, dimension=2, amplitude_mm=3.5, wavelengths_mm=(80.0, 220.0)),
    )
    grid = _draw_grid(rng, frame, sizes, spacing)
    canvas = Canvas(grid, frame, background=HU["air"], blur_mm=1.2)
    skin = _paint(canvas, belly, seed)
    if artefacts:
        _spoil(canvas, belly, skin, seed)
    return Sample(
        f"abdomen-{seed:05d}",
        Image(stored(canvas.values), grid),
        mask=Image((skin < 0).astype(np.uint8), grid),
        domain="abdomen-ct",
        info={"phantom": "abdomen", "seed": int(seed), "level": round(belly.level, 3)},
    )


def _draw_grid(
    rng: np.random.Generator,
    frame: BodyFrame,
    shape: tuple[int, ...],
    spacing: float | Sequence[float] | None,
) -> Grid:
    """Pixels about the middle of the body, give or take two centimetres."""
    size = np.array(shape[::-1])
    step = FIELD_MM / size if spacing is None else _checked_spacing(spacing)
    centre = frame.origin + rng.uniform(-20, 20, 2)
    return Grid(shape, step, centre - step * (size - 1) / 2)


def _checked_spacing(spacing: float | Sequence[float]) -> FloatArray:
    step = np.asarray(spacing, np.float64)
    if step.shape not in {(), (2,)} or not (np.isfinite(step).all() and (step > 0).all()):
        raise UsageError(f"spacing is one or two positive numbers (x, y) in mm, not {spacing}")
    return np.broadcast_to(step, (2,))


def _paint(canvas: Canvas, belly: Belly, seed: int) -> Field:
    """Paint everything from the skin inwards; return the distance to the skin."""
    grain = texture(canvas.grid, 2.2, stream(seed, "abdomen", "fine"))
    skin, inside = paint_body(canvas, belly, grain, stream(seed, "abdomen", "body"))
    paint_mesentery(canvas, belly, stream(seed, "abdomen", "mesentery"))
    taken = paint_organs(canvas, belly, inside, grain, stream(seed, "abdomen", "organs"))
    paint_bowel(canvas, belly, grain, taken, stream(seed, "abdomen", "bowel"))
    paint_muscles(canvas, belly, skin, grain, stream(seed, "abdomen", "muscles"))
    paint_vessels(canvas, belly, stream(seed, "abdomen", "vessels"))
    paint_bones(canvas, belly, grain, stream(seed, "abdomen", "bones"))
    return skin


def _spoil(canvas: Canvas, belly: Belly, skin: Field, seed: int) -> None:
    """Noise, more of it deep in the body and between the hips, and streaks at metal."""
    rng = stream(seed, "abdomen", "artefacts")
    grid = canvas.grid
    if rng.random() < 0.12:
        place = rng.uniform([-60, -40], [60, 30])
        canvas.paint(Capsule(place, place + rng.normal(0, 3, 2), 1.0, 1.0), HU["metal"])
        source = canvas.frame.to_world(place[None])[0]
        add_streaks(canvas.values, grid, source, rng, strength_hu=80.0, reach_mm=22.0)
    noise = scanner_noise(
        grid,
        stream(seed, "abdomen", "noise"),
        sd_hu=float(rng.uniform(6, 17)),
        kernel_mm=float(rng.uniform(0.45, 0.9)),
        voxel_mm=1.0,
    )
    # Few rays get through the thickest part, and those along the hips: stripes from side to side.
    if belly.level > 0.75:
        noise += np.float32(0.9) * blur(noise, [0.0, min(12.0 / grid.spacing[0], 20.0)])
    noise *= np.float32(0.6) + np.clip(-skin / np.float32(120), 0, 1) * np.float32(0.7)
    canvas.values += noise
