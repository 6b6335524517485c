"""Networks keep voxels in place, take any shape, and have the layers that their papers give."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from anatomark.errors import UsageError
from anatomark.networks import Regressor, StridedUNet, UNet
from anatomark.networks.blocks import conv, norm, on_multiple
from anatomark.networks.tiles import tiled_maps

SHAPES = {2: (13, 22), 3: (9, 12, 17)}


def small(kind, dimension):
    if kind == "strided":
        return StridedUNet(dimension, 2, 3, encoder=(4, 6), decoder=(6, 4), final=(4,))
    if kind == "plain":
        return UNet(dimension, 2, 3, widths=(4, 6, 8))
    return UNet(dimension, 2, 3, widths=(4, 6, 8), block="residual", norm="instance")


KINDS = ("strided", "plain", "residual")


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_maps_have_the_shape_of_the_image_whatever_it_is(kind, dimension):
    net = small(kind, dimension)
    images = torch.randn(2, 2, *SHAPES[dimension], requires_grad=True)
    maps = net(images)
    assert maps.shape == (2, 3, *SHAPES[dimension])
    maps.square().sum().backward()
    assert images.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_a_shift_by_the_coarsest_step_shifts_the_maps(kind):
    """No voxel changes its place on the way: away from the border the network is equivariant."""
    torch.manual_seed(0)
    net = small(kind, 2).eval().double()
    if kind == "residual":  # instance statistics see the whole image, border included
        net = UNet(2, 2, 3, widths=(4, 6, 8), block="residual", norm="none").double()
    images = torch.zeros(1, 2, 160, 160).double()
    images[..., 76:81, 74:79] = torch.randn(1, 2, 5, 5).double()
    shifted = torch.roll(images, (4, 4), (2, 3))
    there, back = net(images), torch.roll(net(shifted), (-4, -4), (2, 3))
    torch.testing.assert_close(there[..., 60:100, 60:100], back[..., 60:100, 60:100])


def test_padding_is_at_the_far_end_only():
    image = torch.arange(15.0).reshape(1, 1, 3, 5)
    seen = []

    def network(x):
        seen.append(x)
        return x

    assert torch.equal(on_multiple(image, 4, network), image)
    assert seen[0].shape == (1, 1, 4, 8)
    assert torch.equal(seen[0][..., :3, :5], image)
    assert torch.equal(seen[0][..., 3, :5], image[..., 2, :])


def convolutions(net):
    return [m for m in net.modules() if isinstance(m, nn.Conv3d)]


def test_the_default_is_the_network_of_voxelmorph():
    """Balakrishnan 2019, figure 3: 16-32-32-32 down, 32-32-32-32 up, 32-16-16 at the top."""
    layers = convolutions(StridedUNet(3, 1, 3))
    assert [c.out_channels for c in layers] == [16, 32, 32, 32, 32, 32, 32, 32, 32, 16, 16, 3]
    assert [c.in_channels for c in layers] == [1, 16, 32, 32, 32, 64, 64, 48, 33, 32, 16, 16]
    assert [c.stride[0] for c in layers] == [2] * 4 + [1] * 8
    assert {c.kernel_size for c in layers} == {(3, 3, 3)}
    slopes = {
        m.negative_slope for m in StridedUNet(3, 1, 3).modules() if isinstance(m, nn.LeakyReLU)
    }
    assert slopes == {0.2}


def test_the_plain_unet_has_the_size_of_ronneberger():
    """31.03 million parameters for one channel in and two classes out, as published code has."""
    count = sum(p.numel() for p in UNet(2, 1, 2).parameters())
    assert count == 31_030_658  # counted by hand from the layers of figure 1


@pytest.mark.parametrize("dimension", [2, 3])
def test_regressor_takes_any_shape(dimension):
    net = Regressor(dimension, 1, 7, encoder=(4, 8), hidden=16)
    for shape in (SHAPES[dimension], (16,) * dimension):
        numbers = net(torch.randn(2, 1, *shape))
        assert numbers.shape == (2, 7)
    numbers.sum().backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_bf16_autocast_and_channels_last_stay_close(kind):
    torch.manual_seed(1)
    net = small(kind, 3).eval()
    images = torch.randn(1, 2, 16, 16, 16)
    plain = net(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = net.to(memory_format=torch.channels_last_3d)(
            images.contiguous(memory_format=torch.channels_last_3d)
        )
    assert half.dtype == torch.bfloat16
    assert (half.float() - plain).abs().max() < 0.05 * plain.abs().max()


def test_unknown_parts_are_refused():
    with pytest.raises(UsageError, match="norm"):
        norm("layer", 2, 4)
    with pytest.raises(ValueError, match="level"):
        StridedUNet(2, 1, 1, encoder=(4,), decoder=(4, 4))
    with pytest.raises(ValueError, match="block"):
        UNet(2, 1, 1, block="triple")


def test_coarser_maps_are_those_of_the_whole_way_up_ended_early():
    """With ``coarser`` the maps have voxels twice as large, and lie from face to face."""
    torch.manual_seed(0)
    net = StridedUNet(2, 1, 3, encoder=(4, 6, 6), decoder=(6, 5), final=(4,), coarser=1)
    assert net(torch.randn(2, 1, 16, 24)).shape == (2, 3, 8, 12)
    with pytest.raises(ValueError, match="multiples of 8"):
        net(torch.randn(2, 1, 16, 20))
    with pytest.raises(ValueError, match="level"):
        StridedUNet(2, 1, 3, encoder=(4, 6), decoder=(6, 5), coarser=1)


def test_coarser_maps_of_tiles_are_those_of_the_whole():
    """Shifts by whole coarsest steps commute with the network, so tiles meet without a seam."""
    torch.manual_seed(0)
    net = StridedUNet(2, 1, 3, encoder=(4, 6), decoder=(6,), final=(4,), coarser=1).double()
    images = torch.randn(1, 1, 96, 160).double()
    with torch.no_grad():
        whole = net(images)
        tiled = tiled_maps(net, images, (96, 96), 32)
    assert tiled.shape == whole.shape == (1, 3, 48, 80)
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "settings", [{}, {"stride": 2, "kernel": 7}, {"groups": 2}, {"bias": False}]
)
def test_one_volume_is_convolved_as_torch_does(settings):
    """Without gradients oneDNN is asked at once; values and layout are those of torch."""
    torch.manual_seed(0)
    layer = conv(3, 4, 6, **settings)
    given = {"stride": layer.stride, "padding": layer.padding, "groups": layer.groups}
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        image = torch.randn(1, 4, 9, 10, 11).contiguous(memory_format=layout)
        true = torch.nn.functional.conv3d(image, layer.weight, layer.bias, **given)
        with torch.inference_mode():
            found = layer(image)
        torch.testing.assert_close(found, true.detach(), rtol=1e-4, atol=1e-5)
    assert layer(image).requires_grad
