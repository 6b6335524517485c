"""Refinement by intensity *and* corresponding points, through elastix (``anatomark[elastix]``).

Elastix gets the moving image and its points as ``start`` brings them onto the fixed image, so that
it begins from the identity and its file conventions meet ours in two places only: the points it
reads and the B-spline it returns.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anatomark.data import Image
from anatomark.errors import RegistrationError
from anatomark.geometry import FloatArray, Grid
from anatomark.io.transforms.itk_transforms import simplified, to_sitk
from anatomark.maps import Affine, BSpline, Chain, Map
from anatomark.registration.itk_images import (
    check_images,
    check_overlap,
    folds,
    sitk_image,
    sitk_mask,
    wider,
)
from anatomark.registration.landmarks import Pairs
from anatomark.registration.mutual import BINS, Judge
from anatomark.registration.results import Progress, Registration, Stage, judged
from anatomark.sampling import resample

_STAGE = "elastix"
_NEEDED = ("ParameterObject", "elastix_registration_method", "image_from_array", "PyBuffer")
_MARGIN = 0.1  # of the extent, by which the moving image is shown beyond the fixed one


@dataclass(frozen=True)
class ElastixSettings:
    """``intensity`` and ``points`` weigh mutual information against the mean distance in mm.

    ``node_mm`` is the distance of B-spline nodes on the finest of ``levels``, ``samples`` and
    ``iterations`` are of each level. ``threads`` is how many elastix uses; None leaves it to it.
    """

    intensity: float = 1.0
    points: float = 0.05
    node_mm: float | None = None
    levels: int = 3
    samples: int = 4_000
    iterations: int = 200
    threads: int | None = None
    seed: int = 1


def refine_with_points(
    fixed: Image,
    moving: Image,
    pairs: Pairs,
    *,
    start: Map | None = None,
    fixed_mask: Image | None = None,
    moving_mask: Image | None = None,
    settings: ElastixSettings | None = None,
    progress: Progress | None = None,
) -> Registration:
    """A B-spline that follows intensity and brings the pairs together, from ``start`` on.

    ``start`` pushes moving points onto fixed ones, as the map of the result does. Points may cost
    mutual information, and a warning says where they did; a result that is worse by both together,
    as they are weighed, or that folds is left out, and the start is returned.
    """
    itk, settings = _itk(), settings or ElastixSettings()
    check_images(fixed, moving, fixed_mask, moving_mask)
    _check_pairs(pairs, fixed)
    push = Affine.identity(fixed.grid.dimension) if start is None else start
    pull = push.inverse()
    check_overlap(fixed, moving, pull, fixed_mask, moving_mask)
    _tell(progress, 0.0)
    grid = wider(fixed.grid, _MARGIN)
    shown = resample(moving, grid, push=push)
    mask = None if moving_mask is None else resample(
        moving_mask, grid, push=push, interpolation="nearest"
    )  # fmt: skip
    brought = pairs.fixed_mm, np.asarray(push(pairs.moving_mm))
    spline = _run(itk, (fixed, shown), (fixed_mask, mask), brought, settings)
    _tell(progress, 1.0)
    both = (fixed_mask, mask)
    stage, said = _looked_at(spline, (fixed, shown), both, brought, settings)
    found = simplified(Chain((spline, pull))).inverse() if stage.kept else push
    after = stage.after if stage.kept else stage.before
    return judged(found, push, stage.before, after, stages=(stage,), pairs=pairs, warnings=said)


def has_elastix() -> bool:
    """Whether ``refine_with_points`` has what it needs."""
    try:
        _itk()
    except RegistrationError:
        return False
    return True


def _itk() -> Any:
    # ITK loads its parts as they are asked for, and they warn; where warnings are errors, the
    # process would end in its C code. So all that is needed is asked for here.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import itk

            for name in _NEEDED:
                getattr(itk, name)
    except (ImportError, AttributeError):
        raise RegistrationError(
            "corresponding points in a deformable registration need itk-elastix, which is missing",
            fix="pip install 'anatomark[elastix]'",
        ) from None
    return itk


def _check_pairs(pairs: Pairs, fixed: Image) -> None:
    if not len(pairs):
        raise RegistrationError("there are no pairs of points", fix="use refine without points")
    if (pairs.dimension, pairs.unit) != (fixed.grid.dimension, fixed.grid.unit):
        raise RegistrationError(
            f"the pairs are {pairs.dimension}D in {pairs.unit}, the images "
            f"{fixed.grid.dimension}D in {fixed.grid.unit}"
        )


def _tell(progress: Progress | None, done: float) -> None:
    if progress is not None:
        progress(_STAGE, done)


# -- elastix ---------------------------------------------------------------------------------------


def _run(
    itk: Any,
    images: tuple[Image, Image],
    masks: tuple[Image | None, Image | None],
    points: tuple[FloatArray, FloatArray],
    settings: ElastixSettings,
) -> BSpline:
    """The B-spline from fixed to (already brought) moving points."""
    parameters = itk.ParameterObject.New()
    parameters.AddParameterMap(_parameters(images[0].grid, settings))
    given = {
        name: _itk_image(itk, mask, np.uint8)
        for name, mask in zip(("fixed_mask", "moving_mask"), masks, strict=True)
        if mask is not None
    }
    if settings.threads is not None:
        given["number_of_threads"] = settings.threads
    with tempfile.TemporaryDirectory(prefix="anatomark-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = [_written(Path(folder) / f"{i}.txt", p) for i, p in enumerate(points)]
        try:
            _, result = itk.elastix_registration_method(
                *[_itk_image(itk, image, np.float32) for image in images],
                parameter_object=parameters, log_to_console=False, output_directory=folder,
                fixed_point_set_file_name=names[0], moving_point_set_file_name=names[1], **given,
            )  # fmt: skip
        except RuntimeError as fault:
            reason = str(fault).strip().splitlines()[-1]
            raise RegistrationError(
                f"elastix gave up: {reason}", fix="look at the masks and the start"
            ) from None
    return _spline(result.GetParameterMap(result.GetNumberOfParameterMaps() - 1))


def _written(path: Path, points: FloatArray) -> str:
    """A point file: ``point`` says that these are world coordinates (LPS mm), not indices."""
    rows = "\n".join(" ".join(f"{value:.9g}" for value in point) for point in points)
    path.write_text(f"point\n{len(points)}\n{rows}\n")
    return str(path)


def _itk_image(itk: Any, image: Image, dtype: Any) -> Any:
    array = image.array > 0 if dtype is np.uint8 else image.array
    picture = itk.image_from_array(np.ascontiguousarray(array, dtype))
    picture.SetSpacing(image.grid.spacing.tolist())
    picture.SetOrigin(image.grid.origin.tolist())
    picture.SetDirection(itk.matrix_from_array(np.array(image.grid.direction)))
    return picture


def _parameters(grid: Grid, settings: ElastixSettings) -> Mapping[str, list[str]]:
    node = settings.node_mm or float(grid.extent.max()) / 8
    dim = grid.dimension
    halved = [2 ** (settings.levels - 1 - level) for level in range(settings.levels)]
    values: dict[str, list[object]] = {
        "Registration": ["MultiMetricMultiResolutionRegistration"],
        "Metric": ["AdvancedMattesMutualInformation", "CorrespondingPointsEuclideanDistanceMetric"],
        "Metric0Weight": [settings.intensity],
        "Metric1Weight": [settings.points],
        "NumberOfHistogramBins": [BINS],
        "Optimizer": ["AdaptiveStochasticGradientDescent"],
        "MaximumNumberOfIterations": [settings.iterations],
        "AutomaticParameterEstimation": ["true"],
        "Transform": ["BSplineTransform"],
        "FinalGridSpacingInPhysicalUnits": [node] * dim,
        "GridSpacingSchedule": halved,
        "HowToCombineTransforms": ["Compose"],
        "NumberOfResolutions": [settings.levels],
        "FixedImagePyramid": ["FixedSmoothingImagePyramid"],
        "MovingImagePyramid": ["MovingSmoothingImagePyramid"],
        "ImagePyramidSchedule": [h for h in halved for _ in range(dim)],
        "ImageSampler": ["RandomCoordinate"],
        "NewSamplesEveryIteration": ["true"],
        "NumberOfSpatialSamples": [settings.samples],
        "RandomSeed": [settings.seed],
        "Interpolator": ["LinearInterpolator"],
        "ResampleInterpolator": ["FinalBSplineInterpolator"],
        "FinalBSplineInterpolationOrder": [1],
        "Resampler": ["DefaultResampler"],
        "FixedInternalImagePixelType": ["float"],
        "MovingInternalImagePixelType": ["float"],
        "UseDirectionCosines": ["true"],
        "ErodeMask": ["false"],
        "WriteResultImage": ["false"],
        "WriteTransformParametersEachIteration": ["false"],
    }
    return {name: [str(value) for value in given] for name, given in values.items()}


def _spline(result: Any) -> BSpline:
    """Elastix's B-spline as ours; it writes matrices column by column."""
    size = [int(n) for n in result["GridSize"]]
    spacing, origin, direction, values = (
        np.array([float(v) for v in result[name]])
        for name in ("GridSpacing", "GridOrigin", "GridDirection", "TransformParameters")
    )
    dim = len(size)
    grid = Grid(size[::-1], spacing, origin, direction.reshape(dim, dim).T)
    return BSpline(
        grid, values.reshape(dim, *grid.shape), int(result["BSplineTransformSplineOrder"][0])
    )


def _looked_at(
    spline: BSpline,
    images: tuple[Image, Image],
    masks: tuple[Image | None, Image | None],
    points: tuple[FloatArray, FloatArray],
    settings: ElastixSettings,
) -> tuple[Stage, tuple[str, ...]]:
    """The stage, and what speaks against it or deserves a look."""
    known = [None if m is None else sitk_mask(m) for m in masks]
    judge = Judge(*[sitk_image(i) for i in images], *known, threads=settings.threads)
    values = judge.pair(to_sitk(Affine.identity(spline.dimension)), to_sitk(spline))
    first, last = (np.nan, np.nan) if values is None else values
    apart = [np.linalg.norm(p - points[1], axis=1).mean() for p in (points[0], spline(points[0]))]
    gained = settings.intensity * (last - first) - settings.points * (apart[1] - apart[0])
    said: list[str] = []
    if last < first:
        said.append(f"mutual information fell from {first:.4f} to {last:.4f} nats for the points")
    problem = "folds" if folds(spline, images[0].grid) else ""
    if not gained >= 0:
        problem = "ended worse than it began, by intensity and points together"
    if problem:
        said = [f"the elastix stage was left out: it {problem}"]
    count = settings.levels * settings.iterations
    return Stage(_STAGE, first, last, not problem, count, ""), tuple(said)
