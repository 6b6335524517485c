"""After the last epoch of a method that matches: what it is worth on known pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anatomark.geometry import FloatArray
from anatomark.io.files import write_text
from anatomark.io.json_files import write_json
from anatomark.methods import Batch
from anatomark.models.conformal import ConfidenceMap, fit_confidence
from anatomark.models.files import (
    CONFIDENCE,
    CONFIDENCE_GUIDED,
    WEIGHTS_FILE,
    MatchingModel,
    ModelInfo,
    load_matcher,
    read_weights,
    save_model,
)
from anatomark.models.predicting import placed
from anatomark.training.batches import at_least, collate
from anatomark.training.card import matcher_card
from anatomark.training.finish import CARD_FILE, METRICS_FILE
from anatomark.training.folder import BEST
from anatomark.training.groups import Group
from anatomark.training.known_pairs import (
    RIGHT_VOXELS,
    Matched,
    matched,
    mistaken,
    validation_pair,
)

WITHIN = (1.0, 2.0, 4.0, 8.0)  # voxels
_PAIRS = 4  # of each validation case


def finish_matcher(
    group: Group,
    trained: Mapping[str, Any],
    folder: Path,
    *,
    known: Mapping[str, int],
    device: str,
    half: bool,
) -> ModelInfo:
    """Write metrics, the model card and, last, the model; ``known`` is as in ``finish``."""
    model = load_matcher(folder / BEST)
    found, learnt = _measured(model, group, device=device, half=half)
    cases = {case: one.errors.double().cpu().numpy() for case, one in found.items()}
    metrics = _metrics(cases)
    about = {
        "cases": len(group.train), "validation_cases": len(group.validation),
        "source": group.cases.source, **trained,
    }  # fmt: skip
    if known.get(group.domain):
        about["validation_cases_known"] = known[group.domain]
    write_json(folder / METRICS_FILE, metrics)
    write_text(folder / CARD_FILE, matcher_card(model, about, metrics))
    info, weights = read_weights(folder / BEST)
    checks = {CONFIDENCE: _confidence([one for one in learnt if not one.guided]).to_record()}
    second = [one for one in learnt if one.guided]
    if second:
        checks[CONFIDENCE_GUIDED] = _confidence(second).to_record()
    info = info.model_copy(update={"trained": about, "checks": checks})
    save_model(folder / WEIGHTS_FILE, info, weights)
    return info


def _measured(
    model: MatchingModel, group: Group, *, device: str, half: bool
) -> tuple[dict[str, Matched], list[Matched]]:
    """The matches of each validation case's pair, and of more pairs, to learn from when to trust.

    These are several pairs of each case, matched by the first look and by all that is done, and
    pairs of two cases: a method that looks again must not be sure of what it finds there.
    """
    method = placed(model.method, model.recipe.grid.dimension, device)
    found: dict[str, Matched] = {}
    learnt: list[Matched] = []
    before: Batch | None = None
    for case in group.validation:
        example = at_least(group.store[case], model.recipe.grid.size)
        batch = collate([example]).batch.to(device)
        batch = replace(batch, images=batch.images.float())
        with torch.autocast(device, dtype=torch.bfloat16, enabled=half):
            for number in range(_PAIRS):
                pair = validation_pair(
                    method, batch, case, group.recipe.augment, model.recipe.seed, number=number
                )
                again = matched(method, pair, again=True)
                found.setdefault(case, again)
                learnt += [matched(method, pair), *([again] if again.guided else [])]
            if before is not None and (odd := mistaken(method, before, pair)).guided:
                learnt.append(odd)
            before = pair
    model.method.cpu()
    return found, learnt


def _confidence(found: Sequence[Matched]) -> ConfidenceMap:
    """From how sure the method is of a match to the probability that it is right."""
    nothing = np.zeros(0)
    sure, errors = (
        np.concatenate([nothing, *(values.double().cpu().numpy() for values in every)])
        for every in ([one.sure for one in found], [one.errors for one in found])
    )
    return fit_confidence(sure, errors, RIGHT_VOXELS)


def _metrics(cases: Mapping[str, FloatArray]) -> dict[str, Any]:
    every = np.concatenate([*cases.values(), np.zeros(0)])
    counts = [len(errors) for errors in cases.values()]
    return {
        "format": "anatomark-matching-validation", "version": 1, "unit": "voxels",
        "matches": {
            "median": float(np.median(counts)), "least": min(counts), "most": max(counts),
        },
        "errors": _quartiles(every),
        "within": [
            {"threshold": t, "percent": 100 * float((every <= t).mean()) if len(every) else None}
            for t in WITHIN
        ],
        "cases": [
            {"case": case, "matches": len(errors), "errors": _quartiles(errors)}
            for case, errors in cases.items()
        ],
    }  # fmt: skip


def _quartiles(errors: FloatArray) -> dict[str, float | None]:
    names = ("q1", "median", "q3")
    if not len(errors):
        return dict.fromkeys(names)
    return {n: float(v) for n, v in zip(names, np.percentile(errors, (25, 50, 75)), strict=True)}
