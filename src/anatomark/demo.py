"""The demonstration: embedded data, end to end, one HTML page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from anatomark import __version__
from anatomark.data import Cohort, Sample
from anatomark.datasets.phantoms import PHANTOMS, Phantom
from anatomark.datasets.phantoms.cohorts import write_phantoms
from anatomark.io.cohorts.files import load_sample
from anatomark.pages import Page
from anatomark.pictures import draw, save_picture


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
            progress(number, len(PHANTOMS))
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
    count = "no landmarks" if sample.landmarks is None else f"{len(sample.landmarks)} landmarks"
    return f"{sample.case}: {sample.image.grid!r}, {count}"


def _table(sample: Sample) -> tuple[list[str], list[list[str]]]:
    marks = sample.landmarks
    if marks is None:
        return [], []
    frame = "" if marks.unit == "px" else "LPS "
    headers = ["landmark", *(f"{axis} ({frame}{marks.unit})" for axis in "xyz"[: marks.dimension])]
    rows = [
        [name, *(f"{value:.1f}" for value in point)]
        for name, point in zip(marks.names, marks.points_mm, strict=True)
    ]
    return headers, rows
