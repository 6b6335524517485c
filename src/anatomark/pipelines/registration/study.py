"""How well registrations do against what surfaces say, and from how far a refinement comes home.

The errors are those of Fang 2023, section 3.2: the reference is the rigid map of the moving
gland's surface onto the fixed one by iterative closest points.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from anatomark.data import Image, Landmarks, Sample
from anatomark.errors import NoOverlapError, RegistrationError
from anatomark.geometry import FloatArray
from anatomark.maps import Affine, Map
from anatomark.registration.icp import icp
from anatomark.registration.intensity import Settings, refine
from anatomark.registration.landmarks import fit_landmarks
from anatomark.registration.overlap import (
    dice,
    residual_turn_degrees,
    surface_registration_error,
)
from anatomark.registration.parameters import adapt
from anatomark.registration.surfaces import surface_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Z95 = 1.96
_MOST_TURNED = 70.0  # degrees


@dataclass(frozen=True, eq=False)
class GlandPair:
    """A fixed and a moving image of one gland, with landmarks and masks.

    ``truth`` is the rigid map of the moving surface onto the fixed one (T_gt of the paper),
    ``surface_mm`` ``(V, D)`` the vertices of the moving surface (S_i), LPS mm.
    """

    name: str
    fixed: Sample = field(repr=False)
    moving: Sample = field(repr=False)
    truth: Affine
    surface_mm: FloatArray = field(repr=False)

    def error(self, found: Map) -> float:
        """Surface registration error in mm of a map of moving points, equation 6."""
        return surface_registration_error(self.surface_mm, self.truth, found)


class Errors(NamedTuple):
    """What a rigid map is off by: mm, 0…1, degrees."""

    sre_mm: float
    dice: float
    turn_degrees: float


def gland_pair(name: str, fixed: Sample, moving: Sample) -> GlandPair:
    """The pair with its reference, searched from the fit of its own landmarks."""
    for side, sample in (("fixed", fixed), ("moving", moving)):
        if sample.mask is None or sample.landmarks is None:
            lacking = "mask" if sample.mask is None else "landmarks"
            raise RegistrationError(f"{name}: the {side} image has no {lacking}")
    surface = surface_of(_mask(moving))
    start = fit_landmarks(_marks(fixed), _marks(moving), "rigid", covariances=False).map
    found = icp(surface, surface_of(_mask(fixed)), start=_affine(start))
    return GlandPair(name, fixed, moving, found.map, surface.vertices_mm)


def errors_of(pair: GlandPair, found: Affine) -> Errors:
    """Errors of a rigid map that pushes moving points onto fixed ones."""
    return Errors(pair.error(found), dice_of(pair, found), residual_turn_degrees(pair.truth, found))


def dice_of(pair: GlandPair, found: Map | None) -> float:
    """Overlap 0…1 of the masks under a map of moving points, or as they lie."""
    return dice(_mask(pair.fixed), _mask(pair.moving), push=found)


def by_landmarks(fixed: Landmarks, moving: Landmarks) -> Affine:
    """The rigid map of section 2.3: least squares, every point alike."""
    return _affine(fit_landmarks(fixed, moving, "rigid", covariances=False).map)


def simulated_observer(
    marks: Landmarks, mean_error_mm: float, rng: np.random.Generator
) -> Landmarks:
    """Landmarks as somebody would place them: Gaussian errors, alike along all axes.

    The length of such an error in 3D is ``sd · √(8/π)`` on average, in 2D ``sd · √(π/2)``.
    """
    dim = marks.dimension
    sd = mean_error_mm / (np.sqrt(8 / np.pi) if dim == 3 else np.sqrt(np.pi / 2))
    moved = marks.points_mm + rng.normal(0, sd, marks.points_mm.shape)
    return Landmarks(marks.names, moved, unit=marks.unit)


def _mask(sample: Sample) -> Image:
    if sample.mask is None:
        raise RegistrationError(f"{sample.case} has no mask")
    return sample.mask


def _marks(sample: Sample) -> Landmarks:
    if sample.landmarks is None:
        raise RegistrationError(f"{sample.case} has no landmarks")
    return sample.landmarks


def _affine(found: Map) -> Affine:
    if not isinstance(found, Affine):
        raise RegistrationError(f"a rigid map is needed, not a {type(found).__name__}")
    return found


# -- capture range ---------------------------------------------------------------------------------


class Attempt(NamedTuple):
    """A refinement from a start that was off: errors in mm before and after it."""

    pair: str
    before_mm: float
    after_mm: float


def off_by(pair: GlandPair, error_mm: float, rng: np.random.Generator) -> Affine:
    """The reference, moved and turned at random until its surface error is ``error_mm``.

    It is turned by at most ``_MOST_TURNED``, which is what Table 4 of the paper comes to; the rest
    is shift.
    """
    dim = pair.truth.dimension
    middle = pair.surface_mm.mean(axis=0)
    lever = float(np.linalg.norm(pair.surface_mm - middle, axis=1).mean())
    shift, turn = rng.normal(size=dim), rng.normal(size=1 if dim == 2 else 3)
    part = rng.uniform()
    moved, turned = shift / np.linalg.norm(shift), turn / np.linalg.norm(turn)
    size = error_mm
    for _ in range(40):  # the error grows nearly in proportion
        angle = min(size * part / lever, np.radians(_MOST_TURNED))
        step = np.concatenate([(size - angle * lever) * moved, angle * turned])
        found = adapt("rigid", pair.truth, step, middle)
        now = pair.error(found)
        if abs(now - error_mm) < 1e-3 or now == 0:
            break
        size *= error_mm / now
    return found


def refined(
    pair: GlandPair, start: Affine, *, region: Image | None, settings: Settings | None = None
) -> float:
    """Surface error in mm after rigid refinement by grey values from ``start``.

    ``region`` is where the fixed image is compared. A start from which nothing can be compared
    stays as it was.
    """
    try:
        found = refine(
            pair.fixed.image, pair.moving.image, start=start, stages=["rigid"],
            fixed_mask=region, settings=settings,
        )  # fmt: skip
    except NoOverlapError:
        return pair.error(start)
    return pair.error(found.map)


def capture(
    pairs: Sequence[GlandPair],
    regions: Sequence[Image | None],
    errors_mm: Sequence[float],
    *,
    seed: int = 0,
    settings: Settings | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> list[Attempt]:
    """Refine each pair from starts that are off by each of ``errors_mm``."""
    attempts: list[Attempt] = []
    for number, (pair, region) in enumerate(zip(pairs, regions, strict=True)):
        rng = np.random.default_rng([seed, number])
        for error in errors_mm:
            progress(len(attempts), len(pairs) * len(errors_mm))
            start = off_by(pair, error, rng)
            after = refined(pair, start, region=region, settings=settings)
            attempts.append(Attempt(pair.name, pair.error(start), after))
    return attempts


class Share(NamedTuple):
    """Of attempts ``tried`` that began between two errors, how many succeeded."""

    low_mm: float
    high_mm: float
    succeeded: int
    tried: int

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the share (Wilson 1927), as if all attempts were independent."""
        n, p = self.tried, self.succeeded / self.tried
        middle = (p + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
        half = Z95 / (1 + Z95**2 / n) * np.sqrt(p * (1 - p) / n + Z95**2 / (4 * n * n))
        return float(max(middle - half, 0)), float(min(middle + half, 1))


def shares(
    attempts: Sequence[Attempt], edges_mm: Sequence[float], success_mm: float
) -> list[Share]:
    """Successes (at most ``success_mm`` off afterwards) by how far off the start was."""
    found = []
    for low, high in pairwise(edges_mm):
        here = [a for a in attempts if low < a.before_mm <= high]
        if here:
            won = sum(a.after_mm <= success_mm for a in here)
            found.append(Share(low, high, won, len(here)))
    return found


def capture_plot(
    attempts: Sequence[Attempt], edges_mm: Sequence[float], success_mm: float
) -> Figure:
    """Errors after refinement against those before, and the share of successes with intervals."""
    import matplotlib.pyplot as plt

    figure, (above, below) = plt.subplots(
        2, 1, figsize=(6, 6), sharex=True, layout="constrained", height_ratios=[3, 2]
    )
    before, after = (np.array([a[k] for a in attempts]) for k in (1, 2))
    won = after <= success_mm
    most = float(max(edges_mm))
    same = np.linspace(0, most, 200)
    above.plot(same, same, color="#8c959f", linewidth=1, zorder=0, label="nothing changed")
    above.axhline(success_mm, color="#8c959f", linewidth=1, linestyle=":", zorder=0)
    above.scatter(
        before[won], after[won], s=18, color="#0072b2", linewidths=0,
        label=f"succeeded: ≤ {success_mm:g} mm afterwards",
    )  # fmt: skip
    above.scatter(
        before[~won], after[~won], s=22, marker="x", color="#d55e00", linewidths=1, label="failed"
    )
    above.set_yscale("symlog", linthresh=5)
    ticks = [t for t in (0, 1, 2, 5, 10, 20, 50, 100) if t <= 1.2 * max(after.max(), most)]
    above.set_yticks(ticks, [f"{t:g}" for t in ticks])
    above.set(ylabel="surface error after refinement (mm)", ylim=(0, None))
    above.legend(fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    parts = shares(attempts, edges_mm, success_mm)
    places = [(s.low_mm + s.high_mm) / 2 for s in parts]
    values = np.array([100 * s.succeeded / s.tried for s in parts])
    ends = 100 * np.array([s.interval for s in parts]).T
    below.errorbar(
        places, values, yerr=np.abs(ends - values), fmt="o-", color="#0072b2", capsize=3,
        linewidth=1.5, markersize=4,
    )  # fmt: skip
    for place, share in zip(places, parts, strict=True):
        below.annotate(
            f"{share.succeeded}/{share.tried}", (place, 107), fontsize=7, ha="center",
            color="#57606a",
        )  # fmt: skip
    below.set(
        xlim=(0, most), ylim=(-3, 115), yticks=range(0, 101, 25), ylabel="succeeded (%)",
        xlabel="surface error of the start (mm)",
    )  # fmt: skip
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    return figure
