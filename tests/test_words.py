"""Words in pictures stay in them."""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.figure
import numpy as np
import pytest

from anatomark.data import Image, Landmarks
from anatomark.geometry import Grid
from anatomark.pictures import draw
from anatomark.words import plain_legend, shortened, width_of, wrapped

mpl.use("agg")

LONG = "a title that is longer than a narrow picture is wide, and_one_word_" + "without_end_" * 12


@pytest.mark.parametrize("text", ["iiii", "WWWW", "$x$"])
def test_the_width_is_that_which_is_drawn(text):
    figure = mpl.figure.Figure(dpi=720)
    drawn = figure.text(0, 0, text, fontsize=8, parse_math=False)
    box = drawn.get_window_extent()
    assert width_of(text, 8) == pytest.approx(box.width / 10, abs=0.6)


def test_wrapped_lines_keep_all_letters_and_their_own_breaks():
    text = f"one\n{LONG}"
    lines = wrapped(text, 2.0, 8).split("\n")
    assert lines[0] == "one"
    assert all(width_of(line, 8) <= 144 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace("\n", "").replace(" ", "")
    assert wrapped("short", 2.0, 8) == "short"


def test_shortened_names_stay_different():
    names = [f"processus_condylaris_{k:02d}_of_the_mandible_of_a_patient" for k in range(12)]
    short = shortened(["tip", *names, f"{'x' * 40}_7"], 30)
    assert short[0] == "tip"
    assert len(set(short)) == 14
    assert max(map(len, short)) == 30
    assert short[-1].endswith("_7")


def test_a_legend_shows_names_as_they_are():
    axes = mpl.figure.Figure().add_subplot()
    (line,) = axes.plot([0], [0])
    legend = plain_legend(axes, [line, line], ["_hidden", "$x_{$"])
    axes.figure.draw_without_rendering()
    assert [t.get_text() for t in legend.get_texts()] == ["_hidden", "$x_{$"]


@pytest.mark.parametrize("shape", [(300, 10), (8, 20, 20), (40, 40)], ids=str)
def test_long_titles_and_notes_stay_in_the_picture(shape):
    grid = Grid(shape, (1.0,) * len(shape))
    names = [f"a_landmark_with_a_name_of_many_letters_{k}" for k in range(7)]
    points = np.full((7, len(shape)), np.nan)
    points[0] = 3.0
    image = Image(np.random.default_rng(0).random(shape), grid)
    figure = draw(image, Landmarks(names, points), title=LONG)
    figure.draw_without_rendering()
    words = [figure._supxlabel, figure._suptitle or figure.axes[0].title]
    words.append(figure.axes[0].yaxis.label)
    boxes = [w.get_window_extent() for w in words]
    assert all(figure.bbox.x0 <= b.x0 < b.x1 <= figure.bbox.x1 for b in boxes)
    assert all(figure.bbox.y0 - 3 <= b.y0 < b.y1 <= figure.bbox.y1 + 3 for b in boxes)
    inside = [a.get_window_extent() for a in figure.axes if a.get_visible()]
    assert not any(b.padded(-1).overlaps(a) for b in boxes for a in inside)
