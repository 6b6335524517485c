"""Make the pictures of the tutorials: run each page's code in an empty folder, keep what it drew.

    python tools/doc_figures.py [find match register evaluate]

The pages show what their own code makes, so that a reader sees the same. Only phantoms are drawn.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import tempfile
from pathlib import Path

import matplotlib as mpl
from PIL import Image as Pillow

from anatomark.cli import main as anatomark

DOCS = Path(__file__).resolve().parents[1] / "docs"
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.M | re.S)
WIDEST = 760  # pixels: what a page shows

# what the page's code makes → the figure
PICTURES = {
    "find": {
        "first.png": "tutorial-find-first",
        "found_film/head_0500.png": "tutorial-find-flags",
    },
    "match": {
        "pairs.png": "tutorial-match-pairs",
        "bent/overlay.png": "tutorial-match-overlay",
    },
    "register": {"by_points/overlay.png": "tutorial-register"},
    "evaluate": {
        "p00.png": "tutorial-evaluate-case",
        "eval_one/plots/cumulative.png": "tutorial-evaluate-curve",
    },
}


def run(page: Path) -> None:
    """Run the page's blocks in the working folder; a command that fails ends the program."""
    names: dict[str, object] = {"__name__": "page"}
    for kind, code in BLOCK.findall(page.read_text()):
        if kind == "python":
            exec(compile(code, page.name, "exec"), names)  # noqa: S102  our own page
            continue
        for line in code.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words and anatomark(words[1:]):  # the tutorials have no other commands
                sys.exit(f"{page.name}: {line}: failed")


def keep(made: Path, figure: Path) -> None:
    """Copy a picture with a solid background, 256 colours and no wider than a page."""
    picture = Pillow.open(made).convert("RGB")
    picture.thumbnail((WIDEST, 4 * WIDEST), Pillow.Resampling.LANCZOS)
    picture.quantize(256).save(figure, optimize=True)


def main() -> None:
    mpl.use("agg")
    for name in sys.argv[1:] or PICTURES:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            run(DOCS / "tutorials" / f"{name}.md")
            for made, figure in PICTURES[name].items():
                keep(Path(made), DOCS / "figures" / f"{figure}.png")
            os.chdir(DOCS)


if __name__ == "__main__":
    main()
