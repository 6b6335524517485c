"""Losses and networks of the methods as one would first write them; results are the same."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from anatomark.bench.textbook import textbook
from anatomark.heads.pairing import Compared, Pairing
from anatomark.losses import l1_mm, l2_mm
from anatomark.methods.base import Batch, Maps, known
from anatomark.methods.fang2023 import Fang2023
from anatomark.methods.grewal2020 import Grewal2020
from anatomark.methods.noothout2020 import Noothout2020, Noothout2020Config
from anatomark.methods.zhu2021 import Zhu2021
from anatomark.networks.fcnn import LocalNets, PatchMaps


class PlainFang2023(Fang2023):
    """The distance map regularisation with a grid of coordinates."""

    def losses(self, out: Maps, batch: Batch) -> dict[str, Tensor]:
        """Eqs. 2, 3 and 5, as they are written."""
        target, _ = known(batch)
        found = textbook(out.maps, out.extent_mm, target)
        points = found.points_mm / (out.extent_mm[:, None] / 2)
        assert found.distance_mm is not None  # noqa: S101
        return {
            "l1": l1_mm(points, target, out.extent_mm),
            "l2": self.config.lambda1 * l2_mm(points, target, out.extent_mm),
            "distance": self.config.lambda2 * found.distance_mm,
        }


class PlainZhu2021(Zhu2021):
    """Cross-entropy of a softmax over the pixels against heatmaps that are built."""

    def losses(self, out: Maps, batch: Batch) -> dict[str, Tensor]:
        """Of each landmark, less the entropy of its heatmap."""
        target, _ = known(batch)
        high, wide = out.maps.shape[2:]
        rows = torch.arange(high, device=target.device) + 0.5
        columns = torch.arange(wide, device=target.device) + 0.5
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        place = (target + 1) / 2 * target.new_tensor([wide, high])
        square = (x - place[..., 0, None, None]) ** 2 + (y - place[..., 1, None, None]) ** 2
        heat = torch.exp(-square / (2 * (self.config.sigma / self.config.shrink) ** 2))
        heat = heat / heat.sum((2, 3), keepdim=True)
        said = out.maps.float().flatten(2).log_softmax(-1).view_as(heat)
        wrong = torch.special.xlogy(heat, heat) - heat * said
        return {"cross_entropy": wrong.sum((2, 3))}


class OneByOne(nn.Module):
    """The local networks of Noothout 2020, a landmark at a time."""

    patch = LocalNets.patch

    def __init__(self, together: LocalNets, c: Noothout2020Config) -> None:
        super().__init__()
        count = together.landmarks
        self.nets = nn.ModuleList()
        for i in range(count):
            one = LocalNets(
                together.dimension, 1, 1, widths=c.local_widths, head=c.local_head,
                displacement=c.displacement != "none", classify=c.classify,
            )  # fmt: skip
            own = {k: _part(v, i, count) for k, v in together.state_dict().items()}
            one.load_state_dict(own)
            self.nets.append(one)

    def forward(self, images: Tensor) -> PatchMaps:
        """Of sub-images ``(B, L, C, *shape)``, one for each landmark."""
        found = [net(images[:, i : i + 1]) for i, net in enumerate(self.nets)]
        return PatchMaps(*(torch.cat(kind, 1) for kind in zip(*found, strict=True)))


def _part(value: Tensor, number: int, count: int) -> Tensor:
    """What one landmark has of the weights of all."""
    return value.chunk(count)[number].clone() if value.ndim else value.clone()


class AllProducts(Pairing):
    """The matching layer of Grewal 2020 on the products of all pairs of descriptors, made first."""

    def forward(self, fixed: Tensor, moving: Tensor) -> Compared:
        """Compare descriptors ``(B, K1, C)`` with ``(B, K2, C)``."""
        fixed, moving = (f.float() / f.float().norm(dim=-1, keepdim=True) for f in (fixed, moving))
        with torch.autocast(fixed.device.type, enabled=False):
            product = fixed[:, :, None] * moving[:, None]
            apart = (fixed[:, :, None] - moving[:, None]).square().sum(-1)
            return Compared(self.layer(product)[..., 0], apart.clamp_min(1e-8).sqrt())


def one_by_one(method: Noothout2020) -> Noothout2020:
    """A copy whose local networks are apart."""
    plain: Any = copy.deepcopy(method)
    plain.local = OneByOne(plain.local, plain.config)
    return plain  # type: ignore[no-any-return]


def with_all_products(method: Grewal2020) -> Grewal2020:
    """A copy that compares descriptors pair by pair."""
    plain = copy.deepcopy(method)
    layer = AllProducts(plain.network.features)
    layer.load_state_dict(plain.pairing.state_dict())
    plain.pairing = layer
    return plain
