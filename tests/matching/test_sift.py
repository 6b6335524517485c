"""Hand-made matchers: places to a fraction of a pixel, one landmark a place, plain refusals."""

from __future__ import annotations

import builtins
import warnings

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift, zoom

from anatomark.data import Image
from anatomark.errors import AnatomarkWarning, GeometryError, UsageError
from anatomark.geometry import Grid
from anatomark.matching.sift import SiftMatcher, to_8_bit

cv2 = pytest.importorskip("cv2")

CONTRIBUTED = hasattr(cv2, "xfeatures2d")
AVAILABLE = ["sift", "sift-ratio", "rootsift", "asift", *(["teblid"] if CONTRIBUTED else [])]


def texture(shape=(160, 200), seed=0, sigma=2.5) -> np.ndarray:
    """Smooth noise between -1000 and 1500, as a CT has."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma)
    return (250 + 1250 * noise / np.abs(noise).max()).astype(np.float32)


def image_of(array: np.ndarray, **grid) -> Image:
    return Image(array, Grid(array.shape, **{"spacing": (1.0, 1.0), **grid}))


@pytest.mark.parametrize("kind", AVAILABLE)
def test_an_image_matches_itself_place_by_place(kind):
    image = image_of(texture((90, 110)), spacing=(0.7, 0.9), origin=(-40, 12))
    matches = SiftMatcher(kind).match(image, image)
    assert len(matches) > 25
    apart = np.linalg.norm(matches.fixed_mm - matches.moving_mm, axis=1)
    assert np.mean(apart < 1e-6) > 0.98
    assert image.grid.contains(matches.fixed_mm).all()
    assert (np.diff(matches.confidence) <= 1e-12).all()
    assert matches.meta["matcher"] == kind


@pytest.mark.parametrize("kind", AVAILABLE)
def test_a_place_is_one_landmark_whatever_its_orientations(kind):
    array = texture((90, 110), seed=1)
    matches = SiftMatcher(kind).match(image_of(array), image_of(array[::-1]))
    for points in (matches.fixed_mm, matches.moving_mm):
        assert len(np.unique(points.round(3), axis=0)) == len(points)


def test_blobs_are_found_at_their_centres():
    """Gaussian blobs at known sub-pixel places: no offset of a half or a quarter of a pixel."""
    rng = np.random.default_rng(0)
    centres = np.array([(x, y) for x in range(20, 200, 26) for y in range(20, 150, 26)], float)
    centres += rng.uniform(-0.5, 0.5, centres.shape)
    y, x = np.mgrid[:160, :210]
    array = sum(
        a * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 3.0**2))
        for (cx, cy), a in zip(centres, rng.uniform(50, 200, len(centres)), strict=True)
    )
    found = SiftMatcher().match(image_of(array), image_of(array)).fixed_mm
    near = np.linalg.norm(found[:, None] - centres, axis=-1)
    hit = near.min(axis=1) < 1
    assert hit.sum() > 20
    offset = (found - centres[near.argmin(axis=1)])[hit]
    np.testing.assert_allclose(np.median(offset, axis=0), 0, atol=0.05)


@pytest.mark.parametrize("moved", [(3.0, -5.0), (2.4, 1.7), (-0.5, 0.25)])
def test_a_shift_is_found_to_a_tenth_of_a_pixel(moved):
    """scipy shifts the image by dx, dy: what was at a point is then at point + (dx, dy)."""
    array = texture(seed=2)
    other = shift(array, moved[::-1], order=3, mode="nearest")
    matches = SiftMatcher().match(image_of(array), image_of(other))
    found = np.median(matches.moving_mm - matches.fixed_mm, axis=0)
    np.testing.assert_allclose(found, moved, atol=0.1)


@pytest.mark.parametrize("kind", ["sift", "sift-ratio", "rootsift"])
def test_twice_the_pixels_over_the_same_box_are_the_same_place(kind):
    """Pixels of half the size: centres at -0.25 mm and 0.25 mm of the old ones, as scipy zooms."""
    array = texture(seed=3)
    finer = zoom(array, 2, order=3, mode="nearest", grid_mode=True)
    fixed = image_of(array)
    moving = Image(finer, fixed.grid.resized(finer.shape))
    matches = SiftMatcher(kind).match(fixed, moving)
    assert len(matches) > 40
    offset = np.median(matches.moving_mm - matches.fixed_mm, axis=0)
    np.testing.assert_allclose(offset, 0, atol=0.05)


def test_the_world_of_each_image_is_its_own():
    array = texture(seed=4)
    fixed = image_of(array, spacing=(0.5, 2.0), origin=(7, -9), direction=[[0, 1], [-1, 0]])
    moving = image_of(array, origin=(100, 200))
    matches = SiftMatcher().match(fixed, moving)
    index = matches.moving_mm - [100, 200]
    # By hand: x of the world grows with the second index axis, y falls with the first.
    expected = np.stack([7 + 2.0 * index[:, 1], -9 - 0.5 * index[:, 0]], axis=1)
    right = np.linalg.norm(expected - matches.fixed_mm, axis=1) < 1e-6
    assert right.mean() > 0.98


def test_the_ratio_test_against_a_loop():
    """Descriptors by OpenCV, ratios by a loop."""
    one, other = texture(seed=5), shift(texture(seed=5), (4, 6), order=1, mode="nearest")
    matches = SiftMatcher("sift-ratio").match(image_of(one), image_of(other))
    pictures = to_8_bit(image_of(one), image_of(other), "shared")
    sift = cv2.SIFT_create(enable_precise_upscale=True)
    (points, a), (_, b) = (sift.detectAndCompute(p, None) for p in pictures)
    unit = [d / np.linalg.norm(d, axis=1, keepdims=True) for d in (a, b)]
    passed = set()
    for point, row in zip(points, unit[0], strict=True):
        near = np.sort(np.linalg.norm(unit[1] - row, axis=1))
        if near[0] < 0.8 * near[1]:
            passed.add((round(point.pt[0], 3), round(point.pt[1], 3)))
    found = {tuple(p) for p in matches.fixed_mm.round(3).tolist()}
    assert found <= passed
    assert len(found) > 0.9 * len(passed)  # the others end where a surer one does


def test_grey_values_go_through_one_window_for_both():
    low, high = np.full((10, 10), -500.0), np.full((10, 10), 1000.0)
    dark, bright = to_8_bit(image_of(low), image_of(high), "shared")
    assert (dark == 0).all()
    assert (bright == 255).all()
    clipped, _ = to_8_bit(image_of(low + 750), image_of(high), (0.0, 1000.0))
    assert (clipped == round(255 * 0.25)).all()
    ramp = np.linspace(0, 1, 1000).reshape(20, 50)
    for scale in (1e-3, 1.0, 1e4):
        own, _ = to_8_bit(image_of(scale * ramp - 7 * scale), image_of(low), "own")
        assert (own.min(), own.max()) == (0, 255)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float64])
def test_any_type_of_values_will_do(dtype):
    array = texture(seed=6)
    array = (array - array.min()) / np.ptp(array) * 250
    assert len(SiftMatcher().match(image_of(array.astype(dtype)), image_of(array))) > 60


@pytest.mark.parametrize("kind", AVAILABLE)
def test_a_black_image_has_no_pairs_and_a_warning(kind):
    black = image_of(np.zeros((64, 64), np.int16))
    with pytest.warns(AnatomarkWarning, match="fixed image"):
        matches = SiftMatcher(kind, window="own").match(black, image_of(texture((64, 64))))
    assert len(matches) == 0
    assert matches.dimension == 2


def test_what_cannot_be_matched_is_refused():
    flat, solid = image_of(texture((32, 32))), Image(np.zeros((4, 5, 6)), Grid((4, 5, 6), (1,) * 3))
    with pytest.raises(GeometryError, match="3D"):
        SiftMatcher().match(flat, solid)
    with pytest.raises(GeometryError, match="px"):
        SiftMatcher().match(flat, Image(np.zeros((9, 9)), Grid((9, 9), unit="px")))
    with pytest.raises(GeometryError, match="grey=True"):
        SiftMatcher().match(Image(np.zeros((3, 9, 9)), Grid((9, 9), (1, 1))), flat)
    with pytest.raises(UsageError, match="sift-ratio"):
        SiftMatcher("surf")  # type: ignore[arg-type]


def test_without_opencv_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name == "cv2":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r"anatomark\[sift\]"):
        SiftMatcher().match(image_of(texture()), image_of(texture()))


@pytest.mark.skipif(CONTRIBUTED, reason="OpenCV has its contributed modules here")
def test_without_the_contributed_modules_their_package_is_named():
    with pytest.raises(UsageError, match="opencv-contrib-python-headless"):
        SiftMatcher("teblid").match(image_of(texture()), image_of(texture()))


def test_nothing_is_said_where_all_is_well():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SiftMatcher().match(image_of(texture()), image_of(texture()))
