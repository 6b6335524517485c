"""``AugmentConfig``: how much, and how often, of each change."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Probability = Annotated[float, Field(ge=0, le=1)]


class AugmentConfig(BaseModel):
    """Strength and probability of every change; as it stands, nothing is changed.

    A strength of 0 (or 1 for factors) switches a change off. Probabilities are per sample. Lengths
    are relative to the image or in voxels, so that one setting serves millimetres and pixels.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    affine_probability: Probability = 1.0
    rotation_deg: float = Field(
        default=0, ge=0, le=180, description="Largest angle, degrees; in 3D about a random axis."
    )
    scale: float = Field(
        default=0, ge=0, le=2, description="Sizes change by a factor from 1/(1+scale) to 1+scale."
    )
    stretch: float = Field(
        default=0, ge=0, le=1, description="The same for each axis by itself, on top of scale."
    )
    shear: float = Field(default=0, ge=0, le=1, description="Largest shear: tangent of the angle.")
    translate: float = Field(
        default=0,
        ge=0,
        le=1,
        description="Largest shift along each axis, as a part of the image's side.",
    )

    elastic_probability: Probability = 0.5
    elastic: float = Field(
        default=0,
        ge=0,
        le=0.25,
        description=(
            "Largest displacement along an axis, as a part of the image's shortest side; less "
            "where the lattice would fold."
        ),
    )
    elastic_knots: int = Field(
        default=4, ge=1, le=32, description="Intervals of the control lattice along each axis."
    )

    flip_probability: Probability = 0.5
    flip_axes: tuple[Annotated[int, Field(ge=0, le=2)], ...] = Field(
        default=(), description="Axes that may be reversed (0 = x), each with the probability."
    )
    mirror_without_pairs: bool = Field(
        default=False, description="Allow mirrors though no landmark has a left/right partner."
    )

    crop_probability: Probability = 0.5
    crop: float = Field(
        default=1,
        gt=0,
        le=1,
        description="Smallest side of the random box that is shown, 1 = all of it.",
    )

    outside: Literal["border", "zeros"] = Field(
        default="border",
        description="What is shown where there is no image: its nearest voxel, or 0.",
    )

    invert_probability: Probability = Field(
        default=0, description="Bright becomes dark, within the range of each channel."
    )

    gamma_probability: Probability = 0.5
    gamma: float = Field(
        default=0, ge=0, le=3, description="Exponents from 1/(1+gamma) to 1+gamma."
    )

    contrast_probability: Probability = 0.5
    contrast: float = Field(
        default=0,
        ge=0,
        le=3,
        description="Factor about mid-range, from 1/(1+contrast) to 1+contrast.",
    )
    brightness: float = Field(
        default=0, ge=0, le=1, description="Largest offset, as a part of the channel's range."
    )

    bias_probability: Probability = 0.5
    bias: float = Field(
        default=0, ge=0, le=2, description="Largest logarithm of the gain of the smooth bias field."
    )
    bias_knots: int = Field(
        default=2, ge=1, le=16, description="Intervals of its lattice on each axis."
    )

    blur_probability: Probability = 0.3
    blur_voxels: float = Field(
        default=0, ge=0, le=16, description="Largest standard deviation of the Gaussian, voxels."
    )

    low_resolution_probability: Probability = 0.3
    low_resolution: float = Field(
        default=1,
        ge=1,
        le=16,
        description="Largest factor by which an axis is made coarser and back.",
    )

    noise_probability: Probability = 0.5
    noise: float = Field(
        default=0,
        ge=0,
        le=1,
        description="Largest standard deviation, as a part of the channel's range.",
    )
    noise_kind: Literal["gaussian", "rician"] = Field(
        default="gaussian",
        description="Rician: of a magnitude image, measured from its darkest value.",
    )

    occlusion_probability: Probability = 0.3
    occlusion: float = Field(
        default=0,
        ge=0,
        le=1,
        description="Largest side of a covering box, as a part of the image's.",
    )
    occlusion_boxes: int = Field(default=1, ge=1, le=16, description="Number of boxes.")
