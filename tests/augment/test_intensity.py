"""Intensities against formulas by hand; the range is 0…1 unless a test says otherwise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from anatomark.augment import AugmentConfig
from anatomark.augment.elastic import at_points
from anatomark.augment.intensity import Intensity, apply_intensity, covered, draw_intensity, gain

SHAPES = {2: (12, 17), 3: (7, 10, 9)}
both = pytest.mark.parametrize("dimension", [2, 3])


def nothing(dimension: int, batch: int = 3) -> Intensity:
    return draw_intensity(AugmentConfig(), batch, dimension, torch.Generator().manual_seed(0))


def unit_images(dimension: int, batch: int = 3) -> torch.Tensor:
    """Two channels, each from exactly 0 to exactly 1."""
    images = torch.rand(batch, 2, *SHAPES[dimension], dtype=torch.float64)
    images[(slice(None), slice(None), *[0] * dimension)] = 0
    images[(slice(None), slice(None), *[-1] * dimension)] = 1
    return images


def column(values: torch.Tensor, dimension: int) -> torch.Tensor:
    return values.reshape(-1, *[1] * (dimension + 1))


@both
def test_nothing_drawn_changes_nothing(dimension):
    images = unit_images(dimension)
    assert apply_intensity(nothing(dimension), images) is images


@both
def test_gamma_contrast_brightness_and_inversion_are_their_formulas(dimension):
    images = unit_images(dimension)
    gamma = torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64)
    done = apply_intensity(replace(nothing(dimension), gamma=gamma), images)
    assert torch.equal(done[0], images[0])  # a neutral sample beside others
    torch.testing.assert_close(done[1], images[1].sqrt())
    torch.testing.assert_close(done[2], images[2] ** 2)

    contrast, brightness = torch.tensor([[2.0, 0.5, 1.0], [0.1, 0.0, 0.0]]).double()
    done = apply_intensity(
        replace(nothing(dimension), contrast=contrast, brightness=brightness), images
    )
    torch.testing.assert_close(done[0], 2 * images[0] - 0.4)
    torch.testing.assert_close(done[1], images[1] / 2 + 0.25)
    assert torch.equal(done[2], images[2])

    done = apply_intensity(
        replace(nothing(dimension), invert=torch.tensor([True, False, False])), images
    )
    torch.testing.assert_close(done[0], 1 - images[0])
    assert torch.equal(done[1:], images[1:])


@both
def test_strength_follows_the_range_of_each_channel(dimension):
    images = unit_images(dimension)
    scaled = images * torch.tensor([300.0, 7.0]).reshape(1, 2, *[1] * dimension) - 50
    change = replace(nothing(dimension), gamma=torch.full((3,), 2.0))
    expected = images**2 * torch.tensor([300.0, 7.0]).reshape(1, 2, *[1] * dimension) - 50
    torch.testing.assert_close(apply_intensity(change, scaled), expected)
    flat = torch.full((3, 1, *SHAPES[dimension]), 4.0)
    torch.testing.assert_close(apply_intensity(change, flat), flat)


@both
def test_the_bias_field_is_smooth_and_multiplies(dimension):
    images, config = unit_images(dimension), AugmentConfig(bias=0.5, bias_probability=1)
    change = draw_intensity(config, 3, dimension, torch.Generator().manual_seed(1))
    field = gain(change.bias, images)
    torch.testing.assert_close(apply_intensity(change, images), images * field)
    assert field.log().abs().max() <= 0.5
    assert field.std() > 0.01
    spot = tuple(n // 3 for n in SHAPES[dimension])
    where = [(2 * i + 1) / n - 1 for i, n in zip(spot, SHAPES[dimension], strict=True)][::-1]
    at = torch.tensor([[where]] * 3, dtype=torch.float64)
    direct = at_points(change.bias, at).exp()[:, 0, 0]
    torch.testing.assert_close(field[(slice(None), 0, *spot)], direct)


def test_noise_has_the_deviation_asked_for():
    images = torch.full((2, 1, 100, 100, 100), 0.5, dtype=torch.float64)
    images[:, 0, 0, 0, :2] = torch.tensor([0.0, 1.0], dtype=torch.float64)
    change = replace(nothing(3, 2), noise=torch.tensor([0.1, 0.0]).double())
    done = apply_intensity(change, images)
    assert float((done - images)[0].std()) == pytest.approx(0.1, rel=0.01)
    assert abs(float((done - images)[0].mean())) < 1e-3
    assert torch.equal(done[1], images[1])
    assert torch.equal(apply_intensity(change, images), done)  # one draw, one noise


def test_rician_noise_has_the_moments_of_rice():
    """Mean square of a Rice variable is ν² + 2σ²; without signal its mean is σ √(π/2)."""
    images = torch.zeros(2, 1, 80, 80, 80, dtype=torch.float64)
    images[1] = 0.6
    images[:, 0, 0, 0, :2] = torch.tensor([0.0, 1.0], dtype=torch.float64)
    change = replace(nothing(3, 2), noise=torch.full((2,), 0.2).double(), rician=True)
    done = apply_intensity(change, images)
    assert float(done[0].mean()) == pytest.approx(0.2 * np.sqrt(np.pi / 2), rel=0.01)
    assert float(done[1].square().mean()) == pytest.approx(0.36 + 2 * 0.04, rel=0.01)
    assert done.min() >= 0


@both
def test_boxes_cover_the_voxels_whose_centres_they_hold(dimension):
    images = unit_images(dimension)
    config = AugmentConfig(occlusion=0.6, occlusion_probability=1, occlusion_boxes=2)
    change = draw_intensity(config, 3, dimension, torch.Generator().manual_seed(2))
    assert change.boxes.min() >= -1
    assert change.boxes.max() <= 1 + 1e-12
    done = covered(images, change.boxes, change.box_values)
    for b in range(3):
        for voxel in np.ndindex(*SHAPES[dimension]):
            centre = [(2 * i + 1) / n - 1 for i, n in zip(voxel, SHAPES[dimension], strict=True)]
            expected = images[(b, slice(None), *voxel)]
            for box, value in zip(change.boxes[b], change.box_values[b], strict=True):
                if all(
                    lo <= c < hi for c, (lo, hi) in zip(centre[::-1], box.tolist(), strict=True)
                ):
                    expected = value.expand(2)
            torch.testing.assert_close(done[(b, slice(None), *voxel)], expected)
    assert not torch.equal(done, images)


@both
def test_smoothing_and_order_in_a_batch_where_samples_differ(dimension):
    """Each sample gets what it would get alone."""
    config = AugmentConfig(
        gamma=0.5, contrast=0.3, bias=0.3, blur_voxels=2, low_resolution=3, occlusion=0.5,
        invert_probability=0.5, low_resolution_probability=0.6, blur_probability=0.6,
    )  # fmt: skip
    images = unit_images(dimension, 6)
    change = draw_intensity(config, 6, dimension, torch.Generator().manual_seed(4))
    together = apply_intensity(change, images)
    for b in range(6):
        alone = replace(
            change,
            **{
                k: v[b : b + 1]
                for k, v in vars(change).items()
                if isinstance(v, torch.Tensor) and k in Intensity.__dataclass_fields__
            },
        )
        torch.testing.assert_close(apply_intensity(alone, images[b : b + 1])[0], together[b])
