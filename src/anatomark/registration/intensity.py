"""Refinement of a map by intensity: mutual information, coarse to fine.

It starts from any map, of landmarks say, and never ends worse than that by its own measure. Rigid
and affine maps are searched (``search``), B-splines are SimpleITK's.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from anatomark.data import Image
from anatomark.errors import LossWarning, RegistrationError
from anatomark.geometry import Grid
from anatomark.io.native import simpleitk
from anatomark.io.transforms.itk_transforms import from_sitk, simplified, to_sitk
from anatomark.maps import Affine, Chain, Map
from anatomark.registration.itk_images import (
    check_images,
    check_overlap,
    compared,
    folds,
    sitk_image,
    wider,
)
from anatomark.registration.landmarks import Pairs
from anatomark.registration.mutual import BINS, Judge, coarser, factor_for
from anatomark.registration.results import Progress, Registration, Stage, judged
from anatomark.registration.search import Pictures, search

StageName = Literal["rigid", "affine", "bspline"]
STAGES: tuple[StageName, ...] = ("rigid", "affine", "bspline")

_SAMPLED = 40  # nodes an axis of a start that ITK knows only as a field
_MARGIN = 0.15  # of the extent, by which such a field is larger than the fixed image
_HALVES = 0.5  # a stage that loses so much of the overlap is not trusted


@dataclass(frozen=True)
class Settings:
    """How long and how closely to look; the defaults suit volumes of 64³ to 256³.

    ``coarse`` are factors by which voxels are larger, level after level; one that leaves few
    voxels of what is compared is left out. ``samples`` is how many places a level draws,
    ``iterations`` how often it looks for each parameter of a rigid or affine map. A B-spline, whose
    cost grows with samples × nodes, has its own numbers, and leaves the coarsest level to the
    stages before it; ``node_mm`` is the distance of its nodes (a sixth of the image without one).
    ``voxels`` is the most that the finest level has. With ``view``, what lies outside of the part
    of an image that shows something, as of an ultrasound's sector, is not compared. The same
    ``seed`` and ``threads=1`` give the same result but for the rounding of its last digit; more
    threads add in any order, which the optimiser of B-splines magnifies.
    """

    coarse: tuple[int, ...] = (4, 2, 1)
    samples: int = 6_000
    iterations: int = 30
    spline_samples: int = 6_000
    spline_iterations: int = 20
    node_mm: float | None = None
    voxels: int = 4_000_000
    view: bool = True
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
            compared(image, mask, view=self.settings.view)
            for image, mask in ((self.fixed, self.fixed_mask), (self.moving, self.moving_mask))
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
        after = simplified(Chain((added, self.pull)))
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
            return to_sitk(pull, grid=_coarse(self.fixed.grid))

    def _optimised(self, name: StageName, before: Any) -> tuple[Map, int, str]:
        """A map to be applied before ``before``, with iterations and reason to stop."""
        if name == "bspline":
            return self._bent(before)
        found = search(
            name, Pictures(*self.images, *self.masks), self.pull, factors=self.settings.coarse,
            samples=self.settings.samples, iterations=self.settings.iterations,
            seed=self.settings.seed, progress=lambda done: self._tell(name, done),
        )  # fmt: skip
        return found.added, found.evaluations, found.stopped

    def _bent(self, before: Any) -> tuple[Map, int, str]:
        sitk = simpleitk()

        grid = self.fixed.grid
        node = self.settings.node_mm or float(grid.extent.max()) / 6
        mesh = [max(round(float(e) / node), 1) for e in grid.extent]
        transform = sitk.BSplineTransformInitializer(self.images[0], mesh, 3)
        iterations, stopped = 0, ""
        factors = self.settings.coarse[-2:]
        for level, factor in enumerate(factors):
            fixed, moving = (coarser(image, factor) for image in self.images)
            method = self._method(fixed)
            method.SetMovingInitialTransform(before)
            method.SetInitialTransform(transform, inPlace=True)
            self._follow(method, level, len(factors))
            method.Execute(fixed, moving)
            iterations += method.GetOptimizerIteration()
            stopped = method.GetOptimizerStopConditionDescription()
        return from_sitk(transform), iterations, stopped

    def _method(self, fixed: Any) -> Any:
        sitk = simpleitk()

        settings, method = self.settings, sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(BINS)
        share = min(settings.spline_samples / fixed.GetNumberOfPixels(), 1.0)
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
        method.SetOptimizerAsLBFGSB(
            gradientConvergenceTolerance=1e-5,
            numberOfIterations=settings.spline_iterations,
            maximumNumberOfCorrections=5,
            maximumNumberOfFunctionEvaluations=4 * settings.spline_iterations,
        )
        return method

    def _follow(self, method: Any, level: int, levels: int) -> None:
        most = self.settings.spline_iterations

        def tell() -> None:
            within = min(method.GetOptimizerIteration() / most, 1.0)
            self._tell("bspline", (level + within) / levels)

        tell()
        method.AddCommand(simpleitk().sitkIterationEvent, tell)

    def _tell(self, name: StageName, done: float) -> None:
        if self.progress is not None:
            self.progress(name, min(done, 0.99))


def _coarse(grid: Grid) -> Grid:
    """A coarse grid about the image: maps carry its border a little beyond it."""
    wide = wider(grid, _MARGIN)
    return wide.resized(tuple(min(n, _SAMPLED) for n in wide.shape))
