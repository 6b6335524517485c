"""Training of a method that matches: from a cohort to a model, without any landmark."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from anatomark import read_cohort
from anatomark.augment import AugmentConfig
from anatomark.datasets.phantoms.cohorts import write_phantoms
from anatomark.errors import AnatomarkWarning, ModelError, UsageError
from anatomark.matching.matcher import LearntMatcher
from anatomark.methods import Batch
from anatomark.methods.base import drawing
from anatomark.models.files import load_matcher, load_model, make_method
from anatomark.models.preparation import body
from anatomark.models.recipe import parse_recipe
from anatomark.training.cases import open_cases, write_prepared
from anatomark.training.memory import estimated_bytes
from anatomark.training.run import train

RECIPE = {
    "name": "pairs", "method": "grewal2020", "seed": 3,
    "grid": {"size": (64, 64), "spacing": 4.0},
    "data": {"body_above": 0.2, "validation_part": 0.4},
    "settings": {"widths": (4, 6, 8), "described": (1, 2), "landmarks": 16},
    "augment": {"rotation_deg": 10, "elastic": 0.03, "flip_axes": [0],
                "mirror_without_pairs": True, "outside": "zeros"},
    "training": {"epochs": 2, "batch": 2, "learning_rate": 1e-3, "ema": 0.9},
}  # fmt: skip


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    """Five films; their landmarks are not looked at."""
    folder = tmp_path_factory.mktemp("matching") / "heads"
    write_phantoms("head", folder, cases=5, split="1,0,0")
    return folder


@pytest.fixture(scope="module")
def run(heads, tmp_path_factory):
    return train(parse_recipe(RECIPE), heads, tmp_path_factory.mktemp("matching") / "run")


def test_a_run_says_what_its_matches_are_worth(run):
    metrics = json.loads((run.folder / "metrics.json").read_text())
    assert len(metrics["cases"]) == 2
    assert metrics["unit"] == "voxels"
    assert "grewal2020" in (run.folder / "model-card.md").read_text()
    assert run.info.landmarks == ()
    assert run.info.trained["validation_lost"] > 0


def test_the_model_matches_and_does_not_detect(run):
    model = load_matcher(run.folder)
    assert model.name == "pairs"
    with pytest.raises(UsageError, match="anatomark match"):
        load_model(run.folder)
    with pytest.raises(UsageError, match="does not match two"):
        load_matcher("universal/head")


def test_a_run_from_another_model_says_so(run, heads, tmp_path):
    fewer = {**RECIPE, "training": {**RECIPE["training"], "epochs": 1}}
    again = train(parse_recipe(fewer), heads, tmp_path / "run", start=run.folder)
    card = (again.folder / "model-card.md").read_text()
    assert "| started from | pairs, SHA-256 " in card
    # The same seed parts the same cases: none of those that judge were learnt from.
    assert "validation_cases_known" not in again.info.trained
    assert "| beware |" not in card
    with pytest.warns(AnatomarkWarning, match="trained on"):
        other = train(
            parse_recipe({**fewer, "seed": 4}), heads, tmp_path / "other", start=run.folder
        )
    learnt = other.info.trained["validation_cases_known"]
    assert 0 < learnt <= 2
    said = (other.folder / "model-card.md").read_text()
    assert f"| beware | pairs was trained on {learnt} of the validation cases: errors are" in said


def test_a_run_that_goes_on_is_the_run_it_would_have_been(run, heads, tmp_path, monkeypatch):
    from anatomark.training import pair_loop

    real = pair_loop.PairLoop.on_validation_epoch_end

    def stop(self):
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        real(self)

    monkeypatch.setattr(pair_loop.PairLoop, "on_validation_epoch_end", stop)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train(parse_recipe(RECIPE), heads, tmp_path / "run")
    monkeypatch.setattr(pair_loop.PairLoop, "on_validation_epoch_end", real)
    train(parse_recipe(RECIPE), heads, tmp_path / "run", resume=True)
    one, other = load_matcher(run.folder), load_matcher(tmp_path / "run")
    for name, value in one.method.state_dict().items():
        assert torch.equal(value, other.method.state_dict()[name]), name


def test_prepared_cases_hold_the_body(heads, tmp_path):
    recipe = parse_recipe(RECIPE)
    cases = open_cases(heads, recipe)
    write_prepared(cases, recipe, tmp_path)
    again = open_cases(tmp_path, recipe)
    name = cases.splits["train"][0]
    one, other = cases.load(name), again.load(name)
    assert one.mask is not None
    assert 0 < one.mask.mean() < 1
    assert np.array_equal(one.mask, other.mask)
    assert len(other.points) == 0


def test_a_body_has_its_holes_and_no_table():
    image = np.zeros((1, 20, 30), np.float32)
    image[0, 2:15, 3:20] = 0.8
    image[0, 6:9, 8:12] = 0.0  # air inside
    image[0, 18, 2:12] = 0.9  # the edge of a table
    image[0, 5:10, 24:28] = 0.7  # an arm
    found = body(image, 0.5)
    assert found.shape == (1, 20, 30)
    assert found[0, 2:15, 3:20].all()
    assert int(found.sum()) == 13 * 17 + 5 * 4


def test_lungs_that_the_volume_cuts_are_body():
    volume = np.zeros((1, 4, 20, 20), np.float32)
    volume[0, :, 2:18, 2:18] = 0.8
    volume[0, :, 6:12, 6:12] = 0.0  # open at both ends
    assert body(volume, 0.5)[0, :, 2:18, 2:18].all()


def test_nothing_above_the_threshold_is_no_body():
    assert not body(np.zeros((1, 5, 5), np.float32), 0.5).any()


def test_weights_of_a_detector_are_no_matcher(run, tmp_path):
    from anatomark.models.files import read_weights, save_model

    info, weights = read_weights(run.folder / "model.safetensors")
    weights.pop(sorted(weights)[0])
    save_model(tmp_path / "broken.safetensors", info, weights)
    with pytest.raises(ModelError, match="another network"):
        load_matcher(tmp_path / "broken.safetensors")


def test_images_are_matched_in_the_world(run, heads):
    from anatomark.io.cohorts.cases import load_sample

    cohort = read_cohort(heads)
    image = load_sample(cohort, cohort.cases[0], grey=True).image
    model = load_matcher(run.folder)
    model.method.config = model.method.config.model_copy(update={"least_probability": 0.0})
    matcher = LearntMatcher(model, device="cpu")
    found = matcher.match(image, image)
    assert len(found) > 10
    assert np.abs(found.fixed_mm - found.moving_mm).max() < 0.01  # identical images
    low, high = image.grid.to_world(np.array([[-0.5, -0.5], np.array(image.grid.size_xyz) - 0.5]))
    assert ((found.fixed_mm >= low) & (found.fixed_mm <= high)).all()


# -- memory ----------------------------------------------------------------------------------------


def needed(landmarks, size, share=1):
    settings = {"widths": (4, 4, 4), "described": (1, 2), "landmarks": landmarks}
    recipe = parse_recipe({**RECIPE, "grid": {"size": size, "spacing": 4.0}, "settings": settings})
    return estimated_bytes(recipe, make_method(recipe, 0), 0, share, half=False)


def test_memory_for_training_counts_the_comparison_of_landmarks():
    """Of every two landmarks at least logit and distance are kept, in float32, for each image."""
    few, many = needed(64, (256, 256), 3), needed(600, (256, 256), 3)
    assert many - few > 3 * 2 * 4 * (600**2 - 64**2)
    # That part does not grow with the image: four times the voxels, four times the features.
    assert needed(64, (512, 512)) == pytest.approx(4 * needed(64, (256, 256)), rel=0.1)


@pytest.mark.parametrize("size", [(256, 256), (96, 512), (64, 64)])
def test_the_estimate_is_what_a_step_on_the_whole_image_keeps(size):
    recipe = parse_recipe({
        **RECIPE, "grid": {"size": size, "spacing": 4.0},
        "settings": {"widths": (4, 4, 4), "described": (1, 2), "landmarks": 400},
    })  # fmt: skip
    method, held = make_method(recipe, 0), {}

    def keep(tensor):
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    images = torch.zeros(2, 1, *size[::-1])
    batch = Batch(images=images, extent_mm=torch.ones(2, 2))
    batch = method.shown(batch, AugmentConfig(), drawing(batch, torch.Generator()))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        sum(method.losses(method(batch), batch).values()).sum().backward()
    found = estimated_bytes(recipe, method, 0, 2, half=False)
    assert found == pytest.approx(1.5 * sum(held.values()), rel=0.15)


def test_a_second_look_is_trusted_by_what_it_was_right_in(heads, tmp_path, monkeypatch):
    """Its own confidence is learnt from its own pairs, those of two cases among them."""
    from anatomark.methods import guided as module
    from anatomark.models.files import CONFIDENCE, CONFIDENCE_GUIDED
    from anatomark.training import finish_matcher as finishing

    for name, value in (("_FEWEST", 3), ("_ALIKE", -1.0), ("_FEW_ALIKE", 0.0), ("_ASTRAY", 1e9)):
        monkeypatch.setattr(module, name, value)
    seen = []
    plain = finishing._confidence
    monkeypatch.setattr(finishing, "_confidence", lambda found: seen.append(found) or plain(found))
    settings = {**RECIPE["settings"], "guided": True, "least_probability": 0.0}
    training = {**RECIPE["training"], "epochs": 1}
    again = train(
        parse_recipe({**RECIPE, "settings": settings, "training": training}), heads,
        tmp_path / "run",
    )  # fmt: skip
    first, second = seen
    assert not any(one.guided for one in first)
    assert second
    assert all(one.guided for one in second)
    wrong = [one for one in second if len(one.errors) and torch.isinf(one.errors).all()]
    assert wrong  # of two cases
    checks = again.info.checks
    assert checks[CONFIDENCE] != checks[CONFIDENCE_GUIDED]
    metrics = json.loads((again.folder / "metrics.json").read_text())
    counts = {len(one.errors) for one in second}
    assert {case["matches"] for case in metrics["cases"]} <= counts
