"""Run a function in a fresh process, and bring back what it found or why it failed."""

from __future__ import annotations

import multiprocessing as mp
import signal
import sys
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from anatomark.bench.measure import BenchError
from anatomark.errors import one_line
from anatomark.processes import how_it_ended

# Loaded once, in the process that all others are copies of, so that each starts at once. None of
# them starts threads of torch or a GPU.
_LOADED = [
    "numpy", "scipy.spatial", "scipy.ndimage", "torch", "SimpleITK",
    "anatomark.inference", "anatomark.matching.matcher", "anatomark.registration.icp",
    "anatomark.io.images.reading", "anatomark.datasets.phantoms",
]  # fmt: skip


def in_a_process(function: Callable[..., Any], *given: Any, **options: Any) -> Any:
    """``function(*given, **options)`` in a process of its own; a ``BenchError`` where it fails."""
    context = _context()
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(there, function, given, options), daemon=True)
    process.start()
    there.close()
    try:
        well, answer = here.recv()
    except EOFError:
        process.join()
        raise BenchError(how_it_ended(process.exitcode)) from None
    finally:
        process.join(1)
        if process.is_alive():
            process.terminate()
    if not well:
        raise BenchError(answer)
    return answer


def _context() -> Any:
    if sys.platform != "linux":
        return mp.get_context("spawn")
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(_LOADED)
    return context


def _answer(
    to: Connection, function: Callable[..., Any], given: tuple[Any, ...], options: dict[str, Any]
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started us says when to stop
    warnings.simplefilter("ignore")  # a result of no warning is measured here
    try:
        to.send((True, function(*given, **options)))
    except Exception as fault:
        said = str(fault) if isinstance(fault, BenchError) else f"{type(fault).__name__}: {fault}"
        to.send((False, one_line(said)))
