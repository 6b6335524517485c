"""Training: it learns, it writes down all it depended on, and it stops with a reason."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from anatomark import load_sample, read_cohort
from anatomark.augment import AugmentConfig, apply, draw
from anatomark.cli.app import main
from anatomark.data import Landmarks
from anatomark.errors import TrainingError, UsageError, WriteError
from anatomark.io.landmarks.formats import write_landmarks
from anatomark.methods.fang2023 import Fang2023
from anatomark.models.files import load_model
from anatomark.models.recipe import parse_recipe
from anatomark.training.batches import TrainingBatches, collate, epoch_order, window
from anatomark.training.cases import (
    CohortCases,
    Example,
    PreparedCases,
    Store,
    open_cases,
    split_cases,
    write_prepared,
)
from anatomark.training.ema import Average
from anatomark.training.groups import Group
from anatomark.training.loop import rate
from anatomark.training.run import train


def example(shape=(4, 6, 5), seed=0, case="a"):
    rng = np.random.default_rng(seed)
    return Example(
        case, rng.normal(size=(1, *shape)).astype("f2"), rng.uniform(-0.9, 0.9, (3, len(shape))),
        np.array([True, True, False]), np.array(shape[::-1]) * 2.0, {},
    )  # fmt: skip


def test_a_run_folder_holds_everything(prostates, small_recipe, tmp_path):
    run = tmp_path / "run"
    model = train(small_recipe(), prostates, run)
    names = {p.name for p in run.iterdir()}
    assert {
        "recipe.toml", "environment.json", "cases.json", "model.safetensors", "metrics.json",
        "model-card.md", "state", "tensorboard",
    } <= names  # fmt: skip
    used = json.loads((run / "cases.json").read_text())
    assert not set(used["train"]) & set(used["validation"])
    assert json.loads((run / "environment.json").read_text())["packages"]["torch"]
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["pooled"]["mre"] == pytest.approx(model.info.trained["validation_mre"], rel=1e-3)
    assert [c["case"] for c in metrics["cases"]] == used["validation"]
    assert load_model(run).landmarks == ("apex", "bladder_neck", "posterior_median")
    assert "mean ± SD, mm" in (run / "model-card.md").read_text()
    assert any((run / "tensorboard").iterdir())


def test_it_learns(prostates, small_recipe, tmp_path):
    """From a guess of some 20 mm to well below in 40 epochs of six cases."""
    recipe = small_recipe(training__epochs=40, training__learning_rate=5e-3, augment="none")
    model = train(recipe, prostates, tmp_path / "run")
    first = train(small_recipe(training__epochs=1), prostates, tmp_path / "one")
    assert model.info.trained["validation_mre"] < 0.75 * first.info.trained["validation_mre"]


# -- what a run depends on -----------------------------------------------------------------------


def test_every_case_once_before_any_comes_again():
    cases = tuple("abcdefg")
    order = epoch_order(cases, 17, seed=3, epoch=5)
    assert sorted(order[:7]) == sorted(order[7:14]) == sorted(cases)
    assert order == epoch_order(cases, 17, seed=3, epoch=5)
    assert order != epoch_order(cases, 17, seed=3, epoch=6)


class Held:
    def __init__(self, examples):
        self.held = {e.case: e for e in examples}

    def __getitem__(self, case):
        return self.held[case]


def group_of(examples, domain="", size=(5, 6, 4)):
    recipe = parse_recipe({"name": "g", "method": "fang2023", "grid": {"size": size}})
    names = tuple(e.case for e in examples)
    return Group(domain, recipe, None, Held(examples), names, names)


@pytest.mark.parametrize("world", [1, 2])
def test_processes_share_each_batch(world):
    cases = [example(case=c) for c in "abcdef"]

    def seen(rank):
        batches = TrainingBatches(
            [group_of(cases)], batch=2, steps=None, seed=1,
            epoch=lambda: 0, rank=lambda: rank, world=world,
        )  # fmt: skip
        assert len(batches) == 3
        return [b.cases for b in batches]

    parts = [seen(rank) for rank in range(world)]
    whole = [sum(step, ()) for step in zip(*parts, strict=True)]
    order = epoch_order("abcdef", 6, 1, 0)
    assert [c for step in whole for c in step] == order


def test_a_window_takes_its_points_along():
    given = example((10, 12, 14))
    for seed in range(20):
        cut = window(given, (6, 20, 5), np.random.default_rng(seed))
        assert cut.array.shape == (1, 5, 20, 6)
        voxel = given.extent_mm / [14, 12, 10]
        np.testing.assert_allclose(cut.extent_mm, voxel * [6, 20, 5])
        for row in np.flatnonzero(cut.present):
            before = (given.points[row] + 1) / 2 * [14, 12, 10]
            after = (cut.points[row] + 1) / 2 * [6, 20, 5]
            start = before - after  # whole voxels
            np.testing.assert_allclose(start, np.round(start), atol=1e-5)
            z, y, x = np.round(start[::-1]).astype(int)
            assert y == 0
            np.testing.assert_array_equal(
                cut.array[0, :, :12], given.array[0, z : z + 5, :, x : x + 6]
            )
    assert not cut.present[2]


def test_a_store_keeps_what_fits():
    class Counted:
        def __init__(self):
            self.reads = []

        def load(self, case):
            self.reads.append(case)
            return example(case=case)

    cases = Counted()
    one = example().nbytes
    store = Store(cases, 2.5 * one / 1e9)
    for _ in range(2):
        for case in "abc":
            assert store[case].case == case
    assert cases.reads == ["a", "b", "c", "c"]


def test_prepared_cases_are_the_cohort(prostates, small_recipe, tmp_path):
    recipe = small_recipe()
    straight = CohortCases(read_cohort(prostates), recipe)
    write_prepared(straight, recipe, tmp_path / "prepared")
    prepared = open_cases(tmp_path / "prepared", recipe)
    assert isinstance(prepared, PreparedCases)
    assert prepared.splits == straight.splits
    assert split_cases(prepared, recipe) == split_cases(straight, recipe)
    for case in straight.splits["train"]:
        a, b = straight.load(case), prepared.load(case)
        for name in ("array", "points", "present", "extent_mm"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        assert a.statistics == b.statistics
    with pytest.raises(TrainingError, match="another grid"):
        open_cases(tmp_path / "prepared", small_recipe(grid__size=(16, 16, 16)))


def test_points_are_those_of_the_image(prostates, small_recipe):
    cohort = read_cohort(prostates)
    cases = CohortCases(cohort, small_recipe())
    for case in cases.splits["train"][:2]:
        marks = load_sample(cohort, cohort[case]).landmarks
        found = cases.load(case)
        apart = (found.points[0] - found.points[1]) * found.extent_mm / 2
        true = marks.points_mm[0] - marks.points_mm[1]
        assert np.linalg.norm(apart) == pytest.approx(np.linalg.norm(true), rel=1e-4)


def test_no_patient_is_on_both_sides(prostates, small_recipe):
    cases = CohortCases(read_cohort(prostates), small_recipe())
    train_part, validation = split_cases(cases, small_recipe())
    patients = [{cases.patients[c] for c in part} for part in (train_part, validation)]
    assert patients[0]
    assert patients[1]
    assert not patients[0] & patients[1]


def test_the_average_by_hand(small_recipe):
    torch.manual_seed(0)
    recipe = small_recipe()
    method = Fang2023(recipe.config(), landmarks=2, dimension=3, channels=1)
    average = Average(method, 0.99)
    values, expected = next(method.parameters()), next(method.parameters()).detach().clone()
    for step in range(1, 6):
        with torch.no_grad():
            values += step
        average.follow(method)
        decay = min(0.99, step / (step + 9))
        expected = decay * expected + (1 - decay) * values.detach()
    torch.testing.assert_close(next(average.method.parameters()), expected)


def test_the_learning_rate(small_recipe):
    recipe = small_recipe(training__schedule="cosine", training__warmup_steps=4).training
    assert [rate(n, 104, recipe) for n in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert rate(54, 104, recipe) == pytest.approx(0.5)
    assert rate(104, 104, recipe) == pytest.approx(0, abs=1e-9)
    assert rate(29, 104, recipe) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))


def test_augmentation_and_batches_agree_about_absence():
    batch = collate([example(case="a"), example(seed=1, case="b")]).batch
    drawn = draw(
        AugmentConfig(translate=0.5), 2, 3, extent_mm=batch.extent_mm.double(),
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    _, points, present = apply(drawn, batch.images.float(), batch.points, batch.present)
    assert not present[:, 2].any()
    assert points[present].isfinite().all()


# -- reasons to stop -----------------------------------------------------------------------------


def edited(prostates, folder, change):
    """A copy of the cohort with other landmarks."""
    import shutil

    shutil.copytree(prostates, folder)
    cohort = read_cohort(folder)
    for case in cohort.cases:
        marks = load_sample(cohort, case).landmarks
        write_landmarks(change(case, marks), case.landmarks)
    return folder


def without(marks, rows):
    points = np.array(marks.points_mm)
    points[rows] = np.nan
    return Landmarks(marks.names, points, unit=marks.unit)


def test_a_landmark_that_is_never_there_is_named(prostates, small_recipe, tmp_path):
    cohort = edited(prostates, tmp_path / "cohort", lambda _, m: without(m, [1]))
    with pytest.raises(TrainingError, match="no training case has the landmark bladder_neck"):
        train(small_recipe(), cohort, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_case_without_any_landmark_does_no_harm(prostates, small_recipe, tmp_path):
    first = CohortCases(read_cohort(prostates), small_recipe()).splits["train"][0]
    cohort = edited(
        prostates, tmp_path / "cohort",
        lambda case, m: without(m, [0, 1, 2]) if case.case == first else m,
    )  # fmt: skip
    model = train(small_recipe(training__batch=1), cohort, tmp_path / "run")
    assert math.isfinite(model.info.trained["validation_mre"])
    assert all(v.isfinite().all() for v in model.model().method.state_dict().values())


def test_a_loss_that_is_no_number_names_the_case(prostates, small_recipe, tmp_path, monkeypatch):
    plain = Fang2023.losses

    def broken(self, out, batch):
        terms = plain(self, out, batch)
        return {**terms, "l1": terms["l1"] * float("nan")}

    recipe = small_recipe(training__batch=1)
    # The dry step before the first epoch sees finite losses.
    monkeypatch.setattr("anatomark.training.run.check_memory", lambda *_, **__: None)
    monkeypatch.setattr(Fang2023, "losses", broken)
    with pytest.raises(
        TrainingError, match=r"the loss of prostate_\d+_mr is not a number, at step 0"
    ):
        train(recipe, prostates, tmp_path / "run")


def test_a_batch_that_does_not_fit_is_found_before(prostates, small_recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("anatomark.training.memory.free_bytes", lambda: 1_000_000)
    with pytest.raises(TrainingError, match=r"a batch of 2 images of 32×32×16 voxels needs about"):
        train(small_recipe(), prostates, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_full_disk_is_said_and_the_state_stays(prostates, small_recipe, small_disk):
    with pytest.raises(WriteError, match="no space left|No space left|cannot be saved"):
        train(small_recipe(training__epochs=4), prostates, small_disk / "run")
    left = {p.name for p in (small_disk / "run" / "state").iterdir()}
    assert not {name for name in left if name.startswith(".")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data__domain": None}, "has the domains mr, us"),
        ({"data__domain": "ct"}, "no cases of the domain 'ct'"),
        ({"data__train": "learn"}, "no cases of the split 'learn'"),
        ({"grid__size": (16, 16)}, "the image is 3D, the model is for 2D"),
    ],
)
def test_a_recipe_that_does_not_go_with_the_cohort(
    prostates, small_recipe, tmp_path, changes, message
):
    with pytest.raises((UsageError, TrainingError, Exception), match=message):
        train(small_recipe(**changes), prostates, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_on_the_command_line(prostates, recipe_file, tmp_path, capsys):
    recipe = str(recipe_file())
    words = ["--data", str(prostates), "--device", "cpu"]
    assert main(["prepare", recipe, "--data", str(prostates), "--out", str(tmp_path / "p")]) == 0
    out = str(tmp_path / "run")
    assert (
        main(["train", recipe, "--data", str(tmp_path / "p"), "--out", out, "--epochs", "1"]) == 0
    )
    assert "epochs: 1, best after 1" in capsys.readouterr().out
    assert main(["train", recipe, *words, "--out", out]) == 2
    assert "the folder is not empty" in capsys.readouterr().err
    assert main(["train", "nothing", *words, "--out", str(tmp_path / "x")]) == 2
    assert "neither a file nor a recipe" in capsys.readouterr().err
