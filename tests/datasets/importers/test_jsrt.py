"""JSRT: lung points from contours in tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from anatomark.datasets.importers import IMPORTERS
from anatomark.errors import CohortError, UsageError
from anatomark.io.cohorts.files import load_sample

run = IMPORTERS["jsrt"]
CONTOURS = {
    "RL": [(30, 10), (12, 40), (10, 60), (15, 80), (35, 70)],
    "LL": [(60, 12), (85, 45), (90, 66), (84, 82), (55, 70)],
    "H": [(50, 40), (60, 60), (40, 60)],
}


def rows(image: str, split: str, shift: float = 0) -> list[str]:
    return [
        f"{image},{split},{contour},{i},{x + shift:.2f},{y:.2f}"
        for contour, points in CONTOURS.items()
        for i, (x, y) in enumerate(points)
    ]


@pytest.fixture
def source(tmp_path: Path, picture: Callable[..., Path]) -> Path:
    root = tmp_path / "jsrt"
    for name in ("A1", "A2", "B1"):
        picture(root / "images" / f"{name}.jpg", (100, 100))
    header = "image,split,contour,index,x_px,y_px"
    lines = [header, *rows("A1", "train"), *rows("A2", "train", 2)]
    (root / "train.csv").write_text("\n".join(lines))
    (root / "val.csv").write_text("\n".join([header, *rows("B1", "val")]))
    return root


def test_lung_points_are_the_extremes_of_the_contours(source: Path, tmp_path: Path) -> None:
    cohort = run(source, tmp_path / "out")
    landmarks = load_sample(cohort, cohort["A2"]).landmarks
    assert landmarks is not None
    expected = {
        "right_lung_top": (32, 10),
        "right_lung_bottom": (17, 80),
        "right_lung_outer": (12, 60),
        "left_lung_top": (62, 12),
        "left_lung_bottom": (86, 82),
        "left_lung_outer": (92, 66),
    }
    assert landmarks.names == tuple(expected)
    np.testing.assert_allclose(landmarks.points_mm, list(expected.values()))
    assert {c.case: c.split for c in cohort.cases} == {"A1": "train", "A2": "train", "B1": "val"}
    assert cohort.unit == "px"
    assert len(cohort.pairs) == 3


def test_contours_can_be_kept(source: Path, tmp_path: Path) -> None:
    both = run(source, tmp_path / "both", points="both").names[""]
    assert len(both) == 6 + 13
    assert both[6:8] == ("RL_0", "RL_1")
    contours = run(source, tmp_path / "contours", points="contours")
    assert contours.names[""] == both[6:]
    assert contours.pairs == ()
    with pytest.raises(UsageError, match="not 'heart'"):
        run(source, tmp_path / "none", points="heart")


def test_pixels_may_count_from_the_corner_and_have_a_size(source: Path, tmp_path: Path) -> None:
    cohort = run(source, tmp_path / "out", spacing=0.7, pixel_origin="corner")
    landmarks = load_sample(cohort, cohort["A1"]).landmarks
    assert landmarks is not None
    np.testing.assert_allclose(landmarks["right_lung_top"], [29.5 * 0.7, 9.5 * 0.7])


def test_what_is_missing_is_named(source: Path, tmp_path: Path) -> None:
    (source / "images" / "A2.jpg").unlink()
    with pytest.raises(CohortError, match="there is no image 'A2'"):
        run(source, tmp_path / "out")
    table = source / "val.csv"
    table.write_text("\n".join(r for r in table.read_text().splitlines() if ",LL," not in r))
    (source / "train.csv").unlink()
    with pytest.raises(CohortError, match="image 'B1' has no contour LL"):
        run(source, tmp_path / "out")
    table.unlink()
    with pytest.raises(CohortError, match=r"has none of train\.csv"):
        run(source, tmp_path / "out")
