"""Mutual information of two images under maps, always on samples that both maps can show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from anatomark.geometry import Grid
from anatomark.io.native import simpleitk
from anatomark.registration.itk_images import mask_on

BINS = 32
_FEWEST = 200  # samples that a comparison may rest on
_SMALLEST = 6  # voxels that an axis keeps when it is made coarser


class Judge:
    """Compares maps by the mutual information (Mattes 2003) of the images under them.

    ``fixed`` and ``moving`` are SimpleITK images, masks too; maps are SimpleITK transforms of
    fixed to moving points. Every voxel of the fixed image is a sample, if both maps bring it into
    the moving image (its mask): samples that only one of them has would reward leaving the image.
    """

    def __init__(
        self, fixed: Any, moving: Any, fixed_mask: Any, moving_mask: Any, *, threads: int | None
    ) -> None:
        sitk = simpleitk()

        self.fixed, self.moving, self.threads = fixed, moving, threads
        everywhere = sitk.Image(fixed.GetSize(), sitk.sitkUInt8) + 1
        everywhere.CopyInformation(fixed)
        self.own = everywhere if fixed_mask is None else mask_on(fixed_mask, fixed)
        ones = sitk.Image(moving.GetSize(), sitk.sitkUInt8) + 1
        ones.CopyInformation(moving)
        self.other = ones if moving_mask is None else moving_mask

    def pair(self, first: Any, second: Any) -> tuple[float, float] | None:
        """Mutual information in nats under two transforms; none where they share too little."""
        found = self.values([first, second])
        return None if found is None else (found[0], found[1])

    def values(self, pulls: Sequence[Any]) -> list[float] | None:
        """Mutual information under each transform, on the samples that all of them show."""
        sitk = simpleitk()

        common = self._shown(pulls[0])
        for pull in pulls[1:]:
            common = common * self._shown(pull)
        if int(sitk.GetArrayViewFromImage(common).sum()) < _FEWEST:
            return None
        try:
            return [self._value(pull, common) for pull in pulls]
        except RuntimeError:  # ITK cannot make its blocks of so thin an overlap
            return None

    def share(self, pull: Any) -> float:
        """The share of the fixed image (its mask) that a transform brings into the moving one."""
        sitk = simpleitk()

        shown, own = (
            int(sitk.GetArrayViewFromImage(i).sum()) for i in (self._shown(pull), self.own)
        )
        return shown / max(own, 1)

    def _shown(self, pull: Any) -> Any:
        sitk = simpleitk()

        return self.own * sitk.Resample(
            self.other, self.fixed, pull, sitk.sitkNearestNeighbor, 0.0, sitk.sitkUInt8
        )

    def _value(self, pull: Any, mask: Any) -> float:
        sitk = simpleitk()

        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(BINS)
        method.SetMetricFixedMask(mask)
        method.SetInterpolator(sitk.sitkLinear)
        # As the one to optimise, a field would have to lie on the voxels of the fixed image.
        method.SetMovingInitialTransform(pull)
        method.SetInitialTransform(sitk.TranslationTransform(self.fixed.GetDimension()))
        if self.threads is not None:
            method.SetNumberOfThreads(self.threads)
        return -float(method.MetricEvaluate(self.fixed, self.moving))


def coarser(image: Any, factor: int) -> Any:
    """A SimpleITK image with voxels about ``factor`` times as large as its finest side.

    Axes that are coarse already stay; values are means, so that nothing is aliased.
    """
    sitk = simpleitk()

    return sitk.BinShrink(image, shrinks(image.GetSize(), image.GetSpacing(), factor))


def shrinks(size: Any, spacing: Any, factor: int) -> list[int]:
    """By how much each axis x, y(, z) shrinks."""
    wanted = factor * min(spacing)
    return [
        int(max(min(round(wanted / s), n // _SMALLEST), 1))
        for n, s in zip(size, spacing, strict=True)
    ]


def factor_for(grid: Grid, voxels: int) -> int:
    """The least factor by which an image has no more than so many voxels."""
    factor = 1
    while factor < max(grid.shape):
        small = np.array(shrinks(grid.size_xyz, grid.spacing, factor))
        if np.prod(np.array(grid.size_xyz) // small) <= voxels:
            break
        factor += 1
    return factor
