"""Index axes that run the way one wants, without resampling."""

from __future__ import annotations

from anatomark.data import Image

_AXIS = {letter: axis for axis, pair in enumerate(("LR", "PA", "SI")) for letter in pair}


def turn(image: Image, towards: str = "LPS") -> Image:
    """Permute and reverse the axes of a volume so that they run nearest to ``towards``.

    ``towards`` has one letter for each of the world's axes x, y, z. Every voxel stays where it is.
    """
    homes = [_AXIS[letter] for letter in image.grid.orientation]
    turned = image.permute([homes.index(axis) for axis in range(3)])
    for axis, letter in enumerate(turned.grid.orientation):
        if letter != towards[axis]:
            turned = turned.flip(axis)
    return turned
