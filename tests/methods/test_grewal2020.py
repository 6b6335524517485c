"""Grewal 2020, equation by equation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from anatomark.augment import AugmentConfig, draw, pull_points
from anatomark.losses import contrast, descriptor_hinge, matching_entropy, pooled, saliency
from anatomark.methods import MATCHERS, Batch
from anatomark.methods.base import Places
from anatomark.methods.grewal2020 import Grewal2020Config

SMALL = {"widths": (4, 6, 8), "described": (1, 2), "landmarks": 20}
SHAPES = {2: (40, 52), 3: (16, 24, 20)}
WARP = AugmentConfig(
    rotation_deg=20, scale=0.1, elastic=0.05, elastic_probability=1, outside="zeros"
)


def made(dimension, **settings):
    torch.manual_seed(0)
    kind = MATCHERS["grewal2020"]
    return kind(kind.Config(**{**SMALL, **settings}), dimension=dimension, channels=1)


def batch_of(method, dimension, config=WARP, *, masked=True):
    rng = torch.Generator().manual_seed(5)
    images = torch.randn(2, 1, *SHAPES[dimension], generator=rng)
    mask = torch.ones(2, 1, *SHAPES[dimension], dtype=torch.bool)
    mask[..., :8] = not masked
    extent = torch.tensor(SHAPES[dimension][::-1], dtype=torch.float32).expand(2, -1)
    batch = Batch(images=images, extent_mm=extent, mask=mask)

    def drawn(some):
        return draw(some, 2, dimension, extent_mm=extent.double(), generator=rng)

    return method.shown(batch, config, drawn)


# -- the losses ------------------------------------------------------------------------------------


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_equation_2():
    logits, matched = torch.randn(3, 7), torch.rand(3, 7) > 0.5
    for row in range(3):
        total = 0.0
        for x, m in zip(logits[row].numpy(), matched[row].numpy(), strict=True):
            p = sigmoid(x)
            total += (1 - p) - (np.log(p) if m else np.log(1 - p))
        assert float(saliency(logits, matched)[row]) == pytest.approx(total / 7, rel=1e-5)


def test_equation_3():
    generator = torch.Generator().manual_seed(0)
    distance = torch.rand(2, 5, 4, generator=generator) * 1.4
    logits = torch.randn(2, 5, 4, generator=generator)
    matched = torch.rand(2, 5, 4, generator=generator) > 0.7
    hinge = descriptor_hinge(distance, matched, positive_margin=0.1, negative_margin=1.0)
    entropy = matching_entropy(logits, matched)
    for row in range(2):
        positive, negative = int(matched[row].sum()), int((~matched[row]).sum())
        assert positive
        assert negative
        first = second = third = 0.0
        for i in range(5):
            for j in range(4):
                p = sigmoid(float(logits[row, i, j]))
                if matched[row, i, j]:
                    first += max(0.0, float(distance[row, i, j]) - 0.1) / positive
                    third -= negative / 20 * np.log(p)
                else:
                    second += max(0.0, 1.0 - float(distance[row, i, j])) / negative
                    third -= positive / 20 * np.log(1 - p)
        assert float(hinge[row]) == pytest.approx(first + second, rel=1e-5)
        assert float(entropy[row]) == pytest.approx(third / 20, rel=1e-5)


def test_contrast_is_a_softmax_over_the_other_image_both_ways():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(1, 4, 5, generator=generator)
    matched = torch.zeros(1, 4, 5, dtype=torch.bool)
    matched[0, 0, 1] = matched[0, 2, 3] = matched[0, 2, 4] = True
    shares = np.exp(logits[0].numpy().astype(float))
    rows = [-np.log(shares[0, 1] / shares[0].sum()),
            -np.log(shares[2, 3:5].sum() / shares[2].sum())]  # fmt: skip
    columns = [-np.log(shares[i, j] / shares[:, j].sum()) for i, j in ((0, 1), (2, 3), (2, 4))]
    wanted = (np.mean(rows) + np.mean(columns)) / 2
    assert float(contrast(logits, matched)) == pytest.approx(wanted, rel=1e-5)
    none = torch.zeros_like(matched)
    assert float(contrast(logits, none)) == 0


def test_the_published_loss_has_no_contrast():
    method, other = made(2), made(2, contrast=0.5)
    batch = batch_of(method, 2)
    assert "contrast" not in method.losses(method(batch), batch)
    assert other.losses(other(batch), batch)["contrast"].shape == (2, 1)


def test_no_pair_at_all_is_no_division_by_zero():
    none = torch.zeros(1, 3, 4, dtype=torch.bool)
    for value in (
        descriptor_hinge(torch.rand(1, 3, 4), none, positive_margin=0.1, negative_margin=1.0),
        matching_entropy(torch.randn(1, 3, 4), none),
        descriptor_hinge(torch.rand(1, 3, 4), ~none, positive_margin=0.1, negative_margin=1.0),
    ):
        assert value.isfinite().all()


# -- truth on the fly ------------------------------------------------------------------------------


@pytest.mark.parametrize("dimension", [2, 3])
def test_same_places_are_near_after_the_known_map_and_inside_the_body(dimension):
    method = made(dimension)
    batch = batch_of(method, dimension)
    out = method(batch)
    same = method.same(out, batch)
    size = np.array(SHAPES[dimension][::-1])
    body, moved = batch.mask[:, 0].numpy(), batch.pair.mask[:, 0].numpy()
    count = 0
    for row in range(2):
        for j, place in enumerate(out.moving.voxel[row].numpy()):
            normalised = torch.from_numpy((2 * place + 1) / size - 1)[None, None].double()
            back = pull_points(batch.pair.drawn, normalised.expand(2, 1, -1))[row, 0].numpy()
            back = ((back + 1) * size - 1) / 2
            for i, other in enumerate(out.fixed.voxel[row].numpy()):
                near = np.linalg.norm(back - other) < 2.0
                here = body[row][tuple(other.astype(int)[::-1])]
                there = moved[row][tuple(place.astype(int)[::-1])]
                assert bool(same[row, i, j]) == bool(near and here and there)
                count += bool(same[row, i, j])
    assert count


def test_without_a_warp_the_images_and_their_places_are_the_same():
    method = made(2).eval()
    batch = batch_of(method, 2, AugmentConfig(), masked=False)
    assert torch.equal(batch.images, batch.pair.images)
    out = method(batch)
    same = method.same(out, batch)
    assert same.diagonal(dim1=1, dim2=2).all()


def test_a_mirror_changes_both_images():
    method = made(2)
    config = AugmentConfig(flip_axes=(0,), flip_probability=1.0, mirror_without_pairs=True)
    before = batch_of(method, 2, AugmentConfig(), masked=False)
    batch = batch_of(method, 2, config, masked=False)
    assert torch.equal(batch.images, before.images.flip(-1))
    assert torch.equal(batch.images, batch.pair.images)


@pytest.mark.parametrize("dimension", [2, 3])
def test_terms_and_gradients_of_both_images(dimension):
    method = made(dimension)
    batch = batch_of(method, dimension)
    terms = method.losses(method(batch), batch)
    assert set(terms) == {"saliency_fixed", "saliency_moving", "hinge", "matching"}
    assert all(t.shape == (2, 1) and t.isfinite().all() for t in terms.values())
    for name, term in terms.items():
        method.zero_grad()
        method_loss = pooled(term, method.counted(batch))
        method_loss.backward(retain_graph=True)
        learnt = [p for p in method.parameters() if p.grad is not None and p.grad.abs().sum() > 0]
        assert learnt, name


class NothingComesBack(TorchDispatchMode):
    """Raises where a value of a tensor is asked for, which would wait for a GPU."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        del types
        aten = torch.ops.aten
        waits = {aten._local_scalar_dense.default, aten.nonzero.default,
                 aten._linalg_check_errors.default}  # fmt: skip
        assert func not in waits, func
        return func(*args, **(kwargs or {}))


def test_a_training_step_stays_on_the_device(monkeypatch):
    method = made(2)
    batch = batch_of(method, 2)

    def copied(*_, **__):
        raise AssertionError("a tensor is copied to the host")

    for name in ("numpy", "cpu", "tolist", "item", "__array__"):
        monkeypatch.setattr(torch.Tensor, name, copied)
    with NothingComesBack():
        loss = sum(method.losses(method(batch), batch).values())
        pooled(loss, method.counted(batch)).backward()


# -- inference -------------------------------------------------------------------------------------


def test_only_likely_places_are_landmarks():
    method = made(2, least_probability=0.5, between_voxels=False).eval()
    image = torch.randn(1, 1, 40, 52)
    places = method.places(image)[0]
    probability = method.network(image).logits.sigmoid()[0, 0]
    assert (places.probability > 0.5).all()
    at = places.voxel.long()
    assert torch.allclose(probability[at[:, 1], at[:, 0]], places.probability, atol=1e-6)
    fewer = made(2, most_landmarks=3).eval().places(image)[0]
    assert len(fewer.voxel) <= 3


def test_two_images_of_different_size_and_one_landmark():
    method = made(2, least_probability=0.0).eval()
    fixed, moving = (
        method.places(torch.randn(1, 1, 40, 52))[0],
        method.places(torch.randn(1, 1, 16, 16))[0],
    )
    rows = method.pair(fixed, moving)
    assert len(rows.fixed) <= 4
    one = Places(*(value[:1] for value in fixed))
    assert method.pair(one, one).fixed.tolist() == [0]


def test_settings_that_cannot_be():
    with pytest.raises(ValueError, match="grid.size"):
        Grewal2020Config().check_grid((8, 64), windows=True)
    with pytest.raises(ValueError, match="levels"):
        Grewal2020Config(widths=(4, 8)).check_grid((64, 64), windows=True)


def test_a_batch_without_pairs_is_refused():
    method = made(2)
    with pytest.raises(ValueError, match="pairs"):
        method(replace(batch_of(method, 2), pair=None))
