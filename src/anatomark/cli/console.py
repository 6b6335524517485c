"""What the terminal sees: one line an error or a warning, a bar for slow work, JSON on request.

Results go to standard output, everything else to standard error.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from anatomark.errors import one_line
from anatomark.io.json_files import json_text

_ENDLESS = 10_000  # letters of a line
_BAR_AFTER = 2.0  # seconds of work before a bar is shown


_in_words: Callable[[str], str] = str  # of the command that runs


def advise_by(in_words: Callable[[str], str]) -> None:
    """Say what errors and warnings advise in the words of the command that runs."""
    global _in_words  # noqa: PLW0603
    _in_words = in_words


def say_error(text: str) -> None:
    """One line on standard error."""
    say_aside(f"error: {one_line(text)}")


def say_warning(text: str) -> None:
    """One line on standard error, about something that deserves a look."""
    say_aside(f"warning: {one_line(text)}")


def say_aside(text: str) -> None:
    """A line on standard error, with its advice in the words of the command."""
    print(_in_words(text), file=sys.stderr)  # noqa: T201


def show_warnings_as_lines() -> None:
    """Print each warning once, as one line, instead of Python's two with a file name.

    Those about code that will have to change are for who writes it, not for who runs it.
    """

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        say_warning(str(message))

    warnings.showwarning = show
    warnings.simplefilter("default")
    for category in (DeprecationWarning, PendingDeprecationWarning):
        warnings.simplefilter("ignore", category)


def say(text: str) -> None:
    """Print a line of the result."""
    print(text)  # noqa: T201


def say_json(value: Any) -> None:
    """Print a result that a program reads; not-a-number becomes null, as JSON has no other."""
    print(json_text(value, indent=2))  # noqa: T201


def say_table(
    headers: Sequence[str], rows: Iterable[Sequence[str]], *, essential: Sequence[int] = ()
) -> None:
    """Print an aligned table; as plain text where the output is not a terminal.

    In a terminal that is too narrow for all columns only the ``essential`` ones are printed, where
    some are named: cells that are folded letter by letter cannot be read.
    """
    from rich.console import Console

    # A pipe has no width: let no cell be folded for it.
    console = Console(width=None if sys.stdout.isatty() else 200)
    rows = list(rows)
    table = _table(headers, rows)
    if essential and sys.stdout.isatty():
        needed = Console(width=_ENDLESS).measure(table).maximum
        if needed > console.width:
            few = [[row[i] for i in essential] for row in rows]
            table = _table([headers[i] for i in essential], few)
    console.print(table)


def table_text(headers: Sequence[str], rows: Iterable[Sequence[str]], *, width: int = 240) -> str:
    """The same table as plain text, for a file."""
    from io import StringIO

    from rich.console import Console

    file = StringIO()
    Console(file=file, width=width).print(_table(headers, rows))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


class Progress:
    """A bar on standard error that appears only when the work lasts and a person is watching."""

    def __init__(self, label: str, total: int | None = None) -> None:
        self._label, self._total = label, total
        self._done, self._start = 0, time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def stage(self, label: str, fraction: float) -> None:
        """So much (0…1) of a stage with this name is done; the bar shows percent of it."""
        if label != self._label and self._bar is not None:
            self._bar.reset(self._task, description=label)
        self._label = label
        self.advance(round(100 * fraction), 100)

    def whole(self, label: str, fraction: float) -> None:
        """So much (0…1) of all is done, and this is what is being done."""
        if label != self._label and self._bar is not None:
            self._bar.update(self._task, description=label)
        self._label = label
        self.advance(round(100 * fraction), 100)

    def advance(self, done: int | None = None, total: int | None = None) -> None:
        """One more item is done, or ``done`` of ``total`` in all."""
        self._done = self._done + 1 if done is None else done
        self._total = self._total if total is None else total
        if self._bar is None and self._is_due():
            self._open()
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, total=self._total)

    def _is_due(self) -> bool:
        return sys.stderr.isatty() and time.monotonic() - self._start > _BAR_AFTER

    def _open(self) -> None:
        from rich import progress
        from rich.console import Console

        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task(self._label, total=self._total)
        self._bar.start()
