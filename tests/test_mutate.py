"""The tool that changes lines, so that it is known what the tests notice, changes what it says."""

from __future__ import annotations

import ast
import importlib.util
import os
import time
from pathlib import Path

import pytest
from coverage import CoverageData

TOOL = Path(__file__).parents[1] / "tools" / "mutate.py"
spec = importlib.util.spec_from_file_location("mutate", TOOL)
mutate = importlib.util.module_from_spec(spec)
spec.loader.exec_module(mutate)


def changed(source, line=1):
    tree = ast.parse(source)
    return {said: ast.unparse(new) for said, new in mutate.changes(tree, line)}


def test_one_thing_of_the_line_is_changed():
    assert changed("y = a < 2") == {"Lt → LtE": "y = a <= 2", "2 → 3": "y = a < 3"}
    assert changed("y = a * b - c") == {"Sub → Add": "y = a * b + c", "Mult → Div": "y = a / b - c"}
    assert changed("ok = True") == {"True → False": "ok = False"}
    assert changed("x = 1\ny = -a", 2) == {"sign dropped": "x = 1\ny = +a"}
    assert "condition negated" in changed("if a:\n    b()")


def test_words_and_types_are_left_alone():
    assert changed("x: Literal[1, 2] = y") == {}
    assert changed("raise ValueError(1)") == {}
    assert changed("def f(a: Literal[3]) -> Literal[4]: ...") == {}


SOURCE = "def larger(a, b):\n    return a if a > b else b\n"
TESTS = """
import subprocess, sys, time
from pathlib import Path

import pytest

from small import larger

@pytest.mark.parametrize("b", [2, 3], ids=["a|b", "plain"])
def test_larger(b):
    assert larger(1, b) == b

def test_type():
    assert isinstance(larger(1, 2), int)

@pytest.mark.parametrize("a", [larger(1, 2)])
def test_named_by_what_it_tests(a):
    pass

def test_wrong():
    assert larger(1, 2) == 5

def test_slow():
    if larger(1, 2) != 2:
        left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
        Path("pid.part").write_text(str(left.pid))
        Path("pid.part").rename("pid")
        time.sleep(300)
"""
MINIMUM = SOURCE.replace(">", "<")


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A package of one module, whose tests the tool runs."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "small.py").write_text(SOURCE)
    (tmp_path / "test_small.py").write_text(TESTS)
    monkeypatch.setattr(mutate, "ROOT", tmp_path)
    monkeypatch.setattr(mutate, "SOURCE", tmp_path / "src")
    monkeypatch.setattr(mutate, "WORKERS", 0)  # starts faster
    return tmp_path


def asked(*names, changed=MINIMUM, limit_s=120):
    return mutate.verdict("small.py", changed, {f"test_small.py::{n}" for n in names}, limit_s)


def test_killed_is_what_a_test_notices(small, monkeypatch):
    assert asked("test_type") == "SURVIVED"
    monkeypatch.setattr(mutate, "WORKERS", 2)  # whose exit codes are not always those of one
    assert asked("test_larger[a|b]", "test_larger[plain]", "test_type") == "killed"


def test_what_pytest_could_not_run_is_no_kill(small):
    assert asked("test_named_by_what_it_tests[2]") == "error"  # it has another name now


def test_tests_that_fail_without_the_change_say_nothing(small):
    assert asked("test_wrong") == "skipped"
    assert asked("test_that_is_not_there") == "skipped"


def test_a_test_that_never_ends_is_ended_with_all_it_started(small):
    assert asked("test_slow", limit_s=10) == "killed"
    left = int((small / "pid").read_text())
    until = time.monotonic() + 10
    while alive(left) and time.monotonic() < until:
        time.sleep(0.1)
    assert not alive(left)


def alive(pid):
    """Whether a process runs; one that ended and that nobody asked for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")


def test_ids_keep_their_strokes(small):
    data = CoverageData(basename=str(small / ".coverage"))
    for context in ("t.py::test[a|b]|run", "t.py::test[c|d]|setup", "t.py::plain|teardown"):
        data.set_context(context)
        data.add_lines({str(small / "src" / "small.py"): [2]})
    data.write()
    data.close()
    assert mutate.reached(small / ".coverage") == {
        "small.py": {2: {"t.py::test[a|b]", "t.py::test[c|d]", "t.py::plain"}}
    }
