"""The parts of which the ultrasound is made: beams, deformation, painting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from anatomark.datasets.phantoms.prostate.beams import beam_lattice, sampled
from anatomark.datasets.phantoms.prostate.blocks import local_points, local_steps, rigid
from anatomark.datasets.phantoms.prostate.painting import BACKGROUND, GLAND_TISSUE, Part, paint
from anatomark.datasets.phantoms.prostate.pair import prostate_pair
from anatomark.datasets.phantoms.prostate.probe import PROBES, Probe, draw_view
from anatomark.datasets.phantoms.prostate.ultrasound import LatticePull
from anatomark.geometry import FloatArray, Grid

WHOLE = (slice(None), slice(None), slice(None))


def _grid(count: int) -> Grid:
    side = 102.4
    step = side / count
    return Grid((count,) * 3, np.full(3, step), np.full(3, step / 2 - side / 2))


# -- beams -----------------------------------------------------------------------------------------


@given(st.integers(0, 1000))
def test_the_lattice_is_sampled_linearly_as_scipy_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lattice = rng.normal(size=rng.integers(3, 9, 3)).astype(np.float32)
    polar = rng.uniform(-1, 1, (3, 200)).astype(np.float32)
    index = [((p + 1) * n - 1) / 2 for p, n in zip(polar[::-1], lattice.shape, strict=True)]
    expected = map_coordinates(lattice, index, order=1, mode="nearest")
    assert sampled(lattice, polar, linear=True) == pytest.approx(expected, abs=2e-2)


@given(st.integers(0, 1000))
def test_the_nearest_node_is_the_one_scipy_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lattice = rng.normal(size=rng.integers(3, 9, 3)).astype(np.float32)
    polar = rng.uniform(-1, 1, (3, 200)).astype(np.float32)
    index = [((p + 1) * n - 1) / 2 for p, n in zip(polar[::-1], lattice.shape, strict=True)]
    away = np.min([np.abs(np.abs(i - np.rint(i)) - 0.5) for i in index], axis=0)
    expected = map_coordinates(lattice, index, order=0, mode="nearest")
    found = sampled(lattice, polar, linear=False)
    assert np.array_equal(found[away > 1e-3], expected[away > 1e-3])


@pytest.mark.parametrize("probe", PROBES)
def test_speckle_is_fully_developed_and_wider_than_a_node(probe: Probe) -> None:
    grid = _grid(256)
    rng = np.random.default_rng(0)
    view = draw_view(rng, probe=probe, tip=np.array([0.0, 30, 0]), narrow=False)
    lattice = beam_lattice(view, np.zeros(grid.shape, np.float32), grid, rng)
    amplitude = 10 ** (lattice / 20)
    middle = tuple(slice(n // 3, 2 * n // 3) for n in lattice.shape)
    patch = amplitude[middle] / amplitude[middle].mean(axis=(0, 1))
    patch /= patch.mean(axis=2, keepdims=True)  # some beams have lost contact
    # The amplitude of fully developed speckle is Rayleigh: its deviation is 0.523 of its mean.
    assert float(patch.std()) == pytest.approx(0.523, abs=0.06)
    # Nodes are half a speckle apart, so neighbours along a beam resemble each other.
    centred = patch - 1
    assert float((centred[..., 1:] * centred[..., :-1]).mean() / centred.var()) > 0.3


@pytest.mark.parametrize("probe", PROBES)
def test_bone_throws_a_shadow_along_the_beams_and_only_behind_it(probe: Probe) -> None:
    grid = _grid(64)
    view = draw_view(
        np.random.default_rng(3), probe=probe, tip=np.array([0.0, 30, 0]), narrow=False
    )
    x, y, z = np.stack(view.points(0.0, 0.2, 0.1))
    loss = np.zeros(grid.shape, np.float32)
    at = np.stack(np.meshgrid(*local_steps(grid), indexing="ij"), -1).transpose(2, 1, 0, 3)
    loss[((at - np.array([x, y, z])) ** 2).sum(axis=-1) < 5**2] = 9.0
    with_bone = beam_lattice(view, loss, grid, np.random.default_rng(5))
    without = beam_lattice(view, np.zeros_like(loss), grid, np.random.default_rng(5))
    change = with_bone - without

    def at_polar(depth: float, angle: float, sweep: float) -> float:
        polar = np.array([depth, angle, sweep], np.float32)[:, None]
        return float(sampled(change, polar, linear=True)[0])

    assert at_polar(0.7, 0.2, 0.1) < -30  # behind
    assert at_polar(-0.7, 0.2, 0.1) == pytest.approx(0, abs=0.5)  # before
    assert at_polar(0.7, -0.5, 0.1) == pytest.approx(0, abs=0.5)  # beside
    assert at_polar(0.7, 0.2, -0.7) == pytest.approx(0, abs=0.5)


def test_echoes_fade_with_depth() -> None:
    grid = _grid(48)
    rng = np.random.default_rng(1)
    view = draw_view(rng, probe="end-fire", tip=np.array([0.0, 30, 0]), narrow=False)
    lattice = beam_lattice(view, np.zeros(grid.shape, np.float32), grid, rng)
    by_depth = lattice.mean(axis=(0, 1))
    tenth = len(by_depth) // 10
    assert by_depth[-tenth:].mean() < by_depth[2 * tenth : 5 * tenth].mean() - 1


# -- the deformed body -----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(32, 64, 64), (9, 20, 31)])
def test_voxels_are_pulled_exactly_as_the_map_moves_points(shape: tuple[int, ...]) -> None:
    pair = prostate_pair(3, mr_shape=(8, 8, 8), us_shape=shape, modalities=())
    grid = pair.us_pose.grid
    block = (slice(2, 8), slice(5, 19), slice(1, 30))
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)[block]
    world = grid.to_world(index[..., ::-1].astype(float))
    moved = (pair.deformation(world) - world) @ grid.direction
    pulled = LatticePull(pair.deformation, grid)(block)
    assert np.abs(pulled - np.moveaxis(moved, -1, 0)).max() < 1e-4


def test_rigid_is_a_matrix_product() -> None:
    rng = np.random.default_rng(0)
    matrix, shift = rng.normal(size=(3, 3)), rng.normal(size=3)
    points = rng.normal(size=(3, 4, 5, 6)).astype(np.float32)
    expected = np.einsum("ij,jzyx->izyx", matrix, points) + shift[:, None, None, None]
    assert rigid(matrix, points, shift) == pytest.approx(expected, abs=1e-5)


def test_local_points_are_world_points_about_the_centre() -> None:
    pair = prostate_pair(1, mr_shape=(8, 8, 8), us_shape=(6, 7, 8), modalities=())
    grid = pair.us_pose.grid
    local = local_points(local_steps(grid), WHOLE)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), -1)
    expected = (grid.to_world(index[..., ::-1].astype(float)) - grid.centre) @ grid.direction
    assert np.abs(np.moveaxis(local, 0, -1) - expected).max() < 1e-4


# -- painting --------------------------------------------------------------------------------------


def _naive(
    values: NDArray[Any], part: Part, xyz: NDArray[Any], depth: Any, looks: dict[str, FloatArray]
) -> None:
    """Paint one part over all points, in double precision."""
    layers = [(part.tissue, 0.0, part.solid.thickness)]
    if part.coat is not None:
        layers.insert(0, (*part.coat, part.solid.thickness + 2 * part.coat[1]))
    for tissue, grown, thick in layers:
        reach = np.maximum(part.solid.distance(xyz) - grown, depth + part.depth_mm)
        cover = np.clip(0.5 - reach / EDGE, 0, 1) * min(thick / EDGE, 1)
        values += cover * (looks[tissue][:, None, None, None] - values)


EDGE = 1.6


@pytest.mark.parametrize("seed", [2, 6])
def test_painting_in_windows_is_painting_everywhere(seed: int) -> None:
    pelvis = prostate_pair(seed, mr_shape=(4, 4, 4), us_shape=(4, 4, 4), modalities=()).pelvis
    rng = np.random.default_rng(seed)
    parts = (*pelvis.around, *pelvis.within)
    tissues = {BACKGROUND, GLAND_TISSUE, *(p.tissue for p in parts)}
    tissues |= {p.coat[0] for p in parts if p.coat is not None}
    looks = {tissue: np.append(rng.normal(size=2), 0.0) for tissue in sorted(tissues)}
    steps = [np.arange(-60, 60, 5.0, dtype=np.float32)] * 3
    xyz = local_points(steps, WHOLE)
    painted = paint(pelvis, xyz, looks, edge_mm=EDGE)

    expected = np.broadcast_to(looks[BACKGROUND][:, None, None, None], (3, *xyz.shape[1:])).copy()
    bent = pelvis.bent(xyz)
    for part in pelvis.around:
        _naive(expected, part, bent, -np.inf, looks)
    surface = pelvis.gland.distance(xyz)
    gland = np.clip(0.5 - surface / EDGE, 0, 1)
    expected += gland * (looks[GLAND_TISSUE][:, None, None, None] - expected)
    for part in pelvis.within:
        _naive(expected, part, xyz, surface, looks)
    assert np.abs(painted.values - expected).max() < 1e-3
    assert painted.surface is not None
    here, distance = painted.surface
    assert np.array_equal(distance < 0, (surface < 0)[here])
    assert (distance < 0).sum() == (surface < 0).sum()


def test_what_lies_within_stays_within_the_gland() -> None:
    pelvis = prostate_pair(2, mr_shape=(4, 4, 4), us_shape=(4, 4, 4), modalities=()).pelvis
    xyz = local_points([np.arange(-40, 40, 2.0, dtype=np.float32)] * 3, WHOLE)
    surface = pelvis.gland.distance(xyz)
    parts = [*pelvis.around, *pelvis.within]
    names = {p.tissue for p in parts} | {p.coat[0] for p in parts if p.coat is not None}
    names |= {BACKGROUND, GLAND_TISSUE}
    inner = {"transition zone", "central zone", "stroma", "rim", "lesion", "stone"}
    looks = {name: np.array([float(name in inner)]) for name in names}
    values = paint(pelvis, xyz, looks, edge_mm=0.5).values[0]
    assert values[surface > 0.5].max() == 0
    assert values.max() == 1


def test_the_surroundings_are_still_near_the_gland_and_bent_far_away() -> None:
    pelvis = prostate_pair(2, mr_shape=(4, 4, 4), us_shape=(4, 4, 4), modalities=()).pelvis
    near = np.random.default_rng(0).uniform(-14, 14, (3, 2, 2, 50)).astype(np.float32)
    assert np.array_equal(pelvis.bent(near), near)
    far = near + np.float32(40)
    assert np.abs(pelvis.bent(far) - far).max() > 0.5
