"""The advice of errors and warnings, in the options of the command that was run."""

from __future__ import annotations

import re
from collections.abc import Collection

# Python keywords in an error's advice, where the option has another name.
_NAMES = {"frame": "from-frame", "grid": "image", "names": "by"}
_KEYWORD = re.compile(r"\b([a-z_]+)=(…|'[^']*')")
_OVERWRITE = "or overwrite it"


def in_options(text: str, options: Collection[str], elsewhere: Collection[str] = ()) -> str:
    """Advice such as ``unit=…`` as ``--unit …``, where the command that was run has that option.

    ``options`` are those of the command, ``elsewhere`` those of ``anatomark convert``, which can
    bring landmarks into a form that needs none. What no command has stays a keyword of Python.
    """

    def option(found: re.Match[str]) -> str:
        word, value = found.groups()
        names = [f"--{name.replace('_', '-')}" for name in (_NAMES.get(word, word), word)]
        for known, where in ((options, ""), (elsewhere, " of anatomark convert")):
            for name in names:
                if name in known:
                    return f"{name} {value}{where}"
        return found.group()

    if "--overwrite" in options:
        text = text.replace(_OVERWRITE, "or say --overwrite")
    return _KEYWORD.sub(option, text)
