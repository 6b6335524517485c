"""Augmentation of images and points together, in batches, on the device the images are on.

``draw`` decides (on the CPU, from a seeded generator), ``apply`` does: one resampling for all of
the geometry, then the intensities. Points go through the very map that the image was read with.
Tensors: images ``(B, C, *shape)`` with ``shape`` in array order, points ``(B, L, D)`` normalised
(``align_corners=False``) in x, y(, z) order.
"""

from anatomark.augment.config import AugmentConfig
from anatomark.augment.joint import (
    Augmented,
    Drawn,
    apply,
    apply_to_masks,
    draw,
    landmark_order,
    pull_points,
)
from anatomark.augment.presets import PRESETS, preset

__all__ = [
    "PRESETS",
    "AugmentConfig",
    "Augmented",
    "Drawn",
    "apply",
    "apply_to_masks",
    "draw",
    "landmark_order",
    "preset",
    "pull_points",
]
