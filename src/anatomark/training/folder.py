"""The folder of a training run: all that it depended on, written before the first step."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from anatomark import __version__
from anatomark.errors import AnatomarkWarning, TrainingError, UsageError, WriteError
from anatomark.io.files import check_not_a_file, read_text, write_text
from anatomark.io.json_files import write_json
from anatomark.models.recipe import Recipe, format_recipe, parse_recipe
from anatomark.training.groups import Group

RECIPE_FILE, CASES_FILE, ENVIRONMENT_FILE = "recipe.toml", "cases.json", "environment.json"
LAST, BEST = Path("state") / "last.ckpt", Path("state") / "best.safetensors"
_AGAIN = "train into another folder"
_PACKAGES = ("torch", "lightning", "numpy", "scipy", "SimpleITK", "pydicom", "safetensors")


def check_folder(folder: Path, *, resume: bool) -> None:
    """Refuse a folder that holds something else, or nothing to go on with."""
    check_not_a_file(folder)
    held = folder.is_dir() and any(folder.iterdir())
    if held and not resume:
        raise UsageError(
            "the folder is not empty", path=folder, fix="name another, or go on with --resume"
        )
    if resume and not (folder / RECIPE_FILE).is_file():
        raise UsageError("holds no run to go on with", path=folder, fix="leave --resume away")


def begin(
    folder: Path,
    recipe: Recipe,
    groups: Sequence[Group],
    about_run: Mapping[str, Any],
    *,
    resume: bool,
) -> None:
    """Write recipe, machine and cases; of a run that goes on, compare them.

    ``about_run`` is what else decides what comes of it: ``computed``, how, and ``begun_with``,
    the weights that it started from.
    """
    each = {group.domain: _used(group) for group in groups}
    used = {**each.get("", {"domains": each}), **about_run}
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
    write_json(folder / ENVIRONMENT_FILE, about)
    write_json(folder / CASES_FILE, used)


def _used(group: Group) -> dict[str, Any]:
    cases = group.cases
    return {
        "source": cases.source, "landmarks": list(cases.names),
        "train": list(group.train), "validation": list(group.validation),
    }  # fmt: skip


def in_order_begun(folder: Path, recipe: Recipe) -> Recipe:
    """The recipe with its domains in the order that the run in ``folder`` was begun with.

    Weights, their optimiser's state and the order of batches go by it.
    """
    before = _recipe_of(folder).domains
    if before.keys() != recipe.domains.keys():
        return recipe  # is refused later, with what differs
    return recipe.model_copy(update={"domains": {name: recipe.domains[name] for name in before}})


def _recipe_of(folder: Path) -> Recipe:
    path = folder / RECIPE_FILE
    try:
        raw = tomllib.loads(read_text(path, TrainingError))
    except tomllib.TOMLDecodeError as fault:
        raise TrainingError(f"is damaged ({fault})", path=path, fix=_AGAIN) from None
    return parse_recipe(raw, path)


def _check_same(folder: Path, recipe: Recipe, used: Mapping[str, Any]) -> None:
    path, before = folder / RECIPE_FILE, _recipe_of(folder)
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
    _check_start(folder, then.get("begun_with"), used.get("begun_with"))
    parts = _parts(used)
    for domain, before_part in _parts(then).items():
        part = parts[domain]
        for key in ("landmarks", "train", "validation"):
            if before_part[key] != part[key]:
                raise UsageError(
                    f"was begun with other data: {key} differ", path=folder,
                    fix=f"name the cohort that it was begun with: {before_part['source']}",
                )  # fmt: skip


def _check_start(
    folder: Path, then: Mapping[str, Any] | None, now: Mapping[str, Any] | None
) -> None:
    """A model is the same wherever it lies, and another one if its file was changed."""
    if then is None and now is None:
        return
    if then is not None and now is not None:
        key = "sha256" if "sha256" in then else "model"  # older runs know only where it lay
        if (then["adding"], then[key]) == (now["adding"], now[key]):
            return
    if then is None:
        fix = "leave --from or --add-domain away"
    else:
        option = "--add-domain" if then["adding"] else "--from"
        fix = f"name the model that it was begun with: {option} {then['model']}"
        fix += f" (SHA-256 {then['sha256'][:12]}…)" if "sha256" in then else ""
    raise UsageError("was begun with other weights", path=folder, fix=fix)


def _parts(used: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """What was used of each domain; which domains there are is the recipe's."""
    parts: Mapping[str, Mapping[str, Any]] = used.get("domains", {"": used})
    return parts


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
