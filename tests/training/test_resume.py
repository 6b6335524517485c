"""A run that is killed and goes on ends as the run it would have been, bit for bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from anatomark.cli.app import main
from anatomark.errors import UsageError
from anatomark.training.run import train


def command(*words):
    return [sys.executable, "-m", "anatomark", *map(str, words)]


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def last_state(run):
    return torch.load(run / "state" / "last.ckpt", weights_only=True)


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_killed_run_goes_on_as_if_nothing_had_been(prostates, recipe_file, tmp_path, schedule):
    recipe = recipe_file(
        training__epochs=12, training__schedule=schedule, training__warmup_steps=3,
        augment={"preset": "strong", "flip_axes": [0], "mirror_without_pairs": True},
    )  # fmt: skip
    words = ("train", recipe, "--data", prostates, "--device", "cpu")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(command(*words, "--out", whole), check=True, env=environment())

    process = subprocess.Popen(command(*words, "--out", killed), env=environment())
    state = killed / "state" / "last.ckpt"
    while not state.exists() or last_state(killed)["epoch"] < 3:
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.02)
    time.sleep(0.05)  # into the next epoch
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "model.safetensors").exists()
    epoch = last_state(killed)["epoch"]
    assert 3 <= epoch < 11

    subprocess.run(command(*words, "--out", killed, "--resume"), check=True, env=environment())
    a, b = last_state(whole), last_state(killed)
    assert a["global_step"] == b["global_step"] > 0
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "callbacks"):
        assert same(a[part], b[part]), part
    for name in ("state/best.safetensors", "model.safetensors"):
        assert same(load_file(whole / name), load_file(killed / name)), name


def test_a_finished_run_that_is_resumed_stays_as_it_is(prostates, small_recipe, tmp_path):
    recipe = small_recipe()
    train(recipe, prostates, tmp_path / "run")
    before = load_file(tmp_path / "run" / "model.safetensors")
    train(recipe, prostates, tmp_path / "run", resume=True)
    assert same(before, load_file(tmp_path / "run" / "model.safetensors"))


def test_a_run_that_stopped_early_does_not_go_on(prostates, small_recipe, tmp_path):
    recipe = small_recipe(training__epochs=30, training__patience=1, training__learning_rate=1e-9)
    model = train(recipe, prostates, tmp_path / "run")
    epochs = model.info.trained["epochs"]
    assert epochs < 30
    again = train(recipe, prostates, tmp_path / "run", resume=True)
    assert again.info.trained["epochs"] == epochs


def test_resume_refuses_another_recipe_or_other_data(prostates, small_recipe, tmp_path):
    run = tmp_path / "run"
    train(small_recipe(), prostates, run)
    with pytest.raises(UsageError, match="another recipe: training differ"):
        train(small_recipe(training__batch=1), prostates, run, resume=True)
    with pytest.raises(UsageError, match="the folder is not empty"):
        train(small_recipe(), prostates, run)
    with pytest.raises(UsageError, match="holds no run"):
        train(small_recipe(), prostates, tmp_path / "empty", resume=True)


def test_two_processes_train_as_one(prostates, recipe_file, tmp_path):
    """DDP over gloo: the gradient of the common batch, so the weights of one process."""
    recipe = recipe_file(augment="none", training__precision="float32", training__epochs=3)
    for count in (1, 2):
        words = ("train", recipe, "--data", prostates, "--device", "cpu", "--devices", count)
        subprocess.run(
            command(*words, "--out", tmp_path / str(count)), check=True, env=environment()
        )
    one, two = (load_file(tmp_path / n / "state" / "best.safetensors") for n in "12")
    assert one.keys() == two.keys()
    # A softmax does not feel the last bias: its gradient is rounding, which Adam makes a step.
    for name in one.keys() - {"network.last.bias"}:
        value = one[name]
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-5)


def test_a_batch_that_cannot_be_divided_is_refused(prostates, recipe_file, tmp_path, capsys):
    recipe = recipe_file(training__batch=3)
    words = ["train", str(recipe), "--data", str(prostates), "--out", str(tmp_path / "run")]
    assert main([*words, "--device", "cpu", "--devices", "2"]) == 2
    assert "a batch of 3 cannot be divided among 2 devices" in capsys.readouterr().err
