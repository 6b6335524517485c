"""The patch networks of Noothout 2020: size, patches, tiles, groups."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from anatomark.networks.fcnn import LocalNets, PatchNet

SMALL = {"widths": (4, 4, 6, 6, 8), "pairs": (3, 1, 1, 1), "head": 8}


def weights(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_the_published_network_has_the_layers_of_the_paper():
    net = PatchNet(3, 1, 8)
    convs = [m for m in net.modules() if isinstance(m, nn.Conv3d)]
    body = [m for m in convs if m.kernel_size == (3, 3, 3)]
    assert [m.out_channels for m in body] == [32] * 6 + [64] * 8 + [128] * 12 + [256] * 6
    first = [m for m in convs if m.kernel_size == (7, 7, 7)]
    assert [(m.out_channels, m.stride) for m in first] == [(16, (2, 2, 2))]
    heads = [m.out_channels for head in (net.displacement, net.presence) for m in head
             if isinstance(m, nn.Conv3d)]  # fmt: skip
    assert heads == [256, 256, 24, 256, 256, 8]
    assert sum(isinstance(m, nn.AvgPool3d) for m in net.modules()) == 2
    assert net.patch == 8
    flat = PatchNet(2, 1, 19)
    assert sum(isinstance(m, nn.AvgPool2d) for m in flat.modules()) == 4
    assert flat.patch == 32


def test_a_local_network_has_the_layers_of_the_paper():
    net = LocalNets(3, 1, 1)
    convs = [m for m in net.modules() if isinstance(m, nn.Conv3d)]
    body = [m.out_channels for m in convs if m.kernel_size == (3, 3, 3)]
    assert body == [32, 32, 64, 64]
    heads = [m.out_channels for head in (net.displacement, net.presence) for m in head
             if isinstance(m, nn.Conv3d)]  # fmt: skip
    assert heads == [64, 64, 3, 64, 64, 1]


@pytest.mark.parametrize(("shape", "patches"), [((32, 64), (1, 2)), ((33, 70), (2, 3))])
def test_there_is_an_answer_for_every_patch(shape, patches):
    found = PatchNet(2, 1, 3, **SMALL).eval()(torch.randn(2, 1, *shape))
    assert found.displacement.shape == (2, 3, 2, *patches)
    assert found.logits.shape == (2, 3, *patches)


def stirred(net: nn.Module) -> nn.Module:
    """Normalisation that is not that of a fresh network, so that shifts at borders show."""
    for layer in net.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(layer.running_mean, -0.5, 0.5)
            nn.init.uniform_(layer.bias, -0.5, 0.5)
    return net.eval()


@pytest.mark.parametrize(("dimension", "shape"), [(2, (224, 416)), (3, (64, 64, 168))])
def test_tiles_give_the_features_of_the_whole(dimension, shape):
    torch.manual_seed(0)
    net = stirred(PatchNet(dimension, 1, 3, **{**SMALL, "pairs": (3, 1, 1, 1)})).double()
    image = torch.randn(1, 1, *shape, dtype=torch.float64)
    with torch.no_grad():
        whole = net.top(image)
        at_once = image.numel() // 3
        tiled = net._features(image, at_once)
        assert torch.equal(net._features(image), whole)
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-12)


def test_a_smaller_halo_would_show():
    """The halo is what is needed, up to a patch: without it, borders of tiles differ."""
    torch.manual_seed(0)
    net = stirred(PatchNet(2, 1, 3, **SMALL)).double()
    image = torch.randn(1, 1, 64, 416, dtype=torch.float64)
    net.halo = 0
    with torch.no_grad():
        assert not torch.allclose(net._features(image, image.numel() // 3), net.top(image))


def test_the_local_networks_do_not_see_each_other():
    """Grouped, they are what each of them would be by itself."""
    torch.manual_seed(0)
    net = stirred(LocalNets(2, 2, 3, widths=(4, 6), head=5))
    images = torch.randn(2, 3, 2, 8, 8)
    with torch.no_grad():
        found = net(images)
        other = images.clone()
        other[:, 1] = torch.randn(2, 2, 8, 8)
        changed = net(other)
    same = [0, 2]
    assert torch.equal(found.logits[:, same], changed.logits[:, same])
    assert torch.equal(found.displacement[:, same], changed.displacement[:, same])
    assert not torch.equal(found.logits[:, 1], changed.logits[:, 1])
    one = LocalNets(2, 2, 1, widths=(4, 6), head=5)
    state = {k: _third(v, 2) for k, v in net.state_dict().items()}
    one.load_state_dict(state)
    with torch.no_grad():
        alone = one.eval()(images[:, 2:])
    torch.testing.assert_close(alone.logits, found.logits[:, 2:])
    torch.testing.assert_close(alone.displacement, found.displacement[:, 2:])


def _third(values: torch.Tensor, row: int) -> torch.Tensor:
    if values.ndim == 0:
        return values
    return values.chunk(3)[row]
