"""How many annotated images a new task needs: from a model that knows others, and from nothing.

    python benchmarks/few.py COHORT --from MODEL --out DIR [--cases 20,50,all] [--test val]

Trains with the recipe of ``anatomark train --from`` on the first so many training cases, once from
the model and once from fresh weights, and measures both on the cases of the split ``--test``.
What is finished in DIR is not done again.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np


def main(
    cohort_path: str, base_name: str, out: Path, sizes: str, test: str, epochs: int | None
) -> None:
    from anatomark import read_cohort
    from anatomark.inference import Detector
    from anatomark.io.cohorts.cases import load_sample
    from anatomark.models.device import keep_freed_memory
    from anatomark.models.files import load_model
    from anatomark.training.few import recipe_from
    from anatomark.training.run import Machine, train
    from anatomark.training.starting import Base

    keep_freed_memory()
    cohort = read_cohort(cohort_path)
    recipe = recipe_from(Base.read(base_name), cohort).changed(epochs=epochs)
    training, tested = cohort.select(split="train"), cohort.select(split=test)
    rows = []
    for size in sizes.split(","):
        count = len(training) if size == "all" else int(size)
        some = replace(cohort, cases=training.cases[:count])
        for start in (base_name, None):
            folder = out / f"{size}-{'from' if start else 'fresh'}"
            if not (folder / "model.safetensors").is_file():
                train(recipe, some, folder, start=start, machine=Machine())
            detector = Detector(load_model(folder))
            errors = []
            for case in tested.cases:
                sample = load_sample(cohort, case, grey=True)
                found = detector.detect(sample.image).landmarks
                true = sample.landmarks.select(found.names)
                errors.append(np.linalg.norm(found.points_mm - true.points_mm, axis=1))
            apart = np.array(errors)
            rows.append({
                "cases": count, "from": start and Path(start).name, "mean": float(apart.mean()),
                "median": float(np.median(apart)), "largest": float(apart.max()),
            })  # fmt: skip
            print(
                f"{count:4d} cases, {'from the model' if start else 'fresh weights':14s}: "
                f"{apart.mean():6.2f} {cohort.unit} mean, {np.median(apart):6.2f} median, "
                f"{apart.max():6.2f} largest",
                flush=True,
            )
    (out / "few.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cohort")
    parser.add_argument("--from", dest="base", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cases", default="20,50,all")
    parser.add_argument("--test", default="val")
    parser.add_argument("--epochs", type=int)
    given = parser.parse_args()
    main(given.cohort, given.base, given.out, given.cases, given.test, given.epochs)
