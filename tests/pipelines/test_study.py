"""Errors of registrations as published, and the capture range, on balls with known motions."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from anatomark import Affine, Grid, Image, Landmarks, Sample
from anatomark.errors import NoOverlapError, RegistrationError
from anatomark.pipelines.registration import study
from anatomark.pipelines.registration.study import (
    Attempt,
    Share,
    by_landmarks,
    capture,
    capture_plot,
    errors_of,
    gland_pair,
    off_by,
    refined,
    shares,
    simulated_observer,
)
from anatomark.registration.intensity import Settings
from anatomark.reproduce.fang2023_registration import TABLE3, TABLE4, frequencies
from anatomark.sampling import resample

GRID = Grid((30, 34, 38), [1.5, 1.5, 1.5], origin=[-20.0, 10.0, 5.0])
PUSH = Affine.about(
    GRID.centre, Rotation.from_rotvec([0.1, -0.2, 0.15]).as_matrix(), [9.0, -4.0, 6.0]
)  # moving → fixed points
NAMES = ("apex", "neck", "posterior")
QUICK = Settings(coarse=(2, 1), samples=2000, iterations=20, threads=1)


def gland():
    """No ball: it must show how it is turned."""
    z, y, x = np.indices(GRID.shape)
    inside = ((x - 18) / 11) ** 2 + ((y - 17) / 8) ** 2 + ((z - 15) / 6) ** 2 < 1
    inside |= ((x - 26) / 5) ** 2 + ((y - 20) / 5) ** 2 + ((z - 15) / 4) ** 2 < 1
    return inside


@pytest.fixture(scope="module")
def pair():
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=GRID.shape), 2)
    image = Image((noise / noise.std() + 3 * gland()).astype(np.float32), GRID)
    mask = Image(gland().astype(np.uint8), GRID)
    spots = GRID.to_world(np.array([[8.0, 17, 15], [28.0, 20, 15], [18.0, 10, 15]]))
    world = Grid((50, 54, 58), [1.5] * 3, origin=PUSH(GRID.centre) - 41)
    fixed = Sample(
        "us", resample(image, world, push=PUSH), Landmarks(NAMES, PUSH(spots)),
        resample(mask, world, push=PUSH, interpolation="nearest"),
    )  # fmt: skip
    return gland_pair("one", fixed, Sample("mr", image, Landmarks(NAMES, spots), mask))


def test_the_reference_is_the_motion(pair):
    assert pair.error(PUSH) < 0.3
    found = errors_of(pair, PUSH)
    assert found.dice > 0.93  # nearest voxels of a small gland
    assert found.turn_degrees < 1
    assert by_landmarks(pair.fixed.landmarks, pair.moving.landmarks)(
        pair.surface_mm
    ) == pytest.approx(PUSH(pair.surface_mm), abs=1e-6)


def test_errors_of_a_map_that_is_off(pair):
    """Equation 6 by hand: a shift moves every vertex alike; a turn about the middle none of it."""
    shifted = Affine(pair.truth.matrix, pair.truth.offset + np.array([3.0, 4.0, 0.0]))
    assert errors_of(pair, shifted).sre_mm == pytest.approx(5.0)
    assert errors_of(pair, shifted).turn_degrees == pytest.approx(0.0, abs=1e-5)
    turn = Affine.about(
        pair.truth(pair.surface_mm).mean(axis=0), Rotation.from_rotvec([0, 0, 0.5]).as_matrix()
    )
    turned = Affine(turn.matrix @ pair.truth.matrix, turn(pair.truth.offset[None])[0])
    found = errors_of(pair, turned)
    assert found.turn_degrees == pytest.approx(np.degrees(0.5))
    by_hand = [np.linalg.norm(turned([s])[0] - pair.truth([s])[0]) for s in pair.surface_mm]
    assert found.sre_mm == pytest.approx(np.mean(by_hand))


@pytest.mark.parametrize("dim", [2, 3])
def test_an_observer_is_off_by_as_much_as_said(dim):
    marks = Landmarks([str(i) for i in range(4000)], np.zeros((4000, dim)))
    found = simulated_observer(marks, 3.0, np.random.default_rng(0))
    assert np.linalg.norm(found.points_mm, axis=1).mean() == pytest.approx(3.0, rel=0.03)


@pytest.mark.parametrize("error", [1.0, 7.5, 20.0])
def test_starts_are_off_by_as_much_as_asked(pair, error):
    rng = np.random.default_rng(1)
    starts = [off_by(pair, error, rng) for _ in range(4)]
    assert [pair.error(s) for s in starts] == pytest.approx([error] * 4, abs=0.01)
    turns = [errors_of(pair, s).turn_degrees for s in starts]
    assert max(turns) > 1.5 * min(turns)  # shifts and turns in any proportion


def test_refinement_comes_home_from_near(pair):
    attempts = capture([pair], [None], [3.0, 200.0], settings=QUICK)
    assert attempts[0].before_mm == pytest.approx(3.0, abs=0.01)
    assert attempts[0].after_mm < 1.0
    # Where the images no longer meet, nothing is refined.
    assert attempts[1].after_mm == attempts[1].before_mm
    assert refined(pair, pair.truth, region=None, settings=QUICK) < 1.0


def test_shares_and_their_intervals():
    attempts = [Attempt("a", b, a) for b, a in [(1, 0.5), (2, 6), (4, 5), (4.1, 1), (7, 30)]]
    assert shares(attempts, [0, 4, 8, 12], 5.0) == [Share(0, 4, 2, 3), Share(4, 8, 1, 2)]
    # Wilson's interval of 8 of 10, from his formula by hand: 0.490 … 0.943.
    assert Share(0, 1, 8, 10).interval == pytest.approx((0.490, 0.943), abs=1e-3)
    assert Share(0, 1, 10, 10).interval[1] == 1
    figure = capture_plot(attempts, [0, 4, 8], 5.0)
    labels = [t.get_text() for axes in figure.axes for t in axes.texts]
    assert {"2/3", "1/2"} <= set(labels)
    plt.close(figure)


def test_frequencies_add_up_to_all_cases():
    rows = frequencies({"automatic": [5.0, 5.1, 46.0], "manual": [0.0, 9.0, 12.0]}, TABLE3)
    assert [row[1] for row in rows] == [
        "1 (33 %)", "1 (33 %)", *["0 (0 %)"] * 5, "1 (33 %)",
    ]  # fmt: skip
    assert [row[3] for row in rows][:3] == ["1 (33 %)"] * 3
    assert rows[0][2] == "93 (35 %)"  # as published, of 263
    for table in (TABLE3, TABLE4):
        for key in ("automatic", "manual"):
            assert sum(table[key]) == 263


def test_what_a_pair_needs():
    image = Image(np.zeros((4, 4, 4), np.float32), Grid((4, 4, 4), [1.0] * 3))
    bare = Sample("us", image)
    with pytest.raises(RegistrationError, match="one: the fixed image has no mask"):
        gland_pair("one", bare, bare)


def test_only_images_that_do_not_meet_stay_as_they_were(pair, monkeypatch):
    """By the kind of the error: its words may change."""

    def fails(fault):
        def refine(*_, **__):
            raise fault

        monkeypatch.setattr(study, "refine", refine)

    fails(NoOverlapError("nothing in common"))
    assert refined(pair, pair.truth, region=None) == pair.error(pair.truth)
    fails(RegistrationError("the masks do not overlap with sense"))
    with pytest.raises(RegistrationError, match="with sense"):
        refined(pair, pair.truth, region=None)
