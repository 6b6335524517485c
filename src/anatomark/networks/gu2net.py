"""GU2Net (Zhu 2021): a U-Net that several body parts share, and a global network for each.

Layers that belong to one domain are kept by its name, in modules called ``of-NAME``; what has no
such module on its path is shared by all domains.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from anatomark.networks.blocks import on_multiple

Convolutions = Literal["separable", "adapted", "shared", "each"]
_OWN = "of-"


def domain_of(key: str) -> str | None:
    """The domain that a parameter of a state belongs to; ``None`` where all share it."""
    own = [part for part in key.split(".") if part.startswith(_OWN)]
    return own[0].removeprefix(_OWN) if own else None


def in_domain(key: str, domain: str) -> str:
    """The same parameter, of another domain."""
    parts = key.split(".")
    return ".".join(f"{_OWN}{domain}" if part.startswith(_OWN) else part for part in parts)


class Own(nn.ModuleDict):
    """One layer for each domain."""

    def __init__(self, domains: Sequence[str], make: Callable[[str], nn.Module]) -> None:
        super().__init__({f"{_OWN}{domain}": make(domain) for domain in domains})

    def forward(self, x: Tensor, domain: str) -> Tensor:
        """The layer of ``domain`` on ``x``."""
        out: Tensor = self[f"{_OWN}{domain}"](x)
        return out


class DomainConv(nn.Module):
    """A 3×3 convolution, batch normalisation and a leaky rectifier.

    ``separable``: a domain has its own filter for each channel and its own normalisation, the
    mixing of channels is shared. ``adapted``: only the normalisation is its own. ``shared``:
    nothing is. ``each``: all is.
    """

    def __init__(
        self, inputs: int, outputs: int, domains: Sequence[str], kind: Convolutions
    ) -> None:
        super().__init__()
        self.kind = kind
        if kind == "shared":
            self.whole: nn.Module = _filters(inputs, outputs)
            self.norm: nn.Module = nn.BatchNorm2d(outputs)
            return
        self.norm = Own(domains, lambda _: nn.BatchNorm2d(outputs))
        if kind == "adapted":
            self.whole = _filters(inputs, outputs)
        elif kind == "each":
            self.whole = Own(domains, lambda _: _filters(inputs, outputs))
        else:
            self.channelwise = Own(domains, lambda _: _filters(inputs, inputs, groups=inputs))
            self.pointwise = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, domain: str) -> Tensor:
        """Features ``(B, outputs, H, W)``."""
        if self.kind == "shared":
            x = self.norm(self.whole(x))
        elif self.kind == "adapted":
            x = self.norm(self.whole(x), domain)
        elif self.kind == "each":
            x = self.norm(self.whole(x, domain), domain)
        else:
            x = self.norm(self.pointwise(self.channelwise(x, domain)), domain)
        return functional.leaky_relu(x, 0.01, inplace=True)


def _filters(inputs: int, outputs: int, *, groups: int = 1) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 3, padding=1, groups=groups)


class Double(nn.Module):
    """Two such convolutions."""

    def __init__(
        self, inputs: int, middle: int, outputs: int, domains: Sequence[str], kind: Convolutions
    ) -> None:
        super().__init__()
        self.first = DomainConv(inputs, middle, domains, kind)
        self.second = DomainConv(middle, outputs, domains, kind)

    def forward(self, x: Tensor, domain: str) -> Tensor:
        """Features ``(B, outputs, H, W)``."""
        out: Tensor = self.second(self.first(x, domain), domain)
        return out


class LocalNet(nn.Module):
    """The U-Net: pooling down, bilinear up, ``shrink`` times fewer pixels along an axis than seen.

    A domain's own first layer makes features of its images, its own last one maps of its
    landmarks. The layer that shrinks covers twice its step, so that no pixel moves.
    """

    def __init__(
        self,
        inputs: int,
        outputs: Mapping[str, int],
        *,
        widths: Sequence[int] = (64, 128, 256, 512, 512),
        kind: Convolutions = "separable",
        shrink: int = 1,
    ) -> None:
        super().__init__()
        domains, top = list(outputs), widths[0]

        def first(_: str) -> nn.Module:
            if shrink == 1:
                return nn.Conv2d(inputs, top, 1)
            return nn.Conv2d(inputs, top, 2 * shrink, stride=shrink, padding=shrink // 2)

        self.first = Own(domains, first)
        self.top = Double(top, top, top, domains, kind)
        self.down = nn.ModuleList(Double(a, b, b, domains, kind) for a, b in pairwise(widths))
        self.up = nn.ModuleList()
        below = widths[-1]
        for level in range(len(widths) - 2, -1, -1):
            both, above = below + widths[level], widths[max(level - 1, 0)]
            self.up.append(Double(both, both // 2, above, domains, kind))
            below = above
        self.last = Own(domains, lambda domain: nn.Conv2d(below, outputs[domain], 1))

    def forward(self, x: Tensor, domain: str) -> Tensor:
        """Logits ``(B, L, H / shrink, W / shrink)`` of images ``(B, C, H, W)``."""
        x = self.top(self.first(x, domain), domain)
        skips = []
        for step in self.down:
            skips.append(x)
            x = step(functional.max_pool2d(x, 2), domain)
        for step, skip in zip(self.up, reversed(skips), strict=True):
            x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = step(torch.cat([skip, x], 1), domain)
        logits: Tensor = self.last(x, domain)
        return logits


class GlobalNet(nn.Module):
    """Dilated convolutions over the image, and the local maps where there are some, made coarse.

    Nothing is shared. The published code takes every fourth pixel and repeats it on the way back;
    here means are taken, and the way back is bilinear: no map moves against the other.
    """

    def __init__(
        self,
        inputs: int,
        outputs: Mapping[str, int],
        *,
        width: int = 128,
        dilations: Sequence[int] = (1, 2, 5, 2, 1),
        factor: int = 4,
        maps: bool = True,
    ) -> None:
        super().__init__()
        domains = list(outputs)
        self.factor = factor
        part = width // 2 if maps else width
        self.image = Own(domains, lambda _: _filters(inputs, part))
        self.maps = Own(domains, lambda d: _filters(outputs[d], width - part)) if maps else None
        self.body = Own(domains, lambda _: _dilated(width, dilations))
        self.last = Own(domains, lambda domain: nn.Conv2d(width, outputs[domain], 1))

    def forward(self, images: Tensor, maps: Tensor | None, domain: str) -> Tensor:
        """Logits ``(B, L, H / factor, W / factor)``; ``maps`` are logits of any finer size."""
        size = (images.shape[2] // self.factor, images.shape[3] // self.factor)
        x = self.image(functional.adaptive_avg_pool2d(images, size), domain)
        if self.maps is not None and maps is not None:
            heat = functional.adaptive_avg_pool2d(maps.sigmoid(), size)
            x = torch.cat([x, self.maps(heat, domain)], 1)
        logits: Tensor = self.last(self.body(x, domain), domain)
        return logits


def _dilated(width: int, dilations: Sequence[int]) -> nn.Module:
    layers: list[nn.Module] = []
    for dilation in dilations:
        layers += [
            nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(0.01, inplace=True),
        ]
    return nn.Sequential(*layers)


class TwoLogits(NamedTuple):
    """Logits of the two networks on one grid; ``None`` where there is no such network."""

    local: Tensor | None
    whole: Tensor | None


class GU2Net(nn.Module):
    """Both networks, or one of them."""

    def __init__(
        self,
        inputs: int,
        outputs: Mapping[str, int],
        *,
        parts: Literal["both", "local", "global"] = "both",
        kind: Convolutions = "separable",
        widths: Sequence[int] = (64, 128, 256, 512, 512),
        shrink: int = 1,
        global_width: int = 128,
        dilations: Sequence[int] = (1, 2, 5, 2, 1),
    ) -> None:
        super().__init__()
        self.domains = tuple(outputs)
        self.shrink, self.multiple = shrink, 1
        self.local = self.whole = None
        if parts != "global":
            self.local = LocalNet(inputs, outputs, widths=widths, kind=kind, shrink=shrink)
            self.multiple = shrink * 2 ** (len(widths) - 1)
        if parts != "local":
            factor = 4 * shrink
            self.whole = GlobalNet(
                inputs, outputs, width=global_width, dilations=dilations, factor=factor,
                maps=parts == "both",
            )  # fmt: skip
            self.multiple = max(self.multiple, factor)

    def forward(self, images: Tensor, domain: str) -> TwoLogits:
        """Of images ``(B, C, H, W)``, maps ``(B, L, H / shrink, W / shrink)``."""
        if self.shrink == 1:
            both = on_multiple(images, self.multiple, lambda x: self._both(x, domain))
        else:
            both = self._both(images, domain)
        if self.local is None or self.whole is None:
            return TwoLogits(None, both) if self.local is None else TwoLogits(both, None)
        return TwoLogits(*both.chunk(2, 1))

    def _both(self, images: Tensor, domain: str) -> Tensor:
        """The logits there are, one after the other along the channels."""
        size = [n // self.shrink for n in images.shape[2:]]
        local = None if self.local is None else self.local(images, domain)
        if self.whole is None:
            return there(local)
        coarse = self.whole(images, local, domain)
        whole = functional.interpolate(coarse, size=size, mode="bilinear", align_corners=False)
        return whole if local is None else torch.cat([local, whole], 1)


def there(maps: Tensor | None) -> Tensor:
    """The maps of the only network there is."""
    if maps is None:
        raise TypeError("a network without any part")
    return maps
