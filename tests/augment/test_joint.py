"""Draw and apply: seeds, absent points, mirrors, types, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import grid_sample

from anatomark.augment import (
    AugmentConfig,
    apply,
    apply_to_masks,
    draw,
    joint,
    landmark_order,
    preset,
)
from anatomark.errors import UsageError

SHAPES = {2: (20, 28), 3: (10, 14, 12)}
EXTENTS = {2: [56.0, 30.0], 3: [24.0, 28.0, 30.0]}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sample(dimension: int, batch: int = 3, landmarks: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.rand(batch, 2, *SHAPES[dimension], generator=generator(1))
    points = torch.rand(batch, landmarks, dimension, generator=generator(2)) * 1.6 - 0.8
    return images, points


def mirrored(dimension: int, axes: tuple[int, ...], **settings):
    config = AugmentConfig(flip_axes=axes, flip_probability=1, **settings)
    return draw(
        config,
        3,
        dimension,
        extent_mm=EXTENTS[dimension],
        pairs=[(0, 1), (4, 3)],
        generator=generator(),
    )


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("name", ["none", "strong"])
def test_what_is_not_drawn_stays_bit_for_bit(dimension, name):
    config = preset(name, dimension)
    never = {k: 0.0 for k in AugmentConfig.model_fields if k.endswith("_probability")}
    config = config.model_copy(update=never)
    images, points = sample(dimension)
    points[0, 0] = 1.5  # outside, and left alone
    change = draw(config, 3, dimension, extent_mm=EXTENTS[dimension], generator=generator())
    done = apply(change, images, points)
    assert torch.equal(done.images, images)
    assert torch.equal(done.points, points)
    assert done.present.all()


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_mirror_is_torch_flip_and_exchanges_left_and_right(dimension, axis):
    images, points = sample(dimension)
    points[0, 4] = torch.nan
    change = mirrored(dimension, (axis,))
    done = apply(change, images, points)
    assert torch.equal(done.images, images.flip(-1 - axis))
    sign = torch.ones(dimension)
    sign[axis] = -1
    expected = (points * sign)[:, [1, 0, 2, 4, 3]]
    torch.testing.assert_close(done.points, expected, rtol=0, atol=0, equal_nan=True)
    assert done.present.tolist() == [[True] * 3 + [False, True]] + [[True] * 5] * 2
    assert landmark_order(change, 5).tolist() == [[1, 0, 2, 4, 3]] * 3
    assert torch.equal(apply_to_masks(change, images > 0.5), (images > 0.5).flip(-1 - axis))


def test_two_reversed_axes_are_a_rotation_and_exchange_nothing():
    images, points = sample(2)
    done = apply(mirrored(2, (0, 1)), images, points)
    assert torch.equal(done.images, images.flip(-1, -2))
    assert torch.equal(done.points, -points)


def test_a_mirror_inside_a_warp_exchanges_names_too():
    images, points = sample(2)
    change = mirrored(2, (0,), rotation_deg=20)
    points = points * 0.3
    swapped = apply(change, images, points).points
    other = draw(
        AugmentConfig(
            flip_axes=(0,), flip_probability=1, rotation_deg=20, mirror_without_pairs=True
        ),
        3,
        2,
        extent_mm=EXTENTS[2],
        generator=generator(),
    )
    assert torch.equal(swapped, apply(other, images, points).points[:, [1, 0, 2, 4, 3]])


@pytest.mark.parametrize("dimension", [2, 3])
def test_one_seed_is_one_result_and_every_call_a_new_draw(dimension):
    images, points = sample(dimension)
    config = preset("strong", dimension)

    def run(source: torch.Generator):
        change = draw(config, 3, dimension, extent_mm=EXTENTS[dimension], generator=source)
        return apply(change, images, points)

    source = generator(7)
    first, second, again = run(source), run(source), run(generator(7))
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.points.nan_to_num(9), again.points.nan_to_num(9))
    assert not torch.equal(first.images, second.images)
    assert (first.points != second.points).any()


def test_every_sample_has_its_own_numbers():
    certain = {k: 1.0 for k in AugmentConfig.model_fields if k.endswith("_probability")}
    config = preset("strong", 2).model_copy(update=certain)
    change = draw(config, 4, 2, extent_mm=EXTENTS[2], generator=generator())
    for part in (change.spatial, change.intensity):
        for name, value in vars(part).items():
            varies = isinstance(value, torch.Tensor) and value.is_floating_point()
            if varies and name != "extent_mm":
                assert (
                    len(value.flatten(1).unique(dim=0) if value.ndim > 1 else value.unique()) == 4
                )
    same, points = torch.rand(1, 1, 20, 28).expand(4, -1, -1, -1), torch.zeros(4, 1, 2)
    done = apply(change, same, points)
    assert len(done.images.flatten(1).unique(dim=0)) == 4
    assert len(done.points.flatten(1).unique(dim=0)) == 4


@pytest.mark.parametrize("dimension", [2, 3])
def test_absent_points_stay_absent_and_points_that_leave_become_so(dimension):
    images, points = sample(dimension, batch=2)
    points[0, 1] = torch.nan
    points[1, :] = 0
    points[1, 4, 0] = 0.999
    present = torch.ones(2, 5, dtype=torch.bool)
    present[1, 3] = False
    config = AugmentConfig(crop=0.5, crop_probability=1)
    change = draw(config, 2, dimension, extent_mm=EXTENTS[dimension], generator=generator(3))
    done = apply(change, images, points, present)
    assert not done.present[0, 1]
    assert not done.present[1, 3]
    assert done.present[1, 0]
    assert not done.present[1, 4]
    assert torch.equal(done.points.isnan().all(-1), ~done.present)
    assert torch.equal(done.points.isnan().any(-1), ~done.present)


def test_numbers_in_the_place_of_absent_points_do_no_harm():
    images, points = sample(3)
    present = torch.ones(3, 5, dtype=torch.bool)
    points[:, 0], points[:, 1], points[:, 2], present[:, :2] = 1e30, torch.inf, 1e6, False
    change = draw(preset("strong", 3), 3, 3, extent_mm=EXTENTS[3], generator=generator())
    done = apply(change, images, points, present)
    assert done.points[:, :3].isnan().all()
    assert not done.present[:, :3].any()


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_batch_is_resampled_once(dimension, monkeypatch):
    calls = []

    def counted(images, grid, **options):
        calls.append((len(images), options["align_corners"]))
        return grid_sample(images, grid, **options)

    monkeypatch.setattr(joint, "grid_sample", counted)
    images, points = sample(dimension)
    certain = {"affine_probability": 1, "elastic_probability": 1, "crop_probability": 1}
    config = preset("strong", dimension).model_copy(update=certain)
    apply(
        draw(config, 3, dimension, extent_mm=EXTENTS[dimension], generator=generator()),
        images,
        points,
    )
    assert calls == [(3, False)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_types_are_kept_and_points_are_never_coarse(dtype):
    images, points = sample(3)
    change = draw(preset("strong", 3), 3, 3, extent_mm=EXTENTS[3], generator=generator())
    done = apply(change, images.to(dtype), points.to(dtype))
    assert done.images.dtype == dtype
    assert done.points.dtype == (dtype if dtype.itemsize > 2 else torch.float32)
    assert (
        apply_to_masks(change, torch.ones(3, 1, 10, 14, 12, dtype=torch.int64)).dtype == torch.int64
    )
    if dtype == torch.bfloat16:
        full = apply(change, images.to(dtype).float(), points.to(dtype))
        assert torch.equal(full.images.to(dtype), done.images)


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_number_of_threads_does_not_matter(dimension):
    images, points = sample(dimension)
    change = draw(
        preset("strong", dimension),
        3,
        dimension,
        extent_mm=EXTENTS[dimension],
        generator=generator(5),
    )
    before, done = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            done.append(apply(change, images, points))
    finally:
        torch.set_num_threads(before)
    for other in done[1:]:
        assert torch.equal(done[0].images, other.images)
        assert torch.equal(done[0].points.nan_to_num(9), other.points.nan_to_num(9))


def test_inputs_are_not_written_to():
    images, points = sample(2)
    kept = images.clone(), points.clone()
    for seed in range(4):
        change = draw(preset("strong", 2), 3, 2, extent_mm=EXTENTS[2], generator=generator(seed))
        apply(change, images, points)
    assert torch.equal(images, kept[0])
    assert torch.equal(points, kept[1])


def test_no_landmarks_are_fine():
    images, _ = sample(3)
    change = draw(preset("strong", 3), 3, 3, extent_mm=EXTENTS[3], generator=generator())
    assert apply(change, images, torch.zeros(3, 0, 3)).points.shape == (3, 0, 3)


def test_what_cannot_be_is_refused():
    flips = AugmentConfig(flip_axes=(0,))
    with pytest.raises(UsageError, match="no pairs are known"):
        draw(flips, 2, 2, extent_mm=[9, 9], generator=generator())
    draw(
        AugmentConfig(flip_axes=(0,), mirror_without_pairs=True),
        2,
        2,
        extent_mm=[9, 9],
        generator=generator(),
    )
    with pytest.raises(UsageError, match="no axes"):
        draw(
            AugmentConfig(flip_axes=(2,)),
            2,
            2,
            extent_mm=[9, 9],
            pairs=[(0, 1)],
            generator=generator(),
        )
    for extent in ([9.0, 0.0], [9.0, float("nan")], [9.0, 9.0, 9.0]):
        with pytest.raises(UsageError, match="exten"):
            draw(AugmentConfig(), 2, 2, extent_mm=extent, generator=generator())
    for pairs in ([(0, 1), (1, 2)], [(0, 0)], [(-1, 0)]):
        with pytest.raises(UsageError, match="each row once"):
            draw(flips, 2, 2, extent_mm=[9, 9], pairs=pairs, generator=generator())
    change = draw(flips, 2, 2, extent_mm=[9, 9], pairs=[(0, 5)], generator=generator())
    images, points = torch.zeros(2, 1, 4, 5), torch.zeros(2, 3, 2)
    with pytest.raises(UsageError, match="name more than 3"):
        apply(change, images, points)
    with pytest.raises(UsageError, match="2 images in 2D"):
        apply(change, images[:1], points)
    with pytest.raises(UsageError, match="2 sets of points"):
        apply(change, images, torch.zeros(2, 3, 3))
    with pytest.raises(UsageError, match="convert them to float32"):
        apply(change, images.byte(), points)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("dimension", [2, 3])
def test_the_gpu_gives_what_the_cpu_gives(dimension):
    """All but noise, whose numbers are the device's own."""
    images, points = sample(dimension)
    config = preset("strong", dimension).model_copy(update={"noise": 0.0})
    change = draw(config, 3, dimension, extent_mm=EXTENTS[dimension], generator=generator(5))
    here, there = apply(change, images, points), apply(change, images.cuda(), points.cuda())
    torch.testing.assert_close(there.images.cpu(), here.images, atol=1e-4, rtol=0)
    torch.testing.assert_close(there.points.cpu(), here.points, atol=1e-6, rtol=0, equal_nan=True)
