"""A trained model that matches images: images in, pairs of points in the world out."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from anatomark.correspondence import Matches
from anatomark.data import Image
from anatomark.errors import AnatomarkWarning, ImageError
from anatomark.geometry import Grid
from anatomark.methods.base import Places
from anatomark.models.conformal import ConfidenceMap
from anatomark.models.device import best_device, channels_last, half_precision
from anatomark.models.files import CONFIDENCE, CONFIDENCE_GUIDED, MatchingModel
from anatomark.models.predicting import placed
from anatomark.models.preparation import Pixels, Prepared, check_kind, prepare
from anatomark.models.recipe import IntensityRecipe

_BEYOND = 0.3  # of an image
_AT_ONCE = 1 << 22  # voxels of several images together


class Matching(Protocol):
    """Whatever finds the same places in two images, the surest first."""

    def check(self, image: Image) -> None:
        """Refuse an image of a kind that this cannot match."""
        ...

    def match(self, fixed: Image, moving: Image) -> Matches:
        """Pairs of points, each in the world of its own image."""
        ...


class _Seen(NamedTuple):
    """An image as the network sees it ``(C, *shape)``, and its landmarks there."""

    image: Tensor
    places: Places
    grid: Grid


class LearntMatcher:
    """Match images with a trained model.

    Each image is resampled to the voxels that the model was trained on, in its own frame; of an
    image without physical spacing, in pixels. The confidence of a match is the probability that it
    is right (within 2 voxels), as learnt from pairs made of validation images. Matches below
    ``least`` are left out; ``most`` bounds the landmarks of each image (else 20 000, spread over
    the image, are the most that are compared), ``ratio`` is Lowe's test of descriptors. ``guided``
    looks again where the neighbours of a landmark foretell its partner; ``None`` is as the model's
    recipe says.
    """

    def __init__(
        self,
        model: MatchingModel,
        *,
        least: float = 0.0,
        most: int | None = None,
        ratio: float | None = None,
        guided: bool | None = None,
        device: Literal["auto", "cpu", "gpu"] = "auto",
    ) -> None:
        self.model, self.least = model, least
        self.device = best_device(device)
        self._half = half_precision(model.recipe.training.precision, self.device)
        # Loaded models are shared; one with settings and a device of its own is not.
        own = copy.deepcopy(model.method)
        self._method = placed(own, model.recipe.grid.dimension, self.device)
        asked = {"most_landmarks": most, "ratio": ratio, "guided": guided}
        known = {key: value for key, value in asked.items() if value is not None}
        self._method.config = self._method.config.model_copy(update=known)
        self._trust = {
            key: ConfidenceMap.from_record(record)
            for key in (CONFIDENCE, CONFIDENCE_GUIDED)
            if (record := model.info.checks.get(key)) is not None
        }

    def check(self, image: Image) -> None:
        """Refuse an image of another dimension or number of channels than the model's."""
        recipe = self.model.recipe
        check_kind(image, recipe.grid.dimension, recipe.data.channels)

    def match(self, fixed: Image, moving: Image) -> Matches:
        """Pairs of points, the surest first; with a warning where there are none.

        An image may be of any size: the network sees a large one in tiles.
        """
        return self._matched([(fixed, moving)], 1)[0]

    def match_many(self, pairs: Sequence[tuple[Image, Image]], *, batch: int = 16) -> list[Matches]:
        """What ``match`` finds in each pair, fixed and moving; sooner on a GPU.

        Up to ``batch`` images that are of one size for the network go through it together, fewer
        where they are large. An image that is in several pairs in a row is looked at once.
        """
        step = max(batch // 2, 1)
        return [
            found
            for start in range(0, len(pairs), step)
            for found in self._matched(pairs[start : start + step], batch)
        ]

    def _matched(self, pairs: Sequence[tuple[Image, Image]], batch: int) -> list[Matches]:
        for pair in pairs:
            check_alike(*pair)
        images = {id(image): image for pair in pairs for image in pair}
        found = dict(zip(images, self._places(list(images.values()), batch), strict=True))
        return [self._paired(found[id(fixed)], found[id(moving)]) for fixed, moving in pairs]

    @torch.inference_mode()
    def _paired(self, fixed: _Seen, moving: _Seen) -> Matches:
        images = (fixed.image.to(self.device), moving.image.to(self.device))
        found = self._method.matches(images, fixed.places, moving.places)
        sure = found.sure.double().cpu().numpy()
        trust = self._trust.get(CONFIDENCE_GUIDED if found.guided else CONFIDENCE)
        if trust is not None:
            said = trust(sure)
            sure = np.where(np.isnan(said), sure, said)
        if getattr(self._method.config, "guided", False) and not found.guided and len(sure):
            text = "the pairs do not agree well enough for a second look: many may be wrong"
            warnings.warn(AnatomarkWarning(text), stacklevel=4)
        order = np.argsort(-sure, kind="stable")
        order = order[sure[order] >= self.least]
        fixed_mm, moving_mm = (
            grid.to_world(voxel.double().cpu().numpy()[order])
            for grid, voxel in ((fixed.grid, found.fixed), (moving.grid, found.moving))
        )
        if not len(order):
            warn_of_none(len(fixed.places.voxel), len(moving.places.voxel), above=2)
        return Matches(
            fixed_mm, moving_mm, confidence=sure[order], unit=fixed.grid.unit,
            meta={"matcher": self.model.name},
        )  # fmt: skip

    def _places(self, images: Sequence[Image], batch: int) -> list[_Seen]:
        """Landmarks of each image, on the grid that the network sees of it."""
        recipe = self.model.recipe
        ready = [
            prepare(image, recipe.grid, recipe.intensity, channels=recipe.data.channels)
            for image in images
        ]
        for one in ready:
            check_window(one, recipe.intensity)
        alike: dict[tuple[int, ...], list[int]] = {}
        for row, one in enumerate(ready):
            alike.setdefault(one.array.shape, []).append(row)
        found: dict[int, Places] = {}
        for shape, rows in alike.items():
            step = max(min(batch, _AT_ONCE // math.prod(shape)), 1)
            for some in (rows[n : n + step] for n in range(0, len(rows), step)):
                found |= zip(some, self._looked([ready[row].array for row in some]), strict=True)
        return [
            _Seen(torch.from_numpy(one.array), _inside(found[row], one), one.grid)
            for row, one in enumerate(ready)
        ]

    @torch.inference_mode()
    def _looked(self, arrays: Sequence[Pixels]) -> list[Places]:
        """What the network finds in arrays of one shape."""
        tensor = torch.from_numpy(arrays[0][None] if len(arrays) == 1 else np.stack(arrays))
        tensor = tensor.to(self.device)
        tensor = tensor.contiguous(memory_format=channels_last(tensor.ndim - 2))
        with torch.autocast(self.device, dtype=torch.bfloat16, enabled=self._half):
            found = self._method.places(tensor)
        return [  # nothing stands out where all is alike
            Places(*(v[:0] for v in places)) if array.min() == array.max() else places
            for array, places in zip(arrays, found, strict=True)
        ]


def check_window(ready: Prepared, window: IntensityRecipe) -> None:
    """Warn where much of an image is beyond the grey values that the model knows."""
    if window.kind == "window" and float((ready.array[0][ready.inside] >= 1).mean()) > _BEYOND:
        said = (
            f"much of an image is brighter than what the model was trained on, {window.low:g} to "
            f"{window.high:g}: is it in the same units (HU)?"
        )
        warnings.warn(AnatomarkWarning(said), stacklevel=5)


def _inside(places: Places, ready: Prepared) -> Places:
    """Only places where there is an image: the network may have been shown more."""
    if ready.inside.all():
        return places
    size = np.array(ready.grid.size_xyz)
    index: Any = np.clip(places.voxel.round().long().cpu().numpy(), 0, size - 1)
    kept = torch.from_numpy(ready.inside[tuple(index.T[::-1])]).to(places.voxel.device)
    return Places(*(value[kept] for value in places))


def check_alike(fixed: Image, moving: Image) -> None:
    """Refuse images that cannot show the same places."""
    if fixed.grid.dimension != moving.grid.dimension:
        raise ImageError(
            f"one image is {fixed.grid.dimension}D, the other {moving.grid.dimension}D",
            fix="match a slice with a slice, a volume with a volume",
        )
    if fixed.grid.unit != moving.grid.unit:
        raise ImageError(
            "one image has a physical spacing, the other has none",
            fix="say the other's as well, --fixed-spacing or --moving-spacing",
        )


def warn_of_none(fixed: int, moving: int, *, above: int = 0) -> None:
    """Say that nothing matches, and what there was to match, ``above`` calls of the user's own."""
    said = f"no matches: {fixed} places in the fixed image, {moving} in the moving one"
    warnings.warn(AnatomarkWarning(said), stacklevel=3 + above)
