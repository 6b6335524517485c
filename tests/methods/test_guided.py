"""A second look for matches: what the neighbours foretell, and what patches say to a tenth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from anatomark.heads.pairing import Pairing, inverse_consistent
from anatomark.methods.base import Places
from anatomark.methods.grewal2020 import Grewal2020, Grewal2020Config
from anatomark.methods.guided import guided

ANGLE = np.deg2rad(20)
TURN = np.array([[np.cos(ANGLE), -np.sin(ANGLE)], [np.sin(ANGLE), np.cos(ANGLE)]])
SIZE = 160


def push(points):
    """Fixed to moving: a turn about the middle, and a shift."""
    middle = (SIZE - 1) / 2
    return (points - middle) @ TURN.T + middle + [3.3, -2.6]


def scene(*, confused, seed=0):
    """Two images of one texture, landmarks in both, and descriptors of which some mislead.

    Landmarks of the moving image are half a voxel off, as those of a network are; a part of the
    descriptors are those of another landmark far away.
    """
    rng = np.random.default_rng(seed)
    image = ndimage.gaussian_filter(rng.normal(size=(SIZE, SIZE)), 2)
    image = image / image.std()
    middle = (SIZE - 1) / 2
    back = TURN.T  # pull of the moving image: (y, x) order below
    offset = middle - back @ np.array([middle + 3.3, middle - 2.6])
    moving = ndimage.affine_transform(
        image, back[::-1, ::-1], offset[::-1], order=3, mode="nearest"
    )
    fixed = rng.uniform(25, SIZE - 26, (300, 2))
    partner = push(fixed) + rng.uniform(-0.5, 0.5, fixed.shape)
    features = rng.normal(size=(300, 24))
    seen = features + 0.2 * rng.normal(size=features.shape)
    wrong = rng.permutation(300)[: int(confused * 300)]
    seen[wrong] = seen[np.roll(wrong, 1)]
    order = rng.permutation(300)
    images = tuple(torch.from_numpy(i.astype(np.float32))[None] for i in (image, moving))
    there = Places(*(torch.from_numpy(v).float() for v in (fixed, features, np.ones(300))))
    here = Places(
        *(torch.from_numpy(v[order]).float() for v in (partner, seen, np.ones(300)))
    )  # fmt: skip
    return images, there, here


@torch.no_grad()
def matched(confused, **settings):
    images, there, here = scene(confused=confused, **settings)
    pairing = Pairing(24)
    first = inverse_consistent(pairing, there.descriptor, here.descriptor)
    return there, here, first, guided(pairing, images, there, here, first)


def test_misled_landmarks_find_their_partners_and_all_lie_to_a_tenth():
    there, here, first, found = matched(0.3)
    at_first = there.voxel[first.fixed].numpy(), here.voxel[first.moving].numpy()
    off = np.linalg.norm(push(at_first[0]) - at_first[1], axis=1)
    assert (off > 5).mean() > 0.1  # the first look is misled, …
    again = np.linalg.norm(push(found.fixed.numpy()) - found.moving.numpy(), axis=1)
    assert found.guided
    assert len(again) > 0.9 * 300  # … the second finds nearly all of them,
    assert again.max() < 0.5
    assert np.median(again) < 0.05 < np.median(off)
    assert 0 < float(found.sure.min()) < float(found.sure.max()) < 1


def test_nothing_is_foretold_by_a_few():
    images, there, here = scene(confused=0.0)
    few = Places(*(v[:5] for v in there)), Places(*(v[:300] for v in here))
    pairing = Pairing(24)
    first = inverse_consistent(pairing, few[0].descriptor, few[1].descriptor)
    assert guided(pairing, images, *few, first) is None


def test_where_nothing_agrees_nothing_is_made_up():
    images, there, _ = scene(confused=0.0)
    rng = np.random.default_rng(7)
    elsewhere = Places(
        torch.from_numpy(rng.uniform(0, SIZE, (300, 2))).float(),
        torch.from_numpy(rng.normal(size=(300, 24))).float(), torch.ones(300),
    )  # fmt: skip
    pairing = Pairing(24)
    first = inverse_consistent(pairing, there.descriptor, elsewhere.descriptor)
    with torch.no_grad():
        found = guided(pairing, images, there, elsewhere, first)
    assert len(first.fixed) > 20
    assert found is None or len(found.fixed) < 5


def test_images_of_two_kinds_are_not_judged_by_their_patches():
    images, there, here = scene(confused=0.0)
    pairing = Pairing(24)
    first = inverse_consistent(pairing, there.descriptor, here.descriptor)
    with torch.no_grad():
        other = images[0], (images[1] * 3).sin()  # as another modality: no grey value is kept
        assert guided(pairing, other, there, here, first) is None


@pytest.mark.parametrize("again", [False, True])
def test_the_recipe_decides_whether_there_is_a_second_look(again):
    config = Grewal2020Config(widths=(4, 6, 8), described=(1, 2), guided=again)
    torch.manual_seed(0)
    method = Grewal2020(config, dimension=2, channels=1).eval()
    images, _, _ = scene(confused=0.0)
    shown = torch.stack(images)
    with torch.inference_mode():
        method.config = config.model_copy(update={"least_probability": 0.0})
        one, other = method.places(shown)
        found = method.matches((shown[0], shown[0]), one, one)
        assert method.matches((shown[0], shown[1]), one, other).fixed.shape[1] == 2
    assert found.guided is again
    assert (found.fixed - found.moving).norm(dim=1).max() < 0.01  # an image and itself
    assert len(found.fixed) > 100
