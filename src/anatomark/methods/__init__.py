"""Methods: network, losses and decoding, behind one interface.

``METHODS`` find landmarks in an image, ``MATCHERS`` the same places in two.
"""

from __future__ import annotations

from collections.abc import Mapping

from anatomark.errors import UsageError
from anatomark.methods.base import Batch, Learner, Matcher, Method, MethodConfig, Prediction
from anatomark.methods.baselines import CrossEntropy, DirectRegression, HeatmapMatching
from anatomark.methods.fang2023 import Fang2023
from anatomark.methods.grewal2020 import Grewal2020
from anatomark.methods.noothout2020 import Noothout2020
from anatomark.methods.zhu2021 import Zhu2021

METHODS: Mapping[str, type[Method]] = {
    "fang2023": Fang2023,
    "noothout2020": Noothout2020,
    "zhu2021": Zhu2021,
    "heatmap_matching": HeatmapMatching,
    "cross_entropy": CrossEntropy,
    "direct_regression": DirectRegression,
}

MATCHERS: Mapping[str, type[Matcher]] = {"grewal2020": Grewal2020}

__all__ = [
    "MATCHERS", "METHODS", "Batch", "Learner", "Matcher", "Method", "MethodConfig", "Prediction",
    "method_named",
]  # fmt: skip


def method_named(name: str) -> type[Learner]:
    """A method of the tables."""
    known: dict[str, type[Learner]] = {**METHODS, **MATCHERS}
    if name not in known:
        raise UsageError(f"there is no method {name!r}", fix=f"choose of {', '.join(known)}")
    return known[name]
