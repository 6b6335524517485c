"""Building blocks for 2D and 3D alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from anatomark.errors import UsageError
from anatomark.networks.doubled import doubled_conv

Norm = Literal["none", "batch", "instance"]


class Conv3d(nn.Conv3d):
    """The same, sooner for one volume at a time on a processor.

    Torch hands small features of a batch of one to a plain loop; oneDNN takes a third of the time.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002  # the name of the base class
        alone = len(input) == 1 and input.device.type == "cpu" and input.dtype == torch.float32
        plain = torch.is_grad_enabled() or torch.is_autocast_enabled("cpu")
        if not alone or plain or isinstance(self.padding, str) or not _ONEDNN:
            usual: Tensor = super()._conv_forward(input, weight, bias)
            return usual
        out: Tensor = torch.mkldnn_convolution(
            input, weight, bias, self.padding, self.stride, self.dilation, self.groups
        )
        return out


_ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
_CONV: dict[int, Any] = {2: nn.Conv2d, 3: Conv3d}
_CONV_UP: dict[int, Any] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_POOL: dict[int, Any] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
_NORM: dict[str, dict[int, Any]] = {
    "batch": {2: nn.BatchNorm2d, 3: nn.BatchNorm3d},
    "instance": {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d},
}


def conv(
    dimension: int,
    inputs: int,
    outputs: int,
    *,
    kernel: int = 3,
    stride: int = 1,
    bias: bool = True,
    groups: int = 1,
) -> nn.Module:
    """Convolution with zero padding that keeps the size (at stride 1)."""
    made: nn.Module = _CONV[dimension](
        inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=bias, groups=groups
    )
    return made


def conv_up(dimension: int, inputs: int, outputs: int) -> nn.Module:
    """Transposed convolution that doubles the size."""
    made: nn.Module = _CONV_UP[dimension](inputs, outputs, 2, stride=2)
    return made


def max_pool(dimension: int) -> nn.Module:
    """Maximum over 2 voxels along each axis."""
    made: nn.Module = _POOL[dimension](2)
    return made


def norm(kind: Norm, dimension: int, channels: int) -> nn.Module:
    """Batch or instance normalisation with learned scale and shift, or nothing."""
    if kind == "none":
        return nn.Identity()
    if kind not in _NORM:
        raise UsageError(f"norm is 'none', 'batch' or 'instance', not {kind!r}")
    made: nn.Module = _NORM[kind][dimension](channels, affine=True)
    return made


class ConvAct(nn.Sequential):
    """Convolution, normalisation, leaky rectifier."""

    def __init__(
        self,
        dimension: int,
        inputs: int,
        outputs: int,
        *,
        stride: int = 1,
        norm_kind: Norm = "none",
        slope: float = 0.2,
        groups: int = 1,
    ) -> None:
        super().__init__(
            conv(
                dimension, inputs, outputs, stride=stride, bias=norm_kind == "none", groups=groups
            ),
            norm(norm_kind, dimension, outputs),
            nn.LeakyReLU(slope, inplace=True),
        )

    def over_doubled(self, below: Tensor, skip: Tensor) -> Tensor:
        """The same as of ``below``, doubled by nearest neighbours, with ``skip`` beside it."""
        convolution: Any = self[0]
        summed = doubled_conv(below, skip, convolution.weight, convolution.bias)
        out: Tensor = self[2](self[1](summed))
        return out


class Residual(nn.Module):
    """Two convolutions and a way around them (He 2016), rectified after the sum.

    With ``groups``, as many such blocks side by side: channels are counted for one of them.
    """

    def __init__(
        self,
        dimension: int,
        inputs: int,
        outputs: int,
        *,
        stride: int = 1,
        norm_kind: Norm = "instance",
        slope: float = 0.01,
        groups: int = 1,
    ) -> None:
        super().__init__()
        bias = norm_kind == "none"
        inputs, outputs = inputs * groups, outputs * groups
        self.body = nn.Sequential(
            ConvAct(
                dimension,
                inputs,
                outputs,
                stride=stride,
                norm_kind=norm_kind,
                slope=slope,
                groups=groups,
            ),
            conv(dimension, outputs, outputs, bias=bias, groups=groups),
            norm(norm_kind, dimension, outputs),
        )
        self.around: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.around = nn.Sequential(
                conv(dimension, inputs, outputs, kernel=1, stride=stride, bias=bias, groups=groups),
                norm(norm_kind, dimension, outputs),
            )
        self.act = nn.LeakyReLU(slope, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(B, outputs, *shape)``, halved where ``stride`` is 2."""
        out: Tensor = self.act(self.body(x) + self.around(x))
        return out


def on_multiple(x: Tensor, multiple: int, network: Callable[[Tensor], Tensor]) -> Tensor:
    """Run ``network`` on ``x`` extended to a multiple of so many voxels, and cut the result back.

    The border is repeated at the far end of each axis only, so that no voxel changes its index.
    """
    return cut_back(network(extended(x, multiple)), x)


def extended(x: Tensor, multiple: int) -> Tensor:
    """``x`` with its border repeated at the far ends, up to a multiple of so many voxels."""
    after = [-n % multiple for n in x.shape[2:]]
    if not any(after):
        return x
    widths = [w for n in reversed(after) for w in (0, n)]
    return functional.pad(x, widths, mode="replicate")


def cut_back(out: Tensor, x: Tensor) -> Tensor:
    """The part of ``out`` that has the size of ``x``, from the near corner."""
    if out.shape[2:] == x.shape[2:]:
        return out
    box: Any = (..., *(slice(n) for n in x.shape[2:]))
    return out[box]
