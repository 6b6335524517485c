"""The command line: every command is a thin call of the public functions."""

from anatomark.cli.app import main

__all__ = ["main"]
