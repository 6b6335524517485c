"""Refinement by intensity: known motions come back, and nothing ever ends worse."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from anatomark.data import Image, Landmarks
from anatomark.errors import NoOverlapError, RegistrationError
from anatomark.geometry import Grid
from anatomark.io.transforms.itk_transforms import to_sitk
from anatomark.maps import Affine, ThinPlate
from anatomark.registration import intensity
from anatomark.registration.intensity import Settings, refine
from anatomark.registration.itk_images import compared, overlap, sitk_image
from anatomark.registration.landmarks import Pairs, fit_landmarks
from anatomark.registration.mutual import Judge, coarser
from anatomark.sampling import resample

SMALL = Settings(coarse=(2, 1), samples=3000, spline_samples=2000, iterations=60, threads=1)


def clouds(grid, seed=0):
    """A picture without symmetry, as dark as bright."""
    noise = np.random.default_rng(seed).normal(size=grid.shape)
    array = ndimage.gaussian_filter(noise, 4)
    return Image((array / array.std()).astype(np.float32), grid)


def rotated(angle):
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]])


GRID = Grid((64, 72), [1.5, 1.2], origin=[20.0, -30.0], direction=rotated(0.4))
FIXED = clouds(GRID)
OTHER = FIXED.with_array(np.cos(1.5 * FIXED.array))  # another modality: no linear relation
PUSH = Affine.about(GRID.centre, rotated(-0.08), [4.0, -3.0])  # from fixed to moving points
WORLD = Grid((80, 80), [1.4, 1.4], origin=GRID.centre - 55.0)
MOVING = resample(OTHER, WORLD, push=PUSH)
ASKED = GRID.to_world(np.random.default_rng(1).uniform(12, 50, (40, 2)))


def error(push):
    """Mean distance in mm of pushed moving points from where they belong."""
    return np.linalg.norm(push(PUSH(ASKED)) - ASKED, axis=1).mean()


def test_a_known_motion_between_modalities_comes_back():
    result = refine(FIXED, MOVING, stages=["rigid"], settings=SMALL)
    assert error(Affine.identity(2)) > 4
    assert error(result.map) < 0.3
    assert result.metric_after > result.metric_before
    assert not result.warnings
    np.testing.assert_allclose(result.pull(result.map(ASKED)), ASKED, atol=1e-6)


def test_a_volume_on_an_oblique_grid_comes_back():
    direction, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    grid = Grid((20, 28, 30), [1.2, 1.2, 2.0], origin=[5.0, -9.0, 30.0], direction=direction)
    fixed = clouds(grid)
    push = Affine(np.eye(3), [2.5, -2.0, 1.5])
    found = refine(fixed, resample(fixed, grid, push=push), stages=["rigid"], settings=SMALL)
    apart = found.map(push([grid.centre])) - grid.centre
    assert np.linalg.norm(apart) < 0.4


def test_it_goes_on_from_a_map_of_landmarks_that_are_a_little_off():
    far = Affine.about(WORLD.centre, rotated(1.2), [200.0, 90.0])  # worlds that are far apart
    moving = resample(MOVING, Grid((110, 110), [1.4, 1.4], origin=far(WORLD.centre) - 77), push=far)
    noise = np.random.default_rng(2).normal(size=(4, 2)) * 2
    names = ("a", "b", "c", "d")
    some = ASKED[:4]
    start = fit_landmarks(Landmarks(names, some + noise), Landmarks(names, far(PUSH(some)))).map
    with pytest.raises(NoOverlapError, match="the images do not overlap: 0.0% of the fixed"):
        refine(FIXED, moving, settings=SMALL)
    result = refine(FIXED, moving, start=start, stages=["rigid"], settings=SMALL)
    before, after = (
        np.linalg.norm(m(far(PUSH(ASKED))) - ASKED, axis=1).mean() for m in (start, result.map)
    )
    assert after < 0.5 * before
    assert after < 0.4


def bent():
    knots = GRID.to_world([[5.0, 5.0], [65.0, 5.0], [5.0, 58.0], [65.0, 58.0], [36.0, 32.0]])
    goals = knots.copy()
    goals[-1] += [4.0, 3.0]
    return ThinPlate(knots, goals)  # from fixed to moving points


def test_a_spline_follows_a_bend_and_the_landmarks_tell():
    warp = bent()
    moving = resample(OTHER, GRID, push=warp)
    pairs = Pairs(tuple(map(str, range(40))), ASKED, warp(ASKED))
    result = refine(FIXED, moving, stages=["rigid", "bspline"], pairs=pairs, settings=SMALL)
    assert result.landmarks_after_mm.mean() < 0.5 * result.landmarks_before_mm.mean()
    np.testing.assert_allclose(
        result.landmarks_before_mm, np.linalg.norm(warp(ASKED) - ASKED, axis=1), atol=1e-9
    )
    # Its push and its pull are inverses of each other to the tolerance of the solver.
    np.testing.assert_allclose(result.map(result.pull(ASKED)), ASKED, atol=1e-4)
    from_spline = refine(FIXED, moving, start=warp.inverse(), stages=["rigid"], settings=SMALL)
    assert np.linalg.norm(from_spline.map(warp(ASKED)) - ASKED, axis=1).mean() < 0.3


def test_a_stage_that_ends_worse_is_left_out(monkeypatch):
    def spoil(self, name, before):
        return Affine(np.eye(2), [9.0, 9.0]), 5, "told to"

    monkeypatch.setattr(intensity._Run, "_optimised", spoil)
    pairs = Pairs(("a",), ASKED[:1], PUSH(ASKED[:1]))
    result = refine(FIXED, MOVING, start=PUSH.inverse(), settings=SMALL, pairs=pairs)
    np.testing.assert_array_equal(result.map.matrix, PUSH.inverse().matrix)
    assert result.metric_after == result.metric_before
    assert [stage.kept for stage in result.stages] == [False] * 3
    assert "the rigid stage was left out: it ended worse than it began" in result.warnings[0]
    np.testing.assert_allclose(result.landmarks_after_mm, 0, atol=1e-9)


def test_what_leaves_the_other_image_or_fails_is_left_out(monkeypatch):
    gone = Affine(np.eye(2), [1e4, 0.0])
    monkeypatch.setattr(intensity._Run, "_optimised", lambda *_: (gone, 1, ""))
    result = refine(FIXED, MOVING, stages=["rigid"], settings=SMALL)
    assert result.warnings == ("the rigid stage was left out: it left no overlap with its start",)

    def fail(*_):
        raise RuntimeError("first line\nno sample is valid")

    monkeypatch.setattr(intensity._Run, "_optimised", fail)
    result = refine(FIXED, MOVING, stages=["rigid"], settings=SMALL)
    assert result.warnings == ("the rigid stage was left out: it failed (no sample is valid)",)


def test_it_says_when_the_landmarks_became_worse():
    """The pairs were true for the start, and are wrong for the images."""
    pairs = Pairs(("a", "b"), ASKED[:2], ASKED[:2])
    result = refine(FIXED, MOVING, stages=["rigid"], pairs=pairs, settings=SMALL)
    assert "the landmarks are farther apart than before" in result.warnings[-1]
    assert result.landmarks_after_mm.mean() > 3


def test_one_thread_and_one_seed_give_one_result():
    one, two = (refine(FIXED, MOVING, stages=["affine"], settings=SMALL).map for _ in range(2))
    np.testing.assert_allclose(one.homogeneous, two.homogeneous, rtol=1e-13, atol=1e-13)


def test_progress_names_the_stages_and_ends_each():
    told = []
    refine(FIXED, MOVING, stages=["rigid", "affine"], settings=SMALL,
           progress=lambda stage, part: told.append((stage, part)))  # fmt: skip
    for name in ("rigid", "affine"):
        parts = [part for stage, part in told if stage == name]
        assert parts == sorted(parts)
        assert parts[0] == 0
        assert parts[-1] == 1
        assert len(parts) > 5


def test_masks_tell_where_to_look():
    """Half of the moving image shows something else, which a mask hides."""
    index = np.arange(72)[None, :] * np.ones((64, 1))
    spoilt = FIXED.with_array(np.where(index < 30, clouds(GRID, 9).array * 3, FIXED.array))
    moving = resample(spoilt, GRID, push=Affine(np.eye(2), [3.0, 2.0]))
    mask = Image(index > 32, GRID)
    result = refine(FIXED, moving, stages=["rigid"], fixed_mask=mask, settings=SMALL)
    where = GRID.to_world([[50.0, 30.0]])
    np.testing.assert_allclose(result.map(where + np.array([3.0, 2.0])), where, atol=0.3)


def test_the_edge_of_a_sector_is_not_anatomy():
    """Each image shows another disc of the same scene: only with ``view`` that does not matter."""

    def seen(image, centre):
        far = np.linalg.norm(lattice(image.grid) - centre, axis=-1) > 22
        return image.with_array(np.where(far, -3, image.array).astype(np.float32))

    fixed, moving = seen(FIXED, GRID.centre), seen(MOVING, PUSH([GRID.centre])[0] + [14.0, -10.0])
    discs = Affine(PUSH.matrix, PUSH.offset + np.array([14.0, -10.0]))  # one upon the other
    more = {}
    for view in (True, False):
        masks = [compared(image, None, view=view) for image in (fixed, moving)]
        judge = Judge(sitk_image(fixed), sitk_image(moving), *masks, threads=1)
        of_scene, of_discs = judge.pair(to_sitk(PUSH), to_sitk(discs))
        more[view] = of_scene > of_discs
    assert more == {True: True, False: False}
    found = refine(fixed, moving, start=PUSH.inverse(), stages=["rigid"], settings=SMALL)
    assert error(found.map) < 0.3


def test_masks_and_the_view_hold_together():
    sector = np.ones(GRID.shape, np.float32)
    sector[:30] = 0
    image = FIXED.with_array(np.where(sector > 0, FIXED.array, 0.0).astype(np.float32))
    left = np.zeros(GRID.shape, np.uint8)
    left[:, :40] = 1
    found = sitk.GetArrayFromImage(compared(image, Image(left, GRID), view=True)) > 0
    expected = np.zeros(GRID.shape, bool)
    expected[31:, :40] = True  # a voxel at the edge of the view is left out
    np.testing.assert_array_equal(found, expected)
    assert compared(FIXED, None, view=True) is None
    # A mask of what the image does not show is still a mask.
    top = Image(np.where(sector > 0, 0, 1).astype(np.uint8), GRID)
    assert sitk.GetArrayFromImage(compared(image, top, view=True)).sum() == top.array.sum()


def test_labels_are_compared_with_their_background():
    """What is left of a label without its background is one value, which says nothing."""
    grid = Grid((48, 52), [1.0, 1.0])
    y, x = np.indices(grid.shape)
    ellipse = (((x - 24) / 12) ** 2 + ((y - 22) / 7) ** 2 < 1).astype(np.float32)
    fixed = Image(ellipse, grid)
    moving = resample(fixed, grid, push=Affine(np.eye(2), [4.0, -3.0]))
    found = refine(fixed, moving, stages=["rigid"], settings=SMALL)
    np.testing.assert_allclose(found.map([[28.0, 19.0]]), [[24.0, 22.0]], atol=0.3)


def lattice(grid):
    index = np.stack(np.meshgrid(*map(np.arange, grid.size_xyz)), -1)
    return grid.to_world(index.reshape(-1, 2) * 1.0).reshape(*grid.shape, 2)


def test_what_cannot_be_compared_is_refused():
    empty = Image(np.zeros(GRID.shape), GRID)
    for keywords, message in (
        ({"fixed_mask": empty}, "the fixed mask is empty"),
        ({"moving_mask": empty}, "the moving mask is empty"),
        ({"stages": ["elastic"]}, "there is no stage 'elastic'; rigid, affine or bspline"),
        ({"start": Affine.identity(3)}, "the start is a 3D map"),
    ):
        with pytest.raises(RegistrationError, match=message):
            refine(FIXED, MOVING, **keywords)
    for bad, message in (
        (empty, "all voxels of the moving image are alike"),
        (Image(np.zeros((2, *GRID.shape)), GRID), "moving image has 2 channels"),
        (Image(MOVING.array, Grid(WORLD.shape, unit="px")), "2D in mm, the moving one 2D in px"),
        (Image(np.full(GRID.shape, np.nan), GRID), "moving image has voxels that are not finite"),
    ):
        with pytest.raises(RegistrationError, match=message):
            refine(FIXED, bad)


# -- the judge -------------------------------------------------------------------------------------


def test_mutual_information_is_that_of_a_joint_histogram():
    judge = Judge(sitk_image(FIXED), sitk_image(OTHER), None, None, threads=1)
    still = sitk.Transform(2, sitk.sitkIdentity)
    counts = np.histogram2d(FIXED.array.ravel(), OTHER.array.ravel(), bins=24)[0]
    p = counts / counts.sum()
    apart = p.sum(1, keepdims=True) * p.sum(0)
    naive = (p[p > 0] * np.log(p[p > 0] / apart[p > 0])).sum()
    assert judge.pair(still, still)[0] == pytest.approx(naive, rel=0.15)


def test_maps_are_compared_where_both_show_something():
    """Alone, a map that keeps little of the image seems better than it is."""
    judge = Judge(sitk_image(FIXED), sitk_image(FIXED), None, None, threads=1)
    still, away = sitk.Transform(2, sitk.sitkIdentity), sitk.TranslationTransform(2, [60.0, 0.0])
    good, bad = judge.pair(still, away)
    assert good > 3 * bad
    assert judge.share(still) == 1
    assert judge.share(away) == pytest.approx(
        overlap(FIXED, FIXED, Affine(np.eye(2), [60.0, 0.0])), abs=0.05
    )


def test_a_coarser_image_stays_where_it_is():
    """The centroid of a blob, in the world, on an anisotropic grid."""
    grid = Grid((40, 60), [1.0, 2.5], origin=[7.0, 8.0], direction=rotated(0.3))
    index = np.stack(np.meshgrid(np.arange(60), np.arange(40)), -1)
    blob = np.exp(-(((grid.to_world(index * 1.0) - grid.centre) / 8) ** 2).sum(-1))
    small = coarser(sitk_image(Image(blob, grid)), 4)
    assert small.GetSize() == (15, 20)
    values = sitk.GetArrayFromImage(small)
    points = [small.TransformIndexToPhysicalPoint((x, y)) for y in range(20) for x in range(15)]
    middle = np.average(points, axis=0, weights=values.ravel())
    np.testing.assert_allclose(middle, grid.centre, atol=0.01)
