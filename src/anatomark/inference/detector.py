"""``Detector``: a model on a device, from an image to landmarks in the world."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from os import PathLike
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from anatomark.data import Image, Landmarks
from anatomark.errors import AnatomarkWarning, ImageError, UsageError
from anatomark.geometry import FloatArray, Grid
from anatomark.inference.detection import Detection
from anatomark.inference.flags import findings_of
from anatomark.inference.upright import upright
from anatomark.inference.views import agreed, views_of
from anatomark.methods import Prediction
from anatomark.methods.base import Ballot
from anatomark.models.device import best_device, half_precision
from anatomark.models.files import Model, load_model
from anatomark.models.predicting import explain, placed, predict
from anatomark.models.preparation import Prepared, check_kind, prepare


class Detector:
    """A model, ready to detect.

    ``device`` is ``auto``, ``cpu`` or ``gpu``. ``second`` is another model of the same landmarks:
    where the two disagree by more than their errors explain, points are flagged. ``repair``
    replaces implausible points by what the others suggest, and says so. ``views`` looks at
    each image in so many poses, and takes what they agree on: slower, and mostly nearer.
    ``fix_orientation`` turns and mirrors a 2D image whose points make no sense as it is.
    """

    def __init__(
        self,
        model: Model | str | PathLike[str],
        *,
        device: str = "auto",
        precision: Literal["auto", "bf16", "float32"] = "auto",
        second: Model | str | PathLike[str] | None = None,
        repair: bool = False,
        views: int = 1,
        fix_orientation: bool = False,
        trust: bool = False,
    ) -> None:
        if views < 1 or views == 2:
            raise UsageError(
                f"views is 1, or at least 3, not {views}",
                fix="of two looks neither can be outvoted",
            )
        self.model = model if isinstance(model, Model) else load_model(model, trust=trust)
        self.device = best_device(device)
        self._half = half_precision(precision, self.device)
        if fix_orientation:
            _check_turnable(self.model)
        self._repair, self._views, self._fix = repair, views, fix_orientation
        # Loaded models are shared; one on a device of its own is not.
        self._method = placed(
            copy.deepcopy(self.model.method), self.model.recipe.grid.dimension, self.device
        )
        self._second = None
        if second is not None:
            self._second = Detector(second, device=device, precision=precision, trust=trust)
            _check_alike(self.model, self._second.model)
            if "radii" not in self.model.info.checks:
                text = f"{self.model.name}: the size of its errors is not known, so no point is "
                warnings.warn(
                    AnatomarkWarning(
                        f"{text}flagged for disagreeing with {self._second.model.name}"
                    ),
                    stacklevel=2,
                )

    def unknown(self) -> list[str]:
        """What the model could not learn, in words: there were too few cases, say."""
        known = self.model.info.checks
        words = {"radii": "radii of errors", "shape": "shapes", "quality": "usual grey values"}
        return [said for key, said in words.items() if key not in known]

    @property
    def fixed_size(self) -> bool:
        """Whether every image has the same number of voxels for the network."""
        return self.model.recipe.grid.spacing is None

    def detect(self, image: Image) -> Detection:
        """Find the landmarks of an image."""
        return self.detect_prepared([(image, self.prepare(image))])[0]

    def prepare(self, image: Image) -> Prepared:
        """What the network will see of an image; needs no network, so it can be done ahead."""
        recipe = self.model.recipe
        _check_modality(image, recipe.modality)
        check_kind(image, recipe.grid.dimension, recipe.data.channels)
        if image.grid.unit != self.model.info.unit:
            raise ImageError(
                f"the image is in {image.grid.unit}, the model in {self.model.info.unit}",
                fix="say its --spacing"
                if image.grid.unit == "px"
                else "leave --spacing away, or "
                "give the image without one: this model learnt from pixels",
            )
        return prepare(image, recipe.grid, recipe.intensity, channels=recipe.data.channels)

    def votes(self, ready: Prepared) -> dict[str, Ballot]:
        """What patches say of each landmark, by stage, normalised on the grid of ``ready``."""
        extent = np.asarray(ready.grid.extent)
        return explain(self._method, ready.array, extent, device=self.device, half=self._half)

    def detect_prepared(self, images: Sequence[tuple[Image, Prepared]]) -> list[Detection]:
        """Find the landmarks of images of one network shape, together."""
        found = self._as_they_are(images)
        if not self._fix:
            return found

        def look(image: Image) -> Detection:
            return self._as_they_are([(image, self.prepare(image))])[0]

        return [upright(image, one, look) for (image, _), one in zip(images, found, strict=True)]

    def _as_they_are(self, images: Sequence[tuple[Image, Prepared]]) -> list[Detection]:
        found = self._predicted([ready for _, ready in images])
        others: list[Detection | None] = [None] * len(images)
        if self._second is not None:
            others = [self._second.detect(image) for image, _ in images]
        return [
            self._detection(image, ready, found, row, other)
            for row, ((image, ready), other) in enumerate(zip(images, others, strict=True))
        ]

    def _predicted(self, ready: Sequence[Prepared]) -> Prediction:
        return predict(
            self._method, [one.array for one in ready],
            [np.asarray(one.grid.extent) for one in ready], device=self.device, half=self._half,
        )  # fmt: skip

    def _detection(
        self,
        image: Image,
        ready: Prepared,
        found: Prediction,
        row: int,
        other: Detection | None,
    ) -> Detection:
        landmarks = to_world(found, row, ready.grid, self.model)
        if self._views > 1:
            more = views_of(image, ready.grid, self.model.recipe, self._views - 1)
            looks = [to_world(self._predicted([v]), 0, v.grid, self.model) for v in more]
            landmarks = agreed([landmarks, *looks])
        findings = findings_of(
            self.model, image, landmarks,
            other=None if other is None else other.findings, repair=self._repair,
        )  # fmt: skip
        return Detection(findings.landmarks, findings)


def to_world(found: Prediction, row: int, grid: Grid, model: Model) -> Landmarks:
    """Landmarks in the world of one sample of a prediction on the network's grid."""
    points = np.asarray(grid.from_normalised(_double(found.points[row])))
    if not np.isfinite(points).all():
        raise ImageError(
            "the network found no numbers in it", fix="look at the image with anatomark show"
        )
    present = np.ones(len(points), bool)
    if found.present is not None:
        present = np.asarray(found.present[row].numpy())
    covariance = None
    if found.covariance_mm2 is not None:
        axes: FloatArray = np.asarray(grid.direction)
        covariance = axes @ _double(found.covariance_mm2[row]) @ axes.T
        covariance = (covariance + covariance.transpose(0, 2, 1)) / 2
    confidence = None if found.confidence is None else _double(found.confidence[row])
    return Landmarks(
        model.landmarks,
        points,
        present=present,
        covariance_mm2=covariance,
        confidence=confidence,
        pairs=model.info.pairs,
        unit=grid.unit,
        meta={"model": model.name},
    )


def _double(values: Tensor) -> NDArray[np.float64]:
    return np.asarray(values.double().numpy())


def _check_modality(image: Image, wanted: str | None) -> None:
    given = image.meta.get("Modality") or image.meta.get("modality")
    if wanted and given and str(given).upper() != wanted.upper():
        raise ImageError(
            f"the image is {given}, the model is for {wanted}", fix="choose another model"
        )


def _check_turnable(model: Model) -> None:
    if model.recipe.grid.dimension == 3:
        raise UsageError(
            f"orientation is set right in 2D images only, and {model.name} is for volumes",
            fix="leave --fix-orientation away: the header of a volume says how it lies",
        )
    if "shape" not in model.info.checks:
        text = f"{model.name}: learnt no shapes, so --fix-orientation cannot see a turned image"
        warnings.warn(AnatomarkWarning(text), stacklevel=3)


def _check_alike(first: Model, second: Model) -> None:
    if first.landmarks != second.landmarks or first.info.unit != second.info.unit:
        raise UsageError(
            "the two models detect different landmarks", fix="name a second model of the same ones",
            path=second.path,
        )  # fmt: skip
