"""A small cohort and a small recipe."""

from __future__ import annotations

import pytest

from anatomark.datasets.phantoms.cohorts import write_phantoms
from anatomark.models.recipe import format_recipe, parse_recipe

SMALL = {"kind": "voxelmorph", "encoder": (4, 6), "decoder": (6, 6), "final": (4,)}


@pytest.fixture(scope="session")
def prostates(tmp_path_factory):
    """Cohort of 8 prostates, MR and ultrasound, 32×32×16 voxels."""
    folder = tmp_path_factory.mktemp("training") / "prostates"
    write_phantoms("prostate", folder, cases=8, shape=(16, 32, 32), split="0.8,0,0.2")
    return folder


@pytest.fixture
def small_recipe():
    """Function that gives a recipe, with changes by ``part__name=value``."""

    def made(**changes):
        raw = {
            "name": "small",
            "method": "fang2023",
            "seed": 5,
            "grid": {"size": (32, 32, 16)},
            "data": {"domain": "mr", "validation_part": 0.3},
            "settings": {"network": SMALL},
            "augment": "light",
            "training": {"epochs": 2, "batch": 2, "learning_rate": 1e-3, "ema": 0.9},
        }
        for key, value in changes.items():
            *parts, last = key.split("__")
            at = raw
            for part in parts:
                at = at.setdefault(part, {})
            at[last] = value
        return parse_recipe(raw)

    return made


@pytest.fixture
def recipe_file(tmp_path, small_recipe):
    """Function that writes such a recipe and returns its path."""

    def written(**changes):
        path = tmp_path / "recipe.toml"
        path.write_text(format_recipe(small_recipe(**changes)))
        return path

    return written
