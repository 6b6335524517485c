"""The layout of the Digital Hand Atlas: images and ``all.csv``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from anatomark.datasets.importers import IMPORTERS
from anatomark.errors import CohortError, CohortWarning
from anatomark.io.cohorts.files import load_sample

run = IMPORTERS["hand-xray"]
PIXELS = np.array([[10 + i, 50 - i] for i in range(37)])
PIXELS[4] = [40, 90]  # the wrist, from point 0 to point 4: 30 right, 40 down, so 50 px wide
WIDER = PIXELS.copy()
WIDER[4] = [70, 130]  # 60 right, 80 down: 100 px


def table(rows: dict[str, np.ndarray]) -> str:
    return "".join(f"{name},{','.join(map(str, xy.ravel()))}\n" for name, xy in rows.items())


@pytest.fixture
def source(tmp_path: Path, picture: Callable[..., Path]) -> Path:
    root = tmp_path / "hand"
    for name in ("3142", "0098"):
        picture(root / "jpg" / f"{name}.jpg", (100, 140))
    (root / "all.csv").write_text(table({"3142": PIXELS, "98": WIDER}))
    return root


def test_the_wrist_is_50_mm_wide_in_every_case(source: Path, tmp_path: Path) -> None:
    cohort = run(source, tmp_path / "out")
    assert [case.case for case in cohort.cases] == ["0098", "3142"]
    for name, scale in (("3142", 1.0), ("0098", 0.5)):
        sample = load_sample(cohort, cohort[name])
        assert sample.landmarks is not None
        assert sample.landmarks.unit == "mm"
        np.testing.assert_allclose(sample.image.grid.spacing, [scale, scale])
        wrist = sample.landmarks["ulna_outer"] - sample.landmarks["radius_outer"]
        assert np.linalg.norm(wrist) == pytest.approx(50)
        pixels = sample.image.grid.to_index(sample.landmarks.points_mm)
        np.testing.assert_allclose(pixels, PIXELS if name == "3142" else WIDER)


def test_the_names_are_37_from_the_wrist_to_the_little_finger(source: Path, tmp_path: Path) -> None:
    (names,) = run(source, tmp_path / "out").names.values()
    assert len(names) == len(set(names)) == 37
    assert names[18:21] == ("thumb_knuckle", "thumb_joint", "thumb_tip")
    assert names[24] == "index_tip"
    assert names[36] == "little_tip"


def test_another_scale_can_be_asked_for(source: Path, tmp_path: Path) -> None:
    narrow = run(source, tmp_path / "narrow", wrist_mm=40)
    assert narrow["3142"].spacing == pytest.approx((0.8, 0.8))
    fixed = run(source, tmp_path / "fixed", spacing=0.2)
    np.testing.assert_allclose(load_sample(fixed, fixed["3142"]).image.grid.spacing, [0.2, 0.2])
    pixels = run(source, tmp_path / "pixels", wrist_mm=None)
    assert pixels.unit == "px"
    shifted = run(source, tmp_path / "shifted", wrist_mm=None, pixel_origin="corner")
    landmarks = load_sample(shifted, shifted["3142"]).landmarks
    assert landmarks is not None
    np.testing.assert_allclose(landmarks.points_mm, PIXELS - 0.5)


def test_what_has_no_partner_is_left_out_with_a_word(
    source: Path, tmp_path: Path, picture: Callable[..., Path]
) -> None:
    picture(source / "jpg" / "7.jpg")
    with pytest.warns(CohortWarning, match="1 images without a row were left out: jpg/7"):
        cohort = run(source, tmp_path / "out")
    assert len(cohort) == 2
    (source / "jpg" / "7.jpg").unlink()
    (source / "jpg" / "3142.jpg").unlink()
    with pytest.warns(CohortWarning, match="1 rows without an image were left out: 3142"):
        run(source, tmp_path / "other")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("3142,1,2\n", "line 1 has 3 cells, not 75"),
        (table({"3142": PIXELS}) * 2, "line 2: image '3142' is listed twice"),
        (table({"3142": PIXELS}).replace("90", "nan"), "'nan' is not a number"),
        (table({"3142": np.ones((37, 2), int)}), "the two ends of the wrist are one point"),
        ("\n", "there is no image to import"),
    ],
)
@pytest.mark.filterwarnings("ignore::anatomark.errors.CohortWarning")
def test_a_bad_table_is_refused(source: Path, tmp_path: Path, text: str, problem: str) -> None:
    (source / "all.csv").write_text(text)
    with pytest.raises(CohortError, match=problem):
        run(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
