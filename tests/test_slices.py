"""Slices of volumes: which voxels they hold, where their pixels are, and the way back."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from anatomark import read_image, read_landmarks, write_image
from anatomark.cli.app import main
from anatomark.data import Image
from anatomark.errors import GeometryError, UsageError
from anatomark.geometry import Grid
from anatomark.io.landmarks.matches import read_matches
from anatomark.orientation import turn
from anatomark.slices import slice_of

SPACING, ORIGIN = (0.5, 2.0, 3.0), (-10.0, 20.0, -700.0)
ARRAY = np.arange(4 * 5 * 6).reshape(4, 5, 6).astype(np.int16)  # z, y, x
VOLUME = Image(ARRAY, Grid(ARRAY.shape, SPACING, ORIGIN))


@pytest.mark.parametrize(
    ("plane", "at", "array", "spacing", "origin"),
    [
        ("axial", -697.0, ARRAY[1], (0.5, 2.0), (-10, 20)),
        ("axial", -698.4, ARRAY[1], (0.5, 2.0), (-10, 20)),  # the nearest
        # Downwards is towards the feet: the highest slice, z = -691, comes first.
        ("coronal", 24.0, ARRAY[::-1, 2], (0.5, 3.0), (-10, 691)),
        ("sagittal", -8.0, ARRAY[::-1, :, 4], (2.0, 3.0), (20, 691)),
    ],
)
def test_a_slice_of_an_lps_volume(plane, at, array, spacing, origin):
    found = slice_of(VOLUME, plane, at).image
    np.testing.assert_array_equal(found.array, array)
    assert found.grid.spacing.tolist() == list(spacing)
    assert found.grid.origin.tolist() == list(origin)
    assert found.grid.direction.tolist() == [[1, 0], [0, 1]]


def test_the_middle_slice_is_that_which_nobody_names():
    assert slice_of(VOLUME).at_mm == pytest.approx(-697.0 + 3.0)  # the second from the top of four
    np.testing.assert_array_equal(slice_of(VOLUME).image.array, ARRAY[2])
    one = Image(ARRAY[:1], Grid((1, 5, 6), SPACING, ORIGIN))
    np.testing.assert_array_equal(slice_of(one).image.array, ARRAY[0])


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
@given(
    order=st.permutations(range(3)),
    flips=st.tuples(*[st.booleans()] * 3),
    place=st.floats(0.05, 0.95),
    lean=st.floats(-0.3, 0.3),
)
def test_however_the_volume_is_stored_points_come_back_to_their_voxels(
    plane, order, flips, place, lean
):
    """A pixel's value is that of the voxel where its point lies, however the axes run."""
    turned = np.array(
        [[np.cos(lean), -np.sin(lean), 0], [np.sin(lean), np.cos(lean), 0], [0, 0, 1]]
    )
    stored = Image(ARRAY, Grid(ARRAY.shape, SPACING, ORIGIN, turned)).permute(order)
    for axis, reverse in enumerate(flips):
        stored = stored.flip(axis) if reverse else stored
    across = {"axial": 2, "coronal": 1, "sagittal": 0}[plane]
    ends = np.array([stored.grid.centre[across]] * 2)
    ends += np.array([-0.4, 0.4]) * (np.array(SPACING) * (6, 5, 4))[across]
    found = slice_of(stored, plane, float(ends[0] + place * (ends[1] - ends[0])))

    pixels = np.argwhere(np.ones(found.image.array.shape, bool))
    flat = found.image.grid.to_world(pixels[:, ::-1].astype(float))
    voxels = stored.grid.to_index(found.to_world(flat))
    np.testing.assert_allclose(voxels, np.rint(voxels), atol=1e-9)
    values = stored.array[tuple(np.rint(voxels).astype(int).T[::-1])]
    np.testing.assert_array_equal(values, found.image.array.ravel())


@pytest.mark.parametrize(("to", "back"), [("LPI", "LPS"), ("RAS", "LPS"), ("LAS", "RPI")])
def test_axes_run_as_simpleitk_turns_them(to, back):
    stored = turn(VOLUME, back)
    picture = sitk.GetImageFromArray(stored.array)
    picture.SetSpacing(stored.grid.spacing.tolist())
    picture.SetOrigin(stored.grid.origin.tolist())
    picture.SetDirection(stored.grid.direction.ravel().tolist())
    truth = sitk.DICOMOrient(picture, to)
    found = turn(stored, to)
    np.testing.assert_array_equal(found.array, sitk.GetArrayFromImage(truth))
    assert found.grid.origin.tolist() == list(truth.GetOrigin())
    assert found.grid.orientation == to


def test_what_is_not_there_is_said():
    with pytest.raises(UsageError, match=r"no axial slice at -710 mm; .* -700\.0 and -691\.0"):
        slice_of(VOLUME, "axial", -710)
    for nowhere in (np.nan, np.inf):
        with pytest.raises(UsageError, match="is no place"):
            slice_of(VOLUME, "axial", nowhere)
    with pytest.raises(GeometryError, match="is 2D"):
        slice_of(Image(ARRAY[0], Grid((5, 6), (1, 1))))
    sheared = np.array([[1, 0.5, 0], [0, np.sqrt(0.75), 0], [0, 0, 1]])
    with pytest.raises(GeometryError, match="right angles"):
        slice_of(Image(ARRAY, Grid(ARRAY.shape, SPACING, ORIGIN, sheared)))


def test_the_command_writes_the_slice_and_says_where_it_is(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_image(VOLUME, tmp_path / "v.nii.gz")
    words = ["slice", "v.nii.gz", "--plane", "coronal", "--at", "24", "--out", "s.nrrd"]
    assert main(words) == 0
    assert capsys.readouterr().out == (
        "s.nrrd: coronal at y = 24.0 mm, 6 × 4 pixels of 0.5 × 3 mm\n"
    )
    image = read_image(tmp_path / "s.nrrd")
    np.testing.assert_array_equal(image.array, ARRAY[::-1, 2])
    assert image.grid.origin.tolist() == [-10, 691]

    assert main(words) == 2
    assert "is there already" in capsys.readouterr().err
    assert main([*words, "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["at_mm"] == pytest.approx(24)
    assert main([*words[:4], "--at", "99", "--out", "t.nrrd"]) == 2
    assert "v.nii.gz: there is no coronal slice at 99 mm" in capsys.readouterr().err


def test_a_matcher_of_slices_says_how_to_get_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_image(VOLUME, tmp_path / "v.nii.gz")
    for model in ("sift", "ct-slices"):
        assert main(["match", "v.nii.gz", "v.nii.gz", "--model", model, "--out", "p.csv"]) == 2
        assert "--slice" in capsys.readouterr().err


def test_an_oblique_volume_is_said_to_be_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lean = np.radians(10)
    turned = [[1, 0, 0], [0, np.cos(lean), -np.sin(lean)], [0, np.sin(lean), np.cos(lean)]]
    write_image(Image(ARRAY, Grid(ARRAY.shape, SPACING, ORIGIN, turned)), tmp_path / "v.nrrd")
    assert main(["slice", "v.nrrd", "--out", "s.nrrd"]) == 0
    assert "v.nrrd: lies obliquely, by 10.0°" in capsys.readouterr().err
    assert slice_of(VOLUME).tilt_degrees == 0


def test_matches_of_slices_are_points_of_the_volumes(tmp_path, monkeypatch, capsys):
    """A volume and the same, moved by 6 mm to the left and 4 mm back, cut at different heights."""
    monkeypatch.chdir(tmp_path)
    blots = gaussian_filter(np.random.default_rng(1).normal(size=(170, 210)), 3)
    picture = np.round(1000 * (blots - blots.min()) / np.ptp(blots)).astype(np.int16)
    still = np.stack([picture[:160, :200] * 0, picture[4:164, 6:206], picture[:160, :200] * 0])
    moved = np.stack([picture[:160, :200] * 0, picture[:160, :200] * 0, picture[:160, :200]])
    grid = Grid((3, 160, 200), (1, 1, 5), (-80, -60, -700))
    write_image(Image(still, grid), tmp_path / "still.nrrd")
    write_image(Image(moved, grid), tmp_path / "moved.nrrd")
    words = ["match", "still.nrrd", "moved.nrrd", "--model", "sift", "--out", "p.csv"]
    assert main([*words, "--fixed-slice", "axial:-695", "--moving-slice", "axial:-690"]) == 0
    found = read_matches(tmp_path / "p.csv")
    assert len(found) > 30
    assert found.dimension == 3
    assert set(found.fixed_mm[:, 2]) == {-695.0}
    assert set(found.moving_mm[:, 2]) == {-690.0}
    apart = np.median(found.moving_mm - found.fixed_mm, axis=0)
    np.testing.assert_allclose(apart, [6, 4, 5], atol=0.05)
    points = read_landmarks(tmp_path / "p-fixed.mrk.json")
    np.testing.assert_allclose(points.points_mm, found.fixed_mm)
    assert read_image(tmp_path / "p.png", grey=True).array.std() > 0

    capsys.readouterr()
    assert main([*words, "--overwrite", "--fixed-slice", "axial:-695"]) == 2
    assert "say --moving-slice as well" in capsys.readouterr().err
    for wrong in ("transversal:3", "axial:three", "axial:nan", "-695"):
        assert main([*words, "--overwrite", f"--slice={wrong}"]) == 2
        assert f"--slice '{wrong}' is not a slice; write --slice axial:-695" in (
            capsys.readouterr().err
        )
    assert main([*words, "--overwrite", "--slice", "coronal", "--json"]) == 0
