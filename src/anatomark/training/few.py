"""A recipe for somebody's own landmarks, made from a model: ``train --from M --data COHORT``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anatomark.data import Cohort
from anatomark.errors import UsageError
from anatomark.io.cohorts.cases import load_sample
from anatomark.io.cohorts.files import read_cohort
from anatomark.models.recipe import Recipe, parse_recipe
from anatomark.training.cases import PREPARED_FILE
from anatomark.training.groups import Data
from anatomark.training.starting import Base

STEPS, EPOCHS = 1200, 20
# From weights that know images of this kind: a short run, averaged, at a moderate rate.
_TRAINING = {
    "epochs": EPOCHS, "steps_per_epoch": STEPS // EPOCHS, "learning_rate": 1e-3,
    "schedule": "cosine", "lowest_rate": 0.0, "warmup_steps": 50, "ema": 0.99,
    "validate_every": 2, "patience": None,
}  # fmt: skip


def recipe_from(base: Base, data: Data, *, domain: str | None = None) -> Recipe:
    """The recipe of the model, for other landmarks on other images.

    Of a universal model it is that of the domain that was named, else of its first, without any
    ``[domains]``; the network's grid gets the proportions of the cohort's first image.
    """
    whole = parse_recipe(base.info.recipe, base.path)
    view = whole.of(base.domain or next(iter(whole.domains))) if whole.domains else whole
    record = view.complete()
    record["domains"] = {}
    # Neither what the other images were made with, nor a fit to shapes that few cases do not give.
    record["modality"] = None
    record["detection"] = {"shape": "check"}
    record["name"] = f"{whole.name}-own"
    record["training"] |= _TRAINING
    record["data"] |= {"domain": domain, "share": None, "validation_part": 0.2}
    if record["grid"]["spacing"] is None:
        longest = max(max(v.grid.size) for v in whole.views().values())
        record["grid"]["size"] = _size(_first_size(data, domain, view), longest, view)
    return parse_recipe(record, base.path)


def _first_size(data: Data, domain: str | None, view: Recipe) -> list[int]:
    """Voxels of the first image, x, y(, z)."""
    if isinstance(data, Mapping):
        raise UsageError(
            "names several cohorts or domains", fix="name one cohort, or give a recipe"
        )
    if not isinstance(data, Cohort) and (Path(data) / PREPARED_FILE).is_file():
        raise UsageError(
            "is prepared for another recipe", path=data, fix="name the cohort, or give a recipe"
        )
    cohort = data if isinstance(data, Cohort) else read_cohort(data)
    chosen = cohort.select(domain=domain)
    image = load_sample(chosen, chosen.cases[0], grey=view.data.channels == 1).image
    if image.grid.dimension != view.grid.dimension:
        raise UsageError(
            f"has {image.grid.dimension}D images, the model is for {view.grid.dimension}D",
            path=cohort.root, fix="choose another model",
        )  # fmt: skip
    return list(image.grid.size_xyz)


def _size(image: list[int], longest: int, view: Recipe) -> list[int]:
    """About as many voxels along the longest axis, in the image's proportions."""
    settings: Any = view.config()
    levels = len(getattr(settings, "widths", (1,) * 5)) - 1
    step = max(int(getattr(settings, "shrink", 1)) * 2**levels, 16)
    scale = longest / max(image)
    return [max(round(n * scale / step), 1) * step for n in image]
