"""The AASCE 2019 layout, on a small tree that looks like it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from anatomark.datasets.importers import IMPORTERS
from anatomark.errors import CohortError, CohortWarning
from anatomark.io.cohorts.files import load_sample

run = IMPORTERS["aasce2019"]
# Relative x of 68 points, then relative y, vertebra by vertebra: tl, tr, bl, br.
X = np.tile([0.25, 0.5, 0.25, 0.5], 17)
Y = np.repeat(np.arange(34) / 40, 2)


@pytest.fixture
def source(tmp_path: Path, picture: Callable[..., Path]) -> Path:
    root = tmp_path / "aasce"
    for part, names in {"training": ["b, odd.jpg", "a 1.jpg"], "test": ["c.jpg"]}.items():
        labels = root / "labels" / part
        labels.mkdir(parents=True)
        for name in names:
            picture(root / "data" / part / name, (60, 120))
        quoted = [f'"{name}"' if "," in name else name for name in names]
        (labels / "filenames.csv").write_text("\n".join(quoted) + "\n")
        row = ",".join(f"{v:.5f}" for v in [*X, *Y])
        (labels / "landmarks.csv").write_text((row + "\n") * len(names))
        (labels / "angles.csv").write_text("41.1,14.6,0\n" * len(names))
    return root


def test_relative_coordinates_become_pixels(source: Path, tmp_path: Path) -> None:
    cohort = run(source, tmp_path / "out")
    sample = load_sample(cohort, cohort["a 1"])
    assert sample.landmarks is not None
    assert cohort.unit == sample.landmarks.unit == "px"
    assert sample.landmarks.names[:5] == ("v01_tl", "v01_tr", "v01_bl", "v01_br", "v02_tl")
    assert sample.landmarks.names[-1] == "v17_br"
    # 0.5 of 60 pixels is the face between pixels 29 and 30.
    np.testing.assert_allclose(sample.landmarks["v01_tr"], [29.5, -0.5])
    np.testing.assert_allclose(sample.landmarks["v17_bl"], [0.25 * 60 - 0.5, 33 / 40 * 120 - 0.5])


def test_parts_angles_and_names_with_commas_are_kept(source: Path, tmp_path: Path) -> None:
    cohort = run(source, tmp_path / "out")
    splits = {case.case: case.split for case in cohort.cases}
    assert splits == {"b, odd": "train", "a 1": "train", "c": "test"}
    assert cohort["c"].info == {"cobb_pt": "41.1", "cobb_mt": "14.6", "cobb_tl": "0"}
    assert len(cohort.pairs) == 34
    assert cohort.pairs[:2] == (("v01_tl", "v01_tr"), ("v01_bl", "v01_br"))


def test_a_point_below_the_image_is_made_absent_and_said(source: Path, tmp_path: Path) -> None:
    table = source / "labels" / "training" / "landmarks.csv"
    first, second = table.read_text().splitlines()
    table.write_text(first + "\n" + second.rpartition(",")[0] + ",1.02449\n")
    with pytest.warns(CohortWarning, match=r"made absent: case 'a 1': v17_br"):
        cohort = run(source, tmp_path / "out")
    landmarks = load_sample(cohort, cohort["a 1"]).landmarks
    assert landmarks is not None
    assert landmarks.present.sum() == 67
    with pytest.raises(CohortError, match=r"points outside the image \(case 'a 1': v17_br\)"):
        run(source, tmp_path / "strict", outside="error")


def test_tables_that_do_not_fit_together_are_refused(source: Path, tmp_path: Path) -> None:
    angles = source / "labels" / "training" / "angles.csv"
    angles.write_text("1,2,3\n")
    with pytest.raises(CohortError, match=r"differ in length: angles\.csv has 1"):
        run(source, tmp_path / "out")
    angles.write_text("1,2,3\n1,2\n")
    with pytest.raises(CohortError, match="line 2 has 2 angles, not 3"):
        run(source, tmp_path / "out")
    angles.write_text("1,2,3\n1,x,3\n")
    with pytest.raises(CohortError, match="line 2: 'x' is not a number"):
        run(source, tmp_path / "out")
    angles.write_text("1,2,3\n1,2,3\n")
    (source / "data" / "training" / "a 1.jpg").unlink()
    with pytest.raises(CohortError, match=r"line 2: there is no image 'a 1\.jpg'"):
        run(source, tmp_path / "out")


def test_a_folder_of_another_layout_is_named(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="has no folder labels/training"):
        run(tmp_path, tmp_path.parent / "out")
    with pytest.raises(CohortError, match="is not a folder"):
        run(tmp_path / "none", tmp_path / "out")
