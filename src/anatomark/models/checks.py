"""What a model knows about its own errors, its anatomy and its images; kept beside the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from anatomark.data import Image
from anatomark.errors import ModelError
from anatomark.geometry import FloatArray
from anatomark.models.conformal import ConfidenceMap, Radii, fit_confidence, fit_radii
from anatomark.models.quality import QualityRange, fit_quality, image_statistics
from anatomark.models.recipe import Recipe
from anatomark.models.shape_model import ShapePrior

_ADDED = 10.0  # cases of the common factor that each landmark's is mixed with
_USUAL, _LEAST_POINTS = 0.99, 100  # part of the points whose spread is usual
_VOXELS = 128  # along an axis: enough to know an image by


@dataclass(frozen=True, eq=False)
class Checks:
    """Each is ``None`` where there were too few cases, or the method gives nothing to learn from.

    ``spread`` are the factors by which covariances of the network have to grow to match its
    errors, one a landmark, ``fit_spread`` the same after a fit to the shapes, where the recipe
    asks for one. ``usual`` is the largest usual spread (root of the trace of the covariance that
    is reported) of each landmark.
    """

    radii: Radii | None = None
    trust: ConfidenceMap | None = None
    spread: tuple[float, ...] | None = None
    fit_spread: tuple[float, ...] | None = None
    usual: tuple[float, ...] | None = None
    shape: ShapePrior | None = None
    quality: QualityRange | None = None

    def to_record(self) -> dict[str, Any]:
        """Plain JSON."""
        parts = {k: v for k, v in vars(self).items() if v is not None}
        return {k: list(v) if isinstance(v, tuple) else v.to_record() for k, v in parts.items()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The inverse."""
        kinds: dict[str, Any] = {
            "radii": Radii, "trust": ConfidenceMap, "shape": ShapePrior, "quality": QualityRange,
        }  # fmt: skip
        try:
            found: dict[str, Any] = {
                k: kinds[k].from_record(v) if k in kinds else _factors(v) for k, v in record.items()
            }
        except (KeyError, TypeError, ValueError):
            raise ModelError(
                "what the model knows of its errors is damaged, or of another anatomark",
                fix="copy or train it again",
            ) from None
        return cls(**found)


def learn_checks(
    *,
    errors: FloatArray,
    confidence: FloatArray | None,
    variance: FloatArray | None,
    shape: ShapePrior | None,
    statistics: Sequence[Mapping[str, float]],
) -> Checks:
    """Learn from the validation cases what errors are like, from the training cases the rest.

    ``errors``, raw ``confidence`` and ``variance`` (of all axes together) are ``(N, L)``, NaN
    where absent; ``shape`` and ``statistics`` (those of ``raw_statistics``) are of training cases.
    """
    quality = fit_quality(statistics)
    if not np.isfinite(errors).any():
        return Checks(shape=shape, quality=quality)
    factors = None if variance is None else growth(variance, errors)
    return Checks(
        fit_radii(errors, None if variance is None else np.sqrt(variance)),
        None if confidence is None else _trust(confidence, errors),
        factors,
        usual=None if variance is None or factors is None else _usual(variance * factors),
        shape=shape,
        quality=quality,
    )


def own_covariance(covariance_mm2: FloatArray | None, shape: tuple[int, ...]) -> FloatArray:
    """Covariances ``(L, D, D)`` of points of a ``shape``; 1 mm² each where a method gives none."""
    if covariance_mm2 is not None:
        return covariance_mm2
    return np.broadcast_to(np.eye(shape[-1]), (*shape, shape[-1])).copy()


def _trust(confidence: FloatArray, errors: FloatArray) -> ConfidenceMap | None:
    """The tolerance that confidence is about is the median error."""
    tolerance = float(np.median(errors[np.isfinite(errors)]))
    if not (tolerance > 0 and (np.isfinite(confidence) & np.isfinite(errors)).any()):
        return None
    return fit_confidence(confidence, errors, tolerance)


def growth(variance: FloatArray, errors: FloatArray) -> tuple[float, ...] | None:
    """Factors, one a landmark, that make variances ``(N, L)`` as large as squared errors.

    Few cases say little of one landmark: it is as if so many more of all landmarks were added.
    """
    both = np.isfinite(errors) & np.isfinite(variance)
    squares, sums = (np.where(both, v, 0.0).sum(0) for v in (errors**2, variance))
    if not sums.sum() > 0:
        return None
    common = float(squares.sum() / sums.sum())
    more = _ADDED * sums.sum() / max(both.sum(), 1)
    return tuple(float(v) for v in (squares + common * more) / (sums + more))


def _usual(variance: FloatArray) -> tuple[float, ...] | None:
    """Spreads that 99 % of the points stay below: some are rare, so landmarks are pooled.

    Each is compared with the median of its landmark. ``None`` from too few points.
    """
    spread = np.sqrt(variance)
    if np.isfinite(spread).sum() < _LEAST_POINTS or not np.isfinite(spread).any(0).all():
        return None
    middle = np.nanmedian(spread, axis=0)
    part = np.nanquantile(spread / np.maximum(middle, 1e-9), _USUAL)
    return tuple(float(v) for v in middle * part)


def grown(covariance_mm2: FloatArray, factors: tuple[float, ...] | None) -> FloatArray:
    """Covariances ``(L, D, D)`` times their factors; one factor may stand for all."""
    if factors is None:
        return covariance_mm2
    return np.asarray(covariance_mm2 * np.array(factors)[:, None, None])


def _factors(given: Any) -> tuple[float, ...]:
    """As they are in a file; those of older models are one number."""
    return tuple(float(v) for v in (given if isinstance(given, list) else [given]))


def raw_statistics(image: Image, recipe: Recipe) -> dict[str, float]:
    """Statistics of an image as it was read: its first channel, on at most 128 voxels an axis.

    Where the recipe shows grey values as they are, or through a window of them, their levels count.
    """
    first = np.asarray(image.array if image.channels is None else image.array[0])
    few = first[tuple(slice(None, None, -(-n // _VOXELS)) for n in first.shape)]
    return image_statistics(few[None], absolute=recipe.intensity.kind in {"window", "none"})
