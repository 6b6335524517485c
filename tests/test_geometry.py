"""``Grid``: index ↔ world ↔ normalised, and edits that leave the world alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anatomark.data import Image
from anatomark.errors import GeometryError
from anatomark.geometry import Grid

seeds = st.integers(0, 10_000)
dimensions = st.sampled_from([2, 3])


def random_points(grid: Grid, seed: int, n: int = 7) -> np.ndarray:
    """World points in and around the grid."""
    rng = np.random.default_rng(seed)
    return grid.centre + rng.normal(size=(n, grid.dimension)) * grid.extent.mean() / 2


def test_a_hand_computed_oblique_point():
    # x runs along world y, y along -x, z along z: index (1, 2, 3) is 10 + …
    grid = Grid((4, 5, 6), (2, 3, 4), (10, 20, 30), [[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    assert grid.to_world(np.array([1.0, 2.0, 3.0])).tolist() == [10 - 6, 20 + 2, 30 + 12]
    assert grid.to_index(np.array([4.0, 22.0, 42.0])).tolist() == [1, 2, 3]


@given(seeds, dimensions)
def test_to_world_and_to_index_agree_with_simpleitk(make_grid, to_sitk, seed, dimension):
    grid = make_grid(seed, dimension)
    judge = to_sitk(Image(np.zeros(grid.shape, np.uint8), grid))
    index = np.random.default_rng(seed).uniform(-3, 12, (6, dimension))
    expected = [judge.TransformContinuousIndexToPhysicalPoint(i.tolist()) for i in index]
    np.testing.assert_allclose(grid.to_world(index), expected, atol=1e-9)
    back = [judge.TransformPhysicalPointToContinuousIndex(p) for p in expected]
    np.testing.assert_allclose(grid.to_index(np.array(expected)), back, atol=1e-9)


@given(seeds, dimensions, st.booleans())
def test_conversions_are_inverse_to_each_other(make_grid, seed, dimension, sheared):
    grid = make_grid(seed, dimension, sheared=sheared)
    points = random_points(grid, seed)
    np.testing.assert_allclose(grid.to_world(grid.to_index(points)), points, atol=1e-9)
    np.testing.assert_allclose(grid.from_normalised(grid.to_normalised(points)), points, atol=1e-9)


def test_normalised_coordinates_end_at_the_outer_faces():
    grid = Grid((4, 10), (1, 1))
    faces = np.array([[-0.5, -0.5], [9.5, 3.5]])
    np.testing.assert_allclose(grid.to_normalised(faces), [[-1, -1], [1, 1]])
    first_centre = grid.to_normalised(np.array([0.0, 0.0]))
    np.testing.assert_allclose(first_centre, [-0.9, -0.75])


def test_normalised_coordinates_are_those_of_grid_sample():
    """``grid_sample(align_corners=False)`` is the judge: an index reads its own voxel."""
    grid = Grid((3, 4, 5), (1, 2, 3), (7, -8, 9))
    volume = torch.arange(60, dtype=torch.float64).reshape(1, 1, 3, 4, 5)
    index = np.array([[x, y, z] for z in range(3) for y in range(4) for x in range(5)], float)
    where = torch.from_numpy(grid.to_normalised(grid.to_world(index))).reshape(1, 1, 1, -1, 3)
    read = torch.nn.functional.grid_sample(volume, where, align_corners=False).ravel()
    np.testing.assert_allclose(read, np.arange(60), atol=1e-9)


@given(seeds, dimensions)
def test_gradients_survive_every_conversion(make_grid, seed, dimension):
    grid = make_grid(seed, dimension)
    points = torch.from_numpy(random_points(grid, seed, n=3)).requires_grad_()
    for convert in (
        grid.to_world,
        grid.to_index,
        grid.to_normalised,
        grid.from_normalised,
        grid.index_to_normalised,
        grid.normalised_to_index,
    ):
        assert torch.autograd.gradcheck(convert, (points,))


@given(seeds, dimensions)
def test_tensors_and_arrays_give_the_same_and_keep_their_type(make_grid, seed, dimension):
    grid = make_grid(seed, dimension)
    points = random_points(grid, seed)
    as_tensor = grid.to_index(torch.from_numpy(points))
    np.testing.assert_allclose(as_tensor.numpy(), grid.to_index(points), atol=1e-10)
    single = grid.to_index(torch.from_numpy(points).float())
    assert single.dtype == torch.float32


@given(seeds, dimensions)
def test_every_edit_keeps_each_voxel_where_it_is(make_grid, seed, dimension):
    """The world point of a voxel, found by its value, does not change with the edit."""
    grid = make_grid(seed, dimension)
    values = np.arange(np.prod(grid.shape)).reshape(grid.shape)
    image = Image(values, grid)
    axes = np.random.default_rng(seed).permutation(dimension).tolist()
    ones, twos = [1] * dimension, [2] * dimension
    edits = {
        "crop": image.crop(ones, [n - 2 for n in grid.size_xyz]),
        "pad": image.pad(ones, twos, value=-1),
        "permute": image.permute(axes),
        **{f"flip {a}": image.flip(a) for a in range(dimension)},
    }
    for name, edited in edits.items():
        for value in np.random.default_rng(seed).choice(edited.array.ravel(), 5):
            if value < 0:
                continue
            before = grid.to_world(np.argwhere(values == value)[0][::-1].astype(float))
            after = edited.grid.to_world(np.argwhere(edited.array == value)[0][::-1].astype(float))
            np.testing.assert_allclose(after, before, atol=1e-9, err_msg=name)


@given(seeds, dimensions)
def test_resized_covers_exactly_the_same_box(make_grid, seed, dimension):
    grid = make_grid(seed, dimension)
    other = grid.resized([2 * n + 1 for n in grid.shape])
    np.testing.assert_allclose(other.corners(), grid.corners(), atol=1e-9)


def test_doubling_moves_the_first_voxel_by_a_quarter():
    grid = Grid((8, 8), (1, 1)).resized((16, 16))
    assert grid.origin.tolist() == [-0.25, -0.25]
    assert grid.spacing.tolist() == [0.5, 0.5]


@given(seeds, dimensions)
def test_with_spacing_keeps_the_centre_and_covers_the_box(make_grid, seed, dimension):
    grid = make_grid(seed, dimension)
    other = grid.with_spacing(0.8)
    np.testing.assert_allclose(other.centre, grid.centre, atol=1e-9)
    assert other.spacing.tolist() == [0.8] * dimension
    assert other.contains(grid.corners(), margin=1e-6).all()
    assert (other.extent < grid.extent + 0.8 + 1e-9).all()


def test_contains_reaches_to_the_outer_faces_and_not_beyond():
    grid = Grid((10, 20), (2, 2), (100, 0))
    points = [[99.0, -1.0], [98.99, 0], [139.0, 19.0], [139.01, 5.0]]
    assert grid.contains(points).tolist() == [True, False, True, False]
    assert grid.contains(points, margin=0.02).all()


def test_orientation_names_the_direction_of_each_axis():
    assert Grid((2, 2, 2), (1, 1, 1)).orientation == "LPS"
    assert Grid((2, 2, 2), (1, 1, 1), direction=np.diag([-1, -1, 1])).orientation == "RAS"
    swapped = Grid((2, 2, 2), (1, 1, 1), direction=[[0, 0, 1], [1, 0, 0], [0, -1, 0]])
    assert swapped.orientation == "PIL"


def test_axis_swapped_orientation_agrees_with_simpleitk():
    sitk = pytest.importorskip("SimpleITK")
    for letters in ("LPS", "RAS", "PIR", "SAL", "AIL"):
        direction = sitk.DICOMOrientImageFilter.GetDirectionCosinesFromOrientation(letters)
        grid = Grid((2, 3, 4), (1, 1, 1), direction=np.reshape(direction, (3, 3)))
        assert grid.orientation == letters


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"spacing": (0, 1)}, "positive"),
        ({"spacing": (-1, 1)}, "positive"),
        ({"spacing": (np.nan, 1)}, "not finite"),
        ({"spacing": (1, 1), "origin": (np.inf, 0)}, "not finite"),
        ({"spacing": (1, 1, 1)}, "needs"),
        ({"spacing": (1, 1), "direction": [[1, 1], [1, 1]]}, "singular"),
        ({"spacing": (1, 1), "direction": [[2, 0], [0, 1]]}, "length 1"),
        ({"spacing": (1, 1), "shape": (0, 4)}, "empty"),
        ({"spacing": (1, 1), "shape": (3, 3, 3, 3)}, "2 or 3 axes"),
        ({"spacing": (1, 1), "unit": "cm"}, "unit"),
        ({}, "needs a spacing"),
    ],
)
def test_a_grid_that_cannot_exist_is_refused(wrong, says):
    with pytest.raises(GeometryError, match=says):
        Grid(**{"shape": (4, 4), **wrong})


def test_pixels_are_said_not_assumed():
    grid = Grid((4, 4), unit="px")
    assert grid.unit == "px"
    assert "px" in repr(grid)


def test_grids_are_equal_by_value_and_hashable():
    one, two = (Grid((4, 5), (1, 2), (3, 4)) for _ in range(2))
    assert one == two
    assert len({one, two}) == 1
    assert one != Grid((4, 5), (1, 2), (3, 4.5))
    assert one.same_as(Grid((4, 5), (1, 2), (3, 4 + 1e-6)))
    assert not one.same_as(Grid((4, 5), (1, 2), (3, 4.1)))


def test_a_grid_cannot_be_changed_behind_its_back():
    grid = Grid((4, 5), (1, 2))
    with pytest.raises(ValueError, match="read-only"):
        grid.spacing[0] = 3


def test_tensors_of_whole_numbers_and_half_precision_lose_nothing():
    grid = Grid((9, 9, 9), (0.25, 0.7, 1.5), (-100, 3, 10))
    index = torch.tensor([[1, 2, 3]])
    expected = torch.tensor([[-99.75, 4.4, 14.5]], dtype=torch.float64)
    torch.testing.assert_close(grid.to_world(index), expected)
    assert grid.index_to_normalised(index).abs().max() < 1
    wide = Grid((4, 1024), (1, 1))
    near = wide.index_to_normalised(torch.tensor([[402.4, 1.0]])).bfloat16()
    assert wide.from_normalised(near).dtype == torch.float32


def test_points_of_another_dimension_are_refused():
    grid = Grid((4, 5, 6), (1, 1, 1))
    for convert in (grid.to_world, grid.to_index, grid.to_normalised):
        with pytest.raises(GeometryError, match=r"3D points are \(\.\.\., 3\), not \(3, 2\)"):
            convert(np.zeros((3, 2)))


def test_axes_that_do_not_exist_are_refused():
    grid = Grid((4, 5), (1, 1))
    for axis in (-1, 2):
        with pytest.raises(GeometryError, match="axis is 0…1"):
            grid.flip(axis)
    with pytest.raises(GeometryError, match="permutation"):
        grid.permute([0, 0])
    with pytest.raises(GeometryError, match="whole numbers"):
        Grid((3.7, 4), (1, 1))


def test_minus_zero_is_zero():
    assert hash(Grid((4, 5), (1, 1), (0.0, -0.0))) == hash(Grid((4, 5), (1, 1)))
