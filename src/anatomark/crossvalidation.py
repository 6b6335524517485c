"""Cross-validation: every case is found by a model that was trained without its patient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np

from anatomark.data import Case, Cohort, Landmarks
from anatomark.errors import UsageError, counted
from anatomark.inference.detector import Detector
from anatomark.inference.files import detect_cases, for_file, output_for
from anatomark.io.cohorts.files import read_cohort
from anatomark.io.landmarks.formats import write_landmarks
from anatomark.metrics.evaluation import Evaluation, evaluate
from anatomark.metrics.report import write_evaluation
from anatomark.metrics.sources import read_truth
from anatomark.models.files import load_model
from anatomark.models.recipe import Recipe
from anatomark.training.run import Machine
from anatomark.training.study import begin_study, train_once

FOLDS_FILE = "folds.json"
_TEST = "test of a fold"  # no name that a cohort would have
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class CrossValidated:
    """The evaluation of all cases together; ``folds`` are the cases that each model was tested on.

    ``report`` is the page with its tables and plots.
    """

    evaluation: Evaluation
    folds: tuple[tuple[str, ...], ...]
    report: Path


def crossvalidate(
    recipe: Recipe,
    data: str | PathLike[str] | Cohort,
    out: str | PathLike[str],
    *,
    folds: int = 5,
    pictures: bool = False,
    views: int = 1,
    machine: Machine | None = None,
    progress: Progress = lambda *_: None,
) -> CrossValidated:
    """Train one model a fold into ``out``, find the points of the cases it has not seen, measure.

    Cases of the recipe's training and validation parts take part; a test part stays untouched.
    Patients are never divided. Each model draws its own validation cases from its training cases.
    A cross-validation that was stopped goes on; ``pictures`` shows the worst cases in the report,
    ``views`` are those of ``Detector``.
    """
    if recipe.domains:
        raise UsageError(
            "a recipe with [domains] cannot be cross-validated",
            fix="leave [domains] away: zhu2021 trains on a single domain too",
        )
    if recipe.matches:
        raise UsageError(
            "a recipe of a method that matches images cannot be cross-validated",
            fix="train it, and look at its model card",
        )
    cohort = data if isinstance(data, Cohort) else read_cohort(data)
    folder, where = Path(out), machine or Machine()
    cases = _chosen(cohort, recipe)
    parts = divide(cases, folds, recipe.seed)
    now = {
        "recipe": recipe.complete(), "data": str(cohort.root.resolve()),
        "folds": [list(part) for part in parts],
    }  # fmt: skip
    begin_study(folder, FOLDS_FILE, now)
    found: dict[str, Landmarks] = {}
    for number, part in enumerate(parts):
        progress(number, folds)
        fold = _fold(cohort, cases, recipe, set(part))
        run = folder / f"fold-{number + 1}"
        train_once(recipe, fold, run, where)
        detector = Detector(load_model(run), device=where.device, views=views)
        for case, one in detect_cases(detector, fold.select(split=_TEST)).items():
            found[case] = one.landmarks
            kind = output_for(one.landmarks.unit)
            write_landmarks(for_file(one.findings, kind), folder / "found" / f"{case}.{kind}")
    progress(folds, folds)
    truth = read_truth(cohort.root, domain=recipe.data.domain)
    chosen = replace(truth, landmarks={c: m for c, m in truth.landmarks.items() if c in found})
    result = evaluate(chosen, found, said=f"{recipe.name}, {folds} folds")
    shown = {"truth": chosen.landmarks, "prediction": found, "image": truth.image}
    report = write_evaluation(result, folder / "evaluation", **(shown if pictures else {}))  # type: ignore[arg-type]
    return CrossValidated(result, parts, report)


def divide(cases: tuple[Case, ...], folds: int, seed: int) -> tuple[tuple[str, ...], ...]:
    """Cases of each fold: patients are dealt out in a random order, all cases of one together."""
    patients = list(dict.fromkeys(case.patient or case.case for case in cases))
    if not 2 <= folds <= len(patients):
        raise UsageError(
            f"{counted(len(patients), 'patient')} cannot be divided into {folds} folds",
            fix=f"choose 2 to {len(patients)} folds",
        )
    order = np.random.default_rng([seed, 2]).permutation(len(patients))
    fold_of = {patients[i]: place % folds for place, i in enumerate(order)}
    return tuple(
        tuple(c.case for c in cases if fold_of[c.patient or c.case] == k) for k in range(folds)
    )


def _chosen(cohort: Cohort, recipe: Recipe) -> tuple[Case, ...]:
    parts = {recipe.data.train, recipe.data.validation}
    domain = recipe.data.domain
    found = tuple(
        c for c in cohort.cases if c.split in parts and (domain is None or c.domain == domain)
    )
    if not found:
        raise UsageError(
            f"there are no cases of the parts {' and '.join(sorted(parts))}", path=cohort.root,
            fix=f"the cohort has {', '.join(map(repr, cohort.splits))}; see [data] of the recipe",
        )  # fmt: skip
    return found


def _fold(cohort: Cohort, cases: tuple[Case, ...], recipe: Recipe, test: set[str]) -> Cohort:
    split = {True: _TEST, False: recipe.data.train}
    return replace(cohort, cases=tuple(replace(c, split=split[c.case in test]) for c in cases))
