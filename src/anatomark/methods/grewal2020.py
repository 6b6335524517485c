"""Grewal et al. 2020: landmarks of two images and which of them belong together, end to end.

"An End-to-End Deep Learning Approach for Landmark Detection and Matching in Medical Images", SPIE
Medical Imaging. A Siamese U-Net says of each voxel how likely it is a landmark, and describes it;
the likeliest voxel of each cell is one, and a single layer says of every two of them whether they
are the same. All of it learns together from pairs that are made from single images.
"""

from __future__ import annotations

import math
import warnings
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from anatomark.errors import AnatomarkWarning
from anatomark.heads.pairing import Compared, Paired, Pairing, inverse_consistent
from anatomark.heads.salient import Salient, at_voxels, between_voxels, salient, sampled, spread
from anatomark.losses import contrast, descriptor_hinge, matching_entropy, saliency
from anatomark.methods.base import (
    Batch,
    Matcher,
    MethodConfig,
    Pairs,
    Places,
    body_of,
    pair_of,
    pairs_of,
)
from anatomark.methods.guided import guided
from anatomark.networks.blocks import Norm
from anatomark.networks.siamese import Described, SiameseUNet

Width = Annotated[int, Field(ge=1)]
Level = Annotated[int, Field(ge=0)]
MOST = 20_000  # landmarks of an image, if nobody says how many: every two are compared


class Grewal2020Config(MethodConfig):
    """As it stands, the published method, but for ``between_voxels``, which the paper has not."""

    widths: tuple[Width, ...] = Field(
        default=(16, 32, 64, 128, 256), min_length=2, description="Filters, from full size down."
    )
    described: tuple[Level, ...] = Field(
        default=(3, 4), min_length=1, description="Levels of the way down that descriptors are of."
    )
    norm: Norm = "batch"
    cell: int = Field(default=8, ge=2, description="One landmark in each so many voxels a side.")
    landmarks: int = Field(default=400, ge=1, description="Of each image in training, K.")
    threshold_voxels: float = Field(
        default=2.0, gt=0, description="Nearer than this, two places are the same in training."
    )
    positive_margin: float = Field(default=0.1, ge=0)
    negative_margin: float = Field(default=1.0, gt=0)
    contrast: float = Field(
        default=0.0, ge=0, description="Weight of a term that the paper has not: see losses.py."
    )
    least_probability: float = Field(
        default=0.5, ge=0, lt=1, description="Below it, a place is no landmark."
    )
    most_landmarks: int | None = Field(
        default=None,
        ge=1,
        description="Of each image at inference; else all that are likely, 20 000 at most.",
    )
    between_voxels: bool = Field(default=True, description="Places are not rounded to voxels.")
    guided: bool = Field(
        default=False, description="Look again where neighbours foretell; the paper does not."
    )
    ratio: float | None = Field(
        default=None, gt=0, lt=1, description="Lowe's test of descriptors, beside the published."
    )

    def check_grid(self, size: Any, *, windows: bool) -> None:
        """Refuse a grid without two cells along each axis."""
        del windows
        if min(size) < 2 * self.cell:
            raise ValueError(f"grid.size must be at least {2 * self.cell} along each axis")
        if max(self.described) >= len(self.widths):
            raise ValueError(f"settings.described: there are the levels 0…{len(self.widths) - 1}")


class Seen(NamedTuple):
    """What is known of the two images of each pair of a batch."""

    fixed: Salient
    moving: Salient
    compared: Compared


class Grewal2020(Matcher):
    """Landmarks of an image that are found again in others, with descriptors to match them by."""

    Config = Grewal2020Config

    def __init__(self, config: Grewal2020Config, *, dimension: int, channels: int) -> None:
        super().__init__(config, dimension=dimension, channels=channels)
        self.config, self.cell = config, config.cell
        self.network = SiameseUNet(
            dimension, channels, widths=config.widths, described=config.described, norm=config.norm
        )
        self.pairing = Pairing(self.network.features)

    def grows_evenly(self, shape: tuple[int, ...]) -> bool:
        """Once there are cells for all landmarks, of which every two are compared."""
        cells = math.prod(-(-n // self.cell) for n in shape)
        return bool(cells >= self.config.landmarks)

    def forward(self, batch: Batch) -> Seen:
        """Landmarks of both images of each pair, and every two of them compared."""
        images = torch.cat([batch.images, pair_of(batch).images])
        said = self.network(images)
        chosen = salient(said.logits, cell=self.cell, count=self.config.landmarks)
        descriptors = describe(said, chosen.voxel)
        half = len(batch.images)
        return Seen(
            Salient(chosen.voxel[:half], chosen.logit[:half]),
            Salient(chosen.voxel[half:], chosen.logit[half:]),
            self.pairing(descriptors[:half], descriptors[half:]),
        )

    def losses(self, out: Seen, batch: Batch) -> dict[str, Tensor]:
        """Eqs. 1 to 3, each term ``(B, 1)``."""
        same = self.same(out, batch)
        config = self.config
        terms = {
            "saliency_fixed": saliency(out.fixed.logit, same.any(2)),
            "saliency_moving": saliency(out.moving.logit, same.any(1)),
            "hinge": descriptor_hinge(
                out.compared.distance, same, positive_margin=config.positive_margin,
                negative_margin=config.negative_margin,
            ),
            "matching": matching_entropy(out.compared.logit, same),
        }  # fmt: skip
        if config.contrast:
            terms["contrast"] = config.contrast * contrast(out.compared.logit, same)
        return {name: value[:, None] for name, value in terms.items()}

    @torch.no_grad()
    def same(self, out: Seen, batch: Batch) -> Tensor:
        """Which two places are one ``(B, K1, K2)``, as the known map says, inside of the body."""
        pair = pair_of(batch)
        projected = pair.to_fixed(out.moving.voxel)
        apart = torch.cdist(out.fixed.voxel.to(projected), projected)
        inside = at_voxels(body_of(batch), out.fixed.voxel) > 0
        inside_moving = at_voxels(pair.mask, out.moving.voxel) > 0
        same: Tensor = apart < self.config.threshold_voxels
        return same & inside[:, :, None] & inside_moving[:, None]

    def places(self, images: Tensor) -> list[Places]:
        """Landmarks of each image that are likely enough, between its voxels.

        The network sees a large image in tiles. Where nobody bounds the landmarks, an image has
        20 000 at most, spread over it, and a warning says so.
        """
        config, said = self.config, self.network.in_tiles(images)
        chosen = salient(said.logits, cell=self.cell, count=config.most_landmarks)
        return [self._places(said.only(row), chosen.only(row)) for row in range(len(images))]

    def _places(self, said: Described, chosen: Salient) -> Places:
        """Those of the only image of a batch."""
        config = self.config
        likely = chosen.logit[0].sigmoid()
        kept = (likely > config.least_probability).nonzero()[:, 0]
        if config.most_landmarks is None and len(kept) > MOST:
            text = (
                f"{len(kept)} places are likely landmarks: the {MOST} likeliest ones, region by "
                "region, are matched; bound the landmarks to have fewer or more"
            )
            warnings.warn(AnatomarkWarning(text), stacklevel=4)
            shape = said.logits.shape[2:]
            kept = kept[spread(chosen.voxel[0, kept], shape, count=MOST)]
        index = chosen.voxel[:, kept]
        if config.between_voxels:
            index = between_voxels(said.logits, index)
        return Places(index[0], describe(said, index)[0], likely[kept])

    def pair(self, fixed: Places, moving: Places) -> Paired:
        """Landmarks that are each other's best, by probability and by distance (section 2.5)."""
        ratio = self.config.ratio
        return inverse_consistent(self.pairing, fixed.descriptor, moving.descriptor, ratio=ratio)

    def matches(self, images: tuple[Tensor, Tensor], fixed: Places, moving: Places) -> Pairs:
        """The pairs of the published rule; ``guided``, those of a second look."""
        rows = self.pair(fixed, moving)
        again = None
        if self.config.guided:
            again = guided(self.pairing, images, fixed, moving, rows)
        return pairs_of(fixed, moving, rows) if again is None else again


def describe(said: Described, index: Tensor) -> Tensor:
    """Descriptors ``(B, K, C)``: features of all levels side by side, at the places."""
    each = zip(said.levels, said.strides, strict=True)
    return torch.cat([sampled(level, index, stride=stride) for level, stride in each], -1)
