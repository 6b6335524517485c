"""Colours and dashes that people of every kind of sight can tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def colours(count: int) -> Sequence[str]:
    """Colours that people of every kind of sight can tell apart (Okabe and Ito 2008), repeated.

    Their yellow is left out: as a line on white it is hardly seen.
    """
    wheel = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000")
    return [wheel[i % len(wheel)] for i in range(count)]


def curves(count: int) -> list[dict[str, Any]]:
    """Colour and dash of lines in one plot: neighbours share neither, and 28 have no equal."""
    dashes = ("-", "--", "-.", ":")  # four, beside seven colours
    return [{"color": c, "linestyle": dashes[k % 4]} for k, c in enumerate(colours(count))]
