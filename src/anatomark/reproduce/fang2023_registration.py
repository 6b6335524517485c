"""Tables 2 to 4 of Fang 2023, and what its introduction says: why a refinement needs a start.

Landmarks of the two networks with distance map regularisation, and simulated manual ones, are
compared with the map that surfaces suggest. Manual landmarks are the true ones with Gaussian errors
of ``MANUAL_MM`` on average, since no hand has placed any in phantoms.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from anatomark.data import Cohort, Image, Landmarks, Sample
from anatomark.datasets.phantoms.prostate.pair import prostate_pair
from anatomark.geometry import FloatArray
from anatomark.inference.detector import Detector
from anatomark.io.cohorts.cases import load_sample
from anatomark.io.json_files import write_json
from anatomark.maps import Affine
from anatomark.metrics.paired import wilcoxon
from anatomark.metrics.plots import save_plot
from anatomark.models.files import load_model
from anatomark.pipelines.registration.study import (
    Attempt,
    Errors,
    GlandPair,
    by_landmarks,
    capture,
    capture_plot,
    errors_of,
    gland_pair,
    refined,
    shares,
    simulated_observer,
)
from anatomark.registration.landmarks import fit_landmarks
from anatomark.registration.regions import around
from anatomark.reproduce.common import Table, mean_sd

MANUAL_MM = {"us": 4.0, "mr": 3.0}  # mean errors of the simulated observer
OBSERVERS_MM = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
DRAWS = 10  # of such observers for each case
AROUND_MM = 25.0  # of the ultrasound's landmarks, where grey values are compared
SUCCESS_MM = 5.0  # the first threshold of Table 3
CAPTURE_PAIRS = 8
CAPTURE_MM = tuple(range(1, 24, 2))
EDGES_MM = tuple(range(0, 25, 4))
FINE = {"mr_shape": (32, 64, 64), "us_shape": (64, 64, 64)}
FILE, PLOT = "registration.json", "capture.png"

PUBLISHED_SRE = {"automatic": "6.62 ± 3.97", "manual": "5.80 ± 3.08"}
PUBLISHED_DICE = {"automatic": "0.77 ± 0.11", "manual": "0.82 ± 0.06"}
CASES = 263
TABLE3 = {
    "limits": (5, 10, 15, 20, 25, 30, 45),
    "automatic": (93, 137, 28, 1, 3, 0, 1), "manual": (122, 127, 9, 4, 0, 1, 0),
}  # fmt: skip
TABLE4 = {
    "limits": (5, 10, 20, 30, 40, 60, 70),
    "automatic": (18, 71, 124, 37, 8, 5, 0), "manual": (29, 88, 112, 24, 3, 6, 1),
}  # fmt: skip
NAMES = {"automatic": "neural network", "manual": "manual landmarks"}

Told = Callable[[int, int], None]


def register_all(
    folder: Path,
    cohort: Cohort,
    models: Mapping[str, str | Path],
    *,
    device: Any = "auto",
    seed: int = 0,
    progress: Told = lambda *_: None,
) -> dict[str, Any] | None:
    """Register the test pairs by ``models`` (folders or names) of ``us`` and ``mr``.

    What is in ``folder`` already is not done again. Nothing is found without pairs with masks.
    """
    if (folder / FILE).is_file():
        return dict(json.loads((folder / FILE).read_text()))
    cases = {case.case: case for case in cohort.cases}
    named = [
        (cases[case.pair], case)
        for case in cohort.select(split="test", domain="mr").cases
        if case.pair in cases
        and case.mask
        and cases[case.pair].mask
        and case.landmarks
        and cases[case.pair].landmarks
    ]
    if not named:
        return None
    detectors = {d: Detector(load_model(path), device=device) for d, path in models.items()}
    pairs, found = [], []
    for number, (us, mr) in enumerate(named):
        progress(number, 3 * len(named))
        seen = {"us": load_sample(cohort, us), "mr": load_sample(cohort, mr)}
        found.append({d: detectors[d].detect(s.image).landmarks for d, s in seen.items()})
        pairs.append(gland_pair(us.case, *_fine(us.info, seen)))
    record = study(pairs, found, seed=seed, progress=progress)
    _write(folder, record)
    return record


def _fine(info: Mapping[str, Any], seen: Mapping[str, Sample]) -> tuple[Sample, Sample]:
    """Coarse phantoms are drawn anew with smaller voxels, for surfaces and grey values; US, MR."""
    finer = np.prod(FINE["us_shape"]) > np.prod(seen["us"].image.grid.shape)
    if info.get("phantom") != "prostate" or not finer:
        return seen["us"], seen["mr"]
    pair = prostate_pair(int(info["seed"]), **FINE)  # type: ignore[arg-type]
    return pair.us, pair.mr


def study(
    pairs: Sequence[GlandPair],
    found: Sequence[Mapping[str, Landmarks]],
    *,
    seed: int = 0,
    progress: Told = lambda *_: None,
) -> dict[str, Any]:
    """All numbers of pairs (fixed: ultrasound), by points found in ``us`` and ``mr``."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    regions: list[Image] = []
    for number, (pair, points) in enumerate(zip(pairs, found, strict=True)):
        progress(len(pairs) + number, 3 * len(pairs))
        maps = {"automatic": by_landmarks(points["us"], points["mr"]),
                "manual": by_landmarks(*_observed(pair, MANUAL_MM, rng))}  # fmt: skip
        regions.append(around(points["us"].points_mm, pair.fixed.image.grid, AROUND_MM))
        # Without landmarks nobody knows where to compare.
        starts = {"landmarks": (maps["automatic"], regions[-1]), "centres": (_centred(pair), None)}
        rows.append({
            "case": pair.name,
            **{key: errors_of(pair, one)._asdict() for key, one in maps.items()},
            # As ``anatomark register`` does it: a point counts less where it is unsure.
            "weighted_sre_mm": pair.error(fit_landmarks(points["us"], points["mr"]).map),
            "observers": {f"{e:g}": _observer(pair, e, rng) for e in OBSERVERS_MM},
            "refinement": {
                key: {"before": pair.error(one), "after": refined(pair, one, region=region)}
                for key, (one, region) in starts.items()
            },
        })  # fmt: skip
    some = slice(CAPTURE_PAIRS)
    attempts = capture(
        pairs[some], regions[some], CAPTURE_MM, seed=seed,
        progress=lambda done, total: progress(
            2 * len(pairs) + round(len(pairs) * done / total), 3 * len(pairs)
        ),
    )  # fmt: skip
    return {"pairs": rows, "attempts": [a._asdict() for a in attempts]}


def _observed(
    pair: GlandPair, errors_mm: Mapping[str, float], rng: np.random.Generator
) -> tuple[Landmarks, Landmarks]:
    sides = {"us": pair.fixed.landmarks, "mr": pair.moving.landmarks}
    first, second = (
        simulated_observer(marks, errors_mm[d], rng)
        for d, marks in sides.items()
        if marks is not None
    )
    return first, second


def _observer(pair: GlandPair, error_mm: float, rng: np.random.Generator) -> float:
    """Mean surface error with an observer who is off by so much in both images."""
    both = {"us": error_mm, "mr": error_mm}
    return float(
        np.mean([pair.error(by_landmarks(*_observed(pair, both, rng))) for _ in range(DRAWS)])
    )


def _centred(pair: GlandPair) -> Affine:
    """The middle of one image on that of the other: a start without landmarks."""
    fixed, moving = pair.fixed.image.grid, pair.moving.image.grid
    return Affine(np.eye(fixed.dimension), fixed.centre - moving.centre)


def _write(folder: Path, record: Mapping[str, Any]) -> None:
    import matplotlib.pyplot as plt

    attempts = [Attempt(**a) for a in record["attempts"]]
    if attempts:
        figure = capture_plot(attempts, EDGES_MM, SUCCESS_MM)
        folder.mkdir(parents=True, exist_ok=True)
        save_plot(figure, folder / PLOT)
        plt.close(figure)
    write_json(folder / FILE, record)


# -- tables ----------------------------------------------------------------------------------------


def tables(record: Mapping[str, Any]) -> list[Table]:
    """Tables 2, 3 and 4 beside the published ones, simulated observers, and the capture range."""
    errors = {key: [Errors(**row[key]) for row in record["pairs"]] for key in NAMES}
    head = ["", *(f"{NAMES[key]}, {what}" for key in NAMES for what in ("here", "published"))]
    second = [
        ["SRE (mm)", *_beside(errors, "sre_mm", PUBLISHED_SRE)],
        ["Dice", *_beside(errors, "dice", PUBLISHED_DICE)],
    ]
    sre, turns = (
        {key: [getattr(e, what) for e in each] for key, each in errors.items()}
        for what in ("sre_mm", "turn_degrees")
    )
    attempts = [Attempt(**a) for a in record["attempts"]]
    return [
        Table("Table 2: registration by landmarks", head, second),
        Table("Table 3: SRE (mm), cases", head, frequencies(sre, TABLE3)),
        Table("Table 4: residual rotation (degrees), cases", head, frequencies(turns, TABLE4)),
        Table("SRE by the mean error of a simulated observer in both images",
              ["mean error (mm)", "SRE (mm), mean ± SD over the cases' means"],
              _observer_rows(record)),
        Table(f"Refinement by grey values: at most {SUCCESS_MM:g} mm off afterwards",
              ["surface error of the start (mm)", "attempts that succeeded", "95 % interval"],
              _capture_rows(attempts)),
    ]  # fmt: skip


def _beside(
    errors: Mapping[str, Sequence[Errors]], what: str, published: Mapping[str, str]
) -> list[str]:
    cells = []
    for key in NAMES:
        values = np.array([getattr(one, what) for one in errors[key]])
        cells += [_spread(values), published[key]]
    return cells


def _spread(values: Sequence[float] | FloatArray) -> str:
    """Mean ± SD; the mean alone of a single case."""
    some = np.asarray(values, np.float64)
    return mean_sd(some.mean(), some.std(ddof=1)) if len(some) > 1 else f"{some.mean():.2f}"


def frequencies(
    values: Mapping[str, Sequence[float]], published: Mapping[str, Sequence[int]]
) -> list[list[str]]:
    """Cases up to each limit and above the one before, as counts and percent; beyond the last."""
    edges = np.array([-np.inf, *published["limits"], np.inf])
    counts = {
        key: [int(((v > a) & (v <= b)).sum()) for a, b in pairwise(edges)]
        for key, v in ((k, np.asarray(values[k], np.float64)) for k in NAMES)
    }
    limits = published["limits"]
    labels = [f"≤ {limits[0]}", *(f"> {a} to {b}" for a, b in pairwise(limits)), f"> {limits[-1]}"]
    rows = []
    for row, label in enumerate(labels):
        cells = [label]
        for key in NAMES:
            theirs = published[key][row] if row < len(published[key]) else 0
            cells += [_part(counts[key][row], len(values[key])), _part(theirs, CASES)]
        rows.append(cells)
    return rows


def _part(count: int, total: int) -> str:
    return f"{count} ({100 * count / total:.0f} %)"


def _observer_rows(record: Mapping[str, Any]) -> list[list[str]]:
    keys = record["pairs"][0]["observers"]
    return [
        [f"{float(k):.0f}", _spread(v)]
        for k, v in ((k, [row["observers"][k] for row in record["pairs"]]) for k in keys)
    ]


def _capture_rows(attempts: Sequence[Attempt]) -> list[list[str]]:
    rows = []
    for one in shares(attempts, EDGES_MM, SUCCESS_MM):
        low, high = one.interval
        part = f"{100 * one.succeeded / one.tried:.0f} % ({100 * low:.0f}–{100 * high:.0f})"
        rows.append([f"{one.low_mm:g}–{one.high_mm:g}", f"{one.succeeded} of {one.tried}", part])
    return rows


def verdict(record: Mapping[str, Any]) -> list[str]:
    """How automatic landmarks compare with manual ones, and what a start is worth."""
    rows = record["pairs"]
    auto, manual = (np.array([row[key]["sre_mm"] for row in rows]) for key in NAMES)
    p = wilcoxon(auto, manual)
    said = [
        f"SRE of automatic landmarks is {auto.mean() / manual.mean():.2f} times that of simulated "
        f"manual ones, which are {MANUAL_MM['us']:g} mm (US) and {MANUAL_MM['mr']:g} mm (MR) off "
        f"on average (published: {6.62 / 5.80:.2f}; Wilcoxon p = {p:.2g})"
    ]
    weighted = np.array([row["weighted_sre_mm"] for row in rows])
    said.append(
        "with points weighted by their covariances: SRE "
        f"{_spread(weighted)} mm instead of "
        f"{_spread(auto)} (p = {wilcoxon(auto, weighted):.2g})"
    )
    counts = {
        key: sum(row["refinement"][key]["after"] <= SUCCESS_MM for row in rows)
        for key in ("landmarks", "centres")
    }
    alone = int((auto <= SUCCESS_MM).sum())
    said.append(
        f"at most {SUCCESS_MM:g} mm off: {alone} of {len(rows)} pairs by landmarks alone, "
        f"{counts['landmarks']} after refinement from there, {counts['centres']} after refinement "
        "from the centres of the images"
    )
    return said
