"""Pictures show the right plane, the right way round, true to spacing."""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import EllipseCollection
from matplotlib.transforms import Bbox

from anatomark import pictures
from anatomark.data import Image, Landmarks
from anatomark.errors import GeometryError, UsageError
from anatomark.geometry import Grid
from anatomark.pages import Page
from anatomark.pictures import PLANES, cut, draw, save_picture

mpl.use("agg")

OBLIQUE = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]])


def bright_spot(direction=None) -> tuple[Image, np.ndarray]:
    """A 3 mm ball at a world point off the centre of an anisotropic volume."""
    grid = Grid((22, 40, 44), (1.0, 1.1, 2.0), (-20, -30, 100), direction)
    at = grid.centre + np.array([7.0, -6.0, 5.0])
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), -1)[..., ::-1]
    apart = np.linalg.norm(grid.to_world(index.astype(float)) - at, axis=-1)
    return Image(np.where(apart < 3, 100, 1).astype(np.int16), grid), at


@pytest.mark.parametrize("direction", [None, OBLIQUE, OBLIQUE * [1, 1, -1]])
@pytest.mark.parametrize("plane", PLANES, ids=lambda p: p.name)
def test_a_cut_shows_the_point_where_its_axes_say(plane, direction):
    image, at = bright_spot(direction)
    values, (left, right, bottom, top) = cut(image, plane, at)
    rows, columns = np.nonzero(values > 50)
    x = left + (columns.mean() + 0.5) / values.shape[1] * (right - left)
    y = top + (rows.mean() + 0.5) / values.shape[0] * (bottom - top)
    assert x == pytest.approx(at[plane.right], abs=0.6)
    assert y == pytest.approx(at[plane.down], abs=0.6)


def test_planes_lie_as_radiologists_hang_them():
    """Axial: patient left on the right, back at the bottom; coronal and sagittal: head on top."""
    image, at = bright_spot()
    axial, coronal, sagittal = (cut(image, plane, at)[1] for plane in PLANES)
    assert axial[0] < axial[1]
    assert axial[3] < axial[2]
    assert coronal[3] > coronal[2]
    assert sagittal[3] > sagittal[2]
    assert [p.letters for p in PLANES] == [tuple("RLAP"), tuple("RLSI"), tuple("APSI")]


def test_outside_the_volume_a_cut_is_empty_not_zero():
    image, at = bright_spot(OBLIQUE)
    assert np.isnan(cut(image, PLANES[0], at)[0]).any()


def test_a_volume_gets_three_planes_a_point_and_names_the_absent():
    image, at = bright_spot()
    marks = Landmarks(["spot", "gone", "other"], [at, [np.nan] * 3, at + 1])
    figure = draw(image, marks)
    shown = [a for a in figure.axes if a.get_visible()]
    assert len(shown) == 6
    assert [a.get_ylabel() for a in shown[::3]] == [
        "spot\n(8.5, -14.5, 126.0) mm",
        "other\n(9.5, -13.5, 127.0) mm",
    ]
    assert "gone" in figure.get_supxlabel()
    assert all(a.get_aspect() in {1.0, "equal"} for a in shown)


def test_a_single_slice_shows_its_face_only():
    grid = Grid((1, 90, 120), (1, 1, 3))
    figure = draw(Image(np.zeros(grid.shape), grid), Landmarks(["a"], [[20.0, 10.0, 0.0]]))
    assert [a.get_title() for a in figure.axes] == ["axial"]


def test_air_around_a_body_does_not_take_the_grey_values():
    array = np.full((100, 100), -1000.0)
    array[30:60, 30:60] = np.linspace(-100, 200, 900).reshape(30, 30)
    low, high = draw(Image(array, Grid((100, 100), (1, 1)))).axes[0].images[0].get_clim()
    assert -110 < low < -90
    assert 190 < high < 210


def test_a_flat_image_is_true_to_its_spacing_and_marks_its_points():
    grid = Grid((20, 40), (0.5, 2.0))
    marks = Landmarks(["a", "b"], grid.to_world(np.array([[3.0, 4.0], [30.0, 10.0]])))
    figure = draw(Image(np.zeros((20, 40)), grid), marks, title="film")
    (axes,) = figure.axes
    assert axes.get_xlabel() == "x (mm)"
    spots = axes.collections[0].get_offsets()
    np.testing.assert_allclose(spots, [[1.5, 8.0], [15.0, 20.0]])
    assert axes.images[0].get_extent() == [-0.25, 19.75, 39.0, -1.0]
    assert len(labels_of(axes)) == 2
    assert axes.get_title() == "film"


def test_pixels_are_called_pixels():
    figure = draw(Image(np.zeros((8, 8)), Grid((8, 8), unit="px")))
    assert figure.axes[0].get_xlabel() == "x (px)"


def labels_of(axes) -> list[Bbox]:
    """Boxes in pixels of the names beside points."""
    (words,) = (c for c in axes.collections if c.get_zorder() == 3 and c.get_linewidth() == [0])
    spots = axes.transData.transform(words.get_offsets())
    boxes = [path.get_extents(words.get_transform()) for path in words.get_paths()]
    return [Bbox(b.get_points() + spot) for b, spot in zip(boxes, spots, strict=True)]


def test_labels_are_where_they_were_placed_inside_the_picture():
    """Letters stay in the axes also at its corners, and keep clear of the point."""
    grid = Grid((200, 200), unit="px")
    corners = np.array([[2.0, 2], [197, 2], [2, 197], [197, 197], [100, 100]])
    marks = Landmarks([f"landmark_{i}" for i in range(5)], corners, unit="px")
    axes = draw(Image(np.zeros((200, 200)), grid), marks).axes[0]
    frame = axes.get_window_extent()
    for box in labels_of(axes):
        assert frame.x0 <= box.x0 < box.x1 <= frame.x1 + 1
        assert frame.y0 - 1 <= box.y0 < box.y1 <= frame.y1 + 1
        assert not any(box.contains(*axes.transData.transform(point)) for point in corners)


def test_words_around_the_axes_do_not_cover_each_other():
    grid = Grid((80, 100), (0.5, 0.5))
    marks = Landmarks(["in", "gone"], [[4.0, 4], [np.nan, np.nan]])
    figure = draw(Image(np.zeros((80, 100)), grid), marks, title="two\nlines", radius={"in": 2.0})
    figure.draw_without_rendering()
    axes = figure.axes[0]
    ticks = [t for a in (axes.xaxis, axes.yaxis) for t in a.get_ticklabels() if t.get_text()]
    words = [axes.title, axes.xaxis.label, axes.yaxis.label, figure._supxlabel]
    inside = [t for t in ticks if figure.bbox.contains(*t.get_window_extent().min)]
    boxes = [t.get_window_extent() for t in words]
    assert all(figure.bbox.contains(*b.min) and figure.bbox.contains(*b.max) for b in boxes)
    boxes += [axes.get_window_extent(), *(t.get_window_extent() for t in inside)]
    pairs = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i]]
    assert not [(a, b) for a, b in pairs if a.padded(-1).overlaps(b)]


def test_large_images_are_averaged_not_thinned_out():
    """Every second pixel is white: thinned out, the picture would be black or white."""
    stripes = np.zeros((2400, 2000), np.uint8)
    stripes[::2] = 200
    (shown,) = draw(Image(stripes, Grid(stripes.shape, (0.1, 0.1)))).axes[0].images
    assert shown.get_array().shape == (1200, 1000)
    np.testing.assert_array_equal(shown.get_array(), 100)
    assert shown.get_extent() == pytest.approx([-0.05, 199.95, 239.95, -0.05])


def test_labels_of_crowded_points_do_not_cover_each_other():
    grid = Grid((200, 200), unit="px")
    rng = np.random.default_rng(0)
    points = 90 + 20 * rng.uniform(size=(12, 2))
    marks = Landmarks([f"landmark {i}" for i in range(12)], points, unit="px")
    figure = draw(Image(np.zeros((200, 200)), grid), marks)
    boxes = labels_of(figure.axes[0])
    assert len(boxes) == 12
    overlapping = sum(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert overlapping <= 1


def test_what_does_not_fit_together_is_refused():
    image, _ = bright_spot()
    with pytest.raises(GeometryError, match="3D, the landmarks are 2D"):
        draw(image, Landmarks(["a"], [[1.0, 2.0]]))
    flat = Image(np.zeros((8, 8)), Grid((8, 8), unit="px"))
    with pytest.raises(GeometryError, match="give the image its spacing"):
        draw(flat, Landmarks(["a"], [[1.0, 2.0]]))


def test_a_picture_is_written_whole_and_only_as_a_picture(tmp_path):
    flat = Image(np.eye(8), Grid((8, 8), unit="px"))
    save_picture(draw(flat), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UsageError, match=r"not a picture file; use one of \.png"):
        save_picture(draw(flat), tmp_path / "a.docx")
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_colours_are_shown_in_colour_and_other_channels_as_their_mean():
    rgb = np.zeros((3, 8, 8), np.uint8)
    rgb[0, :, 2:] = 200
    shown = draw(Image(rgb, Grid((8, 8), unit="px"))).axes[0].images[0].get_array()
    assert shown.shape == (8, 8, 3)
    assert shown[0, 7].tolist() == [1, 0, 0], shown[0]
    two = Image(np.stack([np.eye(8), np.ones((8, 8))]), Grid((8, 8), unit="px"))
    assert draw(two).axes[0].images[0].get_array().ndim == 2


def test_a_page_holds_everything_and_escapes_text(tmp_path):
    page = Page("A <title>", lead="lead & more")
    page.heading("Part")
    page.text("x < y")
    page.table(["name", "mm"], [["a", "1.5"], ["<b>", "2"]])
    page.picture(draw(Image(np.eye(8), Grid((8, 8), unit="px"))), "a caption")
    page.write(tmp_path / "index.html")
    html = (tmp_path / "index.html").read_text()
    assert "A &lt;title&gt;" in html
    assert "x &lt; y" in html
    assert '<td class="number">1.5</td>' in html
    assert "&lt;b&gt;" in html
    assert 'src="data:image/png;base64,' in html
    assert "http" not in html


def test_a_point_beside_the_image_is_named():
    flat = Image(np.random.default_rng(0).normal(size=(30, 30)), Grid((30, 30), [1, 1]))
    marks = Landmarks(["in", "out"], [[10.0, 10], [500, 10]])
    figure = draw(flat, marks)
    assert figure._supxlabel.get_text() == "outside the image: out"
    plt.close(figure)
    deep = Image(np.random.default_rng(0).normal(size=(9, 9, 9)), Grid((9, 9, 9), [1, 1, 1]))
    figure = draw(deep, Landmarks(["out"], [[4.0, 4, 500]]))
    assert "outside the image" in figure.axes[0].get_ylabel()
    plt.close(figure)


def test_a_volume_in_pixels_is_drawn_in_pixels():
    deep = Image(np.random.default_rng(0).normal(size=(9, 9, 9)), Grid((9, 9, 9), unit="px"))
    figure = draw(deep, Landmarks(["a"], [[4.0, 4, 4]], unit="px"))
    assert figure.axes[0].get_ylabel().endswith("px")
    texts = [t.get_text() for axes in figure.axes for t in axes.texts]
    assert any(t.endswith(" px") for t in texts)
    assert not any(t.endswith(" mm") for t in texts)
    plt.close(figure)


@pytest.mark.parametrize("name", ["$x_{$", "$\\foo$", "a_b^c"])
def test_names_are_not_formulas(name, tmp_path):
    flat = Image(np.random.default_rng(0).normal(size=(30, 30)), Grid((30, 30), [1, 1]))
    deep = Image(np.random.default_rng(0).normal(size=(9, 9, 9)), Grid((9, 9, 9), [1, 1, 1]))
    save_picture(draw(flat, Landmarks([name], [[10.0, 10]]), title=name), tmp_path / "a.png")
    save_picture(draw(deep, Landmarks([name], [[4.0, 4, 4]]), title=name), tmp_path / "b.png")


def test_doubtful_points_look_it_without_colour_too(monkeypatch):
    written = []
    monkeypatch.setattr(pictures, "place_labels", lambda axes, spots, names: written.extend(names))
    grid = Grid((30, 40), (0.5, 0.5))
    image = Image(np.random.default_rng(0).random(grid.shape), grid)
    marks = Landmarks(["sure", "doubtful"], [[8.0, 8.0], [12.0, 12.0]])
    figure = draw(image, marks, doubtful=["doubtful"])
    (axes,) = figure.axes
    assert written == ["sure", "doubtful?"]
    assert "?: doubtful, 1 of 2" in figure._supxlabel.get_text()
    dots = [c for c in axes.collections if len(c.get_offsets()) == 1]
    assert any((c.get_offsets() == [[12.0, 12.0]]).all() for c in dots)
    plt.close("all")


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_radius_is_a_ring_in_the_unit_of_the_image(dimension):
    grid = Grid((30, 40, 50)[-dimension:], (0.5,) * dimension)
    image = Image(np.random.default_rng(0).random(grid.shape), grid)
    points = Landmarks(["a", "b"], [[8.0] * dimension, [12.0] * dimension])
    figure = draw(image, points, radius={"a": 3.0, "b": np.nan})
    rings = [c for a in figure.axes for c in a.collections if isinstance(c, EllipseCollection)]
    # Light on dark; in three planes of the volume. A radius that is not known has no ring.
    assert len(rings) == 2 * (1 if dimension == 2 else 3)
    for ring in rings:
        np.testing.assert_array_equal(ring.get_offsets(), [[8.0, 8.0]])
        assert (ring.get_widths(), ring.get_heights()) == ([6.0], [6.0])
    assert "ring" in figure._supxlabel.get_text()
    assert draw(image, points)._supxlabel is None
    plt.close("all")


@pytest.mark.parametrize("wide", range(40, 56, 3))
def test_the_letter_of_laterality_is_no_other_letter(wide):
    """At the resolution of the file an L has its foot, on black as on white, wherever it falls."""
    grid = Grid((20, 40, wide), (2.0, 2.0, 2.0))
    for value in (0, 100):
        array = np.full(grid.shape, value, np.int16)
        array[0, 0, :2] = 0, 100  # for a window
        figure = draw(Image(array, grid), None)
        figure.set_dpi(pictures.DOTS)
        axes = figure.axes[0]
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        [letter] = [text for text in axes.texts if text.get_text() == "L"]
        box = letter.get_window_extent()
        seen = np.asarray(canvas.buffer_rgba())[..., 0]
        high = seen.shape[0]
        part = seen[round(high - box.y1) : round(high - box.y0), round(box.x0) : round(box.x1)]
        bright = part > 200
        rows = bright.sum(axis=1)[bright.any(axis=1)]
        assert len(rows) >= 9
        if value == 0:
            assert rows[-1] >= 2 * np.median(rows[: len(rows) // 2])
        else:  # its outline tells it from a white image
            assert (part < 60).sum() > 15


def test_words_on_an_image_are_told_from_what_is_drawn_in_amber():
    figure = draw(bright_spot()[0], None)
    for axes in figure.axes[:3]:
        assert len(axes.texts) == 5
        for text in axes.texts:
            assert text.get_color() == "#ffffff"
            assert text.get_path_effects()


@pytest.mark.parametrize(
    ("direction", "left", "place"),
    [(np.eye(2), -100.25, [-90.0, 47.0]), ([[0.0, 1.0], [-1.0, 0.0]], -0.25, None)],
    ids=["straight", "turned"],
)
def test_a_flat_picture_has_the_numbers_of_its_world(direction, left, place):
    """A point can be looked up from a table in a picture, and back."""
    grid = Grid((40, 60), (0.5, 1.0), (-100.0, 30.0), direction)
    values = np.random.default_rng(0).normal(size=grid.shape).astype(np.float32)
    point = grid.to_world([[20.0, 17.0]])
    figure = draw(Image(values, grid), Landmarks(("tip",), point))
    axes = figure.axes[0]
    assert axes.get_xlim()[0] == pytest.approx(left)
    marked = [c.get_offsets() for c in axes.collections if len(c.get_offsets()) == 1]
    assert len(marked) >= 2
    expected = [20 * 0.5, 17 * 1.0] if place is None else place
    for spots in marked:
        np.testing.assert_allclose(spots[0], expected)
