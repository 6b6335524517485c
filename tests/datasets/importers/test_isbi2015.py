"""The ISBI 2015 layout, on a small tree that looks like it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from anatomark.datasets.importers import IMPORTERS
from anatomark.errors import AnatomarkError, CohortError, UsageError
from anatomark.io.cohorts.files import load_sample, read_cohort
from anatomark.io.landmarks.isbi import ISBI_NAMES

run = IMPORTERS["isbi2015"]
# Pixels as the annotators wrote them: whole numbers, 19 lines, then the classes.
PIXELS = np.array([[10 + 3 * i, 50 - 2 * i] for i in range(19)])
CASES = {"TrainingData": ["001", "150"], "Test1Data": ["151"], "Test2Data": ["301"]}


def annotate(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{x},{y}" for x, y in pixels] + ["1", "2", "1", "3", "1", "2", "1", "4"]
    path.write_text("\r\n".join(lines) + "\r\n")


@pytest.fixture
def source(tmp_path: Path, picture: Callable[..., Path]) -> Path:
    root = tmp_path / "isbi"
    for part, names in CASES.items():
        for name in names:
            picture(root / "RawImage" / part / f"{name}.bmp")
            annotate(root / "AnnotationsByMD" / "400_senior" / f"{name}.txt", PIXELS)
            annotate(
                root / "AnnotationsByMD" / "400_junior" / f"{name}.txt", PIXELS + np.array([0, 4])
            )
    return root


def test_points_are_a_tenth_of_a_millimetre_from_the_outer_corner(
    source: Path, tmp_path: Path
) -> None:
    cohort = run(source, tmp_path / "out", truth="senior")
    assert cohort.unit == "mm"
    sample = load_sample(cohort, cohort["001"])
    assert sample.landmarks is not None
    assert sample.landmarks.names[:2] == ("sella", "nasion")
    # Pixel 10 has its outer corner 1.0 mm from the image's, and its centre 1.0 mm from the centre
    # of pixel 0; so a point "10" from the corner lies 0.05 mm before that.
    np.testing.assert_allclose(sample.landmarks.points_mm, PIXELS * 0.1 - 0.05)
    np.testing.assert_allclose(sample.image.grid.to_index(sample.landmarks.points_mm), PIXELS - 0.5)


def test_splits_are_those_of_the_challenge(source: Path, tmp_path: Path) -> None:
    cohort = run(source, tmp_path / "out")
    found = {case.case: case.split for case in cohort.cases}
    assert found == {"001": "train", "150": "train", "151": "test1", "301": "test2"}
    assert cohort.names == {"": ISBI_NAMES}
    assert read_cohort(tmp_path / "out") == cohort


def test_both_observers_are_kept_and_their_mean_is_the_truth(source: Path, tmp_path: Path) -> None:
    cohort = run(source, tmp_path / "out")
    sample = load_sample(cohort, cohort["151"])
    assert sample.landmarks is not None
    assert cohort.truth == "mean"
    np.testing.assert_allclose(sample.landmarks.points_mm, (PIXELS + np.array([0, 2])) * 0.1 - 0.05)
    assert sorted(sample.observers) == ["junior", "senior"]


def test_the_images_stay_where_they_are_unless_copied(source: Path, tmp_path: Path) -> None:
    cohort = run(source, tmp_path / "out")
    assert cohort["001"].image == source / "RawImage" / "TrainingData" / "001.bmp"
    copied = run(source, tmp_path / "out", copy=True, overwrite=True)
    assert copied["001"].image == tmp_path / "out" / "images" / "001.bmp"
    assert "images_root" not in (tmp_path / "out" / "cohort.toml").read_text()


def test_the_flat_layout_of_later_code_is_known_too(
    tmp_path: Path, picture: Callable[..., Path]
) -> None:
    for name in ("001", "151"):
        picture(tmp_path / "flat" / "raw" / f"{name}.bmp")
        annotate(tmp_path / "flat" / "400_senior" / f"{name}.txt", PIXELS)
    cohort = run(tmp_path / "flat", tmp_path / "out", truth="senior")
    assert [case.split for case in cohort.cases] == ["train", "test1"]
    with pytest.raises(UsageError, match="only the senior observer is there"):
        run(tmp_path / "flat", tmp_path / "other")


def test_the_truth_of_the_challenge_needs_its_own_point_16(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="point 16 of Test2 is not in AnnotationsByMD"):
        run(source, tmp_path / "out", truth="challenge")
    assert not (tmp_path / "out").exists()

    changed = np.array(PIXELS, float)
    changed[15] = [77, 7]
    rows = []
    for name in ("001", "150", "151", "301"):
        points = changed if name == "301" else PIXELS
        rows.append(",".join([name, *(f"{v / 10:g}" for v in points.ravel())]))
    (tmp_path / "challenge.csv").write_text("\n".join(rows))
    cohort = run(source, tmp_path / "out", truth="challenge", challenge=tmp_path / "challenge.csv")
    last = load_sample(cohort, cohort["301"]).landmarks
    assert last is not None
    np.testing.assert_allclose(last["soft_tissue_pogonion"], [7.65, 0.65])
    np.testing.assert_allclose(last["sella"], PIXELS[0] * 0.1 - 0.05)


def test_without_test2_the_truth_of_the_challenge_is_the_senior(
    source: Path, tmp_path: Path
) -> None:
    (source / "RawImage" / "Test2Data" / "301.bmp").unlink()
    cohort = run(source, tmp_path / "out", truth="challenge")
    sample = load_sample(cohort, cohort["151"])
    assert sample.landmarks is not None
    np.testing.assert_array_equal(sample.landmarks.points_mm, sample.observers["senior"].points_mm)


def lose_annotations(root: Path) -> None:
    (root / "AnnotationsByMD").rename(root / "somewhere")


def cut_a_file(root: Path) -> None:
    file = root / "AnnotationsByMD" / "400_junior" / "150.txt"
    file.write_text("\n".join(file.read_text().splitlines()[:18]))


def lose_a_file(root: Path) -> None:
    (root / "AnnotationsByMD" / "400_junior" / "150.txt").unlink()


def name_oddly(root: Path) -> None:
    (root / "RawImage" / "Test1Data").rename(root / "RawImage" / "More")
    (root / "RawImage" / "More" / "151.bmp").rename(root / "RawImage" / "More" / "x.bmp")


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lose_annotations, "has neither 400_senior nor 400_junior"),
        (cut_a_file, r"150\.txt.*18 lines"),
        (lose_a_file, r"150\.txt"),
        (name_oddly, "neither in TrainingData, Test1Data or Test2Data nor named by its number"),
    ],
)
def test_damage_is_named_and_leaves_nothing(
    source: Path, tmp_path: Path, damage: Callable[[Path], None], problem: str
) -> None:
    damage(source)
    with pytest.raises(AnatomarkError, match=problem):
        run(source, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["isbi"]


def test_unknown_truth_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not 'professor'"):
        run(source, tmp_path / "out", truth="professor")


def test_a_wrong_spacing_shows(source: Path, tmp_path: Path, picture: Callable[..., Path]) -> None:
    # Smaller copies of the images do not fit the points of the originals.
    for path in (source / "RawImage").rglob("*.bmp"):
        picture(path, (20, 16))
    with pytest.raises(CohortError, match="most points lie outside the image"):
        run(source, tmp_path / "out")
