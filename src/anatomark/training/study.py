"""Several runs that belong together: begun once, gone on with, each trained once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anatomark.errors import UsageError
from anatomark.io.files import read_text
from anatomark.io.json_files import write_json
from anatomark.models.files import WEIGHTS_FILE
from anatomark.models.recipe import Recipe, parse_recipe
from anatomark.training.folder import RECIPE_FILE
from anatomark.training.groups import Data
from anatomark.training.run import Machine, train


def begin_study(folder: Path, name: str, now: Mapping[str, Any]) -> None:
    """Write what all depends on into ``folder / name``, or compare with what is there.

    What was begun otherwise is refused: its results would be shown as these.
    """
    path = folder / name
    if not path.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise UsageError("the folder is not empty", path=folder, fix="name another for --out")
        write_json(path, now)
        return
    then = json.loads(read_text(path, UsageError))
    if "recipe" in then:  # with the defaults that came since
        then["recipe"] = parse_recipe(then["recipe"], path).complete()
    other = [
        f"{key} {then.get(key)}" if isinstance(value, str | int) else f"other {key}"
        for key, value in now.items()
        if then.get(key) != value
    ]
    if other:
        raise UsageError(
            f"was begun with {' and '.join(other)}", path=folder, fix="name another for --out"
        )


def train_once(recipe: Recipe, data: Data, run: Path, machine: Machine) -> None:
    """Train into ``run``, go on there, or leave what is finished."""
    if (run / WEIGHTS_FILE).is_file():
        return
    begun = (run / RECIPE_FILE).is_file()
    if not begun:  # stopped before it had one: there is nothing to go on with
        shutil.rmtree(run, ignore_errors=True)
    train(recipe, data, run, resume=begun, machine=machine)
