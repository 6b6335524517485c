"""``anatomark bench``: what is printed, what is kept, and how it ends."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from anatomark.bench.runs import Report, Row
from anatomark.cli import main

GOOD = Row("fits", "rigid", "9 pairs", "cpu", "a loop", ours_s=1e-3, reference_s=2e-3, ratio=2.0)
BAD = Row("fits", "robust", "9 pairs", "cpu", "a loop", "failed", reason="it broke")


@pytest.fixture
def measured(monkeypatch):
    """The command with measurements that take no time; what they were asked for."""
    asked = {}

    def pretend(rows):
        def measure(tasks, **options):
            asked.update(groups=tuple(tasks), **options)
            return Report("2026-01-02", True, {"torch": "2"}, 1, ((), ()), tuple(rows))

        monkeypatch.setattr("anatomark.bench.runs.measure_all", measure)
        return asked

    return pretend


def test_a_group_is_measured_and_printed(measured, capsys):
    asked = measured([GOOD])
    assert main(["bench", "fits", "--quick", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "1.00 ms" in said
    assert "2.00 ms" in said
    assert "times faster" in said
    assert "fits: rigid" in said
    assert (asked["groups"], asked["quick"], asked["device"]) == (("fits",), True, "cpu")


def test_a_narrow_terminal_shows_what_matters(measured, monkeypatch, capsys):
    long = replace(GOOD, name="rigid, with its errors", reference="a loop over all of the pairs")
    measured([long, BAD])
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "75")
    assert main(["bench", "fits"]) == 1
    said, aside = capsys.readouterr()
    row = next(line for line in said.splitlines() if "rigid" in line)
    assert row.split() == [
        "fits:",
        "rigid,",
        "with",
        "its",
        "errors",
        *["1.00", "ms", "2.00", "ms", "2.00"],
    ]
    assert "peak" not in said
    assert "error: fits: robust: it broke" in aside
    monkeypatch.setenv("COLUMNS", "175")
    assert main(["bench", "fits"]) == 1
    assert "a loop over all of the pairs" in capsys.readouterr().out


def test_files_are_kept_and_none_is_overwritten(measured, tmp_path, capsys):
    measured([GOOD])
    for _ in range(2):
        assert main(["bench", "--out", str(tmp_path / "new" / "runs")]) == 0
    found = sorted(p.name for p in (tmp_path / "new" / "runs").iterdir())
    assert found == [
        "2026-01-02-bench-2.json", "2026-01-02-bench-2.txt",
        "2026-01-02-bench.json", "2026-01-02-bench.txt",
    ]  # fmt: skip
    text = (tmp_path / "new" / "runs" / "2026-01-02-bench.txt").read_text()
    assert "fits: rigid" in text
    assert "2026-01-02-bench-2.json" in capsys.readouterr().out


def test_one_that_failed_is_exit_1_with_its_reason(measured, capsys):
    measured([BAD, GOOD])
    assert main(["bench"]) == 1
    said = capsys.readouterr().out
    assert "it broke" in said
    assert "1.00 ms" in said


def test_json(measured, capsys):
    measured([GOOD])
    assert main(["bench", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["rows"][0]["ratio"] == 2.0
    assert record["machine"] == {"torch": "2"}


def test_bad_input_ends_before_anything_is_measured(tmp_path, capsys):
    assert main(["bench", "fits", "decoding"]) == 2
    said = capsys.readouterr().err
    assert "'decoding'" in said
    assert "decode, methods, training, reading, resampling, fits" in said
    (tmp_path / "file").write_text("")
    assert main(["bench", "--out", str(tmp_path / "file")]) == 2
    assert "no folder can be made there" in capsys.readouterr().err
    import torch

    if not torch.cuda.is_available():
        assert main(["bench", "fits", "--device", "gpu"]) == 2
        assert "no GPU" in capsys.readouterr().err


def test_the_whole_command(tmp_path, capsys):
    assert main(["bench", "reading", "--quick", "--device", "cpu", "--out", str(tmp_path)]) == 0
    (file,) = tmp_path.glob("*.json")
    rows = json.loads(file.read_text())["rows"]
    assert [row["state"] for row in rows] == ["measured"] * 3
    assert "DICOM series" in capsys.readouterr().out
