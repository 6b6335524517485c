"""The code in the README and the docs runs, and local links lead somewhere.

Blocks marked ``python`` and ``bash`` run, page by page, in the order in which they stand and in an
empty folder. Blocks marked ``text``, ``toml``, ``json``, ``csv`` or not at all are only shown.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
LINK = re.compile(r"\[[^\]]*\]\((?!https?:|mailto:)([^)#]*)(?:#[^)]*)?\)")

# One process a page, so that libraries are loaded once: code shares its names, commands run as
# they would from a shell.
RUNNER = r"""
import json, shlex, subprocess, sys
import matplotlib
matplotlib.use("agg")
from anatomark.cli import main
names = {"__name__": "page"}
for kind, code in json.loads(sys.argv[1]):
    if kind == "python":
        exec(compile(code, "<page>", "exec"), names)
        continue
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        ended = main(words[1:]) if words[0] == "anatomark" else subprocess.run(words).returncode
        if ended:
            sys.exit(f"{line}: exit code {ended}")
"""


def blocks(page: Path) -> list[tuple[str, str]]:
    return [
        (kind, code) for kind, code in BLOCK.findall(page.read_text()) if kind in {"python", "bash"}
    ]


RUNNABLE = [page for page in PAGES if blocks(page)]


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_code_of_a_page_runs(page, tmp_path):
    command = [sys.executable, "-c", RUNNER, json.dumps(blocks(page))]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_local_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text()):
        assert not target or (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_page_is_reached_from_the_first():
    home = ROOT / "docs" / "index.md"
    seen, todo = {home}, [home]
    while todo:
        page = todo.pop()
        for target in LINK.findall(page.read_text()):
            linked = (page.parent / target).resolve()
            if linked.suffix == ".md" and linked not in seen:
                seen.add(linked)
                todo.append(linked)
    assert set((ROOT / "docs").rglob("*.md")) <= seen


def test_every_command_is_documented():
    from anatomark.cli.app import app

    text = (ROOT / "docs" / "command-line.md").read_text()
    for command in app.registered_commands:
        assert f"anatomark {command.name}" in text


def test_every_public_name_is_in_the_reference():
    import anatomark

    listed = re.findall(r"^::: \S+\.(\w+)$", (ROOT / "docs" / "api.md").read_text(), re.M)
    assert set(anatomark.__all__) - {"__version__"} <= set(listed)


def test_the_readme_names_the_targets_that_make_has():
    make = shutil.which("make")
    if make is None:
        pytest.skip("no make here")
    for target in re.findall(r"^make (\w+)", (ROOT / "README.md").read_text(), re.M):
        done = subprocess.run([make, "-n", target], cwd=ROOT, capture_output=True, check=False)
        assert done.returncode == 0, target
