"""Elastix with corresponding points: the points count, in the right direction and place."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from scipy import ndimage

from anatomark.data import Image
from anatomark.errors import RegistrationError
from anatomark.geometry import Grid
from anatomark.maps import Affine
from anatomark.registration import elastix
from anatomark.registration.elastix import ElastixSettings, refine_with_points
from anatomark.registration.landmarks import Pairs

# ITK's own parts warn while they are loaded.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SMALL = ElastixSettings(levels=2, iterations=60, samples=800, points=0.2, threads=1)
GRID = Grid((40, 48), [1.5, 1.2], origin=[100.0, -40.0], direction=[[0.8, -0.6], [0.6, 0.8]])
ALONG = GRID.direction[:, 0]  # the world direction in which the stripes below are uniform


def stripes():
    """Values that change along y only: a shift along x cannot be seen."""
    profile = ndimage.gaussian_filter1d(np.random.default_rng(0).normal(size=40), 2)
    return Image(np.tile(profile[:, None], (1, 48)).astype(np.float32), GRID)


def pairs(shift_mm):
    index = np.stack(np.meshgrid([10.0, 24, 38], [10.0, 20, 30]), -1).reshape(-1, 2)
    points = GRID.to_world(index)
    return Pairs(tuple(map(str, range(9))), points, points + shift_mm * ALONG)


def itk_or_skip():
    try:
        elastix._itk()
    except RegistrationError:
        pytest.skip("itk-elastix is not installed")


def test_points_move_the_result_where_intensity_sees_nothing():
    itk_or_skip()
    image, given = stripes(), pairs(4.0)
    result = refine_with_points(image, image, given, settings=SMALL)
    # The map pushes moving points, which lie 4 mm further along, back onto the fixed ones.
    along = (result.map(given.moving_mm) - given.moving_mm) @ ALONG
    assert along.mean() == pytest.approx(-4, abs=1)
    assert result.landmarks_after_mm.mean() < 0.3 * result.landmarks_before_mm.mean()
    other = refine_with_points(image, image, given.swapped(), settings=SMALL)
    back = (other.map(given.fixed_mm) - given.fixed_mm) @ ALONG
    assert back.mean() == pytest.approx(4, abs=1)


def test_the_spline_that_is_read_is_the_one_that_transformix_applies(monkeypatch, tmp_path):
    itk_or_skip()
    import itk

    monkeypatch.chdir(tmp_path)  # transformix leaves files where it is called
    kept, read = [], elastix._spline

    def listen(result):
        kept.append({name: list(result[name]) for name in result})
        return read(result)

    monkeypatch.setattr(elastix, "_spline", listen)
    start = Affine(np.eye(2), -2.0 * ALONG)
    result = refine_with_points(stripes(), stripes(), pairs(5.0), start=start, settings=SMALL)
    parameters = itk.ParameterObject.New()
    parameters.AddParameterMap(kept[0])
    field = itk.transformix_deformation_field(
        elastix._itk_image(itk, stripes(), np.float32), parameters
    )
    moved = np.asarray(itk.array_from_image(field))  # (y, x, component)
    for x, y in ((5, 6), (20, 30), (40, 12)):
        point = GRID.to_world([[float(x), float(y)]])
        theirs = start.inverse()(point + moved[y, x])
        np.testing.assert_allclose(result.pull(point), theirs, atol=1e-3)


def test_what_is_missing_is_said(monkeypatch):
    image = stripes()
    none = Pairs((), np.zeros((0, 2)), np.zeros((0, 2)))
    monkeypatch.setitem(sys.modules, "itk", None)
    with pytest.raises(RegistrationError, match=r"itk-elastix, which is missing; pip install"):
        refine_with_points(image, image, pairs(1.0))
    monkeypatch.setattr(elastix, "_itk", lambda: None)
    with pytest.raises(RegistrationError, match="there are no pairs of points"):
        refine_with_points(image, image, none)
    with pytest.raises(RegistrationError, match="the pairs are 3D in mm, the images 2D in mm"):
        refine_with_points(image, image, Pairs(("a",), np.zeros((1, 3)), np.zeros((1, 3))))
    with pytest.raises(RegistrationError, match="the images do not overlap"):
        refine_with_points(image, image, pairs(1.0), start=Affine(np.eye(2), [900.0, 0.0]))


def test_a_result_that_is_worse_by_both_is_left_out(monkeypatch):
    image, given = stripes(), pairs(0.0)
    from anatomark.maps import BSpline

    controls = Grid((8, 8), [15.0, 15.0], origin=GRID.centre - 60.0)
    wrong = BSpline(controls, np.full((2, 8, 8), 3.0))
    monkeypatch.setattr(elastix, "_itk", lambda: None)
    monkeypatch.setattr(elastix, "_run", lambda *_: wrong)
    result = refine_with_points(image, image, given, settings=SMALL)
    assert "the elastix stage was left out: it ended worse" in result.warnings[0]
    np.testing.assert_array_equal(result.map(given.moving_mm), given.moving_mm)
    assert result.metric_after == result.metric_before
