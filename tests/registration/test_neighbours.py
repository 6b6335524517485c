"""Where a point goes by the pairs around it, against maps that are known."""

from __future__ import annotations

import numpy as np
import pytest

from anatomark.registration.neighbours import agreeing, foretell, likeness


def bent(points):
    """A smooth map whose slopes are known: x is pushed by a parabola of y."""
    moved = points * [1.2, 0.9] + [5, -3]
    moved[:, 0] += 0.002 * points[:, 1] ** 2
    return moved


@pytest.mark.parametrize("dimension", [2, 3])
def test_an_affine_map_is_foretold_with_its_slopes(dimension):
    rng = np.random.default_rng(1)
    matrix = np.eye(dimension) + rng.normal(0, 0.2, (dimension, dimension))
    fixed = rng.uniform(0, 100, (200, dimension))
    asked = rng.uniform(20, 80, (30, dimension))
    said = foretell(asked, fixed, fixed @ matrix.T + 7)
    # A little stiffness pulls slopes towards none at all.
    assert np.abs(said.points - (asked @ matrix.T + 7)).max() < 0.5
    assert np.abs(said.slopes - matrix).max() < 0.05


def test_the_slopes_of_a_bent_map_are_those_of_the_place():
    rng = np.random.default_rng(2)
    fixed = rng.uniform(0, 100, (600, 2))
    asked = np.array([[50.0, 20.0], [50.0, 80.0]])
    slopes = foretell(asked, fixed, bent(fixed)).slopes
    assert slopes[0, 0, 1] == pytest.approx(0.004 * 20, abs=0.04)
    assert slopes[1, 0, 1] == pytest.approx(0.004 * 80, abs=0.04)
    assert slopes[:, 1, 1] == pytest.approx([0.9, 0.9], abs=0.02)


def test_a_pair_does_not_foretell_itself():
    rng = np.random.default_rng(3)
    fixed = rng.uniform(0, 100, (100, 2))
    moving = fixed.copy()
    moving[17] += [30, 0]
    own = np.arange(100)
    said = foretell(fixed, fixed, moving, own=own)
    assert np.linalg.norm(said.points[17] - fixed[17]) < 1e-6
    without = foretell(fixed[17:18], fixed, moving)
    assert np.linalg.norm(without.points[0] - fixed[17]) > 1


def test_wild_pairs_do_not_agree():
    rng = np.random.default_rng(4)
    fixed = rng.uniform(0, 100, (300, 2))
    moving = bent(fixed)
    wild = rng.choice(300, 60, replace=False)
    moving[wild] = rng.uniform(0, 130, (60, 2))
    far = np.linalg.norm(moving - bent(fixed), axis=1) > 8
    good = agreeing(fixed, moving, floor=2.0)
    assert not good[far].any()
    assert good[~np.isin(np.arange(300), wild)].mean() > 0.97


def test_likeness_is_what_a_loop_over_the_neighbours_says():
    rng = np.random.default_rng(3)
    points, vectors = rng.uniform(0, 10, (25, 3)), rng.normal(size=(25, 3))
    total, weights = 0.0, np.zeros((25, 25))
    for i in range(25):
        away = np.linalg.norm(points - points[i], axis=1)
        near = np.argsort(away)[1:5]
        total += vectors[i] @ vectors[near].mean(axis=0)
        weights[i, near] = 1 / 4
    said = likeness(points, vectors)
    assert said.part == pytest.approx(total / (vectors**2).sum())
    # What chance makes of it: each vector with its sign at random, many times.
    dots = weights * (vectors @ vectors.T)
    signs = rng.choice([-1.0, 1.0], (20_000, 25))
    chance = ((signs @ dots) * signs).sum(axis=1).std()
    assert said.deviations == pytest.approx(total / chance, rel=0.03)


def test_likeness_of_what_changes_slowly_is_near_one_and_of_nothing_is_none():
    points = np.random.default_rng(0).uniform(0, 100, (300, 2))
    slow = np.stack([np.sin(points[:, 0] / 20), np.cos(points[:, 1] / 20)], axis=1)
    said = likeness(points, slow)
    assert said.part > 0.9
    assert said.deviations > 10
    assert likeness(points, np.zeros_like(points)) == (0.0, 0.0)
