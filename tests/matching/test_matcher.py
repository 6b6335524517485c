"""From voxels of two networks' grids back to the worlds of two images: frame and direction."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from anatomark import Affine, Grid, Image
from anatomark.errors import AnatomarkWarning, ImageError
from anatomark.matching.matcher import LearntMatcher, check_window
from anatomark.matching.named import matcher_named
from anatomark.models.files import MatchingModel, ModelInfo, load_matcher, make_method
from anatomark.models.preparation import prepare
from anatomark.models.recipe import GridRecipe, IntensityRecipe, parse_recipe
from anatomark.networks.siamese import Described

LEVELS = (300.0, 450.0, 600.0, 750.0, 900.0)
POINTS = np.array([[12.0, 12], [45, 12], [28, 28], [12, 38], [44, 37]])


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

    in_tiles = forward


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


def noise(shape, seed=0):
    """Smooth noise in grey values of soft tissue."""
    from scipy import ndimage

    values = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 3)
    values = 40 + 120 * values / values.std()
    return Image(values.astype(np.float32), Grid(shape, (1.0, 1.0)))


def in_order(matches):
    """Both points of each match, sorted: of equal confidences the order is by chance."""
    rows = np.hstack([matches.fixed_mm, matches.moving_mm])
    return rows[np.lexsort(rows.T.round(2))]


def test_tiles_give_the_landmarks_of_the_whole_image(monkeypatch):
    from anatomark.networks import siamese

    model = load_matcher("ct-slices")
    exact = model.recipe.training.model_copy(update={"precision": "float32"})
    model = replace(model, recipe=model.recipe.model_copy(update={"training": exact}))
    image = noise((330, 270))
    moving = image.with_array(np.roll(image.array, (5, 9), (0, 1)))
    learnt = LearntMatcher(model, device="cpu")
    whole = learnt.match(image, moving)
    monkeypatch.setattr(siamese, "AT_ONCE", 1)
    monkeypatch.setattr(siamese, "_TILE", {2: 144})
    tiled = learnt.match(image, moving)
    assert len(tiled) == len(whole) > 300
    # Rounding of the network, and of places that are then moved to where patches are alike.
    np.testing.assert_allclose(in_order(tiled), in_order(whole), atol=1e-2)
    np.testing.assert_allclose(tiled.confidence, whole.confidence, atol=1e-3)


def test_many_pairs_at_once_are_matched_as_each_by_itself(monkeypatch):
    learnt = matcher(2)
    rng = np.random.default_rng(0)
    grids = [Grid((60, 60), (1.0, 1.0)), Grid((60, 60), (1.0, 1.0)), Grid((50, 70), (1.0, 1.0))]
    images = [spots(grid, rng.permutation(POINTS) + rng.uniform(-1, 1, 2)) for grid in grids]
    pairs = [(images[i], images[j]) for i, j in ((0, 1), (0, 2), (1, 2), (2, 0), (1, 1))]
    seen = []
    real = learnt._method.network.in_tiles
    monkeypatch.setattr(
        learnt._method.network, "in_tiles", lambda x: (seen.append(len(x)), real(x))[1]
    )
    together = learnt.match_many(pairs)
    assert sorted(seen) == [1, 2]  # an image in several pairs is looked at once
    for pair, found in zip(pairs, together, strict=True):
        alone = learnt.match(*pair)
        assert len(alone) == 5
        np.testing.assert_allclose(in_order(found), in_order(alone), atol=1e-4)
        np.testing.assert_allclose(found.confidence, alone.confidence, atol=1e-5)
    assert [len(found) for found in learnt.match_many(pairs, batch=2)] == [5] * 5
    assert learnt.match_many([]) == []


def test_batches_of_large_images_are_small(monkeypatch):
    from anatomark.matching import matcher as module

    learnt = matcher(2)
    image, other = (spots(Grid((60, 60), (1.0, 1.0)), POINTS + shift) for shift in (0, 1))
    seen = []
    real = learnt._method.network.in_tiles
    monkeypatch.setattr(
        learnt._method.network, "in_tiles", lambda x: (seen.append(len(x)), real(x))[1]
    )
    monkeypatch.setattr(module, "_AT_ONCE", 2 * 60 * 60 - 1)
    learnt.match_many([(image, other)])
    assert seen == [1, 1]


def test_very_many_landmarks_are_bounded_and_a_warning_says_so(monkeypatch):
    from anatomark.methods import grewal2020

    monkeypatch.setattr(grewal2020, "MOST", 150)
    image = noise((300, 240))
    learnt = matcher_named("ct-slices", device="cpu")
    with pytest.warns(AnatomarkWarning, match="150 likeliest"):
        found = learnt.match(image, image)
    assert 100 < len(found) <= 150
    # All over the image: of each quarter of it there are some.
    quarters = (found.fixed_mm > np.array([120, 150])) @ [1, 2]
    assert np.bincount(quarters, minlength=4).min() > 20
    more = matcher_named("ct-slices", most=400, device="cpu").match(image, image)
    assert len(more) > 150  # who asks for a number has it


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
    other = matcher_named("ct-slices", device="cpu").match(image, stored)
    assert len(other) == len(found)
    assert np.abs(other.fixed_mm - other.moving_mm).max() < 0.01


def test_grey_values_that_a_model_does_not_know_are_said():
    recipe = IntensityRecipe(kind="window", low=-600, high=400)
    grid = Grid((20, 20), (1.0, 1.0))
    for added, warned in ((0, False), (1024, True)):
        image = Image(np.full((20, 20), -100.0 + added, np.float32), grid)
        ready = prepare(image, GridRecipe(size=[20, 20], spacing=1.0), recipe)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            check_window(ready, recipe)
        assert bool(said) is warned


def test_two_matchers_of_one_model_keep_their_settings():
    model = load_matcher("ct-slices")
    image = noise((160, 160))
    few = LearntMatcher(model, most=20, guided=False, device="cpu")
    before = len(few.match(image, image))
    more = LearntMatcher(model, guided=True, device="cpu")
    assert before <= 20 < len(more.match(image, image))
    assert len(few.match(image, image)) == before


def test_images_that_show_nothing_alike_are_said_to():
    learnt = matcher_named("ct-slices", device="cpu")
    other = noise((200, 200), seed=5)
    with pytest.warns(AnatomarkWarning, match="do not agree"):
        found = learnt.match(noise((200, 200)), other)
    assert np.median(found.confidence) < 0.95


def test_moved_places_stay_in_the_image():
    image = noise((150, 150))
    shifted = Image(image.array[:, 12:], Grid((150, 138), (1.0, 1.0)))
    found = matcher_named("ct-slices", device="cpu").match(image, shifted)
    assert len(found) > 50
    assert shifted.grid.contains(found.moving_mm).all()
    off = np.linalg.norm(found.fixed_mm - [12, 0] - found.moving_mm, axis=1)
    assert np.median(off) < 0.05
    assert (off < 1).mean() > 0.97
