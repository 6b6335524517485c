"""The numbers of Noothout 2020: medians (interquartile ranges) in mm, marks of significance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

_WHOLE = {"local": False, "each": False}


class Row(NamedTuple):
    """A row of Table I: settings, the row it is tested against, cells per landmark and of all."""

    label: str
    settings: Mapping[str, Any]
    against: str | None
    cells: str

    def cell(self, column: int) -> str:
        """Published median (IQR) of a landmark, of all for -1."""
        return self.cells.split("; ")[column]


TABLE1: Mapping[str, Row] = {
    "r": Row(
        "global, R", {"displacement": "linear", "classify": False, **_WHOLE}, "rlog_c",
        "3.20 (2.05) ‡; 2.95 (1.95) †; 3.08 (2.47) ‡; 3.14 (2.10) ‡; 3.51 (2.04) ‡; 3.55 (2.14) ‡; "
        "4.36 (2.92) ‡; 3.92 (2.71) ‡; 3.44 (2.36) ‡",
    ),
    "rlog": Row(
        "global, R_log", {"displacement": "log", "classify": False, **_WHOLE}, "rlog_c",
        "3.12 (2.06) ‡; 3.12 (2.02) ‡; 3.04 (2.09) ‡; 2.49 (1.84); 3.36 (2.18) ‡; 3.18 (1.71) ‡; "
        "4.08 (2.87) ‡; 4.05 (2.66) ‡; 3.23 (2.30) ‡",
    ),
    "c": Row(
        "global, C", {"displacement": "none", "classify": True, **_WHOLE}, "rlog_c",
        "5.64 (4.13) ‡; 4.77 (2.10) ‡; 4.62 (2.37) ‡; 4.43 (2.23) ‡; 4.69 (3.01) ‡; 4.34 (2.73) ‡; "
        "5.07 (2.67) ‡; 4.64 (2.61) ‡; 4.76 (2.72) ‡",
    ),
    "r_c": Row(
        "global, R + C", {"displacement": "linear", "classify": True, **_WHOLE}, "rlog_c",
        "2.93 (1.96); 2.60 (1.53); 2.62 (2.54); 2.73 (1.54) †; 3.31 (1.92) †; 3.14 (1.66) †; "
        "4.23 (2.94) ‡; 3.72 (2.78) †; 3.09 (2.11) ‡",
    ),
    "rlog_c": Row(
        "global, R_log + C", {"displacement": "log", "classify": True, **_WHOLE}, None,
        "2.72 (1.71); 2.59 (1.84); 2.60 (1.98); 2.51 (1.74); 3.08 (1.79); 2.77 (1.70); "
        "2.90 (1.93); 3.31 (2.23); 2.81 (1.88)",
    ),
    "sl": Row(
        "global-to-local, single-landmark",
        {"displacement": "log", "classify": True, "local": True, "each": True}, "ml",
        "1.99 (1.82); 1.94 (1.32); 1.69 (1.73); 2.29 (1.46); 2.68 (1.75) ‡; 3.09 (1.82) ‡; "
        "1.48 (0.98); 1.55 (1.02); 2.03 (1.79) ‡",
    ),
    "ml": Row(
        "global-to-local, multi-landmark",
        {"displacement": "log", "classify": True, "local": True, "each": False}, None,
        "1.85 (1.96); 1.80 (1.59); 1.76 (1.67); 2.40 (1.58); 2.48 (1.72); 2.23 (1.42); "
        "1.45 (1.20); 1.55 (0.97); 1.87 (1.67)",
    ),
}  # fmt: skip
OLFACTORY = {"right_bulb": "0.87 (1.36)", "left_bulb": "0.90 (0.58)", "all": "0.90 (0.85)"}
_TEST1 = (
    "0.51 (0.41); 1.00 (1.25); 1.01 (1.09); 1.62 (1.71); 1.64 (1.64); 0.94 (0.98); 0.70 (0.85); "
    "0.63 (0.70); 0.76 (0.85); 2.12 (1.83); 0.80 (1.26); 0.46 (0.89); 1.13 (0.83); 0.84 (0.58); "
    "0.90 (0.88); 1.23 (1.14); 0.64 (0.64); 0.94 (1.21); 1.50 (1.78); 0.95 (1.15)"
)
_TEST2 = (
    "0.52 (0.34); 0.57 (1.00); 2.31 (1.40); 1.19 (1.49); 1.11 (1.06); 2.62 (1.73); 0.58 (0.72); "
    "0.50 (0.47); 0.52 (0.55); 1.68 (1.61); 0.63 (0.87); 0.42 (0.67); 2.32 (0.87); 1.87 (1.09); "
    "0.94 (0.64); 4.32 (1.47); 0.88 (0.81); 1.13 (1.19); 1.06 (1.35); 1.07 (1.60)"
)
TABLE2 = (_TEST1.split("; "), _TEST2.split("; "))  # L1 to L19, then all
