"""Recipes: everything written out, every mistake named."""

from __future__ import annotations

import tomllib

import pytest

from anatomark.errors import UsageError
from anatomark.methods import METHODS
from anatomark.models.recipe import format_recipe, parse_recipe, read_recipe, shipped_recipes

RAW = {"name": "mine", "method": "fang2023", "grid": {"size": [32, 32, 16]}}


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipes_are_sound_and_complete(name):
    recipe = read_recipe(name)
    assert recipe.name == name
    again = parse_recipe(tomllib.loads(format_recipe(recipe)))
    assert again.complete() == recipe.complete()


@pytest.mark.parametrize(("name", "kind"), [("fang2023-mr", 5e-3), ("fang2023-us", 1e-2)])
def test_the_published_settings(name, kind):
    recipe = read_recipe(name)
    config = recipe.config()
    assert (config.lambda1, config.lambda2, config.regulariser) == (1.0, kind, "distance")
    assert recipe.training.batch == 4
    assert recipe.training.optimiser == "adam"
    assert recipe.training.learning_rate == 1e-4


@pytest.mark.parametrize("method", METHODS)
def test_every_method_can_be_asked_for(method):
    size = RAW["grid"]["size"][: METHODS[method].dimensions[-1]]
    recipe = parse_recipe({**RAW, "method": method, "grid": {"size": size}})
    assert parse_recipe(tomllib.loads(format_recipe(recipe))).complete() == recipe.complete()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "magic"}, "method is one of fang2023"),
        ({"grid": {"size": [32]}}, "grid.size"),
        ({"grid": {"size": [32, 32], "spacing": [1, 1, 1]}}, "differ in their number of axes"),
        ({"settings": {"lambda3": 1}}, "lambda3"),
        ({"augment": "wild"}, "preset is one of none, light, strong"),
        ({"training": {"batch": 0}}, "training.batch"),
        ({"intensity": {"low": 5, "high": 2}}, "low must be below high"),
        ({"colour": 1}, "colour is not known; there is name, method"),
        ({"training": {"epoch": 2}}, "training.epoch is not known; did you mean epochs?"),
        ({"gird": {}}, "gird is not known; did you mean grid?"),
        ({"settings": {"lamda1": 2}}, "settings.lamda1 is not known; did you mean lambda1?"),
        (
            {"settings": {"network": {"kind": "unet", "width": [4]}}},
            "settings.network.unet.width is not known; did you mean widths?",
        ),
        ({"grid": {}}, "grid.size is missing"),
        ({"name": "a/b"}, "name"),
    ],
)
def test_mistakes_are_named(changes, message):
    with pytest.raises(UsageError, match="is not a sound recipe") as caught:
        parse_recipe({**RAW, **changes})
    assert message in str(caught.value)


def test_files_that_are_no_recipes(tmp_path):
    with pytest.raises(UsageError, match="neither a file nor a recipe"):
        read_recipe("nothing")
    (tmp_path / "r.toml").write_text("name = ")
    with pytest.raises(UsageError, match="is not TOML"):
        read_recipe(tmp_path / "r.toml")


def test_the_command_line_can_change_it():
    changed = parse_recipe(RAW).changed(epochs=3, seed=9, domain="us")
    assert (changed.training.epochs, changed.seed, changed.data.domain) == (3, 9, "us")
