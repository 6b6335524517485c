"""Measurements for the tests; a process of its own finds them by name."""

from __future__ import annotations

import os
import time

import numpy as np

from anatomark.bench.measure import Task, Work

SLOW_S, FAST_S = 0.06, 0.03
MIB = 64


def apart(ours, naive):
    return float(np.abs(np.asarray(ours) - np.asarray(naive)).max())


def sleeping(setting):
    def slow():
        time.sleep(SLOW_S)
        return setting.size[0]

    def fast():
        time.sleep(FAST_S)
        return setting.size[0]

    return Work(fast, slow, apart, 0)


def different(setting):
    return Work(lambda: 1.0, lambda: 1.5, apart, 0.1)


def nothing(setting):
    return Work(lambda: float("nan"), lambda: 1.0, apart, 0.1)


def broken(setting):
    raise ValueError("no such\nthing")


def ended(setting):
    os._exit(3)


def large(setting):
    """Ours needs ``size`` MiB at once, the reference twice as much; both give them back."""

    def held(times):
        return float(np.ones(times * setting.size[0] * 2**17).sum() / times)

    return Work(lambda: held(1), lambda: held(2), apart, 0)


def task(make, **changes):
    return Task(make.__name__, "a nap", make, (MIB,), (1,), "{0} things", **changes)
