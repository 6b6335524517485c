"""The search for rigid and affine maps by mutual information, from its values alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from anatomark.data import Image
from anatomark.datasets.phantoms.prostate.pair import prostate_pair
from anatomark.geometry import Grid
from anatomark.maps import Affine
from anatomark.registration.icp import icp
from anatomark.registration.intensity import Settings, refine
from anatomark.registration.itk_images import sitk_image
from anatomark.registration.landmarks import fit_landmarks
from anatomark.registration.mutual import BINS
from anatomark.registration.overlap import surface_registration_error
from anatomark.registration.parameters import adapt
from anatomark.registration.search import Pictures, normalised_information, search
from anatomark.registration.surfaces import surface_of
from anatomark.sampling import resample


def clouds(shape, seed=0, spacing=1.5):
    noise = np.random.default_rng(seed).normal(size=shape)
    array = ndimage.gaussian_filter(noise, 3)
    grid = Grid(shape, [spacing] * len(shape), origin=[10.0, -20.0, 5.0][: len(shape)])
    return Image((array / array.std()).astype(np.float32), grid)


def test_information_is_that_of_the_joint_histogram():
    rng = np.random.default_rng(0)
    a = rng.integers(0, BINS, 4000)
    b = (a // 2 + rng.integers(0, 3, 4000)).clip(0, BINS - 1)
    joint = np.histogram2d(a, b, bins=BINS, range=[[-0.5, BINS - 0.5]] * 2)[0] / 4000

    def entropy(p):  # with the correction of Miller
        return -(p[p > 0] * np.log(p[p > 0])).sum() + ((p > 0).sum() - 1) / 8000

    naive = (entropy(joint.sum(0)) + entropy(joint.sum(1))) / entropy(joint)
    assert normalised_information(a, b.astype(float)) == pytest.approx(naive, rel=1e-12)
    assert normalised_information(a, (BINS - 1.0) - a) == pytest.approx(2)  # one follows
    assert normalised_information(np.zeros(9, int), np.zeros(9)) == 1


def test_a_place_between_two_bins_counts_for_both():
    a = np.array([0, 0, 1, 1])
    between = normalised_information(a, np.array([0.0, 0.0, 0.5, 0.5]))
    joint = np.array([[0.5, 0.0], [0.25, 0.25]])

    def entropy(p):
        p = p.ravel()[p.ravel() > 0]
        return -(p * np.log(p)).sum() + (len(p) - 1) / 8

    assert between == pytest.approx(
        (entropy(joint.sum(0)) + entropy(joint.sum(1))) / entropy(joint)
    )


@pytest.mark.parametrize(("kind", "shape"), [("rigid", (60, 70)), ("affine", (60, 70)),
                                             ("rigid", (30, 34, 38))])  # fmt: skip
def test_a_known_change_is_found(kind, shape):
    fixed, dim = clouds(shape), len(shape)
    step = {("rigid", 2): [4.0, -3.0, 0.1], ("affine", 2): [3.0, 2.0, 0.05, 0.04, -0.06, 0.03],
            ("rigid", 3): [3.0, -2.0, 2.5, 0.05, -0.06, 0.04]}[kind, dim]  # fmt: skip
    pull = adapt(kind, Affine.identity(dim), np.array(step), fixed.grid.centre)
    moving = resample(fixed, fixed.grid, push=pull)
    moving = moving.with_array(np.cos(moving.array).astype(np.float32))
    found = search(
        kind, Pictures(sitk_image(fixed), sitk_image(moving)), Affine.identity(dim),
        factors=(2, 1), samples=4000, iterations=40, seed=0,
    )  # fmt: skip
    points = fixed.grid.centre + np.random.default_rng(1).uniform(-12, 12, (50, dim))
    apart = np.linalg.norm(found.added(points) - pull(points), axis=1)
    assert np.linalg.norm(pull(points) - points, axis=1).mean() > 3
    assert apart.mean() < 0.35


def test_it_does_not_leave_the_other_image():
    """Where nothing is to be found, a map that shows little must not win."""
    fixed, moving = clouds((50, 50)), clouds((50, 50), seed=9)
    found = search(
        "rigid", Pictures(sitk_image(fixed), sitk_image(moving)), Affine.identity(2),
        factors=(2, 1), samples=2000, iterations=40, seed=0,
    )  # fmt: skip
    index = np.random.default_rng(0).uniform(0, 49, (2000, 2))
    moved = moving.grid.to_index(found.added(fixed.grid.to_world(index)))
    assert ((moved >= 0) & (moved <= 49)).all(1).mean() > 0.75


def test_few_samples_do_not_seem_to_know_more():
    """Of independent values, whatever their number."""
    rng = np.random.default_rng(3)
    for count in (1500, 6000, 30_000):
        found = normalised_information(
            rng.integers(0, BINS, count), rng.uniform(0, BINS - 1, count)
        )
        assert found == pytest.approx(1.0, abs=0.02)


def test_thick_slices_do_not_cost_the_coarse_levels():
    """Eleven slices of 3 mm are no fewer when pixels become 2 mm."""
    grid = Grid((11, 60, 60), [0.5, 0.5, 3.0])
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=grid.shape), (1, 4, 4))
    fixed = Image((noise / noise.std()).astype(np.float32), grid)
    pull = Affine(np.eye(3), [5.0, -4.0, 0.0])
    moving = resample(fixed, grid, push=pull)
    found = search(
        "rigid", Pictures(sitk_image(fixed), sitk_image(moving)), Affine.identity(3),
        factors=(4, 2, 1), samples=3000, iterations=25, seed=0,
    )  # fmt: skip
    assert found.evaluations > 2 * 25 * 6  # more than two levels
    assert np.linalg.norm(found.added([grid.centre]) - pull([grid.centre])) < 0.5


@pytest.mark.parametrize("seed", [7001, 7004])
def test_ultrasound_and_mr_are_brought_together(seed):
    """From 8 mm and 8 degrees off, about the gland; gradients fail here."""
    pair = prostate_pair(seed, mr_shape=(32, 64, 64), us_shape=(64, 64, 64))
    us, mr = pair.us, pair.mr
    surface = surface_of(mr.mask)
    by_points = fit_landmarks(us.landmarks, mr.landmarks, "rigid").map
    truth = icp(surface, surface_of(us.mask), start=by_points).map
    step = np.array([8.0, 0.0, 0.0, 0.0, 0.1, 0.1])
    start = adapt("rigid", truth, step, surface.vertices_mm.mean(axis=0))
    near = ndimage.binary_dilation(us.mask.array > 0, iterations=4)
    found = refine(
        us.image, mr.image, start=start, stages=["rigid"], settings=Settings(threads=1),
        fixed_mask=us.mask.with_array(near.astype(np.uint8)),
    )  # fmt: skip
    before, after = (
        surface_registration_error(surface.vertices_mm, truth, m) for m in (start, found.map)
    )
    assert before > 8
    assert after < 3
