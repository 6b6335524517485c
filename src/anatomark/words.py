"""Words in pictures: how wide they are, lines that fit, shorter names, legends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

_LINE = 1.25  # height of a line, in sizes of its letters


@lru_cache(maxsize=4096)
def width_of(text: str, size: float) -> float:
    """Width in points of one line of text in the usual font; ``$`` is a letter like others."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    wide, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=size), False)
    return float(wide)


def height_of(lines: int, size: float) -> float:
    """Height in inches of so many lines."""
    return lines * _LINE * size / 72


def wrapped(text: str, inches: float, size: float) -> str:
    """The text in lines no wider than so many inches; a word that is wider alone is broken."""
    return "\n".join(_broken(line, 72 * inches, size) for line in text.split("\n"))


def _broken(line: str, room: float, size: float) -> str:
    lines = [""]
    for word in line.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if width_of(longer, size) <= room:
            lines[-1] = longer
            continue
        pieces = _pieces(word, room, size)
        lines = [*(lines if lines[-1] else []), *pieces]
    return "\n".join(lines)


def _pieces(word: str, room: float, size: float) -> list[str]:
    pieces = [""]
    for letter in word:
        if pieces[-1] and width_of(pieces[-1] + letter, size) > room:
            pieces.append("")
        pieces[-1] += letter
    return pieces


def shortened(names: Sequence[str], most: int) -> list[str]:
    """The names with at most so many letters: long ones lose their middle, and stay different.

    Ends tell more than middles: names of one list often begin alike, and end in a number.
    """
    short = [_middle_out(name, most) for name in names]
    often = Counter(short)
    return [
        _middle_out(name, most, f"…{place}…") if often[text] > 1 and text != name else text
        for place, (name, text) in enumerate(zip(names, short, strict=True), 1)
    ]


def _middle_out(name: str, most: int, gap: str = "…") -> str:
    if len(name) <= most:
        return name
    rest = max(most - len(gap), 2)
    return f"{name[: rest - rest // 2]}{gap}{name[len(name) - rest // 2 :]}"


def write_around(figure: Figure, title: str, note: str) -> None:
    """Title above and note below, as wide as the figure; further lines make it higher."""
    wide, high = figure.get_size_inches()
    for text, size, write in ((title, 10, figure.suptitle), (note, 8, figure.supxlabel)):
        if text:
            lines = wrapped(text, wide - 0.2, size)
            write(lines, fontsize=size, parse_math=False)
            high += height_of(lines.count("\n"), size)
    figure.set_size_inches(wide, high)


def plain_legend(axes: Axes, handles: Sequence[Any], names: Sequence[str], **style: Any) -> Legend:
    """A legend of names as they are: ``$`` starts no formula, ``_`` at the front hides nothing."""
    # Matplotlib before 3.10 leaves out what begins with "_", so the names come later.
    legend = axes.legend(list(handles), ["-"] * len(names), **style)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(name)
    return legend
