"""Table 1 and Fig. 2 of Grewal 2020, with both variants of SIFT measured in the same run.

The paper's CT scans are not public: slices of abdominal phantoms stand in where no cohort is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from anatomark.data import Cohort, Image
from anatomark.datasets.phantoms.cohorts import write_phantoms
from anatomark.io.cohorts.cases import load_sample
from anatomark.io.cohorts.files import read_cohort
from anatomark.io.json_files import plain
from anatomark.matching.errors import ErrorSummary, error_rows, quartiles, quartiles_text
from anatomark.matching.known import KINDS, Kind
from anatomark.matching.matcher import LearntMatcher, Matching
from anatomark.matching.pictures import draw_errors
from anatomark.matching.sift import SiftMatcher
from anatomark.matching.study import MatchingStudy, compare_matchers
from anatomark.models.files import load_matcher
from anatomark.models.recipe import Recipe, parse_recipe, read_recipe
from anatomark.pictures import save_picture
from anatomark.reproduce.common import (
    Budget,
    Plot,
    Progress,
    Reproduced,
    Table,
    about,
    begin,
    tested_part,
    with_test_cases,
)
from anatomark.training.groups import Data
from anatomark.training.run import Machine
from anatomark.training.study import train_once

OURS, SIFT, RATIO = "Proposed approach", "SIFT - InverseConsistency", "SIFT - RatioTest"
#: Median and quartiles of the number of matches and of their errors in mm (Table 1).
TABLE1: Mapping[str, Mapping[Kind, tuple[str, str]]] = {
    OURS: {
        "intensity": ("639 (547–729)", "0.0 (0.0–0.0)"),
        "affine": ("466 (391–555)", "1.0 (0.0–1.4)"),
        "elastic": ("370 (293–452)", "1.0 (1.0–1.4)"),
    },
    SIFT: {
        "intensity": ("711 (594–862)", "1.0 (1.0–1.4)"),
        "affine": ("610 (509–749)", "1.0 (1.0–1.4)"),
        "elastic": ("542 (450–670)", "1.0 (1.0–2.0)"),
    },
    RATIO: {
        "intensity": ("698 (578–849)", "1.0 (1.0–1.4)"),
        "affine": ("520 (426–663)", "1.0 (1.0–1.4)"),
        "elastic": ("418 (330–541)", "1.0 (1.0–1.4)"),
    },
}
#: More than 99 % of the matches of the proposed approach are so near (mm).
NEAR: Mapping[Kind, float] = {"intensity": 2.0, "affine": 4.0, "elastic": 8.0}
SMALL_CASES, SMALL_SHAPE = 60, (256, 256)
_SMALL_TRAINING = {
    "epochs": 8, "steps_per_epoch": 80, "validate_every": 2, "schedule": "cosine",
    "warmup_steps": 20, "ema": 0.99,
}  # fmt: skip
_SMALL_SETTINGS = {"widths": [8, 16, 32, 64, 128], "landmarks": 120}


def reproduce(
    out: str | PathLike[str],
    *,
    data: Data | None = None,
    budget: Budget = "small",
    seed: int = 0,
    machine: Machine | None = None,
    progress: Progress = lambda *_: None,
) -> Reproduced:
    """Train on single slices, and match known pairs made of those of splits that begin with test.

    ``data`` is a cohort of 2D slices; landmarks are not needed. What is finished in ``out`` is not
    done again.
    """
    folder, where = Path(out), machine or Machine()
    begin(folder, "grewal2020", data, budget, seed)
    cohort = _cohort(folder, data, budget, seed)
    progress(0, 2)
    train_once(recipe_of(budget, seed), cohort, folder / "run", where)
    progress(1, 2)
    device: Any = where.device
    learnt = LearntMatcher(load_matcher(folder / "run"), device=device)
    matchers: dict[str, Matching] = {
        OURS: learnt,
        SIFT: SiftMatcher("sift"),
        RATIO: SiftMatcher("sift-ratio"),
    }
    images, curves = _images(cohort), folder / "errors.png"
    study = compare_matchers(matchers, images, seed=seed)
    progress(2, 2)
    save_picture(draw_errors({str(k): v for k, v in study.errors.items()}, unit=study.unit), curves)
    said = about({"": cohort}, data)
    tables = [_table1(study), *(_near(study, kind) for kind in KINDS)]
    moved = ", ".join(f"{kind} {quartiles_text(quartiles(study.moved[kind]), 1)}" for kind in KINDS)
    done = Reproduced(
        "Grewal 2020", tables, _verdict(study), said, _record(study, said, budget),
        f"{len(images)} slices, one pair of each kind made of each. Points of the body "
        f"move by (median, quartiles, {study.unit}): {moved}.",
        [Plot(curves, f"Share of matches against the error ({study.unit}), as Fig. 2")],
    )  # fmt: skip
    done.write(folder)
    return done


def recipe_of(budget: Budget, seed: int) -> Recipe:
    """The published recipe, with what a budget reduces."""
    record = read_recipe("grewal2020").complete()
    record |= {"seed": seed}
    if budget == "small":
        record["grid"] |= {"size": [128, 128], "spacing": 1.5}
        record["settings"] |= _SMALL_SETTINGS
        record["training"] |= _SMALL_TRAINING
    return parse_recipe(record)


def _cohort(folder: Path, data: Any, budget: Budget, seed: int) -> Cohort:
    if data is not None:
        return with_test_cases(data if isinstance(data, Cohort) else read_cohort(data))
    place = folder / "phantoms"
    if not (place / "cohort.toml").is_file():
        paper = budget == "paper"
        write_phantoms(
            "abdomen", place, cases=222 if paper else SMALL_CASES, seed=seed + 9000,
            split="0.6,0.15,0.25", shape=None if paper else SMALL_SHAPE,
        )  # fmt: skip
    return read_cohort(place, check=False)


def _images(cohort: Cohort) -> list[Image]:
    tested = tested_part(cohort)
    return [load_sample(tested, case, grey=True).image for case in tested.cases]


# -- the tables ------------------------------------------------------------------------------------


def _table1(study: MatchingStudy) -> Table:
    head = ["", *(f"{kind} {which}" for kind in KINDS for which in ("here", "published"))]
    rows = []
    every = {kind: study.summaries(kind) for kind in KINDS}
    for which, what in enumerate(("matches", f"error ({study.unit})")):
        for name in TABLE1:
            cells = []
            for kind in KINDS:
                own = every[kind][name]
                cells.append(
                    quartiles_text(own.errors, 2) if which else quartiles_text(own.matches, 0)
                )
                cells.append(TABLE1[name][kind][which])
            rows.append([f"{what}: {name}", *cells])
    return Table("Table 1: number of matches of a pair, and their errors", head, rows)


def _near(study: MatchingStudy, kind: Kind) -> Table:
    return Table(f"Fig. 2, {kind}", *error_rows(study.summaries(kind)))


def _part_near(own: ErrorSummary, limit: float) -> float:
    return own.within[own.thresholds.index(limit)]


def _verdict(study: MatchingStudy) -> list[str]:
    """Whether what the paper concludes holds here."""
    said = []
    for kind in KINDS:
        every = study.summaries(kind)
        own, ratio = every[OURS], every[RATIO]
        near = _part_near(own, NEAR[kind])
        said.append(
            f"{kind}: {near:.1f} % of our matches are within {NEAR[kind]:g} {study.unit} "
            f"(published: more than 99); median error {own.errors[0]:.2f} against "
            f"{every[SIFT].errors[0]:.2f} and {ratio.errors[0]:.2f} of SIFT; "
            f"{own.wild:.1f} % are wild, of SIFT with ratio test {ratio.wild:.1f} %"
        )
    return said


def _record(study: MatchingStudy, note: str, budget: Budget) -> dict[str, Any]:
    return {
        "paper": "grewal2020", "note": note, "budget": budget, "unit": study.unit,
        "kinds": {
            kind: {
                name: {
                    "pairs": own.pairs, "matches": plain(own.matches),
                    "errors": plain(own.errors), "within": plain(own.within),
                    "thresholds": list(own.thresholds), "wild": plain(own.wild),
                }
                for name, own in study.summaries(kind).items()
            }
            for kind in KINDS
        },
    }  # fmt: skip
