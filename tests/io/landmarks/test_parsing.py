"""Bad JSON and bad numbers end in one clear LandmarkError, whatever they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from anatomark.data import Landmarks
from anatomark.errors import LandmarkError
from anatomark.io.landmarks.parsing import (
    csv_text,
    descriptions_of,
    frame_of,
    number,
    objects,
    read_object,
    vector,
    write_object,
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "nested too deeply"),
        ('{"markups": [{"type": "Fidu', "not valid JSON"),
        ("points: 1, 2, 3", "not valid JSON"),
        ('{"a": ' + "1" * 5000 + "}", "not valid JSON"),
        ("[1, 2]", "a JSON list, not an object"),
        ("null", "not an object"),
        ("", "empty"),
    ],
)
def test_json_that_cannot_be_used(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "bad.json"
    file.write_text(text)
    with pytest.raises(LandmarkError, match=said) as caught:
        read_object(file)
    assert "bad.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_too_large_to_be_landmarks_is_not_parsed(tmp_path: Path) -> None:
    file = tmp_path / "huge.json"
    with file.open("wb") as stream:
        stream.write(b"{")
        stream.truncate(65 * 2**20)  # a hole: takes no disk
    with pytest.raises(LandmarkError, match="65 MiB"):
        read_object(file)


def test_binary_and_missing_files(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(LandmarkError, match="not a text file"):
        read_object(tmp_path / "a.json")
    with pytest.raises(LandmarkError, match="no such file"):
        read_object(tmp_path / "b.json")


@pytest.mark.parametrize("value", [np.nan, np.int64(3), {1, 2}, float("inf")])
def test_what_json_cannot_say_is_not_written(tmp_path: Path, value: object) -> None:
    with pytest.raises(LandmarkError, match="cannot be written as JSON"):
        write_object(tmp_path / "a.json", {"meta": value})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "frame"),
    [("LPS", "LPS"), (" lps ", "LPS"), ("1", "LPS"), (1, "LPS"), ("RAS", "RAS"), (0, "RAS")],
)
def test_every_spelling_of_a_frame(code: object, frame: str) -> None:
    assert frame_of(code) == frame


@pytest.mark.parametrize("code", ["IJK", "2", 2, "", None, ["LPS"], True, 1.0])
def test_no_other_frame_is_guessed(code: object) -> None:
    with pytest.raises(LandmarkError, match="neither LPS nor RAS"):
        frame_of(code)


def test_a_vector_is_so_many_finite_numbers() -> None:
    assert vector([1, 2.5, -0.0], 3, "p") == [1.0, 2.5, 0.0]
    bad = [[1, 2], [1, 2, 3, 4], [1, 2, None], [1, 2, "3"], [1, 2, True], "123", None]
    bad += [[1, 2, float("nan")], [1, 2, float("inf")], [1, 2, 10**400]]
    for value in bad:
        with pytest.raises(LandmarkError, match="p must be 3 finite numbers"):
            vector(value, 3, "p")


def test_a_message_about_deep_nesting_is_short() -> None:
    deep = json.loads("[" * 500 + "]" * 500)
    with pytest.raises(LandmarkError) as caught:
        vector(deep, 3, "p")
    assert len(str(caught.value)) < 200


def test_a_list_of_objects() -> None:
    assert objects([{"a": 1}], "'rows'") == [{"a": 1}]
    for value in ([], None, {}, [1], [{}, []]):
        with pytest.raises(LandmarkError, match="'rows'"):
            objects(value, "'rows'")


def test_a_number_in_a_cell() -> None:
    assert number(" -1.5e-3 ", "x") == -0.0015
    for text in ("", "abc", "nan", "inf", "1_0", "1,5", "0x10"):
        with pytest.raises(LandmarkError, match="line 3"):
            number(text, "line 3")


def test_csv_rows_stay_lines() -> None:
    assert csv_text([["a,b", 'c"d', 1.5]]) == '"a,b","c""d",1.5\n'
    for text in ("a\nb", "a\rb"):
        with pytest.raises(LandmarkError, match="line break"):
            csv_text([[text]])


def test_descriptions_are_read_whatever_the_metadata_hold() -> None:
    def about(meta: object) -> dict[str, str]:
        return descriptions_of(Landmarks(("a",), np.zeros((1, 2)), meta={"descriptions": meta}))

    assert about({"a": "the\nfirst  one", 3: 4}) == {"a": "the first one", "3": "4"}
    assert about("text") == about(None) == {}
