"""One HTML file that opens offline: headings, text, tables and pictures, light and dark."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Sequence
from html import escape
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from anatomark.io.files import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ONE = r"[-−+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?(?: ?[%°])?"
_SPAN = rf"[(\[]{_ONE}(?:(?:–|, | to ){_ONE})?[)\]]"
_NUMBER = re.compile(rf"(?:[<>≤≥] ?)?(?:nan|inf|{_ONE})(?: ± {_ONE})?(?: {_SPAN})?[ *†‡]*")
_STYLE = """
:root { color-scheme: light dark;
  --ink: #1b1f24; --paper: #fff; --line: #d0d7de; --soft: #59636e; --shade: #0004; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --paper: #14181d; --line: #3d444d; --soft: #9aa5b1; --shade: #fff4; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 62rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; margin-bottom: .3rem; } h2 { font-size: 1.25rem; margin-top: 2.2rem; }
h3 { font-size: 1.05rem; margin-top: 1.6rem; }
p.soft, figcaption { color: var(--soft); }
figure { margin: 1rem 0; }
img { max-width: 100%; height: auto; border-radius: 4px; background: #fff;
  border: 1px solid var(--line); box-sizing: border-box; }
.scroll { overflow-x: auto; max-width: 100%; } table { border-collapse: collapse; }
/* Where a table goes on beyond the edge, a shadow says so: bars are hidden on small screens. */
.scroll { background:
  linear-gradient(90deg, var(--paper) 40%, transparent) 0 0 / 2rem 100% no-repeat local,
  linear-gradient(270deg, var(--paper) 40%, transparent) 100% 0 / 2rem 100% no-repeat local,
  linear-gradient(90deg, var(--shade), transparent) 0 0 / .8rem 100% no-repeat scroll,
  linear-gradient(270deg, var(--shade), transparent) 100% 0 / .8rem 100% no-repeat scroll; }
th, td { text-align: left; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); }
th, td { overflow-wrap: normal; }
/* A long name may break, but not into single letters. */
td:first-child { overflow-wrap: anywhere; min-width: 7rem; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
td.number { white-space: nowrap; min-width: 0; overflow-wrap: normal; }
@media (max-width: 40rem) { table { font-size: .85rem; } th, td { padding-right: .6rem; } }
@media print {
  :root { color-scheme: light;
    --ink: #1b1f24; --paper: #fff; --line: #d0d7de; --soft: #59636e; --shade: #0000; }
  body { max-width: none; margin: 0; } .scroll { overflow: visible; background: none; }
  figure, tr { break-inside: avoid; } h1, h2, h3 { break-after: avoid; }
  img { max-height: 90vh; }
}
"""


class Page:
    """A report that is built from top to bottom and written once."""

    def __init__(self, title: str, *, lead: str = "") -> None:
        self._title = title
        self._parts = [f"<h1>{escape(title)}</h1>"]
        if lead:
            self._parts.append(f'<p class="soft">{escape(lead)}</p>')

    def heading(self, text: str, *, of_part: bool = False) -> None:
        """Start a section, or a part of one."""
        level = 3 if of_part else 2
        self._parts.append(f"<h{level}>{escape(text)}</h{level}>")

    def text(self, text: str) -> None:
        """Add a paragraph."""
        self._parts.append(f"<p>{escape(text)}</p>")

    def points(self, texts: Iterable[str]) -> None:
        """Add a list."""
        items = "".join(f"<li>{escape(text)}</li>" for text in texts)
        self._parts.append(f"<ul>{items}</ul>")

    def table(self, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Add a table; columns that hold numbers only are aligned to the right."""
        body = [list(row) for row in rows]
        numeric = [_are_numbers([row[k] for row in body]) for k in range(len(headers))]
        lines = [_row(headers, numeric, "th"), *(_row(row, numeric, "td") for row in body)]
        self._parts.append(
            f'<div class="scroll" tabindex="0"><table>{"".join(lines)}</table></div>'
        )

    def picture(self, figure: Figure, caption: str) -> None:
        """Add a figure, with a caption that also describes it to those who cannot see it."""
        import matplotlib.pyplot as plt

        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110, facecolor=figure.get_facecolor())
        plt.close(figure)
        self._figure(buffer.getvalue(), caption)

    def picture_file(self, path: str | PathLike[str], caption: str) -> None:
        """Add a PNG that was written before."""
        self._figure(Path(path).read_bytes(), caption)

    def _figure(self, png: bytes, caption: str) -> None:
        data = base64.b64encode(png).decode()
        self._parts.append(
            f'<figure><img alt="{escape(caption)}" src="data:image/png;base64,{data}">'
            f"<figcaption>{escape(caption)}</figcaption></figure>"
        )

    def write(self, path: str | PathLike[str]) -> None:
        """Write the page, whole or not at all."""
        body = "\n".join(self._parts)
        write_text(
            path,
            f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{escape(self._title)}</title>\n<style>{_STYLE}</style></head>\n"
            f"<body>\n{body}\n</body>\n</html>\n",
        )


def _row(cells: Sequence[str], numeric: Sequence[bool], tag: str) -> str:
    kinds = [' class="number"' if n else "" for n in numeric]
    written = (f"<{tag}{k}>{escape(c)}</{tag}>" for c, k in zip(cells, kinds, strict=True))
    return f"<tr>{''.join(written)}</tr>"


def _are_numbers(cells: Sequence[str]) -> bool:
    """Whether all are numbers, or words for where there is none."""
    known = [cell for cell in cells if cell not in {"–", "absent"}]
    return all(_is_number(cell) for cell in known) and bool(known or not cells)


def _is_number(text: str) -> bool:
    """Of ``1.5``, ``< 0.001``, ``7.99 ± 26.14``, ``0.00 (0.00–0.00)``, ``22 (61 %)``, ``1.5†``."""
    return _NUMBER.fullmatch(text) is not None
