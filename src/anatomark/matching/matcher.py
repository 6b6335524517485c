"""A trained model that matches images: images in, pairs of points in the world out."""

from __future__ import annotations

import warnings
from typing import Any, Literal, Protocol

import numpy as np
import torch

from anatomark.correspondence import Matches
from anatomark.data import Image
from anatomark.errors import AnatomarkWarning, ImageError
from anatomark.geometry import Grid
from anatomark.methods.base import Places, surety
from anatomark.models.conformal import ConfidenceMap
from anatomark.models.device import best_device, channels_last, half_precision
from anatomark.models.files import CONFIDENCE, MatchingModel
from anatomark.models.predicting import placed
from anatomark.models.preparation import Prepared, prepare
from anatomark.models.recipe import IntensityRecipe

_BEYOND = 0.3  # of an image


class Matching(Protocol):
    """Whatever finds the same places in two images, the surest first."""

    def match(self, fixed: Image, moving: Image) -> Matches:
        """Pairs of points, each in the world of its own image."""
        ...


class LearntMatcher:
    """Match images with a trained model.

    Each image is resampled to the voxels that the model was trained on, in its own frame; of an
    image without physical spacing, in pixels. The confidence of a match is the probability that it
    is right (within 2 voxels), as learnt from validation pairs. Matches below ``least`` are left
    out; ``most`` bounds the landmarks of each image, ``ratio`` is Lowe's test of descriptors.
    """

    def __init__(
        self,
        model: MatchingModel,
        *,
        least: float = 0.0,
        most: int | None = None,
        ratio: float | None = None,
        device: Literal["auto", "cpu", "gpu"] = "auto",
    ) -> None:
        self.model, self.least = model, least
        self.device = best_device(device)
        self._half = half_precision(model.recipe.training.precision, self.device)
        self._method = placed(model.method, model.recipe.grid.dimension, self.device)
        asked = {"most_landmarks": most, "ratio": ratio}
        known = {key: value for key, value in asked.items() if value is not None}
        self._method.config = self._method.config.model_copy(update=known)
        record = model.info.checks.get(CONFIDENCE)
        self._trust = None if record is None else ConfidenceMap.from_record(record)

    def match(self, fixed: Image, moving: Image) -> Matches:
        """Pairs of points, the surest first; with a warning where there are none."""
        check_alike(fixed, moving)
        (there, fixed_grid), (here, moving_grid) = self._places(fixed), self._places(moving)
        with torch.inference_mode():
            rows = self._method.pair(there, here)
            sure = surety(there, here, rows).double().cpu().numpy()
        if self._trust is not None:
            sure = np.nan_to_num(self._trust(sure))
        order = np.argsort(-sure, kind="stable")
        order = order[sure[order] >= self.least]
        fixed_mm, moving_mm = (
            grid.to_world(places.voxel[chosen].double().cpu().numpy())
            for grid, places, chosen in (
                (fixed_grid, there, rows.fixed), (moving_grid, here, rows.moving),
            )
        )  # fmt: skip
        if not len(order):
            warn_of_none(len(there.voxel), len(here.voxel))
        return Matches(
            fixed_mm[order], moving_mm[order], confidence=sure[order], unit=fixed.grid.unit,
            meta={"matcher": self.model.name},
        )  # fmt: skip

    @torch.inference_mode()
    def _places(self, image: Image) -> tuple[Places, Grid]:
        recipe = self.model.recipe
        ready = prepare(image, recipe.grid, recipe.intensity, channels=recipe.data.channels)
        tensor = torch.from_numpy(ready.array)[None].to(self.device)
        tensor = tensor.contiguous(memory_format=channels_last(ready.grid.dimension))
        with torch.autocast(self.device, dtype=torch.bfloat16, enabled=self._half):
            found = self._method.places(tensor)[0]
        _check_window(ready, recipe.intensity)
        if ready.array.min() == ready.array.max():  # nothing stands out where all is alike
            found = Places(*(value[:0] for value in found))
        return _inside(found, ready), ready.grid


def _check_window(ready: Prepared, window: IntensityRecipe) -> None:
    """Warn where much of an image is beyond the grey values that the model knows."""
    if window.kind == "window" and float((ready.array[0][ready.inside] >= 1).mean()) > _BEYOND:
        said = (
            f"much of an image is brighter than what the model was trained on, {window.low:g} to "
            f"{window.high:g}: is it in the same units (HU)?"
        )
        warnings.warn(AnatomarkWarning(said), stacklevel=4)


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
            fix="say the spacing of both, --spacing",
        )


def warn_of_none(fixed: int, moving: int) -> None:
    """Say that nothing matches, and what there was to match."""
    said = f"no matches: {fixed} places in the fixed image, {moving} in the moving one"
    warnings.warn(AnatomarkWarning(said), stacklevel=3)
