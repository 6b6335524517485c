"""Strong augmentation of a batch, against one sample and one change at a time in the same run.

    python benchmarks/augmentation.py [cpu|cuda]

Both do every change of the preset to every sample (all probabilities 1). The textbook way
resamples for the affine map, for the elastic one and for the crop, and blurs by convolution.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from anatomark.augment import AugmentConfig, Drawn, apply, draw, preset

REPEATS = 7
BATCHES = {"4 films 512×512": (4, (512, 512)), "2 volumes 64×128×128": (2, (64, 128, 128))}


def certain(dimension: int) -> AugmentConfig:
    names = [k for k in AugmentConfig.model_fields if k.endswith("_probability")]
    update = {k: 1.0 for k in names if not k.startswith(("flip", "invert"))}
    return preset("strong", dimension).model_copy(update=update)


def smooth(controls: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A lattice brought to the size of the image, as most code has it."""
    mode = "bicubic" if len(shape) == 2 else "trilinear"
    return functional.interpolate(controls, shape, mode=mode, align_corners=True)


def blurred(image: Tensor, sigma: float) -> Tensor:
    reach = int(4 * sigma + 0.5)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=image.device) / sigma) ** 2)
    kernel = kernel / kernel.sum()
    dim = image.ndim - 2
    conv = functional.conv2d if dim == 2 else functional.conv3d
    for axis in range(dim):
        pad = [0] * (2 * dim)
        pad[2 * axis] = pad[2 * axis + 1] = reach
        shape = [1] * (dim + 2)
        shape[-1 - axis] = len(kernel)
        image = conv(functional.pad(image, pad, mode="replicate"), kernel.reshape(shape))
    return image


def warped(image: Tensor, drawn: Drawn, b: int) -> Tensor:
    s, shape = drawn.spatial, image.shape[2:]
    half = s.extent_mm[b] / 2
    inverse = torch.linalg.inv(s.matrix[b]) / half[:, None] * half
    shift = torch.linalg.inv(s.matrix[b]) @ -s.offset_mm[b] / half
    theta = torch.cat([inverse, shift[:, None]], 1)[None].to(image)
    grid = functional.affine_grid(theta, list(image.shape), align_corners=False)
    image = functional.grid_sample(image, grid, padding_mode="border", align_corners=False)
    still = torch.eye(len(half), len(half) + 1)[None].to(image)
    grid = functional.affine_grid(still, list(image.shape), align_corners=False)
    part = (s.controls_mm[b] / half.reshape(-1, *[1] * len(half)))[None].to(image)
    grid = grid + smooth(part, tuple(shape)).movedim(1, -1)
    image = functional.grid_sample(image, grid, padding_mode="border", align_corners=False)
    theta = torch.cat([torch.diag(s.zoom[b]), s.shift[b][:, None]], 1)[None].to(image)
    grid = functional.affine_grid(theta, list(image.shape), align_corners=False)
    return functional.grid_sample(image, grid, padding_mode="border", align_corners=False)


def textbook(drawn: Drawn, images: Tensor) -> Tensor:
    done, dim = [], images.ndim - 2
    i = drawn.intensity
    for b in range(len(images)):
        x = warped(images[b : b + 1], drawn, b)
        low, span = x.min(), x.max() - x.min()
        x = ((x - low) / span).clamp(0, 1) ** float(i.gamma[b])
        x = (x - 0.5) * float(i.contrast[b]) + 0.5 + float(i.brightness[b])
        x = x * smooth(i.bias[b : b + 1].to(x), tuple(x.shape[2:])).exp()
        x = blurred(x, float(i.blur[b]))
        factors = i.coarser[b].flip(0).tolist()
        fewer = [max(round(n / f), 1) for n, f in zip(x.shape[2:], factors, strict=True)]
        x = smooth(functional.interpolate(x, fewer, mode="area"), tuple(x.shape[2:]))
        x = x + float(i.noise[b]) * torch.randn_like(x)
        for box, value in zip(i.boxes[b].tolist(), i.box_values[b].tolist(), strict=True):
            ends = [
                [math.ceil((end + 1) / 2 * n - 0.5) for end in axis]
                for axis, n in zip(box, x.shape[:1:-1], strict=True)
            ]
            x[(..., *[slice(*pair) for pair in reversed(ends)])] = value
        done.append(x * span + low)
    assert done[0].ndim == dim + 2
    return torch.cat(done)


def measure(work: Callable[[], object], device: str) -> float:
    times = []
    for repeat in range(REPEATS + 1):
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        if repeat:  # the first one warms up
            times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def main() -> None:
    device = sys.argv[1] if len(sys.argv) > 1 else "cpu"
    print(f"{device}, {torch.get_num_threads()} threads, median of {REPEATS}")
    for title, (batch, shape) in BATCHES.items():
        dim, extent = len(shape), [float(n) for n in reversed(shape)]
        images = torch.rand(batch, 1, *shape, device=device)
        points = torch.rand(batch, 20, dim, device=device) - 0.5
        config, source = certain(dim), torch.Generator().manual_seed(0)

        def new(
            config: AugmentConfig = config,
            batch: int = batch,
            dim: int = dim,
            extent: list[float] = extent,
            source: torch.Generator = source,
        ) -> Drawn:
            return draw(config, batch, dim, extent_mm=extent, generator=source)

        with torch.no_grad():
            naive = measure(lambda: textbook(new(), images), device)  # noqa: B023
            ours = measure(lambda: apply(new(), images, points), device)  # noqa: B023
            drawing = measure(new, device)
            moving = measure(lambda: apply(new(), images[..., :1, :1], points), device)  # noqa: B023
        print(f"{title}: textbook {naive:.1f} ms, anatomark {ours:.1f} ms ({naive / ours:.2f}×)")
        print(f"    of which drawing {drawing:.1f} ms, drawing and points {moving:.1f} ms")


if __name__ == "__main__":
    main()
