"""Refinement of a map by intensity: mutual information, coarse to fine, through SimpleITK.

It starts from any map, of landmarks say, and never ends worse than that by its own measure.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from anatomark.data import Image
from anatomark.errors import LossWarning, RegistrationError
from anatomark.geometry import FloatArray, Grid
from anatomark.io.transforms.itk_files import simpleitk
from anatomark.io.transforms.itk_transforms import from_sitk, simplified, to_sitk
from anatomark.maps import Affine, Chain, Map
from anatomark.registration.itk_images import (
    check_images,
    check_overlap,
    folds,
    sitk_image,
    sitk_mask,
)
from anatomark.registration.landmarks import Pairs
from anatomark.registration.mutual import BINS, Judge, coarser, factor_for
from anatomark.registration.results import Progress, Registration, Stage, judged

StageName = Literal["rigid", "affine", "bspline"]
STAGES: tuple[StageName, ...] = ("rigid", "affine", "bspline")

_SAMPLED = 40  # nodes an axis of a start that ITK knows only as a field
_MARGIN = 0.15  # of the extent, by which such a field is larger than the fixed image
_HALVES = 0.5  # a stage that loses so much of the overlap is not trusted


@dataclass(frozen=True)
class Settings:
    """How long and how closely to look; the defaults suit volumes of 64³ to 256³.

    ``coarse`` are factors by which voxels are larger, level after level; ``samples`` how many
    voxels a level draws; ``iterations`` those of each level. A B-spline, whose cost grows with
    samples × nodes, has fewer of both, and leaves the coarsest level to the stages before it;
    ``node_mm`` is the distance of its nodes (a sixth of the image without one). ``voxels`` is the
    most that the finest level has. The same ``seed`` and ``threads=1`` give the same result but
    for the rounding of its last digit; more threads add in any order, which optimisers magnify.
    """

    coarse: tuple[int, ...] = (4, 2, 1)
    samples: int = 20_000
    iterations: int = 100
    spline_samples: int = 6_000
    spline_iterations: int = 20
    node_mm: float | None = None
    voxels: int = 4_000_000
    seed: int = 1
    threads: int | None = None


def refine(
    fixed: Image,
    moving: Image,
    *,
    start: Map | None = None,
    stages: Sequence[StageName] = STAGES,
    fixed_mask: Image | None = None,
    moving_mask: Image | None = None,
    pairs: Pairs | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Registration:
    """Bring the moving image onto the fixed one by mutual information, from ``start`` on.

    ``start`` pushes moving points onto fixed ones, as the map of the result does; without one the
    worlds are taken as they are. A stage that ends worse than it began, tears the images apart or
    folds is left out, and a warning says so. ``pairs`` do not steer: their distances are reported,
    with a warning where they grew. Masks tell where (above 0) the images are compared.
    """
    unknown = [s for s in stages if s not in STAGES]
    if unknown:
        raise RegistrationError(f"there is no stage {unknown[0]!r}", fix="rigid, affine or bspline")
    check_images(fixed, moving, fixed_mask, moving_mask)
    push = Affine.identity(fixed.grid.dimension) if start is None else start
    if push.dimension != fixed.grid.dimension:
        raise RegistrationError(f"the start is a {push.dimension}D map")
    pull = push.inverse()
    check_overlap(fixed, moving, pull, fixed_mask, moving_mask)
    run = _Run(fixed, moving, fixed_mask, moving_mask, pull, settings or Settings(), progress)
    for name in stages:
        run.stage(name)
    return run.finish(push, pairs)


@dataclass
class _Run:
    """The state between stages: ``pull`` is the best map so far, of fixed to moving points."""

    fixed: Image
    moving: Image
    fixed_mask: Image | None
    moving_mask: Image | None
    pull: Map
    settings: Settings
    progress: Progress | None
    done: list[Stage] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        finest = [factor_for(i.grid, self.settings.voxels) for i in (self.fixed, self.moving)]
        # What is finer than any level is not needed again.
        self.images = [
            coarser(sitk_image(i), f)
            for i, f in zip((self.fixed, self.moving), finest, strict=True)
        ]
        self.masks = [
            None if m is None else sitk_mask(m) for m in (self.fixed_mask, self.moving_mask)
        ]
        self.judge = Judge(*self.images, *self.masks, threads=self.settings.threads)
        self.begin = self._itk(self.pull)

    def stage(self, name: StageName) -> None:
        before = self._itk(self.pull)
        try:
            added, iterations, stopped = self._optimised(name, before)
        except RuntimeError as fault:
            reason = str(fault).strip().splitlines()[-1]
            self._note(Stage(name, np.nan, np.nan, False, 0, reason), f"failed ({reason})")
            return
        after = simplified(Chain((from_sitk(added), self.pull)))
        values = self.judge.pair(before, self._itk(after))
        problem = self._problem(values, before, after)
        first, last = (np.nan, np.nan) if values is None else values
        self._note(Stage(name, first, last, not problem, iterations, stopped), problem)
        if not problem:
            self.pull = after

    def _note(self, stage: Stage, problem: str) -> None:
        self.done.append(stage)
        if problem:
            self.said.append(f"the {stage.name} stage was left out: it {problem}")
        if self.progress is not None:
            self.progress(stage.name, 1.0)

    def _problem(self, values: tuple[float, float] | None, before: Any, after: Map) -> str:
        """What speaks against the end of a stage, or nothing."""
        if values is None:
            return "left no overlap with its start"
        if not values[1] >= values[0]:
            return f"ended worse than it began ({values[1]:.4f} nats, from {values[0]:.4f})"
        shares = [self.judge.share(t) for t in (before, self._itk(after))]
        if shares[1] < _HALVES * shares[0]:
            return f"tore the images apart ({shares[1]:.0%} overlap, from {shares[0]:.0%})"
        return "folds" if folds(after, self.fixed.grid) else ""

    def finish(self, start: Map, pairs: Pairs | None) -> Registration:
        kept = any(stage.kept for stage in self.done)
        # Each stage was compared with its own start; the whole is compared once more.
        values = self.judge.pair(self.begin, self._itk(self.pull))
        if kept and (values is None or values[1] < values[0]):
            self.said.append("all stages together ended worse than the start, which was kept")
            self.done = [replace(stage, kept=False) for stage in self.done]
            kept, values = False, None
        push = self.pull.inverse() if kept else start
        if values is None or not kept:
            values = self.judge.pair(self.begin, self.begin) or (np.nan, np.nan)
        return judged(
            push, start, *values, stages=tuple(self.done), pairs=pairs, warnings=tuple(self.said)
        )

    # -- ITK ---------------------------------------------------------------------------------------

    def _itk(self, pull: Map) -> Any:
        """The map as a transform; one without a counterpart in ITK as a field about the image."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LossWarning)  # exact to what a metric can tell
            return to_sitk(pull, grid=_wider(self.fixed.grid))

    def _optimised(self, name: StageName, before: Any) -> tuple[Any, int, str]:
        """A transform to be applied before ``before``, with iterations and reason to stop."""
        transform = self._first(name)
        iterations, stopped = 0, ""
        for level, factor in enumerate(self._levels(name)):
            fixed, moving = (coarser(image, factor) for image in self.images)
            method = self._method(name, fixed)
            method.SetMovingInitialTransform(before)
            method.SetInitialTransform(transform, inPlace=True)
            self._report(method, name, level)
            method.Execute(fixed, moving)
            iterations += method.GetOptimizerIteration()
            stopped = method.GetOptimizerStopConditionDescription()
        return transform, iterations, stopped

    def _levels(self, name: StageName) -> tuple[int, ...]:
        return self.settings.coarse[-2:] if name == "bspline" else self.settings.coarse

    def _first(self, name: StageName) -> Any:
        sitk = simpleitk()

        dim, grid = self.fixed.grid.dimension, self.fixed.grid
        if name == "bspline":
            node = self.settings.node_mm or float(grid.extent.max()) / 6
            mesh = [max(round(float(e) / node), 1) for e in grid.extent]
            return sitk.BSplineTransformInitializer(self.images[0], mesh, 3)
        kinds: dict[tuple[str, int], Any] = {
            ("rigid", 2): sitk.Euler2DTransform, ("rigid", 3): sitk.Euler3DTransform,
            ("affine", 2): lambda: sitk.AffineTransform(2),
            ("affine", 3): lambda: sitk.AffineTransform(3),
        }  # fmt: skip
        transform = kinds[name, dim]()
        transform.SetCenter(self._middle().tolist())
        return transform

    def _middle(self) -> FloatArray:
        """World point about which turns are searched: the middle of what is compared."""
        if self.fixed_mask is None:
            return self.fixed.grid.centre
        index = np.array([a.mean() for a in np.nonzero(self.fixed_mask.array > 0)[::-1]])
        return self.fixed_mask.grid.to_world(index)

    def _method(self, name: StageName, fixed: Any) -> Any:
        sitk = simpleitk()

        settings, method = self.settings, sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(BINS)
        samples = settings.spline_samples if name == "bspline" else settings.samples
        share = min(samples / fixed.GetNumberOfPixels(), 1.0)
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(share, settings.seed)
        method.SetInterpolator(sitk.sitkLinear)
        for mask, use in zip(
            self.masks, (method.SetMetricFixedMask, method.SetMetricMovingMask), strict=True
        ):
            if mask is not None:
                use(mask)
        if settings.threads is not None:
            method.SetNumberOfThreads(settings.threads)
        self._optimiser(method, name, max(fixed.GetSpacing()))
        return method

    def _optimiser(self, method: Any, name: StageName, voxel_mm: float) -> None:
        if name == "bspline":
            method.SetOptimizerAsLBFGSB(
                gradientConvergenceTolerance=1e-5,
                numberOfIterations=self.settings.spline_iterations,
                maximumNumberOfCorrections=5,
                maximumNumberOfFunctionEvaluations=4 * self.settings.spline_iterations,
            )
            return
        # Scales by the shift they cause make a step of the optimiser one in millimetres.
        method.SetOptimizerAsRegularStepGradientDescent(
            learningRate=voxel_mm, minStep=0.01 * voxel_mm,
            numberOfIterations=self.settings.iterations, gradientMagnitudeTolerance=1e-9,
        )  # fmt: skip
        method.SetOptimizerScalesFromPhysicalShift()

    def _report(self, method: Any, name: StageName, level: int) -> None:
        sitk = simpleitk()

        progress, levels = self.progress, len(self._levels(name))
        if progress is None:
            return
        most = self.settings.spline_iterations if name == "bspline" else self.settings.iterations

        def tell() -> None:
            within = min(method.GetOptimizerIteration() / most, 1.0)
            progress(name, min((level + within) / levels, 0.99))

        progress(name, level / levels)
        method.AddCommand(sitk.sitkIterationEvent, tell)


def _wider(grid: Grid) -> Grid:
    """A coarse grid about the image: maps carry its border a little beyond it."""
    extra = np.ceil(_MARGIN * np.asarray(grid.size_xyz)).astype(int).tolist()
    wide = grid.pad(extra, extra)
    shape = tuple(min(n, _SAMPLED) for n in wide.shape)
    return wide.resized(shape)
