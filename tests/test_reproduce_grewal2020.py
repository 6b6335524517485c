"""Table 1 and Fig. 2: the way from slices to the tables, not the result."""

from __future__ import annotations

import json

import pytest

from anatomark.errors import UsageError
from anatomark.models.recipe import parse_recipe
from anatomark.reproduce import grewal2020 as reproduce


def test_as_published():
    recipe = reproduce.recipe_of("paper", 0)
    settings = recipe.config()
    assert settings.widths == (16, 32, 64, 128, 256)
    assert (settings.landmarks, settings.cell, settings.threshold_voxels) == (400, 8, 2.0)
    assert (settings.positive_margin, settings.negative_margin) == (0.1, 1.0)
    assert settings.least_probability == 0.5
    training = recipe.training
    assert (training.epochs, training.batch, training.optimiser) == (50, 4, "adam")
    assert (training.learning_rate, training.weight_decay) == (1e-3, 1e-4)
    assert reproduce.TABLE1[reproduce.OURS]["elastic"] == ("370 (293–452)", "1.0 (1.0–1.4)")


def test_from_slices_to_the_tables(tmp_path, monkeypatch):
    plain = reproduce.recipe_of

    def smaller(*words):
        record = plain(*words).complete()
        record["training"] |= {"epochs": 1, "steps_per_epoch": 2, "validate_every": 1}
        record["settings"] |= {"widths": [4, 6, 8], "described": [1, 2], "landmarks": 20}
        return parse_recipe(record)

    monkeypatch.setattr(reproduce, "recipe_of", smaller)
    monkeypatch.setattr(reproduce, "SMALL_CASES", 8)
    monkeypatch.setattr(reproduce, "SMALL_SHAPE", (96, 96))
    done = reproduce.reproduce(tmp_path / "grewal")
    record = json.loads((tmp_path / "grewal" / "tables.json").read_text())
    assert set(record["kinds"]) == {"intensity", "affine", "elastic"}
    pairs = {own["pairs"] for rows in record["kinds"].values() for own in rows.values()}
    assert pairs == {2}  # a quarter of eight
    assert "639 (547–729)" in (tmp_path / "grewal" / "tables.md").read_text()
    assert "phantoms, not patients" in done.about
    assert (tmp_path / "grewal" / "errors.png").is_file()
    with pytest.raises(UsageError, match="was begun with seed 0"):
        reproduce.reproduce(tmp_path / "grewal", seed=1)
