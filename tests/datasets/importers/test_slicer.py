"""A folder of volumes with Slicer markups."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from anatomark.datasets.importers import IMPORTERS
from anatomark.errors import CohortError, CohortWarning
from anatomark.io.cohorts.files import load_sample

run = IMPORTERS["slicer"]


def volume(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(np.arange(8 * 9 * 10, dtype=np.int16).reshape(8, 9, 10))
    image.SetSpacing((1.0, 2.0, 3.0))
    image.SetOrigin((-5.0, 7.0, 11.0))
    sitk.WriteImage(image, str(path))


def markups(path: Path, points: dict[str, list[float]], frame: str = "LPS") -> None:
    controls = [{"label": n, "position": p, "positionStatus": "defined"} for n, p in points.items()]
    node = {
        "type": "Fiducial",
        "coordinateSystem": frame,
        "coordinateUnits": "mm",
        "controlPoints": controls,
    }
    path.write_text(json.dumps({"markups": [node]}))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "skulls"
    for name in ("b", "a", "more/a"):
        volume(root / f"{name}.nii.gz")
    markups(root / "a.mrk.json", {"tip": [-5, 7, 11], "base": [4, 23, 32]})
    # The same point in RAS: x and y change their sign.
    markups(root / "b.mrk.json", {"side": [-1, -9, 14], "tip": [5, -7, 11]}, "RAS")
    (root / "more" / "a.fcsv").write_text(
        "# Markups fiducial file version = 4.11\n# CoordinateSystem = LPS\n"
        "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
        "1,-5,7,11,0,0,0,1,1,1,0,tip,,\n"
    )
    return root


def test_points_are_in_lps_and_names_are_the_union(source: Path, tmp_path: Path) -> None:
    cohort = run(source, tmp_path / "out")
    assert cohort.names == {"": ("tip", "base", "side")}
    assert [case.case for case in cohort.cases] == ["a", "b", "more/a"]
    for name, present in (("a", [1, 1, 0]), ("b", [1, 0, 1]), ("more/a", [1, 0, 0])):
        sample = load_sample(cohort, cohort[name])
        assert sample.landmarks is not None
        assert sample.landmarks.present.tolist() == [bool(p) for p in present]
        np.testing.assert_allclose(sample.landmarks["tip"], [-5, 7, 11])
        np.testing.assert_allclose(
            sample.image.grid.to_index(sample.landmarks["tip"]), 0, atol=1e-6
        )


def test_loose_ends_are_reported(source: Path, tmp_path: Path) -> None:
    volume(source / "c.nrrd")
    cohort = run(source, tmp_path / "kept")
    assert cohort["c"].landmarks is None
    (source / "b.nii.gz").unlink()
    with pytest.warns(CohortWarning, match="1 markups without an image were left out: b"):
        run(source, tmp_path / "out")


def test_two_files_for_one_image_are_refused(source: Path, tmp_path: Path) -> None:
    markups(source / "more" / "a.mrk.json", {"tip": [0, 10, 14]})
    with pytest.raises(CohortError, match="are for the same image"):
        run(source, tmp_path / "out")


def test_a_folder_without_markups_is_refused(tmp_path: Path, picture: Callable[..., Path]) -> None:
    picture(tmp_path / "x" / "a.png")
    with pytest.raises(CohortError, match=r"has no image with a \.mrk\.json or \.fcsv"):
        run(tmp_path / "x", tmp_path / "out")
