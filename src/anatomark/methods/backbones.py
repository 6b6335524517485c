"""The networks that a recipe can name, with their settings."""

from __future__ import annotations

from collections.abc import Sequence
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
    coarser: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="Levels that the way up ends early: maps of voxels 2, 4, … times as large.",
    )

    @model_validator(mode="after")
    def _levels(self) -> VoxelMorphNet:
        if not self.decoder or len(self.encoder) != len(self.decoder) + self.coarser:
            raise ValueError(
                "decoder needs as many levels as encoder has without those of coarser, at least one"
            )
        return self

    def check_grid(self, size: Sequence[int], *, windows: bool) -> None:
        """Refuse a grid of a recipe that does not suit the network."""
        multiple = 2 ** len(self.encoder)
        if self.coarser and (windows or any(n % multiple for n in size)):
            raise ValueError(
                f"network.coarser needs a grid without spacing, with sizes that are multiples of "
                f"{multiple}"
            )

    def build(self, *, dimension: int, inputs: int, outputs: int) -> nn.Module:
        """The network, with fresh weights."""
        return StridedUNet(
            dimension, inputs, outputs,
            encoder=self.encoder, decoder=self.decoder, final=self.final, coarser=self.coarser,
        )  # fmt: skip


class UNetNet(BaseModel):
    """The U-Net of Ronneberger 2015 (``double``), or one of residual blocks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["unet"] = "unet"
    widths: Annotated[tuple[Width, ...], Field(min_length=1)] = (64, 128, 256, 512, 1024)
    block: Literal["double", "residual"] = "double"
    norm: Norm = "none"

    def check_grid(self, size: Sequence[int], *, windows: bool) -> None:
        """Any grid will do."""

    def build(self, *, dimension: int, inputs: int, outputs: int) -> nn.Module:
        """The network, with fresh weights."""
        return UNet(
            dimension, inputs, outputs, widths=self.widths, block=self.block, norm=self.norm
        )


Backbone = Annotated[VoxelMorphNet | UNetNet, Field(discriminator="kind")]
