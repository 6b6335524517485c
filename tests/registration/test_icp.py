"""Iterative closest points: known motions come back."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from tests.registration.test_surfaces import ellipsoid, oblique

from anatomark.errors import RegistrationError
from anatomark.maps import Affine
from anatomark.registration.icp import icp
from anatomark.registration.surfaces import surface_of

HALF = np.array([22.0, 15.0, 10.0])


def bean():
    """A surface without symmetry: two ellipsoids in one."""
    grid = oblique(3, spacing=(1.0, 1.0, 1.2))
    one = ellipsoid(grid, HALF)
    other = ellipsoid(grid, np.array([9.0, 10.0, 9.0]), offset=np.array([8.0, 11.0, 3.0]))
    return surface_of(one.with_array(one.array | other.array))


BEAN = bean()


def motion(degrees=15.0, shift=(8.0, -6.0, 11.0)):
    turn = Rotation.from_rotvec(np.radians(degrees) * np.array([0.6, 0.0, 0.8])).as_matrix()
    return Affine.about(BEAN.vertices_mm.mean(0), turn, shift)


@pytest.mark.parametrize("distance", ["point", "plane"])
def test_a_moved_surface_is_brought_back(distance):
    push = motion()
    found = icp(BEAN, BEAN.moved(push), distance=distance)
    np.testing.assert_allclose(found.map(BEAN.vertices_mm), push(BEAN.vertices_mm), atol=1e-3)
    assert found.converged
    assert found.rms_mm < 1e-3
    assert found.iterations < 100


def test_planes_need_fewer_rounds_than_points():
    target = BEAN.moved(motion())
    point, plane = (icp(BEAN, target, distance=d).iterations for d in ("point", "plane"))
    assert plane < point / 2


def test_two_scans_of_one_thing_agree_to_a_part_of_a_voxel():
    """The same body on two grids: no vertex has an equal."""
    grid = oblique(3, spacing=(0.9, 1.1, 1.4))
    first = surface_of(ellipsoid(grid, HALF))
    turn = Rotation.from_rotvec([0.0, 0.2, 0.1]).as_matrix()
    push = Affine.about(grid.centre, turn, [3.0, 2.0, 1.0])
    straight = surface_of(ellipsoid(oblique(3, mirrored=True, spacing=(1.1, 0.9, 1.2)), HALF))
    shift = grid.centre - oblique(3, mirrored=True, spacing=(1.1, 0.9, 1.2)).centre
    second = straight.moved(Affine(np.eye(3), shift)).moved(push)
    found = icp(first, second, distance="plane")
    apart = np.linalg.norm(found.map(first.vertices_mm) - push(first.vertices_mm), axis=1)
    assert apart.mean() < 0.3
    assert found.rms_mm < 1.0


def test_trimming_lets_go_of_what_has_no_counterpart():
    push = motion(5.0, (1.0, 1.0, 0.0))
    kept = push(BEAN.vertices_mm)[BEAN.vertices_mm[:, 0] > np.quantile(BEAN.vertices_mm[:, 0], 0.2)]
    whole, trimmed = (icp(BEAN, kept, start=Affine.identity(3), trim=t) for t in (0.0, 0.25))
    true = push(BEAN.vertices_mm)
    errors = [
        np.linalg.norm(f.map(BEAN.vertices_mm) - true, axis=1).mean() for f in (whole, trimmed)
    ]
    assert errors[1] < 0.05
    assert errors[0] > 0.5
    assert trimmed.share == pytest.approx(0.75, abs=0.01)


def test_turned_starts_find_what_one_start_misses():
    push = motion(180.0)
    target = BEAN.moved(push)
    one = icp(BEAN, target, distance="plane")
    assert one.rms_mm > 0.3
    args = {"distance": "plane", "turned_starts": 12, "turn_degrees": 180.0, "seed": 1}
    many, again = icp(BEAN, target, **args), icp(BEAN, target, **args)
    assert many.rms_mm < 1e-2
    np.testing.assert_array_equal(many.map.matrix, again.map.matrix)
    started = icp(BEAN, target, start=motion(170.0))
    assert started.rms_mm < 1e-2


def test_contours_in_the_plane():
    contour = surface_of(ellipsoid(oblique(2), np.array([20.0, 9.0])))
    turn = 0.3
    matrix = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    push = Affine.about(contour.vertices_mm.mean(0), matrix, [4.0, 5.0])
    found = icp(contour, contour.moved(push), distance="plane")
    np.testing.assert_allclose(found.map.matrix, matrix, atol=1e-4)


def test_too_few_rounds_are_admitted():
    found = icp(BEAN, BEAN.moved(motion()), iterations=2)
    assert not found.converged
    assert found.iterations == 2


def test_what_cannot_be_searched_is_refused():
    points = BEAN.vertices_mm
    for bad, message in (
        ({"trim": 1.0}, "share that is trimmed must be in 0…1, not 1"),
        ({"distance": "plane"}, "need the normals of the target"),
        ({"start": Affine(2 * np.eye(3), np.zeros(3))}, "start of ICP must be rigid"),
    ):
        with pytest.raises(RegistrationError, match=message):
            icp(points, points, **bad)
    with pytest.raises(RegistrationError, match="2 pairs do not fix"):
        icp(points[:2], points)
    with pytest.raises(RegistrationError, match="no list of finite points"):
        icp(np.full((4, 3), np.nan), points)
