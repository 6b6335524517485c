"""Places to a tenth of a voxel, against shifts that are known and a search that is naive."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from anatomark.heads.patches import align_patches, values_at


def texture(shape, seed=0, sigma=2.0):
    noise = np.random.default_rng(seed).normal(size=shape)
    smooth = ndimage.gaussian_filter(noise, sigma)
    return (smooth / smooth.std()).astype(np.float32)


def pulled(image, matrix, offset):
    """The image whose value at ``p`` (x, y(, z)) is that of ``image`` at ``matrix p + offset``."""
    turned, shift = matrix[::-1, ::-1], offset[::-1]
    return ndimage.affine_transform(image, turned, shift, order=3, mode="nearest")


def places(shape, count, margin, seed=5):
    rng = np.random.default_rng(seed)
    return rng.uniform(margin, np.array(shape[::-1]) - 1 - margin, (count, len(shape)))


@pytest.mark.parametrize("shape", [(120, 140), (48, 50, 52)])
def test_places_come_home_under_an_affine_map(shape):
    dimension = len(shape)
    image = texture(shape)
    rng = np.random.default_rng(1)
    matrix = np.eye(dimension) + rng.normal(0, 0.08, (dimension, dimension))
    centre = (np.array(shape[::-1]) - 1) / 2
    offset = centre - matrix @ centre + 0.4
    moving = pulled(image, matrix, offset)  # moving(p) = image(matrix p + offset)
    slopes = np.linalg.inv(matrix)  # of fixed → moving
    there = places(shape, 40, 16)
    true = (there - offset) @ slopes.T
    start = true + rng.uniform(-1.2, 1.2, true.shape)
    found = align_patches(
        torch.from_numpy(image), torch.from_numpy(moving * 3 - 7), torch.from_numpy(there),
        torch.from_numpy(start), torch.from_numpy(np.repeat(slopes[None], 40, 0)), radius=5,
    )  # fmt: skip
    off = np.linalg.norm(found.voxel.numpy() - true, axis=1)
    assert np.median(off) < 0.05
    assert off.max() < 0.3
    assert found.likeness.min() > 0.97


def test_it_is_as_good_as_trying_every_shift():
    """The naive search: the correlation at every tenth of a voxel."""
    image = texture((80, 80))
    moving = pulled(image, np.eye(2), np.array([-0.73, 0.42])) + 0.1 * texture((80, 80), 9)
    there = np.array([[40.0, 37.0], [30.0, 50.0]])
    steps = np.stack(np.meshgrid(*[np.arange(-5.0, 6)] * 2, indexing="ij"), -1).reshape(-1, 2)
    weight = np.exp(-(steps**2).sum(1) / (2 * (5 / 1.5) ** 2))

    def patch(array, at):
        y, x = (at + steps).T[::-1]
        values = ndimage.map_coordinates(array, [y, x], order=1)
        values = values - np.average(values, weights=weight)
        return values / np.sqrt(np.average(values**2, weights=weight))

    found = align_patches(
        torch.from_numpy(image), torch.from_numpy(moving), torch.from_numpy(there),
        torch.from_numpy(there), torch.eye(2).repeat(2, 1, 1), radius=5,
    )  # fmt: skip
    for row, at in enumerate(there):
        pattern = patch(image, at)
        fine = np.arange(-1.5, 1.55, 0.1)
        likeness, best = max(
            (np.average(pattern * patch(moving, at + np.array([x, y])), weights=weight), (x, y))
            for x in fine for y in fine
        )  # fmt: skip
        assert found.voxel[row].numpy() - at == pytest.approx(best, abs=0.08)
        assert float(found.likeness[row]) == pytest.approx(likeness, abs=0.01)


def test_values_are_linear_between_voxels():
    image = texture((9, 10, 11))
    index = places((9, 10, 11), 20, 0.5)
    expected = ndimage.map_coordinates(image, index.T[::-1], order=1)
    values = values_at(torch.from_numpy(image), torch.from_numpy(index).float()[:, None])[:, 0]
    assert values.numpy() == pytest.approx(expected, abs=1e-4)


def test_what_shows_nothing_is_not_alike():
    flat, image = torch.zeros(40, 40), torch.from_numpy(texture((40, 40)))
    at, turn = torch.tensor([[20.0, 20.0]]), torch.eye(2)[None]
    assert float(align_patches(flat, flat, at, at, turn).likeness) == 0
    assert float(align_patches(image, flat, at, at, turn).likeness) == 0


def test_too_far_is_left_where_it_is():
    image = texture((80, 80), sigma=6)
    moving = pulled(image, np.eye(2), np.array([-6.0, 0.0]))
    at, turn = torch.tensor([[40.0, 40.0]]), torch.eye(2)[None]
    images = torch.from_numpy(image), torch.from_numpy(moving)
    found = align_patches(*images, at, at, turn)
    assert found.voxel.tolist() == at.tolist()
    there = align_patches(*images, at, at, turn, farthest=1e-6)  # may not move at all
    assert float(found.likeness) == pytest.approx(float(there.likeness), abs=1e-4)
    assert float(found.likeness) < 0.95


def test_no_places_are_no_trouble():
    none = torch.zeros(0, 2)
    found = align_patches(torch.zeros(9, 9), torch.zeros(9, 9), none, none, torch.zeros(0, 2, 2))
    assert found.voxel.shape == (0, 2)
    assert found.likeness.shape == (0,)


@pytest.mark.parametrize("angle", [0, 90, 135, 180])
@pytest.mark.parametrize("scale", [0.8, 1.25])
def test_steps_are_turned_and_stretched_as_the_slopes_say(angle, scale):
    image = texture((120, 120), sigma=3)
    turn = np.deg2rad(angle)
    slopes = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix, centre = np.linalg.inv(slopes), np.array([59.5, 59.5])
    offset = centre - matrix @ centre
    moving = pulled(image, matrix, offset)
    there = places((120, 120), 20, 40)
    true = (there - offset) @ slopes.T
    start = true + np.array([1.5, -0.8])
    found = align_patches(
        torch.from_numpy(image), torch.from_numpy(moving), torch.from_numpy(there),
        torch.from_numpy(start), torch.from_numpy(np.repeat(slopes[None], 20, 0)),
    )  # fmt: skip
    off = np.linalg.norm(found.voxel.numpy() - true, axis=1)
    assert np.median(off) < 0.05
    assert off.max() < 0.2


def test_what_is_outside_of_an_image_does_not_count():
    """At the border of a cropped image, where repeated voxels would pull the place."""
    image = texture((80, 120))
    moving = np.ascontiguousarray(image[:, 30:])
    there = np.stack([np.full(20, 33.0), np.linspace(15, 65, 20)], 1)  # 3 voxels from the border
    true = there - [30, 0]
    found = align_patches(
        torch.from_numpy(image), torch.from_numpy(moving), torch.from_numpy(there),
        torch.from_numpy(true + np.array([0.8, 0.6])), torch.eye(2).repeat(20, 1, 1),
    )  # fmt: skip
    off = np.linalg.norm(found.voxel.numpy() - true, axis=1)
    assert off.max() < 0.1
    assert found.likeness.min() > 0.99


def test_it_is_computed_in_full_precision_under_autocast():
    image, at = torch.from_numpy(texture((60, 60))), torch.tensor([[30.0, 30.0], [20.0, 35.0]])
    turn = torch.eye(2).repeat(2, 1, 1)
    plain = align_patches(image, image, at, at + 0.7, turn)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = align_patches(image, image, at, at + 0.7, turn)
    assert half.voxel.dtype == torch.float32
    torch.testing.assert_close(plain.voxel, half.voxel)
