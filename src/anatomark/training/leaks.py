"""Which images a model was trained on: those are not fresh to a model that starts from it.

A model file holds no names, which may be those of patients, but a digest of each image.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping

from anatomark.errors import AnatomarkWarning, TrainingError
from anatomark.models.files import ModelInfo
from anatomark.training.cases import Example, never_present
from anatomark.training.groups import Group

_LENGTH = 16  # letters of a digest: 64 bits


def digest_of(example: Example) -> str | None:
    """Of the grey values as they were read; ``None`` if all are alike, which says nothing.

    From statistics that a prepared case has as well, whatever its grid and its format were. An
    image that was resampled or whose grey values were changed is another one.
    """
    values = {k: v for k, v in example.statistics.items() if not k.endswith("_level")}
    if not values or values.get("constant", 0) == 1:
        return None
    rounded = json.dumps({k: f"{v:.4e}" for k, v in sorted(values.items())})
    return hashlib.sha256(rounded.encode()).hexdigest()[:_LENGTH]


def look(group: Group) -> dict[str, str]:
    """Read every case once, and give digests by case: a fault appears before the first step."""
    digests: dict[str, str] = {}

    def read(case: str) -> Example:
        example = group.store[case]  # is kept
        digest = digest_of(example)
        if digest is not None:
            digests[case] = digest
        return example

    for case in group.validation:
        read(case)
    absent = never_present(map(read, group.train), group.cases.names)
    if absent:
        raise TrainingError(
            f"no training case has the landmark{'s' if len(absent) > 1 else ''} "
            f"{', '.join(absent)}",
            path=group.cases.source, fix="drop them from the cohort's names, or add cases",
        )  # fmt: skip
    return digests


def trained_on(group: Group, digests: Mapping[str, str]) -> tuple[str, ...]:
    """Digests of the training cases of a group."""
    return tuple(sorted({digests[case] for case in group.train if case in digests}))


def known_to(base: ModelInfo, group: Group, digests: Mapping[str, str]) -> int:
    """How many validation cases the model ``base`` was trained on; a warning if there are any."""
    seen = base.seen
    known = [case for case in group.validation if digests.get(case) in seen]
    if known:
        of = f" of {group.domain}" if group.domain else ""
        text = (
            f"{group.cases.source}: {len(known)} of {len(group.validation)} validation cases{of} "
            f"are among those that {base.recipe['name']} was trained on, such as {known[0]}: the "
            "validation error will be too small; take other cases for validation"
        )
        warnings.warn(AnatomarkWarning(text), stacklevel=2)
    return len(known)
