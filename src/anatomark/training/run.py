"""A training run: a folder that holds all that it depended on and all that came of it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from anatomark import __version__
from anatomark.data import Cohort
from anatomark.errors import AnatomarkWarning, TrainingError, UsageError, WriteError
from anatomark.io.files import read_text, write_text
from anatomark.methods import Method
from anatomark.models.device import best_device, channels_last, half_precision
from anatomark.models.files import (
    WEIGHTS_FILE,
    Model,
    ModelInfo,
    load_model,
    make_method,
    save_model,
)
from anatomark.models.recipe import Recipe, format_recipe, parse_recipe
from anatomark.models.shapes import MIN_CASES
from anatomark.training.batches import TrainingBatches, ValidationBatches
from anatomark.training.cases import Cases, Store, never_present, open_cases, split_cases
from anatomark.training.finish import finish
from anatomark.training.memory import check_memory

if TYPE_CHECKING:
    from torch import Tensor

RECIPE_FILE, CASES_FILE, ENVIRONMENT_FILE = "recipe.toml", "cases.json", "environment.json"
LAST, BEST = Path("state") / "last.ckpt", Path("state") / "best.safetensors"
_AGAIN = "train into another folder"
_PACKAGES = ("torch", "lightning", "numpy", "scipy", "SimpleITK", "pydicom", "safetensors")


@dataclass(frozen=True)
class Machine:
    """Where to train: ``device`` is auto, cpu or gpu; ``devices`` of each of ``nodes``."""

    device: str = "auto"
    devices: int = 1
    nodes: int = 1


def train(
    recipe: Recipe,
    data: str | PathLike[str] | Cohort,
    out: str | PathLike[str],
    *,
    resume: bool = False,
    machine: Machine | None = None,
    bar: bool = False,
) -> Model:
    """Train a model into the folder ``out``, or go on with the run that is there.

    A run that goes on ends as the run it would have been. The model is the one with the smallest
    validation error; what is written beside it is told in ``docs/training.md``.
    """
    where = machine or Machine()
    folder = Path(out)
    world = where.devices * where.nodes
    if recipe.training.batch % world:
        raise UsageError(
            f"a batch of {recipe.training.batch} cannot be divided among {world} devices",
            fix="make training.batch a multiple of the devices",
        )
    if first_rank() == 0:
        _check_folder(folder, resume=resume)
    cases = open_cases(data, recipe)
    parts = split_cases(cases, recipe)
    if recipe.detection.shape == "fit" and len(parts[0]) < MIN_CASES:
        raise UsageError(
            f"{len(parts[0])} training cases are too few to learn shapes from",
            fix=f'needs {MIN_CASES}, or shape = "check" under [detection]',
        )
    if len(parts[1]) < world:
        raise UsageError(
            f"{len(parts[1])} validation cases cannot be divided among {world} devices",
            fix="choose fewer devices, or more validation cases",
        )
    return _trained(recipe, cases, parts, folder, where, resume=resume, bar=bar)


def _trained(
    recipe: Recipe,
    cases: Cases,
    parts: tuple[tuple[str, ...], tuple[str, ...]],
    folder: Path,
    where: Machine,
    *,
    resume: bool,
    bar: bool,
) -> Model:
    from anatomark.training.loop import Keeper, Loop, run_loop

    device = best_device(where.device)
    world = where.devices * where.nodes
    half = half_precision(recipe.training.precision, device)
    method = _fresh(recipe, len(cases.names))
    if device == "cuda":
        # Each process tries its batch on the GPU that it will have.
        local = os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or "0"
        torch.cuda.set_device(int(local) % torch.cuda.device_count())
        method = method.cuda()
    share = recipe.training.batch // world
    check_memory(recipe, method, len(cases.names), device=device, share=share)
    store = Store(cases, recipe.training.memory_gb)
    _look(store, parts, cases)
    if first_rank() == 0:
        computed = {
            "precision": "bf16" if half else "float32",
            "device": device,
            "processes": world,
        }
        _begin(folder, recipe, cases, parts, computed, resume=resume)
    rows = {name: row for row, name in enumerate(cases.names)}
    info = ModelInfo(
        recipe=recipe.complete(), landmarks=cases.names, pairs=cases.pairs, unit=cases.unit
    )
    row_pairs = [(rows[a], rows[b]) for a, b in cases.pairs]
    loop = Loop(method, recipe, row_pairs, info.model_dump(mode="json"))

    def keep_best(weights: dict[str, Tensor]) -> None:
        save_model(folder / BEST, info, weights)

    keeper = Keeper(folder / LAST, keep_best, recipe.training.patience)
    size = recipe.grid.size
    run_loop(
        loop,
        TrainingBatches(
            store, parts[0], size=size, batch=recipe.training.batch,
            steps=recipe.training.steps_per_epoch, seed=recipe.seed,
            epoch=lambda: loop.current_epoch, rank=rank, world=world,
            readers=recipe.training.readers,
        ),
        ValidationBatches(store, parts[1], size=size, rank=rank, world=world),
        keeper=keeper, folder=folder, device=device, half=half, devices=where.devices,
        nodes=where.nodes, resume=folder / LAST if resume and (folder / LAST).is_file() else None,
        bar=bar,
    )  # fmt: skip
    if rank() == 0:
        best = load_model(folder / BEST)
        trained = {
            "cases": len(parts[0]), "validation_cases": len(parts[1]), "source": cases.source,
            "epochs": loop.current_epoch, "steps": loop.global_step,
            "best_epoch": keeper.best_epoch, "validation_mre": keeper.best,
            "anatomark": __version__, "date": datetime.now(UTC).date().isoformat(),
        }  # fmt: skip
        finish(best, store, parts, trained, folder, device=device, half=half)
    return load_model(folder / WEIGHTS_FILE if rank() == 0 else folder / BEST)


def first_rank() -> int:
    """Which process of a multi-process run this is, before they have met; 0 in a run of one."""
    for name in ("RANK", "SLURM_PROCID"):  # torchrun and srun count over all nodes
        if name in os.environ:
            return int(os.environ[name])
    return int(os.environ.get("LOCAL_RANK", "0")) + int(os.environ.get("NODE_RANK", "0"))


def rank() -> int:
    """Which of all processes this is, once they have met; 0 in a run of one."""
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


def _fresh(recipe: Recipe, landmarks: int) -> Method:
    torch.manual_seed(recipe.seed)
    method = make_method(recipe, landmarks)
    if recipe.training.channels_last:
        layout: Any = channels_last(recipe.grid.dimension)
        method = method.to(memory_format=layout)  # type: ignore[call-overload]
    return method


def _look(store: Store, parts: tuple[tuple[str, ...], ...], cases: Cases) -> None:
    """Read every case once: faults appear before the first step, not after a night."""
    for case in parts[1]:
        store[case]  # is read, and kept
    absent = never_present((store[case] for case in parts[0]), cases.names)
    if absent:
        raise TrainingError(
            f"no training case has the landmark{'s' if len(absent) > 1 else ''} "
            f"{', '.join(absent)}",
            path=cases.source, fix="drop them from the cohort's names, or add cases",
        )  # fmt: skip


# -- the folder ----------------------------------------------------------------------------------


def _check_folder(folder: Path, *, resume: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError("is a file", path=folder, fix="name a folder for --out")
    held = folder.is_dir() and any(folder.iterdir())
    if held and not resume:
        raise UsageError(
            "the folder is not empty", path=folder, fix="name another, or go on with --resume"
        )
    if resume and not (folder / RECIPE_FILE).is_file():
        raise UsageError("holds no run to go on with", path=folder, fix="leave --resume away")


def _begin(
    folder: Path,
    recipe: Recipe,
    cases: Cases,
    parts: tuple[tuple[str, ...], tuple[str, ...]],
    computed: Mapping[str, Any],
    *,
    resume: bool,
) -> None:
    used = {
        "source": cases.source, "landmarks": list(cases.names),
        "train": list(parts[0]), "validation": list(parts[1]), "computed": dict(computed),
    }  # fmt: skip
    if resume and (folder / CASES_FILE).is_file():
        _check_same(folder, recipe, used)
        return
    # The recipe first: with it, a run that is stopped right here can be gone on with.
    about = environment()
    write_text(folder / RECIPE_FILE, format_recipe(recipe))
    try:
        (folder / "state").mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise WriteError(f"cannot be made: {fault.strerror}", path=folder) from None
    write_text(folder / ENVIRONMENT_FILE, json.dumps(about, indent=1))
    write_text(folder / CASES_FILE, json.dumps(used, indent=1))


def _check_same(folder: Path, recipe: Recipe, used: Mapping[str, Any]) -> None:
    import tomllib

    path = folder / RECIPE_FILE
    try:
        raw = tomllib.loads(read_text(path, TrainingError))
    except tomllib.TOMLDecodeError as fault:
        raise TrainingError(f"is damaged ({fault})", path=path, fix=_AGAIN) from None
    before = parse_recipe(raw, path)
    if before.complete() != recipe.complete():
        other = [k for k, v in before.complete().items() if recipe.complete()[k] != v]
        raise UsageError(
            f"was begun with another recipe: {', '.join(other)} differ", path=folder,
            fix=f"go on with {path}",
        )  # fmt: skip
    try:
        then = json.loads(read_text(folder / CASES_FILE, TrainingError))
    except ValueError as fault:
        raise TrainingError(f"is damaged ({fault})", path=folder / CASES_FILE, fix=_AGAIN) from None
    if then.get("computed", used["computed"]) != used["computed"]:
        text = (
            f"{folder}: was begun with {_said(then['computed'])} and goes on with "
            f"{_said(used['computed'])}: it will not be the run it would have been"
        )
        warnings.warn(AnatomarkWarning(text), stacklevel=2)
    for key in ("landmarks", "train", "validation"):
        if then[key] != used[key]:
            raise UsageError(
                f"was begun with other data: {key} differ", path=folder,
                fix=f"name the cohort that it was begun with: {then['source']}",
            )  # fmt: skip


def _said(computed: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in computed.items())


def environment() -> dict[str, Any]:
    """Versions, machine and the state of the sources, for whoever wants to repeat the run."""
    return {
        "anatomark": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: metadata.version(name) for name in _PACKAGES},
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "threads": torch.get_num_threads(),
        "command": sys.argv,
        "git": _git(),
    }


def _git() -> dict[str, Any] | None:
    here = Path(__file__).parent
    try:
        commit = _git_says(here, "rev-parse", "HEAD")
        return {"commit": commit, "changed": _git_says(here, "status", "--porcelain") != ""}
    except (OSError, subprocess.SubprocessError):
        return None


def _git_says(folder: Path, *words: str) -> str:
    done = subprocess.run(  # noqa: S603  # fixed words
        ["git", "-C", str(folder), *words],  # noqa: S607  # whichever git there is
        capture_output=True, text=True, timeout=10, check=True,
    )  # fmt: skip
    return done.stdout.strip()
