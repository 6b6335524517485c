"""A paper's tables, trained and measured here, printed beside the published numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from anatomark.reproduce import fang2023, grewal2020, noothout2020, zhu2021
from anatomark.reproduce.common import Budget, Reproduced

#: The longest first, so that several at a time end together.
PAPERS: Mapping[str, Callable[..., Reproduced]] = {
    "noothout2020": noothout2020.reproduce,
    "fang2023": fang2023.reproduce,
    "zhu2021": zhu2021.reproduce,
    "grewal2020": grewal2020.reproduce,
}

__all__ = ["PAPERS", "Budget", "Reproduced"]
