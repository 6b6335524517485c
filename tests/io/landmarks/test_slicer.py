"""Slicer's markups, also as Slicer itself writes them; 1 and 0 are old codes of LPS and RAS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anatomark.data import Landmarks
from anatomark.errors import LandmarkError, LossWarning, UsageError
from anatomark.io.landmarks.formats import read_landmarks, write_landmarks

SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/"
    "Resources/Schema/markups-schema-v1.0.3.json#"
)


def control(label: str, position: Any, **more: Any) -> dict[str, Any]:
    return {"id": "1", "label": label, "position": position} | more


def markups(*controls: dict[str, Any], **more: Any) -> dict[str, Any]:
    node = {"type": "Fiducial", "coordinateSystem": "LPS", "coordinateUnits": "mm"}
    return node | {"controlPoints": list(controls)} | more


def save(path: Path, *nodes: dict[str, Any], **more: Any) -> Path:
    path.write_text(json.dumps({"@schema": SCHEMA, "markups": list(nodes)} | more))
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "points.mrk.json"


def test_a_file_as_slicer_5_writes_it(file: Path) -> None:
    file.write_text(
        """{
    "@schema": "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/markups-schema-v1.0.3.json#",
    "markups": [
        {
            "type": "Fiducial",
            "coordinateSystem": "LPS",
            "coordinateUnits": "mm",
            "locked": false,
            "fixedNumberOfControlPoints": false,
            "labelFormat": "%N-%d",
            "lastUsedControlPointNumber": 3,
            "controlPoints": [
                {
                    "id": "1",
                    "label": "apex",
                    "description": "lowest slice",
                    "associatedNodeID": "vtkMRMLScalarVolumeNode1",
                    "position": [-517.4872665534805, -5.684341886080802e-14, 122.92020373514431],
                    "orientation": [-1.0, -0.0, -0.0, -0.0, -1.0, -0.0, 0.0, 0.0, 1.0],
                    "selected": true,
                    "locked": true,
                    "visibility": true,
                    "positionStatus": "defined"
                },
                {
                    "id": "2",
                    "label": "neck, left",
                    "description": "",
                    "associatedNodeID": "",
                    "position": "",
                    "orientation": [-1.0, -0.0, -0.0, -0.0, -1.0, -0.0, 0.0, 0.0, 1.0],
                    "selected": true,
                    "locked": false,
                    "visibility": true,
                    "positionStatus": "missing"
                }
            ],
            "measurements": [{"name": "length", "enabled": false, "value": NaN, "units": "mm"}],
            "display": {"visibility": true, "opacity": 1.0, "color": [0.4, 1.0, 1.0]}
        }
    ]
}"""
    )
    landmarks = read_landmarks(file)
    assert landmarks.names == ("apex", "neck, left")
    assert landmarks["apex"].tolist() == [
        -517.4872665534805,
        -5.684341886080802e-14,
        122.92020373514431,
    ]
    assert landmarks.present.tolist() == [True, False]
    assert landmarks.unit == "mm"
    assert landmarks.meta == {"descriptions": {"apex": "lowest slice"}}


@pytest.mark.parametrize("code", ["RAS", "ras", "0", 0])
def test_both_spellings_of_the_same_points_read_equal(tmp_path: Path, code: Any) -> None:
    lps = save(tmp_path / "a.mrk.json", markups(control("a", [1.5, -2.0, 3.25])))
    ras = save(
        tmp_path / "b.mrk.json", markups(control("a", [-1.5, 2.0, 3.25]), coordinateSystem=code)
    )
    assert read_landmarks(lps).points_mm.tolist() == [[1.5, -2.0, 3.25]]
    assert read_landmarks(ras).points_mm.tolist() == [[1.5, -2.0, 3.25]]


def test_without_a_coordinate_system_nothing_is_guessed(file: Path) -> None:
    node = markups(control("a", [1.0, 2.0, 3.0]))
    del node["coordinateSystem"]
    save(file, node)
    with pytest.raises(LandmarkError, match=r"LPS or RAS.*coordinateSystem"):
        read_landmarks(file)
    assert read_landmarks(file, frame="RAS").points_mm.tolist() == [[-1.0, -2.0, 3.0]]
    save(file, node, markups(control("b", [1.0, 2.0, 3.0])))
    with pytest.raises(LandmarkError, match="some of its markups nodes"):
        read_landmarks(file)


@pytest.mark.parametrize(
    ("units", "x"),
    [
        ("mm", 2.0),
        (["mm", "UCUM", "millimeter"], 2.0),
        ("um", 0.002),
        ("cm", 20.0),
        (["m", "UCUM"], 2000.0),
    ],
)
def test_lengths_become_millimetres(file: Path, units: Any, x: float) -> None:
    save(file, markups(control("a", [2, 0, 0]), coordinateUnits=units))
    assert read_landmarks(file)["a"][0] == pytest.approx(x, rel=1e-15)


def test_old_files_without_a_unit_are_in_millimetres(file: Path) -> None:
    node = markups(control("a", [2, 0, 0]))
    del node["coordinateUnits"]
    assert read_landmarks(save(file, node))["a"].tolist() == [2, 0, 0]


@pytest.mark.parametrize("units", ["inch", "px", "", None, 1, [], ["mm"], ["mm", "DCM", "x"]])
def test_unknown_units(file: Path, units: Any) -> None:
    save(file, markups(control("a", [2, 0, 0]), coordinateUnits=units))
    with pytest.raises(LandmarkError, match=r"unit .* is not known"):
        read_landmarks(file)


@pytest.mark.parametrize(
    "more",
    [
        {"position": [1, 2, 3], "positionStatus": "undefined"},
        {"position": [1, 2, 3], "positionStatus": "missing"},
        {"position": [1, 2, 3], "positionStatus": "preview"},
        {"position": None},
        {"position": "", "positionStatus": "defined"},
        {"position": [float("nan")] * 3, "positionStatus": "undefined"},
    ],
)
def test_a_point_without_a_position_is_absent(file: Path, more: dict[str, Any]) -> None:
    save(file, markups(control("a", [1, 1, 1]), {"label": "b"} | more))
    landmarks = read_landmarks(file)
    assert landmarks.present.tolist() == [True, False]
    assert np.isnan(landmarks["b"]).all()


def test_several_nodes_are_joined_in_lps_millimetres(file: Path) -> None:
    save(
        file,
        markups(control("a", [1, 2, 3], description="first"), name="left"),
        markups(control("b", [-0.4, -0.5, 0.6]), coordinateSystem="RAS", coordinateUnits="cm"),
    )
    landmarks = read_landmarks(file)
    assert landmarks.names == ("a", "b")
    np.testing.assert_allclose(landmarks.points_mm, [[1, 2, 3], [4, 5, 6]])
    assert landmarks.meta == {"descriptions": {"a": "first"}}


def test_a_label_in_two_nodes_needs_the_node(file: Path) -> None:
    save(
        file,
        markups(control("a", [1, 2, 3]), name="left"),
        markups(control("a", [4, 5, 6]), name="right"),
    )
    with pytest.raises(LandmarkError, match=r"more than one markups node: a.*node="):
        read_landmarks(file)
    assert read_landmarks(file, node="right")["a"].tolist() == [4, 5, 6]
    assert read_landmarks(file, node="1")["a"].tolist() == [1, 2, 3]
    assert read_landmarks(file, node="1").meta == {"node": "left"}
    with pytest.raises(UsageError, match=r"1 .'Fiducial' 'left'., 2"):
        read_landmarks(file, node="middle")


def test_lines_and_curves_are_left_out_aloud(file: Path) -> None:
    line = markups(control("end", [9, 9, 9]), type="Line", name="L")
    save(file, line, markups(control("a", [1, 2, 3])))
    with pytest.warns(LossWarning, match="no point lists are left out: 1 .'Line' 'L'"):
        assert read_landmarks(file).names == ("a",)
    assert read_landmarks(file, node="L").names == ("end",)
    save(file, line)
    with pytest.raises(LandmarkError, match=r"no point list but 1 .'Line' 'L'.; say node="):
        read_landmarks(file)


def test_markups_under_the_plain_extension_are_recognised(tmp_path: Path) -> None:
    file = save(tmp_path / "points.json", markups(control("a", [1, 2, 3])))
    assert read_landmarks(file)["a"].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (markups(control("a", [1, 2, 3]), control("a", [4, 5, 6])), "duplicate landmark names: a"),
        (markups(control("", [1, 2, 3])), "control point 1 has no label"),
        (markups({"position": [1, 2, 3]}), "has no label"),
        (markups(control("a", [1, 2])), "position of 'a' must be 3 finite numbers"),
        (markups(control("a", [1, 2, float("nan")])), "finite numbers"),
        (markups(control("a", [1, 2, 10**400])), "finite numbers"),
        (markups(control("a", "1 2 3")), "finite numbers"),
        (markups(control("a", [1e308, 2, 3]), coordinateUnits="m"), "without finite coordinates"),
        (markups(control("a", [1, 2, 3], positionStatus="perhaps")), "unknown status"),
        (markups(control("a", [1, 2, 3]), coordinateSystem="IJK"), "neither LPS nor RAS"),
        (markups(), "'controlPoints' is empty"),
        (markups(controlPoints={"a": 1}), "'controlPoints' must be a list of objects"),
        (markups(controlPoints=[[1, 2, 3]]), "'controlPoints' must be a list of objects"),
    ],
)
def test_bad_markups(file: Path, node: dict[str, Any], said: str) -> None:
    with pytest.raises(LandmarkError, match=said) as caught:
        read_landmarks(save(file, node))
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "document", [{}, {"markups": None}, {"markups": []}, {"markups": {}}, {"markups": ["a"]}]
)
def test_no_markups(file: Path, document: dict[str, Any]) -> None:
    file.write_text(json.dumps(document))
    with pytest.raises(LandmarkError, match="'markups'"):
        read_landmarks(file)


def test_another_major_version_of_the_schema_is_refused(file: Path) -> None:
    newer = SCHEMA.replace("v1.0.3", "v2.0.0")
    save(file, markups(control("a", [1, 2, 3])), **{"@schema": newer})
    with pytest.raises(LandmarkError, match=r"version 2 .*; update"):
        read_landmarks(file)


def test_what_is_written_is_what_slicer_needs(file: Path) -> None:
    """Older versions of Slicer refuse a position whose numbers have no decimal point."""
    landmarks = Landmarks(
        ("α, “left”", "b"),
        [[1, -2, 3], [np.nan] * 3],
        meta={"node": "Points", "descriptions": {"b": "out of view"}},
    )
    write_landmarks(landmarks, file, frame="RAS")
    assert "-1.0" in file.read_text(encoding="utf-8")
    document = json.loads(file.read_text(encoding="utf-8"))
    assert document["@schema"] == SCHEMA
    (node,) = document["markups"]
    assert node["type"] == "Fiducial"
    assert node["name"] == "Points"
    assert node["coordinateSystem"] == "RAS"
    assert node["coordinateUnits"] == "mm"
    first, second = node["controlPoints"]
    assert first["label"] == "α, “left”"
    assert first["position"] == [-1.0, 2.0, 3.0]
    assert first["positionStatus"] == "defined"
    assert len(first["orientation"]) == 9
    assert second["position"] == ""
    assert second["positionStatus"] == "missing"
    assert second["description"] == "out of view"


def test_2d_points_lie_in_the_plane_z_0(file: Path) -> None:
    write_landmarks(Landmarks(("a",), [[1, 2]]), file)
    assert read_landmarks(file).points_mm.tolist() == [[1, 2, 0]]
    assert read_landmarks(file, dimension=2).points_mm.tolist() == [[1, 2]]


def test_real_skulls_read_as_they_are_written_in_the_file(real_data: Path) -> None:
    files = sorted((real_data / "mouse_skull_ct").glob("*.mrk.json"))
    assert files
    for file in files:
        (node,) = json.loads(file.read_text())["markups"]
        assert node["coordinateSystem"] == "LPS"
        landmarks = read_landmarks(file)
        assert len(landmarks) == 45
        assert list(landmarks.names) == [c["label"] for c in node["controlPoints"]]
        expected = [c["position"] for c in node["controlPoints"]]
        np.testing.assert_array_equal(landmarks.points_mm, expected)
