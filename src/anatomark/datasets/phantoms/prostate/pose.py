"""Where the pelvis lies in each image, and how the ultrasound probe deforms it.

Three frames, all in mm: *body*, that of ``Gland``; *local*, about the centre of a grid and along
its own axes; *world*, LPS, where the landmarks are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from anatomark.datasets.phantoms.prostate.gland import Gland
from anatomark.datasets.phantoms.prostate.probe import PROBES, Probe, View, draw_view
from anatomark.datasets.phantoms.texture import smooth_noise, stream
from anatomark.errors import UsageError
from anatomark.geometry import FloatArray, Grid
from anatomark.maps import Affine, Displacement

MR_SHAPE = (128, 256, 256)
MR_SPACING = (0.5, 0.5, 1.0)
US_SHAPE = (256, 256, 256)
US_SPACING = (0.4, 0.4, 0.4)

_TRIES = 400
_PROBE_POINTS = 400
_TIP_MM = 30.0  # usual place of the probe's tip on the y axis, well towards its high end
_WHOLE, _PARTIAL = (0.985, 1.0), (0.60, 0.92)  # shares of the gland that the sector may show
_MARGIN_MM = 2.0
_LATTICE = 20
_LATTICE_REACH = 1.3  # of the grid's own extent


@dataclass(frozen=True)
class Pose:
    """The place of the body in one image: ``local = turn @ body + shift``.

    ``frame`` is the grid of full size, to which all places refer, so that they do not depend on
    the number of voxels; ``grid`` is the one to draw on, over the same box.
    """

    frame: Grid
    grid: Grid
    turn: FloatArray
    shift: FloatArray

    @cached_property
    def to_world(self) -> Affine:
        """From body to world."""
        direction = self.frame.direction
        return Affine(direction @ self.turn, direction @ self.shift + self.frame.centre)

    def local(self, body_mm: FloatArray) -> FloatArray:
        """Local coordinates ``(N, 3)`` of body coordinates ``(N, 3)``."""
        moved: FloatArray = body_mm @ self.turn.T + self.shift
        return moved


def rotation(rng: np.random.Generator, largest_deg: float) -> FloatArray:
    """Draw a rotation matrix about any axis, by an angle of up to ``largest_deg``."""
    axis = rng.normal(size=3)
    axis *= np.deg2rad(rng.uniform(0, largest_deg)) / np.linalg.norm(axis)
    return turned(axis)


def turned(vector_rad: FloatArray | tuple[float, float, float]) -> FloatArray:
    """Rotation matrix of a rotation vector in radians."""
    x, y, z = vector_rad
    angle = float(np.sqrt(x * x + y * y + z * z))
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    # sin(a)/a and (1 - cos(a))/a², which stay exact where the angle is 0
    first, second = np.sinc(angle / np.pi), 0.5 * np.sinc(angle / (2 * np.pi)) ** 2
    matrix: FloatArray = np.eye(3) + first * cross + second * (cross @ cross)
    return matrix


def _frame(
    shape: tuple[int, ...],
    spacing: tuple[float, ...],
    direction: FloatArray,
    centre: FloatArray,
) -> Grid:
    half = (np.array(shape[::-1]) - 1) / 2 * spacing
    return Grid(shape, np.array(spacing), centre - direction @ half, direction)


def draw_mr_pose(
    seed: int, gland: Gland, *, shape: tuple[int, ...], rotation_deg: float, shift_mm: float
) -> Pose:
    """Draw an axial-oblique MR grid and the place of the body in it."""
    rng = stream(seed, "prostate", "mr pose")
    tilt = turned(np.deg2rad(rng.uniform([-15, -5, -5], [15, 5, 5])))
    frame = _frame(MR_SHAPE, MR_SPACING, tilt, rng.uniform(-60, 60, 3))
    grid = frame.resized(shape)
    for _ in range(_TRIES):
        turn, shift = rotation(rng, rotation_deg), rng.uniform(-shift_mm, shift_mm, 3)
        pose = Pose(frame, grid, turn, shift)
        if frame.contains(pose.to_world(gland.landmarks), margin=-_MARGIN_MM).all():
            return pose
    raise UsageError(
        "no place was found where all landmarks lie in the MR image", fix="lower max_shift_mm"
    )


def draw_us_pose(
    seed: int,
    gland: Gland,
    *,
    shape: tuple[int, ...],
    probe: Probe | None,
    partial_view: bool | None,
    rotation_deg: float,
    shift_mm: float,
    deformation_mm: float,
) -> tuple[Pose, View]:
    """Draw an ultrasound grid, the place of the body in it and the sector that the probe sees."""
    rng = stream(seed, "prostate", "us pose")
    frame = _frame(US_SHAPE, US_SPACING, rotation(rng, 30), rng.uniform(-150, 150, 3))
    grid = frame.resized(shape)
    chosen = PROBES[int(rng.integers(2))]
    partial = bool(rng.random() < 0.25)
    kind = chosen if probe is None else probe
    partial = partial if partial_view is None else partial_view
    sample = gland.inner_points(rng, _PROBE_POINTS)
    margin = _MARGIN_MM + deformation_mm
    low, high = _PARTIAL if partial else _WHOLE
    for _ in range(_TRIES):
        turn, shift, tip = _contact(rng, gland, kind, rotation_deg=rotation_deg, shift_mm=shift_mm)
        pose = Pose(frame, grid, turn, shift)
        view = draw_view(rng, probe=kind, tip=tip, narrow=partial)
        seen = visible(pose, view, sample).mean()
        fits = frame.contains(pose.to_world(gland.landmarks), margin=-margin).all()
        if fits and low <= seen <= high:
            return pose, view
    raise UsageError(
        f"no place was found where all landmarks lie in the ultrasound image and the probe sees "
        f"{low:.0%} to {high:.0%} of the gland",
        fix="lower max_shift_mm, max_rotation_deg or deformation_mm",
    )


def visible(pose: Pose, view: View, body_mm: FloatArray) -> FloatArray:
    """1 where a body point ``(N, 3)`` lies in the sector and in the grid, before deformation."""
    local = pose.local(body_mm)
    in_grid = (np.abs(local) <= pose.frame.extent / 2).all(axis=1)
    return (in_grid & view.sees(local.T)).astype(np.float64)


def _contact(
    rng: np.random.Generator, gland: Gland, probe: Probe, *, rotation_deg: float, shift_mm: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Lay a probe against the gland's back: turn and shift of the body, and the tip in local mm."""
    ahead = rng.uniform(15, 55) if probe == "end-fire" else rng.uniform(-5, 15)
    # The beam of the probe, upwards and forwards in the body, becomes -y in the grid.
    turn = rotation(rng, rotation_deg) @ turned((float(np.deg2rad(ahead)), 0.0, 0.0))
    half = 0.5 * shift_mm
    across, along = rng.uniform(-half, half, 2)
    touch = gland.landmarks[2] + [across, rng.uniform(3.0, 7.0), along]
    tip = np.array([0.0, _TIP_MM, 0.0]) + rng.uniform(-1, 1, 3) * [shift_mm, half, shift_mm]
    return turn, tip - turn @ touch, tip


def draw_deformation(
    seed: int, gland: Gland, pose: Pose, view: View, *, deformation_mm: float
) -> Displacement:
    """Draw how tissue at each point of the ultrasound world lay in the undeformed body.

    The field pulls: it leads from a world point of the ultrasound to where that tissue would be
    without the probe, still in the ultrasound world. Near the probe the tissue came from further
    back; a smooth random part is added. The largest displacement in the gland is between a half
    and the whole of ``deformation_mm``; the field fades to nothing around the grid.
    """
    rng = stream(seed, "prostate", "deformation")
    amount = deformation_mm * rng.uniform(0.5, 1.0)
    push, width = rng.uniform(0.5, 1.6), rng.uniform(18, 30)
    steps = (0.5, *(_LATTICE / 4,) * 3)  # three fields of their own
    noise = smooth_noise((3, *(_LATTICE,) * 3), scale_voxels=steps, rng=rng, dtype=np.float64)
    lattice = _lattice(pose.frame)
    local = _local_points(lattice)
    touch = np.array(view.points(-1.0, 0.0, 0.0))
    near = np.exp(-((local - touch) ** 2).sum(axis=-1) / (2 * width**2))
    noise[1] += push * 3 * near.T
    field = np.einsum("ij,j...->i...", pose.frame.direction, noise * _window())
    drawn = Displacement(lattice, field)
    points = pose.to_world(gland.inner_points(rng, _PROBE_POINTS))
    largest = float(np.linalg.norm(drawn(points) - points, axis=1).max())
    return Displacement(lattice, field * (amount / largest))


def _lattice(grid: Grid) -> Grid:
    spacing = grid.extent * _LATTICE_REACH / _LATTICE
    corner = grid.centre - grid.direction @ (spacing * (_LATTICE - 1) / 2)
    return Grid((_LATTICE,) * 3, spacing, corner, grid.direction)


def _local_points(lattice: Grid) -> FloatArray:
    """Local coordinates ``(x, y, z, 3)`` of the lattice's nodes."""
    steps = [
        (np.arange(n) - (n - 1) / 2) * s
        for n, s in zip(lattice.size_xyz, lattice.spacing, strict=True)
    ]
    points: FloatArray = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1)
    return points


def _window() -> FloatArray:
    """1 over the grid, falling smoothly to 0 at the outermost nodes."""
    place = np.abs(np.linspace(-1, 1, _LATTICE))
    edge = np.clip((1 - place) / (1 - 0.75), 0, 1)
    one = edge * edge * (3 - 2 * edge)
    window: FloatArray = one[:, None, None] * one[:, None] * one
    return window
