"""After the last epoch: what the best weights are worth, learnt from the validation cases."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anatomark.geometry import FloatArray
from anatomark.io.files import write_text
from anatomark.metrics.records import plain
from anatomark.metrics.statistics import summarise
from anatomark.models.checks import Checks, learn_checks
from anatomark.models.files import WEIGHTS_FILE, Model, save_model
from anatomark.models.predicting import placed, predict
from anatomark.training.batches import at_least
from anatomark.training.card import model_card
from anatomark.training.cases import Example, Store

METRICS_FILE, CARD_FILE = "metrics.json", "model-card.md"


def finish(
    best: Model,
    store: Store,
    parts: tuple[Sequence[str], Sequence[str]],
    trained: Mapping[str, Any],
    folder: Path,
    *,
    device: str,
    half: bool,
) -> None:
    """Write metrics, model card and, last, the model with all that it knows of itself."""
    checks, errors = _looked_at(best, store, parts, device=device, half=half)
    metrics = _metrics(errors, best, parts[1])
    write_text(folder / METRICS_FILE, json.dumps(metrics, indent=1, allow_nan=False))
    write_text(folder / CARD_FILE, model_card(best, trained, metrics, checks))
    info = best.info.model_copy(update={"trained": dict(trained), "checks": checks.to_record()})
    save_model(folder / WEIGHTS_FILE, info, dict(best.method.state_dict()))


def _looked_at(
    best: Model,
    store: Store,
    parts: tuple[Sequence[str], Sequence[str]],
    *,
    device: str,
    half: bool,
) -> tuple[Checks, FloatArray]:
    method = placed(best.method, best.recipe.grid.dimension, device)
    rows: list[tuple[FloatArray, ...]] = []
    for example in (at_least(store[case], best.recipe.grid.size) for case in parts[1]):
        found = predict(method, [example.array], [example.extent_mm], device=device, half=half)
        absent = ~example.present
        apart = (found.points[0].numpy() - example.points) * example.extent_mm / 2
        blank = np.full(len(absent), np.nan)
        trust = blank if found.confidence is None else found.confidence[0].double().numpy()
        spread = blank
        if found.covariance_mm2 is not None:
            spread = found.covariance_mm2[0].double().numpy().trace(axis1=1, axis2=2)
        rows.append(
            tuple(
                np.where(absent, np.nan, v) for v in (np.linalg.norm(apart, axis=1), trust, spread)
            )
        )
    errors, confidence, variance = (np.array(column) for column in zip(*rows, strict=True))
    training = list(_training(store, parts[0]))
    checks = learn_checks(
        errors=errors,
        confidence=confidence if np.isfinite(confidence).any() else None,
        variance=variance if np.isfinite(variance).any() else None,
        shapes=np.array([shape for shape, _ in training]),
        statistics=[statistics for _, statistics in training],
    )
    best.method.cpu()
    return checks, errors


def _training(
    store: Store, cases: Sequence[str]
) -> Iterator[tuple[FloatArray, Mapping[str, float]]]:
    for case in cases:
        example = store[case]
        yield shape_of(example), example.statistics


def shape_of(example: Example) -> FloatArray:
    """Points ``(L, D)`` in the unit of the image along its axes, NaN where absent."""
    points = example.points.astype(np.float64) * example.extent_mm / 2
    return np.where(example.present[:, None], points, np.nan)


def _metrics(errors: FloatArray, best: Model, cases: Sequence[str]) -> dict[str, Any]:
    """Of the validation cases, by which the weights were chosen: a little too good."""

    def summary(values: FloatArray) -> dict[str, Any]:
        s = summarise(values)
        return {
            "count": s.count, "mre": plain(s.mean), "sd": plain(s.sd), "median": plain(s.median),
            "q1": plain(s.q1), "q3": plain(s.q3), "max": plain(s.largest),
            "sdr": [
                {"threshold": t, "percent": plain(w)}
                for t, w in zip(s.thresholds, s.within, strict=True)
            ],
        }  # fmt: skip

    names = best.landmarks
    return {
        "format": "anatomark-validation", "version": 1, "unit": best.info.unit,
        "pooled": summary(errors),
        "per_landmark": {name: summary(errors[:, [i]]) for i, name in enumerate(names)},
        "names": list(names),
        "cases": [
            {"case": case, "errors": plain(row)} for case, row in zip(cases, errors, strict=True)
        ],
    }  # fmt: skip
