"""What is detected in one image."""

from __future__ import annotations

from dataclasses import dataclass

from anatomark.data import Landmarks
from anatomark.inference.flags import Findings


@dataclass(frozen=True, eq=False)
class Detection:
    """Landmarks of one image, with what is known about them.

    ``landmarks`` are in the world (LPS), with confidence and covariance where the method gives
    them; ``findings`` are radii and flags, and points that were repaired.
    """

    landmarks: Landmarks
    findings: Findings
