"""The networks that a recipe can name, with their settings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn

from anatomark.networks import StridedUNet, UNet
from anatomark.networks.blocks import Norm

Width = Annotated[int, Field(ge=1)]


class VoxelMorphNet(BaseModel):
    """The U-Net of Fang 2023 (from VoxelMorph): one strided convolution a level."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["voxelmorph"] = "voxelmorph"
    encoder: tuple[Width, ...] = (16, 32, 32, 32)
    decoder: tuple[Width, ...] = (32, 32, 32, 32)
    final: tuple[Width, ...] = (32, 16, 16)

    @model_validator(mode="after")
    def _levels(self) -> VoxelMorphNet:
        if not self.encoder or len(self.encoder) != len(self.decoder):
            raise ValueError("encoder and decoder need the same number of levels, at least one")
        return self

    def build(self, *, dimension: int, inputs: int, outputs: int) -> nn.Module:
        """The network, with fresh weights."""
        return StridedUNet(
            dimension, inputs, outputs,
            encoder=self.encoder, decoder=self.decoder, final=self.final,
        )  # fmt: skip


class UNetNet(BaseModel):
    """The U-Net of Ronneberger 2015 (``double``), or one of residual blocks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["unet"] = "unet"
    widths: Annotated[tuple[Width, ...], Field(min_length=1)] = (64, 128, 256, 512, 1024)
    block: Literal["double", "residual"] = "double"
    norm: Norm = "none"

    def build(self, *, dimension: int, inputs: int, outputs: int) -> nn.Module:
        """The network, with fresh weights."""
        return UNet(
            dimension, inputs, outputs, widths=self.widths, block=self.block, norm=self.norm
        )


Backbone = Annotated[VoxelMorphNet | UNetNet, Field(discriminator="kind")]
