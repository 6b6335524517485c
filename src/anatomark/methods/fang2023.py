"""Fang, Delingette, Ayache 2023: a 3D U-Net and DSNT, with heatmap regularisation.

"Anatomical Landmark Detection for Initializing US and MR Image Registration", MICCAI ASMUS 2023.
Equations are numbered as there. The norms of eq. 2 are taken per landmark and averaged over the
landmarks that are present, all in millimetres along the axes of the image.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from anatomark.heads import expect
from anatomark.losses import l1_mm, l2_mm, variance_mm2
from anatomark.methods.backbones import Backbone, VoxelMorphNet
from anatomark.methods.base import (
    Batch,
    MapMethod,
    Maps,
    MethodConfig,
    Prediction,
    known,
    narrowness,
)

Weight = Annotated[float, Field(ge=0)]


class Fang2023Config(MethodConfig):
    """``regulariser="none"`` is the paper's baseline, vanilla DSNT."""

    network: Backbone = VoxelMorphNet()
    regulariser: Literal["none", "variance", "distance"] = Field(
        default="distance", description="Eq. 4, eq. 5, or neither."
    )
    lambda1: Weight = Field(default=1.0, description="Weight of the Euclidean distance (eq. 2).")
    lambda2: Weight = Field(
        default=5e-3,
        description="Weight of the regulariser (eq. 3). Published: variance 5e-4 on MR and 2e-3 "
        "on ultrasound, distance 5e-3 on MR and 1e-2 on ultrasound.",
    )


class Fang2023(MapMethod):
    """Maps → softmax → expected position (eq. 1)."""

    Config = Fang2023Config

    def __init__(
        self, config: Fang2023Config, *, landmarks: int, dimension: int, channels: int
    ) -> None:
        super().__init__(config, landmarks=landmarks, dimension=dimension, channels=channels)
        self.config = config
        self.network = config.network.build(dimension=dimension, inputs=channels, outputs=landmarks)

    def losses(self, out: Maps, batch: Batch) -> dict[str, Tensor]:
        """Eq. 3, term by term."""
        target, _ = known(batch)
        config = self.config
        aim = target if config.regulariser == "distance" else None
        found = expect(out.maps, out.extent_mm, target=aim)
        terms = {
            "l1": l1_mm(found.points, target, out.extent_mm),
            "l2": config.lambda1 * l2_mm(found.points, target, out.extent_mm),
        }
        if config.regulariser == "variance":
            terms["variance"] = config.lambda2 * variance_mm2(found.covariance_mm2)
        elif found.distance_mm is not None:
            terms["distance"] = config.lambda2 * found.distance_mm
        return terms

    def predict(self, out: Maps) -> Prediction:
        """Expected position; its covariance is that of the map."""
        found = expect(out.maps, out.extent_mm)
        return Prediction(found.points, narrowness(found.covariance_mm2, out), found.covariance_mm2)
