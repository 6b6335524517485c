"""Phantom of a prostate in two images: T2-weighted MR and transrectal ultrasound.

One seeded pelvis is drawn twice: as it lies in the MR scanner, and as a probe in the rectum sees
it, moved rigidly and deformed smoothly. The map between both worlds is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from anatomark.data import Image, Landmarks, Sample
from anatomark.datasets.phantoms.prostate.gland import LANDMARK_NAMES, draw_gland
from anatomark.datasets.phantoms.prostate.mr import render_mr
from anatomark.datasets.phantoms.prostate.painting import Pelvis
from anatomark.datasets.phantoms.prostate.pelvis import draw_pelvis
from anatomark.datasets.phantoms.prostate.pose import (
    MR_SHAPE,
    US_SHAPE,
    Pose,
    draw_deformation,
    draw_mr_pose,
    draw_us_pose,
)
from anatomark.datasets.phantoms.prostate.probe import PROBES, Probe, View
from anatomark.datasets.phantoms.prostate.ultrasound import UltrasoundImages, render_ultrasound
from anatomark.datasets.phantoms.texture import stream
from anatomark.errors import UsageError
from anatomark.maps import Affine, Chain, Displacement, Map

Modality = Literal["mr", "us"]
MODALITIES: tuple[Modality, ...] = ("mr", "us")

_MOST_DEFORMATION_MM = 10.0  # beyond, the field could fold


@dataclass(frozen=True, eq=False)
class ProstatePair:
    """The same prostate in an MR and in an ultrasound image, with the map between them.

    ``mr`` and ``us`` are drawn when they are first asked for. ``Sample.mask`` is the gland.
    ``Sample.info["outside_view"]`` lists the landmarks that the image does not show: they are
    annotated all the same, where they are.
    """

    seed: int
    pelvis: Pelvis
    mr_pose: Pose
    us_pose: Pose
    view: View
    deformation: Displacement

    @property
    def probe(self) -> Probe:
        """The kind of ultrasound probe."""
        return self.view.probe

    @cached_property
    def us_to_mr(self) -> Chain:
        """The map that pushes points from the ultrasound to the MR world; in closed form."""
        back, forth = self.us_pose.to_world.inverse(), self.mr_pose.to_world
        rigid = Affine(forth.matrix @ back.matrix, forth(back.offset))
        return Chain((self.deformation, rigid))

    @cached_property
    def mr_to_us(self) -> Map:
        """The map that pushes points from the MR to the ultrasound world.

        A rigid motion, then the inverse of a smooth displacement, solved to 1e-6 mm.
        """
        return self.us_to_mr.inverse()

    @cached_property
    def mr_landmarks(self) -> Landmarks:
        """The landmarks in the MR world, LPS mm."""
        return Landmarks(LANDMARK_NAMES, self.mr_pose.to_world(self.pelvis.gland.landmarks))

    @cached_property
    def us_landmarks(self) -> Landmarks:
        """The landmarks in the ultrasound world, LPS mm: those of the MR, mapped."""
        return self.mr_landmarks.moved(self.mr_to_us)

    @cached_property
    def mr(self) -> Sample:
        """The MR image (int16, arbitrary units) with landmarks and mask of the gland."""
        image, mask = render_mr(self.pelvis, self.mr_pose, self.seed)
        grid = self.mr_pose.grid
        return Sample(
            case=f"prostate-{self.seed}-mr",
            image=Image(image, grid),
            landmarks=self.mr_landmarks,
            mask=Image(mask, grid),
            domain="mr",
            info={"phantom": "prostate", "seed": self.seed, "outside_view": ()},
        )

    @cached_property
    def us(self) -> Sample:
        """The ultrasound image (uint8, 0 outside the sector) with landmarks and mask."""
        grid, drawn = self.us_pose.grid, self._ultrasound
        return Sample(
            case=f"prostate-{self.seed}-us",
            image=Image(drawn.image, grid),
            landmarks=self.us_landmarks,
            mask=Image(drawn.gland, grid),
            domain="us",
            info=self._us_info(),
        )

    @cached_property
    def field_of_view(self) -> Image:
        """1 where the probe sees, on the grid of the ultrasound image (uint8)."""
        return Image(self._ultrasound.view, self.us_pose.grid)

    @cached_property
    def _ultrasound(self) -> UltrasoundImages:
        return render_ultrasound(self.pelvis, self.us_pose, self.view, self.deformation, self.seed)

    def _us_info(self) -> dict[str, Any]:
        frame = self.us_pose.frame
        local = (self.us_landmarks.points_mm - frame.centre) @ frame.direction
        seen = self.view.sees(local.T)
        gland = self._ultrasound.gland > 0
        shown = float(self._ultrasound.view[gland].mean()) if gland.any() else 0.0
        return {
            "phantom": "prostate",
            "seed": self.seed,
            "probe": self.probe,
            "outside_view": tuple(n for n, s in zip(LANDMARK_NAMES, seen, strict=True) if not s),
            "visible_part": round(shown, 3),
        }


def prostate_pair(
    seed: int,
    *,
    mr_shape: Sequence[int] = MR_SHAPE,
    us_shape: Sequence[int] = US_SHAPE,
    probe: Probe | None = None,
    partial_view: bool | None = None,
    max_rotation_deg: float = 20.0,
    max_shift_mm: float = 18.0,
    deformation_mm: float = 5.0,
    modalities: Sequence[Modality] = MODALITIES,
) -> ProstatePair:
    """Draw a prostate in MR and ultrasound.

    ``mr_shape`` and ``us_shape`` are ``(z, y, x)``; the defaults have voxels of 0.5×0.5×1.0 mm and
    of 0.4 mm, and any other shape covers the same box with the same anatomy. ``probe`` and
    ``partial_view`` (a part of the gland is not seen) are drawn where they are not given.
    ``max_rotation_deg`` and ``max_shift_mm`` (along each axis) say how far the gland may lie from
    its usual place in each image, ``deformation_mm`` how far the probe may move a point of it.
    Only ``modalities`` are drawn at once, another one when it is first asked for.
    """
    mr_size, us_size = _shape("mr_shape", mr_shape), _shape("us_shape", us_shape)
    _check_choices(probe, modalities)
    _check_range("max_rotation_deg", max_rotation_deg, 180)
    _check_range("max_shift_mm", max_shift_mm, 100)
    _check_range("deformation_mm", deformation_mm, _MOST_DEFORMATION_MM)
    gland = draw_gland(stream(seed, "prostate", "gland"))
    freedom = {"rotation_deg": max_rotation_deg, "shift_mm": max_shift_mm}
    mr_pose = draw_mr_pose(seed, gland, shape=mr_size, **freedom)
    us_pose, view = draw_us_pose(
        seed,
        gland,
        shape=us_size,
        probe=probe,
        partial_view=partial_view,
        deformation_mm=deformation_mm,
        **freedom,
    )
    pair = ProstatePair(
        seed=int(seed),
        pelvis=draw_pelvis(stream(seed, "prostate", "pelvis"), gland),
        mr_pose=mr_pose,
        us_pose=us_pose,
        view=view,
        deformation=draw_deformation(seed, gland, us_pose, view, deformation_mm=deformation_mm),
    )
    with ThreadPoolExecutor(len(MODALITIES)) as pool:
        for _ in pool.map(lambda modality: getattr(pair, modality), modalities):
            pass
    return pair


def _shape(name: str, shape: Sequence[int]) -> tuple[int, ...]:
    sizes = tuple(int(n) for n in shape)
    if len(sizes) != 3 or min(sizes) < 1:
        raise UsageError(f"{name} needs three sizes (z, y, x) of at least 1, not {shape}")
    return sizes


def _check_choices(probe: str | None, modalities: Sequence[str]) -> None:
    if probe is not None and probe not in PROBES:
        raise UsageError(f"probe is {' or '.join(PROBES)}, not {probe!r}")
    if isinstance(modalities, str) or not set(modalities) <= set(MODALITIES):
        raise UsageError(f"modalities are among {', '.join(MODALITIES)}, not {modalities!r}")


def _check_range(name: str, value: float, most: float) -> None:
    if not (np.isfinite(value) and 0 <= value <= most):
        raise UsageError(f"{name} must lie between 0 and {most:g}, not {value!r}")
