"""Evaluations to look at, made without files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from anatomark.data import Landmarks
from anatomark.metrics.evaluation import Evaluation, evaluate
from anatomark.metrics.sources import Truth


def _evaluation(
    cases: int = 6,
    landmarks: int = 4,
    dimension: int = 2,
    *,
    sd: float = 1.0,
    absent: float = 0.0,
    seed: int = 0,
    **options: Any,
) -> Evaluation:
    rng = np.random.default_rng(seed)
    names = [f"point_{k}" for k in range(landmarks)]

    def some(points: Any) -> Landmarks:
        return Landmarks(names, np.where(rng.random((landmarks, 1)) < absent, np.nan, points))

    # The truth does not depend on what the prediction looks like.
    shape = (cases, landmarks, dimension)
    places = np.random.default_rng(99).normal(0, 40, shape)
    truth = {f"case_{i}": some(p) for i, p in enumerate(places)}
    found = {f"case_{i}": some(p + rng.normal(0, sd, p.shape)) for i, p in enumerate(places)}
    said = options.pop("said", "ours")
    return evaluate(Truth(truth, "the truth"), found, said=said, draws=200, **options)


@pytest.fixture
def make_evaluation() -> Callable[..., Evaluation]:
    """Make an evaluation of random points: ``make_evaluation(cases, landmarks, dimension)``."""
    return _evaluation
