"""Fits between two images by points with names, by matches, or by both together.

``fixed`` is the image that stays, ``moving`` the one that is brought onto it. The map of a fit
pushes moving points onto fixed ones; ``fit.inverse()`` is the other way.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from anatomark.correspondence import Matches
from anatomark.data import Landmarks
from anatomark.errors import RegistrationError, listed, plain_name
from anatomark.geometry import FloatArray, Unit
from anatomark.registration.checks import least_pairs
from anatomark.registration.closed import Kind
from anatomark.registration.fits import Fit
from anatomark.registration.neighbours import Mask, agreeing
from anatomark.registration.points import fit_points
from anatomark.registration.robust import fit_reweighted, fit_robust
from anatomark.registration.splines import fit_thin_plate

Transform = Literal["rigid", "similarity", "affine", "tps"]
Robust = Literal["no", "ransac", "smooth", "reweighted"]

TRANSFORMS: tuple[Transform, ...] = ("rigid", "similarity", "affine", "tps")


@dataclass(frozen=True, eq=False)
class Pairs:
    """Points that two images share: row ``i`` of each is one place.

    ``fixed_mm`` and ``moving_mm`` ``(N, D)`` LPS, x, y(, z), in ``unit``, each in its own world;
    covariances ``(N, D, D)`` of each side where they are known; ``weights`` ``(N,)``.
    """

    names: tuple[str, ...]
    fixed_mm: FloatArray = field(repr=False)
    moving_mm: FloatArray = field(repr=False)
    unit: Unit = "mm"
    fixed_covariance_mm2: FloatArray | None = field(default=None, repr=False)
    moving_covariance_mm2: FloatArray | None = field(default=None, repr=False)
    weights: FloatArray | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def dimension(self) -> int:
        """2 or 3."""
        return int(self.fixed_mm.shape[1])

    def swapped(self) -> Pairs:
        """The same pairs, with fixed and moving exchanged."""
        return replace(
            self, fixed_mm=self.moving_mm, moving_mm=self.fixed_mm,
            fixed_covariance_mm2=self.moving_covariance_mm2,
            moving_covariance_mm2=self.fixed_covariance_mm2,
        )  # fmt: skip

    @property
    def _certainty(self) -> tuple[FloatArray | None, FloatArray | None]:
        """Covariances of both sides: a side without any is exact where the other has some."""
        sides = (self.fixed_covariance_mm2, self.moving_covariance_mm2)
        if sides[0] is None and sides[1] is None:
            return sides
        exact = np.zeros((*self.fixed_mm.shape, self.dimension))
        return exact if sides[0] is None else sides[0], exact if sides[1] is None else sides[1]

    def joined(self, other: Pairs) -> Pairs:
        """These pairs and others of the same images; covariances stay where both have some."""
        if (self.unit, self.dimension) != (other.unit, other.dimension):
            raise RegistrationError(
                f"pairs in {self.dimension}D {self.unit} and {other.dimension}D {other.unit} "
                "cannot be used together"
            )

        def both(a: FloatArray | None, b: FloatArray | None) -> FloatArray | None:
            return None if a is None or b is None else np.concatenate([a, b])

        weights = None
        if self.weights is not None or other.weights is not None:
            weights = np.concatenate([_ones(self), _ones(other)])
        return Pairs(
            (*self.names, *other.names),
            np.concatenate([self.fixed_mm, other.fixed_mm]),
            np.concatenate([self.moving_mm, other.moving_mm]),
            self.unit,
            both(self._certainty[0], other._certainty[0]),
            both(self._certainty[1], other._certainty[1]),
            weights,
        )


def _ones(pairs: Pairs) -> FloatArray:
    return np.ones(len(pairs)) if pairs.weights is None else pairs.weights


def landmark_pairs(fixed: Landmarks, moving: Landmarks, *, covariances: bool = True) -> Pairs:
    """The landmarks that both images show, by name; the others are left out.

    The covariances of a side are kept where all of its shared points have one.
    """
    _check_alike(fixed, moving)
    names = tuple(
        n for n, here in zip(fixed.names, fixed.present, strict=True)
        if here and n in moving.names and moving.present[moving.row(n)]
    )  # fmt: skip
    first, second = fixed.select(names), moving.select(names)
    known = [_known(side) if covariances else None for side in (first, second)]
    return Pairs(names, first.points_mm, second.points_mm, fixed.unit, *known)


def match_pairs(matches: Matches, *, sd_mm: float | None = None) -> Pairs:
    """Matches as pairs, each with its confidence as weight.

    ``sd_mm`` is how far a match is off along each axis, where that is known: landmarks with
    covariances can then be used beside them.
    """
    names, covariance = matches.landmarks()[0].names, None
    if sd_mm is not None:
        covariance = np.tile(sd_mm**2 * np.eye(matches.dimension), (len(matches), 1, 1))
    return Pairs(
        names, matches.fixed_mm, matches.moving_mm, matches.unit,
        fixed_covariance_mm2=covariance, weights=matches.confidence,
    )  # fmt: skip


def fit_landmarks(
    fixed: Landmarks,
    moving: Landmarks,
    kind: Transform = "rigid",
    *,
    covariances: bool = True,
    robust: Robust = "no",
    threshold_mm: float | None = None,
    smoothing: float = 0.0,
    seed: int = 0,
) -> Fit:
    """Fit of the landmarks that both have, by name; see ``fit_pairs`` and ``landmark_pairs``.

    Too few of them are refused, with the names that do not match.
    """
    pairs = landmark_pairs(fixed, moving, covariances=covariances)
    _check_enough(pairs, kind, fixed, moving)
    return fit_pairs(
        pairs, kind, robust=robust, threshold_mm=threshold_mm, smoothing=smoothing, seed=seed
    )


def fit_matches(
    matches: Matches,
    kind: Transform = "rigid",
    *,
    robust: Robust | None = None,
    threshold_mm: float | None = None,
    smoothing: float = 0.0,
    seed: int = 0,
) -> Fit:
    """Fit of matches, each with its confidence as weight; see ``fit_pairs`` and ``robust_for``."""
    return fit_pairs(
        match_pairs(matches), kind, robust=robust or robust_for(kind), threshold_mm=threshold_mm,
        smoothing=smoothing, seed=seed,
    )  # fmt: skip


def robust_for(kind: Transform) -> Robust:
    """How wrong ones are found among matches: for a map that bends, by their neighbours."""
    return "smooth" if kind == "tps" else "ransac"


def fit_pairs(
    pairs: Pairs,
    kind: Transform = "rigid",
    *,
    robust: Robust = "no",
    threshold_mm: float | None = None,
    smoothing: float = 0.0,
    seed: int = 0,
) -> Fit:
    """The map that pushes the moving points onto the fixed ones.

    ``robust="ransac"``, pairs that agree on one map, and ``"smooth"``, those that agree with their
    neighbours, need ``threshold_mm``, in the unit of the pairs. A thin-plate spline (``"tps"``) is
    made from fixed to moving, and the fit is its inverse: an image asks for that direction, once a
    voxel. ``ransac`` and ``reweighted`` look for wrong pairs with an affine map before it.
    """
    if kind not in TRANSFORMS:
        raise RegistrationError(
            f"there is no {kind!r} fit of points", fix=f"one of {', '.join(TRANSFORMS)}"
        )
    if kind == "tps":
        fit = _spline(pairs, robust, threshold_mm, smoothing, seed)
    else:
        fit = _parametric(pairs, kind, robust, threshold_mm, seed)
    return replace(fit, names=pairs.names)


def _parametric(
    pairs: Pairs, kind: Kind, robust: Robust, threshold_mm: float | None, seed: int
) -> Fit:
    if robust == "no":
        return fit_points(
            pairs.moving_mm, pairs.fixed_mm, kind, weights=pairs.weights,
            source_covariance_mm2=pairs.moving_covariance_mm2,
            target_covariance_mm2=pairs.fixed_covariance_mm2,
        )  # fmt: skip
    if robust == "reweighted":
        return fit_reweighted(pairs.moving_mm, pairs.fixed_mm, kind, weights=pairs.weights)
    threshold_mm = _known_threshold(threshold_mm)
    if robust == "smooth":
        good = _like_neighbours(pairs, threshold_mm)
        every = np.ones(len(pairs)) if pairs.weights is None else pairs.weights
        weights = np.where(good, every, 0.0)
        return _parametric(replace(pairs, weights=weights), kind, "no", threshold_mm, seed)
    return fit_robust(
        pairs.moving_mm, pairs.fixed_mm, kind, threshold_mm=threshold_mm, weights=pairs.weights,
        source_covariance_mm2=pairs.moving_covariance_mm2,
        target_covariance_mm2=pairs.fixed_covariance_mm2, seed=seed,
    )  # fmt: skip


def _known_threshold(threshold_mm: float | None) -> float:
    if threshold_mm is None:
        raise RegistrationError(
            "looking for pairs that agree needs the distance within which they do",
            fix="give threshold_mm, or use robust='reweighted'",
        )
    return threshold_mm


def _like_neighbours(pairs: Pairs, threshold_mm: float) -> Mask:
    if len(pairs) < pairs.dimension + 3:  # too few to judge
        return np.ones(len(pairs), bool)
    return agreeing(pairs.fixed_mm, pairs.moving_mm, floor=threshold_mm)


def _spline(
    pairs: Pairs, robust: Robust, threshold_mm: float | None, smoothing: float, seed: int
) -> Fit:
    kept = np.ones(len(pairs), bool)
    if robust == "smooth":
        kept = _like_neighbours(pairs, _known_threshold(threshold_mm))
    elif robust != "no":
        kept = _parametric(pairs, "affine", robust, threshold_mm, seed).inliers
    fixed, moving = pairs.fixed_covariance_mm2, pairs.moving_covariance_mm2
    fit = fit_thin_plate(
        pairs.fixed_mm[kept], pairs.moving_mm[kept], smoothing=smoothing,
        source_covariance_mm2=None if fixed is None else fixed[kept],
        target_covariance_mm2=None if moving is None else moving[kept],
    ).inverse()  # fmt: skip
    return replace(fit, source_mm=pairs.moving_mm, target_mm=pairs.fixed_mm, inliers=kept)


# -- what is refused -------------------------------------------------------------------------------


def _check_alike(fixed: Landmarks, moving: Landmarks) -> None:
    if fixed.unit != moving.unit:
        raise RegistrationError(
            f"the fixed landmarks are in {fixed.unit}, the moving ones in {moving.unit}",
            fix="give the image without one its spacing",
        )
    if fixed.dimension != moving.dimension:
        raise RegistrationError(
            f"the fixed landmarks are {fixed.dimension}D, the moving ones {moving.dimension}D"
        )


def _known(side: Landmarks) -> FloatArray | None:
    covariance = side.covariance_mm2
    if covariance is None or not np.isfinite(covariance).all():
        return None
    return covariance


def _check_enough(pairs: Pairs, kind: Transform, fixed: Landmarks, moving: Landmarks) -> None:
    least = least_pairs("affine" if kind == "tps" else kind, fixed.dimension)
    if len(pairs) >= least:
        return
    only = [
        f"only the {side} image has {listed(sorted(alone), 8)}"
        for side, one, other in (("fixed", fixed, moving), ("moving", moving, fixed))
        if (alone := seen(one) - seen(other))
    ]
    said = "; ".join([f"shared: {listed(sorted(pairs.names), 8) or 'none'}", *only])
    simpler = " or fit a rigid map" if len(pairs) >= least_pairs("rigid", fixed.dimension) else ""
    fix = f"add {least - len(pairs)} or more,{simpler}" if simpler else "add points to both"
    if len(only) == 2:
        fix = "rename landmarks so that the same place has the same name in both"
        alike = names_alike(fixed, moving)
        fix += f", as it may be with {alike}" if alike else ""
        fix += f",{simpler}" if simpler else ""
    raise RegistrationError(
        f"{len(pairs)} shared landmarks do not fix a map of kind {kind!r} in {fixed.dimension}D, "
        f"which needs {least} ({said})", fix=fix,
    )  # fmt: skip


def names_alike(fixed: Landmarks, moving: Landmarks) -> str:
    """Names that only one side has and that differ in case or signs alone, for a message.

    ``Apex`` and ``apex`` may be one place, and may not: they are named, not matched.
    """
    one, other = seen(fixed) - seen(moving), seen(moving) - seen(fixed)
    found = [(a, b) for a in sorted(one) for b in sorted(other) if plain_name(a) == plain_name(b)]
    return listed(f"{a!r} and {b!r}" for a, b in found)


def seen(landmarks: Landmarks) -> set[str]:
    """Names of the landmarks that are present."""
    return {n for n, here in zip(landmarks.names, landmarks.present, strict=True) if here}
