"""How far matches are off where the map is known, as in Grewal et al. 2020, section 3.3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from anatomark.correspondence import Matches
from anatomark.geometry import FloatArray, Unit
from anatomark.maps import Map
from anatomark.metrics.tables import number

THRESHOLDS = (1.0, 2.0, 4.0, 8.0)
WILD = 64.0  # beyond it the paper calls a match one of "far apart regions"
_NONE = float("nan")


def match_errors(matches: Matches, to_moving: Map) -> FloatArray:
    """Distance ``(N,)`` of each moving point, brought back to the fixed image, from its partner.

    ``to_moving`` pushes points of the fixed image onto the moving one; in the unit of the matches.
    """
    back = to_moving.inverse()(matches.moving_mm)
    return np.asarray(np.linalg.norm(back - matches.fixed_mm, axis=1))


@dataclass(frozen=True)
class ErrorSummary:
    """What one matcher reached on many pairs of images.

    ``matches`` are median and quartiles of the number of matches of a pair; ``errors`` those of the
    errors of all matches together. ``within`` are percentages at most so far off (``<=``), in the
    order of ``thresholds``, ``wild`` the percentage farther off than ``beyond``.
    """

    pairs: int
    count: int
    matches: tuple[float, float, float]
    errors: tuple[float, float, float]
    thresholds: tuple[float, ...]
    within: tuple[float, ...]
    beyond: float
    wild: float
    unit: Unit


def summarise(
    errors: Sequence[FloatArray],
    *,
    unit: Unit = "mm",
    thresholds: Sequence[float] = THRESHOLDS,
    beyond: float = WILD,
) -> ErrorSummary:
    """Summarise the errors of each pair of images; a pair without matches counts as one with 0."""
    together = np.concatenate([np.zeros(0), *errors])
    percent = percent_within(together, [*thresholds, beyond])
    return ErrorSummary(
        pairs=len(errors),
        count=len(together),
        matches=quartiles([len(e) for e in errors]),
        errors=quartiles(together),
        thresholds=tuple(thresholds),
        within=tuple(percent[:-1].tolist()),
        beyond=beyond,
        wild=float(100 - percent[-1]),
        unit=unit,
    )


def percent_within(errors: ArrayLike, at: ArrayLike) -> FloatArray:
    """Percentage of errors ``<=`` each value of ``at``: a cumulative curve; NaN without errors."""
    known, places = np.sort(np.asarray(errors, np.float64)), np.asarray(at, np.float64)
    if not known.size:
        return np.full(places.shape, np.nan)
    return np.asarray(100 * np.searchsorted(known, places, side="right") / known.size)


def quartiles(values: ArrayLike) -> tuple[float, float, float]:
    """Median, first and third quartile; NaN of nothing."""
    known = np.asarray(values, np.float64)
    if not known.size:
        return _NONE, _NONE, _NONE
    low, middle, high = np.percentile(known, [25, 50, 75]).tolist()
    return middle, low, high


def error_rows(summaries: Mapping[str, ErrorSummary]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows for people, a row a matcher; all must have the same thresholds."""
    if not summaries:
        return ["matcher"], []
    some = next(iter(summaries.values()))
    heads = ["matcher", "pairs", "matches a pair", f"error ({some.unit})"]
    heads += [f"≤ {t:g} {some.unit} (%)" for t in some.thresholds]
    heads.append(f"> {some.beyond:g} {some.unit} (%)")
    return heads, [_row(name, one) for name, one in summaries.items()]


def _row(name: str, one: ErrorSummary) -> list[str]:
    spread = [quartiles_text(one.matches, 0), quartiles_text(one.errors, 2)]
    rates = [number(value, 1) for value in (*one.within, one.wild)]
    return [name, str(one.pairs), *spread, *rates]


def quartiles_text(middle_low_high: tuple[float, float, float], decimals: int) -> str:
    """As the paper writes them: ``1.0 (0.0–1.4)``."""
    middle, low, high = (number(v, decimals) for v in middle_low_high)
    return middle if middle == "–" else f"{middle} ({low}–{high})"
