"""Images for ITK, and what must hold before two of them can be registered."""

from __future__ import annotations

from typing import Any

import numpy as np

from anatomark.data import Image
from anatomark.errors import NoOverlapError, RegistrationError
from anatomark.field_of_view import field_of_view
from anatomark.geometry import Grid
from anatomark.io.native import simpleitk
from anatomark.maps import Map

_PROBES = 24  # an axis, at which the overlap is measured
_LEAST_OVERLAP = 0.01  # of the fixed image (or its mask)
_LEAST_INNER = 0.5  # of what an image shows, that is left without its edge


def sitk_image(image: Image) -> Any:
    """The image as float32 in SimpleITK, where it is in the world (LPS)."""
    sitk = simpleitk()

    picture = sitk.GetImageFromArray(np.ascontiguousarray(image.array, np.float32))
    place(picture, image.grid)
    return picture


def sitk_mask(mask: Image) -> Any:
    """Voxels above 0 as an 8-bit mask in SimpleITK."""
    sitk = simpleitk()

    picture = sitk.GetImageFromArray(np.ascontiguousarray(mask.array > 0).astype(np.uint8))
    place(picture, mask.grid)
    return picture


def compared(image: Image, mask: Image | None, *, view: bool) -> Any:
    """What of an image is compared, as an 8-bit mask in SimpleITK, or nothing where all of it is.

    With ``view`` that is what shows something of the mask, without the voxels at its edge, which
    are brighter or darker for no reason of anatomy. What is thin, or has one value against its
    background, as labels and vessels, is compared with its background.
    """
    from scipy.ndimage import binary_erosion

    own = None if mask is None else sitk_mask(mask)
    shown = field_of_view(image.array) if view else None
    if shown is None or shown.all() or not shown.any():
        return own
    within = binary_erosion(shown, border_value=1)
    values = image.array[within]
    if within.sum() < _LEAST_INNER * shown.sum() or values.min() == values.max():
        return own
    inner = sitk_mask(image.with_array(within))
    if own is None:
        return inner
    both = inner * mask_on(own, inner)
    return both if simpleitk().GetArrayViewFromImage(both).any() else own


def mask_on(mask: Any, picture: Any) -> Any:
    """A SimpleITK mask on the grid of a SimpleITK image, 0 where the mask does not reach."""
    sitk = simpleitk()

    still = sitk.Transform(picture.GetDimension(), sitk.sitkIdentity)
    return sitk.Resample(mask, picture, still, sitk.sitkNearestNeighbor, 0.0)


def place(picture: Any, grid: Grid) -> None:
    """Give a SimpleITK image the spacing, origin and direction of a grid."""
    picture.SetSpacing(grid.spacing.tolist())
    picture.SetOrigin(grid.origin.tolist())
    picture.SetDirection(grid.direction.ravel().tolist())


def wider(grid: Grid, margin: float) -> Grid:
    """The grid, continued on each side by such a part of its extent."""
    extra = np.ceil(margin * np.asarray(grid.size_xyz)).astype(int).tolist()
    return grid.pad(extra, extra)


def check_images(
    fixed: Image, moving: Image, fixed_mask: Image | None, moving_mask: Image | None
) -> None:
    """Refuse images that cannot be compared, and masks with nothing in them."""
    for side, image in (("fixed", fixed), ("moving", moving)):
        if image.channels is not None:
            raise RegistrationError(
                f"the {side} image has {image.channels} channels", fix="extract one of them first"
            )
        if not np.isfinite(image.array).all():
            raise RegistrationError(f"the {side} image has voxels that are not finite")
        if image.array.min() == image.array.max():
            raise RegistrationError(f"all voxels of the {side} image are alike")
        if min(image.grid.shape) < 4:
            raise RegistrationError(f"the {side} image is too thin: {image.grid}")
    if (fixed.grid.unit, fixed.grid.dimension) != (moving.grid.unit, moving.grid.dimension):
        raise RegistrationError(
            f"the fixed image is {fixed.grid.dimension}D in {fixed.grid.unit}, "
            f"the moving one {moving.grid.dimension}D in {moving.grid.unit}",
            fix="give both their spacing"
            if fixed.grid.dimension == moving.grid.dimension
            else "register two volumes, or two flat images",
        )
    for side, mask in (("fixed", fixed_mask), ("moving", moving_mask)):
        if mask is not None and not (mask.array > 0).any():
            raise RegistrationError(f"the {side} mask is empty", fix="leave it out")


def check_overlap(
    fixed: Image, moving: Image, pull: Map, fixed_mask: Image | None, moving_mask: Image | None
) -> None:
    """Refuse a start under which the images do not overlap; ``pull``: fixed → moving points."""
    share = overlap(fixed, moving, pull, fixed_mask, moving_mask)
    if share < _LEAST_OVERLAP:
        what = "image" if fixed_mask is None else "mask"
        raise NoOverlapError(
            f"the images do not overlap: {share:.1%} of the fixed {what} lies in the moving one",
            fix="start from landmarks, or check the origins (and frames) of both",
        )


def overlap(
    fixed: Image,
    moving: Image,
    pull: Map,
    fixed_mask: Image | None = None,
    moving_mask: Image | None = None,
) -> float:
    """The share of the fixed image (of its mask) that ``pull`` brings into the moving one."""
    points = _probes(fixed.grid) if fixed_mask is None else _inside(fixed_mask)
    pulled = pull(points)
    inside = moving.grid.contains(pulled)
    if moving_mask is not None and inside.any():
        grid = moving_mask.grid
        index = np.rint(grid.to_index(pulled)).astype(int)
        known = ((index >= 0) & (index < grid.size_xyz)).all(1)
        index = np.where(known[:, None], index, 0)
        inside &= known & (moving_mask.array[tuple(index.T[::-1])] > 0)
    return float(inside.mean())


def folds(pull: Map, grid: Grid) -> bool:
    """Whether a map turns some parts of the image inside out and others not: it has no inverse."""
    sizes = np.linalg.det(pull.jacobian(_probes(grid)))
    return bool(sizes.min() <= 0 < sizes.max() or not sizes.any())


def _probes(grid: Grid) -> Any:
    axes = [np.linspace(0, n - 1, min(n, _PROBES)) for n in grid.size_xyz]
    index = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, grid.dimension)
    return grid.to_world(index)


def _inside(mask: Image) -> Any:
    index = np.stack(np.nonzero(mask.array > 0)[::-1], axis=1)
    few = index[:: len(index) // _PROBES**3 + 1]
    return mask.grid.to_world(few.astype(np.float64))
