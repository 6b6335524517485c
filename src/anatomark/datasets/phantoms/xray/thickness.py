"""Shared drawing of X-ray-like phantoms: thickness of tissue, Beer–Lambert, detector, film.

Anatomy is drawn as millimetres of soft tissue, bone and metal on the way of each ray. The film is
measured in millimetres too, x then y from its upper left corner, whatever the number of pixels:
a smaller picture shows the same anatomy with larger pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from anatomark.datasets.phantoms.texture import smooth_noise
from anatomark.datasets.phantoms.xray.outlines import Shape
from anatomark.datasets.phantoms.xray.raster import Float32, Raster, resize

Profile = Callable[[Float32], Float32]


# -- thickness as a function of depth ----------------------------------------------------------


def chord(radius: float) -> Profile:
    """Path through a cylinder or sphere of ``radius`` mm, full from that depth on."""

    def profile(depth: Float32) -> Float32:
        inside = np.clip(depth, 0, np.float32(radius))
        return np.float32(2) * np.sqrt(inside * (np.float32(2 * radius) - inside))

    return profile


def shell(radius: float, wall: float, filling: float = 0.0) -> Profile:
    """Path through a hollow bone: a wall of ``wall`` mm, its inside a part ``filling`` of bone."""
    whole, hollow = chord(radius), chord(max(radius - wall, 1e-3))

    def profile(depth: Float32) -> Float32:
        return whole(depth) - np.float32(1 - filling) * hollow(depth - np.float32(wall))

    return profile


def plate(thickness: float, edge: float) -> Profile:
    """Rise to ``thickness`` mm over ``edge`` mm from the outline."""

    def profile(depth: Float32) -> Float32:
        risen: Float32 = np.float32(thickness) * np.clip(depth / np.float32(edge), 0, 1)
        return risen

    return profile


def dome(thickness: float, length: float) -> Profile:
    """Rise towards ``thickness`` mm, slower and slower, ``length`` mm being its measure."""

    def profile(depth: Float32) -> Float32:
        inside = np.maximum(depth, 0) / np.float32(length)
        risen: Float32 = np.float32(-thickness) * np.expm1(-inside)
        return risen

    return profile


# -- the film ------------------------------------------------------------------------------------


class Projection:
    """Thickness maps (mm) of ``soft``, ``bone`` and ``metal`` on a film."""

    def __init__(self, raster: Raster) -> None:
        self.raster = raster
        self.maps = {n: np.zeros(raster.shape, np.float32) for n in ("soft", "bone", "metal")}

    def add(
        self,
        material: str,
        shape: Shape,
        profile: Profile,
        amount: float = 1.0,
        *,
        texture: Float32 | None = None,
    ) -> None:
        """Add ``amount`` times the profile of the shape's depth to one thickness map.

        ``texture`` makes the tissue uneven: the thickness is multiplied by ``1 + texture``.
        """
        found = shape.depth(self.raster)
        if found is not None:
            window, depth = found
            thickness = np.float32(amount) * profile(depth)
            if texture is not None:
                thickness *= np.maximum(1 + texture[window], 0)
            self.maps[material][window] += thickness

    def carve(self, materials: Sequence[str], shape: Shape, part: float, edge: float) -> None:
        """Take away a part of what was drawn so far: an air space, an opening in bone."""
        found = shape.depth(self.raster)
        if found is not None:
            window, depth = found
            left = 1 - plate(part, edge)(depth)
            for material in materials:
                self.maps[material][window] *= left

    def texture(self, scale_mm: float, rng: np.random.Generator) -> Float32:
        """Smooth noise of unit variance that is the same tissue at every number of pixels."""
        finer = 2 if self.raster.pixel_mm.max() < scale_mm / 2 else 1
        rows, columns = (finer * round(side / scale_mm) for side in self.raster.film_mm[::-1])
        field = smooth_noise((rows, columns), scale_voxels=finer, rng=rng)
        return resize(field, self.raster.shape)
