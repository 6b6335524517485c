"""From voxels of two networks' grids back to the worlds of two images: frame and direction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from anatomark import Affine, Grid, Image
from anatomark.errors import AnatomarkWarning, ImageError
from anatomark.matching.matcher import LearntMatcher
from anatomark.matching.named import matcher_named
from anatomark.models.files import MatchingModel, ModelInfo, make_method
from anatomark.models.recipe import parse_recipe
from anatomark.networks.siamese import Described

LEVELS = (300.0, 450.0, 600.0, 750.0, 900.0)


class BlobFinder(nn.Module):
    """Bright spots are landmarks, told apart by how bright they are."""

    multiple = 1

    def forward(self, images):
        from torch.nn.functional import max_pool2d, max_pool3d

        pool = max_pool2d if images.ndim == 4 else max_pool3d
        # Only what is the top of its neighbourhood: the flank of a spot in another cell is not.
        top = pool(images, 9, 1, 4) == images
        logits = torch.where(top, images, images - 1) * 60 - 10
        height = pool(images, 3, 1, 1)
        shades = torch.tensor(LEVELS).reshape(1, -1, *[1] * (images.ndim - 2)) / 1000
        return Described(logits, (torch.exp(-(((height - shades) / 0.05) ** 2)) + 1e-4,), (1,))


def matcher(dimension):
    recipe = parse_recipe({
        "name": "blobs", "method": "grewal2020",
        "grid": {"size": [32] * dimension, "spacing": 1.0},
        "intensity": {"kind": "window", "low": 0, "high": 1000},
        "settings": {"widths": [4, 4], "described": [0], "between_voxels": True},
    })  # fmt: skip
    method = make_method(recipe, 0)
    method.network = BlobFinder()
    nn.init.constant_(method.pairing.layer.weight, 10.0)
    method.pairing.layer = nn.Linear(len(LEVELS), 1)
    nn.init.constant_(method.pairing.layer.weight, 10.0)
    return LearntMatcher(MatchingModel(ModelInfo(recipe=recipe.complete()), recipe, method))


def spots(grid, points):
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), -1)[..., ::-1]
    world = grid.to_world(index.astype(float))
    array = np.zeros(grid.shape)
    for point, level in zip(points, LEVELS, strict=True):
        array += level * np.exp(-((world - point) ** 2).sum(-1) / (2 * 2.2**2))
    return Image(array.astype(np.float32), grid)


@pytest.mark.parametrize("dimension", [2, 3])
def test_each_point_is_in_the_world_of_its_own_image(dimension):
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])[:dimension, :dimension]
    low, step = np.array([30.0, -80.0, 12.0]), np.array([0.8, 1.1, 0.9])
    shape = (44, 52, 60)[-dimension:]
    fixed_grid = Grid(shape, step[:dimension], low[:dimension], turn)
    inside = np.array([[12, 14, 12], [45, 12, 30], [28, 27, 20], [14, 40, 32], [46, 39, 11]])
    points = fixed_grid.to_world(inside[:, :dimension].astype(float))
    to_moving = Affine(turn.T, np.array([5.0, 40.0, -7.0])[:dimension])
    moved = to_moving(points)
    size = np.ceil((np.ptp(moved, axis=0) + 24) / 1.3).astype(int)
    moving_grid = Grid(tuple(size[::-1]), [1.3] * dimension, moved.min(axis=0) - 12)
    found = matcher(dimension).match(spots(fixed_grid, points), spots(moving_grid, moved))
    assert len(found) == len(points)
    nearest = np.linalg.norm(found.fixed_mm[:, None] - points, axis=-1).argmin(1)
    assert sorted(nearest) == list(range(len(points)))
    # This network knows whole voxels of 1 mm only: each is rounded, together they are not shifted.
    for there, truth in ((found.fixed_mm, points), (found.moving_mm, moved)):
        off = there - truth[nearest]
        assert np.linalg.norm(off, axis=1).max() < 0.9
        assert np.abs(off.mean(axis=0)).max() < 0.35
    assert (np.diff(found.confidence) <= 0).all()  # the surest first


def test_little_confidence_and_many_landmarks_can_be_left_out():
    grid = Grid((60, 60), (1.0, 1.0))
    points = np.array([[12.0, 12], [45, 12], [28, 30], [12, 46], [46, 45]])
    image = spots(grid, points)
    model = matcher(2).model
    assert len(LearntMatcher(model, most=2).match(image, image)) == 2
    with pytest.warns(AnatomarkWarning, match="no matches"):
        assert len(LearntMatcher(model, least=1.0).match(image, image)) == 0


def test_a_blank_image_has_no_matches_whatever_the_network_says():
    grid = Grid((40, 50), (1.0, 1.0))
    blank = Image(np.full((40, 50), 600.0, np.float32), grid)
    with pytest.warns(AnatomarkWarning, match="no matches"):
        assert len(matcher(2).match(blank, blank)) == 0


def test_images_that_cannot_show_the_same_are_refused():
    flat, volume = (
        Image(np.zeros((9, 9)), Grid((9, 9), (1, 1))),
        Image(np.zeros((9, 9, 9)), Grid((9, 9, 9), (1, 1, 1))),
    )
    pixels = Image(np.zeros((9, 9)), Grid((9, 9), (1, 1), unit="px"))
    with pytest.raises(ImageError, match="2D, the other 3D"):
        matcher(2).match(flat, volume)
    with pytest.raises(ImageError, match="spacing"):
        matcher(2).match(flat, pixels)


def test_the_model_that_comes_with_the_package():
    rng = np.random.default_rng(0)
    from scipy import ndimage

    texture = 400 * ndimage.gaussian_filter(rng.normal(size=(160, 200)), 3)
    values = np.full((160, 200), -1000.0)
    yy, xx = np.mgrid[:160, :200]
    body = ((xx - 100) / 80) ** 2 + ((yy - 80) / 60) ** 2 < 1
    values[body] = 40 + texture[body]
    image = Image(values.astype(np.float32), Grid((160, 200), (1.0, 1.0)))
    found = matcher_named("ct-slices", device="cpu").match(image, image)
    assert len(found) > 50
    assert np.abs(found.fixed_mm - found.moving_mm).max() < 0.01
    assert 0 < found.confidence.min() <= found.confidence.max() <= 1
    stored = image.with_array(image.array + 1024)  # as some keep HU in pictures
    with pytest.warns(AnatomarkWarning, match="same units"):
        matcher_named("ct-slices", device="cpu").match(stored, stored)
