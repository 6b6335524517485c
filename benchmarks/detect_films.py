"""Detect landmarks in 100 films, pictures and all: the whole command, from start to exit.

    python benchmarks/detect_films.py [--films 100] [--model universal/head]

The films are phantoms of heads. With and without pictures; seconds of the clock and of the
processor.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def seconds_of(words: list[str]) -> tuple[float, float]:
    """Of the clock and of the processor, for a command in a process of its own."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", "anatomark", *words], check=True, capture_output=True)
    clock, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return clock, used


def main(films: int, model: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        heads = Path(folder) / "heads"
        seconds_of(["phantom", "head", "--cases", str(films), "--out", str(heads)])
        found = {}
        for option in ("--no-picture", "--picture"):
            out = str(Path(folder) / option)
            clock, used = seconds_of(["detect", "--model", model, option, "--out", out, str(heads)])
            found[option] = {"clock": round(clock, 1), "processor": round(used, 1)}
            print(f"{films} films {option}: {clock:.1f} s, {used:.1f} s of the processor")
        print(json.dumps({"films": films, "load": os.getloadavg(), "seconds": found}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=int, default=100)
    parser.add_argument("--model", default="universal/head")
    chosen = parser.parse_args()
    main(chosen.films, chosen.model)
