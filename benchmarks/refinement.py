"""Refinement of MR onto ultrasound: the search by values against gradients, from the same starts.

    python benchmarks/refinement.py [--pairs 6] [--around 25]

Phantom pairs of 32×64×64 and 64³ voxels, started 4, 8 and 12 mm off (surface error) in random
directions, compared where the ultrasound shows something; with ``--around`` only so many mm from
its true landmarks.
The other one is ITK's regular step gradient descent on Mattes mutual information, at the same
levels, in the same region, with the samples that it is usually given.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import SimpleITK as sitk

from anatomark.datasets.phantoms.prostate.pair import prostate_pair
from anatomark.io.transforms.itk_transforms import from_sitk, to_sitk
from anatomark.maps import Affine, Chain
from anatomark.pipelines.registration.study import GlandPair, gland_pair, off_by, refined
from anatomark.registration.intensity import Settings
from anatomark.registration.itk_images import compared, sitk_image
from anatomark.registration.mutual import BINS, coarser
from anatomark.registration.regions import around

STARTS_MM, SUCCESS_MM, LEVELS = (4.0, 8.0, 12.0), 5.0, (2, 1)


def by_gradient(pair: GlandPair, start: Affine, region: Any) -> float:
    """Surface error after gradient descent."""
    fixed, moving = pair.fixed.image, pair.moving.image
    mask = compared(fixed, region, view=True)
    images = [sitk_image(i) for i in (fixed, moving)]
    transform = sitk.Euler3DTransform()
    index = np.argwhere(region.array)[:, ::-1].mean(axis=0)
    transform.SetCenter(fixed.grid.to_world(index[None])[0].tolist())
    for level in LEVELS:
        first, second = (coarser(image, level) for image in images)
        side = max(first.GetSpacing())
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(BINS)
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(min(20_000 / first.GetNumberOfPixels(), 1.0), 1)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetMetricFixedMask(mask)
        method.SetOptimizerAsRegularStepGradientDescent(
            learningRate=side, minStep=0.01 * side, numberOfIterations=100,
            gradientMagnitudeTolerance=1e-9,
        )  # fmt: skip
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetMovingInitialTransform(to_sitk(start.inverse()))
        method.SetInitialTransform(transform, inPlace=True)
        try:
            method.Execute(first, second)
        except RuntimeError:  # everything was moved out of sight
            break
    return pair.error(Chain((from_sitk(transform), start.inverse())).inverse())


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--around", type=float)
    given = parser.parse_args()
    pairs = given.pairs
    rows: dict[str, list[list[float]]] = {"gradient": [], "search": []}
    spent = dict.fromkeys(rows, 0.0)
    for seed in range(7001, 7001 + pairs):
        drawn = prostate_pair(seed, mr_shape=(32, 64, 64), us_shape=(64, 64, 64))
        pair = gland_pair(str(seed), drawn.us, drawn.mr)
        grid = drawn.us.image.grid
        reach = given.around or float(np.linalg.norm(grid.extent))
        region = around(drawn.us_landmarks.points_mm, grid, reach)
        rng = np.random.default_rng(seed)
        starts = [off_by(pair, error, rng) for error in STARTS_MM]
        for name, ends in rows.items():
            begin = time.process_time()
            ends.append([
                by_gradient(pair, start, region) if name == "gradient"
                else refined(
                    pair, start, region=region, settings=Settings(coarse=LEVELS, threads=1)
                )
                for start in starts
            ])  # fmt: skip
            spent[name] += time.process_time() - begin
    print(f"{pairs} pairs; median surface error afterwards (mm), at most {SUCCESS_MM:g} mm off")
    heads = "".join(f"  from {s:>2g} mm    " for s in STARTS_MM)
    print(f"{'':10}{heads}  seconds of the processor")
    for name, ends in rows.items():
        found = np.array(ends)
        cells = "".join(
            f"{np.median(column):>7.1f} ({(column <= SUCCESS_MM).sum()}/{pairs}) "
            for column in found.T
        )
        print(f"{name:10}{cells}{spent[name] / found.size:>10.1f}")


if __name__ == "__main__":
    main()
