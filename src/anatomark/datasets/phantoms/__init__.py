"""Phantoms: images computed from a seed, with exactly known landmarks. No files are shipped.

They are phantoms, not patients: what each models and what it does not is in ``docs/phantoms.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from anatomark.data import Sample
from anatomark.maps import Map

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Drawn:
    """The images of one seed; ``to_pair`` pushes points of the first onto the second, if paired."""

    samples: tuple[Sample, ...]
    to_pair: Map | None = None


@dataclass(frozen=True)
class Phantom:
    """A kind of phantom: ``draw(seed, shape)`` makes the images of one case.

    ``shape`` is the default, in array order (z, y, x); another one shows the same field of view.
    ``small`` is a shape that is quick to draw and still worth looking at.
    """

    title: str
    description: str
    draw: Callable[[int, Shape], Drawn]
    landmarks: int
    shape: Shape
    small: Shape


def _prostate(seed: int, shape: Shape) -> Drawn:
    from anatomark.datasets.phantoms.prostate.pair import prostate_pair

    # The ultrasound is a cube, as in Fang 2023; its side is that of the MR's slices.
    pair = prostate_pair(seed, mr_shape=shape, us_shape=(shape[-1],) * 3)
    return Drawn((pair.mr, pair.us), pair.mr_to_us)


def _head(seed: int, shape: Shape) -> Drawn:
    from anatomark.datasets.phantoms.xray.head import head_xray

    return Drawn((head_xray(seed, shape=shape),))


def _hand(seed: int, shape: Shape) -> Drawn:
    from anatomark.datasets.phantoms.xray.hand import hand_xray

    return Drawn((hand_xray(seed, shape=shape),))


def _chest(seed: int, shape: Shape) -> Drawn:
    from anatomark.datasets.phantoms.xray.chest import chest_xray

    return Drawn((chest_xray(seed, shape=shape),))


def _thorax(seed: int, shape: Shape) -> Drawn:
    from anatomark.datasets.phantoms.ct.thorax import thorax_ct

    return Drawn((thorax_ct(seed, shape=shape),))


def _abdomen(seed: int, shape: Shape) -> Drawn:
    from anatomark.datasets.phantoms.ct.abdomen import abdomen_slice

    return Drawn((abdomen_slice(seed, shape=shape),))


def _olfactory(seed: int, shape: Shape) -> Drawn:
    from anatomark.datasets.phantoms.olfactory.mr import olfactory_mr

    return Drawn((olfactory_mr(seed, shape=shape),))


PHANTOMS: Mapping[str, Phantom] = {
    "prostate": Phantom(
        "Prostate: MR and ultrasound",
        "Pairs of a T2-weighted MR and a transrectal ultrasound of one prostate: moved, deformed.",
        _prostate,
        landmarks=3,
        shape=(128, 256, 256),
        small=(64, 128, 128),
    ),
    "head": Phantom(
        "Head X-ray",
        "Lateral head films with the 19 cephalometric points of ISBI 2015.",
        _head,
        landmarks=19,
        shape=(800, 640),
        small=(800, 640),
    ),
    "hand": Phantom(
        "Hand X-ray",
        "Hand films with 37 points at the joints, the finger tips and the wrist.",
        _hand,
        landmarks=37,
        shape=(640, 512),
        small=(640, 512),
    ),
    "chest": Phantom(
        "Chest X-ray",
        "Front-view chest films with top, bottom and outer border of each lung.",
        _chest,
        landmarks=6,
        shape=(512, 512),
        small=(512, 512),
    ),
    "thorax": Phantom(
        "Thorax CT",
        "Contrast-enhanced heart CT with 8 points at the aortic root and the coronary arteries.",
        _thorax,
        landmarks=8,
        shape=(96, 136, 136),
        small=(96, 136, 136),
    ),
    "abdomen": Phantom(
        "Abdomen CT slice",
        "Axial slices without landmarks, for matching under known warps.",
        _abdomen,
        landmarks=0,
        shape=(512, 512),
        small=(512, 512),
    ),
    "olfactory": Phantom(
        "Olfactory MR",
        "Coronal T2-weighted MR with the centre of each olfactory bulb; some bulbs are missing.",
        _olfactory,
        landmarks=2,
        shape=(28, 256, 256),
        small=(28, 128, 128),
    ),
}


def phantom_shape(kind: Phantom, shape: Sequence[int] | None) -> Shape:
    """The shape asked for, or the default one."""
    return kind.shape if shape is None else tuple(int(n) for n in shape)
