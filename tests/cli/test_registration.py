"""``anatomark register``: two images and points in, one folder out."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from anatomark import Affine, Grid, Image, Landmarks, read_image, write_image, write_landmarks
from anatomark.cli.app import main
from anatomark.correspondence import Matches
from anatomark.io.landmarks.matches import write_matches
from anatomark.sampling import resample

FILES = {
    "transform.tfm", "transform.h5", "warped.nii.gz", "fixed.mrk.json", "moving.mrk.json",
    "moved.mrk.json", "overlay.png", "report.html", "report.json",
}  # fmt: skip
NAMES = ["a", "b", "c", "d"]
GRID = Grid((16, 20, 24), [1.0, 1.0, 1.5], origin=[-60.0, -80.0, 30.0])
PUSH = Affine(np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]), [-130.0, -20.0, 25.0])
SPOTS = GRID.to_world(np.array([[4.0, 5, 6], [18, 6, 5], [9, 15, 8], [12, 9, 13]]))


def clouds(shape, seed=0):
    array = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    return np.float32(array / array.std())


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A fixed and a moving volume, a mask of each, and landmarks, in a fresh folder."""
    fixed = Image(clouds(GRID.shape), GRID)
    world = Grid((22, 28, 28), [1.2] * 3, origin=PUSH.inverse()(GRID.centre) - 15.0)
    write_image(fixed, tmp_path / "f.nii.gz")
    write_image(resample(fixed, world, push=PUSH.inverse()), tmp_path / "m.nii.gz")
    ball = ((np.indices(GRID.shape).T - [8, 10, 12]) ** 2).sum(-1).T < 30
    mask = Image(ball.astype(np.uint8), GRID)
    write_image(mask, tmp_path / "fm.nii.gz")
    moved = resample(mask, world, push=PUSH.inverse(), interpolation="nearest")
    write_image(moved, tmp_path / "mm.nii.gz")
    write_image(mask.with_array(np.zeros_like(mask.array)), tmp_path / "empty.nii.gz")
    write_landmarks(Landmarks(NAMES, SPOTS), tmp_path / "f.mrk.json")
    write_landmarks(Landmarks(NAMES, PUSH.inverse()(SPOTS)), tmp_path / "m.mrk.json")
    monkeypatch.chdir(tmp_path)
    return tmp_path


IMAGES = ["register", "--fixed", "f.nii.gz", "--moving", "m.nii.gz"]
LANDMARKS = ["--fixed-landmarks", "f.mrk.json", "--moving-landmarks", "m.mrk.json"]
OUT = ["--out", "out"]


def test_a_folder_with_all_that_was_found(here, capsys):
    masks = ["--fixed-mask", "fm.nii.gz", "--moving-mask", "mm.nii.gz"]
    assert main([*IMAGES, *LANDMARKS, *masks, *OUT]) == 0
    said = capsys.readouterr().out
    assert "rigid map by 4 of 4 points, turned by 90.0°" in said
    assert {p.name for p in (here / "out").iterdir()} == FILES
    record = json.loads((here / "out" / "report.json").read_text())
    np.testing.assert_allclose(record["transform"]["matrix"], PUSH.homogeneous, atol=1e-6)
    assert record["dice"]["before"] == 0
    assert record["dice"]["after"] > 0.85
    assert record["input"]["fixed_mask"] == "fm.nii.gz"
    page = (here / "out" / "report.html").read_text()
    assert "90.00°" in page
    assert "base64" in page
    assert main([*IMAGES, *LANDMARKS, *OUT]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main([*IMAGES, *LANDMARKS, *OUT, "--overwrite", "--no-picture", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["dice"] is None


def test_simpleitk_makes_the_same_image_of_the_file(here):
    assert main([*IMAGES, *LANDMARKS, *OUT, "--transform", "affine", "--no-picture"]) == 0
    fixed, moving = (sitk.ReadImage(name) for name in ("f.nii.gz", "m.nii.gz"))
    lowest = float(sitk.GetArrayFromImage(moving).min())
    by_file = sitk.Resample(
        moving, fixed, sitk.ReadTransform("out/transform.tfm"), sitk.sitkLinear, lowest
    )
    ours = read_image("out/warped.nii.gz")
    off = np.abs(sitk.GetArrayFromImage(by_file) - ours.array)
    assert np.mean(off > 1e-3) < 0.002
    assert not (here / "out" / "overlay.png").exists()


def test_pictures_by_a_table_of_pairs(here):
    whole = np.clip(clouds((70, 80), 1) * 40 + 128, 0, 255).astype(np.uint8)
    for name, (y, x) in (("a.png", (10, 12)), ("b.png", (6, 5))):
        part = np.ascontiguousarray(whole[y : y + 50, x : x + 60])
        write_image(Image(part, Grid(part.shape, unit="px")), here / name)
    spots = np.random.default_rng(0).uniform(10, 40, (12, 2)) * 0.5
    write_matches(Matches(spots, spots + np.array([3.5, 2.0])), here / "pairs.csv")
    words = ["register", "--fixed", "a.png", "--moving", "b.png", "--pairs", "pairs.csv"]
    assert main([*words, *OUT, "--spacing", "0.5"]) == 0
    warped = read_image("out/warped.png", spacing=0.5)
    expected = read_image("a.png", spacing=0.5)
    assert warped.array.dtype == np.uint8
    assert (warped.array[:44, :50] == expected.array[:44, :50]).mean() > 0.99


def bad(here, kind):
    """Write a file that something is wrong with."""
    moving = PUSH.inverse()(SPOTS)
    if kind == "names":
        write_landmarks(Landmarks(["a", "b", "y", "z"], moving), here / "bad.mrk.json")
    elif kind == "flip":
        # A Slicer file without its frame, or with the wrong one.
        write_landmarks(Landmarks(NAMES, SPOTS * [-1, -1, 1]), here / "bad.mrk.json")
    elif kind == "three":
        write_landmarks(Landmarks(NAMES[:3], moving[:3]), here / "bad.mrk.json")
    elif kind == "case":
        write_landmarks(Landmarks(["A", "B ", "_c", "d"], moving), here / "bad.mrk.json")
    elif kind in {"unit", "frame"}:
        columns = "name,x,y,z" if kind == "unit" else "name,x_mm,y_mm,z_mm"
        rows = [f"{n},{x},{y},{z}" for n, (x, y, z) in zip(NAMES, moving, strict=True)]
        (here / "bad.csv").write_text("\n".join([columns, *rows]))
    elif kind == "pairs":
        write_matches(Matches(SPOTS[:2], moving[:2]), here / "bad.csv")
    elif kind == "sliced":
        write_matches(Matches(SPOTS[:, :2], moving[:, :2]), here / "bad.csv")
    elif kind == "flat":
        flat = Image(clouds((30, 40)), Grid((30, 40), [1.0, 1.0]))
        write_image(flat, here / "bad.nrrd")
        write_image(flat.with_array(np.ones((30, 40), np.uint8)), here / "mask.nrrd")


@pytest.mark.parametrize(
    ("kind", "words", "says"),
    [
        ("", [*IMAGES],
         "error: there are no points to register by; give --fixed-landmarks and "
         "--moving-landmarks, --model, --pairs or --matcher"),
        ("", [*IMAGES, *LANDMARKS, "--threshold", "3"], "a threshold would do nothing here"),
        ("", [*IMAGES, "--pairs", "p.csv", "--robust", "no", "--threshold", "3"],
         "no wrong pairs are looked for; leave it out, or say --robust 'ransac'"),
        ("sliced", [*IMAGES, "--pairs", "bad.csv"],
         "bad.csv: its points are 2D, the images 3D; match the volumes themselves with anatomark "
         "match --fixed-slice and --moving-slice, or register the slices"),
        ("", [*IMAGES, "--fixed-landmarks", "f.mrk.json"], "--moving-landmarks as well"),
        ("", [*IMAGES, "--moving-model", "universal/head"], "--model as well"),
        ("", [*IMAGES, *LANDMARKS, "--model", "universal/head"], "leave --model away"),
        ("", [*IMAGES, "--model", "prostate-phantm-mr"], "prostate-phantom-mr"),
        ("", [*IMAGES, *LANDMARKS, "--fixed-mask", "empty.nii.gz"], "empty.nii.gz: the mask is"),
        ("", [*IMAGES, *LANDMARKS, "--robust", "ransac", "--threshold", "-1"], "be positive"),
        ("names", [*IMAGES, *LANDMARKS[:3], "bad.mrk.json"], "only the fixed image has c, d"),
        ("flip", [*IMAGES, "--fixed-landmarks", "bad.mrk.json", *LANDMARKS[2:]], "RAS read as LPS"),
        ("pairs", [*IMAGES, "--pairs", "bad.csv"], "2 pairs of points do not fix a rigid map"),
        ("flat", [*IMAGES[:4], "bad.nrrd", *LANDMARKS], "register two volumes, or two flat images"),
        ("flat", [*IMAGES, *LANDMARKS, "--fixed-mask", "mask.nrrd"], "take a mask of this image"),
        ("", [*IMAGES, *LANDMARKS, "--threshold", "-3"],
         "error: threshold must be positive, it is -3; say --threshold …"),
        ("", [*IMAGES, *LANDMARKS, "--refine", "rigid", "--around", "-3"],
         "error: around must be positive, it is -3; say --around …"),
        ("", [*IMAGES, *LANDMARKS, "--smoothing", "2"], "smoothing is that of a tps"),
        ("", [*IMAGES, *LANDMARKS, "--around", "25"], "around is about grey values"),
        ("three", [*IMAGES, *LANDMARKS[:3], "bad.mrk.json", "--transform", "tps"],
         "which needs 4 (shared: a, b, c; only the fixed image has d); add 1 or more, or fit"),
        ("case", [*IMAGES, *LANDMARKS[:3], "bad.mrk.json"],
         "same name in both, as it may be with 'a' and 'A', 'b' and 'B ', 'c' and '_c'"),
        ("unit", [*IMAGES, *LANDMARKS[:3], "bad.csv"],
         "or x_mm, y_mm, z_mm, or say --moving-unit …"),
        ("frame", [*IMAGES, *LANDMARKS[:3], "bad.csv"], "or say --moving-frame 'LPS'"),
        ("", [*IMAGES, "--pairs", "p.csv", "--fixed-unit", "mm"], "are those of landmark files"),
        ("", [*IMAGES, "--pairs", "p.csv", "--fixed-spacing", "-1"], "--fixed-spacing must be pos"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_in_one_line(here, capsys, kind, words, says):
    bad(here, kind)
    assert main([*words, *OUT]) == 2
    told = capsys.readouterr().err.strip()
    assert says in told
    assert len(told.splitlines()) == 1
    assert not (here / "out").exists()


def test_a_folder_is_no_input_to_write_over(here, capsys):
    (here / "out").mkdir()
    (here / "f.mrk.json").rename(here / "out" / "fixed.mrk.json")
    words = ["--fixed-landmarks", "out/fixed.mrk.json", *LANDMARKS[2:]]
    assert main([*IMAGES, *words, *OUT, "--overwrite"]) == 2
    assert "is one of the inputs" in capsys.readouterr().err


def test_grey_values_are_compared_near_the_points(here):
    words = [*IMAGES, *LANDMARKS, "--refine", "rigid", "--no-picture", "--json"]
    assert main([*words, "--around", "6", "--out", "near"]) == 0
    assert main([*words, "--out", "all"]) == 0
    near, everywhere = (
        json.loads((here / out / "report.json").read_text()) for out in ("near", "all")
    )
    assert (near["transform"]["around"], everywhere["transform"]["around"]) == (6.0, None)
    assert near["mutual_information"]["points"] != everywhere["mutual_information"]["points"]


def test_pairs_of_a_matcher_register(here, monkeypatch):
    """A matcher is asked for by name, and sees both images."""
    seen = []

    class Known:
        def check(self, image):
            seen.append(image.grid.dimension)

        def match(self, fixed, moving):
            seen.append((fixed.grid.shape, moving.grid.shape))
            return Matches(SPOTS, PUSH.inverse()(SPOTS))

    monkeypatch.setattr("anatomark.matching.named.matcher_named", lambda *_, **__: Known())
    assert main([*IMAGES, "--matcher", "sift", "--no-picture", *OUT]) == 0
    assert seen == [3, 3, (GRID.shape, (22, 28, 28))]
    record = json.loads((here / "out" / "report.json").read_text())
    np.testing.assert_allclose(record["transform"]["matrix"], PUSH.homogeneous, atol=1e-6)
    assert record["points"]["sources"] == ["matches of sift"]


def test_frame_and_unit_of_files_that_do_not_say(here):
    moving = PUSH.inverse()(SPOTS) * [-1, -1, 1]  # RAS
    rows = [f"{n},{x},{y},{z}" for n, (x, y, z) in zip(NAMES, moving, strict=True)]
    (here / "m.csv").write_text("\n".join(["name,x,y,z", *rows]))
    words = [*IMAGES, *LANDMARKS[:3], "m.csv", "--no-picture", *OUT]
    assert main([*words, "--moving-frame", "RAS", "--moving-unit", "mm"]) == 0
    record = json.loads((here / "out" / "report.json").read_text())
    np.testing.assert_allclose(record["transform"]["matrix"], PUSH.homogeneous, atol=1e-6)


def test_two_pictures_of_different_pixel_size(here):
    whole = np.clip(clouds((80, 90), 1) * 40 + 128, 0, 255).astype(np.uint8)
    write_image(Image(whole, Grid(whole.shape, unit="px")), here / "a.png")
    half = np.ascontiguousarray(whole[::2, ::2])
    write_image(Image(half, Grid(half.shape, unit="px")), here / "b.png")
    spots = np.random.default_rng(0).uniform(4, 18, (12, 2))
    write_matches(Matches(spots, spots), here / "pairs.csv")  # mm: every second pixel is one
    words = ["register", "--fixed", "a.png", "--moving", "b.png", "--pairs", "pairs.csv", *OUT]
    assert main([*words, "--fixed-spacing", "0.25", "--moving-spacing", "0.5"]) == 0
    warped = read_image("out/warped.png", spacing=0.25)
    assert (warped.array[:78:2, :88:2] == whole[:78:2, :88:2]).all()


def test_a_refinement_that_is_undone_is_in_the_last_line(here, capsys, monkeypatch):
    from anatomark.pipelines.registration import refining
    from anatomark.registration.results import Registration, Stage

    def far(*_, start, pairs, **__):
        stage = Stage("rigid", 0.1, 0.2, True, 3, "")
        off = Affine(np.eye(3), [20.0, 0, 0])
        return Registration(Affine(PUSH.matrix, off(PUSH.offset[None])[0]), 0.1, 0.2, (stage,))

    monkeypatch.setattr(refining, "refine", far)
    words = [*IMAGES, *LANDMARKS, "--refine", "rigid", "--no-picture", *OUT]
    assert main(words) == 0
    told = capsys.readouterr()
    last = "turned by 90.0°; refinement by grey values (rigid) undone; out/report.html"
    assert told.out.strip().endswith(last)
    assert "took the points 20.00 mm apart" in told.err
    assert main([*words, "--overwrite", "--keep-refined"]) == 0
    assert "; refined by grey values (rigid); out" in capsys.readouterr().out


def test_a_place_that_cannot_be_written_is_no_full_disk(here, capsys):
    assert main([*IMAGES, *LANDMARKS, "--no-picture", "--out", "/proc/ro"]) == 2
    told = capsys.readouterr().err
    assert "cannot be written" in told
    assert "choose another folder, or one that you may write to" in told
    assert "space" not in told


def test_a_map_of_few_pairs_is_said_last(here, capsys):
    rng = np.random.default_rng(0)
    fixed = GRID.to_world(rng.uniform(2, 14, (120, 3)))
    moving = PUSH.inverse()(GRID.to_world(rng.uniform(2, 14, (120, 3))))
    moving[:26] = PUSH.inverse()(fixed[:26])
    write_matches(Matches(fixed, moving), here / "pairs.csv")
    words = [*IMAGES, "--pairs", "pairs.csv", "--threshold", "1", "--no-picture", *OUT]
    assert main(words) == 0
    told = capsys.readouterr().err.strip().splitlines()
    assert told[-1].startswith("warning: the map is not to be trusted: only 2")
    page = (here / "out" / "report.html").read_text()
    assert page.count("<tr>") < 30 + 20  # of 120 points
    assert "all are in report.json" in page
    assert "mm off the fit" in page
    record = json.loads((here / "out" / "report.json").read_text())
    assert len(record["landmarks"]) == 120


def test_users_do_not_see_warnings_for_programmers():
    """Those from C, at the end of the process, too: they ask the filters only."""
    code = (
        "import warnings\n"
        "from anatomark.cli.console import show_warnings_as_lines\n"
        "show_warnings_as_lines()\n"
        "for kind in (DeprecationWarning, PendingDeprecationWarning, UserWarning):\n"
        "    warnings.warn(f'of {kind.__name__}', kind)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines() == ["warning: of UserWarning"]
