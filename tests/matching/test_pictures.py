"""Pictures of matches: equal colours are a pair, spots lie where the points are, all is counted."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest

from anatomark.correspondence import Matches
from anatomark.data import Image
from anatomark.errors import GeometryError
from anatomark.geometry import Grid
from anatomark.matching.pictures import draw_errors, draw_matches, place_colours
from anatomark.pictures import save_picture

mpl.use("agg")


def dots(axes) -> tuple[np.ndarray, np.ndarray]:
    return axes.collections[0].get_offsets(), axes.collections[0].get_facecolors()[:, :3]


def test_a_pair_has_one_colour_and_lies_where_its_points_are():
    rng = np.random.default_rng(0)
    fixed = Image(rng.normal(size=(30, 50)), Grid((30, 50), (2.0, 1.0), (100, 200)))
    moving = Image(rng.normal(size=(40, 20)), Grid((40, 20), (1.0, 3.0), (-7, 8)))
    matches = Matches([[100, 200], [140, 220]], [[-7, 8], [3, 68]])
    figure = draw_matches(fixed, moving, matches, title="a")
    (spots, shades), (others, again) = map(dots, figure.axes)
    np.testing.assert_allclose(spots, matches.fixed_mm)  # the axes are those of the world
    np.testing.assert_allclose(others, matches.moving_mm)
    np.testing.assert_array_equal(shades, again)
    assert np.abs(shades[0] - shades[1]).max() > 0.3
    assert figure.get_suptitle() == "a: 2 matches, a pair has one colour"
    assert [a.get_title() for a in figure.axes] == ["fixed", "moving"]
    assert figure.axes[0].get_xlabel() == "x (mm)"
    assert all(a.get_aspect() in {1.0, "equal"} for a in figure.axes)


def test_colours_tell_places_apart_by_two_directions():
    """Right is yellower for those who see no red and green; down is darker for all."""
    places = np.array([(x, y) for y in range(5) for x in range(5)], float)
    shades = place_colours(places).reshape(5, 5, 3)
    luminance = shades @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance, axis=0) < -0.03).all()
    yellow = shades[..., :2].mean(-1) - shades[..., 2]
    assert (np.diff(yellow, axis=1) > 0.02).all()
    assert (shades >= 0).all()
    assert (shades <= 1).all()


def test_a_volume_shows_the_points_near_its_middle_planes():
    grid = Grid((20, 30, 40), (1.0, 1.0, 2.0))
    volume = Image(np.random.default_rng(0).normal(size=grid.shape), grid)
    centre = grid.centre
    points = centre + np.array([[0, 0, 0], [0, 0, 15], [15, 0, 0]])
    figure = draw_matches(volume, volume, Matches(points, points))
    shown = [len(dots(axes)[0]) for axes in figure.axes]
    assert shown == [2, 2, 3, 3, 2, 2]  # axial, coronal, sagittal; fixed and moving
    assert figure.axes[0].get_title() == "fixed, axial: 2 near this plane"


@pytest.mark.parametrize("count", [0, 1])
def test_few_matches_can_be_drawn_and_saved(count, tmp_path):
    flat = Image(np.zeros((9, 12)), Grid((9, 12), unit="px"))
    points = np.ones((count, 2))
    figure = draw_matches(flat, flat, Matches(points, points, unit="px"))
    save_picture(figure, tmp_path / "pairs.png")
    assert (tmp_path / "pairs.png").stat().st_size > 1000


def test_what_does_not_go_together_is_refused():
    flat = Image(np.zeros((9, 12)), Grid((9, 12), unit="px"))
    with pytest.raises(GeometryError, match="go together"):
        draw_matches(flat, flat, Matches([[1, 1]], [[1, 1]]))


def test_curves_are_counts_of_errors():
    errors = {"affine": {"one": [np.array([0.0, 1.5]), np.array([3.0, 300.0])], "two": np.ones(4)}}
    figure = draw_errors({**errors, "elastic": {"one": np.zeros(0)}})
    axes = figure.axes[0]
    x, y = axes.lines[-2].get_data()
    for at, expected in ((0.5, 25), (2, 50), (4, 75), (100, 75)):
        assert np.interp(at, x, y) == pytest.approx(expected)
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["one (25.0 % beyond)", "two"]
    assert axes.get_xlabel() == "error (mm)"
    assert [a.get_title() for a in figure.axes] == ["affine", "elastic"]
    assert axes.get_xlim()[1] >= 64


def test_matchers_are_named_as_they_are_and_above_the_curves():
    runs = {name: np.ones(4) for name in ("_one", "$x_{$")}
    figure = draw_errors({"affine": runs, "elastic": runs})
    figure.draw_without_rendering()
    for axes in figure.axes:
        legend = axes.get_legend()
        assert [text.get_text() for text in legend.get_texts()] == ["_one", "$x_{$"]
        box = legend.get_window_extent()
        assert box.y0 >= axes.title.get_window_extent().y1
        assert box.y1 <= figure.bbox.y1
