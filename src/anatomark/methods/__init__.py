"""Methods: network, losses and decoding, behind one interface; ``METHODS`` lists them."""

from __future__ import annotations

from collections.abc import Mapping

from anatomark.errors import UsageError
from anatomark.methods.base import Batch, Method, MethodConfig, Prediction
from anatomark.methods.baselines import CrossEntropy, DirectRegression, HeatmapMatching
from anatomark.methods.fang2023 import Fang2023
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

__all__ = ["METHODS", "Batch", "Method", "MethodConfig", "Prediction", "method_named"]


def method_named(name: str) -> type[Method]:
    """A method of the table."""
    if name not in METHODS:
        raise UsageError(f"there is no method {name!r}", fix=f"choose of {', '.join(METHODS)}")
    return METHODS[name]
