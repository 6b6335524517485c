"""Colours become grey where nothing is lost, or when it is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anatomark.errors import UsageError
from anatomark.io.images.colour import luminance, to_grey

PATH = Path("xray.png")
GREY = np.random.default_rng(0).integers(0, 255, (4, 5), np.uint8)
OPAQUE = np.full_like(GREY, 255)


@pytest.mark.parametrize(
    "channels", [[GREY] * 3, [GREY] * 3 + [OPAQUE], [GREY, OPAQUE]], ids=["rgb", "rgba", "la"]
)
def test_equal_channels_and_even_transparency_lose_nothing(channels: list[np.ndarray]) -> None:
    np.testing.assert_array_equal(to_grey(np.stack(channels), PATH, forced=False), GREY)


def test_a_difference_of_one_is_colour_unless_the_format_rounds() -> None:
    array = np.stack([GREY, GREY, GREY]).astype(np.uint8)
    array[1] = np.where(GREY < 255, GREY + 1, GREY)
    with pytest.raises(UsageError, match="differ by up to 1; pass --grey"):
        to_grey(array, PATH, forced=False)
    close = to_grey(array, PATH, forced=False, tolerance=1).astype(int)
    assert np.abs(close - GREY).max() <= 1


def test_transparency_that_varies_is_not_dropped_in_silence() -> None:
    array = np.stack([GREY, GREY, GREY, GREY])
    with pytest.raises(UsageError, match="transparency that varies; pass --grey"):
        to_grey(array, PATH, forced=False)
    np.testing.assert_array_equal(to_grey(array, PATH, forced=True), GREY)


def test_luminance_weighs_the_colours_and_keeps_the_type() -> None:
    pure = np.eye(3).reshape(3, 1, 3)
    assert luminance((pure * 1000).astype(np.uint16)).tolist() == [[299, 587, 114]]
    assert luminance((pure * 1000).astype(np.uint16)).dtype == np.uint16
    np.testing.assert_allclose(luminance(pure.astype(np.float32)), [[0.299, 0.587, 0.114]])


def test_more_channels_than_colours_have_are_refused() -> None:
    with pytest.raises(UsageError, match="7 channels"):
        to_grey(np.zeros((7, 2, 2)), PATH, forced=True)
