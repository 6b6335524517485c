"""Search for the rigid or affine map under which two images tell most about each other.

The measure is normalised mutual information (Studholme, Hill, Hawkes 1999), the search is Powell's
(1964), by values alone: between MR and ultrasound descent by gradients ends farther off
(``benchmarks/refinement.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anatomark.geometry import FloatArray, Grid
from anatomark.io.native import simpleitk
from anatomark.maps import Affine, Map
from anatomark.registration.closed import Kind
from anatomark.registration.itk_images import mask_on
from anatomark.registration.mutual import BINS, coarser
from anatomark.registration.parameters import adapt, parameters

_FEWEST = 100  # samples that a value may rest on
_LEAST_SHARE = 0.6  # of the samples that the start shows, which any other map has to show
_RANGE = (0.5, 99.5)  # percent of the grey values between which bins lie
_FEWEST_VOXELS = 12  # across what is compared: coarser levels would mislead
_FIRST_STEP = 2.0  # voxels of a level


class Found(NamedTuple):
    """The change that is applied to fixed points before the start, and how it was found."""

    added: Affine
    evaluations: int
    stopped: str


class Pictures(NamedTuple):
    """Two SimpleITK images and what of them is compared; masks may be on other grids."""

    fixed: Any
    moving: Any
    fixed_mask: Any = None
    moving_mask: Any = None


def search(
    kind: Kind,
    pictures: Pictures,
    pull: Map,
    *,
    factors: Sequence[int],
    samples: int,
    iterations: int,
    seed: int,
    progress: Callable[[float], None] = lambda _done: None,
) -> Found:
    """The best change of ``pull`` (fixed → moving points), level after level of ``factors``.

    ``iterations`` is how often a level looks, for each parameter of the map.
    """
    rng = np.random.default_rng(seed)
    levels = [_Level(kind, pictures, pull, factor, samples, rng) for factor in factors]
    levels = [one for one in levels[:-1] if one.across >= _FEWEST_VOXELS] + levels[-1:]
    added, spent, settled = Affine.identity(pictures.fixed.GetDimension()), 0, False
    for number, level in enumerate(levels):

        def tell(done: float, first: int = number) -> None:
            progress((first + done) / len(levels))

        tell(0.0)
        added, looks, settled = level.climb(added, iterations, tell)
        spent += looks
    end = "nothing nearby is better" if settled else "looked as often as it may"
    return Found(added, spent, end)


class _Level:
    """Both images at one coarseness, and the samples at which they are compared."""

    def __init__(
        self,
        kind: Kind,
        pictures: Pictures,
        pull: Map,
        factor: int,
        samples: int,
        rng: np.random.Generator,
    ) -> None:
        self.kind, self.pull = kind, pull
        fixed, moving = (coarser(image, factor) for image in pictures[:2])
        self.grid = _grid_of(moving)
        self.moving = _array(moving)
        self.moving_mask = _inside(moving, pictures.moving_mask)
        self.points, values = _samples(fixed, pictures.fixed_mask, samples, rng)
        own = _grid_of(fixed)
        self.axes, self.sides = own.direction, own.spacing
        self.bins = np.floor(_scaled(values, _range(values))).astype(np.int64)
        self.centre = self.points.mean(axis=0)
        self.lever = float(np.sqrt(((self.points - self.centre) ** 2).sum(axis=1).mean()))
        self.dimension = self.points.shape[1]
        self.count = parameters(kind, self.dimension)
        # Along axes that are as coarse as that anyway nothing is lost.
        shrunk = np.array(fixed.GetSize()) < np.array(pictures.fixed.GetSize())
        wide = np.ptp(self.points @ self.axes, axis=0) / self.sides
        self.across = float(wide[shrunk].min()) if shrunk.any() else np.inf
        shown, values = self._shown(pull(self.points))
        self.range, self.least = _range(values), _LEAST_SHARE * shown.mean()

    def climb(
        self, start: Affine, iterations: int, tell: Callable[[float], None]
    ) -> tuple[Affine, int, bool]:
        """The best change near ``start``, how often was looked, and whether that was enough."""
        from scipy.optimize import minimize

        # Parameters are lengths: turns and stretches by what they do at the lever.
        size = np.full(self.count, _FIRST_STEP * float(max(self.grid.spacing)))
        size[self.dimension :] /= self.lever

        def changed(step: FloatArray) -> Affine:
            return adapt(self.kind, start, size * np.atleast_1d(step), self.centre)

        looks, most = 0, iterations * self.count

        def cost(step: FloatArray) -> float:
            nonlocal looks
            looks += 1
            if looks % self.count == 0:
                tell(min(looks / most, 1.0))
            return self.cost(changed(step))

        found = minimize(
            cost, np.zeros(self.count), method="Powell",
            options={"maxfev": most, "xtol": 0.02, "ftol": 1e-6},
        )  # fmt: skip
        better = bool(found.fun < self.cost(start))
        return (changed(found.x) if better else start), looks, bool(found.success)

    def cost(self, added: Affine) -> float:
        """Minus the normalised mutual information (1…2); 0 where too little is shown."""
        inside, values = self._shown(self.pull(added(self.points)))
        if inside.sum() < _FEWEST or inside.mean() < self.least:
            return 0.0
        return -normalised_information(self.bins[inside], _scaled(values, self.range))

    def _shown(self, points: FloatArray) -> tuple[NDArray[np.bool_], FloatArray]:
        """Which points the moving image shows, and the values of those."""
        from scipy.ndimage import map_coordinates

        index = self.grid.to_index(points)
        inside = np.asarray(((index >= 0) & (index <= np.array(self.grid.size_xyz) - 1)).all(1))
        if self.moving_mask is not None and inside.any():
            nearest = np.rint(index[inside]).astype(int)
            inside[inside] = self.moving_mask[tuple(nearest.T[::-1])]
        at = index[inside].T[::-1]
        return inside, map_coordinates(self.moving, at, order=1, mode="nearest")


def normalised_information(bins: NDArray[np.int64], place: FloatArray) -> float:
    """(H(A) + H(B)) / H(A, B) of samples: bins of A, places 0…BINS - 1 between bins of B.

    1 where they know nothing of each other, 2 where one follows from the other.
    """
    low = np.floor(place).astype(np.int64)
    part = place - low
    row = bins * (BINS + 1) + low
    size = BINS * (BINS + 1)
    joint = np.bincount(row, 1 - part, size) + np.bincount(row + 1, part, size)
    count = len(bins)
    table = joint.reshape(BINS, BINS + 1) / count
    both = _entropy(table.ravel(), count)
    if both == 0:
        return 1.0
    return (_entropy(table.sum(axis=1), count) + _entropy(table.sum(axis=0), count)) / both


def _entropy(shares: FloatArray, count: int) -> float:
    """In nats, without the bias of few samples (Miller 1955): else showing less would pay."""
    some = shares[shares > 0]
    return float(-(some * np.log(some)).sum() + (len(some) - 1) / (2 * count))


def _range(values: FloatArray) -> tuple[float, float]:
    low, high = np.percentile(values, _RANGE) if len(values) else (0.0, 1.0)
    return (float(low), float(high)) if high > low else (float(low), float(low) + 1.0)


def _scaled(values: FloatArray, limits: tuple[float, float]) -> FloatArray:
    """Places 0…BINS - 1 of values between two limits; what is beyond them goes to the end."""
    low, high = limits
    return np.clip((values - low) / (high - low), 0, 1) * (BINS - 1)


# -- images of SimpleITK ---------------------------------------------------------------------------


def _grid_of(picture: Any) -> Grid:
    dim = picture.GetDimension()
    direction = np.reshape(picture.GetDirection(), (dim, dim))
    return Grid(picture.GetSize()[::-1], picture.GetSpacing(), picture.GetOrigin(), direction)


def _array(picture: Any) -> NDArray[np.float32]:
    return np.asarray(simpleitk().GetArrayFromImage(picture), np.float32)


def _inside(picture: Any, mask: Any) -> NDArray[np.bool_] | None:
    """Which voxels of an image its mask has, where there is one."""
    return None if mask is None else _array(mask_on(mask, picture)) > 0


def _samples(
    picture: Any, mask: Any, count: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Places between the voxels that are compared ``(N, D)``, in any order, and their values."""
    from scipy.ndimage import map_coordinates

    grid, array = _grid_of(picture), _array(picture)
    own = _inside(picture, mask)
    inside = np.flatnonzero(np.ones(array.shape, bool) if own is None or not own.any() else own)
    chosen = rng.permutation(inside)[:count]
    index = np.stack(np.unravel_index(chosen, array.shape)[::-1], axis=1).astype(np.float64)
    # On a lattice, maps that bring it onto that of the other image would look better than they are.
    index = (index + rng.uniform(-0.5, 0.5, index.shape)).clip(0, np.array(grid.size_xyz) - 1.0)
    return grid.to_world(index), map_coordinates(array, index.T[::-1], order=1, mode="nearest")
