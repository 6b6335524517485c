"""Are points as sure as they say? Their covariances against their errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from anatomark.data import Landmarks
from anatomark.metrics.errors import ErrorTable

LEVEL = 0.95
_LEAST = 3  # points that a rank correlation is made of


@dataclass(frozen=True)
class Sureness:
    """Of ``count`` points with a covariance and an error.

    ``spearman`` is the rank correlation of predicted spread (root of the trace) and error;
    ``within`` the percentage of true points in the ``level`` ellipse of their prediction.
    """

    count: int
    spearman: float
    within: float
    level: float = LEVEL

    def sentence(self) -> str:
        """For tables and terminals."""
        rho = f"{self.spearman:.2f}" if np.isfinite(self.spearman) else "none"
        return (
            f"Predicted spread and error of {self.count} points: Spearman's rank correlation "
            f"{rho}; {self.within:.1f} % of the true points lie in their "
            f"{100 * self.level:.0f} % ellipse."
        )

    def to_record(self) -> dict[str, Any]:
        """Plain numbers, ``None`` where there is no correlation."""
        found = asdict(self)
        return {k: v if np.isfinite(v) else None for k, v in found.items()}


def sureness(table: ErrorTable, prediction: Mapping[str, Landmarks]) -> Sureness | None:
    """``None`` where predictions carry no covariances, or too few."""
    from scipy import stats

    spreads, errors, inside = [], [], []
    limit = float(stats.chi2.ppf(LEVEL, table.dimension))
    for row, case in enumerate(table.cases):
        marks = prediction.get(case)
        if marks is None or marks.covariance_mm2 is None:
            continue
        place = {name: i for i, name in enumerate(marks.names)}
        for column, name in enumerate(table.names):
            offset = table.offsets[row, column]
            if name not in place or not np.isfinite(offset).all():
                continue
            covariance = marks.covariance_mm2[place[name]]
            if not np.isfinite(covariance).all() or np.linalg.matrix_rank(covariance) < len(offset):
                continue
            spreads.append(float(np.sqrt(np.trace(covariance))))
            errors.append(float(np.linalg.norm(offset)))
            inside.append(bool(offset @ np.linalg.solve(covariance, offset) <= limit))
    if len(errors) < _LEAST:
        return None
    # Where all are equally sure there is no rank to correlate.
    constant = np.ptp(spreads) == 0 or np.ptp(errors) == 0
    rho = float("nan") if constant else float(stats.spearmanr(spreads, errors).statistic)
    return Sureness(len(errors), rho, 100 * float(np.mean(inside)))
