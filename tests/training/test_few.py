"""A model for somebody's own landmarks, from one that knows images of this kind."""

from __future__ import annotations

import json

import pytest
import torch

from anatomark.cli.app import main
from anatomark.datasets.phantoms.cohorts import write_phantoms
from anatomark.errors import UsageError
from anatomark.models.files import ModelInfo, load_model, make_method, save_model
from anatomark.models.recipe import parse_recipe
from anatomark.training.cases import PREPARED_FILE
from anatomark.training.few import EPOCHS, STEPS, recipe_from
from anatomark.training.starting import Base, start_from

TINY = {
    "name": "base", "method": "zhu2021", "grid": {"size": (32, 48)},
    "settings": {"widths": (4, 6), "global_width": 4, "shrink": 2},
    "intensity": {"kind": "zscore"},
    "domains": {"head": {}, "spine": {"grid": {"size": (32, 64)}, "intensity": {"kind": "none"}}},
}  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A universal model of two domains, with weights that can be told apart."""
    path = tmp_path_factory.mktemp("base") / "base.safetensors"
    recipe = parse_recipe(TINY)
    torch.manual_seed(5)
    method = make_method(recipe, {"head": 19, "spine": 68})
    domains = {
        name: {"landmarks": [f"{name}{i}" for i in range(n)], "unit": "mm"}
        for name, n in (("head", 19), ("spine", 68))
    }
    weights = {k: torch.rand_like(v.float()).to(v.dtype) for k, v in method.state_dict().items()}
    save_model(path, ModelInfo(recipe=recipe.complete(), domains=domains), weights)
    return path


@pytest.fixture(scope="module")
def chests(tmp_path_factory):
    root = tmp_path_factory.mktemp("few") / "chests"
    write_phantoms("chest", root, cases=6, shape=(60, 80))
    return root


def test_the_recipe_is_that_of_the_model_in_the_proportions_of_the_images(base, chests):
    recipe = recipe_from(Base.read(base), str(chests))
    assert not recipe.domains
    assert recipe.name == "base-own"
    assert recipe.grid.size == (64, 48)  # 80×60 pixels, 64 the longest side that the model knows
    assert recipe.intensity.kind == "zscore"
    assert recipe.training.epochs * (recipe.training.steps_per_epoch or 0) == STEPS
    assert recipe.training.epochs == EPOCHS
    named = recipe_from(Base.read(f"{base.with_suffix('')}.safetensors/spine"), str(chests))
    assert named.intensity.kind == "none"


@pytest.mark.parametrize("domain", ["head", "spine"])
def test_a_new_domain_starts_from_the_one_that_was_named(base, chests, domain):
    begun = Base.read(f"{base}/{domain}")
    method = make_method(recipe_from(begun, str(chests)), 6)
    fresh = {k: v.clone() for k, v in method.state_dict().items()}
    start_from(method, begun)
    own, source = method.state_dict(), load_model(f"{base}/{domain}").method.state_dict()
    taken = [k for k in own if torch.equal(own[k], source[k.replace("of-one", f"of-{domain}")])]
    left = set(own) - set(taken)
    assert all(torch.equal(own[k], fresh[k]) for k in left)
    # Only what has a channel a landmark cannot be taken over.
    assert {k.rsplit(".", 2)[0] for k in left} == {
        "network.local.last", "network.whole.last", "network.whole.maps"
    }  # fmt: skip


def test_from_a_model_to_a_model_on_the_command_line(base, chests, tmp_path, capsys):
    words = ["train", "--from", str(base), "--data", str(chests), "--epochs", "1"]
    assert main([*words, "--out", str(tmp_path / "own"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["steps"] == STEPS // EPOCHS
    model = load_model(tmp_path / "own")
    assert model.recipe.name == "base-own"
    assert model.info.trained["begun_with"]["name"] == "base"
    assert len(model.landmarks) == 6


def test_what_is_said_of_bad_input(base, chests, tmp_path, capsys):
    assert main(["train", "--data", str(chests), "--out", str(tmp_path / "a")]) == 2
    assert "there is no recipe; name one, or a model" in capsys.readouterr().err
    with pytest.raises(UsageError, match=r"has no domain hip; there is head, spine"):
        Base.read(f"{base}/hip")
    prepared = tmp_path / "prepared"
    prepared.mkdir()
    (prepared / PREPARED_FILE).write_text("{}")
    with pytest.raises(UsageError, match="is prepared for another recipe; name the cohort"):
        recipe_from(Base.read(base), prepared)
    with pytest.raises(UsageError, match="names several cohorts"):
        recipe_from(Base.read(base), {"a": str(chests)})
    assert main(["train", "--from", f"{base}/spine", "--data", "x=y", "--out", "b"]) == 2
