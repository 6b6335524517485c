"""One measurement: two ways to one result, in turn, in processes of their own.

The ways must agree before a clock is started: who compares different results measures nothing.
"""

from __future__ import annotations

import importlib.util
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from anatomark.bench.memory import hand_back_freed, held_mib, peak_mib
from anatomark.errors import AnatomarkError

Way = Literal["ours", "naive"]
_LEAST = 0.02  # seconds that are timed at once: shorter work is repeated
_QUICK_REPEATS = 3


class BenchError(AnatomarkError):
    """A measurement that would mean nothing, with the reason."""


@dataclass(frozen=True)
class Setting:
    """What a task is measured on: ``device`` is cpu or cuda, ``folder`` is for files of its own."""

    size: tuple[int, ...]
    device: str
    folder: Path


class Work(NamedTuple):
    """Two ways to one result, ready to run; ``apart`` says how far two results are apart."""

    ours: Callable[[], Any]
    naive: Callable[[], Any]
    apart: Callable[[Any, Any], float]
    tolerance: float


@dataclass(frozen=True)
class Task:
    """What is measured, against which ``reference``, and on which ``size``.

    ``make`` prepares the work; what it does is not measured. ``said`` is the size in words, with
    places for its numbers. ``unit`` is that of the difference between results. ``rate`` is what
    is done once in the time that is measured, if that is asked for by the second. ``needs`` is
    a package that may be missing.
    """

    name: str
    reference: str
    make: Callable[[Setting], Work]
    size: tuple[int, ...]
    quick: tuple[int, ...]
    said: str
    unit: str = ""
    devices: tuple[str, ...] = ("cpu",)
    repeats: int = 5
    rate: str = ""
    needs: str = ""

    def on(self, *, quick: bool) -> tuple[int, ...]:
        """The size to measure."""
        return self.quick if quick else self.size

    @property
    def missing(self) -> bool:
        """Whether what it needs is not installed."""
        return bool(self.needs) and importlib.util.find_spec(self.needs) is None


class Timed(NamedTuple):
    """Median seconds of both ways, how far their results are apart, and how far they may be."""

    ours_s: float
    naive_s: float
    apart: float
    tolerance: float


def timed(task: Task, setting: Setting, *, quick: bool) -> Timed:
    """Compare the results of both ways, then time them in turn; for a process of its own."""
    from anatomark.models.device import keep_freed_memory

    keep_freed_memory()  # as the commands do
    work = task.make(setting)
    apart = compared(task, work)
    clocks = {run: Clock(run, setting.device) for run in (work.ours, work.naive)}
    found: dict[Any, list[float]] = {run: [] for run in clocks}
    for _ in range(_QUICK_REPEATS if quick else task.repeats):
        for run, clock in clocks.items():
            found[run].append(clock.seconds())
    ours, naive = (statistics.median(found[run]) for run in (work.ours, work.naive))
    return Timed(ours, naive, apart, work.tolerance)


def compared(task: Task, work: Work) -> float:
    """How far the results of both ways are apart; an error where that is too far."""
    apart = float(work.apart(work.ours(), work.naive()))
    if not apart <= work.tolerance:  # no number is too far as well
        said = f"{apart:.3g} {task.unit}".strip() if math.isfinite(apart) else "no number"
        raise BenchError(
            f"the results differ ({said} apart, at most {work.tolerance:g} allowed)",
            fix="so their times mean nothing: report this",
        )
    return apart


class Clock:
    """Seconds of one way; what is very short is done several times at once."""

    def __init__(self, run: Callable[[], Any], device: str) -> None:
        self._run, self._device, self._count = run, device, 1
        once = self.seconds()  # warmed up twice by now
        self._count = max(1, math.ceil(_LEAST / max(once, 1e-6))) if once < _LEAST / 2 else 1

    def seconds(self) -> float:
        """Of one run, on the clock."""
        synchronise(self._device)
        start = time.perf_counter()
        for _ in range(self._count):
            self._run()
        synchronise(self._device)
        return (time.perf_counter() - start) / self._count


def synchronise(device: str) -> None:
    """Wait for what a GPU was told to do."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def added_mib(task: Task, setting: Setting, way: Way) -> float | None:
    """The most memory that one run takes beyond its prepared data; for a process of its own.

    A run on a small size comes first, so that libraries and threads are there.
    """
    hand_back_freed()
    small = Setting(task.quick, setting.device, setting.folder / "small")
    getattr(task.make(small), way)()
    run: Callable[[], Any] = getattr(task.make(setting), way)
    if setting.device == "cuda":
        return _on_gpu(run)
    before = held_mib()
    kept = run()
    after = peak_mib()
    del kept
    return None if before is None or after is None else max(after - before, 0.0)


def _on_gpu(run: Callable[[], Any]) -> float:
    import torch

    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    kept = run()
    torch.cuda.synchronize()
    del kept
    return float(torch.cuda.max_memory_allocated() - before) / 2**20
