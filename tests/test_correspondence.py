"""Pairs of points of two images."""

from __future__ import annotations

import numpy as np
import pytest

from anatomark.correspondence import Matches
from anatomark.errors import LandmarkError

FIXED = [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
MOVING = [[10.0, 11.0], [12.0, 13.0], [14.0, 15.0]]


def test_rows_stay_together() -> None:
    matches = Matches(FIXED, MOVING, confidence=[0.1, 0.2, 0.3], unit="px")
    some = matches.select(np.array([True, False, True]))
    assert some.fixed_mm.tolist() == [FIXED[0], FIXED[2]]
    assert some.moving_mm.tolist() == [MOVING[0], MOVING[2]]
    assert some.confidence.tolist() == [0.1, 0.3]
    assert some.unit == "px"
    assert len(some) == 2


def test_swapped_exchanges_the_images() -> None:
    swapped = Matches(FIXED, MOVING).swapped()
    assert swapped.fixed_mm.tolist() == MOVING
    assert swapped.moving_mm.tolist() == FIXED


def test_landmarks_of_a_pair_share_a_name() -> None:
    fixed, moving = Matches(FIXED, MOVING, unit="px").landmarks()
    assert fixed.names == moving.names == ("m001", "m002", "m003")
    assert fixed["m002"].tolist() == FIXED[1]
    assert moving["m002"].tolist() == MOVING[1]
    assert fixed.unit == moving.unit == "px"


def test_no_pairs_are_fine() -> None:
    none = Matches(np.zeros((0, 3)), np.zeros((0, 3)))
    assert len(none) == 0
    assert none.dimension == 3
    assert len(none.landmarks()[0]) == 0


@pytest.mark.parametrize(
    ("fixed", "moving", "more", "says"),
    [
        (FIXED, MOVING[:2], {}, "no pairs"),
        ([[1.0]], [[1.0]], {}, "no pairs"),
        (FIXED, MOVING, {"confidence": [1.0]}, "confidence has shape"),
        (FIXED, MOVING, {"confidence": [0.0, 0.5, 1.5]}, "0…1"),
        (FIXED, [[np.nan, 0.0], *MOVING[1:]], {}, "not a number"),
        (FIXED, MOVING, {"unit": "cm"}, "unit"),
    ],
)
def test_what_is_no_pair_is_refused(fixed, moving, more, says) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(LandmarkError, match=says):
        Matches(fixed, moving, **more)
