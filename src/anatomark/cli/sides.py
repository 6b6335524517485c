"""Commands on two images: faults and warnings of one of them name the option of that side."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from anatomark.errors import AnatomarkError

_OF_A_SIDE = re.compile(r"\b(frame|unit|series)=")


@contextmanager
def of_side(name: str) -> Iterator[None]:
    """Advice to say ``unit=…`` becomes ``fixed_unit=…`` where ``name`` is fixed, and so on."""

    def mended(text: str) -> str:
        return _OF_A_SIDE.sub(rf"{name}_\1=", text)

    caught: AnatomarkError | None = None
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        try:
            yield
        except AnatomarkError as fault:
            fault.fix = None if fault.fix is None else mended(fault.fix)
            caught = fault
    for one in said:
        warnings.warn(type(one.message)(mended(str(one.message))), stacklevel=1)
    if caught is not None:
        raise caught
