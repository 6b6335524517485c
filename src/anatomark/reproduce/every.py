"""All papers, one after the other or side by side, and one page with every table."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from queue import Empty
from typing import Any

from anatomark.errors import AnatomarkError, UsageError
from anatomark.pages import Page
from anatomark.reproduce.common import Budget, Progress, Reproduced
from anatomark.training.run import Machine

PAGE = "index.html"
_POLL_S = 0.5

Papers = Mapping[str, Callable[..., Reproduced]]
#: What a paper has done of what there is to do.
Steps = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Every:
    """What came out of each paper, and why others gave nothing."""

    found: Mapping[str, Reproduced]
    failed: Mapping[str, str]
    page: Path


def reproduce_every(
    papers: Papers,
    out: str | PathLike[str],
    *,
    budget: Budget = "small",
    seed: int = 0,
    machine: Machine | None = None,
    jobs: int = 1,
    progress: Steps = lambda *_: None,
) -> Every:
    """Reproduce each of ``papers`` (the longest first) in a folder of its name in ``out``.

    ``jobs`` papers are computed at a time, each in a process of its own with its part of the
    cores. A paper that fails does not stop the others. What is finished is not done again.
    """
    folder, where = Path(out), machine or Machine()
    if jobs < 1:
        raise UsageError(f"jobs is 1 or more, not {jobs}")
    calls = {
        name: partial(one, folder / name, budget=budget, seed=seed, machine=where)
        for name, one in papers.items()
    }
    found: dict[str, Reproduced] = {}
    failed: dict[str, str] = {}
    for name, one in (
        _side_by_side(calls, folder, jobs, progress) if jobs > 1 else _in_turn(calls, progress)
    ):
        if isinstance(one, str):
            failed[name] = one
        else:
            found[name] = one
    page = Page(
        "Four papers: published, and reproduced here",
        lead=f"Budget: {budget}. Every number under “here” was computed on this machine.",
    )
    for name in papers:
        if name in found:
            page.heading(found[name].paper)
            page.text(found[name].about)
            found[name].show_on(page)
        else:
            page.heading(name)
            page.text(f"Not reproduced: {failed[name]}")
    page.write(folder / PAGE)
    return Every({name: found[name] for name in papers if name in found}, failed, folder / PAGE)


_Outcome = Reproduced | str  # or why there is none


def _attempt(call: partial[Reproduced], progress: Progress) -> _Outcome:
    try:
        return call(progress=progress)
    except AnatomarkError as error:
        return str(error)


def _in_turn(
    calls: Mapping[str, partial[Reproduced]], progress: Steps
) -> Iterator[tuple[str, _Outcome]]:
    for name, call in calls.items():
        yield name, _attempt(call, partial(progress, name))


def _side_by_side(
    calls: Mapping[str, partial[Reproduced]], folder: Path, jobs: int, progress: Steps
) -> Iterator[tuple[str, _Outcome]]:
    """In processes that are started afresh: torch's threads do not survive a fork."""
    context = multiprocessing.get_context("spawn")
    threads = max(cores() // jobs, 1)
    folder.mkdir(parents=True, exist_ok=True)
    with context.Manager() as manager, ProcessPoolExecutor(jobs, mp_context=context) as pool:
        steps: Any = manager.Queue()
        waiting: dict[str, Future[_Outcome]] = {}
        for name, call in calls.items():
            # Beside the folder of the paper, which has to be empty when it is begun.
            log = folder / f"{name}.log"
            waiting[name] = pool.submit(_alone, call, name, steps, log, threads)
        while waiting:
            with contextlib.suppress(Empty):
                progress(*steps.get(timeout=_POLL_S))
            for name in [name for name, future in waiting.items() if future.done()]:
                yield name, waiting.pop(name).result()


def _alone(call: partial[Reproduced], name: str, steps: Any, log: Path, threads: int) -> _Outcome:
    """Compute a paper in this process; what it says goes into its log."""
    import matplotlib as mpl
    import torch

    from anatomark.models.device import keep_freed_memory

    mpl.use("agg")
    keep_freed_memory()
    torch.set_num_threads(threads)

    def note(done: int, total: int) -> None:
        steps.put((name, done, total))

    with (
        log.open("a", encoding="utf-8") as said,
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
    ):
        return _attempt(call, note)


def cores() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def shown(progress: Progress) -> Steps:
    """Steps of several papers as the steps of one bar."""
    known: dict[str, tuple[int, int]] = {}

    def note(name: str, done: int, total: int) -> None:
        known[name] = (done, total)
        progress(sum(d for d, _ in known.values()), sum(t for _, t in known.values()))

    return note
