"""From thickness to grey values: attenuation, scatter, unsharpness, noise, film and shutters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anatomark.datasets.phantoms.texture import blur
from anatomark.datasets.phantoms.xray.outlines import Stroke, xy
from anatomark.datasets.phantoms.xray.raster import Float32, Raster, resize
from anatomark.datasets.phantoms.xray.thickness import Projection, plate
from anatomark.geometry import FloatArray

_SCATTER_CELL_MM = 4.0
_SCATTER_MM = 18.0
_METAL_PER_MM = 1.6
_STROKES: dict[str, tuple[tuple[tuple[float, float], ...], ...]] = {
    "L": (((0, 0), (0, 1), (0.6, 1)),),
    "R": (
        ((0, 1), (0, 0), (0.45, 0.04), (0.6, 0.25), (0.45, 0.46), (0, 0.5)),
        ((0.2, 0.5), (0.6, 1)),
    ),
    "0": (((0.3, 0), (0, 0.3), (0, 0.7), (0.3, 1), (0.6, 0.7), (0.6, 0.3), (0.3, 0)),),
    "1": (((0.1, 0.2), (0.35, 0), (0.35, 1)),),
    "2": (((0, 0.2), (0.3, 0), (0.6, 0.25), (0, 1), (0.6, 1)),),
    "3": (((0, 0), (0.6, 0), (0.25, 0.4), (0.6, 0.7), (0.3, 1), (0, 0.9)),),
    "4": (((0.45, 1), (0.45, 0), (0, 0.65), (0.6, 0.65)),),
    "5": (((0.55, 0), (0.05, 0), (0, 0.45), (0.4, 0.4), (0.6, 0.7), (0.3, 1), (0, 0.95)),),
    "6": (((0.5, 0), (0.05, 0.5), (0.1, 0.95), (0.5, 0.95), (0.55, 0.55), (0.05, 0.6)),),
    "7": (((0, 0), (0.6, 0), (0.2, 1)),),
    "8": (
        (
            (0.3, 0.45),
            (0.05, 0.2),
            (0.3, 0),
            (0.55, 0.2),
            (0.3, 0.45),
            (0, 0.75),
            (0.3, 1),
            (0.6, 0.75),
            (0.3, 0.45),
        ),
    ),
    "9": (((0.5, 0.4), (0.1, 0.4), (0.05, 0.05), (0.5, 0.05), (0.55, 0.5), (0.1, 1)),),
}


@dataclass(frozen=True)
class Exposure:
    """How the rays, the detector and the film treat one picture.

    ``quanta_per_mm2`` reach the bare detector. ``window`` are the percentiles of attenuation that
    become the darkest and the brightest grey, each moved by ``shift`` parts of the range between
    them; ``gamma`` bends the scale, ``toe`` softens its ends.
    """

    soft_per_mm: float
    bone_per_mm: float
    scatter: float
    blur_mm: float
    quanta_per_mm2: float
    gamma: float
    toe: float
    window: tuple[float, float]
    shift: tuple[float, float]


def draw_exposure(
    rng: np.random.Generator,
    *,
    soft_per_mm: tuple[float, float],
    bone_per_mm: tuple[float, float],
    window: tuple[float, float],
) -> Exposure:
    """Draw settings as they differ between machines; a wide spread on purpose."""
    return Exposure(
        soft_per_mm=rng.uniform(*soft_per_mm),
        bone_per_mm=rng.uniform(*bone_per_mm),
        scatter=rng.uniform(0.02, 0.08),
        blur_mm=rng.uniform(0.2, 0.5),
        quanta_per_mm2=10 ** rng.uniform(3.6, 4.6),
        gamma=rng.uniform(0.8, 1.25),
        toe=rng.uniform(0.04, 0.12),
        window=window,
        shift=(rng.uniform(-0.1, 0.0), rng.uniform(-0.12, 0.1)),
    )


def expose(view: Projection, exposure: Exposure, rng: np.random.Generator) -> Float32:
    """Grey values 0…1 of what was drawn: bone bright, air dark."""
    log = attenuation(view, exposure)
    coarse = resize(log, (48, 48))
    low, high = (float(np.percentile(coarse, p)) for p in exposure.window)
    moves = np.array(exposure.shift) * (high - low)
    return develop(
        detect(log, view.raster, exposure, rng), exposure, low + moves[0], high + moves[1]
    )


def attenuation(view: Projection, exposure: Exposure) -> Float32:
    """Attenuation (natural logarithm) along each ray, without scatter and noise."""
    per_mm = {"soft": exposure.soft_per_mm, "bone": exposure.bone_per_mm, "metal": _METAL_PER_MM}
    log = np.zeros(view.raster.shape, np.float32)
    for material, coefficient in per_mm.items():
        log += np.float32(coefficient) * np.maximum(view.maps[material], 0)
    return log


def detect(log: Float32, raster: Raster, exposure: Exposure, rng: np.random.Generator) -> Float32:
    """Attenuation as the detector sees it: with scatter, unsharpness and quantum noise."""
    direct = np.exp(-log)
    rows, columns = (
        min(n, max(4, round(side / _SCATTER_CELL_MM)))
        for n, side in zip(raster.shape, raster.film_mm[::-1], strict=True)
    )
    cloud = blur(resize(direct, (rows, columns)), _SCATTER_MM / raster.film_mm[1] * rows)
    seen = direct + np.float32(exposure.scatter) * np.maximum(resize(cloud, raster.shape), 0)
    seen = blur(seen, [exposure.blur_mm / float(p) for p in raster.pixel_mm[::-1]])
    quanta = np.float32(exposure.quanta_per_mm2 * raster.pixel_mm.prod())
    seen += rng.standard_normal(raster.shape, dtype=np.float32) * np.sqrt(seen / quanta)
    return -np.log(np.maximum(seen, np.float32(1e-4)))


def develop(seen: Float32, exposure: Exposure, low: float, high: float) -> Float32:
    """Grey values 0…1 of an attenuation map, ``low`` to ``high`` through the film's curve."""
    linear = np.linspace(-1, 2, 512)
    toe = exposure.toe
    bent = toe * (np.logaddexp(0, linear / toe) - np.logaddexp(0, (linear - 1) / toe))
    curve = np.clip(bent, 0, 1) ** exposure.gamma
    grey: Float32 = np.interp(seen, low + (high - low) * linear, curve).astype(np.float32)
    return grey


def as_integers(grey: Float32, kind: type[np.uint8] | type[np.uint16]) -> NDArray[Any]:
    """Grey values 0…1 as whole numbers over the full range of the type."""
    return np.round(grey * np.float32(np.iinfo(kind).max)).astype(kind)


def letters(view: Projection, text: str, at_mm: FloatArray, height_mm: float) -> None:
    """Lay lead letters on the film, their upper left corner at ``at_mm``."""
    lines = [
        at_mm + height_mm * (np.array(line) + xy(0.85 * place, 0))
        for place, character in enumerate(text)
        for line in _STROKES[character]
    ]
    strokes = Stroke.joined(Stroke.of(line, 0.08 * height_mm) for line in lines)
    view.add("metal", strokes, plate(2.0, 0.05 * height_mm))


def collimate(
    grey: Float32, raster: Raster, rng: np.random.Generator, *, widest_mm: float
) -> Float32:
    """Half the time, leave a border of random widths unexposed: white on film, or blacked out."""
    margins = rng.uniform(0.1 * widest_mm, widest_mm, 4)
    value = np.float32(rng.choice([0.02, 0.97]))
    if rng.random() < 0.5:
        return grey
    light = []
    for axis in (0, 1):
        count, pixel = raster.shape[axis], raster.pixel_mm[1 - axis]
        centres = np.arange(count) + 0.5
        first, last = margins[2 * axis : 2 * axis + 2] / pixel
        depth = np.minimum(centres - first, count - last - centres)
        light.append(np.clip(depth + 0.5, 0, 1).astype(np.float32))
    bordered: Float32 = value + light[0][:, None] * light[1] * (grey - value)
    return bordered


def label(
    view: Projection, rng: np.random.Generator, *, side: str, at_right: bool | None = None
) -> None:
    """Often a side letter or a film number in a corner; ``at_right`` says where the letter goes."""
    width, height = view.raster.film_mm
    number = "".join(rng.choice(list("0123456789"), 6))
    is_letter, shown, right, top = rng.random(4) < (0.6, 0.75, 0.5, 0.5)
    text = side if is_letter else number
    if is_letter and at_right is not None:
        right = at_right
    tall = rng.uniform(0.015, 0.03) * height
    margin = rng.uniform(0.03, 0.1) * width
    x = width - margin - 0.85 * tall * len(text) if right else margin
    y = rng.uniform(0.01, 0.04) * height if top else 0.95 * height
    if shown:
        letters(view, text, xy(x, y), tall)
