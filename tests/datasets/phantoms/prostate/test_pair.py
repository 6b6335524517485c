"""The prostate phantom as its users meet it: two images, their landmarks, masks and map."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from anatomark.data import Image, Sample
from anatomark.datasets.phantoms.prostate import blocks
from anatomark.datasets.phantoms.prostate.pair import ProstatePair, prostate_pair
from anatomark.errors import UsageError
from anatomark.geometry import FloatArray
from anatomark.sampling import resample

SMALL: dict[str, Any] = {"mr_shape": (32, 64, 64), "us_shape": (64, 64, 64)}
MIDDLE: dict[str, Any] = {"mr_shape": (48, 96, 96), "us_shape": (96, 96, 96)}


@lru_cache(maxsize=32)
def _small(seed: int, **options: Any) -> ProstatePair:
    return prostate_pair(seed, **SMALL, **options)


@lru_cache(maxsize=8)
def _middle(seed: int) -> ProstatePair:
    return prostate_pair(seed, **MIDDLE)


@lru_cache(maxsize=256)
def _undrawn(seed: int, **options: Any) -> ProstatePair:
    return prostate_pair(seed, **SMALL, modalities=(), **options)


def _samples(pair: ProstatePair) -> tuple[Sample, Sample]:
    return pair.mr, pair.us


def _points(sample: Sample) -> FloatArray:
    assert sample.landmarks is not None
    return sample.landmarks.points_mm


def _mask(sample: Sample) -> Image:
    assert sample.mask is not None
    return sample.mask


def _border(mask: NDArray[Any]) -> NDArray[np.bool_]:
    """Voxels of a mask with a neighbour outside it."""
    inside = np.pad(mask > 0, 1)
    core = inside.copy()
    for axis in range(3):
        core &= np.roll(inside, 1, axis) & np.roll(inside, -1, axis)
    border: NDArray[np.bool_] = (inside & ~core)[1:-1, 1:-1, 1:-1]
    return border


# -- sizes, types, places --------------------------------------------------------------------------


def test_the_default_sizes_are_those_of_fang_2023() -> None:
    pair = prostate_pair(0, modalities=())
    mr, us = pair.mr_pose.grid, pair.us_pose.grid
    assert mr.shape == (128, 256, 256)
    assert mr.spacing == pytest.approx([0.5, 0.5, 1.0])
    assert us.shape == (256, 256, 256)
    assert us.spacing == pytest.approx([0.4, 0.4, 0.4])


def test_a_pair_has_two_images_with_masks_and_landmarks_of_the_same_names() -> None:
    pair = _small(1)
    assert pair.mr.image.array.dtype == np.int16
    assert pair.us.image.array.dtype == np.uint8
    for sample, shape in ((pair.mr, (32, 64, 64)), (pair.us, (64, 64, 64))):
        assert sample.image.array.shape == shape
        assert _mask(sample).array.dtype == np.uint8
        assert set(np.unique(_mask(sample).array)) == {0, 1}
        assert _mask(sample).grid == sample.image.grid
        assert sample.landmarks is not None
        assert sample.landmarks.names == ("apex", "bladder_neck", "posterior_median")
        assert sample.landmarks.present.all()
    assert (pair.mr.domain, pair.us.domain) == ("mr", "us")
    assert pair.field_of_view.grid == pair.us.image.grid


def test_grids_are_oblique_and_away_from_the_origin() -> None:
    for modality in ("mr", "us"):
        grids = [getattr(_undrawn(seed), f"{modality}_pose").grid for seed in range(6)]
        for grid in grids:
            assert grid.direction.T @ grid.direction == pytest.approx(np.eye(3), abs=1e-9)
            assert np.linalg.det(grid.direction) > 0
            assert np.linalg.norm(grid.centre) > 1
        turned = [np.rad2deg(np.arccos(np.diag(grid.direction).min())) for grid in grids]
        assert max(turned) > 5


@pytest.mark.parametrize("seed", range(12))
def test_landmarks_lie_in_the_image(seed: int) -> None:
    pair = _undrawn(seed)
    assert pair.mr_pose.grid.contains(pair.mr_landmarks.points_mm).all()
    assert pair.us_pose.grid.contains(pair.us_landmarks.points_mm).all()


def test_any_shape_shows_the_same_anatomy_at_the_same_place() -> None:
    small = _undrawn(4)
    other = prostate_pair(4, mr_shape=(20, 41, 90), us_shape=(50, 31, 70), modalities=())
    assert np.array_equal(small.mr_landmarks.points_mm, other.mr_landmarks.points_mm)
    assert np.array_equal(small.us_landmarks.points_mm, other.us_landmarks.points_mm)
    for one, two in ((small.mr_pose, other.mr_pose), (small.us_pose, other.us_pose)):
        assert one.grid.extent == pytest.approx(two.grid.extent)
        assert one.grid.centre == pytest.approx(two.grid.centre)
    coarse = _mask(_small(4).us)
    fine = _mask(prostate_pair(4, us_shape=(90, 90, 90), modalities=()).us)
    back = resample(fine, coarse.grid, interpolation="nearest")
    assert _dice(coarse.array, back.array) > 0.93


# -- the map ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_ultrasound_landmarks_are_the_mapped_mr_landmarks(seed: int) -> None:
    pair = _undrawn(seed)
    moved = pair.mr_to_us(pair.mr_landmarks.points_mm)
    assert np.abs(moved - pair.us_landmarks.points_mm).max() < 1e-9
    back = pair.us_to_mr(pair.us_landmarks.points_mm)
    assert np.abs(back - pair.mr_landmarks.points_mm).max() < 1e-5


def test_the_map_is_a_rigid_motion_and_a_smooth_deformation_of_known_size() -> None:
    rng = np.random.default_rng(0)
    largest = []
    for seed in range(8):
        pair = _undrawn(seed)
        body = pair.pelvis.gland.inner_points(rng, 300)
        us = pair.us_pose.to_world(body)
        moved = pair.deformation(us)
        largest.append(float(np.linalg.norm(moved - us, axis=1).max()))
        slopes = pair.deformation.jacobian(us)
        assert np.linalg.det(slopes).min() > 0.3  # nothing folds
        undeformed = pair.us_to_mr.maps[1](us)
        assert undeformed == pytest.approx(pair.mr_pose.to_world(body), abs=1e-9)
    assert min(largest) > 2.0
    assert max(largest) < 6.0  # 5 mm, on other points than those that set it


def test_without_deformation_the_map_is_rigid() -> None:
    pair = _undrawn(3, deformation_mm=0.0)
    points = pair.mr_landmarks.points_mm
    moved = pair.us_landmarks.points_mm
    for row in range(3):
        assert np.linalg.norm(moved[row] - moved[row - 1]) == pytest.approx(
            np.linalg.norm(points[row] - points[row - 1]), abs=1e-6
        )


@pytest.mark.parametrize("seed", [0, 5])
def test_the_mr_mask_seen_through_the_map_is_the_ultrasound_mask(seed: int) -> None:
    pair = _middle(seed)
    moved = resample(
        _mask(pair.mr), pair.us.image.grid, push=pair.mr_to_us, interpolation="nearest"
    )
    assert _dice(moved.array, _mask(pair.us).array) >= 0.95


def _dice(a: NDArray[Any], b: NDArray[Any]) -> float:
    one, two = a > 0, b > 0
    return float(2 * (one & two).sum() / (one.sum() + two.sum()))


def test_the_known_deformation_matters_to_the_masks() -> None:
    pair = _middle(5)
    rigid = resample(
        _mask(pair.mr), pair.us.image.grid, pull=pair.us_to_mr.maps[1], interpolation="nearest"
    )
    truth = _mask(pair.us).array
    assert _dice(rigid.array, truth) < 0.95


# -- images, masks and landmarks agree -------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_the_masks_tip_is_the_apex_and_the_landmarks_lie_on_its_border(seed: int) -> None:
    pair = _small(seed)
    for sample, pose in ((pair.mr, pair.mr_pose), (pair.us, pair.us_pose)):
        grid = sample.image.grid
        upwards = pose.to_world.matrix[:, 2]
        inside = grid.to_world(np.argwhere(_mask(sample).array)[:, ::-1].astype(float))
        lowest = (inside @ upwards).min()
        voxel = float(grid.spacing.max())
        assert abs(lowest - _points(sample)[0] @ upwards) < voxel
        border = grid.to_world(np.argwhere(_border(_mask(sample).array))[:, ::-1].astype(float))
        for point in _points(sample):
            assert np.linalg.norm(border - point, axis=1).min() < 1.2 * voxel


def _distance(sample: Sample) -> NDArray[Any]:
    """Distance in mm to the border of the mask, negative inside."""
    mask, spacing = _mask(sample).array > 0, sample.image.grid.spacing[::-1]
    inside, outside = (distance_transform_edt(m, sampling=spacing) for m in (mask, ~mask))
    distance: NDArray[Any] = np.where(mask, spacing.min() / 2 - inside, outside - spacing.min() / 2)
    return distance


def _capsule(image: NDArray[Any], distance: NDArray[Any], seen: NDArray[Any]) -> float:
    """Brightness about a border over that on both sides of it."""

    def mean(low: float, high: float) -> float:
        return float(image[seen & (distance >= low) & (distance < high)].mean())

    return 2 * mean(-1.2, 1.2) / (mean(-4.5, -2) + mean(2, 4.5))


@pytest.mark.parametrize("seed", [0, 5])
def test_the_capsule_is_drawn_where_the_mask_ends(seed: int) -> None:
    # A thin layer, dark in MR and bright in ultrasound; nowhere else does it stand out as much.
    pair = _middle(seed)
    shifts = [(0, 0, 0), (0, 3, 0), (0, -3, 0), (0, 0, 3), (0, 0, -3), (2, 0, 0), (-2, 0, 0)]
    everywhere = np.ones(pair.mr.image.array.shape, bool)
    contrast = []
    for sample, seen in ((pair.mr, everywhere), (pair.us, pair.field_of_view.array > 0)):
        distance = _distance(sample)
        moved = (np.roll(distance, step, axis=(0, 1, 2)) for step in shifts)
        contrast.append([_capsule(sample.image.array, place, seen) for place in moved])
    dark, bright = contrast
    assert dark[0] < 0.95
    assert dark[0] < min(dark[1:])
    assert bright[0] > 1.05
    assert bright[0] > max(bright[1:])


def test_the_bladder_neck_touches_fluid_that_is_bright_in_mr_and_dark_in_ultrasound() -> None:
    for seed in (0, 5):
        pair = _middle(seed)
        for sample, pose, bright in ((pair.mr, pair.mr_pose, True), (pair.us, pair.us_pose, False)):
            upwards = pose.to_world.matrix[:, 2]
            ways = np.linspace(3, 7, 9)[:, None] * upwards
            index = np.rint(sample.image.grid.to_index(_points(sample)[1] + ways)).astype(int)
            above = float(np.median(sample.image.array[tuple(index[:, ::-1].T)]))
            gland = float(np.median(sample.image.array[_mask(sample).array > 0]))
            assert (above > gland) is bright


def _best_band(image: NDArray[Any], mask: NDArray[Any], where: NDArray[Any]) -> float:
    """Highest Dice with the mask that any band of grey values reaches."""
    levels = np.unique(np.percentile(image[where], np.linspace(0, 100, 25)))
    truth = (mask > 0) & where
    return max(
        _dice((image >= low) & (image < high) & where, truth)
        for i, low in enumerate(levels)
        for high in levels[i + 1 :]
    )


@pytest.mark.parametrize("seed", range(3))
def test_no_threshold_finds_the_gland(seed: int) -> None:
    pair = _small(seed)
    everywhere = np.ones(pair.mr.image.array.shape, bool)
    assert _best_band(pair.mr.image.array, _mask(pair.mr).array, everywhere) < 0.6
    seen = pair.field_of_view.array > 0
    assert _best_band(pair.us.image.array, _mask(pair.us).array, seen) < 0.6


@pytest.mark.parametrize("modality", ["mr", "us"])
def test_guessing_the_mean_place_is_far_worse_than_published_errors(modality: str) -> None:
    # Fang 2023 reports 5.55 mm (ultrasound) and 5.77 mm (MR).
    places = []
    for seed in range(100, 150):
        pair = _undrawn(seed)
        pose = getattr(pair, f"{modality}_pose")
        marks = getattr(pair, f"{modality}_landmarks").points_mm
        places.append(pose.grid.to_normalised(marks) * pose.grid.extent / 2)
    guess = np.mean(places[:30], axis=0)
    error = np.linalg.norm(np.array(places[30:]) - guess, axis=-1).mean()
    assert 14 < error < 25


# -- the ultrasound's view -------------------------------------------------------------------------


@pytest.mark.parametrize("probe", ["end-fire", "side-fire"])
def test_the_ultrasound_is_dark_outside_the_sector_and_bright_inside(probe: str) -> None:
    pair = _small(2, probe=probe)
    assert pair.probe == probe
    assert pair.us.info["probe"] == probe
    seen, image = pair.field_of_view.array > 0, pair.us.image.array
    assert set(np.unique(pair.field_of_view.array)) == {0, 1}
    assert 0.05 < seen.mean() < 0.9
    assert (image[~seen] == 0).all()
    assert np.median(image[seen]) > 30


def test_both_probes_and_partial_views_are_drawn() -> None:
    pairs = [_undrawn(seed) for seed in range(100, 140)]
    assert {p.probe for p in pairs} == {"end-fire", "side-fire"}


@pytest.mark.parametrize("probe", ["end-fire", "side-fire"])
@pytest.mark.parametrize("seed", range(2))
def test_a_partial_view_leaves_a_part_of_the_gland_out_and_says_what(probe: str, seed: int) -> None:
    whole = _small(seed, probe=probe, partial_view=False)
    part = _small(seed, probe=probe, partial_view=True)
    for pair, low, high in ((whole, 0.93, 1.0), (part, 0.5, 0.95)):
        gland, seen = _mask(pair.us).array > 0, pair.field_of_view.array > 0
        shown = float((gland & seen).sum() / gland.sum())
        assert low <= shown <= high
        assert pair.us.info["visible_part"] == pytest.approx(shown, abs=1e-3)
        index = np.rint(pair.us.image.grid.to_index(_points(pair.us))).astype(int)
        names = ("apex", "bladder_neck", "posterior_median")
        for name, (x, y, z) in zip(names, index, strict=True):
            around = seen[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2]
            if name in pair.us.info["outside_view"]:
                assert not around.all()
            else:
                assert around.any()
    assert whole.mr.info["outside_view"] == ()


def test_some_partial_view_hides_a_landmark_that_stays_annotated() -> None:
    hidden = []
    for seed in range(6):
        pair = _small(seed, partial_view=True)
        assert pair.us.landmarks is not None
        assert pair.us.landmarks.present.all()
        hidden += pair.us.info["outside_view"]
    assert hidden


# -- seeds -----------------------------------------------------------------------------------------


def _all_arrays(pair: ProstatePair) -> list[NDArray[Any]]:
    arrays = [pair.field_of_view.array]
    for sample in _samples(pair):
        arrays += [sample.image.array, _mask(sample).array, _points(sample)]
    return arrays


def test_the_same_seed_gives_the_same_bits_and_another_one_does_not() -> None:
    first, again, other = _small(7), prostate_pair(7, **SMALL), _small(8)
    for a, b in zip(_all_arrays(first), _all_arrays(again), strict=True):
        assert np.array_equal(a, b)
    points = _points(first.us)
    assert np.array_equal(first.us_to_mr(points), again.us_to_mr(points))
    for a, b in zip(_all_arrays(first), _all_arrays(other), strict=True):
        assert not np.array_equal(a, b)


def test_the_number_of_threads_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    shapes: dict[str, Any] = {"mr_shape": (40, 70, 70), "us_shape": (70, 70, 70)}  # several blocks
    kept = torch.get_num_threads()
    drawn: dict[int, list[NDArray[Any]]] = {}
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            monkeypatch.setattr(blocks, "cores", _always(threads))
            monkeypatch.setattr(blocks, "_SMALL", 0)
            drawn[threads] = _all_arrays(prostate_pair(9, **shapes))
    finally:
        torch.set_num_threads(kept)
    for a, b in zip(drawn[1], drawn[3], strict=True):
        assert np.array_equal(a, b)


def _always(value: int) -> Callable[[], int]:
    return lambda: value


def test_noise_differs_between_seeds_and_voxels() -> None:
    corners = [_small(seed).mr.image.array[:6, :6, :6] for seed in (1, 2)]
    assert len(np.unique(corners[0])) > 50
    assert not np.array_equal(corners[0], corners[1])


def test_one_modality_can_be_drawn_without_the_other() -> None:
    pair = prostate_pair(1, **SMALL, modalities=("us",))
    assert "mr" not in vars(pair)
    assert np.array_equal(pair.us.image.array, _small(1).us.image.array)
    assert np.array_equal(pair.mr.image.array, _small(1).mr.image.array)  # drawn when asked for


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 1), (5, 33, 9)])
def test_tiny_shapes_work(shape: tuple[int, int, int]) -> None:
    pair = prostate_pair(0, mr_shape=shape, us_shape=shape)
    assert pair.mr.image.array.shape == pair.us.image.array.shape == shape


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mr_shape": (64, 64)}, "mr_shape"),
        ({"us_shape": (64, 0, 64)}, "us_shape"),
        ({"probe": "front-fire"}, "probe"),
        ({"modalities": ("ct",)}, "modalities"),
        ({"modalities": "mr"}, "modalities"),
        ({"max_rotation_deg": -1}, "max_rotation_deg"),
        ({"max_shift_mm": float("nan")}, "max_shift_mm"),
        ({"deformation_mm": 50}, "deformation_mm"),
        ({"max_shift_mm": 100, "partial_view": False}, "max_shift_mm"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        _draw_several(**{"modalities": (), **options})


def _draw_several(**options: Any) -> None:
    for seed in range(40):  # a shift of 100 mm is refused for many seeds, not for all
        prostate_pair(seed, **options)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(UsageError, match="seed"):
        prostate_pair(-1, modalities=())
