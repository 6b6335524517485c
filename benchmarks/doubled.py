"""A convolution over doubled features: folded onto the small grid, against the textbook.

    python benchmarks/doubled.py

The sizes are those of the last level of VoxelMorph's U-Net: 32 features doubled, the image beside
them. Both in one process, one after the other, the fastest of five.
"""

from __future__ import annotations

import time

import torch
from torch.nn import functional

from anatomark.models.device import keep_freed_memory
from anatomark.networks.doubled import doubled_conv


def textbook(below, skip, weight, bias):
    doubled = functional.interpolate(below, scale_factor=2, mode="nearest")
    return functional.conv3d(torch.cat([doubled, skip], 1), weight, bias, padding=1)


def seconds(work) -> float:
    work()
    found = []
    for _ in range(5):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def main() -> None:
    keep_freed_memory()
    torch.manual_seed(0)
    layout = torch.channels_last_3d
    for batch, small in ((4, (16, 32, 32)), (1, (48, 48, 48))):
        below = torch.randn(batch, 32, *small).contiguous(memory_format=layout).requires_grad_()
        skip = torch.randn(batch, 1, *(2 * n for n in small))
        weight = torch.randn(32, 33, 3, 3, 3).div_(30).requires_grad_()
        bias = torch.zeros(32, requires_grad=True)
        given = (below, skip, weight, bias)
        apart = (doubled_conv(*given) - textbook(*given)).abs().max().item()
        said = f"{batch} × {'×'.join(str(2 * n) for n in small)}"
        print(f"{said}: largest difference {apart:.1e}")
        with torch.inference_mode():
            forward = [seconds(lambda f=f, g=given: f(*g)) for f in (textbook, doubled_conv)]

        def step(f, given=given):
            out = f(*given)
            out.backward(out.detach())

        both = [seconds(lambda f=f: step(f)) for f in (textbook, doubled_conv)]
        for what, (plain, ours) in (("forward", forward), ("forward and backward", both)):
            times = f"textbook {1e3 * plain:.0f} ms, folded {1e3 * ours:.0f} ms"
            print(f"  {what}: {times}, {plain / ours:.1f}× faster")


if __name__ == "__main__":
    main()
