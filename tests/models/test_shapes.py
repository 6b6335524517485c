"""Shapes: false alarms as promised, one wrong point found and only that, whatever the pose."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from anatomark.datasets.phantoms.prostate.gland import draw_gland
from anatomark.errors import LandmarkError
from anatomark.models.shapes import (
    ShapePrior,
    check_shape,
    fit_shapes,
    implausible,
    repair,
    several_wrong,
)


def turned(rng, dim):
    if dim == 3:
        return Rotation.random(random_state=rng).as_matrix()
    a = rng.uniform(0, 2 * np.pi)
    return np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])


def shapes(count, dim, rng, *, landmarks=8, size=30.0, sd=2.0, modes=0, poses=True):
    """Shapes about one base: ``sd`` mm of noise, modes that move all points, any pose."""
    base = np.random.default_rng(landmarks * dim).normal(size=(landmarks, dim)) * size
    ways = np.random.default_rng(7).normal(size=(modes, landmarks, dim)) * 2
    found = base + np.tensordot(rng.normal(size=(count, modes)), ways, 1)
    found = found + rng.normal(size=found.shape) * sd
    if not poses:
        return found
    return np.array([s @ turned(rng, dim).T + rng.normal(size=dim) * 100 for s in found])


def glands(count, rng):
    return np.array([draw_gland(rng).landmarks @ turned(rng, 3).T for _ in range(count)])


def pushed(shape, row, rng, mm):
    way = rng.normal(size=shape.shape[1])
    wrong = shape.copy()
    wrong[row] += mm * way / np.linalg.norm(way)
    return wrong


@pytest.fixture(scope="module")
def prior():
    return fit_shapes(shapes(60, 3, np.random.default_rng(0)))


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("cases", [15, 60])
def test_false_alarms(dim, cases):
    """On fresh shapes, over what might have been learnt from; 1 % was asked for."""
    sets, flags, single = [], [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        learnt = fit_shapes(shapes(cases, dim, rng, modes=2, sd=1.0))
        for shape in shapes(40, dim, rng, modes=2, sd=1.0):
            check = check_shape(learnt, shape)
            sets.append(check.p_whole < 0.01)
            flags.append(implausible(check).any())
            single += list(check.p_value)
    assert np.mean(sets) <= 0.025
    assert np.mean(flags) <= 0.025
    assert 0.02 <= np.mean(np.array(single) < 0.05) <= 0.09  # near its level, not just below


@pytest.mark.parametrize("dim", [2, 3])
def test_one_wrong_point_is_found_and_put_back(dim):
    rng = np.random.default_rng(1)
    learnt = fit_shapes(shapes(60, dim, rng))
    found, other, before, after = 0, 0, [], []
    fresh = shapes(60, dim, rng)
    for shape in fresh:
        row = int(rng.integers(8))
        wrong = pushed(shape, row, rng, 15)
        check = check_shape(learnt, wrong)
        found += check.culprit == row
        other += check.culprit not in {None, row}
        if check.culprit == row:
            points, moved = repair(wrong, check)
            assert moved == row
            assert np.array_equal(np.delete(points, row, 0), np.delete(wrong, row, 0))
            before.append(np.linalg.norm(wrong[row] - shape[row]))
            after.append(np.linalg.norm(points[row] - shape[row]))
            assert np.delete(implausible(check), row).sum() == 0  # the others are not blamed
    assert found >= 0.85 * len(fresh)
    assert other <= 1
    assert np.mean(after) < 0.35 * np.mean(before)


@pytest.mark.parametrize("dim", [2, 3])
def test_several_wrong_points_among_many_are_found_and_put_back(dim):
    rng = np.random.default_rng(5)
    learnt = fit_shapes(shapes(80, dim, rng, landmarks=16))
    right, left, before, after = 0, 0, [], []
    fresh = shapes(20, dim, rng, landmarks=16)
    for shape in fresh:
        rows = sorted(rng.choice(16, 3, replace=False).tolist())
        wrong = shape
        for row in rows:
            wrong = pushed(wrong, row, rng, 20)
        found = several_wrong(learnt, wrong)
        if found is None:
            left += 1
            continue
        right += sorted(found[0]) == rows
        others = np.setdiff1d(np.arange(16), found[0])
        assert np.array_equal(found[1][others], wrong[others])
        before += np.linalg.norm((wrong - shape)[rows], axis=1).tolist()
        after += np.linalg.norm((found[1] - shape)[rows], axis=1).tolist()
        assert several_wrong(learnt, shape) is None or check_shape(learnt, shape).p_whole < 0.01
    assert right >= 0.8 * len(fresh)
    assert left <= 1
    assert np.mean(after) < 0.35 * np.mean(before)


def test_of_few_points_several_cannot_be_told(prior):
    rng = np.random.default_rng(6)
    shape = shapes(1, 3, rng)[0]
    wrong = pushed(pushed(shape, 0, rng, 40), 5, rng, 40)
    wrong[7] = np.nan  # seven are left
    assert several_wrong(prior, wrong) is None


def test_the_expected_place_is_where_it_is_said_to_be(prior):
    """Against the truth: the whitened error has squares that average to 1."""
    rng = np.random.default_rng(2)
    squares = []
    for shape in shapes(60, 3, rng):
        check = check_shape(prior, shape)
        off = shape - check.expected_mm
        squares.append(
            np.einsum("ld,lde,le->l", off, np.linalg.inv(check.expected_covariance_mm2), off)
        )
        np.testing.assert_allclose(check.apart_mm, np.linalg.norm(off, axis=1))
    assert 0.75 < np.mean(squares) / 3 < 1.3


def test_without_poses_it_is_the_conditional_gaussian():
    """Many cases of one dominant mode: point 0 is told by the others as linear regression says."""
    rng = np.random.default_rng(3)
    base = np.random.default_rng(5).normal(size=(12, 3)) * 60
    way = np.random.default_rng(6).normal(size=(12, 3)) * 4
    made = lambda n: base + rng.normal(size=(n, 1, 1)) * way + rng.normal(size=(n, 12, 3)) * 0.3  # noqa: E731
    learnt, fresh = fit_shapes(made(150)), made(40)
    off = np.array([check_shape(learnt, s).apart_mm for s in fresh])
    assert np.sqrt((off**2).mean() / 3) < 0.45  # noise of 0.3, though the shape varies by 4


def test_pose_does_not_matter(prior):
    rng = np.random.default_rng(4)
    wrong = pushed(shapes(1, 3, rng)[0], 3, rng, 12)
    cov = np.tile(np.diag([1.0, 4.0, 0.2]), (8, 1, 1))
    turn, shift = turned(rng, 3), rng.normal(size=3) * 500
    a = check_shape(prior, wrong, cov)
    b = check_shape(prior, wrong @ turn.T + shift, turn @ cov @ turn.T)
    np.testing.assert_allclose(a.p_value, b.p_value, rtol=1e-6)
    np.testing.assert_allclose(a.expected_mm @ turn.T + shift, b.expected_mm, atol=1e-6)
    np.testing.assert_allclose(
        turn @ a.expected_covariance_mm2 @ turn.T, b.expected_covariance_mm2, atol=1e-6
    )
    assert (a.culprit, a.p_whole) == (b.culprit, pytest.approx(b.p_whole, rel=1e-6))


def test_training_poses_do_not_matter():
    rng = np.random.default_rng(5)
    cases = shapes(30, 3, rng)
    moved = np.array([c @ turned(rng, 3).T + 7 for c in cases])
    a, b = (check_shape(fit_shapes(c), cases[0]) for c in (cases, moved))
    np.testing.assert_allclose(a.p_value, b.p_value, rtol=1e-4)


@pytest.mark.parametrize("dim", [2, 3])
def test_a_mirrored_shape_is_implausible(dim):
    rng = np.random.default_rng(6)
    learnt = fit_shapes(shapes(40, dim, rng))
    for shape in shapes(10, dim, rng):
        assert check_shape(learnt, shape).p_whole > 1e-3
        mirrored = check_shape(learnt, shape * np.r_[-1, np.ones(dim - 1)])
        assert mirrored.p_whole < 1e-3
        assert mirrored.culprit is None


def test_two_wrong_points_have_no_single_culprit(prior):
    rng = np.random.default_rng(7)
    for shape in shapes(15, 3, rng):
        wrong = pushed(pushed(shape, 1, rng, 40), 5, rng, 40)
        check = check_shape(prior, wrong)
        assert check.p_whole < 0.01
        assert check.culprit is None
        assert repair(wrong, check) is None


def test_absent_points(prior):
    rng = np.random.default_rng(8)
    errors = []
    for shape in shapes(20, 3, rng):
        partial = shape.copy()
        partial[[2, 6]] = np.nan
        check = check_shape(prior, partial)
        assert np.isnan(check.p_value[[2, 6]]).all()
        assert np.isfinite(np.delete(check.p_value, [2, 6])).all()
        errors += list(np.linalg.norm(check.expected_mm - shape, axis=1)[[2, 6]])
    assert np.sqrt(np.mean(np.square(errors)) / 3) < 3.5
    nothing = check_shape(prior, np.full((8, 3), np.nan))
    assert np.isnan(nothing.p_whole)
    assert nothing.culprit is None
    assert not implausible(nothing).any()


def test_own_uncertainty_excuses(prior):
    rng = np.random.default_rng(9)
    wrong = pushed(shapes(1, 3, rng)[0], 3, rng, 20)
    cov = np.tile(np.eye(3) * 1e-6, (8, 1, 1))
    assert check_shape(prior, wrong, cov).culprit == 3
    cov[3] = np.eye(3) * 400
    unsure = check_shape(prior, wrong, cov)
    assert unsure.p_value[3] > 0.05
    assert not implausible(unsure).any()


# -- few landmarks, few cases --------------------------------------------------------------------


def test_three_points_of_the_prostate():
    rng = np.random.default_rng(10)
    learnt = fit_shapes(glands(60, rng))
    fresh = glands(80, rng)
    checks = [check_shape(learnt, g) for g in fresh]
    assert np.mean([c.p_whole < 0.01 for c in checks]) <= 0.03
    assert all(np.isnan(c.expected_mm).all() for c in checks)  # a turn about two points is free
    found = [check_shape(learnt, pushed(g, k % 3, rng, 25)) for k, g in enumerate(fresh)]
    assert np.mean([c.p_whole < 0.01 for c in found]) > 0.75  # a push about the axis is free
    # Which one is wrong can rarely be told of three: then it must not be guessed.
    assert np.mean([c.culprit not in {None, k % 3} for k, c in enumerate(found)]) < 0.05
    assert all(repair(fresh[0], c) is None for c in found)


def test_a_point_on_its_ring_is_not_implausible():
    """Three points in space: only distances count."""
    rng = np.random.default_rng(11)
    learnt = fit_shapes(glands(40, rng))
    gland = glands(1, rng)[0]
    axis = gland[1] - gland[0]
    spun = gland.copy()
    turn = Rotation.from_rotvec(2.0 * axis / np.linalg.norm(axis)).as_matrix()
    spun[2] = gland[0] + turn @ (gland[2] - gland[0])
    a, b = check_shape(learnt, gland), check_shape(learnt, spun)
    np.testing.assert_allclose(a.p_value, b.p_value, rtol=1e-6)


def test_two_points_have_a_distance():
    rng = np.random.default_rng(12)
    learnt = fit_shapes(shapes(40, 3, rng, landmarks=2))
    good = shapes(1, 3, rng, landmarks=2)[0]
    assert check_shape(learnt, good).p_whole > 0.01
    far = check_shape(learnt, good * 1.6)
    assert far.p_whole < 0.01
    assert far.p_value[0] == pytest.approx(far.p_value[1], rel=1e-3)
    assert far.culprit is None
    one = good.copy()
    one[0] = np.nan
    assert np.isnan(check_shape(learnt, one).p_whole)


def test_points_along_a_line_leave_a_turn_free():
    """Vertebrae and one rib tip: without the tip, the turn about the spine is unknown."""
    rng = np.random.default_rng(13)
    base = np.array([[0, 0, 30.0 * k] for k in range(6)] + [[80, 0, 60.0]])
    made = lambda n: base + rng.normal(size=(n, 7, 3)) * 1.5  # noqa: E731
    learnt = fit_shapes(made(40))
    check = check_shape(learnt, made(1)[0])
    assert np.isnan(check.expected_mm[6]).all()
    assert np.isfinite(check.expected_mm[:6]).all()
    wrong = made(1)[0]
    wrong[6, 2] += 15
    assert check_shape(learnt, wrong).p_value[6] < 1e-3


def test_many_landmarks_and_few_cases():
    rng = np.random.default_rng(14)
    made = lambda n: shapes(n, 3, rng, landmarks=30, size=50, modes=5, sd=1.5)  # noqa: E731
    learnt, fresh = fit_shapes(made(15)), made(16)
    assert np.mean([check_shape(learnt, s).p_whole < 0.01 for s in fresh]) <= 0.07
    found = [check_shape(learnt, pushed(s, 10, rng, 25)).culprit for s in fresh]
    assert np.mean([c == 10 for c in found]) > 0.8
    assert set(found) <= {10, None}


def test_absent_points_in_training():
    rng = np.random.default_rng(15)
    cases = shapes(60, 3, rng, sd=1.0, modes=2)
    holes = cases.copy()
    holes[rng.random((60, 8)) < 0.15] = np.nan
    holes[5:, 7] = np.nan  # a landmark that five cases have
    learnt = fit_shapes(holes)
    assert np.isnan(learnt.mean_mm[7]).all()
    fresh = shapes(50, 3, rng, sd=1.0, modes=2)
    checks = [check_shape(learnt, s) for s in fresh]
    assert np.isnan([c.p_value[7] for c in checks]).all()
    assert np.isfinite([c.p_value[:7] for c in checks]).all()
    assert np.mean([c.p_whole < 0.01 for c in checks]) <= 0.04
    hits = [check_shape(learnt, pushed(s, 2, rng, 15)).culprit == 2 for s in fresh]
    assert np.mean(hits) > 0.85


def test_size_can_be_part_of_the_pose():
    rng = np.random.default_rng(16)
    cases = shapes(40, 2, rng) * rng.uniform(0.5, 2, (40, 1, 1))
    learnt = fit_shapes(cases, scale=True)
    shape = shapes(1, 2, rng)[0]
    a, b = check_shape(learnt, shape), check_shape(learnt, shape * 3)
    np.testing.assert_allclose(a.p_value, b.p_value, rtol=1e-6)
    np.testing.assert_allclose(a.expected_mm * 3, b.expected_mm, atol=1e-6)
    rigid = fit_shapes(shapes(40, 2, rng))
    assert check_shape(rigid, shape * 3).p_whole < 1e-3


def test_shapes_that_never_vary():
    learnt = fit_shapes(np.repeat(shapes(1, 3, np.random.default_rng(17)), 12, axis=0))
    shape = shapes(1, 3, np.random.default_rng(17))[0]
    assert check_shape(learnt, shape).p_whole > 0.05
    assert np.isfinite(check_shape(learnt, shape + np.array([1.0, 0, 0])).p_value).all()


def test_it_travels_and_refuses_too_little(prior):
    rng = np.random.default_rng(18)
    again = ShapePrior.from_record(json.loads(json.dumps(prior.to_record(), allow_nan=False)))
    shape = shapes(1, 3, rng)[0]
    a, b = check_shape(prior, shape), check_shape(again, shape)
    assert np.array_equal(a.p_value, b.p_value)
    json.dumps(a.to_record(), allow_nan=False)
    assert fit_shapes(shapes(9, 3, rng)) is None
    assert fit_shapes(shapes(30, 3, rng)[:, :1]) is None
    with pytest.raises(LandmarkError, match="do not fit"):
        check_shape(prior, shape[:5])
    assert shape.flags.writeable  # and untouched
    frozen = shape.copy()
    frozen.setflags(write=False)
    check_shape(prior, frozen)
