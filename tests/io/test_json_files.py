"""Records as JSON: whatever they hold, any program can read them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from anatomark.errors import WriteError
from anatomark.io.json_files import json_text, plain, write_json


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.array([[1.5, np.nan], [np.inf, 2]]), [[1.5, None], [None, 2.0]]),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (float("nan"), None),
        ((1, "a", None, False), [1, "a", None, False]),
        ({1: (2.0,), "é": Path("a") / "b"}, {"1": [2.0], "é": "a/b"}),
        ((n for n in range(2)), [0, 1]),
    ],
)
def test_a_value_becomes_what_json_has(value, said):
    assert plain(value) == said


def test_a_file_is_valid_json_with_its_letters(tmp_path):
    write_json(tmp_path / "r.json", {"größe": float("nan"), "n": np.arange(2)})
    text = (tmp_path / "r.json").read_text(encoding="utf-8")
    assert "größe" in text
    assert text.endswith("}\n")

    def refuse(name):
        raise AssertionError(name)

    assert json.loads(text, parse_constant=refuse) == {"größe": None, "n": [0, 1]}
    assert json_text([1, 2], indent=None) == "[1, 2]"


def test_a_file_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(WriteError, match="it is a folder"):
        write_json(tmp_path / "folder.json", {})
