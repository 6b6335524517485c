"""The model card: what a model is for, what it was trained on, what it is worth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from anatomark.models.checks import Checks
from anatomark.models.files import MatchingModel, Model, ModelInfo
from anatomark.models.recipe import Recipe


def model_card(
    model: Model, trained: Mapping[str, Any], metrics: Mapping[str, Any], checks: Checks
) -> str:
    """Markdown, from what is known; a person adds terms of use and what it must not be used for."""
    recipe, unit = model.recipe, model.info.unit
    pooled = metrics["pooled"]
    lines = [
        f"# {model.name}",
        "",
        f"Finds {len(model.landmarks)} landmarks in {recipe.grid.dimension}D images"
        f"{f' ({recipe.modality})' if recipe.modality else ''} by the method `{recipe.method}`.",
        "",
        *_made(recipe, trained, unit),
        "",
        "## Errors on the validation cases",
        "",
        "The weights were chosen by these cases, so that fresh ones will be a little worse.",
        "",
        f"| landmark | mean ± SD, {unit} | median | 95 % radius |",
        "|---|---|---|---|",
    ]
    for row, name in enumerate(model.landmarks):
        lines.append(_row(name, metrics["per_landmark"][name], _radius(checks, row)))
    whole = math.inf if checks.radii is None else checks.radii.all
    lines.append(_row("all", pooled, whole))
    lines += [
        "",
        "The radius is split-conformal: made to hold 95 % of the errors of fresh cases that are "
        "like these. A dash means that there were too few validation cases to say.",
        "",
        "## What it learnt to doubt",
        "",
        f"- shapes of landmarks: {'yes' if checks.shape else 'no (too few cases or landmarks)'}",
        f"- unlike images: {'yes' if checks.quality else 'no (too few cases)'}",
        "",
        "Not a medical device. Check every point before it is used for a patient.",
        "",
    ]
    return "\n".join(lines)


def matcher_card(
    model: MatchingModel, trained: Mapping[str, Any], metrics: Mapping[str, Any]
) -> str:
    """The same of a model that matches images, with what its matches of known pairs are worth."""
    recipe = model.recipe
    modality = f" ({recipe.modality})" if recipe.modality else ""
    within = ", ".join(
        f"{w['percent']:.1f} % within {w['threshold']:g}"
        for w in metrics["within"]
        if w["percent"] is not None
    )
    median = metrics["errors"]["median"]
    said = "no matches" if median is None else f"median error {median:.2f} voxels; {within}"
    return "\n".join([
        f"# {model.name}",
        "",
        f"Matches {recipe.grid.dimension}D images{modality} by the method `{recipe.method}`.",
        "",
        *_made(recipe, trained, model.info.unit, small="errors"),
        f"| validation | {metrics['matches']['median']:.0f} matches a pair (median); {said} |",
        "",
        "Validation pairs are single images and what a known map makes of them, as in training; "
        "the weights were chosen by them.",
        "",
        "Not a medical device. Check every match before it is used for a patient.",
        "",
    ])  # fmt: skip


def _made(
    recipe: Recipe, trained: Mapping[str, Any], unit: str, *, small: str = "errors and radii"
) -> list[str]:
    """A table of how the model was made; what known validation cases make too ``small``."""
    return [
        "| | |",
        "|---|---|",
        f"| data | {trained['source']} |",
        f"| cases | {trained['cases']} for training, "
        f"{trained['validation_cases']} for validation |",
        f"| trained | {trained['epochs']} epochs, {trained['steps']} steps; the best was epoch "
        f"{trained['best_epoch'] + 1} |",
        f"| network sees | {'×'.join(map(str, recipe.grid.size))} voxels"
        f"{_spacing(recipe.grid.spacing, unit)} |",
        f"| made by | anatomark {trained['anatomark']}, {trained['date']}, seed {recipe.seed} |",
        *_begun_with(trained, small),
    ]


def _begun_with(trained: Mapping[str, Any], small: str) -> list[str]:
    """Rows about the model that the run started from, and what of it makes errors too small."""
    base = trained.get("begun_with")
    if base is None:
        return []
    what = "added to" if base["adding"] else "started from"
    rows = [f"| {what} | {base['name']}, SHA-256 {base['sha256']} |"]
    known = trained.get("validation_cases_known")
    if known:
        rows.append(
            f"| beware | {base['name']} was trained on {known} of the validation cases: "
            f"{small} are too small |"
        )
    return rows


def short_cards(info: ModelInfo) -> str:
    """What the file of a universal model says of its domains, where there is no card beside it."""
    name, cards = info.recipe["name"], []
    for domain, own in info.domains.items():
        trained = own.trained
        lines = [f"# {name}/{domain}", "", f"Finds {len(own.landmarks)} landmarks.", ""]
        lines += ["| | |", "|---|---|", f"| data | {trained.get('source', 'not known')} |"]
        if "validation_mre" in trained:
            lines.append(
                f"| validation error | {trained['validation_mre']:.2f} {own.unit} on "
                f"{trained.get('validation_cases', '?')} cases |"
            )
        cards.append("\n".join([*lines, ""]))
    return "\n".join(cards)


def _spacing(spacing: float | tuple[float, ...] | None, unit: str) -> str:
    if spacing is None:
        return ""
    each = spacing if isinstance(spacing, tuple) else (spacing,)
    return f" of {'×'.join(f'{s:g}' for s in each)} {unit}"


def _radius(checks: Checks, row: int) -> float:
    return math.inf if checks.radii is None else checks.radii.each[row]


def _row(name: str, summary: Mapping[str, Any], radius: float) -> str:
    def number(value: float | None) -> str:
        return "–" if value is None or not math.isfinite(value) else f"{value:.2f}"

    mean, sd, median = (number(summary[k]) for k in ("mre", "sd", "median"))
    return f"| {name} | {mean} ± {sd} | {median} | {number(radius)} |"
