"""The methods that papers compare with: heatmap matching, cross-entropy, direct regression.

Vanilla DSNT is ``fang2023`` with ``regulariser = "none"``.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from anatomark.heads import expect, find_peak, find_peak_window
from anatomark.losses import (
    gaussian_cross_entropy,
    gaussian_l2,
    gaussian_profiles,
    gaussian_shares,
    l1_mm,
    l2_mm,
)
from anatomark.methods.backbones import Backbone, VoxelMorphNet
from anatomark.methods.base import (
    Batch,
    MapMethod,
    Maps,
    Method,
    MethodConfig,
    Prediction,
    known,
    narrowness,
)
from anatomark.networks import Regressor

Positive = Annotated[float, Field(gt=0)]


class HeatmapMatchingConfig(MethodConfig):
    """Gaussian targets of height 1, squared differences (Payer 2016)."""

    network: Backbone = VoxelMorphNet()
    sigma_mm: Positive = Field(default=5.0, description="Standard deviation of the targets.")
    decode: Literal["argmax", "local"] = Field(
        default="local", description="Highest voxel, or centre of mass of a window about it."
    )
    radius: Annotated[int, Field(ge=1, le=32)] = Field(
        default=3, description="Half side of that window, voxels."
    )


class HeatmapMatching(MapMethod):
    """Regress Gaussian blobs, look for the highest voxel."""

    Config = HeatmapMatchingConfig

    def __init__(
        self, config: HeatmapMatchingConfig, *, landmarks: int, dimension: int, channels: int
    ) -> None:
        super().__init__(config, landmarks=landmarks, dimension=dimension, channels=channels)
        self.config = config
        self.network = config.network.build(dimension=dimension, inputs=channels, outputs=landmarks)

    def losses(self, out: Maps, batch: Batch) -> dict[str, Tensor]:
        """Squared differences, in units of what a whole missed blob costs."""
        target, _ = known(batch)
        shape = tuple(out.maps.shape[2:])
        profiles = gaussian_profiles(target, out.extent_mm, shape, self.config.sigma_mm)
        size = out.extent_mm.new_tensor(shape[::-1])
        voxel = (out.extent_mm / size).prod(-1)[:, None]
        blob = (self.config.sigma_mm * math.sqrt(math.pi)) ** len(shape)
        return {"l2": gaussian_l2(out.maps, profiles) * voxel / blob}

    def predict(self, out: Maps) -> Prediction:
        """Peak; its height, where 1 was the target, is the confidence."""
        if self.config.decode == "argmax":
            peak = find_peak(out.maps)
        else:
            peak = find_peak_window(
                out.maps, out.extent_mm, radius=self.config.radius, weighting="linear"
            )
        return Prediction(peak.points, peak.value.float().clamp(0, 1), peak.covariance_mm2)


class CrossEntropyConfig(MethodConfig):
    """Softmax over the voxels against a Gaussian."""

    network: Backbone = VoxelMorphNet()
    sigma_mm: Positive = Field(default=5.0, description="Standard deviation of the targets.")
    decode: Literal["argmax", "local", "expectation"] = "local"
    radius: Annotated[int, Field(ge=1, le=32)] = 3


class CrossEntropy(MapMethod):
    """Classify the voxel, softly: softmax cross-entropy against a Gaussian."""

    Config = CrossEntropyConfig

    def __init__(
        self, config: CrossEntropyConfig, *, landmarks: int, dimension: int, channels: int
    ) -> None:
        super().__init__(config, landmarks=landmarks, dimension=dimension, channels=channels)
        self.config = config
        self.network = config.network.build(dimension=dimension, inputs=channels, outputs=landmarks)

    def losses(self, out: Maps, batch: Batch) -> dict[str, Tensor]:
        """Divergence of the softmax from the Gaussian."""
        target, _ = known(batch)
        shape = tuple(out.maps.shape[2:])
        shares = gaussian_shares(target, out.extent_mm, shape, self.config.sigma_mm)
        return {"cross_entropy": gaussian_cross_entropy(out.maps, shares)}

    def predict(self, out: Maps) -> Prediction:
        """Position by the chosen decoding; covariance and confidence of the whole map."""
        whole = expect(out.maps, out.extent_mm)
        points = whole.points
        if self.config.decode == "argmax":
            points = find_peak(out.maps).points
        elif self.config.decode == "local":
            points = find_peak_window(out.maps, out.extent_mm, radius=self.config.radius).points
        return Prediction(points, narrowness(whole.covariance_mm2, out), whole.covariance_mm2)


class DirectRegressionConfig(MethodConfig):
    """Coordinates from a fully connected layer."""

    encoder: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (
        16, 32, 32, 32,
    )  # fmt: skip
    lattice: Annotated[int, Field(ge=1)] = 4
    hidden: Annotated[int, Field(ge=1)] = 256
    lambda1: Annotated[float, Field(ge=0)] = 1.0


class Coordinates(NamedTuple):
    """What direct regression returns from ``forward``."""

    points: Tensor
    extent_mm: Tensor


class DirectRegression(Method):
    """Regress the coordinates themselves (as CephaNet does); no map, no confidence."""

    Config = DirectRegressionConfig
    tiles = False

    def __init__(
        self, config: DirectRegressionConfig, *, landmarks: int, dimension: int, channels: int
    ) -> None:
        super().__init__(config, landmarks=landmarks, dimension=dimension, channels=channels)
        self.config = config
        self.shape = (landmarks, dimension)
        self.network = Regressor(
            dimension, channels, landmarks * dimension,
            encoder=config.encoder, lattice=config.lattice, hidden=config.hidden,
        )  # fmt: skip

    def forward(self, batch: Batch) -> Coordinates:
        """Normalised points ``(B, L, D)``."""
        numbers = self.network(batch.images)
        points = numbers.to(torch.promote_types(numbers.dtype, torch.float32))
        return Coordinates(points.reshape(-1, *self.shape), batch.extent_mm)

    def losses(self, out: Coordinates, batch: Batch) -> dict[str, Tensor]:
        """The coordinate terms of Fang 2023, eq. 2."""
        target, _ = known(batch)
        return {
            "l1": l1_mm(out.points, target, out.extent_mm),
            "l2": self.config.lambda1 * l2_mm(out.points, target, out.extent_mm),
        }

    def predict(self, out: Coordinates) -> Prediction:
        """The points as they are."""
        return Prediction(out.points)
