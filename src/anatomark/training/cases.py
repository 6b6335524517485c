"""Cases as training sees them: on the network's grid, decoded once, kept within a memory bound."""

from __future__ import annotations

import json
import threading
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from anatomark.data import Case, Cohort, Sample, names_of
from anatomark.errors import AnatomarkError, TrainingError, UsageError
from anatomark.geometry import Grid
from anatomark.io.cohorts.cases import load_sample, pairs_of
from anatomark.io.cohorts.files import read_cohort
from anatomark.io.files import check_readable, read_text, writing
from anatomark.io.json_files import write_json
from anatomark.models.checks import raw_statistics
from anatomark.models.preparation import body, prepare, to_network
from anatomark.models.recipe import Recipe

PREPARED_FILE = "prepared.json"
_FORMAT, _VERSION = "anatomark-prepared", 2


@dataclass(frozen=True, eq=False)
class Example:
    """One case on the network's grid.

    ``array`` ``(C, *shape)``; ``points`` ``(L, D)`` normalised, 0 where absent; ``present``
    ``(L,)``; ``extent_mm`` ``(D,)``, x, y(, z); ``statistics`` of the grey values as they were.
    ``mask`` ``(1, *shape)`` is where the body is, for methods that match.
    """

    case: str
    array: NDArray[Any]
    points: NDArray[np.float32]
    present: NDArray[np.bool_]
    extent_mm: NDArray[np.float64]
    statistics: Mapping[str, float]
    mask: NDArray[np.bool_] | None = None

    @property
    def nbytes(self) -> int:
        """Memory of the image."""
        return int(self.array.nbytes) + (0 if self.mask is None else int(self.mask.nbytes))


class Cases(Protocol):
    """Where examples come from."""

    names: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    unit: str
    source: str
    splits: Mapping[str, tuple[str, ...]]  # cases in the order of the cohort
    patients: Mapping[str, str]

    def load(self, case: str) -> Example:
        """Read one case."""
        ...


class CohortCases:
    """Cases straight from a cohort.

    Of a universal recipe, those of ``domain``; ``None`` is the only one.
    """

    def __init__(self, cohort: Cohort, recipe: Recipe, *, domain: str | None = None) -> None:
        chosen = _domain(cohort, domain or recipe.data.domain)
        self._cohort, self._recipe = cohort, recipe
        self._cases = {case.case: case for case in chosen}
        domain = chosen[0].domain
        self.names = () if recipe.matches else names_of(cohort, domain)
        self.pairs = pairs_of(cohort, self.names)
        self.unit: str = cohort.unit
        self.source = str(cohort.root)
        self.patients: Mapping[str, str] = {case.case: case.patient or case.case for case in chosen}
        splits: dict[str, list[str]] = {}
        for case in chosen:
            splits.setdefault(case.split, []).append(case.case)
        self.splits: Mapping[str, tuple[str, ...]] = {
            split: tuple(cases) for split, cases in splits.items()
        }

    def load(self, case: str) -> Example:
        """Read and prepare one case of the cohort."""
        try:
            return self._load(self._cases[case])
        except AnatomarkError as fault:
            raise fault.at(self._cases[case].image) from None

    def _load(self, case: Case) -> Example:
        recipe = self._recipe
        sample = load_sample(self._cohort, case, grey=recipe.data.channels == 1)
        ready = prepare(sample.image, recipe.grid, recipe.intensity, channels=recipe.data.channels)
        points, present = self._points(sample, ready.grid)
        above = recipe.data.body_above
        return Example(
            case.case, _small(ready.array, recipe), points, present,
            np.asarray(ready.grid.extent), raw_statistics(sample.image, recipe),
            None if above is None else body(ready.array, above),
        )  # fmt: skip

    def _points(self, sample: Sample, grid: Grid) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        if self._recipe.matches:
            return np.zeros((0, grid.dimension), np.float32), np.zeros(0, bool)
        if sample.landmarks is None:
            raise TrainingError(
                f"case {sample.case!r} has no landmarks", fix="drop it from the split"
            )
        return to_network(sample.landmarks, grid)


def _small(array: NDArray[np.float32], recipe: Recipe) -> NDArray[Any]:
    # Normalised values need no more than 11 bits; raw ones (HU, 16-bit films) do.
    return array if recipe.intensity.kind == "none" else array.astype(np.float16)


def _domain(cohort: Cohort, domain: str | None) -> tuple[Case, ...]:
    found = [case for case in cohort.cases if domain is None or case.domain == domain]
    domains = {case.domain for case in found}
    if not found:
        raise UsageError(
            f"the cohort has no cases of the domain {domain!r}", path=cohort.root,
            fix=f"data.domain is one of {', '.join(map(repr, cohort.domains))}",
        )  # fmt: skip
    if len(domains) > 1:
        raise UsageError(
            f"the cohort has the domains {', '.join(sorted(domains))}", path=cohort.root,
            fix="choose one with domain = … under [data], or --domain",
        )  # fmt: skip
    return tuple(found)


# -- prepared once, read without any image library -------------------------------------------------


def write_prepared(
    cases: Cases,
    recipe: Recipe,
    folder: str | PathLike[str],
    *,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> None:
    """Write every case as the recipe shows it: one ``.npz`` a case, and ``prepared.json`` last."""
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    files = {}
    every = [case for split in cases.splits.values() for case in split]
    for number, case in enumerate(every):
        example = cases.load(case)
        progress(number, len(every))
        files[case] = f"{number:06d}.npz"
        with writing(root / files[case]) as temporary, temporary.open("wb") as stream:
            mask: dict[str, Any] = {} if example.mask is None else {"mask": example.mask}
            np.savez(
                stream, array=example.array, points=example.points, present=example.present,
                extent_mm=example.extent_mm, statistics=json.dumps(dict(example.statistics)),
                **mask,
            )  # fmt: skip
    record = {
        "format": _FORMAT, "version": _VERSION, "view": _view(recipe), "names": cases.names,
        "pairs": cases.pairs, "unit": cases.unit, "source": cases.source,
        "splits": dict(cases.splits), "patients": dict(cases.patients), "files": files,
    }  # fmt: skip
    write_json(root / PREPARED_FILE, record)


def _view(recipe: Recipe) -> dict[str, Any]:
    """What of a recipe decides how a case looks."""
    full = recipe.complete()
    above = recipe.data.body_above
    mask = {} if above is None else {"body_above": above}
    return {
        "grid": full["grid"], "intensity": full["intensity"], "channels": recipe.data.channels,
        "domain": recipe.data.domain, **mask,
    }  # fmt: skip


class PreparedCases:
    """Cases that ``write_prepared`` wrote."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        file = folder / PREPARED_FILE
        try:
            record = json.loads(read_text(file, TrainingError))
        except ValueError as fault:
            raise TrainingError(
                f"is damaged ({fault})", path=file, fix="prepare it again"
            ) from None
        if record.get("format") != _FORMAT or record.get("version") != _VERSION:
            raise TrainingError(
                "is not what this anatomark prepare writes", path=file, fix="prepare it again"
            )
        if record["view"] != json.loads(json.dumps(_view(recipe))):
            raise TrainingError(
                "was prepared with another grid, domain or intensities than the recipe's",
                path=file, fix="prepare it again with this recipe",
            )  # fmt: skip
        self._folder, self._files = folder, record["files"]
        self.names = tuple(record["names"])
        self.pairs = tuple((a, b) for a, b in record["pairs"])
        self.unit, self.source = record["unit"], record["source"]
        self.splits: Mapping[str, tuple[str, ...]] = {
            split: tuple(cases) for split, cases in record["splits"].items()
        }
        self.patients: Mapping[str, str] = record["patients"]

    def load(self, case: str) -> Example:
        """Read one case."""
        file = check_readable(self._folder / self._files[case], TrainingError)
        try:
            with file.open("rb") as stream, np.load(stream) as held:
                return Example(
                    case, held["array"], held["points"], held["present"], held["extent_mm"],
                    json.loads(str(held["statistics"])), held.get("mask"),
                )  # fmt: skip
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as fault:
            raise TrainingError(f"is damaged ({fault})", path=file, fix="prepare again") from None


def open_cases(data: str | PathLike[str] | Cohort, recipe: Recipe) -> Cases:
    """A cohort, or a folder that ``anatomark prepare`` wrote."""
    if isinstance(data, Cohort):
        return CohortCases(data, recipe)
    folder = Path(data)
    if (folder / PREPARED_FILE).is_file():
        return PreparedCases(folder, recipe)
    return CohortCases(read_cohort(folder), recipe)


# -- in memory ---------------------------------------------------------------------------------


class Store:
    """Examples, kept in memory as long as they fit in ``memory_gb``; the rest is read each time.

    Nothing is thrown out for something newer: when every case is asked for once an epoch, that
    would only move memory about.
    """

    def __init__(self, cases: Cases, memory_gb: float) -> None:
        self._cases, self._left = cases, memory_gb * 1e9
        self._held: dict[str, Example] = {}
        self._lock = threading.Lock()

    def __getitem__(self, case: str) -> Example:
        held = self._held.get(case)
        if held is not None:
            return held
        example = self._cases.load(case)
        with self._lock:
            if case not in self._held and example.nbytes <= self._left:
                self._held[case] = example
                self._left -= example.nbytes
        return example


def split_cases(cases: Cases, recipe: Recipe) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Training and validation cases; without such a split, patients are drawn from training.

    All cases of a cohort that is not divided are training cases.
    """
    data = recipe.data
    train = cases.splits.get("" if set(cases.splits) == {""} else data.train, ())
    if not train:
        known = ", ".join(repr(s) for s in cases.splits)
        raise UsageError(
            f"there are no cases of the split {data.train!r}", path=cases.source,
            fix=f"the cohort has the splits {known}; set train = … under [data]",
        )  # fmt: skip
    if cases.splits.get(data.validation):
        validation = cases.splits[data.validation]
        _no_leak(cases, train, validation)
        return train, validation
    patients = list(dict.fromkeys(cases.patients[case] for case in train))
    if len(patients) < 2:
        raise UsageError(
            "one patient cannot be divided into training and validation", path=cases.source,
            fix="add cases",
        )  # fmt: skip
    count = min(max(round(len(patients) * data.validation_part), 1), len(patients) - 1)
    drawn = np.random.default_rng([recipe.seed, 1]).permutation(len(patients))[:count]
    chosen = {patients[i] for i in drawn} if data.draw == "random" else {*patients[-count:]}
    return (
        tuple(c for c in train if cases.patients[c] not in chosen),
        tuple(c for c in train if cases.patients[c] in chosen),
    )


def _no_leak(cases: Cases, train: Sequence[str], validation: Sequence[str]) -> None:
    known = {cases.patients[case] for case in train}
    shared = sorted({cases.patients[case] for case in validation} & known)
    if shared:
        raise UsageError(
            f"{', '.join(shared[:3])}{', …' if len(shared) > 3 else ''} would be in training and "
            "in validation",
            path=cases.source, fix="name two parts that share no patient under [data]",
        )  # fmt: skip


def never_present(examples: Iterable[Example], names: Sequence[str]) -> list[str]:
    """Landmarks that no example has."""
    seen = np.zeros(len(names), bool)
    for example in examples:
        seen |= example.present
    return [name for name, there in zip(names, seen, strict=True) if not there]
