"""GU2Net: what is shared and what is not, the published number of weights, and no shifted pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from anatomark.methods import METHODS, Batch
from anatomark.methods.base import Maps
from anatomark.methods.zhu2021 import product
from anatomark.networks.gu2net import DomainConv, GU2Net, domain_of

PUBLISHED = {"head": 19, "hand": 37, "chest": 6}
FEW = {"head": 2, "chest": 3}


def count(network):
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("parts", "kind", "said"),
    [
        ("both", "separable", 4.4e6),
        ("local", "separable", 2.12e6),
        ("local", "shared", 17.3e6),
        ("local", "each", 51.92e6),
        ("global", "separable", 2.23e6),  # the paper says 1.35 M, its code makes 2.23 M
    ],
)
def test_as_many_weights_as_published(parts, kind, said):
    """Table 2 of the paper; for both networks 4.44 M, of which its own code makes 4.38 M."""
    assert count(GU2Net(1, PUBLISHED, parts=parts, kind=kind)) == pytest.approx(said, rel=0.005)


def test_a_separable_convolution_by_hand():
    """9·N weights a domain and N·M shared ones, as section 2.1 counts, and their sums."""
    torch.manual_seed(0)
    layer = DomainConv(3, 5, ["head", "hand"], "separable").eval()
    own = [p.numel() for n, p in layer.named_parameters() if "channelwise.of-hand.weight" in n]
    shared = [p.numel() for n, p in layer.named_parameters() if n == "pointwise.weight"]
    assert (own, shared) == ([9 * 3], [3 * 5])
    norm = layer.norm["of-hand"]
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    x = torch.randn(1, 3, 6, 7)
    padded = np.pad(x[0].numpy(), [(0, 0), (1, 1), (1, 1)]).astype(np.float64)
    filters = layer.channelwise["of-hand"]
    between = np.zeros((3, 6, 7))
    for c in range(3):
        kernel = filters.weight[c, 0].detach().numpy()
        for i in range(6):
            for j in range(7):
                between[c, i, j] = (padded[c, i : i + 3, j : j + 3] * kernel).sum()
        between[c] += float(filters.bias[c].detach())
    mixed = np.einsum("mn,nij->mij", layer.pointwise.weight[:, :, 0, 0].detach().numpy(), between)
    mixed += layer.pointwise.bias.detach().numpy()[:, None, None]
    mean, var = (v.numpy()[:, None, None] for v in (norm.running_mean, norm.running_var))
    normed = (mixed - mean) / np.sqrt(var + norm.eps)
    wanted = np.where(normed > 0, normed, 0.01 * normed)
    np.testing.assert_allclose(layer(x, "hand")[0].detach(), wanted, atol=1e-5)


@pytest.mark.parametrize("kind", ["separable", "adapted", "shared", "each"])
def test_a_domain_moves_its_own_and_the_shared_weights_only(kind):
    torch.manual_seed(0)
    network = GU2Net(1, FEW, kind=kind, widths=(4, 6), global_width=4)
    out = network(torch.randn(2, 1, 16, 24), "chest")
    sum(maps.square().sum() for maps in out).backward()
    moved = {name for name, p in network.named_parameters() if p.grad is not None}
    owners = {domain_of(name) for name in moved}
    assert "head" not in owners
    assert owners == ({"chest"} if kind == "each" else {"chest", None})
    everything = {domain_of(name) for name, _ in network.named_parameters()}
    assert everything == owners | {"head"}


def test_each_domain_has_maps_of_its_own_landmarks():
    network = GU2Net(1, FEW, widths=(4, 6), global_width=4)
    for domain, landmarks in FEW.items():
        local, whole = network(torch.randn(1, 1, 21, 30), domain)
        assert local.shape == whole.shape == (1, landmarks, 21, 30)


@pytest.mark.parametrize("parts", ["both", "local", "global"])
@pytest.mark.parametrize("shrink", [1, 2, 4])
def test_no_layer_moves_a_pixel(parts, shrink):
    """With symmetric filters the maps of a mirrored image are the mirrored maps."""
    torch.manual_seed(0)
    network = GU2Net(
        1, {"head": 2}, parts=parts, widths=(4, 4, 4), shrink=shrink, global_width=4
    ).eval()
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim == 4:
                weight.copy_((weight + weight.flip(3)) / 2)
                weight.copy_((weight + weight.flip(2)) / 2)
    image = torch.randn(1, 1, 64, 96)
    for maps, mirrored in zip(network(image, "head"), network(image.flip(3), "head"), strict=True):
        if maps is not None:
            assert maps.shape[2:] == (64 // shrink, 96 // shrink)
            torch.testing.assert_close(mirrored.flip(3), maps)
    for maps, mirrored in zip(network(image, "head"), network(image.flip(2), "head"), strict=True):
        if maps is not None:
            torch.testing.assert_close(mirrored.flip(2), maps)


# -- the method ----------------------------------------------------------------------------------


def test_the_product_of_two_heatmaps_is_exact_at_both_ends():
    a = torch.tensor([-90.0, -3.0, 0.0, 2.0, 40.0, 90.0]).double()
    both = torch.cartesian_prod(a, a)
    z = product(both[:, 0], both[:, 1])
    naive = both[:, 0].sigmoid() * both[:, 1].sigmoid()
    torch.testing.assert_close(z.sigmoid(), naive)
    assert product(both[:, 0].float(), both[:, 1].float()).isfinite().all()
    moderate = both.abs().max(1).values < 30
    torch.testing.assert_close(z[moderate], torch.logit(naive[moderate]))


@pytest.mark.parametrize("height", [1.0, 0.133])
def test_the_loss_is_equation_4_of_built_heatmaps(height):
    """Gaussians are round in pixels, whatever the pixels are in millimetres."""
    torch.manual_seed(0)
    kind = METHODS["zhu2021"]
    config = kind.Config(widths=(4, 4), global_width=4, sigma=2.0, height=height)
    method = kind(config, landmarks=2, dimension=2, channels=1).double()
    size = torch.tensor([20.0, 14.0], dtype=torch.float64)
    points = torch.rand(3, 2, 2).double() * 1.6 - 0.8
    batch = Batch(
        torch.randn(3, 1, 14, 20).double(), torch.tensor([[50.0, 90.0]] * 3).double(), points,
        torch.ones(3, 2).bool(),
    )  # fmt: skip
    out = method(batch)
    found = method.losses(out, batch)["binary"]
    wanted = torch.zeros(3, 2).double()
    index = (points + 1) / 2 * size - 0.5
    heat = out.maps.sigmoid()
    for b in range(3):
        for k in range(2):
            for y in range(14):
                for x in range(20):
                    apart = (x - index[b, k, 0]) ** 2 + (y - index[b, k, 1]) ** 2
                    true = height * torch.exp(-apart / (2 * 2.0**2))
                    wanted[b, k] += functional.binary_cross_entropy(heat[b, k, y, x], true)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("offset", [0.0, 0.1, 0.25, 0.4, 0.49])
def test_the_decoder_finds_parts_of_a_pixel(offset):
    """An ideal heatmap: nothing of its Gaussian is cut, or points would go to middles of pixels."""
    kind = METHODS["zhu2021"]
    method = kind(kind.Config(widths=(4, 4)), landmarks=1, dimension=2, channels=1)
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(80.0), indexing="ij")
    heat = torch.exp(-((x - 40 - offset) ** 2 + (y - 30 + offset) ** 2) / (2 * 3.0**2))
    maps = torch.logit(heat.clamp(1e-6, 1 - 1e-6))[None, None]
    found = method.predict(Maps(maps, torch.tensor([[80.0, 64.0]])))
    index = (found.points[0, 0] + 1) / 2 * torch.tensor([80.0, 64.0]) - 0.5
    assert (index - torch.tensor([40 + offset, 30 - offset])).abs().max() < 0.02
    assert found.covariance_mm2[0, 0, 0, 0] == pytest.approx(9, rel=0.1)
