"""The four things that travel through anatomark: ``Image``, ``Landmarks``, ``Sample``, ``Cohort``.

They are small, frozen and know nothing of files; reading and writing is in ``anatomark.io``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anatomark.errors import CohortError, GeometryError, ImageError, LandmarkError, listed
from anatomark.geometry import FloatArray, Grid, Unit, check_value, restore
from anatomark.maps import Map


@dataclass(frozen=True, eq=False)
class Image:
    """An array and the grid that says where its voxels are.

    ``array`` is ``(y, x)`` or ``(z, y, x)``, with a channel axis in front where there is one.
    """

    array: NDArray[Any] = field(repr=False)
    grid: Grid
    meta: Mapping[str, Any] = field(default_factory=dict, repr=False)

    __setstate__ = restore

    def __post_init__(self) -> None:
        given: tuple[object, object] = (self.array, self.grid)
        if not isinstance(given[0], np.ndarray) or not isinstance(given[1], Grid):
            raise ImageError("an image is a numpy array and a Grid", fix="read it with read_image")
        # A view that cannot be written to; the caller's own array stays as it is.
        view = self.array.view()
        view.setflags(write=False)
        object.__setattr__(self, "array", view)
        spatial = tuple(self.array.shape)[-self.grid.dimension :]
        if spatial != self.grid.shape or self.array.ndim > self.grid.dimension + 1:
            raise ImageError(f"the array {self.array.shape} does not fit its grid {self.grid}")

    @property
    def channels(self) -> int | None:
        """Number of channels, ``None`` where the array has no channel axis."""
        return None if self.array.ndim == self.grid.dimension else int(self.array.shape[0])

    def with_array(self, array: NDArray[Any]) -> Image:
        """Other values on the same grid."""
        return replace(self, array=array)

    def crop(self, start_xyz: Sequence[int], size_xyz: Sequence[int]) -> Image:
        """Cut out a box, in index order x, y(, z); it must lie inside the image."""
        stop = [a + n for a, n in zip(start_xyz, size_xyz, strict=True)]
        if min(start_xyz) < 0 or any(b > n for b, n in zip(stop, self.grid.size_xyz, strict=True)):
            asked = f"{list(start_xyz)}…{stop}"
            raise GeometryError(f"the box {asked} leaves {self.grid}", fix="pad first")
        box = tuple(slice(a, b) for a, b in zip(start_xyz, stop, strict=True))[::-1]
        index: Any = (..., *box)
        return replace(self, array=self.array[index], grid=self.grid.crop(start_xyz, size_xyz))

    def pad(
        self, before_xyz: Sequence[int], after_xyz: Sequence[int], *, value: float = 0
    ) -> Image:
        """Add voxels of ``value`` before and after, per axis in x, y(, z) order."""
        check_value(value, self.array.dtype)
        width = [(0, 0)] * (self.array.ndim - self.grid.dimension)
        width += list(zip(before_xyz, after_xyz, strict=True))[::-1]
        return replace(
            self,
            array=np.pad(self.array, width, constant_values=value),
            grid=self.grid.pad(before_xyz, after_xyz),
        )

    def flip(self, axis_xyz: int) -> Image:
        """Reverse the array along one axis (0 = x); every voxel stays where it is in the world."""
        grid = self.grid.flip(axis_xyz)
        return replace(self, array=np.flip(self.array, -1 - axis_xyz), grid=grid)

    def permute(self, axes_xyz: Sequence[int]) -> Image:
        """Reorder the axes; every voxel stays where it is in the world."""
        grid = self.grid.permute(axes_xyz)
        lead = self.array.ndim - self.grid.dimension
        last = self.array.ndim - 1
        order = [*range(lead), *(last - a for a in reversed(list(axes_xyz)))]
        return replace(self, array=self.array.transpose(order), grid=grid)


def _optional(value: ArrayLike | None, shape: tuple[int, ...], name: str) -> FloatArray | None:
    if value is None:
        return None
    array = np.array(value, np.float64)
    if array.shape != shape:
        raise LandmarkError(f"{name} has shape {array.shape}, not {shape}")
    return array


@dataclass(frozen=True, eq=False, init=False)
class Landmarks:
    """Named points in world coordinates, with what is known about each.

    ``points_mm`` is ``(L, D)`` float64, LPS, x, y(, z), in ``unit`` (millimetres but for images
    without physical spacing); an absent landmark has NaN. ``covariance_mm2`` is ``(L, D, D)``,
    ``confidence`` ``(L,)`` in 0…1. ``pairs`` lists (left, right) names that a mirror exchanges.
    """

    names: tuple[str, ...]
    points_mm: FloatArray
    present: NDArray[np.bool_]
    covariance_mm2: FloatArray | None
    confidence: FloatArray | None
    pairs: tuple[tuple[str, str], ...]
    unit: Unit
    meta: Mapping[str, Any] = field(repr=False)

    __setstate__ = restore

    def __init__(
        self,
        names: Iterable[str],
        points_mm: ArrayLike,
        *,
        present: ArrayLike | None = None,
        covariance_mm2: ArrayLike | None = None,
        confidence: ArrayLike | None = None,
        pairs: Iterable[tuple[str, str]] = (),
        unit: Unit = "mm",
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        self._set("names", tuple(str(n) for n in names))
        self._set("pairs", tuple((str(a), str(b)) for a, b in pairs))
        self._check_names()
        points = np.array(points_mm, np.float64)
        length = len(self.names)
        if points.ndim != 2 or points.shape[0] != length or points.shape[1] not in {2, 3}:
            raise LandmarkError(f"{length} names do not fit points of shape {points.shape}")
        finite = np.asarray(np.isfinite(points).all(axis=1))
        here = ~np.isnan(points).any(axis=1) if present is None else np.array(present, bool)
        if here.shape != finite.shape:
            raise LandmarkError(f"'present' has shape {here.shape}, not ({length},)")
        if (here & ~finite).any():
            wrong = [n for n, bad in zip(self.names, here & ~finite, strict=True) if bad]
            raise LandmarkError(f"present landmarks without finite coordinates: {', '.join(wrong)}")
        points[~here] = np.nan
        self._set("points_mm", points)
        self._set("present", here)
        dim = points.shape[1]
        self._set("covariance_mm2", _optional(covariance_mm2, (length, dim, dim), "covariance_mm2"))
        self._set("confidence", _optional(confidence, (length,), "confidence"))
        self._check_uncertainty()
        if unit not in {"mm", "px"}:
            raise LandmarkError(f"unit is 'mm' or 'px', not {unit!r}")
        self._set("unit", unit)
        self._set("meta", dict(meta or {}))

    def _set(self, name: str, value: Any) -> None:
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
        object.__setattr__(self, name, value)

    def _check_uncertainty(self) -> None:
        if self.confidence is not None and not np.all(
            np.isnan(self.confidence) | ((self.confidence >= 0) & (self.confidence <= 1))
        ):
            raise LandmarkError(f"confidence must be in 0…1, it is {self.confidence.tolist()}")
        if self.covariance_mm2 is None:
            return
        known = self.covariance_mm2[np.isfinite(self.covariance_mm2).all(axis=(1, 2))]
        scale = np.abs(known).max(axis=(1, 2), initial=0.0)
        skew = np.abs(known - known.transpose(0, 2, 1)).max(axis=(1, 2), initial=0.0)
        least = np.linalg.eigvalsh(known).min(axis=1, initial=0.0)
        if (skew > 1e-6 * scale).any() or (least < -1e-6 * scale).any():
            raise LandmarkError("a covariance must be symmetric without negative variances")

    def _check_names(self) -> None:
        twice = [n for n, count in Counter(self.names).items() if count > 1]
        if twice:
            listed = ", ".join(twice)
            raise LandmarkError(f"duplicate landmark names: {listed}", fix="rename one of each")
        if any(not n.strip() for n in self.names):
            raise LandmarkError("a landmark has no name", fix="give every point its own name")
        known, used = set(self.names), [n for pair in self.pairs for n in pair]
        unknown = [n for n in used if n not in known]
        if unknown or len(set(used)) != len(used):
            raise LandmarkError(
                f"left/right pairs must name known landmarks once each: {list(self.pairs)}"
            )

    # -- looking ---------------------------------------------------------------------------------

    @property
    def dimension(self) -> int:
        """2 or 3."""
        return int(self.points_mm.shape[1])

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, name: str) -> FloatArray:
        """The point ``(D,)`` of one landmark (NaN where absent)."""
        return cast("FloatArray", self.points_mm[self.row(name)])

    def row(self, name: str) -> int:
        """Row of a landmark in the arrays."""
        try:
            return self.names.index(name)
        except ValueError:
            known = f"known: {listed(self.names, 8)}"
            raise LandmarkError(f"there is no landmark {name!r}", fix=known) from None

    # -- changing: each returns new landmarks ----------------------------------------------------

    def select(self, names: Iterable[str], *, missing: str = "error") -> Landmarks:
        """These landmarks in this order; unknown names are an error or, if asked, ``absent``."""
        wanted = tuple(names)
        if missing not in {"error", "absent"}:
            raise ValueError(f"missing is 'error' or 'absent', not {missing!r}")
        rows = [
            self.names.index(n) if n in self.names else (-1 if missing == "absent" else self.row(n))
            for n in wanted
        ]
        index = np.asarray(rows, int)
        known = index >= 0

        def pick(values: FloatArray | None) -> FloatArray | None:
            if values is None:
                return None
            picked = np.array(values[index])
            picked[~known] = np.nan
            return picked

        return replace(
            self,
            names=wanted,
            points_mm=cast("FloatArray", pick(self.points_mm)),
            present=self.present[index] & known,
            covariance_mm2=pick(self.covariance_mm2),
            confidence=pick(self.confidence),
            pairs=tuple(p for p in self.pairs if p[0] in wanted and p[1] in wanted),
        )

    def renamed(self, new_names: Mapping[str, str]) -> Landmarks:
        """Give some landmarks other names."""
        for name in new_names:
            self.row(name)
        return replace(
            self,
            names=tuple(new_names.get(n, n) for n in self.names),
            pairs=tuple((new_names.get(a, a), new_names.get(b, b)) for a, b in self.pairs),
        )

    def moved(self, warp: Map) -> Landmarks:
        """Push the points through a map, and their covariance with its derivative.

        A map that mirrors also exchanges left and right names, because what was the left eye is
        now where a right eye belongs.
        """
        if warp.dimension != self.dimension:
            raise GeometryError(f"a {warp.dimension}D map cannot move {self.dimension}D landmarks")
        points = np.array(self.points_mm)
        here = self.present
        points[here] = warp(self.points_mm[here])
        covariance = self.covariance_mm2
        if covariance is not None:
            covariance = np.array(covariance)
            slope = warp.jacobian(self.points_mm[here])
            covariance[here] = slope @ covariance[here] @ slope.transpose(0, 2, 1)
        moved = replace(self, points_mm=points, covariance_mm2=covariance)
        return moved.sides_swapped() if warp.mirrors else moved

    def sides_swapped(self) -> Landmarks:
        """Exchange the names of each left/right pair; the order of names stays."""
        other = {a: b for pair in self.pairs for a, b in (pair, pair[::-1])}
        swapped = replace(self, names=tuple(other.get(n, n) for n in self.names))
        return replace(swapped.select(self.names), pairs=self.pairs)

    def __repr__(self) -> str:
        absent = len(self) - int(self.present.sum())
        note = f", {absent} absent" if absent else ""
        return f"Landmarks({len(self)} points in {self.dimension}D {self.unit}{note})"


def mean_landmarks(readings: Sequence[Landmarks]) -> Landmarks:
    """Mean of several observers; a point is present where every observer saw it.

    ``meta['observers']`` says how many were pooled, so that a table can name its truth.
    """
    if not readings:
        raise LandmarkError("there are no readings to average")
    first = readings[0]
    for other in readings[1:]:
        if other.names != first.names or other.unit != first.unit:
            raise LandmarkError("observers to be averaged must mark the same names in one unit")
    points = np.mean([r.points_mm for r in readings], axis=0)
    return replace(
        first,
        points_mm=points,
        present=np.all([r.present for r in readings], axis=0),
        covariance_mm2=None,
        confidence=None,
        meta={**first.meta, "observers": len(readings)},
    )


@dataclass(frozen=True)
class Sample:
    """An image, its landmarks and those of ``observers`` in its world, labels on its voxels."""

    case: str
    image: Image
    landmarks: Landmarks | None = None
    mask: Image | None = None
    observers: Mapping[str, Landmarks] = field(default_factory=dict, repr=False)
    domain: str = ""
    info: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Case:
    """One row of a cohort: where the files of a case are, not what is in them.

    ``observers`` holds the landmark file of each named observer. ``pair`` names the case that
    shows the same anatomy in another image, ``transform`` the file of the map that pushes points
    of this case onto that one.
    """

    case: str
    image: Path
    landmarks: Path | None = None
    observers: Mapping[str, Path] = field(default_factory=dict)
    mask: Path | None = None
    patient: str = ""
    domain: str = ""
    split: str = ""
    pair: str = ""
    transform: Path | None = None
    spacing: tuple[float, ...] | None = None
    info: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Cohort:
    """A table of cases with the landmarks they share.

    ``names`` are the landmark names per domain; a cohort of one body part has one domain, ``""``.
    ``truth`` says how observers are used: the name of one, or ``mean``.
    """

    root: Path
    cases: tuple[Case, ...]
    names: Mapping[str, tuple[str, ...]]
    pairs: tuple[tuple[str, str], ...] = ()
    unit: Unit = "mm"
    spacing: tuple[float, ...] | None = None
    truth: str = ""
    seed: int = 0
    about: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, name: str) -> Case:
        """The case of that name."""
        for case in self.cases:
            if case.case == name:
                return case
        some = ", ".join(c.case for c in self.cases[:5])
        raise CohortError(f"there is no case {name!r}", path=self.root, fix=f"there is {some}, …")

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(names)} {domain}".strip() for domain, names in self.names.items())
        return f"Cohort({len(self)} cases, landmarks: {counts or 'none'}, {self.unit}, {self.root})"

    @property
    def domains(self) -> tuple[str, ...]:
        """The body parts or modalities, in order of appearance."""
        return tuple(dict.fromkeys(case.domain for case in self.cases))

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the parts (train, validation, …), in order of appearance."""
        return tuple(dict.fromkeys(case.split for case in self.cases))

    def select(self, *, split: str | None = None, domain: str | None = None) -> Cohort:
        """Only the cases of one part or one domain."""
        kept = tuple(
            c
            for c in self.cases
            if (split is None or c.split == split) and (domain is None or c.domain == domain)
        )
        return replace(self, cases=kept)


def names_of(cohort: Cohort, domain: str) -> tuple[str, ...]:
    """Landmark names of a domain; ``()`` where the cohort has no landmarks."""
    return tuple(cohort.names.get(domain, ()))
