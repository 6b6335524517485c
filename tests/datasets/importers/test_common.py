"""What holds for every importer: options, splits, atomic writing."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from anatomark.data import Case
from anatomark.datasets.importers import IMPORTERS
from anatomark.datasets.importers.common import in_pixels
from anatomark.datasets.importers.splits import divide
from anatomark.errors import CohortError, CohortWarning, ImageError, UsageError
from anatomark.geometry import Grid
from anatomark.io.cohorts.files import read_cohort

run = IMPORTERS["csv"]


@pytest.fixture
def source(tmp_path: Path, picture: Callable[..., Path]) -> Path:
    """Ten images of five patients: p0_0, p0_1, p1_0, …"""
    names = [f"p{i // 2}_{i % 2}" for i in range(10)]
    for name in names:
        picture(tmp_path / "set" / "images" / f"{name}.png")
    rows = "".join(f"{name},5,6\n" for name in names)
    (tmp_path / "set" / "table.csv").write_text("image,tip_x_px,tip_y_px\n" + rows)
    return tmp_path / "set"


def test_the_table_of_importers_is_what_the_command_line_offers() -> None:
    assert list(IMPORTERS) == [
        "isbi2015",
        "aasce2019",
        "hand-xray",
        "chest-xray",
        "jsrt",
        "slicer",
        "images",
        "csv",
    ]
    for importer in IMPORTERS.values():
        assert importer.description
        assert "\n" not in importer.description
        assert {"spacing", "copy", "overwrite", "outside", "split", "seed"} <= {*importer.options}


def test_an_unknown_option_is_named(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no option 'wrist_mm'; it has table, images"):
        run(source, tmp_path / "out", wrist_mm=50)


def test_progress_is_told(source: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    run(source, tmp_path / "out", progress=lambda done, total: told.append((done, total)))
    assert told == [(i, 10) for i in range(1, 11)]


def test_an_import_that_fails_half_way_leaves_what_was_there(source: Path, tmp_path: Path) -> None:
    before = run(source, tmp_path / "out")

    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path / "out", overwrite=True, progress=stop)
    assert read_cohort(tmp_path / "out") == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "set"]


def test_a_folder_in_use_is_not_overwritten(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out")
    with pytest.raises(UsageError, match="not empty"):
        run(source, tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="more than a cohort"):
        run(source, tmp_path / "out", overwrite=True)
    for inside in (source, source / "below"):
        with pytest.raises(UsageError, match="inside its source"):
            run(source, inside)


def test_patients_are_found_in_the_names_and_stay_together(source: Path, tmp_path: Path) -> None:
    cohort = run(source, tmp_path / "out", patient=r"^(p\d)_", split="0.6,0.2,0.2", seed=4)
    assert {case.patient for case in cohort.cases} == {f"p{i}" for i in range(5)}
    counts = {split: len(cohort.select(split=split)) for split in cohort.splits}
    assert counts == {"train": 6, "val": 2, "test": 2}
    assert cohort.seed == 4
    assert cohort.about["splits"] == "divided by 0.6,0.2,0.2 with seed 4"
    with pytest.raises(UsageError, match="finds no patient in case 'p0_0'"):
        run(source, tmp_path / "no", patient="x")
    with pytest.raises(UsageError, match="not a regular expression"):
        run(source, tmp_path / "no", patient="(")


def cases(count: int, *, tests: int = 0) -> list[Case]:
    return [
        Case(
            case=f"{i:03d}",
            image=Path(f"{i}.png"),
            patient=f"patient {i // 3}",
            split="test1" if i < tests else "train",
        )
        for i in range(count)
    ]


@given(st.integers(1, 60), st.integers(0, 5), st.sampled_from(["0.8,0.1,0.1", "0.5,0.5", "1,0,0"]))
def test_a_random_split_never_divides_a_patient(count: int, seed: int, parts: str) -> None:
    before = cases(count)
    after = divide(before, parts, seed=seed)
    assert [c.case for c in after] == [c.case for c in before]
    by_patient: dict[str, set[str]] = {}
    for case in after:
        by_patient.setdefault(case.patient, set()).add(case.split)
    assert all(len(splits) == 1 for splits in by_patient.values())
    shares = [float(part) for part in parts.split(",")]
    for name, share in zip(("train", "val", "test"), shares, strict=False):
        held = sum(splits == {name} for splits in by_patient.values())
        assert abs(held - share * len(by_patient)) <= 1
    # The order of the cases has no say, the seed has.
    shuffled = divide(before[::-1], parts, seed=seed)
    assert {c.case: c.split for c in shuffled} == {c.case: c.split for c in after}


def test_pairs_are_not_divided_either() -> None:
    paired = [
        Case(case=f"{side}{i}", image=Path(f"{side}{i}"), pair=f"{other}{i}")
        for i in range(20)
        for side, other in ("ab", "ba")
    ]
    split = {case.case: case.split for case in divide(paired, "0.5,0.5", seed=2)}
    assert all(split[f"a{i}"] == split[f"b{i}"] for i in range(20))
    assert set(split.values()) == {"train", "val"}


def test_counts_divide_in_the_order_of_names() -> None:
    after = divide(cases(10)[::-1], "5,2,3")
    by_name = sorted(after, key=lambda case: case.case)
    assert [c.split for c in by_name] == ["train"] * 5 + ["val"] * 2 + ["test"] * 3


def test_the_test_set_of_a_source_stays_a_test_set() -> None:
    after = divide(cases(12, tests=6), "0.5,0.5")
    assert [c.split for c in after[:6]] == ["test1"] * 6
    assert sorted({c.split for c in after[6:]}) == ["train", "val"]


@pytest.mark.parametrize(
    "parts", ["", "0.5", "0.5,0.4", "a,b", "0.5,0.5,0.5,-0.5", "3.5,6.5", "5,6"]
)
def test_a_split_that_makes_no_sense_is_refused(parts: str) -> None:
    with pytest.raises(UsageError, match="split"):
        divide(cases(10), parts)


@given(st.integers(2, 50), st.integers(2, 50), st.floats(0.1, 9))
def test_relative_points_reach_from_face_to_face(width: int, height: int, spacing: float) -> None:
    grid = Grid((height, width), spacing=np.full(2, spacing))
    ends = in_pixels(("first", "last"), [[0, 0], [1, 1]], relative=True).on(grid)
    np.testing.assert_allclose(ends.points_mm, grid.corners()[[0, -1]], atol=1e-9)


def test_an_image_in_two_files_is_not_copied(source: Path, tmp_path: Path) -> None:
    for image in (source / "images").iterdir():
        sitk.WriteImage(sitk.ReadImage(str(image)), str(image.with_suffix(".mhd")))
        image.unlink()
    assert len(run(source, tmp_path / "out")) == 10
    with pytest.raises(UsageError, match="its voxels are in another file"):
        run(source, tmp_path / "copied", copy=True)


def rewrite(source: Path, old: str, new: str) -> None:
    """One row of a table that has a row for each image."""
    table = source / "table.csv"
    rows = "".join(f"p{i // 2}_{i % 2},sella,5,6\n" for i in range(10))
    table.write_text("image,landmark,x_px,y_px\n" + rows.replace(old, new))


def alike(caught: list[warnings.WarningMessage]) -> list[str]:
    return [str(w.message) for w in caught if "may be one landmark" in str(w.message)]


@pytest.mark.parametrize("wrong", ["Sella", "sella ", "sel-la", "SELLA"])
def test_a_name_written_in_two_ways_is_said(source: Path, tmp_path: Path, wrong: str) -> None:
    rewrite(source, "p1_0,sella", f"p1_0,{wrong}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cohort = run(source, tmp_path / "out")
    assert len(cohort.names[""]) == 2
    (said,) = alike(caught)
    assert f"{wrong!r} in 1 case (p1_0) beside 'sella' in 9;" in said
    assert "\n" not in said
    assert issubclass(caught[0].category, CohortWarning)


def test_two_landmarks_that_a_case_has_both_of_are_two(source: Path, tmp_path: Path) -> None:
    both = "p1_0,1_11,1,2\np1_0,11_1,3,4\np1_1,1_11,1,2\np1_1,"
    rewrite(source, "p1_0,sella,5,6\np1_1,", both)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert len(run(source, tmp_path / "out").names[""]) == 3
    assert not alike(caught)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".nii.gz", ".tif"])
def test_every_image_that_is_cut_off_is_listed(
    tmp_path: Path, picture: Callable[..., Path], suffix: str
) -> None:
    volume = suffix == ".nii.gz"
    for name in "abcd":
        picture(tmp_path / "set" / f"{name}{suffix}", (80, 60, 5) if volume else (80, 60))
    for name in "bd":
        file = tmp_path / "set" / f"{name}{suffix}"
        file.write_bytes(file.read_bytes()[: file.stat().st_size * 3 // 4])
    told: list[tuple[int, int]] = []
    with pytest.raises(CohortError, match="2 problems: ") as caught:
        IMPORTERS["images"](
            tmp_path / "set", tmp_path / "out", progress=lambda *done: told.append(done)
        )
    assert all(f"{n}{suffix}: " in p for n, p in zip("bd", caught.value.problems, strict=True))
    assert told[-1] == (4, 4)
    assert not (tmp_path / "out").exists()
    (tmp_path / "set" / f"d{suffix}").unlink()
    with pytest.raises(ImageError, match=rf"b\{suffix}: "):
        IMPORTERS["images"](tmp_path / "set", tmp_path / "out")
