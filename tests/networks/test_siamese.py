"""The branch of the Siamese network: the published U-Net, with its features looked at."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from anatomark.networks.siamese import SiameseUNet


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
