"""An image that lies on its side is read as if it stood, and its points stay where they are."""

from __future__ import annotations

import numpy as np
import pytest
from tests.inference.dots import dot_model

from anatomark import Grid, Image, Landmarks
from anatomark.cli.app import main
from anatomark.errors import AnatomarkWarning, UsageError
from anatomark.inference import Detector
from anatomark.inference.detection import Detection
from anatomark.inference.flags import ABSENT, UNLIKELY, Findings
from anatomark.inference.upright import turned, upright

NAMES = ("a", "b", "c", "d")
PLACES = [(20, 10), (50, 15), (30, 60), (12, 70)]  # x, y: no turn or mirror maps it to itself


def film():
    array = np.zeros((90, 70), np.uint8)
    for value, (x, y) in enumerate(PLACES, 1):
        array[y, x] = 50 * value
    return Image(array, Grid(array.shape, (0.5, 0.5), (3.0, 4.0)))


def look(image):
    """Knows the points by their brightness, and where on an upright film each of them belongs."""
    points, flags = [], {}
    for value, (name, place) in enumerate(zip(NAMES, PLACES, strict=True), 1):
        y, x = np.argwhere(image.array == 50 * value)[0]
        points.append(image.grid.to_world(np.array([x, y], float)))
        if image.array.shape != (90, 70) or np.hypot(x - place[0], y - place[1]) > 5:
            flags[name] = (UNLIKELY,)
    marks = Landmarks(NAMES, points)
    return Detection(marks, Findings(marks, dict.fromkeys(NAMES, 1.0), 0.95, flags))


SPOILT = {
    "mirrored left to right": lambda a: a[:, ::-1],
    "mirrored top to bottom": lambda a: a[::-1],
    "turned by 180°": lambda a: a[::-1, ::-1],
    "turned by 90° to the right": np.rot90,  # it had been turned to the left
    "turned by 90° to the left": lambda a: np.rot90(a, -1),
    "mirrored about a diagonal": np.transpose,
}


def test_a_way_in_which_nothing_is_found_is_no_better():
    blind = Landmarks(NAMES, np.zeros((4, 2)), present=[False] * 4)
    nothing = Detection(
        blind, Findings(blind, {}, 0.95, dict.fromkeys(NAMES, (ABSENT,)))
    )  # fmt: skip
    array = np.ascontiguousarray(film().array[:, ::-1])
    image = Image(array, Grid(array.shape, (0.5, 0.5), (3.0, 4.0)))
    first = look(image)
    assert upright(image, first, lambda _: nothing) is first
    # And an image in which nothing is found as it is, is turned.
    assert upright(image, nothing, look).findings.image == (
        "was mirrored left to right to be recognised",
    )


@pytest.mark.parametrize("said", SPOILT)
def test_every_way_is_found_and_undone(said):
    array = np.ascontiguousarray(SPOILT[said](film().array))
    image = Image(array, Grid(array.shape, (0.5, 0.5), (3.0, 4.0)))
    first = look(image)
    assert len(first.findings.flags) == 4
    found = upright(image, first, look)
    assert found.findings.image == (f"was {said} to be recognised",)
    assert not found.findings.flags
    np.testing.assert_allclose(found.landmarks.points_mm, first.landmarks.points_mm, atol=1e-9)


def test_where_it_can_have_no_effect_it_says_so(tmp_path, capsys):
    with pytest.raises(UsageError, match="in 2D images only, and dots is for volumes"):
        Detector(dot_model(3), device="cpu", fix_orientation=True)
    with pytest.warns(AnatomarkWarning, match="dots: learnt no shapes, so --fix-orientation"):
        Detector(dot_model(2), device="cpu", fix_orientation=True)
    words = ["detect", "none.nii.gz", "--model", "prostate-phantom-mr", "--out", str(tmp_path)]
    assert main([*words, "--fix-orientation"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_an_upright_image_and_a_senseless_one_are_left_alone():
    first = look(film())
    assert upright(film(), first, lambda _: pytest.fail("looked again")) is first
    nothing = Detection(
        first.landmarks,
        Findings(first.landmarks, {}, 0.95, dict.fromkeys(NAMES, (UNLIKELY,))),
    )
    assert upright(film(), nothing, lambda _: nothing) is nothing


def test_a_set_that_does_not_fit_together_is_no_sense_either():
    first = look(film())
    note = (f"{UNLIKELY}: the points do not fit together, and none stands out",)
    odd = Detection(first.landmarks, Findings(first.landmarks, {}, 0.95, {}, note))
    looked = []

    def again(image):
        looked.append(image)
        return odd

    assert upright(film(), odd, again) is odd
    assert len(looked) == 7


def test_a_turned_image_shows_each_pixel_where_it_was():
    image = film()
    for exchanged in (False, True):
        other = turned(image, exchanged, x=True, y=False)
        y, x = np.argwhere(other.array == 150)[0]
        np.testing.assert_allclose(
            other.grid.to_world(np.array([x, y], float)),
            image.grid.to_world(np.array(PLACES[2], float)),
        )
