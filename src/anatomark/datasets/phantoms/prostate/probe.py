"""``View``: what a transrectal probe sees, end-fire or side-fire.

Everything is in the frame of the ultrasound grid, in mm about its centre and along its own axes.
The probe lies at the high end of y and looks towards low y. An end-fire probe swings a fan about
a line through its tip; a side-fire probe moves (or turns) a fan along its shaft, which is z.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Probe = Literal["end-fire", "side-fire"]
PROBES: tuple[Probe, ...] = ("end-fire", "side-fire")


@dataclass(frozen=True)
class View:
    """The sector: beams leave a probe's surface ``near_mm`` from ``centre`` and end at ``far_mm``.

    ``half_angle`` is that of the fan in radians, ``half_sweep`` half of the sweep: radians for
    an end-fire probe, mm along z for a side-fire one.
    """

    probe: Probe
    centre: tuple[float, float, float]
    near_mm: float
    far_mm: float
    half_angle: float
    half_sweep: float

    def polar(self, xyz: NDArray[Any]) -> NDArray[Any]:
        """Depth, angle and sweep ``(3, ...)``, each -1…1 within the sector, of grid mm."""
        x, y, z = (part - c for part, c in zip(xyz, self.centre, strict=True))
        if self.probe == "end-fire":
            ahead = np.sqrt(y * y + z * z)
            sweep = np.arctan2(z, -y)
        else:
            ahead, sweep = -y, z
        depth = np.sqrt(x * x + ahead * ahead)
        middle, half = (self.far_mm + self.near_mm) / 2, (self.far_mm - self.near_mm) / 2
        polar = np.empty(xyz.shape, depth.dtype)
        np.divide(depth - middle, half, out=polar[0])
        np.divide(np.arctan2(x, ahead), self.half_angle, out=polar[1])
        np.divide(sweep, self.half_sweep, out=polar[2])
        return polar

    def points(self, depth: Any, angle: Any, sweep: Any) -> list[Any]:
        """Grid mm x, y, z of normalised depth, angle and sweep (broadcast): undoes ``polar``."""
        middle, half = (self.far_mm + self.near_mm) / 2, (self.far_mm - self.near_mm) / 2
        away, turn, aside = middle + half * depth, self.half_angle * angle, self.half_sweep * sweep
        ahead = away * np.cos(turn)
        if self.probe == "end-fire":
            y, z = -ahead * np.cos(aside), ahead * np.sin(aside)
        else:
            y, z = -ahead, aside
        return [part + c for part, c in zip((away * np.sin(turn), y, z), self.centre, strict=True)]

    def beam(self, xyz: NDArray[Any]) -> NDArray[Any]:
        """Unit direction ``(3, ...)`` in which sound travels at grid mm."""
        parts = [part - c for part, c in zip(xyz, self.centre, strict=True)]
        if self.probe == "side-fire":
            parts[2] = np.zeros_like(parts[2])
        away = np.stack(parts)
        length = np.sqrt(np.square(away).sum(axis=0)) + 1e-6
        direction: NDArray[Any] = away / length
        return direction

    def sees(self, xyz: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which grid mm ``(3, ...)`` lie in the sector."""
        return inside(self.polar(xyz))

    @property
    def lengths_mm(self) -> tuple[float, float, float]:
        """Size of the sector along depth, angle and sweep, at the middle depth."""
        middle = (self.far_mm + self.near_mm) / 2
        swing = middle if self.probe == "end-fire" else 1.0
        return (
            self.far_mm - self.near_mm,
            2 * self.half_angle * middle,
            2 * self.half_sweep * swing,
        )


def inside(polar: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which normalised depth, angle and sweep ``(3, ...)`` lie in the sector."""
    within: NDArray[np.bool_] = (np.abs(polar) <= 1).all(axis=0)
    return within


def draw_view(rng: np.random.Generator, *, probe: Probe, tip: NDArray[Any], narrow: bool) -> View:
    """Draw a sector for a probe whose surface touches ``tip`` (grid mm).

    ``narrow`` gives the shallow or short sweeps that leave a part of the gland out.
    """
    near = float(rng.uniform(8.0, 12.0))
    depth = rng.uniform(32, 55) if narrow else rng.uniform(62, 85)
    angle = rng.uniform(30, 50) if narrow else rng.uniform(55, 75)
    if probe == "end-fire":
        sweep = np.deg2rad(rng.uniform(25, 45) if narrow else rng.uniform(50, 70))
    else:
        sweep = rng.uniform(14, 22) if narrow else rng.uniform(32, 42)
    # The fan opens inside the probe's head, behind the surface that touches the body.
    x, y, z = (float(v) for v in tip)
    return View(
        probe=probe,
        centre=(x, y + near, z),
        near_mm=near,
        far_mm=near + float(depth),
        half_angle=float(np.deg2rad(angle)),
        half_sweep=float(sweep),
    )
