"""``metrics.json`` gives back the table that it was made of; what is not one is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from anatomark.errors import AnatomarkError
from anatomark.metrics.records import read_run, to_record, write_record


def test_round_trip(make_evaluation, tmp_path):
    ours = make_evaluation(5, 3, 3, absent=0.3)
    write_record(to_record(ours), tmp_path / "metrics.json")
    run = read_run(tmp_path)
    assert run.name == tmp_path.name
    for name in ("offsets", "truth", "found", "asked", "errors"):
        np.testing.assert_array_equal(getattr(run.table, name), getattr(ours.table, name))
    for name in ("cases", "names", "domains", "digests", "unit"):
        assert getattr(run.table, name) == getattr(ours.table, name)
    assert run.thresholds == ours.thresholds
    assert run.table.presence() == ours.table.presence()


def test_the_file_is_plain_json(make_evaluation, tmp_path):
    ours = make_evaluation(2, 2, absent=1.0)
    write_record(to_record(ours), tmp_path / "metrics.json")
    text = (tmp_path / "metrics.json").read_text()
    assert "NaN" not in text
    record = json.loads(text)
    assert record["version"] == 1
    assert record["pooled"]["mre"] is None
    assert record["pooled"]["presence"]["true_negative"] == 4
    assert record["cases"][0]["errors"] == [None, None]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file is empty"),
        ("[1]", "is not what anatomark evaluate writes"),
        ("{", "not a sound metrics.json"),
        ('{"format": "anatomark-metrics", "version": 9}', "has version 9"),
        ('{"format": "anatomark-metrics", "version": 1}', "not a sound metrics.json"),
    ],
)
def test_what_is_not_a_run(text, words, tmp_path):
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(AnatomarkError, match=words) as caught:
        read_run(tmp_path)
    assert "metrics.json" in str(caught.value)


def test_damaged_numbers_are_refused(make_evaluation, tmp_path):
    record = to_record(make_evaluation(2, 2))
    for change in ({"unit": "inch"}, {"names": ["one"]}, {"dimension": 3}, {"cases": [{}]}):
        (tmp_path / "metrics.json").write_text(json.dumps({**record, **change}))
        with pytest.raises(AnatomarkError, match="not a sound metrics.json"):
            read_run(tmp_path)
