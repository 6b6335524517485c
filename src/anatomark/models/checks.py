"""What a model knows about its own errors, its anatomy and its images; kept beside the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from anatomark.geometry import FloatArray
from anatomark.models.anatomy import Anatomy, learn_anatomy
from anatomark.models.likeness import Likeness, learn_likeness
from anatomark.models.radii import Radii, Trust, learn_trust, radii_of


@dataclass(frozen=True, eq=False)
class Checks:
    """Each is ``None`` where there were too few cases, or the method gives nothing to learn from.

    ``spread`` is the factor by which covariances have to grow to match the errors.
    """

    radii: Radii | None = None
    trust: Trust | None = None
    spread: float | None = None
    anatomy: Anatomy | None = None
    likeness: Likeness | None = None

    def to_record(self) -> dict[str, Any]:
        """Plain JSON."""
        parts = {k: v for k, v in vars(self).items() if v is not None}
        return {k: v if isinstance(v, float) else v.to_record() for k, v in parts.items()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The inverse."""
        kinds: dict[str, Any] = {
            "radii": Radii, "trust": Trust, "anatomy": Anatomy, "likeness": Likeness,
        }  # fmt: skip
        found: dict[str, Any] = {
            k: float(v) if k == "spread" else kinds[k].from_record(v) for k, v in record.items()
        }
        return cls(**found)


def learn_checks(
    *,
    errors: FloatArray,
    confidence: FloatArray | None,
    variance: FloatArray | None,
    shapes: FloatArray,
    statistics: Sequence[Mapping[str, float]],
) -> Checks:
    """Learn from the validation cases what errors are like, from the training cases the rest.

    ``errors``, raw ``confidence`` and ``variance`` are ``(N, L)``, NaN where absent; ``shapes``
    ``(M, L, D)``. The tolerance that confidence is about is the median error.
    """
    known = errors[np.isfinite(errors)]
    if not known.size:
        return Checks(anatomy=learn_anatomy(shapes), likeness=learn_likeness(statistics))
    tolerance = float(np.median(known))
    trust = None if confidence is None else learn_trust(confidence, errors, tolerance)
    spread = None
    if variance is not None:
        both = np.isfinite(errors) & np.isfinite(variance)
        total = float(variance[both].sum())
        spread = float((errors[both] ** 2).sum() / total) if total > 0 else None
    return Checks(
        radii_of(errors), trust, spread, learn_anatomy(shapes), learn_likeness(statistics)
    )
