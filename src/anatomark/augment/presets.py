"""Settings to start from: ``none``, ``light`` and ``strong``, for 2D and 3D."""

from __future__ import annotations

from collections.abc import Mapping

from anatomark.augment.config import AugmentConfig
from anatomark.errors import UsageError

_LIGHT = AugmentConfig(
    rotation_deg=10,
    scale=0.1,
    translate=0.05,
    elastic=0.01,
    gamma=0.2,
    contrast=0.1,
    brightness=0.05,
    noise=0.03,
)
_STRONG = AugmentConfig(
    rotation_deg=20,
    scale=0.2,
    stretch=0.1,
    shear=0.1,
    translate=0.05,
    elastic=0.06,
    crop=0.85,
    gamma=0.5,
    contrast=0.3,
    brightness=0.1,
    bias=0.5,
    blur_voxels=1.5,
    low_resolution=3,
    noise=0.08,
    occlusion=0.25,
)

# No preset mirrors: whether a mirror is valid depends on the landmarks, not on the image.
# Volumes have fewer voxels a side than films, so that the same blur would hide more.
PRESETS: Mapping[tuple[str, int], AugmentConfig] = {
    ("none", 2): AugmentConfig(),
    ("none", 3): AugmentConfig(),
    ("light", 2): _LIGHT,
    ("light", 3): _LIGHT,
    ("strong", 2): _STRONG,
    ("strong", 3): _STRONG.model_copy(update={"blur_voxels": 1.0, "low_resolution": 2.5}),
}


def preset(name: str, dimension: int) -> AugmentConfig:
    """The settings called ``name`` (none, light, strong) for 2D or 3D images."""
    try:
        return PRESETS[name, dimension]
    except KeyError:
        raise UsageError(
            f"there is no augmentation {name!r} in {dimension}D", fix="use none, light or strong"
        ) from None
