"""What ``anatomark bench`` measures, on sizes that it leaves out because they take minutes.

    python benchmarks/large.py [--side N] [--device cpu|cuda] [TASK ...]

Tasks: volume (256³ through the network of Fang 2023's recipe), simpleitk and scipy (resampling of
512³). The same measurements, in the same processes, as those of the command.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from anatomark.bench.measure import Setting, added_mib, timed
from anatomark.bench.processes import in_a_process
from anatomark.bench.report import duration
from anatomark.bench.runs import tasks_of


def main() -> None:
    tasks = tasks_of(["methods", "resampling"])
    known = {
        "volume": (tasks["methods"][1], 256),
        "simpleitk": (tasks["resampling"][0], 512),
        "scipy": (tasks["resampling"][1], 512),
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("tasks", nargs="*", default=list(known), metavar="TASK")
    given = parser.parse_args()
    for name in given.tasks:
        task, side = known[name]
        with tempfile.TemporaryDirectory() as folder:
            size = (given.side or side,) * len(task.size)
            setting = Setting(size, given.device, Path(folder))
            times = in_a_process(timed, task, setting, quick=False)
            peaks = [in_a_process(added_mib, task, setting, way) for way in ("ours", "naive")]
        print(
            f"{task.name}, {task.said.format(*size)}: {duration(times.ours_s)}, {task.reference} "
            f"{duration(times.naive_s)}, {times.naive_s / times.ours_s:.2f} times faster, "
            f"peaks {peaks[0]:.0f} and {peaks[1]:.0f} MiB",
            flush=True,
        )


if __name__ == "__main__":
    main()
