"""Find, match and use anatomical landmarks in 2D and 3D medical images.

The names below are the public ones. Each is imported when it is first used, so that
``import anatomark`` takes no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from anatomark.data import Case, Cohort, Image, Landmarks, Sample
    from anatomark.errors import AnatomarkError
    from anatomark.geometry import Grid
    from anatomark.io.cohorts.files import load_sample, read_cohort, write_cohort
    from anatomark.io.images.reading import read_image, write_image
    from anatomark.io.landmarks.formats import read_landmarks, write_landmarks
    from anatomark.io.transforms.formats import read_transform, write_transform
    from anatomark.maps import Affine, Chain, Displacement, Map, ThinPlate
    from anatomark.pictures import draw, save_picture
    from anatomark.sampling import resample
    from anatomark.slices import slice_of

_HOMES = {
    "anatomark.data": ("Case", "Cohort", "Image", "Landmarks", "Sample"),
    "anatomark.errors": ("AnatomarkError",),
    "anatomark.geometry": ("Grid",),
    "anatomark.io.cohorts.files": ("load_sample", "read_cohort", "write_cohort"),
    "anatomark.io.images.reading": ("read_image", "write_image"),
    "anatomark.io.landmarks.formats": ("read_landmarks", "write_landmarks"),
    "anatomark.io.transforms.formats": ("read_transform", "write_transform"),
    "anatomark.maps": ("Affine", "Chain", "Displacement", "Map", "ThinPlate"),
    "anatomark.pictures": ("draw", "save_picture"),
    "anatomark.sampling": ("resample",),
    "anatomark.slices": ("slice_of",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Affine",
    "AnatomarkError",
    "Case",
    "Chain",
    "Cohort",
    "Displacement",
    "Grid",
    "Image",
    "Landmarks",
    "Map",
    "Sample",
    "ThinPlate",
    "__version__",
    "draw",
    "load_sample",
    "read_cohort",
    "read_image",
    "read_landmarks",
    "read_transform",
    "resample",
    "save_picture",
    "slice_of",
    "write_cohort",
    "write_image",
    "write_landmarks",
    "write_transform",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'anatomark' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
