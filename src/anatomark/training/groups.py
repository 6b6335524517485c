"""The domains of a recipe with their cases: one group, or one for each body part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from anatomark.data import Cohort
from anatomark.errors import UsageError
from anatomark.io.cohorts.files import read_cohort
from anatomark.models.recipe import Recipe
from anatomark.training.cases import (
    PREPARED_FILE,
    Cases,
    CohortCases,
    Store,
    open_cases,
    split_cases,
)

Source = str | PathLike[str] | Cohort
Data = Source | Mapping[str, Source]


@dataclass(frozen=True, eq=False)
class Group:
    """Cases of one domain (``""`` is the only one) and the recipe as this domain sees it."""

    domain: str
    recipe: Recipe
    cases: Cases
    store: Store
    train: tuple[str, ...]
    validation: tuple[str, ...]

    @property
    def row_pairs(self) -> list[tuple[int, int]]:
        """Rows of landmarks that change places in a mirror."""
        rows = {name: row for row, name in enumerate(self.cases.names)}
        return [(rows[a], rows[b]) for a, b in self.cases.pairs]


def open_groups(data: Data, recipe: Recipe) -> tuple[Group, ...]:
    """The cases of each domain of a recipe, in its order.

    ``data`` names a cohort for each domain, or is one that has all of them: a cohort with such
    domains, or a folder of what ``anatomark prepare`` wrote. A recipe without domains has one.
    """
    views = recipe.views()
    found = cases_of(data, recipe)
    groups = []
    for domain, view in views.items():
        train, validation = split_cases(found[domain], view)
        store = Store(found[domain], recipe.training.memory_gb / len(views))
        groups.append(Group(domain, view, found[domain], store, train, validation))
    return tuple(groups)


def cases_of(data: Data, recipe: Recipe) -> dict[str, Cases]:
    """The cases of each domain, not yet divided."""
    views = recipe.views()
    if isinstance(data, Mapping):
        unknown = [domain for domain in data if domain not in views]
        if unknown:
            said = f"there is {', '.join(views)}" if recipe.domains else "leave DOMAIN= away"
            raise UsageError(f"the recipe has no domain {unknown[0]}", fix=said)
    return {domain: _cases(data, view, domain) for domain, view in views.items()}


def _cases(data: Data, view: Recipe, domain: str) -> Cases:
    if not isinstance(data, Mapping):
        return _of_many(data, view, domain) if domain else open_cases(data, view)
    if domain not in data:
        raise UsageError(
            f"there are no data of the domain {domain}", fix=f"add --data {domain}=COHORT"
        )
    own = data[domain]
    if not isinstance(own, Cohort) and (Path(own) / PREPARED_FILE).is_file():
        return open_cases(own, view)
    cohort = own if isinstance(own, Cohort) else read_cohort(own)
    return CohortCases(cohort, view, domain=domain if domain in cohort.domains else None)


def _of_many(data: Source, view: Recipe, domain: str) -> Cases:
    if not isinstance(data, Cohort) and (Path(data) / domain / PREPARED_FILE).is_file():
        return open_cases(Path(data) / domain, view)
    if not isinstance(data, Cohort):
        _check_prepared(Path(data), domain)
    return CohortCases(data if isinstance(data, Cohort) else read_cohort(data), view, domain=domain)


def _check_prepared(folder: Path, domain: str) -> None:
    """Raise if this is what ``anatomark prepare`` wrote, but not of this domain."""
    if (folder / PREPARED_FILE).is_file():
        raise UsageError(
            "was prepared by itself, not as one of several domains", path=folder,
            fix=f"say --data {domain}={folder} and so for each domain, if it is of this one",
        )  # fmt: skip
    there = sorted(file.parent.name for file in folder.glob(f"*/{PREPARED_FILE}"))
    if there:
        raise UsageError(
            f"has no prepared cases of the domain {domain}; there is {', '.join(there)}",
            path=folder, fix="prepare the data again with this recipe, into another folder",
        )  # fmt: skip


def parse_data(given: list[str]) -> Data:
    """What ``--data`` says: a path, or ``DOMAIN=PATH`` for each domain."""
    named: dict[str, Any] = {}
    for text in given:
        domain, equals, path = text.partition("=")
        if not equals or Path(text).exists():
            if len(given) > 1:
                raise UsageError(f"which domain is {text}?", fix="say DOMAIN=PATH in each --data")
            return text
        if domain in named:
            raise UsageError(f"there are two --data of the domain {domain}", fix="name one cohort")
        named[domain] = path
    return named
