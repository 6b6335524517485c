"""The tool that changes lines, so that it is known what the tests notice, changes what it says."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

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
