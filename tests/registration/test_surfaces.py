"""Surfaces of masks against spheres and ellipsoids that are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from anatomark.data import Image
from anatomark.errors import GeometryError, RegistrationError
from anatomark.geometry import Grid
from anatomark.maps import Affine
from anatomark.registration.surfaces import Mesh, distances_to, surface_distances, surface_of


def oblique(dim, *, mirrored=False, spacing=(0.8, 1.0, 1.7)):
    direction, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(dim, dim)))
    if (np.linalg.det(direction) < 0) != mirrored:
        direction[:, 0] *= -1
    shape = (50, 80, 90)[-dim:]
    return Grid(shape, spacing[:dim], origin=[30.0, -70.0, 15.0][:dim], direction=direction)


def ellipsoid(grid, half_axes, offset=0.0):
    """Mask of an ellipsoid along the axes of the world, about the middle of the image."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.size_xyz], indexing="ij"), -1)
    away = (grid.to_world(index.astype(float)) - grid.centre - offset) / half_axes
    return Image(((away**2).sum(-1) <= 1).T, grid)


def to_sphere(grid):
    """Grey image: minus the distance from the middle, in mm."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.size_xyz], indexing="ij"), -1)
    return Image(-np.linalg.norm(grid.to_world(index * 1.0) - grid.centre, axis=-1).T, grid)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("dim", [2, 3])
def test_the_surface_of_a_sphere_is_where_the_sphere_is(dim, mirrored):
    grid = oblique(dim, mirrored=mirrored)
    mesh = surface_of(ellipsoid(grid, 20.0))
    away = mesh.vertices_mm - grid.centre
    radius = np.linalg.norm(away, axis=1)
    assert np.average(radius, weights=mesh.areas) == pytest.approx(20, abs=0.1)
    assert np.abs(radius - 20).max() < 1.0  # less than a voxel's diagonal
    middle = np.average(away, axis=0, weights=mesh.areas)
    np.testing.assert_allclose(middle, 0, atol=0.06)  # half a voxel would be 0.4 and more
    assert mesh.volume == pytest.approx(np.pi * 400 if dim == 2 else 4 / 3 * np.pi * 8000, rel=0.01)
    outwards = (mesh.normals * away / radius[:, None]).sum(1)
    assert outwards.min() > 0.5
    assert outwards.mean() > 0.93


def test_an_ellipsoid_lies_along_the_axes_of_the_world():
    grid, half = oblique(3), np.array([22.0, 15.0, 10.0])
    away = surface_of(ellipsoid(grid, half)).vertices_mm - grid.centre
    np.testing.assert_allclose(np.linalg.norm(away / half, axis=1).mean(), 1, atol=0.01)
    np.testing.assert_allclose(np.abs(away).max(0), half, atol=1.0)


def test_a_grey_image_has_its_surface_between_voxels():
    """A distance map makes the sphere exact to a hundredth of a voxel."""
    grid = oblique(3)
    mesh = surface_of(to_sphere(grid), level=-20.0)
    radius = np.linalg.norm(mesh.vertices_mm - grid.centre, axis=1)
    np.testing.assert_allclose(radius, 20, atol=0.03)
    away = (mesh.vertices_mm - grid.centre) / radius[:, None]
    assert (mesh.normals * away).sum(1).min() > 0.99


def test_one_voxel_and_one_at_the_border_are_closed():
    grid = Grid((4, 5, 6), [2.0, 2.0, 2.0])
    for where in ((2, 2, 2), (0, 0, 0), (3, 4, 5)):
        array = np.zeros(grid.shape, bool)
        array[where] = True
        mesh = surface_of(Image(array, grid))
        np.testing.assert_allclose(mesh.vertices_mm.mean(0), 2.0 * np.array(where[::-1]), atol=1e-9)
        # An octahedron with corners half a voxel from the centre: 4/3 · r³.
        assert mesh.volume == pytest.approx(4 / 3, rel=1e-6)


def test_surfaces_move_and_stay_right_side_out():
    mesh = surface_of(ellipsoid(oblique(3), 12.0))
    for push in (Affine(np.eye(3), [1.0, 2.0, 3.0]), Affine.mirror(3, at_mm=4.0)):
        moved = mesh.moved(push)
        np.testing.assert_allclose(moved.vertices_mm, push(mesh.vertices_mm))
        assert moved.volume == pytest.approx(mesh.volume)


def test_what_is_no_mask_is_refused():
    grid = oblique(3)
    with pytest.raises(RegistrationError, match="the mask is empty: no voxel is above 0.5"):
        surface_of(Image(np.zeros(grid.shape), grid))
    with pytest.raises(RegistrationError, match="without channels"):
        surface_of(Image(np.ones((2, *grid.shape)), grid))


# -- distances -------------------------------------------------------------------------------------


def square(side, z=0.0):
    """Two triangles."""
    corners = [[0, 0, z], [side, 0, z], [side, side, z], [0, side, z]]
    return Mesh(np.array(corners, float), np.array([[0, 1, 2], [0, 2, 3]]))


def test_distances_from_a_square_by_hand():
    asked = [[3, 4, 5], [9, 1, -2], [10, 14, 3], [13, -4, 0], [-2, 5, 0], [5, 5, 0]]
    found = distances_to(square(10.0), asked)
    np.testing.assert_allclose(found, [5, 2, 5, 5, 2, 0], atol=1e-12)


def test_distances_from_a_contour_by_hand():
    contour = Mesh(
        np.array([[0.0, 0.0], [10, 0], [10, 10], [0, 10]]),
        np.roll([[1, 0], [2, 1], [3, 2], [0, 3]], 0),
    )
    np.testing.assert_allclose(distances_to(contour, [[5, -3], [13, 14], [5, 4]]), [3, 5, 4])


def test_nearest_faces_are_those_of_a_search_through_all():
    mesh = surface_of(ellipsoid(oblique(3), np.array([9.0, 7.0, 8.0])))
    points = oblique(3).centre + np.random.default_rng(0).normal(size=(60, 3)) * 8
    corners = mesh.vertices_mm[mesh.faces]
    # A fine net over every triangle: no nearer point can be missed by more than its mesh.
    steps = [(i / 12, j / 12) for i in range(13) for j in range(13 - i)]
    net = np.concatenate([
        corners[:, 0] + u * (corners[:, 1] - corners[:, 0]) + v * (corners[:, 2] - corners[:, 0])
        for u, v in steps
    ])  # fmt: skip
    slow = [np.linalg.norm(net - p, axis=1).min() for p in points]
    np.testing.assert_allclose(distances_to(mesh, points), slow, atol=0.03)


def test_spheres_in_each_other():
    height = to_sphere(oblique(3))
    inner, outer = (surface_of(height, level=-radius) for radius in (15.0, 18.0))
    found = surface_distances(inner, outer)
    np.testing.assert_allclose([found.mean_mm, found.rms_mm, found.hd95_mm], 3, atol=0.05)
    assert surface_distances(inner, inner).max_mm == pytest.approx(0, abs=1e-9)


def test_each_part_counts_by_its_area_and_both_ways_are_told():
    """A vertex of many small faces has no more say than its area."""
    near, far = square(10.0), square(10.0, z=4.0)
    corner = Mesh(
        np.vstack([far.vertices_mm, [[0, 0, 0], [0.1, 0, 0], [0, 0.1, 0]]]),
        np.vstack([far.faces, [[4, 5, 6]]]),
    )
    found = surface_distances(corner, near)
    # Back, the corners of two triangles count twice: (2 · 0 + 4 + 2 · 4 + 4) / 6.
    assert found.mean_mm == pytest.approx((4 + 16 / 6) / 2, abs=0.001)
    assert found.max_mm == pytest.approx(4)
    assert found.hd95_mm == pytest.approx(4)
    np.testing.assert_allclose(found.a_to_b_mm, [4, 4, 4, 4, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(found.b_to_a_mm, [0, 4, 4, 4], atol=1e-12)


def test_surfaces_in_mm_and_px_are_not_compared():
    with pytest.raises(GeometryError, match="3D mm and 3D px"):
        surface_distances(square(1.0), Mesh(square(1.0).vertices_mm, square(1.0).faces, "px"))
