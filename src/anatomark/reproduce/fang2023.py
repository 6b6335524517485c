"""Tables 1 to 4 of Fang 2023; the registration is in ``fang2023_registration``.

Its data are not public: the phantom cohort stands in, and every output says so. What can be
compared is the order of the methods, not the millimetres.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from anatomark.augment import preset
from anatomark.data import Cohort
from anatomark.datasets.phantoms.cohorts import write_phantoms
from anatomark.errors import UsageError
from anatomark.inference.detector import Detector
from anatomark.inference.files import detect_cases
from anatomark.io.cohorts.files import read_cohort
from anatomark.metrics.comparison import Compared, compare, write_comparison
from anatomark.metrics.evaluation import evaluate
from anatomark.metrics.paired import marks_of
from anatomark.metrics.records import read_run
from anatomark.metrics.report import write_evaluation
from anatomark.metrics.sources import read_truth
from anatomark.models.files import load_model
from anatomark.models.recipe import Recipe, parse_recipe, read_recipe
from anatomark.reproduce.common import Budget, Plot, Progress, Reproduced, Table, about, begin
from anatomark.reproduce.fang2023_registration import PLOT as CAPTURE_PLOT
from anatomark.reproduce.fang2023_registration import register_all, tables
from anatomark.reproduce.fang2023_registration import verdict as verdict_of
from anatomark.training.groups import Data
from anatomark.training.run import Machine
from anatomark.training.study import train_once

SMALL_CASES, SMALL_SHAPE, SMALL_SPLIT = 120, (16, 32, 32), "0.6,0.1,0.3"


class Published(NamedTuple):
    """Mean and SD of the radial error in mm, with the paper's marks of significance."""

    mean: float
    sd: float
    marks: str = ""


@dataclass(frozen=True)
class Row:
    """A method of Table 1: what changes in the recipe, and what was published."""

    label: str
    method: str
    settings: Mapping[str, Any]
    us: Published
    mr: Published


# In the order in which they are compared: with the first (*) and with the second (†).
TABLE1: Mapping[str, Row] = {
    "baseline": Row(
        "Baseline (no regularisation)", "fang2023", {"regulariser": "none"},
        Published(5.90, 2.91), Published(6.24, 2.79),
    ),
    "variance": Row(
        "Variance regularisation", "fang2023", {"regulariser": "variance"},
        Published(5.53, 2.85, "*"), Published(6.05, 2.97, "*"),
    ),
    "distance": Row(
        "Distance map regularisation", "fang2023", {"regulariser": "distance"},
        Published(5.55, 2.63, "*"), Published(5.77, 2.67, "*†"),
    ),
    "heatmap": Row(
        "Heatmap matching", "heatmap_matching", {"decode": "local"},
        Published(6.91, 5.12), Published(6.93, 7.57),
    ),
    "direct": Row(
        "Direct regression", "direct_regression", {},
        Published(11.43, 3.82), Published(13.83, 7.25),
    ),
}  # fmt: skip
_NO_PAIRS = "Tables 2 to 4: left out, for no test case has a pair, and both a mask"
LAMBDA2 = {("variance", "mr"): 5e-4, ("variance", "us"): 2e-3,
           ("distance", "mr"): 5e-3, ("distance", "us"): 1e-2}  # fmt: skip
DOMAINS = ("us", "mr")


def reproduce(
    out: str | PathLike[str],
    *,
    data: Data | None = None,
    budget: Budget = "small",
    seed: int = 0,
    machine: Machine | None = None,
    progress: Progress = lambda *_: None,
) -> Reproduced:
    """Train the five rows of Table 1 for both modalities, test them on the same fresh cases.

    The networks with distance map regularisation then register the test pairs, where these have
    masks: Tables 2 to 4 and the capture range of a refinement, ``capture.png``.

    ``budget="paper"`` has the published sizes, cases and settings. What is finished in ``out`` is
    not done again, so that a run that was stopped goes on.
    """
    folder = Path(out)
    if isinstance(data, Mapping):
        raise UsageError("fang2023 needs one cohort with the domains us and mr")
    begin(folder, "fang2023", data, budget, seed)
    cohort = _cohort(folder, data, budget, seed)
    total = len(DOMAINS) * len(TABLE1)
    compared = {}
    for d, domain in enumerate(DOMAINS):
        for r, key in enumerate(TABLE1):
            progress(d * len(TABLE1) + r, total)
            _row(folder / domain / key, cohort, key, domain, budget, seed, machine or Machine())
        runs = [read_run(folder / domain / key / "evaluation") for key in TABLE1]
        named = [replace(run, name=key) for key, run in zip(TABLE1, runs, strict=True)]
        compared[domain] = compare(named)
        write_comparison(compared[domain], folder / domain / "comparison")
    progress(total, total)
    said = about({"": cohort}, data)
    registered = register_all(
        folder / "registration", cohort,
        {domain: folder / domain / "distance" / "run" for domain in DOMAINS},
        device=(machine or Machine()).device, seed=seed, progress=progress,
    )  # fmt: skip
    more = tables(registered) if registered else []
    verdict = [*_verdict(compared), *(verdict_of(registered) if registered else [_NO_PAIRS])]
    cases = [len(compared[d].tables[0].cases) for d in DOMAINS]
    capture = Plot(
        folder / "registration" / CAPTURE_PLOT,
        "Capture range: how often a refinement comes home, against how far away it starts. Errors "
        "up to 5 mm on a linear scale, larger ones on a logarithmic; bars: 95 % intervals",
    )
    found = Reproduced(
        "Fang 2023", [_table(compared), *more], verdict, said,
        {**_record(compared, said), "registration": registered, "verdict": verdict},
        f"Mean ± SD of the radial error over {' and '.join(map(str, cases))} test cases (US, MR). "
        "Two-sided Wilcoxon signed-rank test of the cases' means with Holm's correction, p < 0.05: "
        "* against the baseline, † against the variance regularisation.",
        [capture] if capture.path.is_file() else [],
    )  # fmt: skip
    found.write(folder)
    return found


def _cohort(folder: Path, data: Any, budget: Budget, seed: int) -> Cohort:
    if data is not None:
        cohort = data if isinstance(data, Cohort) else read_cohort(data)
        if not set(DOMAINS) <= set(cohort.domains) or "test" not in cohort.splits:
            raise UsageError(
                f"needs the domains {' and '.join(DOMAINS)} and a split test", path=cohort.root
            )
        return cohort
    place = folder / "phantoms"
    if not (place / "cohort.toml").is_file():
        paper = budget == "paper"
        write_phantoms(
            "prostate", place,
            cases=1315 if paper else SMALL_CASES,
            seed=seed + 5000,
            shape=(128, 256, 256) if paper else SMALL_SHAPE,
            split="0.6844,0.1156,0.2" if paper else SMALL_SPLIT,
        )  # fmt: skip
    return read_cohort(place, check=False)


def recipe_of(key: str, domain: str, budget: Budget, seed: int) -> Recipe:
    """The published recipe of a modality, with what a row changes and a budget reduces."""
    row = TABLE1[key]
    record = read_recipe(f"fang2023-{domain}").complete()
    network = record["settings"]["network"]
    settings = dict(row.settings)
    if row.method != "direct_regression":
        settings["network"] = network
    if (key, domain) in LAMBDA2:
        settings["lambda2"] = LAMBDA2[key, domain]
    record |= {"name": f"{key}-{domain}", "method": row.method, "settings": settings, "seed": seed}
    if budget == "small":
        record["grid"]["size"] = [32, 32, 16] if domain == "mr" else [32, 32, 32]
        if "network" in settings:
            settings["network"] = {**network, "final": [16]}
        record["augment"] = preset("light", 3).model_dump(mode="json")
        record["training"] |= {
            "epochs": 20, "learning_rate": 1e-3, "schedule": "cosine", "warmup_steps": 20,
            "validate_every": 5, "patience": None,
        }  # fmt: skip
    return parse_recipe(record)


def _row(
    place: Path, cohort: Cohort, key: str, domain: str, budget: Budget, seed: int, machine: Machine
) -> None:
    if (place / "evaluation" / "metrics.json").is_file():
        return
    run = place / "run"
    train_once(recipe_of(key, domain, budget, seed), cohort, run, machine)
    detector = Detector(load_model(run), device=machine.device)
    found = detect_cases(detector, cohort.select(split="test", domain=domain))
    truth = read_truth(cohort.root, split="test", domain=domain)
    points = {case: one.landmarks for case, one in found.items()}
    write_evaluation(evaluate(truth, points, said=key, draws=2000), place / "evaluation")


# -- the table -------------------------------------------------------------------------------------


def _table(found: Mapping[str, Compared]) -> Table:
    head = ["method"]
    for domain in DOMAINS:
        head += [f"{domain.upper()} here (mm)", f"{domain.upper()} published (mm)"]
    rows = []
    for number, row in enumerate(TABLE1.values()):
        cells = [row.label]
        for domain in DOMAINS:
            compared = found[domain]
            summary = compared.groups[number].summary
            marks = marks_of(number, compared.tests)
            other = row.us if domain == "us" else row.mr
            cells += [
                f"{summary.mean:.2f} ± {summary.sd:.2f} {marks}".strip(),
                f"{other.mean:.2f} ± {other.sd:.2f} {other.marks}".strip(),
            ]
        rows.append(cells)
    return Table("Table 1", head, rows)


def _verdict(found: Mapping[str, Compared]) -> list[str]:
    """Whether the order of the paper holds here: regularised ≤ baseline < the other two."""
    said = []
    for domain in DOMAINS:
        mean = dict(zip(TABLE1, (g.summary.mean for g in found[domain].groups), strict=True))
        wrong = [
            f"{TABLE1[a].label} ({mean[a]:.2f} mm) is worse than {TABLE1[b].label} ({mean[b]:.2f})"
            for a, b in (
                ("variance", "baseline"), ("distance", "baseline"),
                ("baseline", "heatmap"), ("baseline", "direct"),
            )
            if mean[a] > mean[b]
        ]  # fmt: skip
        said.append(
            f"{domain.upper()}: "
            + ("the order of the paper holds" if not wrong else "; ".join(wrong))
        )
    return said


def _record(found: Mapping[str, Compared], note: str) -> dict[str, Any]:
    return {
        "paper": "fang2023", "note": note,
        "rows": {
            key: {
                domain: {
                    "mre": found[domain].groups[i].summary.mean,
                    "sd": found[domain].groups[i].summary.sd,
                    "count": found[domain].groups[i].summary.count,
                    "marks": marks_of(i, found[domain].tests),
                    "published": (row.us if domain == "us" else row.mr)._asdict(),
                }
                for domain in DOMAINS
            }
            for i, (key, row) in enumerate(TABLE1.items())
        },
    }  # fmt: skip
