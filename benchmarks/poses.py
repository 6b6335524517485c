"""Where the error of a cross-validated model with a shape fit comes from: the network, or the pose.

    python benchmarks/poses.py COHORT CV_FOLDER [--folds 1,2,3] [--views 1,8]

Prints mean errors of the network alone, of the mean shape laid onto its points, of the fit, and of
the mean shape laid onto the true points, which is what no network is needed for but the pose.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from anatomark import load_sample, read_cohort
from anatomark.inference import Detector
from anatomark.models.checks import Checks
from anatomark.models.files import Model, load_model
from anatomark.models.shape_model import lay


def main(cohort: Path, folder: Path, folds: list[int], views: list[int]) -> None:
    cases = read_cohort(cohort)
    parts = json.loads((folder / "folds.json").read_text())["folds"]
    errors: dict[str, list[float]] = {}
    for fold in folds:
        model = load_model(folder / f"fold-{fold}")
        detection = model.recipe.detection.model_copy(update={"shape": "check"})
        recipe = model.recipe.model_copy(update={"detection": detection})
        plain = Model(model.info, recipe, model.method)
        prior = Checks.from_record(model.info.checks).shape
        for name in parts[fold - 1]:
            sample = load_sample(cases, cases[name])
            truth = sample.landmarks.points_mm
            weights = np.ones(len(truth))

            def note(said: str, points: np.ndarray, truth: np.ndarray = truth) -> None:
                apart = np.linalg.norm(points - truth, axis=1)
                errors.setdefault(said, []).append(float(apart.mean()))

            best = lay(truth, prior.mean_mm, weights, scale=False)
            note("mean shape in the best pose", best.back(prior.mean_mm))
            for count in views:
                looks = f"{count} look{'s' if count > 1 else ''}"
                found = Detector(plain, device="cpu", views=count).detect(sample.image)
                alone = found.landmarks.points_mm
                note(f"{looks}: network alone", alone)
                pose = lay(alone, prior.mean_mm, weights, scale=False)
                note(f"{looks}: mean shape laid onto it", pose.back(prior.mean_mm))
                fitted = Detector(model, device="cpu", views=count).detect(sample.image)
                note(f"{looks}: fitted", fitted.landmarks.points_mm)
    for said, values in errors.items():
        print(f"{said:40s} {np.mean(values):.3f} mm  ({len(values)} volumes)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--folds", default="1,2,3")
    parser.add_argument("--views", default="1,8")
    given = parser.parse_args()
    main(
        given.cohort, given.folder,
        [int(f) for f in given.folds.split(",")], [int(v) for v in given.views.split(",")],
    )  # fmt: skip
