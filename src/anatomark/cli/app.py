"""The frame of the command line: commands, options of all of them, errors and exit codes.

Exit codes: 0 all well, 1 a fault of ours, 2 input or options that cannot be used, 130 stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from anatomark import __version__
from anatomark.cli import (
    bench,
    cohorts,
    console,
    convert,
    detection,
    evaluation,
    matching,
    registration,
    reproduction,
    show,
    slicing,
    system,
    training,
)
from anatomark.cli.advice import in_options
from anatomark.errors import AnatomarkError, CohortError, one_line

_STOPPED = 130
# Options of ``convert`` that make of a landmark file one which needs none of them.
_OF_LANDMARK_FILES = ("--unit", "--from-frame", "--case", "--by", "--node", "--pixel-origin")
_LISTED = 100  # problems of a cohort that are printed
app = typer.Typer(
    name="anatomark",
    help="Find, match and use anatomical landmarks in 2D and 3D medical images.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    *show.COMMANDS, *convert.COMMANDS, *slicing.COMMANDS, *cohorts.COMMANDS, *training.COMMANDS,
    *detection.COMMANDS, *matching.COMMANDS, *registration.COMMANDS, *evaluation.COMMANDS,
    *reproduction.COMMANDS, *bench.COMMANDS, *system.COMMANDS,
):  # fmt: skip
    app.command(command.name, help=command.help, epilog=command.example)(command.run)


def _print_version(asked: bool) -> None:
    if asked:
        console.say(f"anatomark {__version__}")
        raise typer.Exit


@app.callback()
def frame(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the whole traceback of an error (anywhere).")
    ] = False,
) -> None:
    """Options of every command."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; every failure is one line on stderr."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    words = [word for word in given if word != "--debug"] or ["--help"]
    console.advise_by(_advice(words))
    console.show_warnings_as_lines()
    try:
        result = app(words, standalone_mode=False)
        if result == _STOPPED:  # typer has already caught Ctrl-C
            raise KeyboardInterrupt
    except AnatomarkError as error:
        if debug:
            raise
        return _explain(error)
    except typer.TyperException as error:
        if debug:
            raise
        context = getattr(error, "ctx", None)
        where = "anatomark" if context is None else context.command_path
        console.say_error(f"{_said(error)}; see {where} --help")
        return 2
    except (KeyboardInterrupt, typer.Abort):
        console.say_error("stopped; files that were complete stay as they are")
        return _STOPPED
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except Exception as error:  # the last line of defence, said as such
        if debug:
            raise
        console.say_error(
            f"this is a fault of anatomark, not yours ({type(error).__name__}: {error}); "
            "run it again with --debug and report what it prints"
        )
        return 1
    return result if isinstance(result, int) else 0


def _said(error: Exception) -> str:
    """What the command line parser has to say, with the name of the option."""
    describe = getattr(error, "format_message", None)
    return (str(error) if describe is None else str(describe())).rstrip(".")


def _advice(words: Sequence[str]) -> Callable[[str], str]:
    """Puts advice into the options of the command that ``words`` call, when there is some."""

    def said(text: str) -> str:
        commands: dict[str, Any] = getattr(typer.main.get_command(app), "commands", {})
        called = next((commands[word] for word in words if word in commands), None)
        options = {name for option in getattr(called, "params", ()) for name in option.opts}
        return in_options(text, options, _OF_LANDMARK_FILES)

    return said


def _explain(error: AnatomarkError) -> int:
    if not isinstance(error, CohortError) or len(error.problems) < 2:
        console.say_error(str(error))
        return 2
    # A cohort is mended in one go, so all problems follow, and the first line only counts them.
    console.say_error(error.short())
    for number, problem in enumerate(error.problems[:_LISTED], 1):
        console.say_aside(f"  {number}. {one_line(problem)}")
    more = len(error.problems) - _LISTED
    if more > 0:
        console.say_aside(f"  … and {more} more: the problems of the CohortError in Python are all")
    return 2


def script() -> None:
    """Entry point of the installed command."""
    sys.exit(main())
