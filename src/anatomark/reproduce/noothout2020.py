"""Tables I, II and IV of Noothout 2020, and its curves of success rates.

The data of two of its three experiments are not public: phantoms stand in for what is not given,
and every output says so. Errors are medians with the interquartile range, as in the paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anatomark.data import Cohort
from anatomark.datasets.phantoms.cohorts import write_phantoms
from anatomark.datasets.phantoms.ct.thorax_root import THORAX_LANDMARKS
from anatomark.geometry import FloatArray
from anatomark.inference.detector import Detector
from anatomark.inference.files import detect_cases
from anatomark.io.cohorts.files import read_cohort
from anatomark.io.landmarks.isbi import ISBI_NAMES
from anatomark.metrics.evaluation import evaluate
from anatomark.metrics.observers import reference_lines
from anatomark.metrics.paired import wilcoxon
from anatomark.metrics.plots import cumulative, save_plot
from anatomark.metrics.records import read_run
from anatomark.metrics.report import write_evaluation
from anatomark.metrics.sources import Truth, read_truth
from anatomark.models.files import load_model
from anatomark.models.recipe import Recipe, parse_recipe, read_recipe
from anatomark.reproduce.common import (
    Budget,
    Plot,
    Progress,
    Reproduced,
    Table,
    about,
    begin,
    by_name,
    test_cases,
    tested_part,
    with_test_cases,
)
from anatomark.reproduce.noothout2020_published import (
    OLFACTORY,
    TABLE1,
    TABLE2,
)
from anatomark.training.groups import Data
from anatomark.training.run import Machine
from anatomark.training.study import train_once

EXPERIMENTS = {"ccta": "thorax", "olfactory": "olfactory", "ceph": "head"}  # phantoms of each
LEVELS = ((0.001, "‡"), (0.01, "†"), (0.05, "*"))
CURVES = "sdr.png"
CURVE = tuple(0.5 * k for k in range(1, 11))
_SMALL_SHAPE = {"ccta": (48, 68, 68), "olfactory": (28, 128, 128), "ceph": (400, 320)}
_SMALL_CASES, _SMALL_SPLIT = 80, "0.6,0.1,0.3"
_PAPER = {"ccta": (672, "0.613,0.089,0.298"), "olfactory": (61, "0.59,0.082,0.328"),
          "ceph": (400, "0.35,0.025,0.625")}  # fmt: skip


class Measured(NamedTuple):
    """Errors of the test cases, ``(cases, landmarks)``, NaN where either point is absent."""

    names: tuple[str, ...]
    errors: FloatArray
    unit: str
    splits: tuple[str, ...] = ()  # of the cases


def reproduce(
    out: str | PathLike[str],
    *,
    data: Data | None = None,
    budget: Budget = "small",
    seed: int = 0,
    machine: Machine | None = None,
    progress: Progress = lambda *_: None,
) -> Reproduced:
    """Train what the tables need, and measure it on the cases of splits that begin with ``test``.

    ``data`` is a cohort for each of ccta, olfactory and ceph that there is. ``budget="paper"`` has
    the published sizes and settings. What is finished in ``out`` is not done again.
    """
    folder = Path(out)
    begin(folder, "noothout2020", data, budget, seed)
    cohorts = _cohorts(folder, data, budget, seed)
    truth = {name: read_truth(cohort.root) for name, cohort in cohorts.items()}
    runs = [("ccta", key) for key in TABLE1] + [("olfactory", "ml"), ("ceph", "ml")]
    found: dict[str, dict[str, Measured]] = {name: {} for name in EXPERIMENTS}
    for number, (experiment, key) in enumerate(runs):
        progress(number, len(runs))
        recipe = recipe_of(experiment, key, budget, seed)
        place = folder / experiment / key
        found[experiment][key] = _row(
            place, cohorts[experiment], truth[experiment], recipe, machine or Machine()
        )
    progress(len(runs), len(runs))
    for experiment, rows in found.items():
        _curves(folder / experiment, rows, cohorts[experiment], truth[experiment])
    said = about(cohorts, data)
    tables = [_table1(found["ccta"]), _landmarks(found["ccta"]), _table4(found["olfactory"]),
              _table2(found["ceph"])]  # fmt: skip
    cases = ", ".join(f"{name} {len(rows['ml'].errors)}" for name, rows in found.items())
    done = Reproduced(
        "Noothout 2020", tables, _verdict(found["ccta"]), said, _record(found, said, budget),
        f"Test cases: {cases}. Median (interquartile range) of the radial error. Wilcoxon "
        "signed-rank test of paired errors, not corrected, as in the paper: * p < 0.05, "
        "† p < 0.01, ‡ p < 0.001; global rows against R_log + C, the last two against each other.",
        [Plot(folder / name / CURVES, f"{name}: share of points against the error, with the "
              "observers where there are some") for name in found],
    )  # fmt: skip
    done.write(folder)
    return done


def _cohorts(folder: Path, data: Data | None, budget: Budget, seed: int) -> dict[str, Cohort]:
    given = by_name(data, tuple(EXPERIMENTS), "experiment")
    return {name: _cohort(folder, name, given.get(name), budget, seed) for name in EXPERIMENTS}


def _cohort(folder: Path, name: str, given: Any, budget: Budget, seed: int) -> Cohort:
    if given is not None:
        return with_test_cases(given if isinstance(given, Cohort) else read_cohort(given))
    place = folder / "phantoms" / name
    if not (place / "cohort.toml").is_file():
        paper = budget == "paper"
        cases, split = _PAPER[name] if paper else (_SMALL_CASES, _SMALL_SPLIT)
        write_phantoms(
            EXPERIMENTS[name], place, cases=cases, seed=seed + 7000, split=split,
            shape=None if paper else _SMALL_SHAPE[name],
        )  # fmt: skip
    return read_cohort(place, check=False)


def recipe_of(experiment: str, key: str, budget: Budget, seed: int) -> Recipe:
    """The published recipe of an experiment, with what a row changes and a budget reduces."""
    record = read_recipe(f"noothout2020-{experiment}").complete()
    row = TABLE1[key]
    record |= {"name": f"{experiment}-{key}", "seed": seed}
    record["settings"] |= row.settings
    if budget == "small":
        record["grid"] |= _SMALL_GRID[experiment]
        record["settings"] |= {**_SMALL_NET, **_SMALL_SETTINGS[experiment]}
        record["training"] |= _SMALL_TRAINING
        record["data"] |= {"validation_part": 0.15}
    return parse_recipe(record)


_SMALL_GRID: Mapping[str, Mapping[str, Any]] = {
    "ccta": {"size": [68, 68, 48], "spacing": None},
    "olfactory": {"size": [128, 128, 32], "spacing": None},
    "ceph": {"size": [160, 208], "spacing": None},
}
_SMALL_NET = {
    "widths": [8, 16, 32, 48, 64], "pairs": [2, 2, 2, 2], "head": 64, "local_widths": [16, 32],
    "local_head": 32, "local_size": 12,
}  # fmt: skip
_SMALL_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "ccta": {"sub_image": [36, 36, 36], "pools": [True, False, False, False]},
    "olfactory": {"sub_image": [48, 48, 32], "pools": [True, False, False, False]},
    "ceph": {"sub_image": [112, 112], "pools": [True, True, False, False]},
}
_SMALL_TRAINING = {
    "epochs": 10, "steps_per_epoch": 90, "validate_every": 2, "schedule": "cosine",
    "warmup_steps": 20,
}  # fmt: skip


def _row(place: Path, cohort: Cohort, truth: Truth, recipe: Recipe, machine: Machine) -> Measured:
    """Train, measure and report one model, or read what was measured."""
    if not (place / "evaluation" / "metrics.json").is_file():
        run = place / "run"
        train_once(recipe, cohort, run, machine)
        detector = Detector(load_model(run), device=machine.device)
        found = detect_cases(detector, tested_part(cohort))
        points = {case: one.landmarks for case, one in found.items()}
        kept = {case: marks for case, marks in truth.landmarks.items() if case in points}
        result = evaluate(
            replace(truth, landmarks=kept), points, said=recipe.name, thresholds=CURVE, draws=500
        )
        write_evaluation(result, place / "evaluation")
    table = read_run(place / "evaluation").table
    splits = {case.case: case.split for case in cohort.cases}
    return Measured(
        table.names, table.errors, table.unit, tuple(splits[case] for case in table.cases)
    )


def _curves(folder: Path, rows: Mapping[str, Measured], cohort: Cohort, truth: Truth) -> None:
    """Success rates against the distance (Fig. 4, 6, 7); with the observers, if there are some."""
    labels = {TABLE1[key].label: row.errors.ravel() for key, row in rows.items()}
    some = next(iter(rows.values()))
    readings = [truth.observers.get(case, {}) for case in test_cases(cohort)]
    lines = reference_lines(readings, some.names)
    unit: Any = some.unit
    save_plot(cumulative(labels, unit=unit, thresholds=CURVE, lines=lines), folder / CURVES)


# -- the tables ------------------------------------------------------------------------------------


def _median(errors: FloatArray) -> str:
    known = errors[np.isfinite(errors)]
    if not known.size:
        return "–"
    low, middle, high = np.percentile(known, (25, 50, 75))
    return f"{middle:.2f} ({high - low:.2f})"


def _mark(p: float) -> str:
    return next((sign for level, sign in LEVELS if p < level), "")


def _marked(rows: Mapping[str, Measured], key: str, column: int | None) -> str:
    """A cell of Table I, with its mark."""

    def errors(of: str) -> FloatArray:
        own = rows[of].errors
        return own.ravel() if column is None else own[:, column]

    other = TABLE1[key].against
    mark = "" if other is None else _mark(wilcoxon(errors(other), errors(key)))
    return f"{_median(errors(key))} {mark}".strip()


def _table1(rows: Mapping[str, Measured]) -> Table:
    unit = rows["ml"].unit
    head = ["", f"all landmarks here ({unit})", "published (mm)"]
    cells = [[row.label, _marked(rows, key, None), row.cell(-1)] for key, row in TABLE1.items()]
    return Table("Table I: all landmarks", head, cells)


def _landmarks(rows: Mapping[str, Measured]) -> Table:
    names = rows["ml"].names
    known = names == THORAX_LANDMARKS
    head = ["", *names]
    cells = []
    for key, row in TABLE1.items():
        cells.append([row.label, *(_marked(rows, key, i) for i in range(len(names)))])
        if known:
            cells.append(["published", *(row.cell(i) for i in range(len(names)))])
    return Table("Table I: each landmark", head, cells)


def _table4(rows: Mapping[str, Measured]) -> Table:
    own = rows["ml"]
    head = ["", *own.names, "all"]
    here = ["here", *(_median(own.errors[:, i]) for i in range(len(own.names)))]
    cells = [[*here, _median(own.errors)]]
    if set(own.names) <= set(OLFACTORY):
        cells.append(["published", *(OLFACTORY[name] for name in own.names), OLFACTORY["all"]])
    return Table(f"Table IV: olfactory bulbs ({own.unit})", head, cells)


def _table2(rows: Mapping[str, Measured]) -> Table:
    own = rows["ml"]
    splits = sorted(set(own.splits)) or ["test"]
    head = [
        "landmark", *(f"{split} here ({own.unit})" for split in splits),
        "published Test1 (mm)", "published Test2 (mm)",
    ]  # fmt: skip
    published = dict(zip((*ISBI_NAMES, "all"), zip(*TABLE2, strict=True), strict=True))
    cells = []
    for i, name in enumerate([*own.names, "all"]):
        columns = slice(None) if name == "all" else slice(i, i + 1)
        mine = []
        for split in splits:
            rows_of = np.array([s == split for s in own.splits] or [True] * len(own.errors))
            mine.append(_median(own.errors[rows_of, columns]))
        cells.append([name, *mine, *published.get(name, ("–", "–"))])
    return Table("Table II: cephalometric X-rays", head, cells)


def _verdict(rows: Mapping[str, Measured]) -> list[str]:
    """Whether what the paper concludes holds here."""
    middle = {key: float(np.nanmedian(row.errors)) for key, row in rows.items()}
    claims = [("rlog_c", other) for other in ("r_c", "rlog", "r", "c")] + [("ml", "rlog_c")]
    wrong = [
        f"{TABLE1[a].label} ({middle[a]:.2f}) is worse than {TABLE1[b].label} ({middle[b]:.2f})"
        for a, b in claims
        if {a, b} <= set(middle) and middle[a] > middle[b]
    ]
    return wrong or ["R_log + C beats R + C, R_log, R and C, and global-to-local beats global"]


def _record(found: Mapping[str, Any], note: str, budget: Budget) -> dict[str, Any]:
    return {
        "paper": "noothout2020", "note": note, "budget": budget,
        "experiments": {
            name: {
                key: {
                    "unit": row.unit, "names": list(row.names),
                    "median": [float(v) for v in np.nanmedian(row.errors, 0)],
                    "all": float(np.nanmedian(row.errors)),
                    "mean": float(np.nanmean(row.errors)),
                }
                for key, row in rows.items()
            }
            for name, rows in found.items()
        },
    }  # fmt: skip
