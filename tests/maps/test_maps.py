"""Maps push points; their inverses come back; SimpleITK and scipy are the judges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import RBFInterpolator
from scipy.spatial.transform import Rotation

from anatomark.errors import GeometryError, NotConvergedError, TransformError
from anatomark.geometry import Grid
from anatomark.maps import Affine, Chain, Displacement, Inverse, Map, ThinPlate

seeds = st.integers(0, 10_000)
dimensions = st.sampled_from([2, 3])


def random_affine(seed: int, dimension: int) -> Affine:
    rng = np.random.default_rng(seed)
    return Affine(
        np.eye(dimension) + 0.3 * rng.normal(size=(dimension,) * 2), rng.normal(0, 20, dimension)
    )


def random_spline(seed: int, dimension: int, *, strength: float = 2.0) -> ThinPlate:
    rng = np.random.default_rng(seed)
    side = np.linspace(-30, 30, 3)
    source = np.stack(np.meshgrid(*[side] * dimension), -1).reshape(-1, dimension)
    return ThinPlate(source, source + rng.normal(0, strength, source.shape))


def random_field(seed: int, dimension: int) -> Displacement:
    grid = Grid([25] * dimension, [4.0] * dimension, [-48.0] * dimension)
    return Displacement.of(random_spline(seed, dimension), grid)


def all_maps(seed: int, dimension: int) -> dict[str, Map]:
    affine, spline, field = (
        f(seed, dimension) for f in (random_affine, random_spline, random_field)
    )
    return {
        "affine": affine,
        "spline": spline,
        "field": field,
        "chain": spline.then(affine),
        "inverse": spline.inverse(),
    }


def points_for(seed: int, dimension: int, n: int = 9) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-25, 25, (n, dimension))


@given(seeds, dimensions)
def test_inverse_round_trips_for_every_map(seed, dimension):
    points = points_for(seed, dimension)
    for name, one in all_maps(seed, dimension).items():
        np.testing.assert_allclose(one.inverse()(one(points)), points, atol=1e-5, err_msg=name)


@given(seeds, dimensions)
def test_jacobian_agrees_with_finite_differences(seed, dimension):
    points = points_for(seed, dimension, n=4)
    step = 1e-5
    for name, one in all_maps(seed, dimension).items():
        columns = [
            (one(points + step * e) - one(points - step * e)) / (2 * step)
            for e in np.eye(dimension)
        ]
        expected = np.stack(columns, axis=-1)
        np.testing.assert_allclose(one.jacobian(points), expected, atol=2e-3, err_msg=name)


@given(seeds, dimensions)
def test_gradients_survive_every_map(seed, dimension):
    points = torch.from_numpy(points_for(seed, dimension, n=3)).requires_grad_()
    for name, one in all_maps(seed, dimension).items():
        assert torch.autograd.gradcheck(one, (points,), atol=1e-4, rtol=1e-3), name


@given(seeds, dimensions)
def test_tensors_and_arrays_agree(seed, dimension):
    points = points_for(seed, dimension)
    for one in all_maps(seed, dimension).values():
        assert isinstance(one(points), np.ndarray)
        np.testing.assert_allclose(one(torch.from_numpy(points)).numpy(), one(points), atol=1e-9)


def test_one_homogeneous_matrix_is_enough():
    full = np.array([[0, -1, 10], [1, 0, 0], [0, 0, 1.0]])
    assert Affine(full)([[1.0, 2.0]]).tolist() == [[8.0, 1.0]]
    with pytest.raises(TransformError, match="together with an offset"):
        Affine(np.eye(2))


def test_a_hand_computed_affine():
    turn = Affine([[0, -1], [1, 0]], [10, 0])
    assert turn([[1.0, 2.0]]).tolist() == [[8.0, 1.0]]


@given(seeds, dimensions)
def test_affine_about_a_centre_keeps_it_but_for_the_shift(seed, dimension):
    centre = points_for(seed, dimension, n=1)[0]
    one = Affine.about(centre, random_affine(seed, dimension).matrix, np.arange(dimension))
    np.testing.assert_allclose(one(centre), centre + np.arange(dimension), atol=1e-9)


@given(seeds)
def test_affine_agrees_with_simpleitk(seed):
    sitk = pytest.importorskip("SimpleITK")
    one = random_affine(seed, 3)
    judge = sitk.AffineTransform(3)
    judge.SetMatrix(one.matrix.ravel().tolist())
    judge.SetTranslation(one.offset.tolist())
    points = points_for(seed, 3)
    expected = [judge.TransformPoint(p.tolist()) for p in points]
    np.testing.assert_allclose(one(points), expected, atol=1e-9)
    back = [judge.GetInverse().TransformPoint(p.tolist()) for p in points]
    np.testing.assert_allclose(one.inverse()(points), back, atol=1e-6)


@given(seeds, dimensions)
def test_thin_plate_interpolates_and_agrees_with_scipy(seed, dimension):
    spline = random_spline(seed, dimension)
    np.testing.assert_allclose(spline(spline.source_mm), spline.target_mm, atol=1e-8)
    kernel = "thin_plate_spline" if dimension == 2 else "linear"
    judge = RBFInterpolator(spline.source_mm, spline.target_mm, kernel=kernel, degree=1)
    points = points_for(seed, dimension)
    np.testing.assert_allclose(spline(points), judge(points), atol=1e-7)


def test_smoothing_trades_closeness_for_flatness():
    rng = np.random.default_rng(1)
    source = rng.uniform(-30, 30, (20, 3))
    target = source + rng.normal(0, 2, source.shape)
    misses = [
        np.linalg.norm(ThinPlate(source, target, s)(source) - target, axis=1).mean()
        for s in (0.0, 0.01, 1.0, 1e6)
    ]
    assert misses == sorted(misses)
    assert misses[0] < 1e-8
    # With endless smoothing only the least-squares affine map is left.
    design = np.hstack([np.ones((20, 1)), source])
    fit = design @ np.linalg.lstsq(design, target, rcond=None)[0]
    np.testing.assert_allclose(ThinPlate(source, target, 1e9)(source), fit, atol=1e-4)


@given(seeds, dimensions)
def test_displacement_agrees_with_simpleitk_inside_and_outside(make_grid, seed, dimension):
    sitk = pytest.importorskip("SimpleITK")
    grid = make_grid(seed, dimension)
    rng = np.random.default_rng(seed)
    field = rng.normal(0, 3, (dimension, *grid.shape))
    one = Displacement(grid, field)
    picture = sitk.GetImageFromArray(np.moveaxis(field, 0, -1), isVector=True)
    picture.SetSpacing(grid.spacing.tolist())
    picture.SetOrigin(grid.origin.tolist())
    picture.SetDirection(grid.direction.ravel().tolist())
    judge = sitk.DisplacementFieldTransform(picture)
    index = rng.uniform(-2, np.array(grid.size_xyz) + 1, (40, dimension))
    points = grid.to_world(index)
    expected = [judge.TransformPoint(p.tolist()) for p in points]
    np.testing.assert_allclose(one(points), expected, atol=1e-6)


def test_outside_a_displacement_points_stay():
    field = Displacement(Grid((4, 4), (1, 1)), np.full((2, 4, 4), 5.0))
    assert field([[100.0, 0.0], [1.0, 1.0]]).tolist() == [[100.0, 0.0], [6.0, 6.0]]


@given(seeds, dimensions)
def test_a_chain_applies_its_maps_from_first_to_last(seed, dimension):
    first, second = random_affine(seed, dimension), random_spline(seed, dimension)
    points = points_for(seed, dimension)
    np.testing.assert_allclose(first.then(second)(points), second(first(points)), atol=1e-9)
    full = Chain((random_affine(1, dimension), random_affine(2, dimension)))
    product = random_affine(2, dimension).homogeneous @ random_affine(1, dimension).homogeneous
    np.testing.assert_allclose(full(points), Affine.from_homogeneous(product)(points), atol=1e-9)


def test_a_large_smooth_warp_is_inverted_to_a_micrometre():
    for dimension in (2, 3):
        spline = random_spline(5, dimension, strength=5.0)
        points = points_for(0, dimension, n=50)
        found = Inverse(spline)(points)
        assert np.linalg.norm(spline(found) - points, axis=1).max() < 1e-6


def test_a_map_that_folds_says_how_far_it_missed():
    # x ↦ x², twice covered and never negative: -9 has no source.
    class Folds(Map):
        dimension = 2

        def _push(self, points):
            return points.square()

        def inverse(self):
            return Inverse(self)

    with pytest.raises(NotConvergedError, match="mm are left") as caught:
        Inverse(Folds(), max_steps=20)(np.array([[-9.0, 4.0]]))
    assert caught.value.residual_mm == pytest.approx(9.0, abs=0.1)


def test_the_mirror_and_only_the_mirror_mirrors():
    mirror = Affine.mirror(3, at_mm=5)
    assert mirror([[1.0, 2.0, 3.0]]).tolist() == [[9.0, 2.0, 3.0]]
    assert mirror.mirrors
    assert not mirror.then(mirror).mirrors
    assert mirror.then(random_spline(0, 3)).mirrors
    turn = Affine(Rotation.from_euler("z", 180, degrees=True).as_matrix(), [0, 0, 0])
    assert not turn.mirrors


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: Affine(np.eye(3), [0, 0]), "needs"),
        (lambda: Affine([[np.nan, 0], [0, 1]], [0, 0]), "finite"),
        (lambda: Affine([[1, 1], [1, 1]], [0, 0]).inverse(), "singular"),
        (lambda: Affine.from_homogeneous(np.ones((4, 4))), "homogeneous"),
        (lambda: ThinPlate([[0, 0], [1, 1]], [[0, 0], [1, 1]]), "needs 3 points"),
        (lambda: ThinPlate([[0, 0], [1, 1], [2, 2]], [[0, 0], [1, 1], [3, 2]]), "one line"),
        (lambda: ThinPlate(np.zeros((2, 5)), np.zeros((2, 5))), "two equal lists"),
        (lambda: ThinPlate([[0, 0], [1, 0], [0, np.nan]], np.zeros((3, 2))), "not finite"),
        (lambda: ThinPlate([[0, 0], [1, 0], [0, 1], [0, 1]], np.zeros((4, 2))), "coincide"),
        (lambda: ThinPlate(np.eye(2), np.eye(2), -1.0), "smoothing"),
        (lambda: Displacement(Grid((4, 4), (1, 1)), np.zeros((3, 4, 4))), "needs"),
        (lambda: Displacement(Grid((4, 4), (1, 1)), np.full((2, 4, 4), np.nan)), "finite"),
        (lambda: Chain(()), "at least one"),
    ],
)
def test_a_map_that_cannot_exist_is_refused(build, says):
    with pytest.raises(TransformError, match=says):
        build()


def test_a_chain_does_not_mix_dimensions():
    with pytest.raises(GeometryError, match="2D and 3D"):
        Affine.identity(2).then(Affine.identity(3))


def test_no_points_are_no_problem():
    for one in all_maps(0, 3).values():
        assert one(np.zeros((0, 3))).shape == (0, 3)


def test_points_of_another_dimension_are_refused():
    for one in all_maps(0, 3).values():
        with pytest.raises(GeometryError, match="3D points"):
            one(np.zeros((3, 2)))


def test_tensors_of_whole_numbers_lose_nothing():
    whole = torch.tensor([[1, 2, 3]])
    for one in all_maps(0, 3).values():
        np.testing.assert_allclose(one(whole).numpy(), one(whole.numpy()), atol=1e-9)


def test_inference_mode_changes_nothing():
    """Derivatives and inverses are found in it, and gradients pass after it."""
    points = points_for(0, 3)
    for name, one in all_maps(0, 3).items():
        with torch.inference_mode():
            inside = one.jacobian(points), one.inverse()(points)
            one(torch.from_numpy(points))
        np.testing.assert_allclose(inside[0], one.jacobian(points), err_msg=name)
        np.testing.assert_allclose(inside[1], one.inverse()(points), atol=1e-6, err_msg=name)
        tensor = torch.from_numpy(points).requires_grad_()
        one(tensor).sum().backward()
        assert tensor.grad.abs().sum() > 0


def test_a_point_that_is_not_a_number_stays_one():
    points = points_for(0, 3)
    points[2] = np.nan
    for name, one in all_maps(0, 3).items():
        moved = one(points)
        assert np.isnan(moved[2]).all(), name
        assert np.isfinite(np.delete(moved, 2, axis=0)).all(), name


def test_many_knots_are_pushed_in_parts(monkeypatch):
    from anatomark.maps import thin_plate

    spline = random_spline(3, 3)
    points = points_for(0, 3, n=40)
    whole = spline(points)
    monkeypatch.setattr(thin_plate, "_DISTANCES", 100)
    np.testing.assert_allclose(spline(points), whole, atol=1e-12)
