"""The public sets, where they are on this machine: they import without a word that is not deserved.

Warnings are errors in this test suite, so an import that is not expected to warn must not.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anatomark.data import Cohort
from anatomark.datasets.importers import IMPORTERS
from anatomark.errors import CohortWarning
from anatomark.io.cohorts.files import load_sample, read_cohort

pytestmark = pytest.mark.realdata


def reduced(source: Path, target: Path, table: str, *, first: int, every: int) -> Path:
    """A source with every so many-th image of a table, linked, and its rows."""
    header, *rows = (source / table).read_text().splitlines()
    names = list(dict.fromkeys(row.split(",")[0] for row in rows))[first::every]
    (target / "images").mkdir(parents=True)
    for name in names:
        (target / "images" / f"{name}.jpg").symlink_to(source / "images" / f"{name}.jpg")
    lines = [header, *(row for row in rows if row.split(",")[0] in set(names))]
    (target / table).write_text("\n".join(lines))
    return target


def bright(cohort: Cohort, case: str) -> tuple[float, float]:
    """Median voxel at the landmarks of a case, and of all its image."""
    sample = load_sample(cohort, cohort[case])
    assert sample.landmarks is not None
    index = np.rint(sample.image.grid.to_index(sample.landmarks.points_mm)).astype(int)
    voxels = sample.image.array[tuple(index[:, ::-1].T)]
    return float(np.median(voxels)), float(np.median(sample.image.array))


def test_head_x_rays_with_two_observers(real_data: Path, tmp_path: Path) -> None:
    source = reduced(real_data / "ceph", tmp_path / "ceph", "train.csv", first=0, every=5)
    options = {"spacing": 0.3, "pixel_origin": "corner", "truth": "mean"}
    cohort = IMPORTERS["csv"](source, tmp_path / "out", **options)
    assert len(cohort) == 30
    assert len(cohort.names[""]) == 19
    sample = load_sample(cohort, cohort["001"])
    # The senior's sella of image 001 is at pixel (835, 996) of the original: 83.5 and 99.6 mm
    # from the outer corner, so 0.15 mm less from the centre of the first pixel of 0.3 mm.
    np.testing.assert_allclose(sample.observers["senior"]["sella"], [83.35, 99.45])
    apart = [
        np.linalg.norm(s.observers["senior"].points_mm - s.observers["junior"].points_mm, axis=1)
        for s in (load_sample(cohort, case) for case in cohort.cases[:10])
    ]
    # The two observers are known to differ by about 2.4 mm.
    assert 1.5 < np.mean(apart) < 3.5


def test_spine_x_rays_and_the_one_point_below_its_image(real_data: Path, tmp_path: Path) -> None:
    source = reduced(real_data / "spine", tmp_path / "spine", "training.csv", first=4, every=10)
    options = {"unit": "px", "pixel_origin": "corner", "pairs": [("tl", "tr"), ("bl", "br")]}
    with pytest.warns(CohortWarning, match=r"made absent: case 'train_394': v16_br$"):
        cohort = IMPORTERS["csv"](source, tmp_path / "out", **options)
    assert len(cohort.names[""]) == 68
    assert len(cohort.pairs) == 34
    assert cohort["train_004"].info == {
        "cobb_pt": "17.903",
        "cobb_mt": "6.9989",
        "cobb_tl": "1.0659",
    }


def test_chest_x_rays_with_contours(real_data: Path, tmp_path: Path) -> None:
    source = reduced(real_data / "chest", tmp_path / "chest", "val.csv", first=0, every=1)
    cohort = IMPORTERS["jsrt"](source, tmp_path / "out")
    assert cohort.splits == ("val",)
    points = [load_sample(cohort, case).landmarks for case in cohort.cases]
    mean = np.mean([p.points_mm for p in points if p is not None], axis=0)
    right_top, right_bottom, right_outer, left_top, left_bottom, left_outer = mean
    assert right_outer[0] < right_top[0] < 256 < left_top[0] < left_outer[0]
    assert right_top[1] < right_bottom[1]
    assert left_top[1] < left_bottom[1]


def test_skulls_with_slicer_markups(real_data: Path, tmp_path: Path) -> None:
    cohort = IMPORTERS["slicer"](real_data / "mouse_skull_ct", tmp_path / "out")
    assert len(cohort) == 23
    assert len(cohort.names[""]) == 45
    for case in ("AKR_J", "CAST_EIJ"):
        at_points, everywhere = bright(cohort, case)
        assert at_points > everywhere + 10  # on bone


def test_ct_slices_without_landmarks(real_data: Path, tmp_path: Path) -> None:
    cohort = IMPORTERS["csv"](real_data / "ct_slices", tmp_path / "out")
    assert len(cohort) == 71
    assert cohort.unit == "mm"
    sample = load_sample(cohort, cohort["ct_001"])
    assert sample.landmarks is None
    np.testing.assert_allclose(sample.image.grid.extent, [400, 400])


def test_histology_with_one_table_an_image(real_data: Path, tmp_path: Path) -> None:
    run, root = IMPORTERS["csv"], real_data / "histology"
    made = run(root, tmp_path / "made", table="landmarks", unit="px")
    assert [len(names) for names in made.names.values()] == [12]
    pair = ("Rat-Kidney_HE", "Rat-Kidney_PanCytokeratin")
    kidney = run(root / "rat-kidney_" / "scale-5pc", tmp_path / "kidney", unit="px", paired=[pair])
    assert kidney[pair[0]].pair == pair[1]
    both = [load_sample(kidney, case, grey=True).landmarks for case in kidney.cases]
    assert [int(p.present.sum()) for p in both if p is not None] == [71, 69]
    assert read_cohort(tmp_path / "kidney") == kidney
