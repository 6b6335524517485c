"""The most memory that this process has held: on the processor as the system counts it."""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path

_STATUS, _FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_MMAP_THRESHOLD = -3  # glibc's mallopt


def hand_back_freed() -> None:
    """Let what is freed leave this process at once, where the C library can be told so.

    Else what was freed before could be used again unseen, and a peak would be too small.
    """
    mallopt = getattr(_glibc(), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 1 << 16)


def held_mib() -> float | None:
    """What this process holds now; the peak starts anew, where the system can forget the old one.

    ``None`` on a system that does not say.
    """
    gc.collect()
    trim = getattr(_glibc(), "malloc_trim", None)
    if trim is not None:
        trim(0)
    try:
        _FORGET.write_text("5")
    except OSError:
        return peak_mib()
    return peak_mib()


def peak_mib() -> float | None:
    """The most that this process has held since ``held_mib``, or since it started."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 1024)


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    try:
        return ctypes.CDLL(None)
    except OSError:
        return None
