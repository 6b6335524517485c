"""Where images are compared: near points, on any grid."""

from __future__ import annotations

import numpy as np
import pytest

from anatomark.errors import RegistrationError
from anatomark.geometry import Grid
from anatomark.registration.regions import around

OBLIQUE, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))


@pytest.mark.parametrize("grid", [
    Grid((14, 17, 20), [1.5, 1.2, 2.0], origin=[20, -30, 10], direction=OBLIQUE),
    Grid((30, 40), [0.7, 1.3], origin=[5.0, 8.0]),
])  # fmt: skip
def test_it_is_every_voxel_near_a_point(grid):
    rng = np.random.default_rng(0)
    # One of them outside: its ball reaches in.
    index = np.vstack([rng.uniform(0, 12, (3, grid.dimension)), np.full(grid.dimension, -2.0)])
    points = grid.to_world(index)
    found = around(points, grid, 6.0)
    for place in np.ndindex(grid.shape):
        away = np.linalg.norm(points - grid.to_world([place[::-1]]), axis=1).min()
        assert found.array[place] == (away <= 6.0)
    assert found.grid == grid
    assert 0 < found.array.mean() < 1


def test_nothing_near_is_refused():
    grid = Grid((10, 10), [1.0, 1.0])
    with pytest.raises(RegistrationError, match="no voxel of the fixed image is within 3 mm"):
        around([[50.0, 50.0]], grid, 3.0)
    with pytest.raises(RegistrationError, match="must be positive, it is -1"):
        around([[5.0, 5.0]], grid, -1.0)
