"""Cross-validation: every case is found by a model that was trained without its patient."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np

from anatomark.data import Case, Cohort, Landmarks
from anatomark.errors import UsageError
from anatomark.inference.detector import Detector
from anatomark.inference.files import Output, for_file
from anatomark.io.cohorts.cases import load_sample
from anatomark.io.cohorts.files import read_cohort
from anatomark.io.files import read_text, write_text
from anatomark.io.landmarks.formats import write_landmarks
from anatomark.metrics.evaluation import Evaluation, evaluate
from anatomark.metrics.report import write_evaluation
from anatomark.metrics.sources import read_truth
from anatomark.models.files import WEIGHTS_FILE, load_model
from anatomark.models.recipe import Recipe
from anatomark.training.run import Machine, train

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
    machine: Machine | None = None,
    bar: bool = False,
    progress: Progress = lambda *_: None,
) -> CrossValidated:
    """Train one model a fold into ``out``, find the points of the cases it has not seen, measure.

    Cases of the recipe's training and validation parts take part; a test part stays untouched.
    Patients are never divided. Each model draws its own validation cases from its training cases.
    A cross-validation that was stopped goes on; ``pictures`` shows the worst cases in the report.
    """
    cohort = data if isinstance(data, Cohort) else read_cohort(data)
    folder = Path(out)
    cases = _chosen(cohort, recipe)
    parts = divide(cases, folds, recipe.seed)
    _begin(folder, recipe, cohort, parts)
    found: dict[str, Landmarks] = {}
    for number, part in enumerate(parts):
        progress(number, folds)
        fold = _fold(cohort, cases, recipe, set(part))
        run = folder / f"fold-{number + 1}"
        if not (run / WEIGHTS_FILE).is_file():
            begun = (run / "recipe.toml").is_file()
            train(recipe, fold, run, resume=begun, machine=machine, bar=bar)
        found |= _found(run, fold, recipe, (machine or Machine()).device, folder / "found")
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
            f"{len(patients)} patients cannot be divided into {folds} folds",
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


def _found(
    run: Path, fold: Cohort, recipe: Recipe, device: str, folder: Path
) -> dict[str, Landmarks]:
    detector = Detector(load_model(run), device=device)
    found = {}
    for case in fold.select(split=_TEST).cases:
        sample = load_sample(fold, case, grey=recipe.data.channels == 1)
        findings = detector.detect(sample.image).findings
        found[case.case] = findings.landmarks
        kind: Output = "mrk.json" if findings.landmarks.unit == "mm" else "json"
        write_landmarks(for_file(findings, kind), folder / f"{case.case}.{kind}")
    return found


def _begin(
    folder: Path, recipe: Recipe, cohort: Cohort, parts: tuple[tuple[str, ...], ...]
) -> None:
    """Refuse to go on with what was begun otherwise: its models would be taken for these."""
    path = folder / FOLDS_FILE
    now = {
        "recipe": recipe.complete(), "data": str(cohort.root.resolve()),
        "folds": [list(part) for part in parts],
    }  # fmt: skip
    if not path.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise UsageError("the folder is not empty", path=folder, fix="name another for --out")
        write_text(path, json.dumps(now, indent=1))
        return
    then = json.loads(read_text(path, UsageError))
    other = [key for key, value in now.items() if then.get(key) != value]
    if other:
        raise UsageError(
            f"was begun with other {' and '.join(other)}", path=folder,
            fix="name another folder for --out",
        )  # fmt: skip
