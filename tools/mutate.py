"""Change one line of the package at a time, and see whether the tests that reach it notice.

    make coverage                              # which test reaches which line
    python tools/mutate.py --count 10 --seed 0

A change is one operator, comparison, constant or condition. Only the tests that reach the changed
line are run, against a copy of the package: first as it is, where they must pass, then changed. A
change that none of them notices *survives*; where pytest could not run them, it is an *error*.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
WORKERS = 2  # processes of the tests
PASSED, FAILED = 0, 1  # what pytest exits with; anything else says nothing of the tests
_OTHER = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.And: ast.Or,
    ast.Or: ast.And, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult,
    ast.MatMult: ast.Add,
}  # fmt: skip


def changes(tree: ast.Module, line: int) -> Iterator[tuple[str, ast.Module]]:
    """Every change of a line of a module: what it is, and the changed module."""
    quiet = set(_said(tree))
    for number, there in enumerate(ast.walk(tree)):
        if number in quiet or getattr(there, "lineno", 0) != line:
            continue
        changed = copy.deepcopy(tree)
        said = _change(list(ast.walk(changed))[number])
        if said:
            yield said, ast.fix_missing_locations(changed)


def _said(tree: ast.Module) -> Iterator[int]:
    """Numbers of the nodes that are types, or words for people: they compute nothing."""
    nodes = list(ast.walk(tree))
    numbers = {id(node): number for number, node in enumerate(nodes)}
    for node in nodes:
        parts: list[ast.AST | None] = []
        if isinstance(node, ast.AnnAssign | ast.arg):
            parts.append(node.annotation)
        if isinstance(node, ast.FunctionDef):
            parts.append(node.returns)
        if isinstance(node, ast.JoinedStr | ast.Raise):
            parts.append(node)
        for part in filter(None, parts):
            yield from (numbers[id(inner)] for inner in ast.walk(part))


def _change(node: ast.AST) -> str:
    """Change the node; in words, or nothing where there is nothing to change."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _OTHER:
        before, node.ops[0] = node.ops[0], _OTHER[type(node.ops[0])]()
        return f"{type(before).__name__} → {type(node.ops[0]).__name__}"
    if isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in _OTHER:
        before, node.op = node.op, _OTHER[type(node.op)]()
        return f"{type(before).__name__} → {type(node.op).__name__}"
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        was = node.value
        node.value = (not was) if isinstance(was, bool) else was + 1
        return f"{was} → {node.value}"
    if isinstance(node, ast.If | ast.IfExp):
        node.test = ast.UnaryOp(ast.Not(), node.test)
        return "condition negated"
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node.op = ast.UAdd()
        return "sign dropped"
    return ""


def reached(data: Path) -> dict[str, dict[int, set[str]]]:
    """Tests that reach each line of each module (a path below ``src``), as coverage knows it."""
    from coverage import CoverageData

    known = CoverageData(basename=str(data))
    known.read()
    found: dict[str, dict[int, set[str]]] = {}
    for file in known.measured_files():
        lines = known.contexts_by_lineno(file)
        tests = {line: {_test(one) for one in names if one} for line, names in lines.items()}
        every = set().union(*tests.values()) if tests else set()
        # A line that runs as the module is imported belongs to all tests of the module.
        found[str(Path(file).relative_to(SOURCE))] = {n: t or every for n, t in tests.items()}
    return found


def _test(context: str) -> str:
    """The test of a context of coverage, ``TEST|run``; an id of a parameter may have a | too."""
    test, _, part = context.rpartition("|")
    return test if part in {"setup", "run", "teardown"} else context


def verdict(module: str, changed: str, tests: set[str], limit_s: int) -> str:
    """What the tests say of a changed module; ``skipped`` where they fail without the change."""
    if _exit_code(None, "", tests, limit_s) != PASSED:
        return "skipped"
    code = _exit_code(module, changed, tests, limit_s)
    if code is None or code == FAILED:  # one that never ends is noticed
        return "killed"
    return "SURVIVED" if code == PASSED else "error"


def _exit_code(module: str | None, changed: str, tests: set[str], limit_s: int) -> int | None:
    """Run tests on the package, with a changed module if there is one; None: they did not end."""
    with tempfile.TemporaryDirectory() as place:
        copied = Path(place) / "src"
        shutil.copytree(SOURCE, copied, ignore=shutil.ignore_patterns("__pycache__"))
        if module is not None:
            (copied / module).write_text(changed, encoding="utf-8")
        listed = Path(place) / "tests.txt"
        listed.write_text("\n".join(sorted(tests)), encoding="utf-8")
        # Not -x: with several processes, pytest then exits with 2, as it does for its own faults.
        running = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "pytest", "-n", str(WORKERS), "-p", "no:cacheprovider",
             f"@{listed}"],
            cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(copied), "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )  # fmt: skip
        try:
            return running.wait(limit_s)
        except BaseException as error:
            # Its workers too, and what the tests started: they would go on without it.
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                return None
            raise


def main(count: int, seed: int, data: Path, limit_s: int) -> None:
    tests = reached(data)
    rng = random.Random(seed)  # noqa: S311
    lines = [(module, line) for module in sorted(tests) for line in sorted(tests[module])]
    rng.shuffle(lines)
    tally: Counter[str] = Counter()
    for module, line in lines:
        if tally.total() - tally["skipped"] == count:
            break
        tree = ast.parse((SOURCE / module).read_text(encoding="utf-8"))
        here = list(changes(tree, line))
        if not here or not tests[module][line]:
            continue
        said, changed = rng.choice(here)
        own = tests[module][line]
        found = verdict(module, ast.unparse(changed), own, limit_s)
        tally[found] += 1
        print(f"{found:9s} {module}:{line}  {said}  ({len(own)} tests)", flush=True)
    print(f"{tally['killed']} of {tally['killed'] + tally['SURVIVED']} killed", end="")
    print(f", {tally['error']} errors, {tally['skipped']} skipped")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=ROOT / ".coverage")
    parser.add_argument("--limit-s", type=int, default=900)
    given = parser.parse_args()
    main(given.count, given.seed, given.data, given.limit_s)
