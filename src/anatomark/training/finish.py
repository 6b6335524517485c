"""After the last epoch: what the best weights are worth, learnt from the validation cases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anatomark.geometry import FloatArray
from anatomark.io.files import write_text
from anatomark.io.json_files import plain, write_json
from anatomark.methods import Method
from anatomark.metrics.statistics import summarise
from anatomark.models.checks import Checks, grown, growth, learn_checks, own_covariance
from anatomark.models.files import (
    WEIGHTS_FILE,
    Model,
    ModelInfo,
    load_model,
    read_weights,
    save_model,
)
from anatomark.models.predicting import placed, predict
from anatomark.models.shape_fit import fit_to_shape
from anatomark.models.shape_model import ShapePrior
from anatomark.models.shapes import fit_shapes
from anatomark.training.batches import at_least
from anatomark.training.card import model_card, short_cards
from anatomark.training.cases import Example, Store
from anatomark.training.folder import BEST
from anatomark.training.groups import Group
from anatomark.training.starting import Base, joined

METRICS_FILE, CARD_FILE = "metrics.json", "model-card.md"


def finish(
    groups: Sequence[Group],
    trained: Mapping[str, Any],
    folder: Path,
    *,
    known: Mapping[str, int],
    base: Base | None,
    device: str,
    half: bool,
) -> ModelInfo:
    """Write metrics, model cards and, last, the model with all that it knows of itself.

    ``base`` is the universal model to which the domains were added; what is returned is about
    this run alone. ``known`` are numbers of validation cases that the model at the start had seen.
    """
    found = {
        g.domain: _judged(
            g, trained, folder, known=known.get(g.domain, 0), device=device, half=half
        )
        for g in groups
    }
    info, weights = read_weights(folder / BEST)
    if "" in found:
        only = found[""]
        write_json(folder / METRICS_FILE, only.metrics)
        write_text(folder / CARD_FILE, only.card)
        info = info.model_copy(update={"trained": only.trained, "checks": only.checks.to_record()})
    else:
        metrics = {domain: own.metrics for domain, own in found.items()}
        write_json(folder / METRICS_FILE, {"domains": metrics})
        cards = [] if base is None else [base.card or short_cards(base.info)]
        write_text(folder / CARD_FILE, "\n".join([*cards, *(own.card for own in found.values())]))
        each = {
            domain: info.domains[domain].model_copy(
                update={"trained": own.trained, "checks": own.checks.to_record()}
            )
            for domain, own in found.items()
        }
        info = info.model_copy(update={"trained": dict(trained), "domains": each})
    whole = info
    if base is not None:
        whole, weights = joined(base, info, weights)
    save_model(folder / WEIGHTS_FILE, whole, weights)
    return info


class _Judged(NamedTuple):
    """What is known of one domain in the end."""

    checks: Checks
    metrics: dict[str, Any]
    trained: dict[str, Any]
    card: str


def _judged(
    group: Group,
    trained: Mapping[str, Any],
    folder: Path,
    *,
    known: int,
    device: str,
    half: bool,
) -> _Judged:
    best = load_model(folder / BEST / group.domain if group.domain else folder / BEST)
    checks, errors, missed = _looked_at(best, group, device=device, half=half)
    metrics = _metrics(errors, best, group.validation)
    about = {
        "cases": len(group.train), "validation_cases": len(group.validation),
        "source": group.cases.source, **trained,
    }  # fmt: skip
    if known:
        about["validation_cases_known"] = known
    if missed:
        about["validation_points_missed"] = missed
    if group.domain:  # the judged error is over all domains, in pixels
        about["validation_mre"] = metrics["pooled"]["mre"]
    return _Judged(checks, metrics, about, model_card(best, about, metrics, checks))


def _looked_at(
    best: Model, group: Group, *, device: str, half: bool
) -> tuple[Checks, FloatArray, int]:
    """What the model knows of itself, its errors ``(N, L)``, and how many points it missed."""
    method = placed(best.method, best.recipe.grid.dimension, device)
    store = group.store
    training = list(_training(store, group.train))
    prior = fit_shapes(np.array([shape for shape, _ in training]))
    looks = [
        _look_at(method, at_least(store[case], best.recipe.grid.size), device=device, half=half)
        for case in group.validation
    ]
    best.method.cpu()
    plain_spread = None
    variance, errors = _variances_and_errors(looks)
    if best.recipe.detection.shape == "fit" and prior is not None:
        plain_spread = growth(variance, errors)
        looks = [_fitted(prior, look, plain_spread) for look in looks]
        variance, errors = _variances_and_errors(looks)
    confidence = np.array([np.where(look.absent, np.nan, look.confidence) for look in looks])
    known = looks[0].known_covariance or plain_spread is not None
    checks = learn_checks(
        errors=errors,
        confidence=confidence if np.isfinite(confidence).any() else None,
        variance=variance if known and np.isfinite(variance).any() else None,
        shape=prior,
        statistics=[statistics for _, statistics in training],
    )
    if plain_spread is not None:
        checks = replace(checks, spread=plain_spread, fit_spread=checks.spread)
    return checks, errors, sum(look.missed for look in looks)


class _Look(NamedTuple):
    """What the network says of one case, in mm along the axes of its grid."""

    points: FloatArray
    truth: FloatArray
    absent: NDArray[np.bool_]  # in truth, or for the network
    missed: int
    confidence: FloatArray
    covariance: FloatArray
    known_covariance: bool


def _look_at(method: Method, example: Example, *, device: str, half: bool) -> _Look:
    found = predict(method, [example.array], [example.extent_mm], device=device, half=half)
    points = found.points[0].double().numpy() * example.extent_mm / 2
    blank = np.full(len(points), np.nan)
    covariance = None if found.covariance_mm2 is None else found.covariance_mm2[0].double().numpy()
    # What the network does not find is not reported, so it teaches nothing of reported errors.
    missed = np.zeros(len(points), bool) if found.present is None else ~found.present[0].numpy()
    return _Look(
        points,
        example.points * example.extent_mm / 2,
        ~example.present | missed,
        int((example.present & missed).sum()),
        blank if found.confidence is None else found.confidence[0].double().numpy(),
        own_covariance(covariance, points.shape),
        covariance is not None,
    )


def _fitted(prior: ShapePrior, look: _Look, spread: tuple[float, ...] | None) -> _Look:
    # Every point is found, also one that is absent in truth: so will it be in detection.
    points, covariance = fit_to_shape(prior, look.points, grown(look.covariance, spread))
    return look._replace(points=points, covariance=covariance)


def _variances_and_errors(looks: Sequence[_Look]) -> tuple[FloatArray, FloatArray]:
    """Each ``(N, L)``, NaN where a landmark is absent."""
    variances = [look.covariance.trace(axis1=1, axis2=2) for look in looks]
    errors = [np.linalg.norm(look.points - look.truth, axis=1) for look in looks]
    absent = np.array([look.absent for look in looks])
    return np.where(absent, np.nan, variances), np.where(absent, np.nan, errors)


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
