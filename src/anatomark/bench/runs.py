"""All measurements of some groups, one after the other; one that fails is a row with its reason."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from anatomark.bench.measure import BenchError, Setting, Task, Timed, Way, added_mib, timed
from anatomark.bench.processes import in_a_process
from anatomark.errors import UsageError

Tasks = Mapping[str, Sequence[Task]]
State = Literal["measured", "not installed", "failed"]
GROUPS = ("decode", "methods", "training", "reading", "resampling", "fits")


@dataclass(frozen=True)
class Row:
    """One measurement: seconds (medians) and peaks of both ways, or why there are none.

    ``ratio`` is the reference's time over ours: above 1 we are faster. ``apart`` is how far the
    results of both are from each other in ``unit``, and ``tolerance`` how far they may be.
    """

    group: str
    name: str
    size: str
    device: str
    reference: str
    state: State = "measured"
    ours_s: float | None = None
    reference_s: float | None = None
    ratio: float | None = None
    ours_mib: float | None = None
    reference_mib: float | None = None
    apart: float | None = None
    tolerance: float | None = None
    unit: str = ""
    rate: str = ""
    reason: str = ""


class Report(NamedTuple):
    """When and on what was measured, and the rows."""

    date: str
    quick: bool
    machine: dict[str, str]
    threads: int
    load: tuple[tuple[float, ...], tuple[float, ...]]  # before and after; empty where not known
    rows: tuple[Row, ...]

    @property
    def failed(self) -> int:
        """How many measurements failed."""
        return sum(row.state == "failed" for row in self.rows)


def check_groups(wanted: Sequence[str]) -> tuple[str, ...]:
    """The groups that are asked for, each once, in the order of the table; none means all."""
    for name in wanted:
        if name not in GROUPS:
            raise UsageError(
                f"there is no group {name!r} of measurements", fix=f"there is {', '.join(GROUPS)}"
            )
    return tuple(name for name in GROUPS if name in wanted or not wanted)


def tasks_of(groups: Sequence[str]) -> Tasks:
    """What is measured in each of the groups."""
    from anatomark.bench import decode, fits, methods, reading, resampling, training

    everything: Tasks = {
        "decode": decode.TASKS, "methods": methods.TASKS, "training": training.TASKS,
        "reading": reading.TASKS, "resampling": resampling.TASKS, "fits": fits.TASKS,
    }  # fmt: skip
    return {name: everything[name] for name in groups}


def measure_all(
    tasks: Tasks,
    *,
    device: Literal["auto", "cpu", "gpu"] = "auto",
    quick: bool = False,
    progress: Callable[[str, float], None] = lambda *_: None,
) -> Report:
    """Measure on the processor, the GPU, or on both where there is one.

    ``progress`` is told the stage and how much of all (0…1) is done.
    """
    import torch

    from anatomark.doctor import machine

    devices = _devices(device)
    plan = [
        (group, task, one)
        for group, some in tasks.items()
        for task in some
        for one in devices
        if one in task.devices
    ]
    before, rows = _load(), []
    with tempfile.TemporaryDirectory(prefix="anatomark-bench-") as folder:
        for number, (group, task, one) in enumerate(plan):
            own = Path(folder, str(number))
            own.mkdir()

            def say(stage: str, part: float, number: int = number, task: Task = task) -> None:
                progress(f"{task.name}: {stage}", (number + part) / len(plan))

            rows.append(_row(group, task, Setting(task.on(quick=quick), one, own), quick, say))
    load = (before, _load())
    date = datetime.now(UTC).date().isoformat()
    return Report(date, quick, machine(), torch.get_num_threads(), load, tuple(rows))


def _devices(wanted: str) -> list[str]:
    from anatomark.models.device import best_device

    if wanted == "auto":
        return ["cpu", "cuda"] if best_device() == "cuda" else ["cpu"]
    return [best_device(wanted)]


def _load() -> tuple[float, ...]:
    try:
        return tuple(round(value, 2) for value in os.getloadavg())
    except (AttributeError, OSError):  # Windows
        return ()


def _row(
    group: str, task: Task, setting: Setting, quick: bool, say: Callable[[str, float], None]
) -> Row:
    about: dict[str, Any] = {
        "group": group, "name": task.name, "size": task.said.format(*setting.size),
        "device": setting.device, "reference": task.reference, "unit": task.unit,
        "rate": task.rate,
    }  # fmt: skip
    if task.missing:
        return Row(**about, state="not installed", reason=f"{task.needs} is not installed")
    try:
        say("time", 0.0)
        times: Timed = in_a_process(timed, task, setting, quick=quick)
        peaks: list[float | None] = []
        ways: tuple[Way, ...] = ("ours", "naive")
        for way in ways:
            say("memory", 0.6 + 0.2 * len(peaks))
            peaks.append(in_a_process(added_mib, task, setting, way))
    except BenchError as fault:
        return Row(**about, state="failed", reason=str(fault))
    return Row(
        **about, ours_s=times.ours_s, reference_s=times.naive_s,
        ratio=times.naive_s / times.ours_s, ours_mib=peaks[0], reference_mib=peaks[1],
        apart=times.apart, tolerance=times.tolerance,
    )  # fmt: skip
