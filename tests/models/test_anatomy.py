"""Shapes: independent of pose, one wrong point found and only that, false alarms as promised."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from anatomark.models.anatomy import Anatomy, learn_anatomy, suggest

RNG = np.random.default_rng(0)
BASE = {d: np.random.default_rng(d).normal(size=(8, d)) * 30 for d in (2, 3)}


def shapes(count, dim, rng, landmarks=8):
    """Shapes with two modes of variation, noise of 1 mm, any pose."""
    base = BASE[dim][:landmarks]
    modes = np.random.default_rng(7).normal(size=(2, landmarks, dim)) * 3
    found = []
    for _ in range(count):
        shape = base + np.tensordot(rng.normal(size=2), modes, 1) + rng.normal(size=base.shape)
        turn = Rotation.random(random_state=rng).as_matrix()
        if dim == 2:
            a = rng.uniform(0, 2 * np.pi)
            turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
        found.append(shape @ turn.T + rng.normal(size=dim) * 100)
    return np.array(found)


@pytest.mark.parametrize("dim", [2, 3])
def test_false_alarms_are_rare(dim):
    """1 % of plausible shapes was asked for; on average over what might have been learnt from."""
    alarms = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        anatomy = learn_anatomy(shapes(40, dim, rng))
        alarms += [suggest(anatomy, s).implausible().any() for s in shapes(40, dim, rng)]
    assert np.mean(alarms) <= 0.02


@pytest.mark.parametrize("dim", [2, 3])
def test_one_wrong_point_is_found_and_can_be_put_back(dim):
    rng = np.random.default_rng(2)
    anatomy = learn_anatomy(shapes(60, dim, rng))
    right, closer = 0, 0
    fresh = shapes(50, dim, rng)
    for shape in fresh:
        row = int(rng.integers(8))
        wrong = shape.copy()
        push = rng.normal(size=dim)
        wrong[row] += 25 * push / np.linalg.norm(push)
        found = suggest(anatomy, wrong)
        right += found.culprit == row
        closer += np.linalg.norm(found.expected[row] - shape[row]) < 8
    assert right >= 45
    assert closer >= 47


def test_pose_does_not_matter():
    rng = np.random.default_rng(3)
    anatomy = learn_anatomy(shapes(30, 3, rng))
    shape = shapes(1, 3, rng)[0]
    turn = Rotation.random(random_state=rng).as_matrix()
    a, b = suggest(anatomy, shape), suggest(anatomy, shape @ turn.T + 55)
    np.testing.assert_allclose(a.p, b.p, rtol=1e-6)
    np.testing.assert_allclose(a.expected @ turn.T + 55, b.expected, atol=1e-6)


def test_a_mirrored_shape_is_not_plausible():
    rng = np.random.default_rng(4)
    anatomy = learn_anatomy(shapes(30, 3, rng))
    assert suggest(anatomy, shapes(1, 3, rng)[0] * [-1, 1, 1]).implausible().any()


def test_an_absent_point_has_a_place_but_no_probability():
    rng = np.random.default_rng(5)
    anatomy = learn_anatomy(shapes(40, 3, rng))
    shape = shapes(1, 3, rng)[0]
    partial = shape.copy()
    partial[2] = np.nan
    found = suggest(anatomy, partial)
    assert np.isnan(found.p[2])
    assert np.linalg.norm(found.expected[2] - shape[2]) < 8
    assert np.isfinite(np.delete(found.p, 2)).all()


def test_three_points_in_space_are_compared_by_their_distances():
    rng = np.random.default_rng(6)
    anatomy = learn_anatomy(shapes(40, 3, rng, landmarks=3))
    fresh = shapes(200, 3, rng, landmarks=3)
    assert np.mean([suggest(anatomy, s).implausible().any() for s in fresh]) < 0.05
    wrong = fresh[0].copy()
    wrong[1] += (wrong[1] - wrong[0]) * 0.8
    found = suggest(anatomy, wrong)
    assert found.implausible().any()
    assert np.isnan(found.expected).all()  # a turn about the other two is free
    partial = fresh[0].copy()
    partial[0] = np.nan
    assert np.isnan(suggest(anatomy, partial).p).all()  # one distance says too little


def test_a_point_that_admits_its_uncertainty_is_excused():
    rng = np.random.default_rng(7)
    anatomy = learn_anatomy(shapes(40, 3, rng))
    shape = shapes(1, 3, rng)[0]
    shape[3] += [20, 0, 0]
    sure = suggest(anatomy, shape, np.tile(np.eye(3) * 1e-6, (8, 1, 1))).p[3]
    unsure = suggest(anatomy, shape, np.tile(np.eye(3) * 400, (8, 1, 1))).p[3]
    assert sure < 1e-3 < 0.05 < unsure


def test_more_landmarks_than_cases_do_not_break_it():
    rng = np.random.default_rng(8)
    base = rng.normal(size=(45, 3)) * 5
    made = lambda n: base + rng.normal(size=(n, 45, 3)) * 0.2  # noqa: E731
    anatomy = learn_anatomy(made(15))
    assert np.mean([suggest(anatomy, s).implausible().any() for s in made(40)]) <= 0.1
    wrong = made(1)[0]
    wrong[10] += 4
    assert suggest(anatomy, wrong).culprit == 10


def test_it_travels_and_refuses_too_little():
    rng = np.random.default_rng(9)
    cases = shapes(20, 3, rng)
    anatomy = learn_anatomy(cases)
    again = Anatomy.from_record(anatomy.to_record())
    np.testing.assert_allclose(suggest(again, cases[0]).p, suggest(anatomy, cases[0]).p, rtol=1e-3)
    assert learn_anatomy(cases[:9]) is None
    holes = cases.copy()
    holes[:15, 0] = np.nan
    assert learn_anatomy(holes) is None
