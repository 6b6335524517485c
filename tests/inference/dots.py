"""A model that finds bright dots, and images of one: the way is tested, not the network."""

from __future__ import annotations

import numpy as np
from torch import nn

from anatomark import Grid, Image
from anatomark.models.checks import Checks
from anatomark.models.files import Model, ModelInfo, make_method
from anatomark.models.recipe import parse_recipe

NAMES = ("dot", "twin")
SMALL = {"kind": "voxelmorph", "encoder": [4], "decoder": [4], "final": []}


class DotFinder(nn.Module):
    """A network whose maps are the image itself, sharpened: the brightest voxel is the point."""

    def forward(self, images):
        # Sharp enough for the background, blunt enough to feel more than one voxel.
        return (images * 25).expand(-1, len(NAMES), *images.shape[2:])


def dot_model(dimension=3, *, size=None, checks=None, **grid):
    recipe = parse_recipe({
        "name": "dots", "method": "fang2023", "modality": "CT",
        "grid": {"size": size or [16] * dimension, **grid},
        "intensity": {"kind": "window", "low": 0, "high": 1000},
        "settings": {"network": SMALL},
    })  # fmt: skip
    method = make_method(recipe, len(NAMES))
    method.network = DotFinder()
    info = ModelInfo(
        recipe=recipe.complete(), landmarks=NAMES,
        checks=(checks or Checks()).to_record(),
    )  # fmt: skip
    return Model(info, recipe, method)


def dot_image(dimension=3, seed=0):
    """A round spot of 3 mm on an oblique, anisotropic grid that may be mirrored; its centre."""
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.normal(size=(dimension, dimension)))
    shape = tuple(rng.integers(24, 34, dimension))
    grid = Grid(shape, rng.uniform(0.5, 2, dimension), rng.normal(size=dimension) * 99, q)
    point = grid.centre + rng.uniform(-1.5, 1.5, dimension)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)[..., ::-1]
    away = ((grid.to_world(index.astype(float)) - point) ** 2).sum(-1)
    return Image((1000 * np.exp(-away / 18)).astype(np.int16), grid), point
