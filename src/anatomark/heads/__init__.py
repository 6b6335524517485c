"""From maps to coordinates: expectation (DSNT), argmax, local soft-argmax.

Maps are ``(B, L, *shape)`` with ``shape`` in array order (z, y, x). Points come back normalised
(``align_corners=False``) in x, y(, z) order, spreads in millimetres along the axes of the maps.
"""

from anatomark.heads.expectation import Expectation, expect
from anatomark.heads.peaks import Peak, find_peak, find_peak_window

__all__ = ["Expectation", "Peak", "expect", "find_peak", "find_peak_window"]
