"""Slices become a volume: sorted, and honest about gaps, repeats and gantry tilt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from anatomark.errors import ImageError, ImageWarning
from anatomark.geometry import Grid
from anatomark.io.images.reading import read_grid, read_image, write_image

Writer = Callable[..., Path]


def test_slices_are_sorted_by_their_place_and_not_by_their_names(
    tmp_path: Path, stored_volume: Any, write_series: Writer
) -> None:
    folder = write_series(tmp_path, stored_volume, at=[3, 0, 4, 1, 2])
    image = read_image(folder)

    assert image.grid == read_grid(folder)
    assert image.grid == Grid((5, 6, 7), spacing=(0.5, 0.75, 2), origin=(-20, 30, 100))
    for i, place in enumerate([3, 0, 4, 1, 2]):
        np.testing.assert_array_equal(image.array[place], stored_volume[i])
    uids = [uid.rsplit(".", 1)[1] for uid in image.meta["sop_instance_uids"]]
    assert uids == ["2", "4", "5", "1", "3"]


@given(seed=st.integers(0, 10_000), backwards=st.booleans())
def test_every_voxel_of_an_oblique_series_is_where_its_slice_says(
    seed: int,
    backwards: bool,
    write_series: Writer,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    rng = np.random.default_rng(seed)
    axes = Rotation.random(rng=rng).as_matrix()
    step = axes[:, 2] * rng.uniform(0.5, 5) * (-1 if backwards else 1)
    origin = rng.uniform(-200, 200, 3)
    volume = rng.integers(0, 4096, (4, 3, 5)).astype(np.uint16)
    folder = write_series(
        tmp_path_factory.mktemp("oblique"), volume, origin=tuple(origin.tolist()),
        axes=tuple(np.round(axes[:, :2].T.ravel(), 8).tolist()), step=tuple(step.tolist()),
    )  # fmt: skip

    image = read_image(folder)

    assert np.linalg.det(image.grid.direction) == pytest.approx(1)
    for z, y, x in np.ndindex(4, 3, 5):
        # the words of the standard: position + column · x + row · y, spacing lists rows first
        place = origin + z * step + axes[:, 0] * 0.5 * x + axes[:, 1] * 0.75 * y
        index = np.rint(image.grid.to_index(place)).astype(int)
        np.testing.assert_allclose(image.grid.to_world(index), place, atol=2e-5)
        assert image.array[tuple(index[::-1])] == volume[z, y, x]


def test_simpleitk_builds_the_same_volume(
    tmp_path: Path, stored_volume: Any, write_series: Writer
) -> None:
    axes, step = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0), (-1.5, 0.0, 0.0)
    tags = {"RescaleSlope": 2, "RescaleIntercept": -1024, "BitsStored": 12}
    folder = write_series(tmp_path, stored_volume, axes=axes, step=step, **tags)
    image = read_image(folder)

    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    judge = sitk.ReadImage(names)
    np.testing.assert_array_equal(image.array, sitk.GetArrayFromImage(judge))
    for index in [(0, 0, 0), (6, 5, 4), (3, 1, 2)]:
        expected = judge.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(image.grid.to_world(np.array(index)), expected, atol=1e-6)


def test_a_rescale_that_changes_from_slice_to_slice_is_followed(
    tmp_path: Path, stored_volume: Any, write_series: Writer
) -> None:
    for i, slope in enumerate((0.5, 1.25, 7.0)):
        write_series(
            tmp_path / str(i), stored_volume[i : i + 1], at=[i], RescaleSlope=slope,
            RescaleIntercept=i, Modality="PT", SOPInstanceUID=f"1.2.3.{i}",
        )  # fmt: skip
    image = read_image(tmp_path)
    for i, slope in enumerate((0.5, 1.25, 7.0)):
        np.testing.assert_allclose(image.array[i], stored_volume[i] * slope + i, rtol=1e-6)


# -- missing slices --------------------------------------------------------------------------------


def test_a_missing_slice_is_reported_and_interpolated_in_its_place(
    tmp_path: Path, stored_volume: Any, write_series: Writer
) -> None:
    folder = write_series(tmp_path, stored_volume, at=[0, 1, 2, 4, 5])
    with pytest.warns(ImageWarning, match=r"1 slice is missing, at 106\.00 mm along the slice"):
        image = read_image(folder)

    assert image.grid == Grid((6, 6, 7), spacing=(0.5, 0.75, 2), origin=(-20, 30, 100))
    np.testing.assert_array_equal(image.array[[0, 1, 2, 4, 5]], stored_volume)
    between = (stored_volume[2].astype(float) + stored_volume[3]) / 2
    np.testing.assert_array_equal(image.array[3], np.rint(between))
    assert image.meta["missing_slices"] == (3,)
    assert image.meta["sop_instance_uids"][3] == ""
    with pytest.warns(ImageWarning, match="missing"):
        assert read_grid(folder) == image.grid


def test_a_gap_of_two_is_filled_in_proportion(
    tmp_path: Path, stored_volume: Any, write_series: Writer
) -> None:
    flat = np.stack([np.full((6, 7), v, np.uint16) for v in (0, 10, 40, 50)])
    with pytest.warns(ImageWarning, match=r"2 slices are missing, at 104\.00, 106\.00 mm"):
        image = read_image(write_series(tmp_path, flat, at=[0, 1, 4, 5]))
    assert image.array[:, 0, 0].tolist() == [0, 10, 20, 30, 40, 50]


def test_a_long_gap_is_refused(tmp_path: Path, stored_volume: Any, write_series: Writer) -> None:
    folder = write_series(tmp_path, stored_volume, at=[0, 1, 2, 7, 8])
    for reader in (read_image, read_grid):
        with pytest.raises(ImageError, match=r"4 slices in a row .* between 104\.00 and 114\.00"):
            reader(folder)


# -- uneven slices ---------------------------------------------------------------------------------


def test_a_change_of_spacing_is_refused(
    tmp_path: Path, stored_volume: Any, write_series: Writer
) -> None:
    folder = write_series(tmp_path, stored_volume, at=[0, 1, 2, 3.5, 5])
    for reader in (read_image, read_grid):
        with pytest.raises(ImageError, match="not equally spaced: .* split the series"):
            reader(folder)


def test_positions_that_were_rounded_are_accepted(
    tmp_path: Path, stored_volume: Any, write_series: Writer
) -> None:
    near = [0, 1.004, 1.997, 3.003, 4]
    assert read_grid(write_series(tmp_path / "a", stored_volume, at=near)).spacing[2] == 2
    rough = [0, 1.03, 1.97, 3.03, 4]
    with pytest.warns(ImageWarning, match=r"not quite equally spaced \(up to 0\.06 mm"):
        assert read_grid(write_series(tmp_path / "b", stored_volume, at=rough)).spacing[2] == 2


def test_a_slice_that_slipped_sideways_is_refused(
    tmp_path: Path, stored_volume: Any, write_series: Writer
) -> None:
    folder = write_series(tmp_path, stored_volume[:4])
    write_series(
        folder / "slipped", stored_volume[4:], at=[4], origin=(-20, 33, 100), SOPInstanceUID="1.2.3"
    )
    with pytest.raises(ImageError, match="not equally spaced"):
        read_image(folder)


# -- gantry tilt -----------------------------------------------------------------------------------


def test_a_gantry_tilt_shears_the_grid_and_moves_no_voxel(
    tmp_path: Path, stored_volume: Any, write_series: Writer
) -> None:
    folder = write_series(tmp_path, stored_volume, step=(0.0, 0.5, 2.0))
    with pytest.warns(ImageWarning, match=r"gantry tilt of 14\.04°"):  # atan(0.5 / 2)
        image = read_image(folder)

    np.testing.assert_array_equal(image.array, stored_volume)
    for z in range(5):
        by_hand = [-20 + 3 * 0.5, 30 + 0.5 * z + 2 * 0.75, 100 + 2 * z]
        np.testing.assert_allclose(image.grid.to_world((3, 2, z)), by_hand)
    write_image(image, tmp_path / "tilted.nrrd")
    assert read_grid(tmp_path / "tilted.nrrd").same_as(image.grid)


# -- repeats ---------------------------------------------------------------------------------------


def test_copies_of_a_slice_are_left_out_with_a_warning(
    tmp_path: Path, stored_volume: Any, write_series: Writer
) -> None:
    write_series(tmp_path, stored_volume)
    write_series(tmp_path / "again", stored_volume[1:3], at=[1, 2])
    with pytest.warns(ImageWarning, match="2 duplicate slices are left out"):
        image = read_image(tmp_path)
    np.testing.assert_array_equal(image.array, stored_volume)


def test_other_pixels_at_the_same_place_are_refused_with_what_tells_them_apart(
    tmp_path: Path, stored_volume: Any, write_series: Writer
) -> None:
    write_series(tmp_path / "1", stored_volume, EchoNumbers=1, SOPInstanceUID="1.2.3")
    write_series(tmp_path / "2", stored_volume + 1, EchoNumbers=2, SOPInstanceUID="1.2.4")
    for reader in (read_image, read_grid):
        with pytest.raises(ImageError, match=r"5 images .* \(they differ in echo\); export each"):
            reader(tmp_path)
