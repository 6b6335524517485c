"""The branch of the Siamese network: the published U-Net, with its features looked at."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from anatomark.networks import siamese
from anatomark.networks.siamese import SiameseUNet, reach, tiles_of


@pytest.mark.parametrize(("dimension", "shape"), [(2, (40, 52)), (3, (16, 24, 20))])
def test_sizes_of_what_it_says(dimension, shape):
    network = SiameseUNet(dimension, 1, widths=(4, 6, 8), described=(1, 2)).eval()
    said = network(torch.randn(2, 1, *shape))
    assert said.logits.shape == (2, 1, *shape)
    padded = [n + -n % 4 for n in shape]
    assert said.strides == (2, 4)
    for level, stride, width in zip(said.levels, said.strides, (6, 8), strict=True):
        assert level.shape == (2, width, *(n // stride for n in padded))


def test_as_published():
    network = SiameseUNet(2, 1)
    steps = [network.unet.top, *network.unet.down]
    filters = [
        next(m.out_channels for m in s.modules() if hasattr(m, "out_channels")) for s in steps
    ]
    assert filters == [16, 32, 64, 128, 256]
    assert network.features == 128 + 256  # the last two blocks of the way down


def test_an_odd_size_is_the_corner_of_the_next_larger_one():
    torch.manual_seed(0)
    network = SiameseUNet(2, 1, widths=(4, 6, 8), described=(1, 2)).eval()
    image = torch.randn(1, 1, 30, 21)
    said = network(image)
    whole = network(functional.pad(image, (0, 3, 0, 2), mode="replicate"))
    assert torch.allclose(said.logits, whole.logits[..., :30, :21], atol=1e-6)


def test_unknown_levels_are_refused():
    with pytest.raises(ValueError, match="levels"):
        SiameseUNet(2, 1, widths=(4, 8), described=(2,))


# -- tiles -----------------------------------------------------------------------------------------


def learnt(dimension, **settings):
    """A network whose batch normalisation has seen something."""
    torch.manual_seed(0)
    network = SiameseUNet(dimension, 1, **settings).eval()
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
    return network


SMALL = {"widths": (4, 8, 8, 8), "described": (2, 3)}
TILED = [
    (2, (230, 301), 160, {}),  # the published widths
    (2, (90, 133), 48, {"widths": (4, 8, 12), "described": (1, 2)}),
    (3, (50, 41, 60), 32, SMALL),
]


@torch.inference_mode()
def furthest(network, image, side):
    """The largest difference between tiles and the whole, in standard deviations of each map."""
    whole, tiled = network(image), network.in_tiles(image, side=side)
    assert whole.strides == tiled.strides
    maps = zip((whole.logits, *whole.levels), (tiled.logits, *tiled.levels), strict=True)
    return max(float((one - other).abs().max() / one.std()) for one, other in maps)


@pytest.mark.parametrize(("dimension", "shape", "side", "settings"), TILED)
def test_tiles_say_what_the_whole_image_says(dimension, shape, side, settings, monkeypatch):
    network = learnt(dimension, **settings)
    image = torch.randn(2, 1, *shape)
    assert furthest(network, image, side) < 1e-4
    monkeypatch.setattr(siamese, "reach", lambda level: 1 << level)  # a quarter of it
    assert furthest(network, image, side) > 1e-2


@pytest.mark.parametrize("level", [1, 2, 3])
def test_features_depend_on_no_more_than_a_tile_sees(level):
    """The gradient of one voxel of a level says which pixels it depends on."""
    network = learnt(2, widths=(4, 4, 4, 4), described=(1,))
    for module in network.modules():  # through a rectifier or a maximum some would not show
        if isinstance(module, torch.nn.LeakyReLU):
            module.negative_slope, module.inplace = 0.5, False
    image = torch.randn(1, 1, 160, 160, requires_grad=True)
    block = 64 >> level
    network.unet.descend(image)[level][0, :, block, block].sum().backward()
    seen = image.grad[0, 0].abs().sum(1).nonzero()[:, 0]
    before, after = 64 - int(seen.min()), int(seen.max()) - (64 + (1 << level) - 1)
    # Of 3x3 convolutions, two at each level.
    assert max(before, after) <= 2 * (2 ** (level + 1) - 1) <= reach(level)
    assert min(before, after) > reach(level) / 4


def test_each_pixel_is_kept_once_and_tiles_are_of_even_size():
    counts = torch.zeros(400, 1312, dtype=torch.int)
    tiles = tiles_of(counts.shape, 512, 3)
    sizes = [part.stop - part.start for tile in tiles for part in tile.shown]
    for tile in tiles:
        counts[tile.kept] += 1
        assert all(part.start % 8 == 0 for part in tile.shown)
    assert counts.eq(1).all()
    assert (len(tiles), max(sizes)) == (3, 504)  # not 512 + 512 + what is left


def test_a_small_image_is_shown_whole_and_a_large_one_is_not(monkeypatch):
    network = learnt(2, **SMALL)
    seen = []
    monkeypatch.setattr(siamese, "_TILE", {2: 64})
    real = network.unet.descend
    monkeypatch.setattr(
        network.unet, "descend", lambda x, *rest: (seen.append(x.shape[-1]), real(x, *rest))[1]
    )
    image = torch.randn(1, 1, 96, 96)
    with torch.inference_mode():
        small = network.in_tiles(image)
        assert seen == [96]
        monkeypatch.setattr(siamese, "AT_ONCE", 96 * 96 - 1)
        large = network.in_tiles(image)
    assert max(seen[1:]) < 96
    assert torch.allclose(small.logits, large.logits, atol=1e-5)


def test_statistics_of_the_image_need_all_of_it():
    network = learnt(2, norm="instance", **SMALL)
    assert furthest(network, torch.randn(1, 1, 80, 80), 40) == 0
