"""Divide the cases of a cohort into train, val and test, whole patients at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from anatomark.data import Case
from anatomark.errors import UsageError

_NAMES = ("train", "val", "test")


def divide(cases: Sequence[Case], parts: str, *, seed: int = 0) -> list[Case]:
    """Give every case a split; cases that their source calls a test stay what they are.

    ``parts`` is ``"0.8,0.1,0.1"``: these shares of the patients, drawn with ``seed``, for train,
    val and test; or ``"550,59,300"``: so many cases in the order of their names, as papers do.
    """
    amounts = _amounts(parts)
    open_cases = sorted((c for c in cases if not c.split.startswith("test")), key=lambda c: c.case)
    if any(amount > 1 for amount in amounts):
        chosen = _in_order(open_cases, amounts, parts)
    else:
        chosen = _by_patient(open_cases, amounts, seed)
    return [replace(case, split=chosen.get(case.case, case.split)) for case in cases]


def _amounts(parts: str) -> list[float]:
    wrong = UsageError(
        f"split is {parts!r}",
        fix="write shares that sum to 1, as 0.8,0.1,0.1, or counts: 550,59,300",
    )
    try:
        amounts = [float(part) for part in parts.split(",")]
    except ValueError:
        raise wrong from None
    shares = math.isclose(sum(amounts), 1, abs_tol=1e-6)
    counts = all(amount.is_integer() for amount in amounts) and sum(amounts) > 1
    if not 2 <= len(amounts) <= 3 or min(amounts) < 0 or not (shares or counts):
        raise wrong
    return amounts


def _in_order(cases: Sequence[Case], counts: Sequence[float], parts: str) -> dict[str, str]:
    if sum(counts) != len(cases):
        raise UsageError(f"split {parts!r} is for {sum(counts):g} cases, there are {len(cases)}")
    names = np.repeat(_NAMES[: len(counts)], np.asarray(counts, int))
    return {case.case: str(name) for case, name in zip(cases, names, strict=True)}


def _by_patient(cases: Sequence[Case], shares: Sequence[float], seed: int) -> dict[str, str]:
    patients = sorted({_person(case) for case in cases})
    order = np.random.default_rng(seed).permutation(len(patients))
    ends = np.round(np.cumsum(shares) * len(patients)).astype(int)
    rank = {patients[who]: place for place, who in enumerate(order)}
    return {
        case.case: _NAMES[int(np.searchsorted(ends, rank[_person(case)], "right"))]
        for case in cases
    }


def _person(case: Case) -> str:
    """Who is never divided: the patient, else the case with the one that it is paired with."""
    return case.patient or min(case.case, case.pair or case.case)
