"""Zhu, Yao, Xiao, Zhou 2021: GU2Net, one universal model for many body parts.

"You Only Learn Once: Universal Anatomical Landmark Detection", MICCAI 2021. Equations are numbered
as there. Heatmaps of the two networks are multiplied (``product``) as logarithms, so that eq. 4 is
exact where a sigmoid is 0 or 1 in half precision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from anatomark.heads import expect, find_peak, find_peak_window
from anatomark.losses import (
    gaussian_binary_cross_entropy,
    gaussian_cross_entropy,
    gaussian_profiles,
    gaussian_shares,
)
from anatomark.methods.base import (
    Batch,
    MapMethod,
    Maps,
    MethodConfig,
    Prediction,
    known,
    narrowness,
)
from anatomark.networks.gu2net import Convolutions, GU2Net, TwoLogits, there

Width = Annotated[int, Field(ge=1)]


class Zhu2021Config(MethodConfig):
    """As it stands, the published model; Table 2 of the paper by ``parts`` and ``convolutions``."""

    parts: Literal["both", "local", "global"] = "both"
    convolutions: Convolutions = Field(
        default="separable",
        description="separable, shared, each: GU2Net, U-Net and Tri-UNet of Table 2; adapted: a "
        "U-Net in which each domain has its own normalisation.",
    )
    widths: Annotated[tuple[Width, ...], Field(min_length=2)] = (64, 128, 256, 512, 512)
    global_width: Annotated[int, Field(ge=2)] = 128
    global_dilations: Annotated[tuple[Width, ...], Field(min_length=1)] = (1, 2, 5, 2, 1)
    shrink: Literal[1, 2, 4] = Field(
        default=1, description="Pixels that the maps have less along each axis than the images."
    )
    loss: Literal["binary", "softmax"] = Field(
        default="binary", description="Eq. 4, or cross-entropy of a softmax over the pixels."
    )
    sigma: Annotated[float, Field(gt=0)] = Field(
        default=3.0, description="Of the Gaussian (eq. 1), in pixels that the network sees."
    )
    height: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0,
        description="Of the Gaussian, for eq. 4. Eq. 1 says 0.133; the published code makes it 1.",
    )
    decode: Literal["argmax", "local"] = Field(
        default="local", description="Eq. 5, or the centre of mass of a window about that pixel."
    )
    radius: Annotated[int, Field(ge=1, le=32)] = Field(
        default=9,
        description="Half side of that window, pixels of the maps. A window that cuts the Gaussian "
        "pulls the point to the middle of a pixel: 3 sigma are not cut.",
    )

    def check_grid(self, size: Sequence[int], *, windows: bool) -> None:
        """Maps with fewer pixels than the image need sizes that can be divided."""
        multiple = self.shrink * 2 ** (len(self.widths) - 1)
        if self.shrink > 1 and (windows or any(n % multiple for n in size)):
            raise ValueError(
                f"shrink = {self.shrink} needs a grid without spacing, with sizes that are "
                f"multiples of {multiple}"
            )


class Zhu2021(MapMethod):
    """Local and global network, their product, the highest pixel."""

    Config = Zhu2021Config
    dimensions = (2,)
    universal = True

    def __init__(
        self,
        config: Zhu2021Config,
        *,
        landmarks: int | Mapping[str, int],
        dimension: int,
        channels: int,
    ) -> None:
        super().__init__(config, landmarks=landmarks, dimension=dimension, channels=channels)
        if dimension != 2:
            raise ValueError("zhu2021 is for 2D images")
        self.config = config
        counts = {"one": landmarks} if isinstance(landmarks, int) else dict(landmarks)
        self.network: GU2Net = GU2Net(
            channels, counts, parts=config.parts, kind=config.convolutions, widths=config.widths,
            shrink=config.shrink, global_width=config.global_width,
            dilations=config.global_dilations,
        )  # fmt: skip

    def maps(self, images: Tensor, domain: str) -> Tensor:
        """Logits of the heatmaps: their sigmoid, or their softmax, is what is trained."""
        return self._combined(self.network(images, domain or self.network.domains[0]))

    def _combined(self, two: TwoLogits) -> Tensor:
        local, whole = two
        if local is None or whole is None:
            return there(local if whole is None else whole)
        local, whole = _precise(local), _precise(whole)
        if self.config.loss == "softmax":
            return local + functional.logsigmoid(whole)
        return product(local, whole)

    def losses(self, out: Maps, batch: Batch) -> dict[str, Tensor]:
        """Eq. 4 for each landmark, summed over the pixels; targets are never built."""
        target, _ = known(batch)
        shape = tuple(out.maps.shape[2:])
        # In pixels that the network sees, whatever their size in mm, a Gaussian is round.
        pixels = torch.ones_like(out.extent_mm) * out.extent_mm.new_tensor(shape[::-1])
        sigma = self.config.sigma / self.config.shrink
        if self.config.loss == "softmax":
            shares = gaussian_shares(target, pixels, shape, sigma)
            return {"cross_entropy": gaussian_cross_entropy(out.maps, shares)}
        profiles = gaussian_profiles(target, pixels, shape, sigma)
        profiles[0] = profiles[0] * self.config.height
        return {"binary": gaussian_binary_cross_entropy(out.maps, profiles)}

    def predict(self, out: Maps) -> Prediction:
        """Eq. 5 or finer; the height of the heatmap, or its narrowness, is the confidence."""
        argmax = self.config.decode == "argmax"
        if self.config.loss == "softmax":
            whole = expect(out.maps, out.extent_mm)
            near = find_peak_window(out.maps, out.extent_mm, radius=self.config.radius)
            points = find_peak(out.maps).points if argmax else near.points
            return Prediction(points, narrowness(whole.covariance_mm2, out), whole.covariance_mm2)
        heat = _precise(out.maps).sigmoid()
        near = find_peak_window(heat, out.extent_mm, radius=self.config.radius, weighting="linear")
        # Where a sigmoid is 1 in float32 for several pixels, the logits still differ.
        points = find_peak(out.maps).points if argmax else near.points
        confidence = (near.value.float() / self.config.height).clamp(0, 1)
        return Prediction(points, confidence, near.covariance_mm2)


def product(local: Tensor, whole: Tensor) -> Tensor:
    """The logit of ``sigmoid(local) · sigmoid(whole)``, which may be near 0 or 1."""
    together = torch.stack([-local, -whole, -local - whole])
    return -torch.logsumexp(together, 0)


def _precise(maps: Tensor) -> Tensor:
    """In float32 or better."""
    return maps.to(torch.promote_types(maps.dtype, torch.float32))
