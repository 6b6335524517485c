"""All papers, one after the other or side by side, and one page with every table."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from os import PathLike
from pathlib import Path

from anatomark.errors import AnatomarkError, UsageError, one_line
from anatomark.pages import Page
from anatomark.processes import cores, how_it_ended
from anatomark.reproduce.common import Budget, Progress, Reproduced
from anatomark.training.run import Machine

PAGE = "index.html"

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
    cores. A paper that fails, for whatever reason, does not stop the others; the traceback of a
    fault is in ``NAME.log``. What is finished is not done again.
    """
    folder, where = Path(out), machine or Machine()
    if jobs < 1:
        raise UsageError(f"jobs is 1 or more, not {jobs}")
    calls = {
        name: partial(one, folder / name, budget=budget, seed=seed, machine=where)
        for name, one in papers.items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    outcomes = (
        _side_by_side(calls, folder, jobs, progress)
        if jobs > 1
        else _in_turn(calls, folder, progress)
    )
    found = {name: one for name in papers if not isinstance(one := outcomes[name], str)}
    failed = {name: one for name in papers if isinstance(one := outcomes[name], str)}
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
    return Every(found, failed, folder / PAGE)


_Outcome = Reproduced | str  # or why there is none


def _attempt(call: partial[Reproduced], progress: Progress, log: Path) -> _Outcome:
    try:
        return call(progress=progress)
    except AnatomarkError as error:
        return str(error)
    except Exception as fault:
        return _words(fault, log)


def _words(fault: Exception, log: Path) -> str:
    """A fault in a line, its traceback in a log."""
    with log.open("a", encoding="utf-8") as said:
        traceback.print_exception(fault, file=said)
    return one_line(f"{type(fault).__name__}: {fault}")


def _in_turn(
    calls: Mapping[str, partial[Reproduced]], folder: Path, progress: Steps
) -> dict[str, _Outcome]:
    return {
        name: _attempt(call, partial(progress, name), _log(folder, name))
        for name, call in calls.items()
    }


def _log(folder: Path, name: str) -> Path:
    """Beside the folder of the paper, which has to be empty when it is begun."""
    return folder / f"{name}.log"


def _side_by_side(
    calls: Mapping[str, partial[Reproduced]], folder: Path, jobs: int, progress: Steps
) -> dict[str, _Outcome]:
    """In a process each, with a pipe of its own: what one does in dying is nothing to the others.

    Whatever ends this (Ctrl-C, say) ends the processes at once; what they wrote stays whole.
    """
    waiting = list(calls)
    at_once = min(jobs, len(waiting))
    running: dict[Connection, tuple[str, SpawnProcess]] = {}
    outcomes: dict[str, _Outcome] = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                name = waiting.pop(0)
                log = _log(folder, name)
                try:
                    here, process = _begun(calls[name], log, max(cores() // at_once, 1))
                except Exception as fault:  # there is no memory for another process, say
                    outcomes[name] = _words(fault, log)
                else:
                    running[here] = name, process
            ready = wait(list(running))
            for here in [one for one in running if one in ready]:
                name, process = running[here]
                said = _received(here, process)
                if isinstance(said, tuple):
                    progress(name, *said)
                else:
                    outcomes[name] = said
                    del running[here]
    finally:
        for _, process in running.values():
            process.kill()  # Lightning would answer a softer signal after its step
        for _, process in running.values():
            process.join()
    return outcomes


def _begun(call: partial[Reproduced], log: Path, threads: int) -> tuple[Connection, SpawnProcess]:
    """Start the process of a paper (afresh: torch's threads do not survive a fork)."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_alone, args=(call, there, log, threads))
    process.start()
    there.close()  # only the process holds it now: its end is the end of the pipe
    return here, process


def _received(here: Connection, process: SpawnProcess) -> tuple[int, int] | _Outcome:
    """The next steps of a paper, or its outcome, after which its process is over."""
    try:
        said: tuple[int, int] | _Outcome = here.recv()
    except (EOFError, OSError):  # nothing, or half a message
        process.join()
        said = how_it_ended(process.exitcode)
    if not isinstance(said, tuple):
        process.join()
        here.close()
    return said


def _alone(call: partial[Reproduced], to: Connection, log: Path, threads: int) -> None:
    """Compute a paper in this process; what it says goes into its log."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started us says when to stop
    # Line by line, so that the log of a process that is killed is not empty.
    with (
        log.open("a", encoding="utf-8", buffering=1) as said,
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
    ):
        import matplotlib as mpl
        import torch

        from anatomark.models.device import keep_freed_memory

        mpl.use("agg")
        keep_freed_memory()
        torch.set_num_threads(threads)
        to.send(_attempt(call, lambda done, total: to.send((done, total)), log))


def shown(progress: Progress) -> Steps:
    """Steps of several papers as the steps of one bar."""
    known: dict[str, tuple[int, int]] = {}

    def note(name: str, done: int, total: int) -> None:
        known[name] = (done, total)
        progress(sum(d for d, _ in known.values()), sum(t for _, t in known.values()))

    return note
