"""Several looks at one image agree in the world, whatever the pose they were taken in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.inference.dots import dot_image, dot_model

from anatomark import Grid, Image, Landmarks
from anatomark.augment import AugmentConfig
from anatomark.errors import UsageError
from anatomark.inference import Detector
from anatomark.inference.views import agreed, posed, views_of
from anatomark.models.preparation import on_grid


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_a_dot_is_where_it_is_in_every_pose(dimension, seed):
    image, point = dot_image(dimension, seed)
    model = dot_model(dimension, size=[40] * dimension)
    augment = AugmentConfig(rotation_deg=180, scale=0.2, translate=0.02)
    model = replace(model, recipe=model.recipe.model_copy(update={"augment": augment}))
    one = Detector(model, device="cpu").detect(image).landmarks
    several = Detector(model, device="cpu", views=6).detect(image).landmarks
    assert np.linalg.norm(several.points_mm - point, axis=1).max() < 0.25
    assert not np.array_equal(one.points_mm, several.points_mm)
    again = Detector(model, device="cpu", views=6).detect(image).landmarks
    np.testing.assert_array_equal(several.points_mm, again.points_mm)
    # The dot is round: whatever the turns, its covariance stays so, in the world.
    spread = several.covariance_mm2[0]
    assert np.linalg.eigvalsh(spread)[0] > 0.7 * np.linalg.eigvalsh(spread)[-1]


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_pose_is_what_training_may_draw(dimension):
    grid = Grid([20, 30, 24][:dimension], [1.0, 2.0, 1.5][:dimension], unit="mm")
    augment = AugmentConfig(rotation_deg=10, scale=0.25, translate=0.1)
    rng = np.random.default_rng(0)
    angles = []
    for _ in range(200):
        one = posed(grid, augment, rng)
        turn = one.direction @ grid.direction.T
        np.testing.assert_allclose(turn @ turn.T, np.eye(dimension), atol=1e-12)
        assert np.linalg.det(turn) == pytest.approx(1)
        cosine = turn[0, 0] if dimension == 2 else (np.trace(turn) - 1) / 2
        angles.append(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
        factor = one.spacing / grid.spacing
        assert np.ptp(factor) < 1e-12
        assert 1 / 1.25 - 1e-9 <= factor[0] <= 1.25 + 1e-9
        assert (np.abs(one.centre - grid.centre) <= 0.1 * grid.extent + 1e-9).all()
    assert 8 < max(angles) <= 10 + 1e-6
    still = posed(grid, AugmentConfig(), rng)
    assert 0 < np.abs((still.centre - grid.centre) / grid.spacing).max() <= 0.5


def test_what_is_inside_and_what_is_seen_by_hand():
    """Against a loop over the voxels, on a grid that is turned and reaches beyond the image."""
    rng = np.random.default_rng(1)
    grid = Grid((9, 11), (1.0, 1.0), (3.0, -2.0), unit="mm")
    y, x = np.mgrid[:9, :11]
    ramp = (100 + 3.0 * x + 5.0 * y).astype(np.float32)  # linear: interpolation is exact
    target = posed(Grid((8, 12), (1.3, 1.3), (1.0, -3.0)), AugmentConfig(rotation_deg=40), rng)
    array, inside = on_grid(Image(ramp, grid), target)
    for row in range(8):
        for column in range(12):
            world = target.to_world(np.array([column, row], float))
            i, j = grid.to_index(world)
            there = -0.5 <= i <= 10.5 and -0.5 <= j <= 8.5
            assert inside[row, column] == there
            if 0 <= i <= 10 and 0 <= j <= 8:
                assert array[0, row, column] == pytest.approx(100 + 3 * i + 5 * j, rel=1e-4)
            if not there:
                assert array[0, row, column] == 100


def marks(points, covariance=1.0, present=True):
    points = np.array(points, float)
    count, dim = points.shape
    return Landmarks(
        [f"p{i}" for i in range(count)], points, present=np.full(count, present),
        covariance_mm2=np.broadcast_to(np.eye(dim) * covariance, (count, dim, dim)),
        confidence=np.full(count, 0.5),
    )  # fmt: skip


def test_a_look_that_is_far_off_is_left_out():
    looks = [marks([[0.0, 0]]), marks([[1.0, 0]]), marks([[0.5, 0.1]]), marks([[90.0, 40]])]
    found = agreed(looks)
    near = np.array([[0.0, 0], [1, 0], [0.5, 0.1]])
    np.testing.assert_allclose(found.points_mm[0], near.mean(0))
    np.testing.assert_allclose(found.covariance_mm2[0], np.eye(2) + np.cov(near.T, bias=True))
    assert found.confidence[0] == 0.5


def test_most_looks_decide_whether_a_point_is_there():
    there, absent = marks([[1.0, 2]]), marks([[5.0, 5]], present=False)
    assert agreed([there, there, absent]).present.tolist() == [True]
    np.testing.assert_allclose(agreed([there, absent, there]).points_mm[0], [1, 2])
    assert agreed([there, absent, absent]).present.tolist() == [False]


def test_views_are_a_number_of_looks():
    image, _ = dot_image(2, 0)
    model = dot_model(2, size=[16, 16])
    detector = Detector(model, device="cpu")
    assert len(list(views_of(image, detector.prepare(image).grid, model.recipe, 3))) == 3
    with pytest.raises(UsageError, match="views is 1, or at least 3, not 2"):
        Detector(model, views=2)
