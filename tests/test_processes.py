"""Processors and how processes end, against what the system says."""

from __future__ import annotations

import subprocess
import sys

from anatomark.processes import cores, cpu_flags, how_it_ended


def test_who_was_killed_is_said():
    kill = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    ended = subprocess.run([sys.executable, "-c", kill], check=False)
    said = "its process was ended by SIGKILL: too little memory?"
    assert how_it_ended(ended.returncode) == said
    assert how_it_ended(3) == "its process ended with code 3"


def test_a_process_bound_to_one_processor_has_one():
    bound = (
        "import os; from anatomark.processes import cores; "
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(cores())"
    )
    if sys.platform == "linux":
        said = subprocess.run([sys.executable, "-c", bound], check=True, capture_output=True)
        assert int(said.stdout) == 1
    assert cores() >= 1


def test_flags_are_words():
    assert all(flag and " " not in flag for flag in cpu_flags())
