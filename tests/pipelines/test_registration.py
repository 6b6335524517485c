"""Two images by points: known motions come back, and SimpleITK makes of the files what we make."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from anatomark import Affine, Grid, Image, Landmarks, read_image, read_landmarks, read_transform
from anatomark.correspondence import Matches
from anatomark.errors import RegistrationError
from anatomark.io.images.reading import write_image
from anatomark.pipelines.registration import refining
from anatomark.pipelines.registration.evidence import Evidence, detected
from anatomark.pipelines.registration.files import names_for, write_registered
from anatomark.pipelines.registration.report import page_of, summary_rows, to_record
from anatomark.pipelines.registration.run import Plan, register, threshold_of
from anatomark.registration.elastix import ElastixSettings
from anatomark.registration.intensity import Settings
from anatomark.sampling import resample

QUICK = Settings(coarse=(2,), samples=1500, spline_samples=1000, iterations=15,
                 spline_iterations=4, threads=1)  # fmt: skip
NAMES = ["a", "b", "c", "d", "e", "f"]


def clouds(grid, seed=0, size=2.5):
    noise = np.random.default_rng(seed).normal(size=grid.shape)
    array = ndimage.gaussian_filter(noise, size)
    return Image((array / array.std()).astype(np.float32), grid)


def turn(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


OBLIQUE, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
FIXED = clouds(Grid((18, 22, 26), [1.5, 1.2, 2.0], origin=[20, -30, 10], direction=OBLIQUE))
PUSH = Affine.about(FIXED.grid.centre, turn(8), [60.0, -25.0, 12.0])  # moving → fixed points
WORLD = Grid((26, 26, 26), [1.7] * 3, origin=PUSH.inverse()(FIXED.grid.centre) - 22)
MOVING = resample(FIXED, WORLD, push=PUSH.inverse())
SPOTS = FIXED.grid.to_world(np.random.default_rng(1).uniform(4, 14, (6, 3)))
MARKS = Landmarks(NAMES, SPOTS), Landmarks(NAMES, PUSH.inverse()(SPOTS))
BALL = FIXED.with_array(
    (((np.indices(FIXED.grid.shape).T - [9, 11, 13]) ** 2).sum(-1).T < 36).astype(np.uint8)
)
MOVED_BALL = resample(BALL, MOVING.grid, push=PUSH.inverse(), interpolation="nearest")


def judged(found, folder, to_sitk, **tolerance):
    """Whether SimpleITK makes the warped image of the moving one by each transform file."""
    names = names_for(found.fixed, found.moving, ["a.nii", "b.nii"], picture=False)
    write_registered(found, folder, names, given={})
    warped = read_image(folder / names.warped)
    np.testing.assert_array_equal(warped.array, found.warped.array)
    for name in ("transform.tfm", "transform.h5"):
        by_file = sitk.Resample(
            to_sitk(found.moving), to_sitk(found.fixed), sitk.ReadTransform(str(folder / name)),
            sitk.sitkLinear, found.fill,
        )  # fmt: skip
        off = np.abs(sitk.GetArrayFromImage(by_file) - warped.array)
        # At the rim of the moving image rounding decides which voxels are inside of it.
        assert np.mean(off > 1e-3) < 0.002
    return names


def test_a_known_motion_comes_back_and_itk_agrees(tmp_path, to_sitk):
    found = register(
        FIXED, MOVING, Evidence(*MARKS), fixed_mask=BALL, moving_mask=MOVED_BALL, plan=Plan()
    )
    np.testing.assert_allclose(found.map.homogeneous, PUSH.homogeneous, atol=1e-6)
    assert found.rms < 1e-6
    assert found.dice.before == 0
    assert found.dice.after > 0.9
    names = judged(found, tmp_path, to_sitk)
    read = read_transform(tmp_path / "transform.tfm", direction="image")
    np.testing.assert_allclose(read(MARKS[1].points_mm), SPOTS, atol=1e-6)
    ends = [read_landmarks(tmp_path / name).points_mm for name in names.points]
    np.testing.assert_allclose(ends[0], SPOTS)
    np.testing.assert_allclose(ends[2], SPOTS, atol=1e-6)
    record = json.loads((tmp_path / "report.json").read_text())
    np.testing.assert_allclose(record["transform"]["matrix"], PUSH.homogeneous, atol=1e-6)
    assert record["transform"]["turn_degrees"] == pytest.approx(8)
    assert record["landmarks"][0]["apart_before"] == pytest.approx(
        np.linalg.norm(MARKS[1].points_mm[0] - SPOTS[0])
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(record["files"])


def test_a_spline_is_in_the_files_what_it_is_in_the_image(tmp_path, to_sitk):
    bent = Landmarks(NAMES, SPOTS + np.random.default_rng(0).normal(0, 1.5, SPOTS.shape))
    found = register(FIXED, MOVING, Evidence(bent, MARKS[1]), plan=Plan(transform="tps"))
    np.testing.assert_allclose(found.moved, bent.points_mm, atol=1e-4)
    judged(found, tmp_path, to_sitk)
    # The field that stands for it is near to it.
    asked = FIXED.grid.to_world(np.random.default_rng(2).uniform(1, 16, (50, 3)))
    np.testing.assert_allclose(found.map(found.pull(asked)), asked, atol=0.2)


def test_without_elastix_a_bspline_follows_intensity_and_says_so(monkeypatch, tmp_path, to_sitk):
    monkeypatch.setattr(refining, "has_elastix", lambda: False)
    told = []
    found = register(
        FIXED, MOVING, Evidence(*MARKS), plan=Plan(transform="bspline", settings=QUICK),
        progress=lambda stage, done: told.append(stage),
    )  # fmt: skip
    assert "itk-elastix" in " ".join(found.warnings)
    assert "refining (bspline)" in told
    assert [s.name for s in found.refinements[0].stages] == ["bspline"]
    judged(found, tmp_path, to_sitk)


def test_with_elastix_the_points_bend_the_map(tmp_path, to_sitk):
    pytest.importorskip("itk")
    # Stretched about their middle: what no rigid map does, and a spline does without folds.
    bent = Landmarks(NAMES, SPOTS.mean(0) + 1.15 * (SPOTS - SPOTS.mean(0)))
    steered = ElastixSettings(
        intensity=0.1, points=1, node_mm=30, levels=1, samples=500, iterations=60
    )
    found = register(
        FIXED, MOVING, Evidence(bent, MARKS[1]), plan=Plan(transform="bspline", elastix=steered)
    )
    assert not any("itk-elastix" in text for text in found.warnings)
    assert found.rms < 0.9 * found.fit.rms_mm
    judged(found, tmp_path, to_sitk)


def test_refinement_mends_what_points_get_wrong():
    off = Landmarks(NAMES, SPOTS + np.array([2.0, -1.5, 1.0]))
    plan = Plan(refine="rigid", settings=Settings(coarse=(2, 1), samples=4000, threads=1))
    found = register(FIXED, MOVING, Evidence(off, MARKS[1]), plan=plan)
    asked = np.linalg.norm(found.map(MARKS[1].points_mm) - SPOTS, axis=1)
    assert asked.mean() < 0.6 < 2.6
    assert found.mutual_information.after > found.mutual_information.fitted
    assert any("farther apart" in text for text in found.warnings)  # than those that were given


def flat(seed=0, dtype=np.uint8):
    image = clouds(Grid((60, 70), unit="px"), seed)
    return image.with_array(np.clip(image.array * 40 + 128, 0, 255).astype(dtype))


def test_wrong_pairs_of_pictures_are_left_out(tmp_path):
    fixed = flat()
    moving = fixed.with_array(np.roll(fixed.array, (4, 7), axis=(0, 1)))
    rng = np.random.default_rng(0)
    spots = rng.uniform(10, 50, (30, 2))
    ends = spots + np.array([7.0, 4.0])
    ends[:9] = rng.uniform(10, 50, (9, 2))
    found = register(fixed, moving, Evidence(matches=Matches(spots, ends, unit="px")))
    assert not found.fit.inliers[:9].any()
    np.testing.assert_allclose(found.map.offset, [-7, -4], atol=1e-6)
    assert (found.warped.array[:50, :60] == fixed.array[:50, :60]).mean() > 0.99
    assert found.warped.array.dtype == np.uint8
    names = names_for(fixed, moving, ["a.png", "b.jpg"])
    assert (names.warped, names.points[0]) == ("warped.png", "fixed.json")
    write_registered(found, tmp_path, names, given={})
    assert read_image(tmp_path / "overlay.png", colour=True).channels == 4
    page = (tmp_path / "report.html").read_text()
    assert "data:image/png;base64," in page
    assert json.loads((tmp_path / "report.json").read_text())["points"]["used"] == 21
    assert names_for(fixed, moving, ["a.png", "b.nrrd"]).warped == "warped.nrrd"


class Model:
    """Finds what it is told to, as a detector does."""

    def __init__(self, marks, **flags):
        self.model = SimpleNamespace(name="told")
        findings = SimpleNamespace(landmarks=marks, flags=flags, image=())
        self.found = SimpleNamespace(landmarks=marks, findings=findings)

    def detect(self, image):
        return self.found


def test_an_unsure_detected_point_pulls_less():
    sizes = np.array([0.01, 0.01, 0.01, 0.01, 0.01, 400.0])
    wrong = SPOTS.copy()
    wrong[5] += 12.0
    covariance = sizes[:, None, None] * np.eye(3)
    sides = (Model(Landmarks(NAMES, wrong, covariance_mm2=covariance), f=["unsure"]),
             Model(MARKS[1]))  # fmt: skip
    found = register(FIXED, MOVING, detected(sides, FIXED, MOVING))
    assert found.residuals[:5].max() < 0.1
    record = to_record(found, names={}, files=[])
    assert record["points"]["weighed_by_covariances"]
    assert record["landmarks"][5]["flags"] == ["fixed: unsure"]
    assert "flags on 1 of 6 points of the fixed image: f (unsure)" in found.warnings
    assert not found.doubts
    plain = register(FIXED, MOVING, Evidence(Landmarks(NAMES, wrong), MARKS[1]))
    assert plain.residuals[:5].max() > 1


def test_landmarks_and_pairs_are_used_together():
    some = MARKS[0].select(NAMES[:2]), MARKS[1].select(NAMES[:2])
    more = Matches(SPOTS[2:], MARKS[1].points_mm[2:])
    found = register(FIXED, MOVING, Evidence(*some).also(Evidence(matches=more)))
    assert found.pairs.names[:3] == ("a", "b", "match m001")
    np.testing.assert_allclose(found.map.homogeneous, PUSH.homogeneous, atol=1e-6)


def test_what_only_one_image_has_is_said():
    other = Landmarks([*NAMES[:5], "z"], MARKS[1].points_mm)
    found = register(FIXED, MOVING, Evidence(MARKS[0], other))
    assert "only the fixed image has f; left out" in found.warnings
    assert "only the moving image has z; left out" in found.warnings


def test_images_that_do_not_meet_under_the_points_are_refused():
    far = Matches(SPOTS + 900.0, MARKS[1].points_mm)
    with pytest.raises(RegistrationError, match="do not overlap"):
        register(FIXED, MOVING, Evidence(matches=far))


def test_a_mask_beside_its_image_is_refused():
    beside = Image(BALL.array, Grid(BALL.grid.shape, [1.0] * 3, origin=[900.0, 0, 0]))
    with pytest.raises(RegistrationError, match="fixed mask lies outside"):
        register(FIXED, MOVING, Evidence(*MARKS), fixed_mask=beside)


def test_pairs_agree_within_five_voxels_unless_it_is_said():
    grids = Grid((9, 9), [1.0, 1.0]), Grid((9, 9), [2.0, 0.5])
    assert threshold_of(Plan(), grids) == pytest.approx(5.0)
    assert threshold_of(Plan(threshold=2.5), grids) == 2.5


def test_a_volume_is_drawn_in_three_planes(tmp_path):
    found = register(FIXED, MOVING, Evidence(*MARKS), fixed_mask=BALL, moving_mask=MOVED_BALL)
    from anatomark.pipelines.registration.overlay import draw_overlay

    figure = draw_overlay(found)
    assert [a.get_ylabel() for a in figure.axes[::4]] == ["axial", "coronal", "sagittal"]
    before, after = figure.axes[0], figure.axes[1]
    assert any("not here" in t.get_text() for t in before.texts)
    assert not any("not here" in t.get_text() for t in after.texts)
    write_image(found.warped, tmp_path / "a.nii.gz")


def test_the_points_are_drawn_where_they_are():
    """Crosses and circles in the planes that they are near to, before where the files say."""
    from anatomark.pipelines.registration.overlay import draw_overlay

    shift = np.array([4.0, 0.0, 0.0])
    moving = Landmarks(NAMES, SPOTS + shift)
    found = register(FIXED, FIXED, Evidence(MARKS[0], moving))
    figure = draw_overlay(found)
    middle = SPOTS[np.linalg.norm(SPOTS - SPOTS.mean(0), axis=1).argmin()]
    for number, axes in enumerate(figure.axes[:2]):  # axial: x and y, edges before and after
        black, crosses, ring, circles = axes.collections[-4:]
        np.testing.assert_array_equal(black.get_offsets(), crosses.get_offsets())
        np.testing.assert_array_equal(ring.get_offsets(), circles.get_offsets())
        off = np.linalg.norm(np.asarray(crosses.get_offsets()) - middle[:2], axis=1)
        assert off.min() < 1e-9
        lying = middle + shift if number == 0 else middle
        off = np.linalg.norm(np.asarray(circles.get_offsets()) - lying[:2], axis=1)
        assert off.min() < 1e-6
        height = [
            SPOTS[np.linalg.norm(SPOTS[:, :2] - spot, axis=1).argmin(), 2] - middle[2]
            for spot in np.asarray(crosses.get_offsets())
        ]
        corners = FIXED.grid.corners()[:, 2]
        assert np.abs(height).max() < 0.02 * np.ptp(corners) + 2.0
        assert len(height) < len(SPOTS)


def test_pictures_show_only_pairs_that_are_used():
    from anatomark.pipelines.registration.overlay import draw_overlay

    fixed = flat()
    moving = fixed.with_array(np.roll(fixed.array, (4, 7), axis=(0, 1)))
    spots = np.random.default_rng(0).uniform(10, 50, (12, 2))
    ends = spots + np.array([7.0, 4.0])
    ends[0] = [50.0, 12.0]
    found = register(fixed, moving, Evidence(matches=Matches(spots, ends, unit="px")))
    assert not found.fit.inliers[0]
    crosses = draw_overlay(found).axes[1].collections[-3]
    np.testing.assert_allclose(crosses.get_offsets(), spots[1:])


def test_of_hundreds_of_pairs_some_are_drawn():
    from anatomark.pipelines.registration.overlay import draw_overlay

    fixed = flat()
    spots = np.random.default_rng(0).uniform(5, 40, (300, 2))
    same = Matches(spots, spots, unit=fixed.grid.unit)
    found = register(fixed, fixed, Evidence(matches=same))
    figure = draw_overlay(found)
    assert len(figure.axes[1].collections[-1].get_offsets()) <= 40
    assert any("of 300" in words.get_text() for words in figure.texts)


def test_a_thin_slab_is_drawn_along_its_face_only():
    from anatomark.pipelines.registration.overlay import draw_overlay

    slab = clouds(Grid((5, 40, 50), [2.0, 2.0, 2.4]))  # 12 mm of 100
    marks = Landmarks(NAMES, slab.grid.to_world(np.random.default_rng(1).uniform(1, 4, (6, 3))))
    figure = draw_overlay(register(slab, slab, Evidence(marks, marks)))
    assert [a.get_ylabel() for a in figure.axes] == ["axial", "", "", ""]
    wide, high = figure.get_size_inches()
    assert (high - 0.7) / wide == pytest.approx(0.8)  # of 100 × 80 mm


def test_the_share_that_is_covered_stands_beside_mutual_information():
    """The same image a quarter of its width aside, brought back by its points."""
    grid = Grid((10, 20, 40), [1.0] * 3)
    fixed, moving = (clouds(Grid(grid.shape, grid.spacing, origin=[x, 0, 0])) for x in (0.0, 10.0))
    spots = grid.to_world(np.random.default_rng(1).uniform(1, 9, (6, 3)))
    marks = Landmarks(NAMES, spots), Landmarks(NAMES, spots + np.array([10.0, 0, 0]))
    found = register(fixed, moving, Evidence(*marks))
    record = to_record(found, names={}, files=[])
    assert record["covered"]["before"] == pytest.approx(0.75, abs=0.02)
    assert record["covered"]["points"] == record["covered"]["after"] == pytest.approx(1.0, abs=0.05)
    row = next(r for r in summary_rows(record) if r[0] == "fixed image covered")
    assert row[1] in {"74 %", "75 %", "76 %"}


def test_the_loss_of_a_spline_is_said_with_what_can_be_done_here():
    bent = Landmarks(NAMES, SPOTS + np.random.default_rng(0).normal(0, 1.5, SPOTS.shape))
    found = register(FIXED, MOVING, Evidence(bent, MARKS[1]), plan=Plan(transform="tps"))
    [said] = [text for text in found.warnings if "sampled" in text]
    assert said.endswith("mm: more smoothing, or fewer pairs, make this less")


def test_sentences_of_the_report_begin_with_capitals():
    evidence = Evidence(*MARKS, sources=("landmark files",))
    page = page_of(to_record(register(FIXED, MOVING, evidence), names={}, files=[]), None)
    written = "\n".join(page._parts)
    assert "Points: landmark files. Lengths in mm." in written
    assert "Rigid map, refined: none. The map pushes" in written
