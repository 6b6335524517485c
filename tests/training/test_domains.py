"""One model for several body parts: trained together, loaded by name, extended without harm."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from anatomark import load_sample, read_cohort
from anatomark.cli.app import main
from anatomark.datasets.phantoms.cohorts import write_phantoms
from anatomark.errors import AnatomarkWarning, UsageError
from anatomark.inference import Detector
from anatomark.models.files import ModelInfo, load_model, read_info, read_weights, save_model
from anatomark.models.recipe import format_recipe, parse_recipe
from anatomark.networks.gu2net import domain_of
from anatomark.training.batches import TrainingBatches, epoch_plan
from anatomark.training.cases import write_prepared
from anatomark.training.groups import cases_of, open_groups, parse_data
from anatomark.training.leaks import look
from anatomark.training.run import train

RAW = {
    "name": "several",
    "method": "zhu2021",
    "seed": 3,
    "grid": {"size": (32, 40)},
    "data": {"validation_part": 0.3},
    "settings": {"widths": (4, 6), "global_width": 4},
    "augment": "light",
    "training": {"epochs": 1, "batch": 2, "learning_rate": 1e-3, "ema": 0.9},
    "domains": {"head": {}, "chest": {"grid": {"size": (32, 32)}}},
}


def recipe_of(**changes):
    return parse_recipe({**RAW, **changes})


@pytest.fixture(scope="module")
def xrays(tmp_path_factory):
    """A cohort of each of three body parts, 6 images each."""
    root = tmp_path_factory.mktemp("xrays")
    for name, shape in {"head": (100, 80), "hand": (100, 80), "chest": (80, 80)}.items():
        write_phantoms(name, root / name, cases=6, shape=shape)
    return {name: root / name for name in ("head", "hand", "chest")}


@pytest.fixture(scope="module")
def run(xrays, tmp_path_factory):
    """A universal model of heads and chests."""
    out = tmp_path_factory.mktemp("runs") / "two"
    train(recipe_of(), {name: xrays[name] for name in ("head", "chest")}, out)
    return out


# -- recipes ---------------------------------------------------------------------------------------


def test_a_domain_has_what_it_says_otherwise_and_the_rest_of_the_recipe():
    recipe = recipe_of()
    assert recipe.of("chest").grid.size == (32, 32)
    assert recipe.of("head").grid.size == (32, 40)
    assert recipe.of("chest").augment == recipe.augment
    assert recipe.of("chest").of("chest") == recipe.of("chest")
    whole = recipe.of("chest").complete()
    assert parse_recipe(whole).complete() == whole


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"domains": {"head": {"training": {"epochs": 3}}}}, "domains.head.training is not known"),
        ({"domains": {"head": {"grid": {"size": (32,)}}}}, "domains.head: grid.size"),
        ({"domains": {"my head": {}}}, "domains.my head"),
        ({"method": "fang2023", "settings": {}}, "fang2023 knows one domain only"),
        ({"grid": {"size": (32, 32, 32)}, "domains": {}}, "zhu2021 is not for 3D images"),
        ({"domains": {"a": {"data": {"channels": 3}}, "b": {}}}, "channels is the same for all"),
        ({"domains": {"a": {"data": {"share": 0.5}}, "b": {}}}, "share is said of all"),
        ({"settings": {"shrink": 2}, "domains": {"a": {"grid": {"size": (40, 32)}}}}, "multiples"),
    ],
)
def test_unsound_domains_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        recipe_of(**changes)


# -- batches ---------------------------------------------------------------------------------------


def test_batches_of_domains_are_mixed_anew_each_epoch():
    groups = ["abcdef", "uvw"]
    plans = [epoch_plan(groups, 2, None, 1, epoch) for epoch in range(4)]
    for plan in plans:
        assert all(set(cases) <= set(groups[group]) for group, cases in plan)
        shown = [case for group, cases in plan for case in cases if group == 0]
        assert sorted(shown) == list("abcdef")
        assert {case for group, cases in plan for case in cases if group == 1} == set("uvw")
    orders = {tuple(group for group, _ in plan) for plan in plans}
    assert len(orders) > 1


def test_a_preset_of_a_domain_is_the_preset():
    recipe = recipe_of(
        augment={"rotation_deg": 1.0}, domains={"a": {"augment": {"preset": "strong"}}, "b": {}}
    )
    assert recipe.of("a").augment.rotation_deg == 20
    assert recipe.of("b").augment.rotation_deg == 1


def test_batches_are_counted_without_being_planned(xrays, monkeypatch):
    groups = open_groups({"head": xrays["head"], "chest": xrays["chest"]}, recipe_of())
    for steps in (None, 7):
        batches = TrainingBatches(groups, batch=2, steps=steps, seed=1, epoch=lambda: 0)
        assert len(batches) == len(list(batches)) == (steps or 4)
    monkeypatch.setattr("anatomark.training.batches.epoch_order", None)
    assert len(batches) == 7


def test_no_domain_is_left_without_a_step():
    with pytest.raises(UsageError, match="4 steps an epoch leave none for one of 2 domains"):
        epoch_plan(["a" * 30, "b"], 2, 4, 1, 0)


def test_two_processes_train_as_one(xrays, tmp_path):
    """Parameters of the other domain have no gradient in a step: that must stop nobody."""
    (tmp_path / "recipe.toml").write_text(format_recipe(recipe_of()))
    data = [f"--data={name}={xrays[name]}" for name in ("head", "chest")]
    command = [sys.executable, "-m", "anatomark", "train", str(tmp_path / "recipe.toml"), *data]
    command += ["--device", "cpu", "--devices", "2", "--out", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(read_info(tmp_path / "run" / "model.safetensors").domains) == {"head", "chest"}


def test_steps_are_shared_out_by_cases_or_as_told():
    groups = ["a" * 30, "b" * 10]
    by_cases = epoch_plan(groups, 2, 8, 1, 0)
    assert [sum(g == k for g, _ in by_cases) for k in (0, 1)] == [6, 2]
    told = epoch_plan(groups, 2, 9, 1, 0, shares=[1, 2])
    assert [sum(g == k for g, _ in told) for k in (0, 1)] == [3, 6]


# -- data ------------------------------------------------------------------------------------------


def test_what_data_may_say(tmp_path):
    assert parse_data(["cohort"]) == "cohort"
    assert parse_data(["a=x", "b=y"]) == {"a": "x", "b": "y"}
    (tmp_path / "a=x").mkdir()
    assert parse_data([str(tmp_path / "a=x")]) == str(tmp_path / "a=x")
    with pytest.raises(UsageError, match="which domain is y"):
        parse_data(["a=x", "y"])
    with pytest.raises(UsageError, match="two --data of the domain a"):
        parse_data(["a=x", "a=y"])


def test_missing_and_unknown_domains_are_named(xrays):
    with pytest.raises(UsageError, match=r"no data of the domain chest; add --data chest=COHORT"):
        open_groups({"head": xrays["head"]}, recipe_of())
    given = {**dict.fromkeys(("head", "chest", "foot"), xrays["head"])}
    with pytest.raises(UsageError, match=r"no domain foot; there is head, chest"):
        open_groups(given, recipe_of())


def test_prepared_domains_are_the_same_cases(xrays, tmp_path):
    recipe = recipe_of()
    data = {name: xrays[name] for name in ("head", "chest")}
    for domain, cases in cases_of(data, recipe).items():
        write_prepared(cases, recipe.of(domain), tmp_path / domain)
    for straight, prepared in zip(
        open_groups(data, recipe), open_groups(tmp_path, recipe), strict=True
    ):
        assert (straight.train, straight.validation) == (prepared.train, prepared.validation)
        case = straight.train[0]
        np.testing.assert_array_equal(straight.store[case].array, prepared.store[case].array)


def test_a_prepared_folder_without_a_domain_is_named(xrays, tmp_path):
    recipe = recipe_of()
    for domain, cases in cases_of({"head": xrays["head"], "chest": xrays["chest"]}, recipe).items():
        write_prepared(cases, recipe.of(domain), tmp_path / domain)
    more = recipe_of(domains={"head": {}, "hand": {}})
    with pytest.raises(
        UsageError, match=r"no prepared cases of the domain hand; there is chest, "
    ) as e:
        open_groups(tmp_path, more)
    assert str(tmp_path) in str(e.value)
    with pytest.raises(UsageError, match=r"say --data head=.*head and so for each domain"):
        open_groups(tmp_path / "head", recipe)


# -- the model -------------------------------------------------------------------------------------


def test_a_universal_model_is_loaded_by_the_name_of_a_domain(run, xrays):
    assert set(read_info(run / "model.safetensors").domains) == {"head", "chest"}
    for domain in ("head", "chest"):
        model = load_model(run / domain)
        cohort = read_cohort(xrays[domain])
        assert model.name == f"several/{domain}"
        assert model.landmarks == tuple(next(iter(cohort.names.values())))
        assert {domain_of(k) for k in model.method.state_dict()} == {None, domain}
        sample = load_sample(cohort, cohort.cases[0])
        found = Detector(model, device="cpu").detect(sample.image).landmarks
        assert found.names == sample.landmarks.names
        assert found.unit == sample.landmarks.unit
    metrics = json.loads((run / "metrics.json").read_text())
    assert set(metrics["domains"]) == {"head", "chest"}
    assert "# several/chest" in (run / "model-card.md").read_text()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "knows several domains; there is head, chest"),
        ("chets", "has no domain chets; there is head, chest; did you mean chest"),
    ],
)
def test_a_domain_that_is_not_there(run, name, message):
    with pytest.raises(UsageError, match=message):
        load_model(run / name if name else run)


def test_a_killed_universal_run_goes_on_as_if_nothing_had_been(xrays, tmp_path, monkeypatch):
    data = {name: xrays[name] for name in ("head", "chest")}
    recipe = recipe_of(training={**RAW["training"], "epochs": 2, "schedule": "cyclic"})
    train(recipe, data, tmp_path / "straight")
    from anatomark.training.loop import Keeper

    kept = Keeper.on_train_epoch_end

    def stop(self, trainer, module):
        kept(self, trainer, module)
        if trainer.current_epoch == 0:
            raise RuntimeError("power cut")

    monkeypatch.setattr(Keeper, "on_train_epoch_end", stop)
    with pytest.raises(RuntimeError, match="power cut"):
        train(recipe, data, tmp_path / "cut")
    monkeypatch.undo()
    # The recipe has its domains in another order now: that is the same recipe, and the same run.
    turned = recipe.model_copy(update={"domains": dict(reversed(recipe.domains.items()))})
    assert list(turned.domains) == ["chest", "head"]
    train(turned, data, tmp_path / "cut", resume=True)
    _, first = read_weights(tmp_path / "straight" / "model.safetensors")
    _, second = read_weights(tmp_path / "cut" / "model.safetensors")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize("convolutions", ["separable", "shared"])
def test_an_added_domain_leaves_the_others_bit_for_bit(run, xrays, tmp_path, convolutions):
    base = run
    settings = {**RAW["settings"], "convolutions": convolutions}
    if convolutions != "separable":
        base = tmp_path / "base"
        data = {name: xrays[name] for name in ("head", "chest")}
        train(recipe_of(settings=settings), data, base)
    new = recipe_of(name="more", settings=settings, domains={"hand": {}})
    train(new, {"hand": xrays["hand"]}, tmp_path / "three", add_domain=base)
    assert set(read_info(tmp_path / "three" / "model.safetensors").domains) == {
        "head", "chest", "hand",
    }  # fmt: skip
    _, before = read_weights(base / "model.safetensors")
    _, after = read_weights(tmp_path / "three" / "model.safetensors")
    assert all(torch.equal(before[k], after[k]) for k in before)
    for domain in ("head", "chest"):
        cohort = read_cohort(xrays[domain])
        image = load_sample(cohort, cohort.cases[0]).image
        found = [
            Detector(load_model(folder / domain), device="cpu").detect(image).landmarks
            for folder in (base, tmp_path / "three")
        ]
        np.testing.assert_array_equal(found[0].points_mm, found[1].points_mm)
        np.testing.assert_array_equal(found[0].confidence, found[1].confidence)


def test_domains_learn_together_and_one_that_is_added_does(xrays, tmp_path):
    """Errors after training, against those of the same fresh weights that hardly move."""
    data = {name: xrays[name] for name in ("head", "chest")}
    still = {**RAW["training"], "learning_rate": 1e-12}
    much = {**RAW["training"], "epochs": 30, "learning_rate": 1e-2}
    settings = {"widths": (8, 12), "global_width": 8}

    def errors(folder, data, domains, training, **start):
        recipe = recipe_of(settings=settings, augment="none", domains=domains, training=training)
        info = train(recipe, data, tmp_path / folder, **start).info
        return {domain: own.trained["validation_mre"] for domain, own in info.domains.items()}

    before = errors("still", data, RAW["domains"], still)
    after = errors("much", data, RAW["domains"], much)
    hand, base = {"hand": xrays["hand"]}, tmp_path / "much"
    before |= errors("hand still", hand, {"hand": {}}, still, add_domain=base)
    after |= errors("hand much", hand, {"hand": {}}, much, add_domain=base)
    assert before.keys() == after.keys() == {"head", "chest", "hand"}
    for domain, error in before.items():
        assert after[domain] < 0.3 * error, domain


def test_what_cannot_be_added(run, xrays, prostates, small_recipe, tmp_path):
    hand = {"hand": xrays["hand"]}
    for changes, message in (
        ({"settings": {"widths": (4, 8)}, "domains": {"hand": {}}}, r"other \[settings\]"),
        ({"domains": {}}, r"has no \[domains\]"),
    ):
        data = hand if changes["domains"] else xrays["hand"]
        with pytest.raises(UsageError, match=message):
            train(recipe_of(**changes), data, tmp_path / "no", add_domain=run)
    one = recipe_of(domains={"head": {}})
    with pytest.raises(UsageError, match="knows the domain head already"):
        train(one, {"head": xrays["head"]}, tmp_path / "no", add_domain=run)


def test_a_run_may_start_from_other_weights(run, xrays, tmp_path):
    data = {name: xrays[name] for name in ("head", "chest")}
    training = {**RAW["training"], "learning_rate": 1e-12, "ema": 0.0}
    train(recipe_of(training=training), data, tmp_path / "on", start=run)
    _, before = read_weights(run / "model.safetensors")
    _, after = read_weights(tmp_path / "on" / "model.safetensors")
    weights = [k for k in before if k.endswith("weight")]
    assert all(torch.allclose(before[k], after[k], atol=1e-6) for k in weights)
    with pytest.raises(UsageError, match="was begun with other weights"):
        train(recipe_of(training=training), data, tmp_path / "on", resume=True)
    other = recipe_of(settings={"widths": (5, 7), "global_width": 6})
    with pytest.raises(UsageError, match="of .* weights fit the network of the recipe"):
        train(other, data, tmp_path / "no", start=run)


def test_a_model_is_the_same_wherever_it_lies(run, xrays, tmp_path):
    data = {name: xrays[name] for name in ("head", "chest")}
    first, moved = tmp_path / "first.safetensors", tmp_path / "moved.safetensors"
    shutil.copy(run / "model.safetensors", first)
    train(recipe_of(), data, tmp_path / "on", start=first)
    first.rename(moved)
    train(recipe_of(), data, tmp_path / "on", resume=True, start=moved)
    info, weights = read_weights(moved)
    save_model(first, info, {k: v + 1 for k, v in weights.items()})
    with pytest.raises(UsageError, match=r"begun with other weights.*--from .*first.*SHA-256"):
        train(recipe_of(), data, tmp_path / "on", resume=True, start=first)
    with pytest.raises(UsageError, match="begun with other weights"):
        train(recipe_of(), data, tmp_path / "on", resume=True)


# -- leaks -----------------------------------------------------------------------------------------


def test_validation_cases_that_the_base_was_trained_on_are_said(run, xrays, tmp_path):
    """Heads are drawn otherwise with another seed, so that some were training cases before."""
    data = {name: xrays[name] for name in ("head", "chest")}
    other = recipe_of(seed=4)
    before = dict(zip(("head", "chest"), open_groups(data, recipe_of()), strict=True))
    expected = {
        group.domain: len({*group.validation} & {*before[group.domain].train})
        for group in open_groups(data, other)
    }
    assert any(expected.values())
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", AnatomarkWarning)
        train(other, data, tmp_path / "on", start=run)
    lines = [str(w.message) for w in said if "was trained on" in str(w.message)]
    for domain, count in expected.items():
        assert sum(f": {count} of 2 validation cases of {domain} " in line for line in lines) == (
            1 if count else 0
        )
    card = (tmp_path / "on" / "model-card.md").read_text()
    assert card.count("| started from | several, SHA-256 ") == 2
    assert card.count("| beware | several was trained on ") == sum(map(bool, expected.values()))
    seen = read_info(run / "model.safetensors").seen
    assert seen < read_info(tmp_path / "on" / "model.safetensors").seen
    assert len(seen) == sum(len(group.train) for group in before.values())


def test_the_same_cases_are_no_leak_and_old_files_are_read(run, xrays, tmp_path):
    data = {name: xrays[name] for name in ("head", "chest")}
    with warnings.catch_warnings():
        warnings.simplefilter("error", AnatomarkWarning)
        train(recipe_of(), data, tmp_path / "on", start=run)
        info, weights = read_weights(run / "model.safetensors")
        old = json.loads(info.model_dump_json(exclude={"trained_on": True}))
        for domain in old["domains"].values():
            del domain["trained_on"]
        save_model(tmp_path / "old.safetensors", ModelInfo.model_validate(old), weights)
        train(recipe_of(seed=4), data, tmp_path / "older", start=tmp_path / "old.safetensors")


def test_an_added_domain_with_cases_of_another_one_is_said(run, xrays, tmp_path):
    """Filters are shared: heads under another name are not fresh either; and what the card says."""
    new = recipe_of(name="more", seed=4, domains={"skull": {}})
    with pytest.warns(AnatomarkWarning, match=r"validation cases of skull are among those that"):
        train(new, {"skull": xrays["head"]}, tmp_path / "more", add_domain=run)
    card = (tmp_path / "more" / "model-card.md").read_text()
    for domain in ("several/head", "several/chest", "more/skull"):
        assert card.count(f"# {domain}\n") == 1
    assert "| added to | several, SHA-256 " in card
    shutil.copy(run / "model.safetensors", tmp_path / "alone.safetensors")
    with pytest.warns(AnatomarkWarning):
        train(
            new, {"skull": xrays["head"]}, tmp_path / "again",
            add_domain=tmp_path / "alone.safetensors",
        )  # fmt: skip
    card = (tmp_path / "again" / "model-card.md").read_text()
    assert "# several/head\n\nFinds 19 landmarks." in card
    assert card.count("| validation error |") == 2


def test_prepared_cases_have_the_digests_of_the_cohort(xrays, tmp_path):
    recipe = recipe_of(domains={"head": {}})
    small = recipe_of(domains={"head": {"grid": {"size": (16, 24)}}})
    for domain, cases in cases_of({"head": xrays["head"]}, small).items():
        write_prepared(cases, small.of(domain), tmp_path / domain)
    straight = look(open_groups({"head": xrays["head"]}, recipe)[0])
    assert straight == look(open_groups(tmp_path, small)[0])
    assert len(set(straight.values())) == len(straight) == 6


# -- the commands ----------------------------------------------------------------------------------


def test_from_the_command_line(xrays, tmp_path, capsys):
    path = tmp_path / "recipe.toml"
    path.write_text(format_recipe(recipe_of()))
    data = [f"--data={name}={xrays[name]}" for name in ("head", "chest")]
    assert main(["train", str(path), *data, "--out", str(tmp_path / "run"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {d: own["unit"] for d, own in said["domains"].items()} == {"head": "mm", "chest": "px"}
    image = next((xrays["chest"] / "images").iterdir())
    words = ["detect", str(image), "--out", str(tmp_path / "found")]
    assert main([*words, "--model", str(tmp_path / "run" / "chest")]) == 0
    assert main([*words, "--model", str(tmp_path / "run")]) == 2
    assert "knows several domains; there is head, chest" in capsys.readouterr().err
