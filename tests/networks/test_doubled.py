"""A convolution over doubled features is that of the textbook, gradients included."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from anatomark.networks import StridedUNet, strided_unet
from anatomark.networks.doubled import doubled_conv

CONV = {2: functional.conv2d, 3: functional.conv3d}


def textbook(below, skip, weight, bias):
    doubled = functional.interpolate(below, scale_factor=2, mode="nearest")
    return CONV[below.ndim - 2](torch.cat([doubled, skip], 1), weight, bias, padding=1)


def tensors(dimension, skips, shape=(3, 5, 4), dtype=torch.float64):
    torch.manual_seed(0)
    shape = shape[:dimension]
    made = (
        torch.randn(2, 5, *shape, dtype=dtype),
        torch.randn(2, skips, *(2 * n for n in shape), dtype=dtype),
        torch.randn(6, 5 + skips, *(3,) * dimension, dtype=dtype),
        torch.randn(6, dtype=dtype),
    )
    return [t.requires_grad_() for t in made]


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("skips", [1, 3, 9])
@pytest.mark.parametrize("with_bias", [True, False])
def test_it_is_the_textbook_s_with_its_gradients(dimension, skips, with_bias):
    below, skip, weight, bias = tensors(dimension, skips)
    given = (below, skip, weight, bias if with_bias else None)
    expected, found = textbook(*given), doubled_conv(*given)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    slope = torch.randn_like(expected)
    wanted = [t for t in given if t is not None]
    for ours, theirs in zip(
        torch.autograd.grad(found, wanted, slope),
        torch.autograd.grad(expected, wanted, slope),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11)


def test_float32_is_as_near_as_float32_is():
    given = tensors(3, 1, shape=(8, 8, 8), dtype=torch.float32)
    torch.testing.assert_close(doubled_conv(*given), textbook(*given), rtol=0, atol=1e-4)


def test_a_volume_of_one_voxel_and_one_map():
    below, skip, weight, bias = tensors(3, 1, shape=(1, 1, 1))
    given = below, skip, weight[:1], bias[:1]
    torch.testing.assert_close(doubled_conv(*given), textbook(*given), rtol=0, atol=1e-12)


@pytest.mark.parametrize("final", [(), (4,), (6, 5), (5, 4, 4)])
@pytest.mark.parametrize("dimension", [2, 3])
def test_slabs_give_the_maps_of_the_whole(final, dimension, monkeypatch):
    torch.manual_seed(1)
    net = StridedUNet(dimension, 1, 3, encoder=(4, 6), decoder=(6, 5), final=final).double()
    image = torch.randn(2, 1, *(52, 10, 8)[:dimension]).double()
    whole = net(image).detach()
    for voxels in (1, 900):  # the least that a slab may have, and one that does not come out even
        monkeypatch.setitem(strided_unet._SLAB, "cpu", voxels)
        slabs = []

        def counted(x, image, slabs=slabs):
            slabs.append(image.shape[2])
            return StridedUNet._top(net, x, image)

        monkeypatch.setattr(net, "_top", counted)
        with torch.inference_mode():
            torch.testing.assert_close(net(image), whole, rtol=0, atol=1e-12)
        assert len(slabs) > 1
        monkeypatch.undo()
