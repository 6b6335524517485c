"""The worst points and cases come first, and are drawn where they are."""

from __future__ import annotations

import math
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

from anatomark.data import Image, Landmarks
from anatomark.geometry import Grid
from anatomark.metrics.errors import measure
from anatomark.metrics.evaluation import evaluate
from anatomark.metrics.report import write_evaluation
from anatomark.metrics.sources import Truth
from anatomark.metrics.worst import PREDICTED, draw_case, largest_errors, worst_cases

NAN = math.nan


def table():
    truth = {c: Landmarks(["x", "y"], np.zeros((2, 2))) for c in "abcd"}
    found = {
        "a": Landmarks(["x", "y"], [[3, 4], [0, 1]]),
        "b": Landmarks(["x", "y"], [[0, 4], [NAN, NAN]]),
        "c": Landmarks(["x", "y"], np.full((2, 2), NAN)),
        "d": Landmarks(["x", "y"], [[0, 0], [0, 0]]),
    }
    return measure(truth, found)


def test_the_largest_errors_come_first():
    assert largest_errors(table(), 3) == [("a", "x", 5.0), ("b", "x", 4.0), ("a", "y", 1.0)]
    assert len(largest_errors(table(), 99)) == 5  # zeros count, absent points do not


def test_the_worst_cases_are_those_with_the_largest_mean():
    assert worst_cases(table(), 9) == [2, 1, 0, 3]  # nothing of c was found; 4, 3, 0
    assert worst_cases(table(), 1) == [2]


def rings(figure):
    return [
        c.get_offsets()[0].tolist()
        for axes in figure.axes
        for c in axes.collections
        if len(c.get_edgecolors()) and plt.matplotlib.colors.to_hex(c.get_edgecolors()[0])
        == PREDICTED
    ]  # fmt: skip


@pytest.fixture(autouse=True)
def _close():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def test_a_film():
    grid = Grid((30, 40), (0.5, 0.5))
    image = Image(np.random.default_rng(0).normal(size=(30, 40)), grid)
    true = Landmarks(["tip", "base", "lost"], [[5, 6], [8, 9], [1, 1]])
    found = Landmarks(["base", "tip"], [[900, 9], [7, 6]])
    figure = draw_case(image, true, found, title="case")
    assert rings(figure) == [[7.0, 6.0]]
    axes = figure.axes[0]
    assert axes.get_xlim() == (-0.25, 19.75)  # a wild point does not shrink the image
    texts = [t.get_text() for t in axes.texts]
    assert texts == ["lost: missed", "base: 892.0 mm", "tip: 2.0 mm"]


def test_a_volume_shows_the_prediction_in_each_plane():
    grid = Grid((12, 13, 14), (1, 1, 1))
    image = Image(np.random.default_rng(0).normal(size=(12, 13, 14)), grid)
    true = Landmarks(["tip", "not_there"], [[5, 6, 7], [NAN] * 3])
    found = Landmarks(["tip", "not_there"], [[6, 8, 4], [1, 2, 3]])
    figure = draw_case(image, true, found, title="case")
    assert rings(figure) == [[1, 2], [1, 3], [2, 3], [6, 8], [6, 4], [8, 4]]
    assert figure.axes[0].get_ylabel() == "not_there: not there"
    assert figure.axes[3].get_ylabel() == f"tip: {math.sqrt(14):.1f} mm"


def test_a_case_without_any_common_point_is_drawn():
    image = Image(np.zeros((12, 13, 14)), Grid((12, 13, 14), (1, 1, 1)))
    nothing = Landmarks(["tip"], [[NAN] * 3])
    draw_case(image, nothing, nothing, title="case").draw_without_rendering()


@pytest.mark.parametrize("shape", [(30, 40), (12, 13, 14)], ids=str)
def test_odd_names_are_drawn_and_predictions_beside_the_image_are_named(shape):
    image = Image(np.random.default_rng(0).random(shape), Grid(shape, (1.0,) * len(shape)))
    true = Landmarks(["$x_{$"], [[5.0] * len(shape)])
    found = Landmarks(["$x_{$"], [[900.0] * len(shape)])
    figure = draw_case(image, true, found, title="$case_{$")
    figure.draw_without_rendering()
    assert figure.get_supxlabel().endswith("predicted outside the image: $x_{$")


def test_a_caption_says_what_was_not_found(tmp_path):
    truth = {c: Landmarks(["x", "y"], [[5.0, 5.0], [9.0, 9.0]]) for c in "ab"}
    found = {
        "a": Landmarks(["x", "y"], [[8.0, 9.0], [NAN, NAN]]),
        "b": Landmarks(["x", "y"], np.full((2, 2), NAN)),
    }
    image = Image(np.random.default_rng(0).random((20, 20)), Grid((20, 20), (1.0, 1.0)))
    evaluation = evaluate(Truth(truth, "truth"), found, said="ours", draws=10)
    report = write_evaluation(
        evaluation, tmp_path, truth=truth, prediction=found, image=lambda _: image
    )
    captions = re.findall(r"<figcaption>(.*?)\. Amber", report.read_text())
    assert captions == ["b: no point found", "a: mean error 5.00 mm, 1 not found"]
