"""Detection: tiles make no difference, points land in the world, files come out whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.inference.dots import NAMES, dot_image, dot_model
from torch import nn

from anatomark import Grid, Image, Landmarks
from anatomark.errors import AnatomarkWarning, ImageError
from anatomark.inference import Detector
from anatomark.inference.flags import (
    ABSENT,
    EDGE,
    OUTSIDE,
    REPAIRED,
    TOGETHER,
    UNLIKELY,
    Findings,
    findings_of,
)
from anatomark.methods.fang2023 import Fang2023, Fang2023Config
from anatomark.models import predicting
from anatomark.models.checks import Checks, raw_statistics
from anatomark.models.conformal import Radii
from anatomark.models.predicting import predict
from anatomark.models.quality import fit_quality
from anatomark.models.recipe import IntensityRecipe, parse_recipe
from anatomark.models.shapes import fit_shapes
from anatomark.networks import StridedUNet
from anatomark.networks.tiles import cut, tile_shape, tiled_maps


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["pad", "stretch", "spacing"])
def test_a_bright_voxel_is_found_in_the_world(dimension, seed, kind):
    """Oblique, anisotropic, mirrored: what the network sees as a peak is where the voxel was."""
    image, point = dot_image(dimension, seed)
    grid = {"spacing": 1.0} if kind == "spacing" else {"fit": kind}
    found = Detector(dot_model(dimension, size=[40] * dimension, **grid), device="cpu").detect(
        image
    )
    assert found.landmarks.names == NAMES
    assert np.linalg.norm(found.landmarks.points_mm - point, axis=1).max() < 0.25
    assert found.landmarks.covariance_mm2 is not None


@pytest.mark.parametrize(
    ("shape", "tile", "halo"), [((37, 50), (16, 24), 4), ((9, 40, 33), (9, 20, 16), 5)]
)
def test_tiles_cover_every_voxel_once(shape, tile, halo):
    count = np.zeros(shape, int)
    for part in cut(shape, tile, halo):
        count[part.kept] += 1
        assert all(
            s.stop - s.start == min(t, n) for s, t, n in zip(part.shown, tile, shape, strict=True)
        )
        for shown, kept, inner, n in zip(part.shown, part.kept, part.inner, shape, strict=True):
            assert (kept.start - shown.start, kept.stop - shown.start) == (inner.start, inner.stop)
            assert kept.start == 0 or kept.start - shown.start >= halo
            assert kept.stop == n or shown.stop - kept.stop >= halo
    assert (count == 1).all()


def test_maps_of_tiles_are_the_maps_of_the_whole():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(1, 3, 3, padding=1), nn.ReLU(), nn.Conv3d(3, 2, 3, padding=1))
    images = torch.randn(1, 1, 21, 34, 40)
    whole = network(images)
    parts = tiled_maps(network, images, (12, 16, 18), 2)
    torch.testing.assert_close(parts, whole)


@pytest.mark.parametrize("shape", [(250, 330), (200, 505)])
def test_tiles_begin_where_the_steps_of_the_network_do(shape):
    """A strided network sees another picture if a tile begins between its steps."""
    torch.manual_seed(0)
    network = StridedUNet(2, 1, 2, encoder=(4, 6, 6), decoder=(6, 6, 4), final=(4,)).double()
    images = torch.randn(1, 1, *shape).double()
    with torch.no_grad():
        whole = network(images)
        parts = tiled_maps(network, images, (128, 128), 32, network.multiple)
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="multiples of 8"):
        list(cut((200,), (100,), 32, 8))


def test_a_network_that_needs_the_whole_image_is_not_tiled(monkeypatch):
    monkeypatch.setattr(predicting, "tile_shape", lambda *_: pytest.fail("tiled"))
    config = {"network": {"kind": "unet", "widths": [2, 2], "block": "residual"}}
    for norm, whole in (("instance", True), ("batch", False)):
        made = Fang2023Config.model_validate({"network": {**config["network"], "norm": norm}})
        method = Fang2023(made, landmarks=1, dimension=2, channels=1).eval()
        assert method.tiles is not whole
        if whole:
            predict(method, [np.zeros((1, 8, 8))], [np.ones(2)], device="cpu", half=False)


def test_a_tile_is_as_large_as_allowed():
    assert tile_shape((256, 256, 256), 32) == (256, 256, 256)
    assert np.prod(tile_shape((512, 512, 300), 32)) <= 1 << 24
    assert tile_shape((4096, 4096), 32) == (4096, 4096)


def test_the_modality_and_the_unit_must_be_those_of_the_model():
    image, _ = dot_image()
    detector = Detector(dot_model(), device="cpu")
    with pytest.raises(ImageError, match="the image is MR, the model is for CT"):
        detector.detect(replace(image, meta={"modality": "MR"}))
    flat, _ = dot_image(2)
    with pytest.raises(ImageError, match="the image is 2D, the model is for 3D"):
        detector.detect(flat)
    pixels = Image(flat.array, Grid(flat.array.shape, unit="px"))
    with pytest.raises(ImageError, match="say its --spacing"):
        Detector(dot_model(2), device="cpu").detect(pixels)


# -- flags ---------------------------------------------------------------------------------------


def radii_of(*each, pooled=np.inf):
    return Radii(0.95, each, pooled, (np.inf,) * len(each), (50,) * len(each))


def named_model(names, checks, **grid):
    model = dot_model(**grid)
    return replace(
        model, info=model.info.model_copy(update={"landmarks": names, "checks": checks.to_record()})
    )


def test_points_at_the_edge_of_the_view_are_flagged():
    grid = Grid((40, 40, 40), [1, 1, 1])
    array = np.random.default_rng(0).integers(50, 99, grid.shape)
    array[:, :, 20:] = 0  # outside the sector
    marks = Landmarks(["in", "edge", "out"], [[8, 20, 20], [18, 20, 20], [30, 20, 20]])
    checks = Checks(radii=radii_of(5.0, 5.0, 5.0))
    found = findings_of(named_model(("in", "edge", "out"), checks), Image(array, grid), marks)
    # 1.5 of a radius of 5 are shown beyond the edge point: 72 % of its ball.
    assert found.flags == {"edge": (EDGE,), "out": (OUTSIDE,)}
    assert found.radius["in"] == found.radius["edge"] == 5
    assert np.isnan(found.radius["out"])  # nothing was learnt of such points


def test_a_landmark_that_was_not_found_is_flagged_and_has_no_place():
    grid = Grid((40, 40, 40), [1, 1, 1])
    array = np.random.default_rng(0).integers(50, 99, grid.shape)
    marks = Landmarks(["here", "gone"], [[20, 20, 20], [20, 20, 20]], present=[True, False])
    model = named_model(("here", "gone"), Checks(radii=radii_of(5.0, 5.0)))
    found = findings_of(model, Image(array, grid), marks)
    assert found.flags == {"gone": (ABSENT,)}
    assert found.landmarks.present.tolist() == [True, False]
    assert np.isnan(found.landmarks.points_mm[1]).all()


def test_a_point_with_an_unusual_spread_is_flagged():
    grid = Grid((40, 40, 40), [1, 1, 1])
    array = np.random.default_rng(0).integers(50, 99, grid.shape)
    covariance = np.stack([np.eye(3), 4 * np.eye(3)])
    marks = Landmarks(["sure", "not"], np.full((2, 3), 20.0), covariance_mm2=covariance)
    checks = Checks(spread=(1.0, 1.0), usual=(3.0, 3.0))
    found = findings_of(named_model(("sure", "not"), checks), Image(array, grid), marks)
    assert found.flags == {"not": ("unsure: ±3.5 mm",)}  # √12


def test_an_absent_landmark_and_a_wild_one_do_not_break_a_fit():
    rng = np.random.default_rng(2)
    base = rng.normal(size=(8, 3)) * 20
    names = tuple("abcdefgh")
    checks = Checks(shape=fit_shapes(base + rng.normal(size=(40, 8, 3)) * 0.5), spread=(1.0,))
    model = named_model(names, checks)
    fitting = parse_recipe(model.recipe.complete() | {"detection": {"shape": "fit"}})
    points = base + 7
    points[2] += 60
    marks = Landmarks(
        names, points, present=np.arange(8) != 5,
        covariance_mm2=np.broadcast_to(np.eye(3), (8, 3, 3)),
    )  # fmt: skip
    grid = Grid((60, 60, 60), [2, 2, 2], [-60, -60, -60])
    image = Image(rng.normal(size=grid.shape), grid)
    found = findings_of(replace(model, recipe=fitting), image, marks)
    assert found.flags["f"] == (ABSENT,)
    assert np.linalg.norm(found.landmarks.points_mm[2] - base[2] - 7) < 10


def test_a_second_model_that_does_not_find_a_point_disagrees():
    image, point = dot_image()
    marks = Landmarks(NAMES, [point, point])
    gone = Findings(Landmarks(NAMES, [point, point], present=[True, False]), {}, np.nan)
    model = named_model(NAMES, Checks(radii=radii_of(3.0, 3.0)))
    found = findings_of(model, image, marks, other=gone)
    assert found.flags == {NAMES[1]: ("models disagree: one does not find it",)}


def test_two_models_that_disagree():
    image, point = dot_image()
    checks = Checks(radii=radii_of(3.0, 3.0))
    a = Landmarks(NAMES, [point, point])
    b = Landmarks(NAMES, np.add(point, [[2, 0, 0], [0, 4, 0]]))
    model = named_model(NAMES, checks)

    def flags(radius):
        other = Findings(b, dict.fromkeys(NAMES, radius), 0.95)
        return findings_of(model, image, a, other=other).flags

    # Each within its own radius of one truth: 3 + 0.5 mm explain 2 mm, and not 4 mm.
    assert flags(0.5) == {"twin": ("models disagree: 4.0 mm apart",)}
    assert flags(1.0) == {}
    assert flags(np.nan) == {}  # as good as the first: 3 + 3


def test_a_second_model_that_cannot_be_compared_is_said():
    with pytest.warns(AnatomarkWarning, match="the size of its errors is not known"):
        Detector(dot_model(), device="cpu", second=dot_model())


def test_a_radius_across_the_image_says_nothing_of_its_edge():
    image, point = dot_image()
    marks = Landmarks(NAMES, [point, point])
    wide = Checks(radii=radii_of(500.0, 500.0))
    assert findings_of(named_model(NAMES, wide), image, marks).flags == {}


def test_points_that_are_no_numbers_are_an_error():
    model = dot_model()
    broken = model.method.network.forward
    model.method.network.forward = lambda images: broken(images) * torch.nan
    with pytest.raises(ImageError, match="found no numbers"):
        Detector(model, device="cpu").detect(dot_image()[0])


def test_points_are_fitted_to_shapes_where_the_recipe_says_so():
    """Noise of 5 mm on shapes that vary by 0.3 mm: the fit takes most of it away, and says so."""
    rng = np.random.default_rng(1)
    base = rng.normal(size=(12, 3)) * 20
    names = tuple("abcdefghijkl")
    shape = fit_shapes(base + rng.normal(size=(60, 12, 3)) * 0.3)
    checks = Checks(shape=shape, spread=(1.0,), fit_spread=(4.0,))
    grid = Grid((60, 60, 60), [2, 2, 2], [-60, -60, -60])
    image = Image(rng.normal(size=grid.shape), grid)
    model = named_model(names, checks)
    fitting = parse_recipe(model.recipe.complete() | {"detection": {"shape": "fit"}})
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    true = (base + rng.normal(size=base.shape) * 0.3) @ turn.T + 7
    own = np.broadcast_to(25 * np.eye(3), (12, 3, 3))
    marks = Landmarks(names, true + rng.normal(size=true.shape) * 5, covariance_mm2=own)
    found = findings_of(replace(model, recipe=fitting), image, marks)
    before, after = (
        np.linalg.norm(m.points_mm - true, axis=1).mean() for m in (marks, found.landmarks)
    )
    assert after < 0.5 * before
    assert not any(UNLIKELY in flags for flags in found.flags.values())
    moved = found.landmarks.meta["moved_by_shape"]
    apart = np.linalg.norm(found.landmarks.points_mm - marks.points_mm, axis=1)
    assert list(moved.values()) == pytest.approx(apart, abs=1e-3)
    # Errors of the pose are left, shared by all: their covariance says so.
    spread = np.sqrt(np.trace(found.landmarks.covariance_mm2, axis1=1, axis2=2) / 4)
    assert 0.5 * after < spread.mean() < 2 * after
    np.testing.assert_array_equal(
        findings_of(model, image, marks).landmarks.points_mm, marks.points_mm
    )


def test_a_wild_point_does_not_pull_a_fit():
    rng = np.random.default_rng(2)
    base = rng.normal(size=(10, 3)) * 20
    names = tuple("abcdefghij")
    checks = Checks(shape=fit_shapes(base + rng.normal(size=(60, 10, 3)) * 0.3), spread=(1.0,))
    grid = Grid((60, 60, 60), [2, 2, 2], [-60, -60, -60])
    image = Image(rng.normal(size=grid.shape), grid)
    model = named_model(names, checks)
    fitting = parse_recipe(model.recipe.complete() | {"detection": {"shape": "fit"}})
    points = base + rng.normal(size=base.shape) * 0.5
    points[3] += 40
    own = np.broadcast_to(0.25 * np.eye(3), (10, 3, 3))
    found = findings_of(
        replace(model, recipe=fitting), image, Landmarks(names, points, covariance_mm2=own)
    )
    assert found.flags["d"][-1] == UNLIKELY  # and outside the view, out there
    assert np.linalg.norm(found.landmarks.points_mm - base, axis=1).max() < 2


def test_an_implausible_point_is_flagged_and_repaired_on_request_only():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(6, 3)) * 20
    names = tuple("abcdef")
    checks = Checks(shape=fit_shapes(base + rng.normal(size=(40, 6, 3)) * 0.5))
    points = base + rng.normal(size=(6, 3)) * 0.5
    true = points[2].copy()
    points[2] += [0, 30, 0]
    grid = Grid((60, 60, 60), [2, 2, 2], [-60, -60, -60])
    image = Image(rng.normal(size=grid.shape), grid)
    model = named_model(names, checks)
    plain = findings_of(model, image, Landmarks(names, points))
    assert plain.flags["c"] == (UNLIKELY,)
    np.testing.assert_array_equal(plain.landmarks.points_mm, points)
    mended = findings_of(model, image, Landmarks(names, points), repair=True)
    assert np.linalg.norm(mended.landmarks["c"] - true) < 3
    assert mended.flags["c"][1].startswith(f"{REPAIRED}: moved by")
    others = [0, 1, 3, 4, 5]
    np.testing.assert_array_equal(mended.landmarks.points_mm[others], points[others])


def test_a_wrong_point_that_admits_to_be_unsure_is_flagged_all_the_same():
    rng = np.random.default_rng(1)
    base, names = rng.normal(size=(6, 3)) * 20, tuple("abcdef")
    checks = Checks(shape=fit_shapes(base + rng.normal(size=(40, 6, 3)) * 0.5), spread=(4.0,))
    points = base.copy()
    points[2] += [0, 30, 0]
    unsure = Landmarks(names, points, covariance_mm2=np.tile(np.eye(3) * 100, (6, 1, 1)))
    image = Image(rng.normal(size=(9, 9, 9)), Grid((9, 9, 9), [20] * 3, [-80] * 3))
    assert findings_of(named_model(names, checks), image, unsure).flags == {"c": (UNLIKELY,)}


@pytest.mark.parametrize("stored", [True, False])
def test_shapes_are_compared_as_the_network_saw_them(stored):
    """Learnt along the axes of the array: of a mirrored grid, that is a mirror of the world."""
    rng = np.random.default_rng(2)
    base, names = rng.normal(size=(6, 3)) * 20, tuple("abcdef")
    checks = Checks(shape=fit_shapes(base + rng.normal(size=(40, 6, 3)) * 0.5))
    model = named_model(names, checks, orientation="as stored" if stored else "LPS")
    grid = Grid((9, 9, 9), [20] * 3, [-80, -80, 80], np.diag([1.0, 1, -1]))
    image = Image(rng.normal(size=(9, 9, 9)), grid)
    mirrored = base * [1, 1, -1]
    said = findings_of(model, image, Landmarks(names, mirrored if stored else base))
    assert (said.flags, said.image) == ({}, ())
    odd = findings_of(model, image, Landmarks(names, base if stored else mirrored))
    assert odd.flags or odd.image[0].startswith(UNLIKELY)
    wrong = mirrored if stored else base
    wrong[2] += [0, 30, 0]
    mended = findings_of(model, image, Landmarks(names, wrong), repair=True).landmarks
    assert np.linalg.norm(mended["c"] - wrong[2] + [0, 30, 0]) < 3


def test_points_that_do_not_fit_together_are_said_of_the_image():
    """Spacing that is wrong by 6 %: all points are too far apart, and often none stands out."""
    rng = np.random.default_rng(3)
    base, names = rng.normal(size=(12, 3)) * 20, tuple("abcdefghijkl")
    checks = Checks(shape=fit_shapes(base + rng.normal(size=(60, 12, 3))))
    image = Image(rng.normal(size=(9, 9, 9)), Grid((9, 9, 9), [20] * 3, [-80] * 3))
    model = named_model(names, checks)
    said = [
        findings_of(model, image, Landmarks(names, 1.06 * (base + rng.normal(size=(12, 3)))))
        for _ in range(30)
    ]
    assert np.mean([bool(s.image or s.flags) for s in said]) > 0.9
    together = [s for s in said if s.image]
    assert together
    assert all(s.image == (f"{UNLIKELY}: {TOGETHER}",) and not s.flags for s in together)


def test_an_image_unlike_the_training_images_is_named():
    """As in training: raw grey values, and their levels where a window shows them as they are."""
    model = dot_model()
    seen = [dot_image(seed=n)[0] for n in range(24)]
    checks = Checks(quality=fit_quality([raw_statistics(i, model.recipe) for i in seen[:20]]))
    known = replace(model, info=model.info.model_copy(update={"checks": checks.to_record()}))
    marks = Landmarks(NAMES, [seen[0].grid.centre] * 2)
    assert not any(findings_of(known, i, marks).image for i in seen[20:])
    odd_array = seen[0].array + 5000
    [odd] = findings_of(known, seen[0].with_array(odd_array), marks).image
    assert odd.startswith("unlike the training images: the level of ")
    scaled = replace(model, recipe=model.recipe.model_copy(update={"intensity": IntensityRecipe()}))
    raw = [raw_statistics(i, scaled.recipe) for i in (seen[0], seen[0].with_array(odd_array))]
    assert raw[0] == pytest.approx(raw[1], abs=1e-9)  # percentiles: an offset is not seen


# -- files ---------------------------------------------------------------------------------------
