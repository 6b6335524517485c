"""The processors of this machine, and how a process on them ended."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def cores() -> int:
    """Processors that this process may use: fewer than there are, where it is bound to some."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_flags() -> set[str]:
    """Instruction sets of the processor, as Linux names them; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())


def how_it_ended(code: int | None) -> str:
    """The exit code of a process in words; a negative one is a signal."""
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"its process was ended by {name}" + (
            ": too little memory?" if name == "SIGKILL" else ""
        )
    return f"its process ended with code {code}"
