"""Maps of space: where a point of one world goes in another.

A ``Map`` is called on points ``(N, D)`` in LPS millimetres and *pushes* them from its source to
its target world. To resample an image onto a target grid one *pulls*: with the inverse map (see
``sampling.resample``). Arrays come back as float64 arrays, tensors as tensors with gradient.
"""

from anatomark.maps.affine import Affine
from anatomark.maps.base import Chain, Inverse, Map
from anatomark.maps.bspline import BSpline
from anatomark.maps.displacement import Displacement
from anatomark.maps.gaussians import Gaussians
from anatomark.maps.thin_plate import ThinPlate

__all__ = [
    "Affine",
    "BSpline",
    "Chain",
    "Displacement",
    "Gaussians",
    "Inverse",
    "Map",
    "ThinPlate",
]
