"""What a registration is measured by, and the form in which files can hold its map."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from anatomark.data import Image
from anatomark.errors import LossWarning
from anatomark.geometry import FloatArray, Grid
from anatomark.io.transforms.itk_transforms import sampled, simplified, to_sitk
from anatomark.maps import Affine, BSpline, Chain, Displacement, Map
from anatomark.registration.fits import Fit
from anatomark.registration.itk_images import compared, overlap, sitk_image, wider
from anatomark.registration.mutual import Judge, coarser, factor_for
from anatomark.registration.overlap import dice

_SAMPLES = 5_000  # points at which the expected error is summed up
_JUDGED = 4_000_000  # voxels at most of the images whose mutual information is reported
_NODES = {2: 256, 3: 64}  # an axis of a field that stands for a map without a form in files
_MARGIN = 0.1  # of the extent, by which such a field is larger than the fixed image


@dataclass(frozen=True, eq=False)
class Measure:
    """A number as the files lie, after the fit of points and at the end; NaN where unknown."""

    before: float
    fitted: float
    after: float


def storable(pull: Map, grid: Grid) -> tuple[Map, tuple[str, ...]]:
    """``pull`` (fixed → moving points) in a form that files have, and what that costs, in words.

    A map without such a form becomes a field on a lattice about the fixed image, ``grid``.
    """
    plain = simplified(pull)
    parts = plain.maps if isinstance(plain, Chain) else (plain,)
    if all(isinstance(part, Affine | BSpline | Displacement) for part in parts):
        return plain, ()
    wide = wider(grid, _MARGIN)
    most = _NODES[grid.dimension]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", LossWarning)
        # How fine the lattice is cannot be chosen: what can is how much the map bends.
        found = sampled(
            plain, wide.resized(tuple(min(n, most) for n in wide.shape)),
            advice="more smoothing, or fewer pairs, make this less",
        )  # fmt: skip
    return found, tuple(str(w.message) for w in said if issubclass(w.category, LossWarning))


def expected_errors(fit: Fit, fixed: Image, mask: Image | None) -> FloatArray:
    """Expected error at places of the mask, or all over the fixed image."""
    rng = np.random.default_rng(0)
    if mask is None:
        index = rng.uniform(
            0, np.asarray(fixed.grid.size_xyz) - 1.0, (_SAMPLES, len(fixed.grid.shape))
        )
        points = fixed.grid.to_world(index)
    else:
        inside = np.stack(np.nonzero(mask.array > 0)[::-1], axis=1).astype(np.float64)
        points = mask.grid.to_world(inside[:: len(inside) // _SAMPLES + 1])
    return fit.expected_error_mm(fit.map.inverse()(points))


def dice_of_masks(
    masks: tuple[Image | None, Image | None], maps: tuple[Map, Map]
) -> Measure | None:
    """Dice as the masks lie, by the map of the points and at the end; nothing unless both are."""
    still, moving = masks
    if still is None or moving is None:
        return None
    fitted = dice(still, moving, push=maps[0])
    after = fitted if maps[1] is maps[0] else dice(still, moving, push=maps[1])
    return Measure(dice(still, moving), fitted, after)


def covered(images: tuple[Image, Image], maps: tuple[Map, Map], pull: Map) -> Measure:
    """The share (0…1) of the fixed image that the moving one lies on, as the files lie and after.

    ``maps`` are that of the points and the last one, which push; ``pull`` is what was made of the
    inverse of the last.
    """
    after = overlap(*images, pull)
    fitted = after if maps[1] is maps[0] else overlap(*images, maps[0].inverse())
    return Measure(overlap(*images, Affine.identity(pull.dimension)), fitted, after)


def information(
    images: tuple[Image, Image],
    masks: tuple[Image | None, Image | None],
    maps: tuple[Map, Map],
    pull: Map,
    *,
    view: bool,
) -> Measure:
    """Mutual information on what the fixed image shares with the moving one under each map."""
    pictures = [coarser(sitk_image(i), factor_for(i.grid, _JUDGED)) for i in images]
    shown = [compared(i, m, view=view) for i, m in zip(images, masks, strict=True)]
    judge = Judge(*pictures, *shown, threads=None)
    fitted = pull if maps[1] is maps[0] else storable(maps[0].inverse(), images[0].grid)[0]
    still = Affine.identity(images[0].grid.dimension)
    last, middle, first = (to_sitk(m) for m in (pull, fitted, still))
    # On the same voxels, or not at all: few of them seem to tell much of each other.
    lying = judge.values([first, middle, last])
    if lying is not None:
        return Measure(*lying)
    return Measure(np.nan, *(judge.pair(middle, last) or (np.nan, np.nan)))
