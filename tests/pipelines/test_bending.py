"""What a map cannot follow is told from errors of points: by residuals of neighbours."""

from __future__ import annotations

import json

import numpy as np
import pytest

from anatomark import Grid, Image
from anatomark.correspondence import Matches
from anatomark.io.json_files import json_text
from anatomark.pipelines.registration.bending import bends, said_of_bending
from anatomark.pipelines.registration.evidence import Evidence
from anatomark.pipelines.registration.plan import Plan
from anatomark.pipelines.registration.report import page_of, summary_rows, to_record
from anatomark.pipelines.registration.run import register
from anatomark.registration.landmarks import Pairs, fit_pairs
from anatomark.registration.points import fit_points

GRID = Grid((100, 110), [1.0, 1.0])
NOISE = np.random.default_rng(0).normal(size=GRID.shape)
PICTURE = Image(NOISE.astype(np.float32), GRID)
BENDS = "the residuals of neighbours agree: the anatomy bends, which this map cannot follow"


def spots(count, dimension=2, seed=0):
    return np.random.default_rng(seed).uniform(5, 95, (count, dimension))


def waved(points, size=3.0):
    """Points of the moving image: a wave along x, and errors of half a millimetre."""
    moved = points + np.random.default_rng(1).normal(0, 0.5, points.shape)
    moved[:, 0] += size * np.sin(2 * np.pi * points[:, 1] / 80)
    return moved


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("count", [12, 30, 100, 400])
def test_independent_errors_are_not_called_bending(dimension, count):
    """benchmarks/bending.py counts them in sets of a thousand."""
    rng = np.random.default_rng(count)
    for number in range(60):
        points = rng.uniform(0, 100, (count, dimension))
        off = points + rng.normal(size=points.shape) * [0.2, 0.2, 3][-dimension:]
        fit = fit_points(off, points, "affine" if number % 2 else "rigid")
        assert not bends(points, fit.residuals_mm, 0.0)


@pytest.mark.parametrize("transform", ["rigid", "similarity", "affine"])
def test_a_bent_picture_leaves_a_map_that_cannot_bend_without_expected_error(transform):
    points = spots(150)
    plan = Plan(transform=transform, robust="no")
    found = register(PICTURE, PICTURE, Evidence(matches=Matches(points, waved(points))), plan=plan)
    assert found.rms > 1.5
    [said] = [text for text in found.warnings if "neighbours" in text]
    assert said == (
        f"{BENDS}, so it has no expected error; use --transform tps with some --smoothing"
    )
    assert not found.doubts
    assert np.isnan(found.expected_error).all()
    record = to_record(found, names={}, files=[])
    written = json.loads(json_text(record))
    assert written["errors"]["expected"]["mean"] is None
    assert written["landmarks"][0]["expected_error"] is None
    rows = {row[0]: row[1:] for row in summary_rows(record)}
    assert rows["expected error, fixed image, mean (mm)"] == ["–", "–", "–"]
    assert f"Warning: {BENDS}" in "\n".join(page_of(record, None)._parts)


def test_a_spline_follows_and_keeps_its_expected_error():
    points = spots(150)
    found = register(
        PICTURE, PICTURE, Evidence(matches=Matches(points, waved(points))),
        plan=Plan(transform="tps", smoothing=0.01),
    )  # fmt: skip
    assert not any("neighbours" in text for text in found.warnings)
    assert np.isfinite(found.expected_error).all()


def test_errors_of_points_alone_keep_the_expected_error():
    points = spots(150)
    off = points + np.random.default_rng(1).normal(0, 2, points.shape)
    found = register(PICTURE, PICTURE, Evidence(matches=Matches(points, off)))
    assert not any("neighbours" in text for text in found.warnings)
    assert np.isfinite(found.expected_error).all()


def said_of(points, moved, plan=None, *, voxel_sd=0.41):
    plan = plan or Plan()
    names = tuple(map(str, range(len(points))))
    fit = fit_pairs(Pairs(names, points, moved), plan.points_kind)
    return said_of_bending(fit, plan, GRID, voxel_sd)


def test_where_a_freer_map_follows_that_one_is_advised():
    points = spots(150)
    off = np.random.default_rng(1).normal(0, 0.5, points.shape)
    assert said_of(points, points * 0.9 + off).endswith("use --transform similarity")
    assert said_of(points, points * [1, 0.9] + off).endswith("use --transform affine")
    assert said_of(points, points + off) == ""


def test_a_map_that_grey_values_bend_gets_no_advice_to_bend():
    points = spots(150)
    for plan in (Plan(transform="bspline"), Plan(refine="bspline")):
        said = said_of(points, waved(points), plan)
        assert "the anatomy bends" in said
        assert "tps" not in said


def test_rounding_that_repeats_is_no_bending():
    """A turn by 2°, both ends in whole pixels: what rounding leaves changes slowly along rows."""
    c, s = np.cos(np.radians(2)), np.sin(np.radians(2))
    points = np.stack(np.meshgrid(*[np.arange(0.0, 100, 3)] * 2), -1).reshape(-1, 2)
    moved = np.rint(points @ np.array([[c, -s], [s, c]]))
    assert said_of(points, moved, voxel_sd=0.01) != ""
    assert said_of(points, moved) == ""


def test_places_that_were_found_several_times_do_not_agree_with_themselves():
    points = spots(40)
    moved = points + np.random.default_rng(1).normal(0, 2, points.shape)
    assert said_of(np.repeat(points, 6, axis=0), np.repeat(moved, 6, axis=0)) == ""
    residuals = fit_points(moved, points).residuals_mm
    near = np.repeat(points, 6, axis=0) + np.random.default_rng(2).normal(0, 1e-3, (240, 2))
    assert bends(near, np.repeat(residuals, 6, axis=0), 0.41)


def test_few_points_are_not_judged():
    points = np.stack([np.arange(11.0), np.zeros(11)], axis=1)
    residuals = np.where(np.arange(11)[:, None] < 6, [1.0, 0.0], [-1.0, 0.0])
    assert not bends(points, residuals, 0.0)
