"""The frame of the command line: exit codes, one-line errors, no tracebacks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from anatomark import __version__
from anatomark.cli import main
from anatomark.cli.app import app
from anatomark.errors import UsageError


def test_no_arguments_are_a_question_for_help(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    for name in ("show", "convert", "import", "phantom", "demo", "doctor"):
        assert f"\n  {name} " in out


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"anatomark {__version__}"


@pytest.mark.parametrize("command", [c.name for c in app.registered_commands])
def test_every_command_has_help_with_an_example(command, capsys):
    assert main([command, "--help"]) == 0
    assert f"Example: anatomark {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["shwo"],
        ["show"],
        ["show", "missing.nii.gz"],
        ["show", "missing.nii.gz", "--nonsense"],
        ["show", "missing.nii.gz", "--spacing", "a"],
        ["show", "missing.nii.gz", "--spacing", "-1"],
        ["show", "missing.nii.gz", "--spacing", "nan"],
        ["convert", "missing.csv", "out.json"],
        ["convert", "missing.tfm", "out.h5"],
        ["import", "nothing", "a", "--out", "b"],
        ["import", "slicer"],
        ["import", "slicer", "missing", "--out", "b"],
        ["phantom", "nothing", "--out", "b"],
        ["phantom", "head"],
        ["phantom", "head", "--out", "b", "--cases", "0"],
        ["phantom", "head", "--out", "b", "--shape", "3,-1"],
        ["phantom", "head", "--out", "b", "--shape", "8,8,8"],
    ],
)
def test_bad_input_is_exit_2_and_one_line(words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("error: ")
    assert "Traceback" not in captured.err
    assert list(tmp_path.iterdir()) == []


def test_a_fault_of_ours_is_exit_1_and_says_so(monkeypatch, capsys):
    monkeypatch.setattr("anatomark.doctor.examine", lambda: 1 / 0)
    assert main(["doctor"]) == 1
    assert "fault of anatomark" in capsys.readouterr().err


def test_debug_shows_the_traceback_wherever_it_stands():
    for words in (["--debug", "show", "no.png"], ["show", "no.png", "--debug"]):
        done = subprocess.run(
            [sys.executable, "-m", "anatomark", *words], capture_output=True, text=True, check=False
        )
        assert "Traceback" in done.stderr
        assert done.returncode == 1


def test_ctrl_c_is_130(monkeypatch, capsys):
    def stop():
        raise KeyboardInterrupt

    monkeypatch.setattr("anatomark.doctor.examine", stop)
    assert main(["doctor"]) == 130
    assert "stopped" in capsys.readouterr().err


def test_a_warning_is_one_line_on_stderr(monkeypatch, capsys):
    import warnings

    from anatomark.errors import LossWarning

    def warn():
        warnings.warn(LossWarning("two\nlines"), stacklevel=2)
        return []

    monkeypatch.setattr("anatomark.doctor.examine", warn)
    with warnings.catch_warnings():
        assert main(["doctor"]) == 0
    assert capsys.readouterr().err == "warning: two lines\n"


def test_a_cohort_error_lists_every_problem(monkeypatch, capsys):
    from anatomark.errors import CohortError

    def fail():
        raise CohortError(
            "3 problems: a; b; and 1 more", problems=["a", "b", "c"], path="cohort.csv"
        )

    monkeypatch.setattr("anatomark.doctor.examine", fail)
    assert main(["doctor"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "error: cohort.csv: 3 problems"  # the rest would be said twice
    assert lines[1:] == ["  1. a", "  2. b", "  3. c"]


def test_a_cohort_error_with_one_problem_says_it_once(monkeypatch, capsys):
    from anatomark.io.cohorts.files import raise_problems

    def fail():
        raise_problems(["a\nb"], Path("cohort.csv"), fix="mend it")

    monkeypatch.setattr("anatomark.doctor.examine", fail)
    assert main(["doctor"]) == 2
    assert capsys.readouterr().err == "error: cohort.csv: 1 problem: a b; mend it\n"


def test_doctor_finds_this_installation_well(capsys):
    assert main(["doctor", "--json"]) == 0
    checks = {c["name"]: c for c in json.loads(capsys.readouterr().out)}
    assert checks["coordinates"]["state"] == "ok"
    assert checks["torch"]["detail"].startswith("2.")


def test_doctor_says_when_coordinates_are_wrong(monkeypatch, capsys):
    """The self-test can fail: a reader that forgets RAS is found out."""
    from anatomark.data import Landmarks
    from anatomark.io.landmarks import formats as files

    honest = files.read_landmarks

    def wrong(path, **options):
        marks = honest(path, **options)
        return Landmarks(marks.names, marks.points_mm * [-1, -1, 1])

    monkeypatch.setattr(files, "read_landmarks", wrong)
    assert main(["doctor"]) == 2
    assert "a landmark moved" in capsys.readouterr().out


def test_json_has_no_nan(capsys):
    from anatomark.cli.console import say_json

    say_json({"a": float("nan"), "b": [1.5, float("inf")], "c": (1, "x", None, True)})
    assert json.loads(capsys.readouterr().out) == {
        "a": None,
        "b": [1.5, None],
        "c": [1, "x", None, True],
    }


def test_the_progress_bar_waits_and_needs_a_terminal(monkeypatch):
    from anatomark.cli import console

    with console.Progress("work", 3) as bar:
        bar.advance()
        assert bar._bar is None
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr(console, "_BAR_AFTER", -1)
    with console.Progress("work", 3) as bar:
        bar.advance(2, 3)
        assert bar._bar is not None


def test_words_become_values():
    from anatomark.cli.words import shape_of, spacing_of, two_each

    assert two_each(["left:right", "a:b"], option="--pair") == [("left", "right"), ("a", "b")]
    assert two_each(None, option="--pair") is None
    with pytest.raises(UsageError, match="--pair 'left' is not a pair"):
        two_each(["left"], option="--pair")

    assert spacing_of("0.1") == 0.1
    assert spacing_of("0.1,0.2,3") == (0.1, 0.2, 3.0)
    assert spacing_of(None) is None
    assert shape_of("32,64,64") == (32, 64, 64)
    with pytest.raises(UsageError, match="not a shape"):
        shape_of("32")
