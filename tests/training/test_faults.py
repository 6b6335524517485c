"""What can go wrong around a run, each found by trying it: said early, and with the file's name."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from anatomark.cli.app import main
from anatomark.errors import AnatomarkWarning, TrainingError, UsageError
from anatomark.inference.detector import Detector
from anatomark.io.cohorts.files import read_cohort
from anatomark.io.images.reading import read_image
from anatomark.methods.fang2023 import Fang2023
from anatomark.models.files import load_model, make_method
from anatomark.models.preparation import prepare
from anatomark.models.recipe import parse_recipe, read_recipe, shipped_recipes
from anatomark.training.cases import CohortCases, split_cases, write_prepared
from anatomark.training.memory import estimated_bytes
from anatomark.training.run import Machine, first_rank, train


@pytest.mark.parametrize(("epochs", "every"), [(1, 4), (5, 3)])
def test_the_last_epoch_is_judged(prostates, small_recipe, tmp_path, epochs, every):
    recipe = small_recipe(training__epochs=epochs, training__validate_every=every)
    seen = []
    plain = Fang2023.predict
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Fang2023, "predict", lambda s, out: seen.append(s.training) or plain(s, out))
        model = train(recipe, prostates, tmp_path / "run")
    assert model.info.trained["epochs"] == epochs
    cases = model.info.trained["validation_cases"]
    # Once for each judged epoch, and once to calibrate at the end.
    assert len(seen) == cases * (epochs // every + (epochs % every > 0) + 1)


def test_a_model_can_be_trained_after_one_was_used(prostates, small_recipe, tmp_path):
    """What inference keeps for later must serve a gradient as well."""
    from anatomark.networks import doubled

    doubled._meets.cache_clear()
    recipe = small_recipe(training__epochs=1)
    model = train(recipe, prostates, tmp_path / "a")
    doubled._meets.cache_clear()
    case = read_cohort(prostates).select(domain="mr").cases[0]
    Detector(model.model(), device="cpu").detect(read_image(case.image))
    train(recipe, prostates, tmp_path / "b")


def test_a_state_can_be_looked_through_if_it_is_trusted(prostates, small_recipe, tmp_path):
    """One epoch: the last state is the best, so both must find the same points."""
    train(small_recipe(training__epochs=1), prostates, tmp_path / "run")
    image = read_image(read_cohort(prostates).select(domain="mr").cases[0].image)
    state = load_model(tmp_path / "run" / "state" / "last.ckpt", trust=True)
    best = load_model(tmp_path / "run" / "state" / "best.safetensors")
    found = [Detector(m, device="cpu").detect(image).landmarks.points_mm for m in (state, best)]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(
    ("variables", "rank"),
    [
        ({}, 0),
        ({"NODE_RANK": "1", "LOCAL_RANK": "0"}, 1),
        ({"RANK": "3", "LOCAL_RANK": "1", "GROUP_RANK": "1"}, 3),  # torchrun
        ({"SLURM_PROCID": "2", "SLURM_LOCALID": "0"}, 2),
    ],
)
def test_which_process_this_is(monkeypatch, variables, rank):
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert first_rank() == rank


def test_too_few_validation_cases_for_the_devices(prostates, small_recipe, tmp_path):
    recipe = small_recipe(training__batch=4, data__validation_part=0.1)
    with pytest.raises(UsageError, match="1 validation cases cannot be divided among 2"):
        train(recipe, prostates, tmp_path / "run", machine=Machine("cpu", devices=2))
    assert not (tmp_path / "run").exists()


def test_a_run_stopped_while_its_folder_was_made_goes_on(prostates, small_recipe, tmp_path):
    recipe, run = small_recipe(training__epochs=1), tmp_path / "run"
    train(recipe, prostates, tmp_path / "whole")
    run.mkdir()
    shutil.copy(tmp_path / "whole" / "recipe.toml", run)
    model = train(recipe, prostates, run, resume=True)
    assert model.info.trained["epochs"] == 1


def test_a_run_that_goes_on_otherwise_is_said_to(prostates, small_recipe, tmp_path):
    recipe, run = small_recipe(training__epochs=1), tmp_path / "run"
    train(recipe, prostates, run)
    record = json.loads((run / "cases.json").read_text())
    here = record["computed"]["precision"]  # what this processor can
    other = {"bf16": "float32", "float32": "bf16"}[here]
    record["computed"]["precision"] = other
    (run / "cases.json").write_text(json.dumps(record))
    with pytest.warns(AnatomarkWarning, match=f"begun with precision {other}"):
        train(recipe, prostates, run, resume=True)


@pytest.mark.parametrize("name", ["cases.json", "recipe.toml", "state/last.ckpt"])
def test_damaged_files_of_a_run_are_named(prostates, small_recipe, tmp_path, name):
    recipe, run = small_recipe(training__epochs=1), tmp_path / "run"
    train(recipe, prostates, run)
    content = (run / name).read_bytes()
    # In the middle of a line: what is left of a recipe might be one.
    half = content[: len(content) // 2].rstrip(b"\n") + b"[["
    (run / name).write_bytes(half)
    with pytest.raises(TrainingError, match="damaged") as caught:
        train(recipe, prostates, run, resume=True)
    assert str(caught.value.path) == str(run / name)


def test_damaged_prepared_cases_are_named(prostates, small_recipe, tmp_path):
    recipe, folder = small_recipe(), tmp_path / "prepared"
    write_prepared(CohortCases(read_cohort(prostates), recipe), recipe, folder)
    case = folder / "000000.npz"
    whole = case.read_bytes()
    case.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TrainingError, match="is damaged") as caught:
        train(recipe, folder, tmp_path / "run")
    assert caught.value.path == str(case)
    listed = folder / "prepared.json"
    listed.write_text(listed.read_text()[:100])
    with pytest.raises(TrainingError, match="is damaged") as caught:
        train(recipe, folder, tmp_path / "run")
    assert caught.value.path == str(listed)


def test_prepared_cases_of_another_domain_are_refused(prostates, small_recipe, tmp_path):
    recipe, folder = small_recipe(), tmp_path / "prepared"
    write_prepared(CohortCases(read_cohort(prostates), recipe), recipe, folder)
    with pytest.raises(TrainingError, match="another grid, domain"):
        train(small_recipe(data__domain="us"), folder, tmp_path / "run")


def test_a_broken_validation_case_is_found_before_the_first_step(
    prostates, small_recipe, tmp_path, capsys
):
    cohort, recipe = tmp_path / "c", small_recipe(training__validate_every=2)
    shutil.copytree(prostates, cohort)
    _, validation = split_cases(CohortCases(read_cohort(cohort), recipe), recipe)
    image = read_cohort(cohort)[validation[0]].image
    image.write_bytes(image.read_bytes()[:200])
    with pytest.raises(Exception, match=image.name):
        train(recipe, cohort, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_points_that_are_no_numbers_name_the_validation_case(
    prostates, small_recipe, tmp_path, monkeypatch
):
    plain = Fang2023.predict

    def lost(self, out):
        found = plain(self, out)
        return found._replace(points=found.points * torch.nan)

    monkeypatch.setattr(Fang2023, "predict", lost)
    with pytest.raises(TrainingError, match=r"the points of prostate_\d+_mr are not numbers"):
        train(small_recipe(), prostates, tmp_path / "run")


def test_one_patient_in_both_parts_is_refused(prostates, small_recipe, tmp_path):
    with pytest.raises(UsageError, match="would be in training and in validation"):
        train(small_recipe(data__validation="train"), prostates, tmp_path / "run")
    cohort = read_cohort(prostates)
    first, second, *others = cohort.select(domain="mr").cases
    leaky = replace(
        cohort,
        cases=(replace(first, split="train"), replace(second, split="val", patient=first.patient),
               *others),
    )  # fmt: skip
    with pytest.raises(UsageError, match="would be in training and in validation"):
        train(small_recipe(), leaky, tmp_path / "run")


# -- memory --------------------------------------------------------------------------------------


def unet(size, **changes):
    network = {"kind": "unet", "widths": [4, 8, 16, 32, 64, 64], **changes}
    return parse_recipe(
        {
            "name": "m",
            "method": "fang2023",
            "grid": {"size": size},
            "settings": {"network": network},
        }
    )


def kept(recipe, batch):
    return estimated_bytes(recipe, make_method(recipe, 1), 1, batch, half=False)


def test_weights_do_not_grow_with_the_image():
    """Sixteen times the voxels keep sixteen times the features, and not one weight more."""
    wide = unet([64, 64], widths=[4, 512])
    assert kept(unet([256, 256], widths=[4, 512]), 1) == pytest.approx(16 * kept(wide, 1), rel=0.05)
    weights = sum(4 * p.numel() for p in make_method(wide, 1).parameters())
    features = 64 * 64 * 4 * (4 + 512)
    assert kept(wide, 1) < 30 * features + 0.1 * weights


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_deep_networks_are_tried_on_images_large_enough(norm):
    recipe = unet([128, 128], norm=norm)
    method = make_method(recipe, 1)
    before = {k: v.clone() for k, v in method.state_dict().items()}
    assert estimated_bytes(recipe, method, 1, 2, half=False) > 0
    for name, value in method.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_coarser_networks_are_tried_on_sizes_they_take():
    network = {
        "kind": "voxelmorph",
        "encoder": [4] * 6,
        "decoder": [4] * 5,
        "final": [4],
        "coarser": 1,
    }
    recipe = parse_recipe(
        {"name": "m", "method": "fang2023", "grid": {"size": [128, 128]},
         "settings": {"network": network}}
    )  # fmt: skip
    assert kept(recipe, 1) > 0


# -- windows -------------------------------------------------------------------------------------


def test_an_image_smaller_than_the_window_is_shown_as_in_training(prostates, small_recipe):
    """Training, validation, calibration and detection must all see the same voxels."""
    recipe = small_recipe(grid={"size": [80, 80, 80], "spacing": 2.0})
    case = read_cohort(prostates).select(domain="mr").cases[0]
    image = read_image(case.image)
    ready = prepare(image, recipe.grid, recipe.intensity)
    assert all(n >= 80 for n in ready.grid.size_xyz)
    np.testing.assert_allclose(ready.grid.centre, image.grid.centre, atol=1e-9)
    example = CohortCases(read_cohort(prostates), recipe).load(case.case)
    assert example.array.shape[1:] == ready.grid.shape
    assert ready.inside.sum() < ready.inside.size


def test_json_of_a_run_is_one_document(prostates, recipe_file, tmp_path, capsys):
    words = ["train", str(recipe_file(training__epochs=1)), "--data", str(prostates)]
    assert main([*words, "--out", str(tmp_path / "run"), "--device", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["epochs"] == 1


def test_ctrl_c_says_how_to_go_on(prostates, recipe_file, tmp_path, monkeypatch, capsys):
    def stop(self, out, batch):
        raise KeyboardInterrupt

    monkeypatch.setattr("anatomark.training.run.check_memory", lambda *_, **__: None)
    monkeypatch.setattr(Fang2023, "losses", stop)
    words = ["train", str(recipe_file()), "--data", str(prostates), "--out", str(tmp_path / "run")]
    assert main([*words, "--device", "cpu"]) == 130
    assert "stopped in epoch 1; go on with train --resume" in capsys.readouterr().err


def test_too_few_cases_to_fit_shapes(prostates, small_recipe, tmp_path):
    with pytest.raises(UsageError, match="too few to learn shapes from"):
        train(small_recipe(detection={"shape": "fit"}), prostates, tmp_path / "run")


@pytest.mark.parametrize("name", shipped_recipes())
def test_the_memory_of_every_shipped_recipe_can_be_told(name):
    recipe = read_recipe(name)
    for view in recipe.views().values():
        method = make_method(recipe, 3)
        assert estimated_bytes(view, method, 3, 1, half=False) > 0
