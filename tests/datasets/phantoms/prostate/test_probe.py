"""The sector that an ultrasound probe sees."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anatomark.datasets.phantoms.prostate.probe import PROBES, Probe, View, draw_view

END = View("end-fire", (0.0, 40.0, 0.0), 10.0, 80.0, np.deg2rad(60), np.deg2rad(45))
SIDE = View("side-fire", (0.0, 40.0, 5.0), 10.0, 70.0, np.deg2rad(70), 30.0)

views = st.builds(
    lambda seed, probe, narrow: draw_view(
        np.random.default_rng(seed), probe=probe, tip=np.array([3.0, 30.0, -4.0]), narrow=narrow
    ),
    st.integers(0, 1000),
    st.sampled_from(PROBES),
    st.booleans(),
)


@given(views, st.integers(0, 100))
def test_polar_coordinates_lead_back_to_the_point(view: View, seed: int) -> None:
    polar = np.random.default_rng(seed).uniform(-1, 1, (3, 50))
    points = np.stack(view.points(*polar))
    assert view.polar(points) == pytest.approx(polar, abs=1e-9)
    assert view.sees(np.stack(view.points(*(0.999 * polar)))).all()


@given(views)
def test_the_tip_is_where_the_middle_beam_begins(view: View) -> None:
    assert np.stack(view.points(-1.0, 0.0, 0.0)) == pytest.approx([3.0, 30.0, -4.0])


@pytest.mark.parametrize(
    ("view", "point", "seen"),
    [
        (END, (0, 0, 0), True),  # 40 mm ahead
        (END, (0, 35, 0), False),  # inside the probe: 5 mm from the centre
        (END, (0, -45, 0), False),  # 85 mm ahead
        (END, (60, 0, 0), True),  # 56 degrees aside
        (END, (75, 0, 0), False),  # 62 degrees aside
        (END, (0, 0, 39), True),  # 44 degrees up
        (END, (0, 0, 41), False),  # 46 degrees up
        (END, (0, 60, 0), False),  # behind the probe
        (SIDE, (0, 0, 34.9), True),  # 30 mm along the shaft from 5
        (SIDE, (0, 0, 35.1), False),
        (SIDE, (0, 0, -24.9), True),
        (SIDE, (69, 0, 5), False),  # 60 degrees aside, but 80 mm away
        (SIDE, (50, 10, 5), True),  # 59 degrees, 58 mm
        (SIDE, (0, 80, 5), False),  # behind the probe
    ],
)
def test_what_each_probe_sees(view: View, point: tuple[float, ...], *, seen: bool) -> None:
    assert bool(view.sees(np.array(point, float)[:, None])[0]) is seen


@pytest.mark.parametrize("view", [END, SIDE])
def test_beams_run_along_growing_depth(view: View) -> None:
    rng = np.random.default_rng(0)
    points = np.stack(view.points(*rng.uniform(-0.9, 0.9, (3, 40))))
    beam = view.beam(points)
    assert np.linalg.norm(beam, axis=0) == pytest.approx(1, abs=1e-4)
    before, after = view.polar(points), view.polar(points + 0.5 * beam)
    half = (view.far_mm - view.near_mm) / 2
    assert after[0] - before[0] == pytest.approx(0.5 / half, abs=1e-6)
    assert after[1:] == pytest.approx(before[1:], abs=1e-6)


def test_lengths_are_those_of_arcs_in_the_middle_of_the_sector() -> None:
    depth, angle, sweep = END.lengths_mm
    assert (depth, angle) == pytest.approx((70, 2 * np.pi / 3 * 45))
    assert sweep == pytest.approx(np.pi / 2 * 45)
    assert SIDE.lengths_mm[2] == pytest.approx(60)


@pytest.mark.parametrize("probe", PROBES)
def test_a_narrow_view_is_smaller(probe: Probe) -> None:
    tip = np.zeros(3)
    wide = draw_view(np.random.default_rng(1), probe=probe, tip=tip, narrow=False)
    narrow = draw_view(np.random.default_rng(1), probe=probe, tip=tip, narrow=True)
    assert narrow.half_angle < wide.half_angle
    assert narrow.half_sweep < wide.half_sweep
    assert narrow.far_mm < wide.far_mm
