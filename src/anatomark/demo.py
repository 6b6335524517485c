"""The demonstration: embedded data, end to end, one HTML page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from anatomark import __version__
from anatomark.data import Cohort, Landmarks, Sample
from anatomark.datasets.phantoms import PHANTOMS, Phantom
from anatomark.datasets.phantoms.cohorts import write_phantoms
from anatomark.errors import counted
from anatomark.inference.detector import Detector
from anatomark.inference.files import for_file
from anatomark.inference.flags import Findings
from anatomark.io.cohorts.cases import load_sample
from anatomark.io.landmarks.formats import write_landmarks
from anatomark.metrics.evaluation import evaluate
from anatomark.metrics.report import write_evaluation
from anatomark.metrics.sources import read_truth
from anatomark.metrics.tables import rows_of
from anatomark.pages import Page
from anatomark.pictures import draw, save_picture
from anatomark.pipelines.registration.evidence import evidence_of
from anatomark.pipelines.registration.files import PAGE_FILE, names_for, write_registered
from anatomark.pipelines.registration.overlay import draw_overlay
from anatomark.pipelines.registration.report import summary_rows
from anatomark.pipelines.registration.run import Registered, register
from anatomark.pipelines.registration.study import dice_of, gland_pair

_CASES = 6


def run_demo(
    out: Path, *, seed: int = 0, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Write a phantom of every kind, read it back, draw it, and show all on one page.

    Returns the page, ``OUT/index.html``. What an earlier demonstration wrote is replaced.
    """
    page = Page(
        "anatomark: demonstration",
        lead=f"Version {__version__}. All images are phantoms, computed on this machine: they show "
        "no person, and no method has been tuned to them.",
    )
    for number, (name, kind) in enumerate(PHANTOMS.items(), 1):
        cohort = write_phantoms(
            name, out / "phantoms" / name, cases=1, seed=seed, shape=kind.small, overwrite=True
        )
        _section(page, kind, cohort, out / "pictures")
        if progress is not None:
            progress(number, len(PHANTOMS) + 2)
    cohort, found = detection(page, out, seed=seed)
    if progress is not None:
        progress(len(PHANTOMS) + 1, len(PHANTOMS) + 2)
    registration(page, out, cohort, found)
    if progress is not None:
        progress(len(PHANTOMS) + 2, len(PHANTOMS) + 2)
    page.heading("Files")
    page.text(
        "Each phantom is a cohort in the folder phantoms beside this page: images, landmarks, "
        "cohort.csv and cohort.toml. The pictures are in the folder pictures."
    )
    page.write(out / "index.html")
    return out / "index.html"


def _section(page: Page, kind: Phantom, cohort: Cohort, pictures: Path) -> None:
    page.heading(kind.title)
    page.text(kind.description)
    for case in cohort.cases:
        sample = load_sample(cohort, case)
        picture = pictures / f"{case.case}.png"
        save_picture(draw(sample.image, sample.landmarks), picture)
        page.picture(draw(sample.image, sample.landmarks), _caption(sample))
        if sample.landmarks is not None and len(sample.landmarks) <= 40:
            page.table(*_table(sample))


def _caption(sample: Sample) -> str:
    marks = sample.landmarks
    count = "no landmarks" if marks is None else counted(len(marks), "landmark")
    return f"{sample.case}: {sample.image.grid!r}, {count}"


def _table(sample: Sample) -> tuple[list[str], list[list[str]]]:
    marks = sample.landmarks
    if marks is None:
        return [], []
    frame = "" if marks.unit == "px" else "LPS "
    headers = ["landmark", *(f"{axis} ({frame}{marks.unit})" for axis in "xyz"[: marks.dimension])]
    rows = [
        [name, *(f"{value:.1f}" if here else "absent" for value in point)]
        for name, point, here in zip(marks.names, marks.points_mm, marks.present, strict=True)
    ]
    return headers, rows


# -- detection with the models that come with the package ------------------------------------------


def detection(page: Page, out: Path, *, seed: int) -> tuple[Cohort, dict[str, Findings]]:
    """Detect the landmarks of fresh prostate phantoms, and measure it against their truth.

    Returns the phantoms and what was found in each of their images.
    """
    cohort = write_phantoms(
        "prostate", out / "phantoms" / "detection", cases=_CASES, seed=seed + 900_000,
        shape=(32, 64, 64), overwrite=True,
    )  # fmt: skip
    page.heading("Detection in MR and ultrasound")
    page.text(
        f"Two small models (Fang 2023, trained on phantoms) look at {_CASES} fresh pairs. The "
        "pictures show found points, the tables compare them with the truth."
    )
    everything: dict[str, Findings] = {}
    for domain in ("mr", "us"):
        detector = Detector(f"prostate-phantom-{domain}")
        cases = cohort.select(domain=domain).cases
        samples = {case.case: load_sample(cohort, case) for case in cases}
        found = {name: detector.detect(s.image).findings for name, s in samples.items()}
        folder = out / "detected" / domain
        for name, findings in found.items():
            write_landmarks(for_file(findings, "mrk.json"), folder / f"{name}.mrk.json")
        first = next(iter(samples))
        page.picture(
            draw(samples[first].image, found[first].landmarks, radius=found[first].radius),
            f"{first}: what was found",
        )
        page.table(*_compared(samples[first], found[first]))
        _measured(page, out, cohort, domain, {n: f.landmarks for n, f in found.items()})
        everything |= found
    return cohort, everything


def _compared(sample: Sample, findings: Findings) -> tuple[list[str], list[list[str]]]:
    marks, truth = findings.landmarks, sample.landmarks
    headers = ["landmark", "error (mm)", "95 % radius (mm)", "confidence", "flags"]
    if truth is None or marks.confidence is None:
        return headers, []
    apart = np.linalg.norm(marks.points_mm - truth.points_mm, axis=1)
    return headers, [
        [
            name, f"{apart[row]:.1f}", f"{findings.radius[name]:.1f}",
            f"{marks.confidence[row]:.2f}", "; ".join(findings.flags.get(name, ())) or "–",
        ]
        for row, name in enumerate(marks.names)
    ]  # fmt: skip


def _measured(
    page: Page, out: Path, cohort: Cohort, domain: str, found: Mapping[str, Landmarks]
) -> None:
    truth = read_truth(cohort.root, domain=domain)
    result = evaluate(truth, found, said=domain, draws=500)
    report = write_evaluation(result, out / "evaluation" / domain)
    page.text(f"All {len(found)} cases, against the truth:")
    headers, rows = rows_of([*result.landmarks, result.pooled], result.table.unit, first="landmark")
    page.table(headers, rows)
    page.text(f"All of it: {report.relative_to(out)}")


# -- registration of what was found ----------------------------------------------------------------


def registration(page: Page, out: Path, cohort: Cohort, found: Mapping[str, Findings]) -> None:
    """Bring the MR images onto the ultrasound by the points that were found; the first in full."""
    page.heading("MR brought onto ultrasound")
    page.text(
        "By the three points that were found in both images, each as sure as its model says. The "
        "surface error (Fang 2023, equation 6) is the mean distance of the gland's surface from "
        "where the surfaces of both masks say it belongs."
    )
    rows = []
    cases = {case.case: case for case in cohort.cases}
    for number, mr in enumerate(cohort.select(domain="mr").cases):
        fixed, moving = load_sample(cohort, cases[mr.pair]), load_sample(cohort, mr)
        models = ("prostate-phantom-us", "prostate-phantom-mr")
        both = evidence_of(found[fixed.case], found[moving.case], models=models)
        result = register(
            fixed.image, moving.image, both, fixed_mask=fixed.mask, moving_mask=moving.mask
        )
        pair = gland_pair(mr.patient, fixed, moving)
        before = result.dice.before if result.dice else float("nan")
        rows.append([
            mr.patient, f"{pair.error(result.map):.1f}", f"{before:.2f}",
            f"{dice_of(pair, result.map):.2f}",
        ])  # fmt: skip
        if number == 0:
            _in_full(page, out / "registered", result)
    page.table(["pair", "surface error (mm)", "Dice as they lie", "Dice by points"], rows)


def _in_full(page: Page, folder: Path, result: Registered) -> None:
    names = names_for(result.fixed, result.moving, ["fixed.nii.gz", "moving.nii.gz"])
    record = write_registered(result, folder, names, given={"fixed": "US", "moving": "MR"})
    page.picture(
        draw_overlay(result), "The first pair, before and after: edges and squares of the MR image "
        "on the ultrasound.",
    )  # fmt: skip
    page.table(["", "before", "points", "at the end"], summary_rows(record))
    page.text(f"Transforms, warped image, points and report: {folder.name}/{PAGE_FILE}")
