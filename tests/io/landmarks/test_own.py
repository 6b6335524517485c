"""Our own JSON holds everything, bit for bit."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anatomark.data import Landmarks
from anatomark.errors import LandmarkError
from anatomark.io.landmarks.formats import read_landmarks, write_landmarks

GOOD: dict[str, Any] = {
    "format": "anatomark-landmarks",
    "version": 1,
    "frame": "LPS",
    "unit": "mm",
    "dimension": 2,
    "landmarks": [
        {"name": "left", "point": [0.1, -2], "confidence": 0.5, "covariance": [[4, 1], [1, 9]]},
        {"name": "right", "point": None, "confidence": None, "covariance": None},
    ],
    "pairs": [["left", "right"]],
    "meta": {"observer": "senior", "nested": {"a": [1, None, "x"]}},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a.json"


def test_a_file_written_by_hand(file: Path) -> None:
    file.write_text(json.dumps(GOOD))
    landmarks = read_landmarks(file)
    assert landmarks.names == ("left", "right")
    assert landmarks["left"].tolist() == [0.1, -2.0]
    assert landmarks.present.tolist() == [True, False]
    np.testing.assert_array_equal(landmarks.confidence, [0.5, np.nan])
    np.testing.assert_array_equal(landmarks.covariance_mm2[0], [[4, 1], [1, 9]])
    assert np.isnan(landmarks.covariance_mm2[1]).all()
    assert landmarks.pairs == (("left", "right"),)
    assert landmarks.meta == {"observer": "senior", "nested": {"a": [1, None, "x"]}}


def test_only_names_and_points_are_needed(file: Path) -> None:
    short = {k: GOOD[k] for k in ("format", "version", "frame", "unit", "dimension")}
    file.write_text(json.dumps(short | {"landmarks": [{"name": "a", "point": [1, 2]}]}))
    landmarks = read_landmarks(file)
    assert landmarks["a"].tolist() == [1, 2]
    assert landmarks.confidence is None
    assert landmarks.covariance_mm2 is None


def test_ras_and_pixels(file: Path) -> None:
    file.write_text(json.dumps(GOOD | {"frame": "RAS"}))
    assert read_landmarks(file)["left"].tolist() == [-0.1, 2.0]
    file.write_text(json.dumps(GOOD | {"unit": "px"}))
    assert read_landmarks(file).unit == "px"
    assert read_landmarks(file, spacing=10)["left"].tolist() == [1.0, -20.0]


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(st.data())
def test_every_bit_comes_back(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    file = tmp_path_factory.mktemp("own") / "a.json"
    names = data.draw(
        st.lists(
            st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip),
            min_size=1,
            max_size=4,
            unique=True,
        )
    )
    count, dimension = len(names), data.draw(st.sampled_from([2, 3]))

    def array(*shape: int, values: st.SearchStrategy[float]) -> Any:
        size = int(np.prod(shape))
        return np.reshape(data.draw(st.lists(values, min_size=size, max_size=size)), shape)

    variances = st.floats(0, 1e9) | st.just(np.nan)
    landmarks = Landmarks(
        tuple(names),
        array(count, dimension, values=NUMBERS),
        present=array(count, values=st.booleans()),
        covariance_mm2=[np.eye(dimension) * v for v in array(count, values=variances)]
        if data.draw(st.booleans())
        else None,
        confidence=array(count, values=st.floats(0, 1) | st.just(np.nan))
        if data.draw(st.booleans())
        else None,
        pairs=((names[0], names[1]),) if count > 1 else (),
        unit=data.draw(st.sampled_from(["mm", "px"])),
        meta={"text": data.draw(st.sampled_from(["é", "日本", '"'])), "list": [1, 2.5, None, True]},
    )
    write_landmarks(landmarks, file)
    back = read_landmarks(file)
    assert (back.names, back.pairs, back.unit, back.meta) == (
        landmarks.names,
        landmarks.pairs,
        landmarks.unit,
        landmarks.meta,
    )
    assert back.points_mm.tobytes() == landmarks.points_mm.tobytes()
    assert back.present.tobytes() == landmarks.present.tobytes()
    for mine, theirs in (
        (landmarks.confidence, back.confidence),
        (landmarks.covariance_mm2, back.covariance_mm2),
    ):
        assert (mine is None) == (theirs is None)
        if mine is not None and theirs is not None:
            assert mine.tobytes() == theirs.tobytes()


def _with(row: dict[str, Any], **more: Any) -> dict[str, Any]:
    return GOOD | {"landmarks": [GOOD["landmarks"][0] | row, GOOD["landmarks"][1]]} | more


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, 'does not say "format"'),
        (GOOD | {"format": "other"}, 'does not say "format"'),
        (GOOD | {"version": 2}, "has version 2, this anatomark reads 1; update anatomark"),
        (GOOD | {"version": "1"}, "has version '1'"),
        (GOOD | {"frame": "IJK"}, "neither LPS nor RAS"),
        ({k: v for k, v in GOOD.items() if k != "frame"}, "LPS or RAS"),
        (GOOD | {"unit": "inch"}, "'unit' is one of mm, px, not 'inch'"),
        (GOOD | {"unit": None}, "'unit' is one of"),
        (GOOD | {"dimension": 4}, "'dimension' is 2 or 3, not 4"),
        (GOOD | {"dimension": 2.0}, "'dimension' is 2 or 3"),
        (GOOD | {"landmarks": []}, "no landmarks"),
        (GOOD | {"landmarks": [1]}, "list of objects"),
        (GOOD | {"pairs": [["left"]]}, "'pairs' is a list of two names"),
        (GOOD | {"pairs": "left"}, "'pairs' is a list of two names"),
        (GOOD | {"pairs": [["left", "top"]]}, "pairs must name known landmarks"),
        (GOOD | {"meta": []}, "'meta' is an object"),
        (_with({"name": "right"}), "duplicate landmark names: right"),
        (_with({"name": 3}), "name is a text"),
        (_with({"name": " "}), "no name"),
        (GOOD | {"landmarks": [{"name": "left"}]}, "the point of 'left' is missing"),
        (_with({"point": [1, 2, 3]}), "the point of 'left' must be 2 finite numbers"),
        (_with({"point": [1, float("nan")]}), "finite numbers"),
        (_with({"point": [1, float("inf")]}), "finite numbers"),
        (_with({"confidence": "high"}), "the confidence of 'left'"),
        (_with({"covariance": [[1, 2]]}), "the covariance of 'left' must be 2×2 numbers"),
        (_with({"covariance": [[1, 2], 3]}), "the covariance of 'left'"),
        (_with({"covariance": [[1, 2], [3, "x"]]}), "the covariance of 'left'"),
    ],
)
def test_bad_files(file: Path, document: dict[str, Any], said: str) -> None:
    file.write_text(json.dumps(document))
    with pytest.raises(LandmarkError, match=re.escape(said)) as caught:
        read_landmarks(file)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


def test_metadata_that_json_cannot_say(file: Path) -> None:
    with pytest.raises(LandmarkError, match="keep only text, finite numbers"):
        write_landmarks(Landmarks(("a",), [[1, 2]], meta={"when": object()}), file)
    assert not file.exists()
