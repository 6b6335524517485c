"""A model with fresh weights in a file, scans for it, and detect as a user types it."""

from __future__ import annotations

import numpy as np
import torch

from anatomark import Grid, Image
from anatomark.cli.app import main
from anatomark.models.checks import Checks
from anatomark.models.conformal import Radii
from anatomark.models.files import ModelInfo, make_method, save_model
from anatomark.models.recipe import parse_recipe

NAMES = ("dot", "twin")
SMALL = {"kind": "voxelmorph", "encoder": [4], "decoder": [4], "final": []}


def scan(seed=0, dimension=3):
    """An image of noise on an oblique, anisotropic grid."""
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.normal(size=(dimension, dimension)))
    shape = tuple(rng.integers(24, 34, dimension))
    spacing = rng.uniform(0.5, 2, dimension)
    grid = Grid(shape, spacing, rng.normal(size=dimension) * 99, q)
    return Image(rng.random(shape, np.float32), grid)


def tiny_model(path, dimension=3, *, seed=0, unit="mm"):
    """Write the model; with radii of 4 and 6 in space, and nothing known in the plane."""
    torch.manual_seed(seed)
    recipe = parse_recipe({
        "name": "tiny", "method": "fang2023", "grid": {"size": [16] * dimension},
        "settings": {"network": SMALL},
    })  # fmt: skip
    checks = Checks(radii=Radii(0.95, (4.0, np.inf), 6.0, (np.inf,) * 2, (50,) * 2))
    info = ModelInfo(
        recipe=recipe.complete(), landmarks=NAMES, unit=unit,
        checks=(checks if dimension == 3 else Checks()).to_record(),
    )  # fmt: skip
    save_model(path, info, make_method(recipe, 2).state_dict())
    return path


def looked(model, out, *paths, more=()):
    """Exit code of detect."""
    words = ["detect", "--model", str(model), "--out", str(out), "--device", "cpu", *more]
    return main([*words, *map(str, paths)])
