"""One table of formats: what goes in comes back, and what cannot be held is said."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anatomark.data import Landmarks
from anatomark.errors import AnatomarkError, LandmarkError, LossWarning, UsageError, WriteError
from anatomark.geometry import Grid
from anatomark.io.landmarks.formats import (
    EXTENSIONS,
    FORMATS,
    LANDMARK_SUFFIXES,
    read_landmark_table,
    read_landmarks,
    write_landmarks,
)

IN_SPACE = [
    ("a.mrk.json", None),
    ("a.fcsv", None),
    ("a.csv", None),
    ("a.csv", "csv-wide"),
    ("a.json", None),
]
NAMES = st.lists(
    st.text(
        st.characters(exclude_categories=["Cs", "Cc"])
        | st.sampled_from(list(",;\"'\t äß日_-xyz#=")),
        min_size=1,
        max_size=12,
    ).filter(lambda name: name == name.strip()),
    min_size=1,
    max_size=6,
    unique=True,
)


def test_every_extension_has_a_format() -> None:
    assert set(EXTENSIONS.values()) <= set(FORMATS)
    assert LANDMARK_SUFFIXES == (".mrk.json", ".fcsv", ".csv", ".json", ".txt")


@pytest.mark.parametrize("frame", ["LPS", "RAS"])
@pytest.mark.parametrize(("name", "kind"), IN_SPACE)
@given(names=NAMES, seed=st.integers(0, 10_000))
def test_points_of_an_oblique_image_come_back(
    tmp_path_factory: pytest.TempPathFactory,
    make_grid: Callable[..., Grid],
    frame: Any,
    name: str,
    kind: str | None,
    names: list[str],
    seed: int,
) -> None:
    grid = make_grid(seed, 3)
    index = np.random.default_rng(seed).uniform(0, 9, (len(names), 3))
    landmarks = Landmarks(tuple(names), grid.to_world(index))
    file = tmp_path_factory.mktemp("trip") / name
    write_landmarks(landmarks, file, format=kind, frame=frame)
    back = read_landmarks(file, grid=grid)
    assert back.names == landmarks.names
    assert back.unit == "mm"
    assert np.abs(back.points_mm - landmarks.points_mm).max() <= 1e-4
    np.testing.assert_array_equal(back.points_mm, landmarks.points_mm)


@pytest.mark.parametrize(("name", "kind"), IN_SPACE)
def test_flat_points_of_an_image_come_back(tmp_path: Path, name: str, kind: str | None) -> None:
    grid = Grid((50, 60), (0.3, 0.4), (-7, 9), [[0.8, -0.6], [0.6, 0.8]])
    landmarks = Landmarks(("a", "b"), grid.to_world([[3.25, 4.5], [40, 30]]))
    write_landmarks(landmarks, tmp_path / name, format=kind, frame="RAS")
    back = read_landmarks(tmp_path / name, grid=grid)
    np.testing.assert_array_equal(back.points_mm, landmarks.points_mm)


@pytest.mark.parametrize(("name", "kind"), [*IN_SPACE, ("a.txt", None)])
def test_pixels_of_an_image_come_back_in_millimetres(
    tmp_path: Path, name: str, kind: str | None
) -> None:
    """The image places them, on the way out where the file is in mm, on the way in where not."""
    from anatomark.io.landmarks.isbi import ISBI_NAMES

    grid = Grid((50, 60), (0.3, 0.4), (-7, 9))
    pixels = np.random.default_rng(0).uniform(0, 50, (19, 2))
    write_landmarks(
        Landmarks(ISBI_NAMES, pixels, unit="px"), tmp_path / name, grid=grid, format=kind
    )
    back = read_landmarks(tmp_path / name, grid=grid)
    assert back.unit == "mm"
    np.testing.assert_allclose(back.points_mm, pixels * [0.3, 0.4] + [-7, 9], atol=1e-12)


def test_pixels_in_a_table_are_those_of_the_image_given(tmp_path: Path) -> None:
    """A crop of an image without spacing keeps its points; in its own file they count from 0."""
    crop = Grid((50, 60), unit="px").crop((10, 20), (30, 20))
    landmarks = Landmarks(("a",), [[15.0, 26.5]], unit="px", covariance_mm2=[np.eye(2)])
    write_landmarks(landmarks, tmp_path / "a.csv", grid=crop)
    assert read_landmarks(tmp_path / "a.csv")["a"].tolist() == [5.0, 6.5]
    assert read_landmarks(tmp_path / "a.csv", grid=crop)["a"].tolist() == [15.0, 26.5]
    write_landmarks(landmarks, tmp_path / "a.json", grid=crop)
    assert read_landmarks(tmp_path / "a.json", grid=crop)["a"].tolist() == [15.0, 26.5]


# -- what is lost --------------------------------------------------------------------------------

FULL = Landmarks(
    ("left", "right", "top"),
    [[1, 2, 3], [np.nan] * 3, [4, 5, 6]],
    covariance_mm2=[np.eye(3), np.full((3, 3), np.nan), 2 * np.eye(3)],
    confidence=[0.9, np.nan, 0.8],
    pairs=(("left", "right"),),
    meta={"descriptions": {"top": "a note"}, "observer": "senior"},
)
ABSENCE = "1 absent landmarks (right)"
COVARIANCE = "the covariance of 2 landmarks"
CONFIDENCE = "the confidence of 2 landmarks"
PAIRS = "1 left/right pairs"
NOTES, OBSERVER = "the metadata 'descriptions'", "the metadata 'observer'"


@pytest.mark.parametrize(
    ("name", "kind", "lost"),
    [
        ("a.mrk.json", None, [COVARIANCE, CONFIDENCE, PAIRS, OBSERVER]),
        ("a.fcsv", None, [ABSENCE, COVARIANCE, CONFIDENCE, PAIRS, OBSERVER]),
        ("a.csv", None, [PAIRS, OBSERVER]),
        ("a.csv", "csv-wide", [COVARIANCE, CONFIDENCE, PAIRS, NOTES, OBSERVER]),
    ],
)
def test_what_a_format_cannot_hold_is_said_once(
    tmp_path: Path, name: str, kind: str | None, lost: list[str]
) -> None:
    with pytest.warns(LossWarning) as caught:
        write_landmarks(FULL, tmp_path / name, format=kind)
    (warning,) = caught
    told = str(warning.message)
    assert told == f"{tmp_path / name}: a {kind or name[2:]} file cannot hold {'; '.join(lost)}"
    assert warning.filename == __file__


@pytest.mark.parametrize(("name", "kind"), IN_SPACE)
def test_what_a_format_holds_comes_back(tmp_path: Path, name: str, kind: str | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LossWarning)
        write_landmarks(FULL, tmp_path / name, format=kind, frame="RAS")
    back, holds = read_landmarks(tmp_path / name), FORMATS[kind or name[2:]].holds
    if "absence" in holds:
        assert back.present.tolist() == [True, False, True]
    if "covariance" in holds:
        np.testing.assert_array_equal(back.covariance_mm2, FULL.covariance_mm2)
    if "confidence" in holds:
        np.testing.assert_array_equal(back.confidence, FULL.confidence)
    assert back.pairs == (FULL.pairs if "pairs" in holds else ())
    assert ("descriptions" in back.meta) == bool({"meta", "meta.descriptions"} & holds)


def test_covariances_of_ras_files_are_turned_too(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "name,x_mm,y_mm,z_mm,frame,cov_xx,cov_xy,cov_xz,cov_yy,cov_yz,cov_zz\n"
        "a,-1,-2,3,RAS,9,2,3,8,5,7\n"
    )
    landmarks = read_landmarks(tmp_path / "a.csv")
    assert landmarks.points_mm.tolist() == [[1, 2, 3]]
    assert landmarks.covariance_mm2.tolist() == [[[9, 2, -3], [2, 8, -5], [-3, -5, 7]]]


def test_nothing_is_said_where_nothing_is_lost(tmp_path: Path) -> None:
    plain = Landmarks(("a",), [[1, 2, 3]])
    for name, kind in IN_SPACE:
        write_landmarks(plain, tmp_path / name, format=kind)


# -- wrong use -----------------------------------------------------------------------------------


def test_formats_and_options_that_do_not_exist(tmp_path: Path) -> None:
    landmarks, file = Landmarks(("a",), [[1, 2, 3]]), tmp_path / "a.csv"
    with pytest.raises(UsageError, match=r"cannot have the extension '.xyz'; use one of .csv"):
        write_landmarks(landmarks, tmp_path / "a.xyz")
    with pytest.raises(UsageError, match=r"no landmark format 'vtk'; use one of mrk.json"):
        write_landmarks(landmarks, file, format="vtk")
    write_landmarks(landmarks, tmp_path / "a.fcsv")
    for options in ({"case": "1"}, {"node": "1"}, {"pixel_origin": "corner"}):
        with pytest.raises(UsageError, match=f"{next(iter(options))} means nothing in a fcsv file"):
            read_landmarks(tmp_path / "a.fcsv", **options)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="both a grid and a spacing"):
        read_landmarks(tmp_path / "a.fcsv", grid=Grid((1, 1, 1), (1, 1, 1)), spacing=1)
    (tmp_path / "b.csv").write_text("name,x_px,y_px\na,1,2\n")
    with pytest.raises(UsageError, match="spacing has 3 values, the points are 2D"):
        read_landmarks(tmp_path / "b.csv", spacing=(1, 1, 1))


@pytest.mark.parametrize("name", ["a.mrk.json", "a.fcsv"])
def test_a_file_in_millimetres_needs_a_spacing_for_pixels(tmp_path: Path, name: str) -> None:
    pixels = Landmarks(("a",), [[1, 2]], unit="px")
    with pytest.raises(LandmarkError, match=r"in pixels.*give the image's spacing") as caught:
        write_landmarks(pixels, tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "kind"), IN_SPACE)
def test_a_file_that_says_its_frame_is_not_contradicted(
    tmp_path: Path, name: str, kind: str | None
) -> None:
    file = tmp_path / name
    write_landmarks(Landmarks(("a",), [[1, 2, 3]]), file, format=kind, frame="RAS")
    assert read_landmarks(file, frame="RAS")["a"].tolist() == [1, 2, 3]
    with pytest.raises(UsageError, match="its coordinates are RAS, not LPS"):
        read_landmarks(file, frame="LPS")


def test_format_overrules_the_extension(tmp_path: Path) -> None:
    landmarks = Landmarks(("a",), [[1.0, 2.0, 3.0]])
    write_landmarks(landmarks, tmp_path / "a.dat", format="fcsv")
    assert (tmp_path / "a.dat").read_text().startswith("# Markups fiducial")
    assert read_landmarks(tmp_path / "a.dat", format="fcsv").names == ("a",)
    with pytest.raises(AnatomarkError):
        read_landmarks(tmp_path / "a.dat", format="json")


def test_dimension_must_fit_the_image(tmp_path: Path) -> None:
    write_landmarks(Landmarks(("a",), [[1, 2, 3]]), tmp_path / "a.fcsv")
    with pytest.raises(LandmarkError, match="not in one plane: z reaches 3"):
        read_landmarks(tmp_path / "a.fcsv", grid=Grid((5, 5), (1, 1)))
    write_landmarks(Landmarks(("a",), [[1, 2]]), tmp_path / "a.csv")
    with pytest.raises(LandmarkError, match="2D, 3D ones are needed"):
        read_landmarks(tmp_path / "a.csv", dimension=3)
    with pytest.raises(LandmarkError, match="in mm, the image is in pixels"):
        read_landmarks(tmp_path / "a.csv", grid=Grid((5, 5), unit="px"))


@pytest.mark.parametrize("suffix", LANDMARK_SUFFIXES)
def test_files_that_are_not_there_or_not_text(tmp_path: Path, suffix: str) -> None:
    missing, binary, empty = (tmp_path / f"{n}{suffix}" for n in ("missing", "binary", "empty"))
    binary.write_bytes(bytes(range(128, 256)))
    empty.touch()
    folder = tmp_path / f"folder{suffix}"
    folder.mkdir()
    for file, said in (
        (missing, "no such file"),
        (binary, "not a text file"),
        (empty, "empty"),
        (folder, "directory"),
    ):
        with pytest.raises(LandmarkError, match=said) as caught:
            read_landmarks(file)
        assert str(caught.value).startswith(str(file))
    with pytest.raises(LandmarkError, match="no such file"):
        read_landmark_table(missing)


@pytest.mark.parametrize(("name", "kind"), IN_SPACE)
def test_a_failed_write_leaves_the_old_file(tmp_path: Path, name: str, kind: str | None) -> None:
    file, good = tmp_path / name, Landmarks(("a",), [[1, 2, 3]])
    write_landmarks(good, file, format=kind)
    before = file.read_bytes()
    with pytest.raises(LandmarkError, match="not valid Unicode"):
        write_landmarks(replace(good, names=("\ud800",)), file, format=kind)
    assert file.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [name]
    with pytest.raises(WriteError):
        write_landmarks(good, file / "below" / name, format=kind)


@pytest.mark.parametrize("suffix", LANDMARK_SUFFIXES)
def test_a_unit_that_the_file_denies_is_refused(tmp_path: Path, suffix: str) -> None:
    from anatomark.io.landmarks.isbi import ISBI_NAMES

    file, grid = tmp_path / f"a{suffix}", Grid((40, 40), (0.1, 0.1))
    write_landmarks(Landmarks(ISBI_NAMES, np.full((19, 2), 2.0)), file, grid=grid)
    own, other = ("px", "mm") if suffix == ".txt" else ("mm", "px")
    assert read_landmarks(file, unit=own).unit == own  # type: ignore[arg-type]
    assert read_landmarks(file, default_unit=other).unit == own  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=f"its points are in {own}, not in {other}") as caught:
        read_landmarks(file, unit=other)  # type: ignore[arg-type]
    assert str(caught.value).startswith(str(file))
    if suffix == ".csv":
        with pytest.raises(UsageError, match="its points are in mm, not in px"):
            read_landmark_table(file, unit="px")


def test_a_unit_for_what_does_not_say_it(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("name,x,y\na,1,2\n")
    assert read_landmarks(file, default_unit="px").unit == "px"
    assert read_landmarks(file, unit="mm", default_unit="px").unit == "mm"
