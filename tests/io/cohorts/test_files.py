"""A cohort on disk: what is read back, what is refused, and that nothing is left half-written."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import tomllib
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from anatomark.data import Case, Cohort, Image, Landmarks
from anatomark.errors import CohortError, CohortWarning, UsageError, WriteError
from anatomark.geometry import Grid
from anatomark.io.cohorts.files import (
    check_cohort,
    load_sample,
    read_cohort,
    staged_folder,
    write_cohort,
)
from anatomark.io.images.reading import read_grid, write_image
from anatomark.io.landmarks.formats import write_landmarks

NAMES = ("nose", "left_eye", "right_eye")
PAIRS = (("left_eye", "right_eye"),)
POINTS = np.array([[20.0, 15.0], [8.0, 10.0], [30.0, 9.5]])  # mm, in an image of 40 × 30 mm


def moved(right: float, down: float) -> np.ndarray:
    """All points so many millimetres away."""
    return POINTS + np.array([right, down])


def picture(path: Path, *, size_xy: tuple[int, int] = (80, 60), value: int = 7) -> Path:
    """Write a PNG with one bright pixel."""
    array = np.full(size_xy[::-1], value, np.uint8)
    array[0, 0] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    return path


def points(path: Path, values: object = POINTS, names: tuple[str, ...] = NAMES) -> Path:
    """Write landmarks in mm."""
    write_landmarks(Landmarks(names, np.asarray(values)), path)
    return path


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    """Three sound cases at 0.5 mm, ``a`` and ``b`` paired, written to ``tmp_path/cohort``."""
    root = tmp_path / "cohort"
    cases = [
        Case(
            case=name,
            image=picture(root / "images" / f"{name}.png"),
            landmarks=points(root / "landmarks" / f"{name}.json"),
            patient=patient,
            split=split,
            pair=pair,
            info={"age": "61"},
        )
        for name, patient, split, pair in [
            ("a", "anna", "train", "b"),
            ("b", "anna", "train", "a"),
            ("c", "bert", "val", ""),
        ]
    ]
    made = Cohort(
        root=root,
        cases=tuple(cases),
        names={"": NAMES},
        pairs=PAIRS,
        spacing=(0.5, 0.5),
        seed=3,
        about={"title": 'A "quoted" title', "terms": "research only"},
    )
    write_cohort(made, root)
    return made


Edit = Callable[[Callable[[list[dict[str, str]]], None]], Path]


@pytest.fixture
def edit(cohort: Cohort) -> Edit:
    """Change the rows of ``cohort.csv`` as a user would; returns the folder."""

    def change(how: Callable[[list[dict[str, str]]], None]) -> Path:
        table = cohort.root / "cohort.csv"
        with table.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        how(rows)
        columns = list(dict.fromkeys(key for row in rows for key in row))
        with table.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, columns, restval="")
            writer.writeheader()
            writer.writerows(rows)
        return cohort.root

    return change


def settings(root: Path, old: str, new: str) -> Path:
    """Replace a line of ``cohort.toml``."""
    file = root / "cohort.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return root


def problems_of(folder: Path) -> tuple[str, ...]:
    with pytest.raises(CohortError) as caught:
        read_cohort(folder)
    assert "\n" not in str(caught.value)
    return caught.value.problems


# -- what is read back ---------------------------------------------------------------------------


def test_a_cohort_is_read_back_as_it_was_written(cohort: Cohort) -> None:
    again = read_cohort(cohort.root)
    assert again == cohort
    assert read_cohort(cohort.root / "cohort.toml") == cohort
    assert check_cohort(again) == []


texts = st.text(st.characters(exclude_categories=["C"]), max_size=12).map(str.strip)
words = texts.filter(bool)


@given(name=words, patient=texts, info=st.dictionaries(words, texts, max_size=3), about=texts)
def test_any_text_survives(
    name: str,
    patient: str,
    info: dict[str, str],
    about: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    root = tmp_path_factory.mktemp("any")
    known = {"case", "image", "landmarks", "mask", "patient", "domain", "split", "pair"}
    info = {f"my {key}": value for key, value in info.items() if f"my {key}" not in known}
    case = Case(case=name, image=root / "x.png", patient=patient, info=info)
    cohort = Cohort(
        root=root, cases=(case,), names={name: (about or "p",)}, about={"title": about}, unit="px"
    )
    write_cohort(cohort, root)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CohortWarning)
        again = read_cohort(root, check=False)
    assert (again.cases[0].case, again.cases[0].patient) == (name, patient)
    # A column that no case fills is not written.
    assert {k: v for k, v in again.cases[0].info.items() if v} == {
        k: v for k, v in info.items() if v
    }
    assert again.names == cohort.names
    assert again.about == cohort.about


def test_the_files_say_what_the_documentation_says(cohort: Cohort) -> None:
    content = tomllib.loads((cohort.root / "cohort.toml").read_text())
    assert content["format"] == "anatomark-cohort"
    assert content["version"] == 1
    assert content["unit"] == "mm"
    assert content["spacing"] == [0.5, 0.5]
    assert content["seed"] == 3
    assert content["landmarks"] == {"names": list(NAMES), "pairs": [["left_eye", "right_eye"]]}
    header, first, *_ = (cohort.root / "cohort.csv").read_text().splitlines()
    assert header == "case,image,landmarks,patient,split,pair,age"
    assert first == "a,images/a.png,landmarks/a.json,anna,train,b,61"


def test_domains_have_their_own_names(cohort: Cohort) -> None:
    cases = [replace(case, domain="head") for case in cohort.cases]
    many = replace(cohort, cases=tuple(cases), names={"head": NAMES, "left foot": ("heel",)})
    write_cohort(many, cohort.root)
    again = read_cohort(cohort.root)
    assert again.names == {"head": NAMES, "left foot": ("heel",)}
    assert again.domains == ("head",)


def test_images_elsewhere_are_found_below_a_root_that_the_file_states(
    cohort: Cohort, tmp_path: Path
) -> None:
    first = picture(tmp_path / "pictures" / "day 1" / "a.png")
    other = picture(tmp_path / "pictures" / "day 2" / "b.png")
    files = dict(zip("abc", (first, other, cohort.cases[2].image), strict=True))
    moved = replace(cohort, cases=tuple(replace(c, image=files[c.case]) for c in cohort.cases[:2]))
    write_cohort(moved, cohort.root)
    stated = tomllib.loads((cohort.root / "cohort.toml").read_text())["images_root"]
    assert stated == str(tmp_path / "pictures")
    assert [c.image for c in read_cohort(cohort.root).cases] == [first, other]

    (tmp_path / "pictures").rename(tmp_path / "moved")
    assert any("images_root" in problem for problem in problems_of(cohort.root))
    found = read_cohort(cohort.root, images_root=tmp_path / "moved")
    assert found.cases[0].image == tmp_path / "moved" / "day 1" / "a.png"


def test_landmark_files_from_elsewhere_are_copied_in(cohort: Cohort, tmp_path: Path) -> None:
    outside = points(tmp_path / "elsewhere" / "x.json")
    write_cohort(
        replace(cohort, cases=tuple(replace(c, landmarks=outside) for c in cohort.cases)),
        cohort.root,
    )
    outside.unlink()
    again = read_cohort(cohort.root)
    assert all(c.landmarks.is_relative_to(cohort.root) for c in again.cases if c.landmarks)
    assert len({c.landmarks for c in again.cases}) == 3


def test_a_column_with_a_typing_error_is_pointed_out(edit: Edit) -> None:
    def misspell(rows: list[dict[str, str]]) -> None:
        for row in rows:
            row["landmark"] = row.pop("landmarks")

    folder = edit(misspell)
    with pytest.warns(CohortWarning, match="did you mean 'landmarks'"):
        read_cohort(folder)


# -- what is wrong, each alone -------------------------------------------------------------------


def setting(case: str, /, **cells: str) -> Callable[[list[dict[str, str]]], None]:
    """Set cells of one case."""

    def change(rows: list[dict[str, str]]) -> None:
        next(row for row in rows if row["case"] == case).update(cells)

    return change


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (setting("c", image="images/gone.png"), "case 'c': missing image file .*gone.png"),
        (setting("c", landmarks="landmarks/gone.json"), "case 'c': missing landmarks file"),
        (setting("c", mask="masks/gone.png"), "case 'c': missing mask file"),
        (setting("a", transform="gone.tfm"), "case 'a': missing transform file"),
        (setting("c", transform="cohort.csv"), "case 'c' has a transform but no pair"),
        (
            setting("c", case="a", pair="b", patient="anna", split="train"),
            "case 'a' is listed 2 times",
        ),
        (setting("c", image="images/a.png"), "the same image is used by cases a, c"),
        (
            setting("c", patient="anna"),
            r"patient 'anna' is in several splits \('a' in train, 'c' in val",
        ),
        (setting("c", split=""), "case 'c' is in no split, others are"),
        (setting("c", split="vall-id tion"), "unknown split 'vall-id tion'"),
        (setting("c", pair="z"), "case 'c' is paired with 'z', which does not exist"),
        (setting("c", pair="a"), "case 'c' is paired with 'a', but not the other way round"),
        (setting("c", pair="c"), "case 'c' is paired with itself"),
        (setting("c", spacing="0.5 0"), "spacing: a spacing must be positive, not 0.5 0"),
        (setting("c", spacing="nan"), "spacing: a spacing must be positive, not nan"),
        (setting("c", spacing="half"), "spacing: 'half' is not a list of numbers"),
        (setting("c", spacing="1 1 1 1"), "a spacing has 1, 2 or 3 numbers, not 4"),
        (setting("c", image=""), r"line 4 \(case 'c'\): has no image"),
        (setting("c", case=""), "a case has no name"),
        (setting("c", domain="foot"), "no names are listed for domain 'foot'; known are ''"),
    ],
)
def test_one_wrong_cell_is_one_clear_problem(
    edit: Edit, change: Callable[[list[dict[str, str]]], None], problem: str
) -> None:
    found = problems_of(edit(change))
    assert len(found) == 1, found
    assert re.search(problem, found[0])


@pytest.mark.parametrize(
    ("values", "names", "problem"),
    [
        (moved(20, 0), NAMES, "points outside the image: nose, right_eye"),
        (POINTS, ("nose", "left_eye", "mouth"), "names not in the list: mouth"),
        (POINTS[:2], NAMES[:2], "landmarks missing from the file: right_eye"),
        (np.ones((3, 3)), NAMES, "the points are not in one plane"),
    ],
)
def test_landmarks_must_fit_the_list_and_the_image(
    cohort: Cohort, values: object, names: tuple[str, ...], problem: str
) -> None:
    points(cohort.root / "landmarks" / "c.json", values, names)
    found = problems_of(cohort.root)
    assert any(p.startswith("case 'c': ") and problem in p for p in found), found
    assert not any("case 'a'" in p or "case 'b'" in p for p in found)


def test_the_outer_faces_belong_to_the_image(cohort: Cohort) -> None:
    corners = np.array([[-0.25, -0.25], [39.75, 29.75], [0, 0]])
    points(cohort.root / "landmarks" / "c.json", corners)
    assert check_cohort(read_cohort(cohort.root)) == []
    points(
        cohort.root / "landmarks" / "c.json", corners + np.array([[-1e-3, 0], [0, 1e-3], [0, 0]])
    )
    assert "outside the image: nose, left_eye" in problems_of(cohort.root)[0]


def test_an_absent_landmark_is_no_problem(cohort: Cohort) -> None:
    points(cohort.root / "landmarks" / "c.json", [[np.nan, np.nan], [8, 10], [30, 9.5]])
    sample = load_sample(cohort, read_cohort(cohort.root)["c"])
    assert sample.landmarks is not None
    assert sample.landmarks.present.tolist() == [False, True, True]


def test_units_must_agree(cohort: Cohort) -> None:
    root = settings(cohort.root, "spacing = [0.5, 0.5]\n", "")
    assert problems_of(root) == tuple(
        f"case '{name}': the image has no spacing, but the cohort is in mm: "
        "give a spacing or unit = 'px'"
        for name in "abc"
    )
    settings(root, 'unit = "mm"', 'unit = "px"')
    assert all("points in mm, image in px" in p or "in mm" in p for p in problems_of(root))


def test_a_mask_must_have_the_size_of_its_image(edit: Edit, cohort: Cohort) -> None:
    picture(cohort.root / "masks" / "c.png", size_xy=(80, 61))
    found = problems_of(edit(setting("c", mask="masks/c.png")))
    assert len(found) == 1
    assert "the mask has (80, 61) voxels, the image (80, 60)" in found[0]


def test_a_mask_must_lie_where_its_image_does(edit: Edit, cohort: Cohort) -> None:
    """The same number of voxels is not enough: 30 mm away it is another place."""
    image = read_grid(cohort.root / "images" / "c.png", spacing=0.5)
    away = Grid(image.shape, image.spacing, (30, 0))
    write_image(Image(np.ones(away.shape, np.uint8), away), cohort.root / "masks" / "c.nrrd")
    root = edit(setting("c", mask="masks/c.nrrd"))
    found = problems_of(root)
    assert len(found) == 1
    assert "does not lie where its image does" in found[0]
    unchecked = read_cohort(root, check=False)
    with pytest.raises(CohortError, match=r"from \[30.0, 0.0\], .*; resample the mask"):
        load_sample(unchecked, unchecked["c"])


def test_broken_files_are_named(cohort: Cohort) -> None:
    (cohort.root / "images" / "a.png").write_bytes(b"not a picture")
    (cohort.root / "landmarks" / "b.json").write_text("[" * 100_000)
    found = problems_of(cohort.root)
    assert len(found) == 2
    assert "a.png" in found[0]
    assert "b.json" in found[1]


# -- everything at once --------------------------------------------------------------------------


def test_all_problems_come_in_one_error(edit: Edit, cohort: Cohort) -> None:
    def ruin(rows: list[dict[str, str]]) -> None:
        rows[0]["image"] = "../a.png"
        rows[1]["spacing"] = "-1"
        rows[2].update(landmarks="gone.json", split="vaal", patient="anna")

    root = settings(edit(ruin), "seed = 3", 'seed = "three"')
    settings(root, '[["left_eye", "right_eye"]]', '[["left_eye", "ear"]]')
    with pytest.raises(CohortError) as caught:
        read_cohort(root)
    text = "\n".join(caught.value.problems)
    for part in (
        "seed: input should be a valid integer, not 'three'",
        "'../a.png' is a path that escapes the cohort folder",
        "a spacing must be positive, not -1",
        "the pair ['left_eye', 'ear'] names unknown landmarks",
        "missing landmarks file",
        "unknown split 'vaal'",
        "a split leak",
    ):
        assert part in text, part
    message = str(caught.value)
    assert f"{len(caught.value.problems)} problems: " in message
    assert f"and {len(caught.value.problems) - 3} more" in message
    assert str(root / "cohort.toml") in message


def test_without_checks_only_the_two_files_are_read(edit: Edit) -> None:
    folder = edit(setting("c", image="images/gone.png"))
    assert read_cohort(folder, check=False)["c"].image.name == "gone.png"


# -- paths that leave the folder -----------------------------------------------------------------


@pytest.mark.parametrize("column", ["image", "landmarks", "mask", "transform", "landmarks:anna"])
@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../x.png",
        "images/../../x.png",
        "C:\\x.png",
        "\\\\host\\x.png",
        "c:x",
        "..\\x",
    ],
)
def test_a_path_may_not_escape(edit: Edit, column: str, path: str) -> None:
    folder = edit(setting("c", **{column: path}))
    for check in (True, False):
        with pytest.raises(CohortError, match="a path that escapes the cohort folder") as caught:
            read_cohort(folder, check=check)
        assert "case 'c'" in caught.value.problems[0]
        assert f"{column}: {path!r}" in caught.value.problems[0]


def test_a_link_may_not_lead_out_either(edit: Edit, cohort: Cohort, tmp_path: Path) -> None:
    secret = points(tmp_path / "secret.json")
    (cohort.root / "landmarks" / "link.json").symlink_to(secret)
    found = problems_of(edit(setting("c", landmarks="landmarks/link.json")))
    assert "escapes the cohort folder through a link" in found[0]
    (cohort.root / "loop").symlink_to(cohort.root / "loop")
    assert "escapes" in problems_of(edit(setting("c", landmarks="loop/x.json")))[0]


def test_a_link_within_the_folder_and_a_linked_folder_are_fine(
    edit: Edit, cohort: Cohort, tmp_path: Path
) -> None:
    (cohort.root / "pictures").symlink_to(cohort.root / "images")
    edit(setting("c", image="pictures/c.png"))
    (tmp_path / "alias").symlink_to(cohort.root)
    assert len(read_cohort(tmp_path / "alias")) == 3


def test_images_may_not_escape_their_root(cohort: Cohort, tmp_path: Path) -> None:
    picture(tmp_path / "pictures" / "a.png")
    moved = replace(
        cohort, cases=(replace(cohort.cases[2], image=tmp_path / "pictures" / "a.png"),)
    )
    write_cohort(moved, cohort.root)
    table = cohort.root / "cohort.csv"
    table.write_text(table.read_text().replace(",a.png", ",../cohort/images/a.png"))
    assert "escapes" in problems_of(cohort.root)[0]


# -- the two files -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("seed = 3", "seed = 3.5", "cohort.toml: seed: input should be a valid integer, not 3.5"),
        ("seed = 3", "seed = true", "seed: input should be a valid integer"),
        ("spacing = [0.5, 0.5]", 'spacing = ["a"]', "spacing: must be a number or a list of"),
        ("spacing = [0.5, 0.5]", "spacing = true", "spacing: must be a number or a list of"),
        ("seed = 3", "sead = 3", "unknown key 'sead', did you mean 'seed'?"),
        ("names = [", "nams = [", "unknown key 'landmarks.nams', did you mean 'names'?"),
        ('unit = "mm"', 'unit = "inch"', "unit: input should be 'mm' or 'px', not 'inch'"),
        ("spacing = [0.5, 0.5]", "spacing = [0.5, -0.5]", "the cohort: spacing: a spacing must be"),
        ("seed = 3", 'seed = 3\ntruth = "anna"', "truth is 'anna', but no column 'landmarks:anna'"),
        ('"nose", ', '"nose", "nose", ', "the cohort lists landmarks twice: nose"),
        ('"nose", ', '"nose", " ", ', "the cohort lists a landmark without a name"),
        (
            '[["left_eye", "right_eye"]]',
            '[["left_eye", "nose"], ["nose", "right_eye"]]',
            "in more than one left/right pair: nose",
        ),
        ('[["left_eye", "right_eye"]]', '[["left_eye"]]', "landmarks.pairs.0: list should have"),
        ("[landmarks]", "[domains.head]\nnames = []\n[landmarks]", "not both"),
    ],
)
def test_settings_are_checked(cohort: Cohort, old: str, new: str, problem: str) -> None:
    assert any(problem in found for found in problems_of(settings(cohort.root, old, new)))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the file is empty"),
        ("format = ", "is not valid TOML"),
        ("x = " + "[" * 5000 + "]" * 5000, "is not valid TOML: it is nested too deeply"),
        ('title = "x"', "is not a cohort"),
        (
            'format = "anatomark-cohort"\nversion = 2',
            "has version 2, this anatomark reads version 1",
        ),
        ('format = "anatomark-cohort"', "has version None"),
        ("format = '\udcff'", "is text, but not in UTF-8; save it as UTF-8"),
    ],
)
def test_a_file_that_is_no_cohort_is_refused(cohort: Cohort, text: str, problem: str) -> None:
    (cohort.root / "cohort.toml").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(CohortError, match=re.escape(problem)):
        read_cohort(cohort.root)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("case,picture\na,a.png\n", "has no column 'image'"),
        ("name;image\na;a.png\n", "separate the columns by commas"),
        ("case,image,image\na,a.png,b.png\n", "has two columns named 'image'"),
        ('case,image\na,"a.png\n', "is not a table: unexpected end of data"),
        ("case,image\na,a.png,more\n", "line 2: has 3 cells, the header has 2"),
        ("case,image\n\n", "the cohort has no case"),
    ],
)
def test_a_table_that_is_none_is_refused(cohort: Cohort, text: str, problem: str) -> None:
    (cohort.root / "cohort.csv").write_text(text)
    with pytest.raises(CohortError, match=re.escape(problem)):
        read_cohort(cohort.root)


def test_a_missing_cohort_is_named(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=re.escape(str(tmp_path / "no"))):
        read_cohort(tmp_path / "no")
    with pytest.raises(CohortError, match=r"cohort\.toml: cannot be read"):
        read_cohort(tmp_path)


# -- observers and truth -------------------------------------------------------------------------


@pytest.fixture
def observed(cohort: Cohort) -> Cohort:
    """Every case read by anna and by bert, who is 2 mm to the right."""
    cases = []
    for case in cohort.cases:
        readings = {
            "anna": points(cohort.root / "landmarks" / f"{case.case}.anna.json"),
            "bert": points(cohort.root / "landmarks" / f"{case.case}.bert.json", moved(2, 0)),
        }
        cases.append(replace(case, landmarks=None, observers=readings))
    return replace(cohort, cases=tuple(cases))


@pytest.mark.parametrize(("truth", "shift"), [("mean", 1), ("anna", 0), ("bert", 2)])
def test_truth_is_who_the_cohort_says(observed: Cohort, truth: str, shift: float) -> None:
    write_cohort(replace(observed, truth=truth), observed.root)
    cohort = read_cohort(observed.root)
    sample = load_sample(cohort, cohort["a"])
    assert sample.landmarks is not None
    np.testing.assert_allclose(sample.landmarks.points_mm, moved(shift, 0))
    assert list(sample.observers) == ["anna", "bert"]
    np.testing.assert_allclose(sample.observers["bert"].points_mm, moved(2, 0))


def test_observers_are_not_pooled_silently(observed: Cohort) -> None:
    write_cohort(observed, observed.root)
    assert "was read by anna, bert: set truth to 'mean'" in problems_of(observed.root)[0]
    with pytest.raises(CohortError, match="does not say whose reading is the truth"):
        load_sample(observed, observed.cases[0])


def test_a_mean_needs_every_observer(observed: Cohort) -> None:
    first, *rest = observed.cases
    lacking = replace(first, observers={"anna": first.observers["anna"]})
    for truth, problem in (
        ("mean", "case 'a': truth is the mean, but there is nothing by bert"),
        ("bert", "case 'a': truth is 'bert', who did not read it"),
    ):
        write_cohort(replace(observed, cases=(lacking, *rest), truth=truth), observed.root)
        assert problems_of(observed.root) == (problem,)


def test_a_consensus_file_is_the_truth_where_nobody_is_named(observed: Cohort) -> None:
    agreed = points(observed.root / "landmarks" / "agreed.json", moved(0, 1))
    cases = (replace(observed.cases[2], landmarks=agreed),)
    write_cohort(replace(observed, cases=cases), observed.root)
    cohort = read_cohort(observed.root)
    sample = load_sample(cohort, cohort["c"])
    assert sample.landmarks is not None
    np.testing.assert_allclose(sample.landmarks.points_mm, moved(0, 1))


# -- samples -------------------------------------------------------------------------------------


def test_a_sample_has_its_landmarks_in_the_order_of_the_cohort(cohort: Cohort) -> None:
    points(cohort.root / "landmarks" / "a.json", POINTS[::-1], NAMES[::-1])
    sample = load_sample(read_cohort(cohort.root), cohort["a"])
    assert sample.landmarks is not None
    assert sample.landmarks.names == NAMES
    assert sample.landmarks.pairs == PAIRS
    np.testing.assert_array_equal(sample.landmarks.points_mm, POINTS)
    assert sample.info == {"age": "61"}


def test_spacing_comes_from_the_case_then_the_cohort_then_the_file(
    edit: Edit, cohort: Cohort
) -> None:
    volume = sitk.GetImageFromArray(np.arange(24, dtype=np.int16).reshape(2, 3, 4))
    volume.SetSpacing((2.0, 3.0, 4.0))
    sitk.WriteImage(volume, str(cohort.root / "images" / "v.nii.gz"))
    points(cohort.root / "landmarks" / "b.json", POINTS / 8)
    edit(setting("b", spacing="0.25", pair=""))
    edit(setting("a", pair=""))
    edit(setting("c", image="images/v.nii.gz", landmarks=""))
    again = read_cohort(cohort.root)
    spacings = [load_sample(again, c).image.grid.spacing.tolist() for c in again.cases]
    np.testing.assert_allclose(spacings[0], [0.5, 0.5])
    np.testing.assert_allclose(spacings[1], [0.25, 0.25])
    np.testing.assert_allclose(spacings[2], [2, 3, 4])


def test_a_mask_comes_with_the_sample(edit: Edit, cohort: Cohort) -> None:
    picture(cohort.root / "masks" / "c.png", value=0)
    edit(setting("c", mask="masks/c.png"))
    again = read_cohort(cohort.root)
    sample = load_sample(again, again["c"])
    assert sample.mask is not None
    np.testing.assert_allclose(sample.mask.grid.spacing, sample.image.grid.spacing)


# -- writing -------------------------------------------------------------------------------------


def tree(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


def half_way(out: Path, *, overwrite: bool = False) -> None:
    """Write one file, then fail."""
    with staged_folder(out, overwrite=overwrite) as folder:
        (folder / "cohort.toml").write_text("x")
        raise FileNotFoundError("half-way")


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        half_way(tmp_path / "out")
    assert tree(tmp_path) == []
    with staged_folder(tmp_path / "new" / "out") as folder:
        (folder / "cohort.csv").write_text("x")
    assert tree(tmp_path) == ["new", "new/out", "new/out/cohort.csv"]


def test_only_a_cohort_is_overwritten_and_only_on_request(cohort: Cohort, tmp_path: Path) -> None:
    before = tree(cohort.root)
    with pytest.raises(UsageError, match="not empty"), staged_folder(cohort.root):
        pytest.fail("must not begin")
    with pytest.raises(FileNotFoundError):
        half_way(cohort.root, overwrite=True)
    assert tree(cohort.root) == before
    with staged_folder(cohort.root, overwrite=True) as folder:
        (folder / "cohort.toml").write_text("new")
    assert tree(cohort.root) == ["cohort.toml"]
    (cohort.root / "thesis.tex").write_text("ten years of work")
    with (
        pytest.raises(UsageError, match=r"more than a cohort \(thesis.tex\)"),
        staged_folder(cohort.root, overwrite=True),
    ):
        pytest.fail("must not begin")
    assert tree(tmp_path) == ["cohort", "cohort/cohort.toml", "cohort/thesis.tex"]


def test_a_full_disk_leaves_nothing(cohort: Cohort, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)]
    if (
        shutil.which("mount") is None
        or subprocess.run(mount, capture_output=True, check=False).returncode
    ):
        pytest.skip("a small file system cannot be mounted here")
    try:
        full = replace(cohort, about={"title": "x" * 65536})
        with pytest.raises(WriteError), staged_folder(disk / "out") as folder:
            write_cohort(full, folder)
        assert tree(disk) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_name_that_is_no_unicode_is_a_clear_error(tmp_path: Path) -> None:
    case = Case(case="a", image=tmp_path / os.fsdecode(b"\xff.png"))
    cohort = Cohort(root=tmp_path, cases=(case,), names={}, unit="px")
    with pytest.raises(CohortError, match="not valid Unicode"):
        write_cohort(cohort, tmp_path)
    assert tree(tmp_path) == []
