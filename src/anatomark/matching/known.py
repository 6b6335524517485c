"""Pairs of images made of one image, so that it is known which points belong together.

Three kinds, each a test set of its own, as in Grewal et al. 2020, section 3.2: other brightness and
contrast, an affine map, a smooth elastic one. The warp that *pulls* the moving image is the one
with a formula, so that images are made fast and a match is judged exactly: ``to_moving.inverse()``
needs no iteration.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from anatomark.data import Image
from anatomark.errors import UsageError
from anatomark.geometry import FloatArray, Grid
from anatomark.maps import Affine, Gaussians, Map
from anatomark.matching.body import body_of
from anatomark.sampling import resample

Kind = Literal["intensity", "affine", "elastic"]
KINDS: tuple[Kind, ...] = get_args(Kind)

# The strengths below were set so that the body pixels of 71 axial CT slices of 1 mm (330 to 512
# pixels wide) move as the paper states for its own, affine 29 mm (14 to 51) and elastic 12 mm
# (9 to 15); docs/matching.md has what was measured. Lengths are parts of the size of the image
# (``size_of``), so that what happens to a small image is the same.
JITTER = 0.2  # of the largest intensity, as in the paper
ROTATION_DEG = 38.0  # either way, about the centre; in 3D about any axis
SCALE = 1.25  # at most so much larger, or smaller
SHEAR = 0.1  # either way
TRANSLATION = 0.01  # of the extent along each axis, either way
ELASTIC = (0.028, 0.037)  # median displacement of the points of the image, of its size
BUMP = 0.12  # sigma of a Gaussian, of the size; a half more in 3D, where bumps are many
DRIFT = 0.8  # what all bumps do together, in parts of what each does by itself
STEEPEST = 0.7  # slope of the displacement: below 1 a map is one to one and cannot fold
_SAMPLES = 4000  # points at which displacements are measured


@dataclass(frozen=True, eq=False)
class KnownPair:
    """Two images on one grid, and the map between them.

    ``to_moving`` pushes points (LPS, x, y(, z)) of the fixed image onto the moving one. ``seen``
    has the shape of the grid and is true for those voxels of the moving image that show something
    of the fixed one; the others are filled with its lowest value.
    """

    kind: Kind
    fixed: Image = field(repr=False)
    moving: Image = field(repr=False)
    seen: NDArray[np.bool_] = field(repr=False)
    to_moving: Map

    @cached_property
    def displacement_mm(self) -> FloatArray:
        """How far points of the body move ``(N,)``, in the unit of the image.

        At the centres of evenly spread body voxels of the fixed image, at most 4000.
        """
        index = np.argwhere(body_of(self.fixed))
        some = index[:: max(len(index) // _SAMPLES, 1)][:, ::-1].astype(np.float64)
        points = self.fixed.grid.to_world(some)
        return np.asarray(np.linalg.norm(self.to_moving(points) - points, axis=1))


def known_pair(image: Image, kind: Kind, *, seed: int) -> KnownPair:
    """Make a pair whose fixed image is ``image``; the same seed makes the same pair.

    The moving image of kind ``intensity`` is float32, so that no value is cut off; of the others
    it has the type of ``image``.
    """
    if kind not in KINDS:
        raise UsageError(f"there are no pairs of kind {kind!r}", fix=f"use {', '.join(KINDS)}")
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    if kind == "intensity":
        unmoved = Affine.identity(image.grid.dimension)
        seen = np.ones(image.grid.shape, bool)
        return KnownPair(kind, image, _jittered(image, rng), seen, unmoved)
    to_moving = draw_affine(image.grid, rng) if kind == "affine" else draw_elastic(image.grid, rng)
    return KnownPair(kind, image, *_pulled(image, to_moving.inverse()), to_moving)


def _pulled(image: Image, pull: Map) -> tuple[Image, NDArray[np.bool_]]:
    """The moving image and what was seen of the fixed one; one pass, for the map takes the time."""
    exact = image.with_array(image.array.astype(np.float64))
    values = resample(exact, image.grid, pull=pull, fill=np.nan).array
    seen = np.isfinite(values if image.channels is None else values[0])
    values = np.where(np.isfinite(values), values, image.array.min())
    values = values if image.array.dtype.kind == "f" else np.floor(values + 0.5)
    return image.with_array(values.astype(image.array.dtype)), seen


def _jittered(image: Image, rng: np.random.Generator) -> Image:
    """Contrast about the mean, then brightness; parts of the largest intensity above the lowest."""
    values = image.array.astype(np.float32)
    low, mean = float(values.min()), float(values.mean())
    contrast, brightness = rng.uniform(-JITTER, JITTER, 2)
    shift = brightness * (float(values.max()) - low)
    changed = mean + (1 + contrast) * (values - mean) + shift
    return image.with_array(changed.astype(np.float32))


def size_of(grid: Grid) -> float:
    """Side of the cube (the square) that is as large as the image, in its unit."""
    return float(np.prod(grid.extent) ** (1 / grid.dimension))


def draw_affine(grid: Grid, rng: np.random.Generator) -> Affine:
    """Draw rotation, scale, shear and translation about the centre of the image."""
    dim = grid.dimension
    angle = np.deg2rad(rng.uniform(-ROTATION_DEG, ROTATION_DEG))
    scale = SCALE ** rng.uniform(-1, 1)
    slant = np.eye(dim) + np.triu(rng.uniform(-SHEAR, SHEAR, (dim, dim)), 1)
    shift = rng.uniform(-1, 1, dim) * TRANSLATION * grid.extent
    matrix = _rotation(angle, dim, rng) @ slant * scale
    # Along the axes of the image, so that an oblique scan is treated like a straight one.
    axes = grid.direction
    return Affine.about(grid.centre, axes @ matrix @ np.linalg.inv(axes), axes @ shift)


def _rotation(angle: float, dim: int, rng: np.random.Generator) -> FloatArray:
    from scipy.spatial.transform import Rotation

    axis = np.array([0.0, 0.0, 1.0]) if dim == 2 else rng.normal(size=3)
    turn: Any = Rotation.from_rotvec(angle * axis / np.linalg.norm(axis))
    return cast("FloatArray", turn.as_matrix()[:dim, :dim])


def draw_elastic(grid: Grid, rng: np.random.Generator) -> Map:
    """Draw Gaussian bumps all over the image; the map is one to one everywhere.

    Its inverse, moving to fixed, is the sum of bumps itself.
    """
    size = size_of(grid)
    sigma = BUMP * size * (1 if grid.dimension == 2 else 1.5)
    centres = _bump_centres(grid, sigma, rng)
    shifts = rng.normal(size=centres.shape) + DRIFT * rng.normal(size=grid.dimension)
    bumps = Gaussians(centres, shifts, sigma)
    points = _lattice(grid, sigma / (4 if grid.dimension == 2 else 3))
    usual = float(np.median(np.linalg.norm(bumps(points) - points, axis=1)))
    factor = size * rng.uniform(*ELASTIC) / usual
    slope = bumps.jacobian(points) - np.eye(grid.dimension)
    factor = min(factor, STEEPEST / float(np.linalg.norm(slope, 2, axis=(1, 2)).max()))
    return Gaussians(centres, bumps.shifts_mm * factor, sigma).inverse()


def _bump_centres(grid: Grid, sigma: float, rng: np.random.Generator) -> FloatArray:
    """A jittered lattice, a bump every 1.5 sigma, one step beyond the image on all sides."""
    step = 1.5 * sigma
    lattice = _lattice(grid, step, beyond=1)
    return lattice + rng.uniform(-step / 3, step / 3, lattice.shape)


def _lattice(grid: Grid, step: float, *, beyond: int = 0) -> FloatArray:
    """World points ``(N, D)`` at least so close together, from face to face of the image."""
    axes = []
    for size, extent in zip(grid.size_xyz, grid.extent, strict=True):
        count = int(np.ceil(extent / step))
        parts = np.arange(-beyond, count + 1 + beyond) / count
        axes.append(parts * size - 0.5)
    index = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, grid.dimension)
    return np.asarray(grid.to_world(index))
