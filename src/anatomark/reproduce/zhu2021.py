"""Tables 1 and 2 of Zhu 2021: five models, each trained once on head, hand and chest together.

Domains without data are phantoms, and every output says so. Distances are those of the original
image, in mm along each axis, or in its pixels where there is no spacing; Table 2 pools all domains
in pixels of the images that the network sees, as the paper does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anatomark.data import Cohort, Landmarks
from anatomark.datasets.phantoms.cohorts import write_phantoms
from anatomark.errors import UsageError
from anatomark.geometry import FloatArray
from anatomark.inference.detector import Detector
from anatomark.io.cohorts.cases import load_sample
from anatomark.io.cohorts.files import read_cohort
from anatomark.io.files import read_text
from anatomark.io.json_files import write_json
from anatomark.metrics.evaluation import evaluate
from anatomark.metrics.report import write_evaluation
from anatomark.metrics.sources import Truth, read_truth
from anatomark.models.files import load_model
from anatomark.models.preparation import network_grid
from anatomark.models.recipe import Recipe, parse_recipe, read_recipe
from anatomark.reproduce.common import (
    Budget,
    Progress,
    Reproduced,
    Table,
    about,
    begin,
    by_name,
    mean_sd,
    test_cases,
    with_test_cases,
)
from anatomark.training.groups import Data
from anatomark.training.run import Machine
from anatomark.training.study import train_once

DOMAINS = ("head", "hand", "chest")
SMALL_CASES, SMALL_SPLIT = 60, "0.7,0.1,0.2"
THRESHOLDS: Mapping[str, tuple[float, ...]] = {
    "head": (2, 2.5, 3, 4), "hand": (2, 4, 10), "chest": (3, 6, 9),
}  # fmt: skip
PIXELS = (2.0, 4.0, 6.0)


class Row(NamedTuple):
    """A model of Table 2: its settings, published weights (millions), error in px and SDR."""

    label: str
    settings: Mapping[str, Any]
    weights: float
    mean: float
    sd: float
    sdr: tuple[float, ...]


TABLE2: Mapping[str, Row] = {
    "unet": Row(
        "U-Net", {"parts": "local", "convolutions": "shared"},
        17.3, 7.99, 26.14, (71.67, 86.40, 89.26),
    ),
    "tri-unet": Row(
        "Tri-UNet", {"parts": "local", "convolutions": "each"},
        51.92, 1.16, 5.21, (88.19, 97.46, 99.14),
    ),
    "global": Row("Global network", {"parts": "global"}, 1.35, 2.31, 5.64, (67.39, 94.22, 97.62)),
    "local": Row("Local network", {"parts": "local"}, 2.12, 1.20, 4.98, (88.68, 97.29, 99.12)),
    "gu2net": Row("GU2Net", {}, 4.44, 1.14, 3.94, (89.09, 97.49, 99.52)),
}  # fmt: skip
# Mean error and SDR at the thresholds of each domain, of the two models of Table 1 that are ours.
TABLE1: Mapping[str, Mapping[str, tuple[float, tuple[float, ...]]]] = {
    "unet": {
        "head": (12.45, (52.08, 60.04, 66.54, 73.68)),
        "hand": (6.14, (81.16, 92.46, 93.76)),
        "chest": (5.61, (51.67, 82.33, 90.67)),
    },
    "gu2net": {
        "head": (1.54, (77.79, 84.65, 89.41, 94.93)),
        "hand": (0.84, (95.40, 99.35, 99.75)),
        "chest": (5.57, (57.33, 82.67, 89.33)),
    },
}


class Measured(NamedTuple):
    """Radial errors of all present points of a domain's test cases, one after the other."""

    own: FloatArray  # in the unit of the images
    pixels: FloatArray  # that the network sees
    unit: str


def reproduce(
    out: str | PathLike[str],
    *,
    data: Data | None = None,
    budget: Budget = "small",
    seed: int = 0,
    machine: Machine | None = None,
    progress: Progress = lambda *_: None,
) -> Reproduced:
    """Train the five models and measure them on the cases of splits that begin with ``test``.

    ``data`` is a cohort for each of head, hand and chest that there is. ``budget="paper"`` has the
    published sizes and settings. What is finished in ``out`` is not done again.
    """
    folder = Path(out)
    begin(folder, "zhu2021", data, budget, seed)
    cohorts = _cohorts(folder, data, budget, seed)
    truth = {d: read_truth(c.root, domain=c.domains[0]) for d, c in cohorts.items()}
    found = {}
    for number, key in enumerate(TABLE2):
        progress(number, len(TABLE2))
        recipe = recipe_of(key, budget, seed)
        found[key] = _model(folder / key, cohorts, truth, recipe, machine or Machine())
    progress(len(TABLE2), len(TABLE2))
    said = about(cohorts, data)
    truths = {domain: own.said for domain, own in truth.items()}
    record = {
        "paper": "zhu2021", "note": said, "truth": truths, "made": _made(budget),
        "models": _record(found),
    }  # fmt: skip
    weights = {key: _weights(folder / key / "run") for key in TABLE2}
    tables = [_table1(found), _table2(found, weights)]
    cases = ", ".join(f"{d} {len(test_cases(c))}" for d, c in cohorts.items())
    named = "; ".join(f"{domain}: {truth}" for domain, truth in truths.items())
    done = Reproduced(
        "Zhu 2021", tables, _verdict(found), said, record,
        f"Test cases: {cases}. Truth: {named}. SDR counts errors ≤ the threshold. {_made(budget)}",
    )  # fmt: skip
    done.write(folder)
    return done


def _cohorts(folder: Path, data: Data | None, budget: Budget, seed: int) -> dict[str, Cohort]:
    given = by_name(data, DOMAINS, "domain")
    found = {}
    for domain in DOMAINS:
        if domain in given:
            own = given[domain]
            whole = own if isinstance(own, Cohort) else read_cohort(own)
            found[domain] = with_test_cases(
                whole.select(domain=domain) if domain in whole.domains else whole
            )
            continue
        place = folder / "phantoms" / domain
        if not (place / "cohort.toml").is_file():
            shape = None if budget == "paper" else _SMALL_IMAGE[domain]
            count = 400 if budget == "paper" else SMALL_CASES
            write_phantoms(
                domain, place, cases=count, seed=seed + 6000, shape=shape, split=SMALL_SPLIT
            )
        found[domain] = read_cohort(place, check=False)
    return found


_SMALL_IMAGE = {"head": (200, 160), "hand": (200, 160), "chest": (160, 160)}
_SMALL_GRID = {"head": [104, 128], "hand": [96, 128], "chest": [128, 128]}


def recipe_of(key: str, budget: Budget, seed: int) -> Recipe:
    """The published recipe, with what a model changes and a budget reduces."""
    record = read_recipe("zhu2021").complete()
    record |= {"name": key, "seed": seed}
    record["settings"] |= TABLE2[key].settings
    if budget == "small":
        record["settings"] |= {"widths": [16, 32, 64, 64, 64], "global_width": 32}
        for domain, size in _SMALL_GRID.items():
            record["domains"][domain]["grid"]["size"] = size
        record["augment"] |= {"translate": 0.08}
        record["training"] |= {"epochs": 16, "cycle_steps": 264, "validate_every": 4}
    return parse_recipe(record)


def _model(
    place: Path,
    cohorts: Mapping[str, Cohort],
    truth: Mapping[str, Truth],
    recipe: Recipe,
    machine: Machine,
) -> dict[str, Measured]:
    run, errors = place / "run", place / "errors.json"
    if not errors.is_file():
        train_once(recipe, cohorts, run, machine)
        reports = {d: place / d if recipe.name in TABLE1 else None for d in cohorts}
        found = {
            d: _measured(run / d, c, truth[d], machine, reports[d]) for d, c in cohorts.items()
        }
        record = {
            d: {"own": m.own.tolist(), "pixels": m.pixels.tolist(), "unit": m.unit}
            for d, m in found.items()
        }
        write_json(errors, record)
    record = json.loads(read_text(errors, UsageError))
    return {
        d: Measured(np.array(m["own"]), np.array(m["pixels"]), m["unit"]) for d, m in record.items()
    }


def _measured(
    model: Path, cohort: Cohort, truth: Truth, machine: Machine, report: Path | None
) -> Measured:
    detector = Detector(load_model(model), device=machine.device)
    own, pixels, found = [], [], {}
    cases = {case.case: case for case in cohort.cases}
    for name in test_cases(cohort):
        sample = load_sample(cohort, cases[name], grey=True)
        marks, true = detector.detect(sample.image).landmarks, truth.landmarks[name]
        found[name] = marks
        grid = network_grid(sample.image.grid, detector.model.recipe.grid)
        true = true.select(marks.names)
        both = true.present & marks.present
        own.append(np.linalg.norm(marks.points_mm - true.points_mm, axis=1)[both])
        apart = np.asarray(grid.to_index(marks.points_mm)) - np.asarray(
            grid.to_index(true.points_mm)
        )
        pixels.append(np.linalg.norm(apart, axis=1)[both])
    if report is not None:
        chosen: dict[str, Landmarks] = {c: m for c, m in truth.landmarks.items() if c in found}
        limits = THRESHOLDS[detector.model.name.rpartition("/")[2]]
        result = evaluate(replace(truth, landmarks=chosen), found, draws=500, thresholds=limits)
        write_evaluation(result, report)
    return Measured(np.concatenate(own), np.concatenate(pixels), cohort.unit)


def _made(budget: Budget) -> str:
    """What must be known to set the numbers beside the published ones."""
    views = recipe_of("gu2net", budget, 0).views()
    shown = ", ".join(f"{d} {'×'.join(map(str, v.grid.size))}" for d, v in views.items())
    said = f"The networks see {shown} pixels; points are centres of mass, not the highest pixel."
    if budget == "paper":
        return said
    return (
        f"{said} The budget is small: networks, images and epochs are reduced, and a pixel of "
        "Table 2 is four times as large as the paper's."
    )


def _weights(run: Path) -> float:
    """Millions of learnt numbers."""
    from anatomark.models.files import WEIGHTS_FILE, read_weights

    _, weights = read_weights(run / WEIGHTS_FILE)
    learnt = [v for k, v in weights.items() if "running_" not in k and "num_batches" not in k]
    return sum(v.numel() for v in learnt) / 1e6


# -- the tables ------------------------------------------------------------------------------------


def _within(errors: FloatArray, thresholds: Sequence[float]) -> list[float]:
    return [100 * float((errors <= t).mean()) for t in thresholds]


def _percent(values: Sequence[float]) -> str:
    return " / ".join(f"{v:.1f}" for v in values)


def _table1(found: Mapping[str, Mapping[str, Measured]]) -> Table:
    units = {domain: own.unit for domain, own in found["gu2net"].items()}
    head = ["model", "domain", "MRE here", "published", "SDR here (%)", "published (%)", "at"]
    rows = []
    for key, published in TABLE1.items():
        for domain, (mean, sdr) in published.items():
            own, limits = found[key][domain].own, THRESHOLDS[domain]
            rows.append([
                TABLE2[key].label, domain, f"{own.mean():.2f} {units[domain]}", f"{mean:.2f}",
                _percent(_within(own, limits)), _percent(sdr),
                " / ".join(f"{t:g}" for t in limits) + f" {units[domain]}",
            ])  # fmt: skip
    return Table("Table 1", head, rows)


def _pooled(found: Mapping[str, Measured]) -> FloatArray:
    return np.concatenate([own.pixels for own in found.values()])


def _table2(found: Mapping[str, Mapping[str, Measured]], weights: Mapping[str, float]) -> Table:
    head = [
        "model", "weights here (M)", "published", "error here (px)", "published",
        "SDR at 2 / 4 / 6 px here (%)", "published (%)",
    ]  # fmt: skip
    rows = []
    for key, row in TABLE2.items():
        errors = _pooled(found[key])
        rows.append([
            row.label, f"{weights[key]:.2f}", f"{row.weights:.2f}",
            mean_sd(float(errors.mean()), float(errors.std(ddof=1))), mean_sd(row.mean, row.sd),
            _percent(_within(errors, PIXELS)), _percent(row.sdr),
        ])  # fmt: skip
    return Table("Table 2", head, rows)


def _verdict(found: Mapping[str, Mapping[str, Measured]]) -> list[str]:
    """Whether the order of Table 2 holds here."""
    mean = {key: float(_pooled(own).mean()) for key, own in found.items()}
    order = sorted(TABLE2, key=lambda key: TABLE2[key].mean)
    wrong = [
        f"{TABLE2[a].label} ({mean[a]:.2f} px) is worse than {TABLE2[b].label} ({mean[b]:.2f})"
        for a, b in pairwise(order)
        if mean[a] > mean[b]
    ]
    return wrong or ["the order of Table 2 holds"]


def _record(found: Mapping[str, Mapping[str, Measured]]) -> dict[str, Any]:
    return {
        key: {
            domain: {
                "unit": m.unit, "count": len(m.own), "mre": float(m.own.mean()),
                "sd": float(m.own.std(ddof=1)), "sdr": _within(m.own, THRESHOLDS[domain]),
                "thresholds": list(THRESHOLDS[domain]), "mre_px": float(m.pixels.mean()),
            }
            for domain, m in own.items()
        }
        for key, own in found.items()
    }  # fmt: skip
