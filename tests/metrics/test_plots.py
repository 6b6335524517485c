"""Figures: the curves and ellipses are right, and odd inputs draw without a warning."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anatomark.metrics.ellipses import ellipse, ellipses
from anatomark.metrics.observers import Line
from anatomark.metrics.plots import boxes, cumulative, save_plot, tukey

LIMITS = (2.0, 2.5, 3.0, 4.0)


@pytest.fixture(autouse=True)
def _close():
    import matplotlib as mpl

    mpl.use("agg")
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def test_a_cumulative_curve_is_the_percentage_within():
    errors = np.array([[1.0, 2.0], [2.0, np.nan], [3.5, 30.0]])
    figure = cumulative({"run": errors}, unit="mm", thresholds=LIMITS)
    curve = next(c for c in figure.axes[0].lines if str(c.get_label()).startswith("run"))
    x, y = np.asarray(curve.get_data())
    for t in (0.5, 1.0, 2.0, 3.0, 3.5, 29.0, 30.0):
        last = np.flatnonzero(x <= t)[-1]  # steps-post: the value holds from its x on
        assert y[last] == pytest.approx(100 * np.mean(np.array([1, 2, 2, 3.5, 30]) <= t))
    assert figure.axes[0].get_xlabel() == "radial error (mm)"
    assert "(1 of 5 beyond" in str(curve.get_label())


def test_an_ellipse_holds_95_percent_of_a_normal_distribution():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(20_000, 2)) @ np.array([[2, 0.5], [0, 0.7]]) + [3, -1]
    outline = ellipse(points)
    from matplotlib.path import Path

    assert Path(outline).contains_points(points).mean() == pytest.approx(0.95, abs=0.005)
    np.testing.assert_allclose(outline[:-1].mean(axis=0), [3, -1], atol=0.05)
    assert ellipse(points[:2]).shape == (0, 2)


def test_tukey_by_hand():
    assert tukey(np.array([1.0, 2, 3, 4, 5])) == 4 + 3 * 2


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize(
    "options",
    [
        {"cases": 1, "landmarks": 1},
        {"cases": 3, "absent": 1.0},
        {"cases": 4, "sd": 0.0},
        {"cases": 5, "landmarks": 68},
        {"cases": 5, "absent": 0.4},
    ],
    ids=str,
)
def test_odd_evaluations_are_drawn(make_evaluation, dimension, options, tmp_path):
    table = make_evaluation(dimension=dimension, **options).table
    line = Line("inter", table.names, np.ones((1, len(table.names))))
    figures = (
        cumulative({"a": table.errors}, unit="px", thresholds=LIMITS, lines={"inter": line}),
        boxes(table, thresholds=LIMITS, lines={"inter": line}),
        ellipses(table, thresholds=LIMITS),
    )
    for figure in figures:
        figure.draw_without_rendering()
    assert len(figures[1].axes[0].get_yticklabels()) == len(table.names)
    save_plot(figures[0], tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_wild_points_do_not_flatten_the_boxes(make_evaluation):
    table = make_evaluation(30, 3).table
    offsets = table.offsets.copy()
    offsets[0, 0] = [500, 0]
    table = replace(table, offsets=offsets)
    figure = boxes(table, thresholds=LIMITS)
    assert figure.axes[0].get_xlim()[1] < 10
    assert "beyond this axis, up to 500" in figure.axes[0].get_xlabel()
    assert [t.get_text() for t in figure.axes[0].texts] == ["1 ▸"]


ODD = ["$x_{$", "_under", "a_b^c", "$\\foo$"]


def texts(axes) -> list[str]:
    return [t.get_text() for t in axes.get_legend().get_texts()]


def test_names_are_neither_formulas_nor_hidden(make_evaluation):
    table = replace(make_evaluation(5, 4).table, names=tuple(ODD))
    curves, rows, cells = (
        cumulative(dict.fromkeys(ODD, table.errors), unit="mm", thresholds=LIMITS),
        boxes(table, thresholds=LIMITS),
        ellipses(table, thresholds=LIMITS),
    )
    for figure in (curves, rows, cells):
        figure.draw_without_rendering()
    assert texts(curves.axes[0]) == ODD
    assert [t.get_text() for t in rows.axes[0].get_yticklabels()] == ODD
    assert set(ODD) <= {t.get_text() for t in cells.axes[0].texts}


def test_no_two_curves_look_alike_and_none_is_yellow():
    runs = {f"run {k}": np.arange(1.0, 9) for k in range(28)}
    axes = cumulative(runs, unit="mm", thresholds=LIMITS).axes[0]
    handles = axes.get_legend().legend_handles
    looks = {(h.get_color(), h.get_linestyle()) for h in handles}
    assert len(looks) == 28
    assert "#f0e442" not in {colour for colour, _ in looks}


def test_lines_of_observers_are_greys_with_a_dash_each():
    lines = {k: Line(k, ("a",), np.ones((3, 1))) for k in ("inter", "mean", "intra")}
    axes = cumulative({"run": np.ones(3)}, unit="mm", thresholds=LIMITS, lines=lines).axes[0]
    drawn = axes.lines[-3:]
    for line in drawn:
        red, green, blue = (int(line.get_color()[i : i + 2], 16) for i in (1, 3, 5))
        assert max(red, green, blue) - min(red, green, blue) < 25
    assert len({(str(line._dash_pattern), line.get_color()) for line in drawn}) == 3
    assert len({str(line._dash_pattern) for line in drawn}) == 3


def test_the_axis_follows_the_better_runs():
    rng = np.random.default_rng(0)
    good, wild = np.abs(rng.normal(size=300)), np.abs(rng.normal(size=300)) * 4000
    axes = cumulative({"a": good, "b": wild}, unit="mm", thresholds=LIMITS).axes[0]
    assert axes.get_xlim() == (0, 5)  # a quarter more than the largest threshold
    beyond = int((wild > 5).sum())
    assert texts(axes) == ["a", f"b ({beyond} of 300 beyond 5 mm)"]
    worse = cumulative({"a": good, "b": 4 * good}, unit="mm", thresholds=LIMITS).axes[0]
    assert 5 < worse.get_xlim()[1] < 15  # one that is merely worse is shown
